"""Holds a dashboard's JSON to what Grafana's SDK, the recorder's metrics and the recording rules know.

Each function gives lines that say what is wrong, where; none means that nothing is.
"""
import enum
import json
import re
import typing
from types import UnionType

import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.cog.runtime import Runtime
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import units

from .build import DATA_SOURCE, PrometheusAnnotation
from .promql import unknown_words

register_default_plugins()

WIDTH = 24
UNITS = {value for name, value in vars(units).items() if isinstance(value, str) and not name.startswith("_")}
TRANSFORMATIONS = {"merge", "filterFieldsByName", "organize"}
# Of a field's standard options, those that an override may set; "custom." and the panel's own besides.
OVERRIDABLE = {"color", "unit", "mappings", "thresholds", "links", "decimals", "displayName", "min", "max", "noValue"}
PARTS = ("**Normal:**", "**Otherwise:**")


def files(root, paths):
    known = names(root)
    for path in paths:
        place = str(path.relative_to(root))
        try:
            found = json.loads(path.read_text())
        except (OSError, ValueError) as e:
            yield f"{place}: {e}; run grafana/generate.py"
            continue
        for line in dashboard(found, known):
            yield f"{place}: {line}"
    yield from unshown(root, paths, known)


def names(root):
    """Every metric that may be asked for, with its labels; the recording rules' are not known: None."""
    declared = re.findall(
        r'= "(recorder_\w+)",\s*Kind::(\w+)(?:\(\w+\))?,\s*\[([^\]]*)\]', (root / "src/metrics.rs").read_text()
    )
    known = {}
    for name, kind, labels in declared:
        labels = set(re.findall(r"\w+", labels)) | {"instance", "job"}
        if kind == "Histogram":
            known |= {name + "_bucket": labels | {"le"}, name + "_count": labels, name + "_sum": labels}
        else:
            known[name] = labels
    for name in ("up", "scrape_duration_seconds", "process_cpu_seconds_total", "process_resident_memory_bytes",
                 "process_open_fds", "process_threads", "process_start_time_seconds"):
        known[name] = {"instance", "job"}
    known["ALERTS"] = {"instance", "job", "alertname", "alertstate", "severity"}
    for group in yaml.safe_load((root / "grafana/rules.yml").read_text())["groups"]:
        known |= {rule["record"]: None for rule in group["rules"] if "record" in rule}
    return known


def dashboard(found, known):
    if not isinstance(found, dict) or not isinstance(found.get("panels"), list):
        return ["expected a dashboard with panels"]
    wrong = [*schema(found)]
    if wrong:
        return wrong
    panels = [p for p in found["panels"] if p["type"] != "row"]
    wrong += layout(found["panels"])
    for panel in panels:
        wrong += [f"panel {panel.get('title')!r}: {line}" for line in one_panel(panel, known)]
    for annotation in found["annotations"].get("list", []):
        wrong += [f"annotation {annotation['name']!r}: {line}" for line in asked(annotation, known)]
        for extra in PrometheusAnnotation.EXTRAS:
            if not isinstance(annotation.get(extra), str):
                wrong.append(f"annotation {annotation['name']!r}: expected {extra}, text")
    variables = {v["name"]: v for v in found["templating"].get("list", [])}
    if variables.get("datasource", {}).get("type") != "datasource" or variables["datasource"].get("query") != "prometheus":
        wrong.append("expected a variable `datasource` of type prometheus")
    for name, variable in variables.items():
        if variable["type"] == "query":
            inner = re.fullmatch(r"label_values\((.+), \w+\)", str(variable.get("query")))
            if inner is None:
                wrong.append(f"variable {name!r}: expected label_values(series, label), found {variable.get('query')!r}")
            else:
                wrong += [f"variable {name!r}: {w}" for w in unknown_words(inner[1], known)]
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps([found["panels"], found["annotations"], found["templating"]])))
    for name in sorted(used - set(variables)):
        wrong.append(f"variable {name!r} is used and not declared")
    return wrong


def schema(found):
    """The SDK's classes take all of it, know every field, and every value is of the type that they declare."""
    bare = json.loads(json.dumps(found))
    for annotation in bare.get("annotations", {}).get("list", []):
        for extra in PrometheusAnnotation.EXTRAS:
            annotation.pop(extra, None)
    try:
        read = model.Dashboard.from_json(bare)
        again = json.loads(JSONEncoder().encode(read))
    except (AttributeError, KeyError, TypeError, ValueError) as e:
        return [f"the SDK cannot read it: {type(e).__name__}: {e}"]
    return [*differences(bare, again, ""), *types(read, model.Dashboard, "")]


def differences(a, b, place):
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted(a.keys() | b.keys()):
            if key not in b:
                yield f"{place}.{key}: the SDK does not know it"
            elif key not in a:
                yield f"{place}.{key}: missing"
            else:
                yield from differences(a[key], b[key], f"{place}.{key}")
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b)):
            yield from differences(x, y, f"{place}[{i}]")
    elif a != b or type(a) is not type(b):
        yield f"{place}: expected {b!r}, found {a!r}"


def types(value, wanted, place):
    """Where a value is not of the type that the SDK declares for it."""
    if isinstance(wanted, str):
        return
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (typing.Union, UnionType):
        if not any(not [*types(value, w, place)] for w in inner):
            # What is said is about the alternative that was meant.
            meant = [w for w in inner if isinstance(w, type) and isinstance(value, w)] or inner
            yield from types(value, meant[0], place)
    elif origin is typing.Literal:
        if value not in inner:
            yield f"{place}: expected one of {inner}, found {value!r}"
    elif origin is list:
        if not isinstance(value, list):
            yield f"{place}: expected a list, found {value!r}"
            return
        for i, item in enumerate(value):
            yield from types(item, inner[0], f"{place}[{i}]")
    elif origin is dict:
        for key, item in value.items():
            yield from types(item, inner[1], f"{place}.{key}")
    elif wanted is object or wanted is typing.Any:
        if hasattr(value, "to_json"):
            yield from types(value, type(value), place)
    elif isinstance(wanted, type) and issubclass(wanted, enum.Enum):
        if value not in {e.value for e in wanted}:
            yield f"{place}: expected one of {sorted(str(e.value) for e in wanted)}, found {value!r}"
    elif wanted is float:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            yield f"{place}: expected a number, found {value!r}"
    elif wanted in (int, str, bool, type(None)):
        if not isinstance(value, wanted) or isinstance(value, bool) and wanted is int:
            yield f"{place}: expected {wanted.__name__}, found {value!r}"
    elif isinstance(value, dict) and hasattr(wanted, "from_json"):
        # Some lists the SDK reads as they are.
        read = wanted.from_json(value)
        yield from differences(value, json.loads(JSONEncoder().encode(read)), place)
        yield from types(read, wanted, place)
    elif not isinstance(value, wanted):
        yield f"{place}: expected {wanted.__name__}, found {value!r}"
    else:
        for name, hint in typing.get_type_hints(type(value)).items():
            yield from types(getattr(value, name, None), hint, f"{place}.{name}")


def layout(panels):
    """Numbers are unique; nothing overlaps, sticks out, or leaves a hole."""
    wrong, taken = [], {}
    for number in {p.get("id") for p in panels}:
        if sum(p.get("id") == number for p in panels) > 1 or not isinstance(number, int):
            wrong.append(f"panel number {number!r}: expected one panel with it")
    for panel in panels:
        at, title = panel["gridPos"], panel.get("title")
        if at["x"] + at["w"] > WIDTH or min(at["w"], at["h"]) < 1:
            wrong.append(f"panel {title!r} does not fit into the grid's {WIDTH} columns")
        for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            if cell in taken and taken[cell] != title:
                wrong.append(f"panels {taken[cell]!r} and {title!r} overlap")
                break
            taken[cell] = title
    bottom = max((y for _, y in taken), default=-1) + 1
    holes = [(x, y) for y in range(bottom) for x in range(WIDTH) if (x, y) not in taken]
    if holes:
        wrong.append(f"the grid has a hole at column {holes[0][0]}, line {holes[0][1]}")
    return wrong


def one_panel(panel, known):
    kind = Runtime().panelcfg_variants.get(panel["type"])
    if kind is None:
        yield f"type {panel['type']!r} is none of Grafana's"
        return
    defaults = panel["fieldConfig"]["defaults"]
    words = panel.get("description", "")
    if not all(part in words for part in PARTS) or not words.split(PARTS[0])[0].strip():
        yield "expected a description that tells what it shows, what is normal, and what to do otherwise"
    unit = defaults.get("unit", "")
    if unit not in UNITS and not unit.startswith("suffix:"):
        yield f"unit {unit!r} is none of Grafana's"
    if not defaults.get("noValue"):
        yield "expected noValue: what is said when nothing comes back"
    if not defaults.get("thresholds", {}).get("steps"):
        yield "expected thresholds"
    if panel.get("datasource") != DATA_SOURCE.to_json():
        yield f"data source: expected {DATA_SOURCE.to_json()}, found {panel.get('datasource')}"
    refs = [t["refId"] for t in panel["targets"]]
    if not refs or len(set(refs)) != len(refs):
        yield f"expected queries with names of their own, found {refs}"
    for target in panel["targets"]:
        for line in asked(target, known):
            yield f"query {target['refId']}: {line}"
    for transformation in panel.get("transformations", []):
        if transformation["id"] not in TRANSFORMATIONS:
            yield f"transformation {transformation['id']!r} is not one of {sorted(TRANSFORMATIONS)}"
    yield from overrides(panel, refs, kind)


def overrides(panel, refs, kind):
    custom = set()
    if kind.field_config_from_json_hook:
        hints = typing.get_type_hints(type(kind.field_config_from_json_hook({})))
        custom = {"custom." + re.sub(r"_(\w)", lambda m: m[1].upper(), name) for name in hints}
    for override in panel["fieldConfig"]["overrides"]:
        matcher = override["matcher"]
        if matcher["id"] == "byFrameRefID" and matcher["options"] not in refs:
            yield f"an override is for query {matcher['options']!r}, which is not there"
        for p in override["properties"]:
            if p["id"] not in OVERRIDABLE | custom:
                yield f"an override sets {p['id']!r}, which a {panel['type']} does not have"
            if p["id"] == "unit" and p["value"] not in UNITS and not p["value"].startswith("suffix:"):
                yield f"unit {p['value']!r} is none of Grafana's"


def asked(target, known):
    if target.get("datasource") != DATA_SOURCE.to_json():
        yield f"data source: expected {DATA_SOURCE.to_json()}, found {target.get('datasource')}"
    expr = target.get("expr", "")
    if not expr:
        yield "expected an expression"
    if "$instance" not in expr:
        yield f"expected the choice of cells, $instance, in {expr}"
    yield from unknown_words(expr, known)


def unshown(root, paths, known):
    """Metrics that are declared and that nobody would ever see: in no dashboard, rule or alert."""
    texts = [p.read_text() for p in [*paths, root / "grafana/rules.yml", root / "grafana/alerts.yml"] if p.exists()]
    for name in sorted({re.sub("_(bucket|sum|count)$", "", n) for n in known if n.startswith("recorder_")}):
        if not any(re.search(rf"\b{name}(_bucket|_sum|_count)?\b", text) for text in texts):
            yield f"{name} is declared in src/metrics.rs and in no dashboard, rule or alert"
