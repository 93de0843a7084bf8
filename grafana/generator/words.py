"""What both dashboards, or several of their panels, ask in the same words, and from where on it is not fine.

`CELL` stands for the dashboard's choice of recorders: `recorder_phase{CELL}`.
"""
from .model import ACT, CALM, CPU, DIM, FINE, GPU, LOOK, Query, State

# 2: the recorder does not run, and no alert says that it should.
HEALTH = (
    'max by (instance) ((up{CELL,job="recorder"} == 0) + 2'
    ' unless on (instance) ALERTS{CELL,alertname=~"Recorder.+",alertstate="firing"})'
    " or max by (instance) (instance:recorder_healthy:bool{CELL})"
)
HEALTH_STATES = (State(0, "NOT FINE", ACT), State(1, "FINE", FINE), State(2, "OFF", DIM))

# One number for what the run does: exactly one phase is 1.
PHASE_NAMES = (("starting", CALM), ("recording", FINE), ("resetting", GPU), ("finishing", CALM), ("done", DIM))
PHASE = "max by (instance) (%s)" % " or ".join(
    f'recorder_phase{{CELL,phase="{name}"}} * {i}' for i, (name, _) in enumerate(PHASE_NAMES, 1)
)
PHASE_STATES = tuple(State(i, name, colour) for i, (name, colour) in enumerate(PHASE_NAMES, 1))

SAVE_AGE = "max by (instance) (recorder_time_seconds{CELL} - recorder_last_save_timestamp_seconds{CELL})"
# In episodes: how many could have been saved since. RecorderNoEpisodeSaved fires at ten. Nobody waits for one after the run.
SAVE_AGE_EPISODES = (
    "max by (instance) ((recorder_time_seconds{CELL} - recorder_last_save_timestamp_seconds{CELL})"
    ' / recorder_episode_cycle_seconds{CELL} and on (instance) recorder_phase{CELL,phase="done"} == 0)'
)
SAVE_AGE_STEPS = ((3.0, LOOK), (10.0, ACT))

RATE_RATIO = "instance_camera:recorder_capture:rate1m{CELL} / on (instance, camera) recorder_camera_target_hertz{CELL}"
# Higher is better: from 0.95 on it is fine. RecorderCameraSlow fires below.
RATE_STEPS = ((0.95, FINE),)
# Shown at least: a tenth of a percent is not to look like an accident.
RATE_AXIS = (0.8, 1.05)

DROPPED = "instance_camera_stage_reason:recorder_frames_dropped:increase10m{CELL}"
ANY_STEPS = ((1.0, ACT),)

QUEUE = "instance_camera:recorder_queue:ratio{CELL}"
QUEUE_STEPS = ((0.5, LOOK), (0.8, ACT))

BUDGET = "recorder_frame_budget_seconds{CELL}"
BUDGET_STEPS = ((0.8, LOOK), (1.0, ACT))

# Recording time on the disk: RecorderDiskLow fires below two hours.
DISK_LEFT = "min by (instance) (recorder_recordable_seconds{CELL})"
DISK_STEPS = ((2 * 3600.0, LOOK), (4 * 3600.0, FINE))

ALARM_STATES = (State(1, "warning", LOOK), State(2, "PAGE", ACT))
ALARMS = (
    'ALERTS{CELL,alertstate="firing",severity="page"} * 2 or ALERTS{CELL,alertstate="firing",severity!="page"}'
)

# One number for who makes a camera's video: a GPU, the CPU, or nobody; 10 more when it should be the GPU and is not.
ENCODER = (
    'max by (instance, camera) (recorder_encoder_info{CELL,backend="nvenc"} * 3 or recorder_encoder_info{CELL,backend!="nvenc"})'
    " + on (instance, camera) max by (instance, camera) (recorder_encoder_fallback{CELL}) * 10"
)
ENCODER_STATES = (
    State(0, "none", DIM), State(1, "CPU", CALM), State(3, "GPU", GPU), State(11, "CPU instead of the GPU", LOOK),
    State(10, "waits on disk for the GPU", ACT), State(13, "waits on disk for the GPU", ACT),
)

AWAY = "max by (device) (recorder_device_away{CELL})"
AWAY_STATES = (State(0, "there", FINE), State(1, "AWAY", ACT))
ROOM = "min by (instance) (recorder_disk_room{CELL})"
ROOM_STATES = (State(0, "FULL", ACT), State(1, "little", LOOK), State(2, "enough", FINE))

# The time from one row to the next, drawn as a line.
FRAME_BUDGET = Query(f"max by (instance) ({BUDGET})", "budget", style="limit")

QUANTILES = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
# Darker is rarer.
SHADES = {"p50": "light-{}", "p90": "{}", "p99": "dark-{}"}
# How a backend is selected, its colour, and what its queries need.
BACKENDS = (('backend="nvenc"', GPU, "gpu"), ('backend!="nvenc"', CPU, None))


def quantile(q, histogram, labels="", window="5m", where=""):
    """A quantile over all series that share the labels."""
    by = f"le, {labels}" if labels else "le"
    where = f",{where}" if where else ""
    return f"histogram_quantile({q}, sum by ({by}) (rate({histogram}_bucket{{CELL{where}}}[{window}])))"


def event(metric, labels):
    """Where a counter went up within a minute, also when it was born with its first event."""
    return (
        f"sum by ({labels}) (increase({metric}{{CELL}}[1m]) > 0"
        f" or ({metric}{{CELL}} > 0 unless {metric}{{CELL}} offset 1m))"
    )
