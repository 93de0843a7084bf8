"""The dashboard of one cell: a recorder with its cameras and its arm. What is read from afar comes first."""
from . import alarms, cell_detail
from .model import ACT, CALM, DIM, FINE, GPU, LOOK, Annotation, Dashboard, Panel, Query, Variable
from .words import (
    ALARM_STATES, ALARMS, ANY_STEPS, AWAY, AWAY_STATES, ENCODER, ENCODER_STATES, HEALTH, HEALTH_STATES, PHASE, PHASE_STATES,
    QUANTILES, RATE_AXIS, RATE_RATIO, RATE_STEPS, ROOM, ROOM_STATES, SAVE_AGE, SAVE_AGE_EPISODES, SAVE_AGE_STEPS, SHADES, event, quantile,
)

BANNER = (
    Panel(
        "stat", "Is it fine?", width=6, height=5,
        shows="One word for the whole cell, by the recording rule `instance:recorder_healthy:bool`: no alert fires, and it answers.",
        normal="FINE, green; OFF, grey, when its run is over.",
        otherwise="the list of alarms says what it is, and what to do. A recorder that "
        "vanishes in the middle of a run is OFF for a minute, then NOT FINE (RecorderDown). NO DATA: Prometheus does not know this cell.",
        unit="none", queries=(Query(HEALTH),), states=HEALTH_STATES, steps=((1.0, FINE),), base=ACT, empty="NO DATA",
    ),
    Panel(
        "stat", "It is", width=5, height=5,
        shows="What the run does now.",
        normal="recording and resetting in turns; done at the end.",
        otherwise="no value: the recorder does not run. Done too early: the terminal or the log says why the run ended.",
        unit="none", queries=(Query(PHASE),), states=PHASE_STATES, base=DIM, empty="NOT RUNNING",
    ),
    Panel(
        "stat", "Episodes", width=6, height=5,
        shows="Episodes that are saved since this recorder was started, and how many the run is to record.",
        normal="the first grows to the second. A run that was interrupted begins to count anew; the data set's own count is below.",
        otherwise="see when the last one was saved, and the outcomes below.",
        unit="none", decimals=0, named=True, base=CALM,
        queries=(
            Query('sum by (instance) (recorder_episodes_total{CELL,outcome="saved"})', "saved"),
            Query("max by (instance) (recorder_run_episodes{CELL})", "of"),
        ),
    ),
    Panel(
        "stat", "Since the last save", width=7, height=5,
        shows="Time since an episode was saved, or since the run began; and the same in episodes with their resets.",
        normal="at most about one episode.",
        otherwise="orange from three episodes on, red from ten (RecorderNoEpisodeSaved): does the arm move, does anybody end the "
        "takes, is a device away? When the run is done, only how long ago it was is left.",
        unit="dtdurations", decimals=0, named=True, base=CALM,
        queries=(Query(SAVE_AGE, "ago"), Query(SAVE_AGE_EPISODES, "episodes", unit="none", steps=SAVE_AGE_STEPS)),
    ),
)

NIGHT = (
    Panel(
        "timeline", "The night", width=14, height=9,
        shows="What was when: health, what the run did, who encoded, which devices were away, whether there was room.",
        normal="green health; the other rows without red. Gaps: the recorder did not run, or was not scraped.",
        otherwise="look straight below at the same time; the cross-hair goes through all panels.",
        unit="none", empty="nothing was recorded in this time",
        queries=(
            Query(HEALTH, "health", states=HEALTH_STATES),
            Query(PHASE, "run", states=PHASE_STATES),
            Query(ENCODER, "encoder {{camera}}", states=ENCODER_STATES),
            Query(AWAY, "{{device}}", states=AWAY_STATES),
            Query(ROOM, "disk", states=ROOM_STATES),
        ),
    ),
    alarms.now({}, width=10, height=9),
    Panel(
        "timeline", "Alarms of the night", width=24, height=5,
        shows="Which alert fired, from when to when.",
        normal="empty.",
        otherwise="begin with the one that fired first: the others often follow from it.",
        unit="none", empty="no alarm in this time",
        queries=(Query(f"max by (alertname) ({ALARMS})", "{{alertname}}", states=ALARM_STATES),),
    ),
)

EPISODES = (
    Panel(
        "bars", "Episodes by what became of them", width=9,
        shows="Takes that ended, in each ten minutes.",
        normal="as many in every ten minutes, green; discarded ones are those that somebody, or on_loss, threw away.",
        otherwise="red (RecorderEpisodeFailed) was not saved and should have been: the log says why, and `recorder verify` looks at "
        "the data set. A gap: nobody recorded, or a device was away.",
        unit="suffix: episodes", decimals=0, interval="10m", stacked=True,
        queries=tuple(
            Query(
                f'round(sum(increase(recorder_episodes_total{{CELL,outcome="{outcome}"}}[$__rate_interval])))',
                outcome, colour=colour,
            )
            for outcome, colour in (("saved", FINE), ("discarded", DIM), ("failed", ACT))
        ),
    ),
    Panel(
        "stat", "Since the recorder was started", width=4,
        shows="Takes by what became of them, and rows that were saved.",
        normal="none failed.",
        otherwise="failed takes were not saved: the log says why.",
        unit="none", decimals=0, named=True, base=CALM,
        queries=(
            Query('sum(recorder_episodes_total{CELL,outcome="saved"})', "saved"),
            Query('sum(recorder_episodes_total{CELL,outcome="discarded"})', "discarded"),
            Query('sum(recorder_episodes_total{CELL,outcome="failed"})', "failed", steps=ANY_STEPS),
            Query("sum(recorder_rows_total{CELL})", "rows", unit="short"),
        ),
    ),
    Panel(
        "stat", "Rows without a frame", width=3,
        shows="How far rows and frames of any camera are apart in the episodes that were saved, and takes that were refused for it.",
        normal="0: every row has its frame in every video.",
        otherwise="RecorderRowsWithoutFrames: stop, and run `recorder verify ROOT --deep` before anybody trains on it.",
        unit="none", decimals=0, named=True, steps=ANY_STEPS,
        queries=(
            Query(
                "max(abs(recorder_video_frames_total{CELL} - on (instance) group_left recorder_rows_total{CELL}))", "apart"
            ),
            Query("sum(recorder_frame_mismatches_total{CELL})", "refused"),
        ),
    ),
    Panel(
        "lines", "Episodes in the data set", width=4,
        shows="All episodes in the data set, those of earlier runs included.",
        normal="rises evenly.",
        otherwise="flat: nothing is saved. It falls only when somebody deletes episodes, or takes one back with the left key.",
        unit="suffix: episodes", decimals=0, stairs=True, least=None,
        queries=(Query("max by (instance) (recorder_dataset_episodes{CELL})", "episodes", colour=FINE),),
    ),
    Panel(
        "lines", "Time to save an episode", width=4,
        shows="From the last tick of an episode to its commit on disk, over 30 minutes.",
        normal="well below a second while videos are encoded in the episode; as long as encoding takes when that is done later.",
        otherwise="the encoders are behind (see the queues), or the disk is slow (see writing).",
        unit="s", steps=((1.0, LOOK),), empty="no episode was saved in this time",
        queries=tuple(
            Query(
                quantile(q, "recorder_episode_save_duration_seconds", window="30m"), name, colour=SHADES[name].format(CALM)
            )
            for name, q in QUANTILES
        ),
    ),
)

CAMERAS = (
    Panel(
        "lines", "Camera rate against its target",
        shows="Frames a second that each camera really delivers, as a share of what it is asked for; between takes too.",
        normal="100 %.",
        otherwise="below 95 % for a minute is RecorderCameraSlow: too little light (the camera exposes longer), a full USB bus, or a "
        "hot camera. Nothing at all: see the age of the newest frame.",
        unit="percentunit", steps=RATE_STEPS, base=ACT, least=None, soft=RATE_AXIS, queries=(Query(RATE_RATIO, "{{camera}}"),),
    ),
    Panel(
        "lines", "Frames a second",
        shows="The same in frames a second, with the targets dashed.",
        normal="each line on its target.",
        otherwise="as for the share of the target.",
        unit="hertz",
        queries=(
            Query("instance_camera:recorder_capture:rate1m{CELL}", "{{camera}}"),
            Query("recorder_camera_target_hertz{CELL}", "{{camera}} target", style="target"),
        ),
    ),
    Panel(
        "lines", "Age of the newest frame",
        shows="How long ago each camera's newest frame was captured, by the recorder's own clock.",
        normal="less than a tenth of a second.",
        otherwise="above two seconds while recording is RecorderCameraSilent: look at the cable and the hub; the recorder opens the "
        "camera again by itself.",
        unit="s", steps=((2.0, ACT),),
        queries=(
            Query(
                "clamp_min(recorder_time_seconds{CELL} - on (instance) group_right recorder_last_frame_timestamp_seconds{CELL}, 0)",
                "{{camera}}",
            ),
        ),
    ),
)

DASHBOARD = Dashboard(
    uid="recorder-cell",
    title="Recorder: one cell",
    description="One recorder with its cameras and its arm. The first two rows are for the wall; the rest says why.",
    cell='instance="$instance"',
    since="now-6h",
    variables=(
        Variable("instance", "Cell", 'up{job="recorder"}', "instance"),
        Variable("camera", "Camera", "recorder_camera_target_hertz{CELL}", "camera", many=True, hidden=True),
    ),
    annotations=(
        Annotation(
            "Encoder fallback", event("recorder_encoder_fallbacks_total", "from, to, reason"),
            "encoder: {{from}} → {{to}} ({{reason}})", GPU,
        ),
        Annotation("Device away", f"{AWAY} > 0", "{{device}} away", ACT),
        Annotation("Part restarted", event("recorder_actor_restarts_total", "actor, reason"), "{{actor}} restarted: {{reason}}", LOOK),
        Annotation(
            "Recorder started", "recorder_time_seconds{CELL} - process_start_time_seconds{CELL} < 30", "recorder started", CALM
        ),
        Annotation("Alarm", f"max by (alertname) ({ALARMS})", "{{alertname}}", ACT, enabled=False),
    ),
    sections=(
        ("", BANNER + NIGHT),
        ("Episodes and outcomes", EPISODES),
        ("Cameras", CAMERAS),
        *cell_detail.SECTIONS,
    ),
    link=("recorder-fleet", "All cells"),
)
