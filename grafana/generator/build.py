"""Turns a description into Grafana's JSON, by the classes of the foundation SDK."""
import json
from string import ascii_uppercase

from grafana_foundation_sdk.builders import common as looks
from grafana_foundation_sdk.builders import dashboard as dash
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.statetimeline import Panel as Timeline
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as Lines
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common, dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from .model import ACT, DIM, Panel, Query

KINDS = {"lines": Lines, "bars": Lines, "stat": Stat, "timeline": Timeline, "table": Table}
DATA_SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
# Refreshes every two scrapes.
REFRESH = "10s"
# These kinds are about now: an old value would lie.
NOW = ("stat", "table")
CELL_URL = "/d/recorder-cell?var-datasource=${datasource}&var-instance=%s&${__url_time_range}"
# How long an annotation's steps are: two scrapes.
STEP = "10s"


class PrometheusAnnotation(model.AnnotationQuery):
    """With what the Prometheus plugin reads and the SDK's class has no place for."""

    EXTRAS = ("step", "titleFormat", "textFormat", "tagKeys")

    def to_json(self):
        return super().to_json() | {"step": STEP, "titleFormat": self.name, "textFormat": self.text, "tagKeys": ""}


def thresholds(base, steps):
    rungs = [model.Threshold(value=None, color=base)] + [model.Threshold(value=v, color=c) for v, c in steps]
    return dash.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(rungs)


def mappings(states):
    options = {
        str(s.value): model.ValueMappingResult(text=s.text, color=s.colour, index=i) for i, s in enumerate(states)
    }
    return [model.ValueMap(options=options)] if states else []


def prop(name, value):
    return model.DynamicConfigValue(id_val=name, value=value)


def fixed(colour):
    return prop("color", {"mode": "fixed", "fixedColor": colour})


def dashed():
    return [prop("custom.lineStyle", {"fill": "dash", "dash": [8, 6]}), prop("custom.fillOpacity", 0)]


STYLES = {
    "series": [],
    "limit": [fixed(ACT), *dashed(), prop("custom.stacking", {"mode": "none"})],
    "target": [fixed(DIM), *dashed()],
    "dim": [fixed(DIM), prop("custom.lineWidth", 1), prop("custom.fillOpacity", 0)],
}


def properties(panel: Panel, query: Query):
    """What one query looks like, where it differs from its panel."""
    found = list(STYLES[query.style])
    if query.colour:
        found.append(fixed(query.colour))
    if query.unit:
        found.append(prop("unit", query.unit))
    if query.states:
        found.append(prop("mappings", mappings(query.states)))
    if query.steps is not None:
        # A table's columns share no base colour: below the first step nothing is said.
        base = "transparent" if panel.kind == "table" else panel.base
        found.append(prop("thresholds", thresholds(base, query.steps).build()))
    if panel.kind == "table" and (query.states or query.steps is not None):
        found.append(prop("custom.cellOptions", {"type": "color-background", "mode": "basic"}))
    return found


def filled(expr: str, cell: str):
    """An expression with the dashboard's choice of recorders."""
    return expr.replace("{CELL", "{" + cell)


def target(panel: Panel, query: Query, ref: str, cell: str):
    made = Dataquery().ref_id(ref).expr(filled(query.expr, cell)).datasource(DATA_SOURCE).legend_format(query.legend)
    made = made.instant() if panel.kind in NOW else made.range()
    return made.format(PromQueryFormat.TABLE if panel.kind == "table" else PromQueryFormat.TIME_SERIES)


def columns(panel: Panel):
    """The transformations of a table: one row for each set of labels, headings, and nothing else."""
    headings = dict(panel.labels)
    for ref, query in zip(ascii_uppercase, panel.queries):
        if query.legend:
            headings[f"Value #{ref}"] = query.legend
    if len(panel.queries) == 1:
        # Grafana numbers values only where there are several queries.
        headings["Value"] = panel.queries[0].legend
    pattern = "^(" + "|".join(headings) + ")$"
    order = {name: i for i, name in enumerate(headings)}
    return [
        model.DataTransformerConfig(id_val="merge", options={}),
        model.DataTransformerConfig(id_val="filterFieldsByName", options={"include": {"pattern": pattern}}),
        model.DataTransformerConfig(
            id_val="organize", options={"excludeByName": {}, "indexByName": order, "renameByName": headings}
        ),
    ]


def axes(made, panel: Panel):
    """Curves and bars."""
    wide = panel.width >= 12
    legend = (
        looks.VizLegendOptions()
        .show_legend(True)
        .display_mode(common.LegendDisplayMode.TABLE if wide else common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.RIGHT if wide else common.LegendPlacement.BOTTOM)
        .calcs(["lastNotNull", "max"] if wide else [])
    )
    if wide:
        legend = legend.sort_by("Max").sort_desc(True)
    bars = panel.kind == "bars"
    made = (
        made.legend(legend)
        .tooltip(looks.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING))
        .draw_style(common.GraphDrawStyle.BARS if bars else common.GraphDrawStyle.LINE)
        .line_width(0 if bars else 2)
        .fill_opacity(80 if bars else 30 if panel.stacked else 5)
        .show_points(common.VisibilityMode.NEVER)
        .line_interpolation(common.LineInterpolation.STEP_AFTER if panel.stairs else common.LineInterpolation.LINEAR)
        .thresholds_style(
            looks.GraphThresholdsStyleConfig().mode(
                common.GraphThresholdsStyleMode.DASHED if panel.steps else common.GraphThresholdsStyleMode.OFF
            )
        )
        .stacking(looks.StackingConfig().mode(common.StackingMode.NORMAL if panel.stacked else common.StackingMode.NONE))
        .color_scheme(dash.FieldColor().mode(model.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
    )
    if panel.least is not None:
        made = made.min(panel.least)
    if panel.logarithmic:
        made = made.scale_distribution(looks.ScaleDistributionConfig().type(common.ScaleDistribution.LOG).log(10))
    if panel.soft:
        made = made.axis_soft_min(panel.soft[0]).axis_soft_max(panel.soft[1])
    elif panel.steps and panel.most is None:
        # The first line is always in sight: a curve far below it is to look harmless.
        made = made.axis_soft_max(panel.steps[0][0])
    return made


def by_value(made):
    return made.color_scheme(dash.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))


def stat(made, panel: Panel):
    return (
        by_value(made)
        .color_mode(common.BigValueColorMode.BACKGROUND if panel.states else common.BigValueColorMode.VALUE)
        .graph_mode(common.BigValueGraphMode.NONE)
        .text_mode(common.BigValueTextMode.VALUE_AND_NAME if panel.named else common.BigValueTextMode.VALUE)
        .justify_mode(common.BigValueJustifyMode.CENTER)
        .reduce_options(looks.ReduceDataOptions().calcs(["lastNotNull"]))
    )


def timeline(made, panel: Panel):
    return (
        by_value(made)
        .show_value(common.VisibilityMode.AUTO)
        .merge_values(True)
        .row_height(0.8)
        .line_width(0)
        .fill_opacity(85)
        .legend(
            looks.VizLegendOptions()
            .show_legend(True)
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
        )
    )


def table(made, panel: Panel):
    made = by_value(made).transformations(columns(panel)).align(common.FieldTextAlignment.AUTO)
    if panel.sort:
        # What is worst stands on top: a small health, a great urgency.
        made = made.sort_by([looks.TableSortByFieldState().display_name(panel.sort).desc(panel.sort != "Health")])
    return made


LOOKS = {"lines": axes, "bars": axes, "stat": stat, "timeline": timeline, "table": table}


def build_panel(panel: Panel, number: int, cell: str):
    refs = ascii_uppercase[: len(panel.queries)]
    made = (
        KINDS[panel.kind]()
        .id(number)
        .title(panel.title)
        .description(panel.description)
        .datasource(DATA_SOURCE)
        .grid_pos(model.GridPos(h=panel.height, w=panel.width))
        .targets([target(panel, query, ref, cell) for ref, query in zip(refs, panel.queries)])
        .unit(panel.unit)
        .no_value(panel.empty)
        .mappings(mappings(panel.states))
        .thresholds(thresholds("transparent" if panel.kind == "table" else panel.base, panel.steps))
    )
    made = LOOKS[panel.kind](made, panel)
    for name, value in (("max", panel.most), ("decimals", panel.decimals), ("interval", panel.interval)):
        if value is not None:
            made = getattr(made, name)(value)
    for ref, query in zip(refs, panel.queries):
        found = properties(panel, query)
        if found and panel.kind == "table":
            made = made.override_by_name(query.legend, found)
        elif found:
            made = made.override_by_query(ref, found)
    for heading, texts in panel.texts.items():
        said = [model.ValueMap(options={value: model.ValueMappingResult(text=text) for value, text in texts.items()})]
        made = made.override_by_name(heading, [prop("mappings", said), prop("custom.cellOptions", {"type": "auto", "wrapText": True})])
    for heading, width in panel.widths.items():
        made = made.override_by_name(heading, [prop("custom.width", width)])
    if panel.opens_cell:
        link = {"title": "Open this cell", "url": CELL_URL % "${__field.labels.instance}", "targetBlank": False}
        if panel.kind == "table":
            link["url"] = CELL_URL % "${__value.raw}"
            made = made.override_by_name(panel.labels["instance"], [prop("links", [link])])
        else:
            made = made.with_override(model.MatcherConfig(id_val="byType", options="number"), [prop("links", [link])])
    if panel.repeat:
        made = made.repeat(panel.repeat).repeat_direction("h").max_per_row(4)
    return made


def build_variable(variable, cell):
    made = (
        dash.QueryVariable(variable.name)
        .label(variable.label)
        .datasource(DATA_SOURCE)
        .query(f"label_values({filled(variable.series, cell)}, {variable.value})")
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(variable.many)
        .include_all(variable.many)
        .hide(model.VariableHide.HIDE_VARIABLE if variable.hidden else model.VariableHide.DONT_HIDE)
    )
    if variable.many:
        made = made.current(model.VariableOption(selected=True, text=["All"], value=["$__all"]))
    return made


def build_annotation(annotation, cell):
    made = PrometheusAnnotation(
        name=annotation.title,
        datasource=DATA_SOURCE,
        enable=annotation.enabled,
        icon_color=annotation.colour,
        expr=filled(annotation.expr, cell),
    )
    made.text = annotation.text
    return made


# What Grafana puts in for its variables, for a Prometheus that is asked without it.
FILLED = (("$__rate_interval", "1m"), ("$__range", "1h"), ("$camera", ".*"), ("$instance", ".*"))


def expressions(described):
    """Every expression: where it is asked, how ("instant" or "range"), and what has to be there for an answer, or null."""
    found = []

    def add(where, title, expr, how, needs=None):
        expr = filled(expr, 'instance=~"$instance"')
        for variable, value in FILLED:
            expr = expr.replace(variable, value)
        found.append(
            {"dashboard": described.uid, "where": where, "title": title, "expr": expr, "how": how, "needs": needs}
        )

    for variable in described.variables:
        add("variable", variable.name, variable.series, "instant")
    for annotation in described.annotations:
        add("annotation", annotation.title, annotation.expr, "range")
    for _, panels in described.sections:
        for panel in panels:
            for query in panel.queries:
                how = "instant" if panel.kind in NOW else "range"
                add("panel", panel.title, query.expr, how, query.needs)
    return found


def build(described) -> str:
    """The JSON of a dashboard, the same for the same description."""
    made = (
        dash.Dashboard(described.title)
        .uid(described.uid)
        .description(described.description)
        .tags(["recorder"])
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .refresh(REFRESH)
        .time(described.since, "now")
        .with_variable(dash.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for variable in described.variables:
        made = made.with_variable(build_variable(variable, described.cell))
    if described.link:
        uid, title = described.link
        made = made.link(
            dash.DashboardLink(title)
            .type(model.DashboardLinkType.LINK)
            .url(f"/d/{uid}?var-datasource=${{datasource}}")
            .icon("dashboard")
            .keep_time(True)
        )
    number = 0
    for heading, panels in described.sections:
        if heading:
            number += 1
            made = made.with_row(dash.Row(heading).id(number))
        for panel in panels:
            number += 1
            made = made.with_panel(build_panel(panel, number, described.cell))
    built = made.build()
    built.annotations.list_val = [build_annotation(a, described.cell) for a in described.annotations]
    return json.dumps(json.loads(JSONEncoder().encode(built)), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
