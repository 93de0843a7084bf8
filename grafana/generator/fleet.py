"""The dashboard of all cells: a row for each; a click opens the cell."""
from . import alarms
from .model import ACT, FINE, Annotation, Dashboard, Panel, Query, Variable
from .words import (
    ALARMS, ANY_STEPS, BUDGET, BUDGET_STEPS, DISK_LEFT, DISK_STEPS, DROPPED, ENCODER, ENCODER_STATES, HEALTH,
    HEALTH_STATES, PHASE, PHASE_STATES, QUEUE, QUEUE_STEPS, RATE_AXIS, RATE_RATIO, RATE_STEPS, SAVE_AGE, SAVE_AGE_EPISODES, SAVE_AGE_STEPS,
)

DROPPED_BY_CELL = f"sum by (instance) ({DROPPED})"
SLOWEST_CAMERA = f"min by (instance) ({RATE_RATIO})"
FULLEST_QUEUE = f"max by (instance) ({QUEUE})"
ENCODE_AGAINST_BUDGET = (
    "max by (instance) (instance_camera_backend:recorder_encode_duration_seconds:p99{CELL})"
    f" / on (instance) max by (instance) ({BUDGET})"
)
EPISODES = 'sum by (instance) (recorder_episodes_total{{CELL,outcome="{}"}})'.format

WALL = (
    Panel(
        "stat", "Cells", width=24, height=5,
        shows="A tile for each cell.",
        normal="green, or grey (OFF) when the run is over.",
        otherwise="click the red one.",
        unit="none", queries=(Query(HEALTH, "{{instance}}"),), states=HEALTH_STATES, steps=((1.0, FINE),), base=ACT,
        named=True, opens_cell=True, empty="NO DATA",
    ),
    Panel(
        "table", "Every cell", width=24, height=10,
        shows="A row for each cell: what it does, what it saved since it was started, and the worst of each kind.",
        normal="no red, no orange. Saved rises; the last save is about an episode ago.",
        otherwise="click the cell's name. A row with nothing but NOT FINE: the recorder does not run, or is not reached.",
        unit="none", labels={"instance": "Cell", "version": "Version"}, sort="Health", opens_cell=True,
        queries=(
            Query(HEALTH, "Health", states=HEALTH_STATES),
            Query(PHASE, "Does", states=PHASE_STATES),
            Query(f"count by (instance) ({ALARMS})", "Alarms", steps=ANY_STEPS),
            Query(EPISODES("saved"), "Saved"),
            Query(EPISODES("failed"), "Failed", steps=ANY_STEPS),
            Query(SAVE_AGE, "Last save", unit="dtdurations"),
            Query(SAVE_AGE_EPISODES, "In episodes", steps=SAVE_AGE_STEPS),
            Query(SLOWEST_CAMERA, "Slowest camera", unit="percentunit", steps=((0.0, ACT), *RATE_STEPS)),
            Query(DROPPED_BY_CELL, "Lost in 10 min", steps=ANY_STEPS),
            Query(FULLEST_QUEUE, "Fullest queue", unit="percentunit", steps=QUEUE_STEPS),
            Query(ENCODE_AGAINST_BUDGET, "Encode p99 of budget", unit="percentunit", steps=BUDGET_STEPS),
            Query(f"max by (instance) ({ENCODER})", "Encoder", states=ENCODER_STATES),
            Query(DISK_LEFT, "Disk lasts", unit="dtdurations", steps=((0.0, ACT), *DISK_STEPS)),
            Query("max by (instance, version) (recorder_build_info{CELL})", ""),
        ),
    ),
)

NIGHT = (
    Panel(
        "timeline", "Health through the night", width=14, height=8,
        shows="Which cell was fine when.",
        normal="green, and grey when the run is over.",
        otherwise="open the cell at that time: the time range goes along.",
        unit="none", states=HEALTH_STATES, queries=(Query(HEALTH, "{{instance}}"),), opens_cell=True,
    ),
    alarms.now({"instance": "Cell"}, width=10, height=8, opens_cell=True),
    Panel(
        "timeline", "What each cell did", width=14, height=8,
        shows="Which cell recorded when.",
        normal="recording and resetting in turns.",
        otherwise="a gap: the recorder did not run, or was not scraped; grey: its run was done.",
        unit="none", states=PHASE_STATES, queries=(Query(PHASE, "{{instance}}"),), opens_cell=True,
    ),
    Panel(
        "lines", "Episodes in the data sets", width=10, height=8,
        shows="Episodes in each cell's data set, and of all of them together.",
        normal="each line rises evenly.",
        otherwise="flat: that cell saves nothing.",
        unit="suffix: episodes", decimals=0, stairs=True,
        queries=(
            Query("sum by (instance) (recorder_dataset_episodes{CELL})", "{{instance}}"),
            Query("sum(recorder_dataset_episodes{CELL})", "together", style="dim"),
        ),
    ),
)

WORST = (
    Panel(
        "lines", "Slowest camera",
        shows="The rate of each cell's slowest camera, as a share of what it is asked for.",
        normal="100 %.",
        otherwise="open the cell: its camera section names the camera.",
        unit="percentunit", least=None, soft=RATE_AXIS, steps=RATE_STEPS, base=ACT, queries=(Query(SLOWEST_CAMERA, "{{instance}}"),),
    ),
    Panel(
        "lines", "Frames lost in ten minutes",
        shows="Frames of takes that are in no video although they should be.",
        normal="none.",
        otherwise="open the cell: it tells stage and reason.",
        unit="suffix: frames", decimals=0, stairs=True, steps=ANY_STEPS, queries=(Query(DROPPED_BY_CELL, "{{instance}}"),),
    ),
    Panel(
        "lines", "Encode time (p99) against the budget",
        shows="The slowest camera's encode time, as a share of the time from one row to the next.",
        normal="below 80 %.",
        otherwise="above 100 % for long, frames queue: open the cell.",
        unit="percentunit", steps=BUDGET_STEPS, queries=(Query(ENCODE_AGAINST_BUDGET, "{{instance}}"),),
    ),
)

DASHBOARD = Dashboard(
    uid="recorder-fleet",
    title="Recorder: all cells",
    description="All recorders that this Prometheus watches. A click on a cell opens its own dashboard.",
    cell='instance=~"$instance"',
    since="now-12h",
    variables=(Variable("instance", "Cells", 'up{job="recorder"}', "instance", many=True),),
    annotations=(
        Annotation(
            "Page", 'max by (instance, alertname) (ALERTS{CELL,alertstate="firing",severity="page"})',
            "{{instance}}: {{alertname}}", ACT,
        ),
    ),
    sections=(("", WALL), ("The night", NIGHT), ("The worst of each cell", WORST)),
)
