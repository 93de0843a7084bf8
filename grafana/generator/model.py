"""What a dashboard is made of, apart from Grafana's JSON."""
from dataclasses import dataclass, field

# Colours mean the same everywhere: green is fine, yellow wants a look, red wants a hand; the rest means neither.
FINE, LOOK, ACT = "green", "orange", "red"
CALM, DIM, GPU, CPU = "blue", "#8e8e8e", "purple", "blue"

NO_RECORDER = "no data: does the recorder run, and does Prometheus reach it?"
NO_GPU = "no GPU"


@dataclass(frozen=True)
class State:
    """What a value is called, and its colour."""

    value: int
    text: str
    colour: str


@dataclass(frozen=True)
class Query:
    expr: str
    # With labels in double braces; for a table the column's heading.
    legend: str = ""
    # "series", or "limit": what others are held against, red and dashed; "target": the same in grey; "dim": by design.
    style: str = "series"
    colour: str | None = None
    # "gpu": nothing comes back on a machine without one. Nothing else may be empty in a run with every kind of fault.
    needs: str | None = None
    # Of this query alone; otherwise the panel's.
    unit: str | None = None
    states: tuple[State, ...] = ()
    steps: tuple[tuple[float, str], ...] | None = None


@dataclass(frozen=True)
class Panel:
    # "lines", "bars", "stat", "timeline" or "table".
    kind: str
    title: str
    # The three parts of every description.
    shows: str
    normal: str
    otherwise: str
    unit: str
    queries: tuple[Query, ...]
    width: int = 8
    height: int = 8
    # From which value on which colour; below the first one it is fine. Drawn as lines where there is an axis.
    steps: tuple[tuple[float, str], ...] = ()
    # Of a value below the first step.
    base: str = FINE
    states: tuple[State, ...] = ()
    # What is said where nothing came back.
    empty: str = NO_RECORDER
    least: float | None = 0
    most: float | None = None
    # What the axis shows at least.
    soft: tuple[float, float] | None = None
    decimals: int | None = None
    # The smallest step between two points.
    interval: str | None = None
    # A panel for each value of this variable.
    repeat: str | None = None
    logarithmic: bool = False
    # Lines that change at once, not gradually: counts.
    stairs: bool = False
    stacked: bool = False
    # Of a stat: with its name.
    named: bool = False
    # Of a table: labels that are columns, with their headings, and the column to sort by.
    labels: dict[str, str] = field(default_factory=dict)
    sort: str | None = None
    # Of a table, by heading: what is shown in the place of a label's value; columns of a fixed width, in pixels.
    texts: dict[str, dict[str, str]] = field(default_factory=dict)
    widths: dict[str, int] = field(default_factory=dict)
    # A click leads to the cell.
    opens_cell: bool = False

    @property
    def description(self) -> str:
        return f"{self.shows}\n\n**Normal:** {self.normal}\n\n**Otherwise:** {self.otherwise}"


@dataclass(frozen=True)
class Annotation:
    title: str
    expr: str
    # What the mark says, with labels in double braces.
    text: str
    colour: str
    enabled: bool = True


@dataclass(frozen=True)
class Variable:
    name: str
    label: str
    # Series whose label gives the values.
    series: str
    value: str
    many: bool = False
    hidden: bool = False


@dataclass(frozen=True)
class Dashboard:
    uid: str
    title: str
    description: str
    # What CELL stands for.
    cell: str
    since: str
    variables: tuple[Variable, ...]
    annotations: tuple[Annotation, ...]
    # Sections in their order, each with a heading; the first has none.
    sections: tuple[tuple[str, tuple[Panel, ...]], ...]
    # The other dashboard's uid and what the link to it says.
    link: tuple[str, str] | None = None
