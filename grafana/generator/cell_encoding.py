"""The section of a cell's dashboard that is about encoding: how long it takes, on what, and what happens when that fails.

Encoders that did nothing have quantiles that are no numbers: `> 0` leaves them out.
"""
from .model import ACT, CPU, GPU, LOOK, Panel, Query
from .words import ANY_STEPS, BACKENDS, ENCODER, ENCODER_STATES, FRAME_BUDGET, QUANTILES, SHADES, quantile

ENCODING = (
    Panel(
        "lines", "Encode time: $camera", width=24, repeat="camera",
        shows="Work to decode and encode one frame of this camera, by backend: half of the frames take less than p50, all but one in "
        "a hundred less than p99. The dashed line is the time from one row to the next.",
        normal="p99 below the budget. The GPU is purple, the CPU blue; darker is rarer.",
        otherwise="p50 above the budget: this encoder cannot keep up, frames queue; only p99 above: bursts, which the queue takes.",
        unit="s", empty="no frame was encoded in this time",
        queries=(
            *(
                Query(
                    f'instance_camera_backend:recorder_encode_duration_seconds:{name}{{CELL,camera=~"$camera",{backend}}} > 0',
                    f"{{{{backend}}}} {name}", colour=SHADES[name].format(colour), needs=needs,
                )
                for backend, colour, needs in BACKENDS
                for name, _ in QUANTILES
            ),
            FRAME_BUDGET,
        ),
    ),
    Panel(
        "lines", "From capture to disk", width=12,
        shows="Age of a frame when its fragment is written to the file: how much a crash would cost.",
        normal="below a second: a fragment (gop frames) and a little.",
        otherwise="encoders are behind (see the queues), or the disk is slow (see writing a fragment).",
        unit="s", steps=((1.0, LOOK), (5.0, ACT)),
        queries=tuple(
            Query(f"instance_camera:recorder_encode_lag_seconds:{name}{{CELL}}", f"{{{{camera}}}} {name}")
            for name in ("p50", "p99")
        ),
    ),
    Panel(
        "lines", "Writing a fragment (p99)", width=12,
        shows="Work to write one fragment to its video file.",
        normal="a few milliseconds.",
        otherwise="the disk is slow or busy: what else writes there?",
        unit="s", steps=((0.1, LOOK), (0.5, ACT)),
        queries=(Query(quantile(0.99, "recorder_write_duration_seconds", "camera"), "{{camera}}"),),
    ),
    Panel(
        "lines", "GPU against CPU", width=14,
        shows="Encode time of all cameras together, by backend, against the budget.",
        normal="below the budget; only one of them has a line, unless the run changed its encoder.",
        otherwise="a line in blue on a machine that should use its GPU: see who encodes, below.",
        unit="s", empty="no frame was encoded in this time",
        queries=(
            *(
                Query(
                    quantile(q, "recorder_encode_duration_seconds", "backend", where=backend) + " > 0",
                    f"{{{{backend}}}} {name}", colour=SHADES[name].format(colour), needs=needs,
                )
                for backend, colour, needs in BACKENDS
                for name, q in QUANTILES
            ),
            FRAME_BUDGET,
        ),
    ),
    Panel(
        "table", "GPU against CPU, over the time shown", width=10,
        shows="The same in figures, over the whole time that the dashboard shows.",
        normal="p99 below the budget.",
        otherwise="as for the curves.",
        unit="s", labels={"backend": "Backend"}, sort="p99", empty="no frame was encoded in this time",
        queries=(
            *(
                Query(
                    f"histogram_quantile({q}, sum by (le, backend) "
                    "(increase(recorder_encode_duration_seconds_bucket{CELL}[$__range]))) > 0",
                    name,
                )
                for name, q in QUANTILES
            ),
            Query(
                "sum by (backend) (increase(recorder_encode_duration_seconds_count{CELL}[$__range])) > 0", "Frames", unit="short"
            ),
        ),
    ),
    Panel(
        "timeline", "Who encodes", width=12, height=7,
        shows="The encoder of each camera's video.",
        normal="one colour all along: GPU where the run is to use it, else CPU.",
        otherwise="orange for five minutes is RecorderEncoderFallback: `recorder encoders` says why the GPU does not work. Red: "
        "the CPU makes no such video; pictures wait on disk until the GPU works again.",
        unit="none", states=ENCODER_STATES, queries=(Query(ENCODER, "{{camera}}"),),
    ),
    Panel(
        "lines", "Encoders replaced since the start", width=6, height=7,
        shows="Encoders that were replaced in a take, by what came after and why. Marks in all panels show the same.",
        normal="none.",
        otherwise="the log has the driver's words; `recorder encoders --self-test` tries everything.",
        unit="suffix: times", decimals=0, stairs=True, steps=ANY_STEPS, empty="no encoder was replaced",
        queries=(Query("sum by (from, to, reason) (recorder_encoder_fallbacks_total{CELL}) > 0", "{{from}} → {{to}}: {{reason}}"),),
    ),
    Panel(
        "lines", "Time to replace an encoder", width=6, height=7,
        shows="From the failure of an encoder to the first frame of the one that goes on, since the start.",
        normal="below half a second; frames wait meanwhile and none is lost.",
        otherwise="longer: the driver hung; the queue shows whether it was enough.",
        unit="s", steps=((0.5, LOOK), (2.0, ACT)), empty="no encoder was replaced",
        queries=tuple(
            Query(
                f"histogram_quantile({q}, sum by (le, from, to) (recorder_encoder_switch_seconds_bucket{{CELL}})) > 0",
                f"{{{{from}}}} → {{{{to}}}} {name}",
            )
            for name, q in (QUANTILES[0], QUANTILES[2])
        ),
    ),
    Panel(
        "lines", "Videos and sessions", width=24, height=5,
        shows="Videos that are being encoded now, and the encoding sessions on the GPU, of all programs.",
        normal="a video for each camera while an episode is recorded.",
        otherwise="more sessions than videos: another program encodes on the same GPU, and consumer cards allow only a few.",
        unit="none", decimals=0, stairs=True,
        queries=(
            Query("recorder_encoder_sessions{CELL}", "videos", colour=CPU),
            Query("recorder_gpu_encoder_sessions{CELL}", "sessions on GPU {{gpu}}", colour=GPU, needs="gpu"),
        ),
    ),
)
