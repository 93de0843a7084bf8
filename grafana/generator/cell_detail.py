"""The lower sections of a cell's dashboard: where frames get lost, what waits, the control loop, the arm, the machine."""
from .cell_encoding import ENCODING
from .model import ACT, CALM, FINE, LOOK, NO_GPU, Panel, Query, State
from .words import (
    ANY_STEPS, AWAY, AWAY_STATES, DISK_LEFT, DISK_STEPS, DROPPED, FRAME_BUDGET, QUEUE, QUEUE_STEPS, ROOM, ROOM_STATES, quantile,
)

DROPS = (
    Panel(
        "lines", "Frames lost in ten minutes, by stage and reason", width=9,
        shows="Frames of takes that are in no video although they should be, counted over the ten minutes before.",
        normal="none.",
        otherwise="any is RecorderFramesDropped. capture, no_credit: memory is full, because encoders are behind (see the queues); "
        "capture, wrong_size and decode, corrupt: the camera sends broken pictures (cable, hub); align, late: it came after its row; "
        "encode, spill_full: the disk's share for waiting frames is used up.",
        unit="suffix: frames", decimals=0, steps=ANY_STEPS, stairs=True, stacked=True,
        queries=(Query(f"sum by (stage, reason) ({DROPPED})", "{{stage}}: {{reason}}"),),
    ),
    Panel(
        "lines", "Frames lost in ten minutes, by camera", width=7,
        shows="The same by camera, and frames that the camera's driver counted and never delivered.",
        normal="none.",
        otherwise="one camera alone: its cable, its hub, or its light; all at once: the machine.",
        unit="suffix: frames", decimals=0, steps=ANY_STEPS, stairs=True,
        queries=(
            Query(f"sum by (camera) ({DROPPED})", "{{camera}}"),
            Query("sum by (camera) (increase(recorder_frames_missed_total{CELL}[10m]))", "{{camera}}: never delivered"),
        ),
    ),
    Panel(
        "lines", "What becomes of frames", width=8,
        shows="Frames of all cameras in takes: captured, and written to videos. Grey, and by design: rows that repeat the frame before "
        "(the camera is slower than the data set), and frames that were superseded (it is faster). They are no loss and never an alarm.",
        normal="captured = written + superseded; nothing repeated when cameras are as fast as the data set.",
        otherwise="repeated goes up: a camera is too slow; superseded goes up: its fps is above dataset.fps.",
        unit="hertz",
        queries=(
            Query("sum(rate(recorder_frames_captured_total{CELL}[$__rate_interval]))", "captured", colour=CALM),
            Query("sum(rate(recorder_frames_written_total{CELL}[$__rate_interval]))", "written", colour=FINE),
            Query("sum(rate(recorder_frames_duplicated_total{CELL}[$__rate_interval]))", "repeated", style="dim"),
            Query(
                'sum(rate(recorder_frames_dropped_total{CELL,reason="superseded"}[$__rate_interval]))', "superseded", style="dim"
            ),
        ),
    ),
)

QUEUES = (
    Panel(
        "lines", "Queue to the encoders", width=6,
        shows="Frames of each camera that wait in memory for an encoder, as a share of those that may; above 100 % frames wait on "
        "disk too.",
        normal="below 10 %.",
        otherwise="above 80 % for ten seconds is RecorderQueueNearlyFull: encoders are too slow (see their times against the budget). "
        "Frames then wait on disk; nothing is lost before that is full too.",
        unit="percentunit", soft=(0, 1), steps=QUEUE_STEPS, queries=(Query(QUEUE, "{{camera}}"),),
    ),
    Panel(
        "lines", "Memory of frames", width=6,
        shows="Memory that frames of all cameras hold, and the limit (limits.frame_memory_mib).",
        normal="flat, far below the limit.",
        otherwise="at the limit frames are lost at capture: see the encoders.",
        unit="bytes",
        queries=(
            Query("recorder_frame_memory_bytes{CELL}", "held", colour=CALM),
            Query("recorder_frame_memory_limit_bytes{CELL}", "limit", style="limit"),
        ),
    ),
    Panel(
        "lines", "Frames that wait on disk", width=6,
        shows="Bytes of frames that wait for an encoder on disk, because memory is for new ones, and their limit; and pictures that are "
        "kept until their episode is saved.",
        normal="nothing waits for an encoder; kept pictures come and go with the episodes that are encoded later.",
        otherwise="it only grows: the encoders never catch up; use fewer pixels, fewer frames, or another preset.",
        unit="bytes",
        queries=(
            Query("recorder_spill_bytes{CELL}", "wait for an encoder", colour=LOOK),
            Query("recorder_waiting_bytes{CELL}", "kept until saved", colour=CALM),
            Query("recorder_spill_limit_bytes{CELL}", "limit", style="limit"),
        ),
    ),
    Panel(
        "lines", "Episodes that wait to be saved", width=6,
        shows="Episodes that are recorded, durable on disk, and not saved yet.",
        normal="0 while videos are encoded in the episode; a few with async_video_encoding.",
        otherwise="it only grows: encoding is slower than recording; at 32 the next episode waits.",
        unit="suffix: episodes", decimals=0, stairs=True, steps=((8.0, LOOK), (32.0, ACT)),
        queries=(Query("recorder_waiting_episodes{CELL}", "episodes", colour=CALM),),
    ),
)


LOOP = (
    Panel(
        "lines", "Tick jitter (p99)",
        shows="How late the control loop wakes, against the time from one row to the next. Logarithmic.",
        normal="below a millisecond.",
        otherwise="the machine is overloaded, or may not use real-time priority: close other programs; see docs/performance.md.",
        unit="s", steps=((0.005, LOOK),), least=None, logarithmic=True,
        queries=(Query("instance:recorder_tick_jitter_seconds:p99{CELL}", "jitter", colour=CALM), FRAME_BUDGET),
    ),
    Panel(
        "lines", "Camera skew (p99)",
        shows="Time between the oldest and the newest picture in one row.",
        normal="below the budget: cameras are not synchronised, so each is up to one frame old.",
        otherwise="one camera is slow, or hangs: see its rate and its gaps.",
        unit="s", queries=(Query("instance:recorder_camera_skew_seconds:p99{CELL}", "skew", colour=CALM), FRAME_BUDGET),
    ),
    Panel(
        "lines", "Gaps between frames (p99)",
        shows="Time from one captured frame to the next.",
        normal="one period of the camera.",
        otherwise="two periods: it drops frames before they come to us (light, USB).",
        unit="s", queries=(Query(quantile(0.99, "recorder_capture_interval_seconds", "camera"), "{{camera}}"), FRAME_BUDGET),
    ),
)

ARM = (
    Panel(
        "lines", "Time of a tick's talk with an arm",
        shows="Reading positions and writing goals, by arm, against the budget.",
        normal="a few milliseconds.",
        otherwise="more: a USB hub in between, or servos that answer late; near the budget rows go without the arm.",
        unit="s", empty="no arm",
        queries=(
            *(
                Query(f"instance_arm:recorder_arm_transaction_seconds:{name}{{CELL}}", f"{{{{arm}}}} {name}")
                for name in ("p50", "p99")
            ),
            FRAME_BUDGET,
        ),
    ),
    Panel(
        "bars", "Arm errors by kind",
        shows="Failed talks with an arm.",
        normal="none; a single time-out now and then is harmless.",
        otherwise="overload (RecorderArmOverload): the arm pushes against something; overheat (RecorderArmOverheated): let it rest; "
        "voltage (RecorderArmVoltage): its power supply; timeouts and checksums: the cable.",
        unit="suffix: errors", decimals=0, stacked=True, empty="no error in this time",
        queries=(
            Query(
                "sum by (arm, kind) (increase(recorder_arm_errors_total{CELL}[$__rate_interval])) > 0", "{{arm}}: {{kind}}"
            ),
        ),
    ),
    Panel(
        "lines", "Temperature of the motors",
        shows="What each motor says of itself, asked one after the other.",
        normal="40 to 50 °C at work.",
        otherwise="60 °C (robot.max_temperature_c): let it rest, lighten its load (RecorderArmOverheated); at 70 it gives up.",
        unit="celsius", empty="no arm", steps=((60.0, LOOK), (70.0, ACT)),
        queries=(Query("recorder_arm_motor_temperature_celsius{CELL}", "{{arm}} {{motor}}"),),
    ),
    Panel(
        "lines", "Load of the motors",
        shows="Share of the largest torque, by the sense of turning.",
        normal="below 0.5, but for a moment.",
        otherwise="one that stays high pushes against something (RecorderArmOverload).",
        unit="percentunit", empty="no arm",
        queries=(Query("recorder_arm_motor_load_ratio{CELL}", "{{arm}} {{motor}}"),),
    ),
    Panel(
        "lines", "Voltage of the motors",
        shows="The supply as each motor measures it.",
        normal="the power supply's, alike in all.",
        otherwise="dips under load, or the last motors of the chain lower: a weak supply, a thin cable (RecorderArmVoltage).",
        unit="volt", empty="no arm",
        queries=(Query("recorder_arm_motor_volts{CELL}", "{{arm}} {{motor}}"),),
    ),
    Panel(
        "lines", "Rows without the arm, in ten minutes",
        shows="Rows in which the arm did not answer in time: they hold its last position.",
        normal="none.",
        otherwise="see the time of its talk, and its errors.",
        unit="suffix: rows", decimals=0, steps=((1.0, LOOK), (100.0, ACT)), stairs=True,
        queries=(Query("sum(increase(recorder_arm_misses_total{CELL}[10m]))", "rows", colour=CALM),),
    ),
    Panel(
        "timeline", "What became of the motors", width=24, height=6,
        shows="What the arm does with a motor that something is wrong with, by joint, the worst of both arms; and whether the leader answers.",
        normal="they follow.",
        otherwise="held, limp: by robot.on_motor_fault; the log says what is wrong. A silent leader: its cable and power; the arm holds "
        "its goal meanwhile.",
        unit="none", empty="no arm",
        queries=(
            Query(
                "max by (motor) (recorder_arm_motor_held{CELL})", "{{motor}}",
                states=(State(0, "follows", FINE), State(1, "held", LOOK), State(2, "LIMP", ACT)),
            ),
            Query(
                "recorder_leader_silent{CELL}", "leader",
                states=(State(0, "answers", FINE), State(1, "SILENT", ACT)),
            ),
        ),
    ),
)


DISK = (
    Panel(
        "lines", "Recording time left on the disk", width=10,
        shows="How long the free space lasts at the rate so far.",
        normal="longer than the night.",
        otherwise="below two hours is RecorderDiskLow: make room, or record elsewhere. The recorder ends and saves the take in time.",
        unit="s", steps=DISK_STEPS, base=ACT, queries=(Query(DISK_LEFT, "left", colour=CALM),),
    ),
    Panel(
        "lines", "Free space", width=7,
        shows="Free space where the data set is.",
        normal="falls slowly and evenly.",
        otherwise="steps down: another program fills the disk.",
        unit="bytes", queries=(Query("recorder_disk_free_bytes{CELL}", "free", colour=CALM),),
    ),
    Panel(
        "stat", "Room to record", width=3,
        shows="What the recorder makes of the free space.",
        normal="enough.",
        otherwise="little: it warns; FULL (RecorderDiskFull): it has stopped or waits for room (run.on_low_disk).",
        unit="none", states=ROOM_STATES, base=ACT, steps=((1.0, LOOK), (2.0, FINE)), queries=(Query(ROOM),),
    ),
    Panel(
        "stat", "Until no episode begins", width=4,
        shows="Time that run.until and run.max_hours leave.",
        normal="no limit, or what was planned.",
        otherwise="change run.until or run.max_hours for the next run.",
        unit="dtdurations", decimals=0, base=CALM, states=(State(10**9, "no limit", CALM),),
        queries=(Query("clamp_max(recorder_schedule_left_seconds{CELL}, 1e9)"),),
    ),
)


PARTS = (
    Panel(
        "timeline", "Devices", width=8, height=7,
        shows="Cameras and arms that were lost and are being opened again.",
        normal="there.",
        otherwise="look at plug, cable, hub and power (RecorderCameraSilent, RecorderArmSilent); five losses within a minute are "
        "RecorderRestartLoop.",
        unit="none", states=AWAY_STATES, queries=(Query(AWAY, "{{device}}"),),
    ),
    Panel(
        "timeline", "Parts of the recorder", width=8, height=7,
        shows="The control loop's ticks, the encoders and the writer; and whether the recorder could be scraped.",
        normal="at work.",
        otherwise="stuck is RecorderPartStuck: systemd's watchdog restarts it; without systemd stop it with Ctrl-C and start it "
        "again, what was saved is safe. No answer: RecorderDown.",
        unit="none",
        queries=(
            Query(
                "max by (part) (recorder_stuck{CELL})", "{{part}}",
                states=(State(0, "at work", FINE), State(1, "STUCK", ACT)),
            ),
            Query('up{CELL,job="recorder"}', "scrape", states=(State(0, "NO ANSWER", ACT), State(1, "answers", FINE))),
        ),
    ),
    Panel(
        "lines", "Restarts since the start", width=8, height=7,
        shows="Parts that failed and were started again, and devices that were lost five times within a minute.",
        normal="nothing, or flat.",
        otherwise="RecorderRestartLoop: a cable that is loose, a hub without power, a driver that crashes.",
        unit="suffix: times", decimals=0, stairs=True, empty="nothing was restarted",
        queries=(
            Query("sum by (actor, reason) (recorder_actor_restarts_total{CELL}) > 0", "{{actor}}: {{reason}}"),
            Query("sum by (device) (recorder_restart_loops_total{CELL}) > 0", "{{device}}: loop"),
        ),
    ),
    Panel(
        "lines", "Log lines lost", width=6, height=6,
        shows="Lines of the log that found no room, since the start.",
        normal="0.",
        otherwise="RecorderLogLinesLost: the log's disk is full or too slow, or the terminal is stopped; the recording does not wait for either.",
        unit="suffix: lines", decimals=0, stairs=True, steps=ANY_STEPS,
        queries=(Query("recorder_log_lines_lost_total{CELL}", "lost", colour=LOOK),),
    ),
    Panel(
        "lines", "Notifications", width=6, height=6,
        shows="Runs of notify.command by what became of them, since the start.",
        normal="only ran; flat when nothing happens.",
        otherwise="failed or timed_out: try the command by hand.",
        unit="suffix: times", decimals=0, stairs=True,
        queries=(Query("sum by (outcome) (recorder_notifications_total{CELL})", "{{outcome}}"),),
    ),
    Panel(
        "lines", "Requests refused", width=6, height=6,
        shows="Requests to the recorder that were not answered, by reason, since the start.",
        normal="0.",
        otherwise="address or token: somebody else asks, or Prometheus lacks the token; connections: too many at once.",
        unit="suffix: times", decimals=0, stairs=True,
        queries=(Query("sum by (reason) (recorder_http_refused_total{CELL})", "{{reason}}"),),
    ),
    Panel(
        "lines", "Time of a scrape", width=6, height=6,
        shows="How long the recorder takes to answer Prometheus.",
        normal="a few milliseconds.",
        otherwise="the machine is overloaded; the recording comes first.",
        unit="s", steps=((0.1, LOOK),),
        queries=(Query('scrape_duration_seconds{CELL,job="recorder"}', "scrape", colour=CALM),),
    ),
)


MACHINE = (
    Panel(
        "lines", "CPU", width=8,
        shows="Cores that the recorder uses.",
        normal="flat while it records; a fraction of a core for each camera on the CPU.",
        otherwise="as many as the machine has: encoders fall behind; see docs/performance.md.",
        unit="suffix: cores", queries=(Query("rate(process_cpu_seconds_total{CELL}[$__rate_interval])", "recorder", colour=CALM),),
    ),
    Panel(
        "lines", "Memory", width=8,
        shows="Memory that the recorder holds, and how much of it is frames.",
        normal="flat over the night.",
        otherwise="it only grows: please report it, with this picture.",
        unit="bytes",
        queries=(
            Query("process_resident_memory_bytes{CELL}", "recorder", colour=CALM),
            Query("recorder_frame_memory_bytes{CELL}", "frames in it", style="dim"),
        ),
    ),
    Panel(
        "lines", "Open files and threads", width=8,
        shows="File descriptors and threads of the recorder.",
        normal="flat, below a hundred or two.",
        otherwise="it only grows: please report it, with this picture.",
        unit="none", decimals=0, stairs=True,
        queries=(
            Query("process_open_fds{CELL}", "open files", colour=CALM),
            Query("process_threads{CELL}", "threads", style="dim"),
        ),
    ),
    Panel(
        "lines", "GPU: use", width=8,
        shows="Share of the time in which the GPU computes, and in which its video encoders are busy; by all programs.",
        normal="encoders below 80 %.",
        otherwise="encoders at 100 %: too many videos for this card, or another program encodes.",
        unit="percentunit", most=1, steps=((0.8, LOOK), (0.95, ACT)), empty=NO_GPU,
        queries=(
            Query("recorder_gpu_encoder_utilization_ratio{CELL}", "GPU {{gpu}}: encoders", needs="gpu"),
            Query("recorder_gpu_utilization_ratio{CELL}", "GPU {{gpu}}: computing", needs="gpu"),
        ),
    ),
    Panel(
        "lines", "GPU: memory", width=8,
        shows="Memory of the GPU that is used, by all programs, and what it has.",
        normal="flat.",
        otherwise="near its limit sessions are refused, and the CPU goes on: close what else uses it.",
        unit="bytes", empty=NO_GPU,
        queries=(
            Query("recorder_gpu_memory_used_bytes{CELL}", "GPU {{gpu}}", needs="gpu"),
            Query("recorder_gpu_memory_bytes{CELL}", "GPU {{gpu}}: has", style="limit", needs="gpu"),
        ),
    ),
    Panel(
        "lines", "GPU: temperature", width=8,
        shows="Temperature of the GPU.",
        normal="below 80 °C.",
        otherwise="it slows down by itself: fans, dust, a closed rack.",
        unit="celsius", steps=((80.0, LOOK), (90.0, ACT)), empty=NO_GPU,
        queries=(Query("recorder_gpu_temperature_celsius{CELL}", "GPU {{gpu}}", needs="gpu"),),
    ),
    Panel(
        "table", "What runs", width=24, height=4,
        shows="The recorder's version, and since when it runs.",
        normal="the version that you installed.",
        otherwise="a short time: it was restarted; systemd's journal or the log says why.",
        unit="dtdurations", labels={"instance": "Cell", "version": "Version", "revision": "Revision"},
        queries=(
            Query(
                "recorder_build_info{CELL} * on (instance) group_left () (recorder_time_seconds{CELL} - process_start_time_seconds{CELL})",
                "Runs for",
            ),
        ),
    ),
)


SECTIONS = (
    ("Frames that got lost", DROPS),
    ("Queues, memory and what waits on disk", QUEUES),
    ("Encoding", ENCODING),
    ("Control loop", LOOP),
    ("Arm", ARM),
    ("Disk", DISK),
    ("Devices and parts", PARTS),
    ("Machine", MACHINE),
)
