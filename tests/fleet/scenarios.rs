//! What goes wrong in each cell, and what is to be said of it.

use super::{Cell, Scenario, outside};

pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "healthy", start: outside::healthy, fires: &[], allows: &[] },
    Scenario { name: "healthy on a GPU", start: outside::gpu, fires: &[], allows: &[] },
    Scenario { name: "ended by its operator", start: outside::ended, fires: &[], allows: &[] },
    Scenario { name: "down", start: outside::down, fires: &[("RecorderDown", &[("severity", "page")])], allows: &[] },
    Scenario {
        name: "silent camera",
        start: outside::silent_camera,
        fires: &[("RecorderCameraSilent", &[("camera", "wrist")])],
        allows: &["RecorderCameraSlow"],
    },
    Scenario {
        name: "slow camera",
        start: Cell::inside,
        fires: &[("RecorderCameraSlow", &[("camera", "wrist")])],
        allows: &[],
    },
    Scenario {
        name: "dropped frames",
        start: Cell::inside,
        fires: &[("RecorderFramesDropped", &[("camera", "wrist")])],
        allows: &[],
    },
    // The run ends with it, and so does the program.
    Scenario {
        name: "rows without frames",
        start: outside::rows_without_frames,
        fires: &[("RecorderRowsWithoutFrames", &[("camera", "wrist")]), ("RecorderEpisodeFailed", &[])],
        allows: &["RecorderDown"],
    },
    Scenario {
        name: "failed episode",
        start: outside::failed_episode,
        fires: &[("RecorderEpisodeFailed", &[])],
        allows: &["RecorderDown"],
    },
    Scenario {
        name: "encoder fallback",
        start: Cell::inside,
        fires: &[
            ("RecorderEncoderFallback", &[("camera", "front")]),
            ("RecorderEncoderFallback", &[("camera", "wrist")]),
        ],
        allows: &[],
    },
    // Nothing that is not encoded is saved; several takes that wait hold all of a camera's credits.
    Scenario {
        name: "full queue",
        start: Cell::inside,
        fires: &[
            ("RecorderQueueNearlyFull", &[("camera", "front")]),
            ("RecorderQueueNearlyFull", &[("camera", "wrist")]),
        ],
        allows: &["RecorderNoEpisodeSaved", "RecorderFramesDropped"],
    },
    Scenario { name: "little disk", start: Cell::inside, fires: &[("RecorderDiskLow", &[])], allows: &[] },
    Scenario {
        name: "full disk",
        start: Cell::inside,
        fires: &[("RecorderDiskFull", &[])],
        allows: &["RecorderDiskLow", "RecorderNoEpisodeSaved"],
    },
    // From the fifth time on it is away for seconds.
    Scenario {
        name: "restart loop",
        start: Cell::inside,
        fires: &[("RecorderRestartLoop", &[("device", "camera wrist")])],
        allows: &["RecorderCameraSilent", "RecorderCameraSlow"],
    },
    Scenario {
        name: "silent arm",
        start: outside::silent_arm,
        fires: &[("RecorderArmSilent", &[("device", "the arm")])],
        allows: &[],
    },
    Scenario {
        name: "nothing saved",
        start: outside::nothing_saved,
        fires: &[("RecorderNoEpisodeSaved", &[])],
        allows: &["RecorderArmSilent"],
    },
    Scenario {
        name: "overload",
        start: outside::overload,
        fires: &[("RecorderArmOverload", &[("arm", "follower")])],
        allows: &[],
    },
    Scenario {
        name: "overheat",
        start: outside::overheat,
        fires: &[("RecorderArmOverheated", &[("arm", "follower")])],
        allows: &[],
    },
    Scenario {
        name: "voltage",
        start: outside::voltage,
        fires: &[("RecorderArmVoltage", &[("arm", "follower")])],
        allows: &[],
    },
    Scenario {
        name: "stuck part",
        start: Cell::inside,
        fires: &[("RecorderPartStuck", &[("part", "writer")])],
        allows: &["RecorderNoEpisodeSaved", "RecorderQueueNearlyFull"],
    },
    Scenario {
        name: "never there",
        start: outside::never_there,
        fires: &[("RecorderDown", &[("severity", "warn")])],
        allows: &[],
    },
    Scenario { name: "full log", start: outside::full_log, fires: &[("RecorderLogLinesLost", &[])], allows: &[] },
    Scenario {
        name: "process that dies often",
        start: outside::dies_often,
        fires: &[("RecorderRestartLoop", &[])],
        allows: &[],
    },
];
