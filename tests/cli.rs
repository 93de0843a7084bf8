//! The program as a user meets it: what it refuses, with which words and exit code, and how it ends when it is told to.

mod dataset_support;
mod program;

use program::{Lab, Signal};
use recorder::arm::feetech::registers as reg;
use recorder::arm::sim::{Fault, SimBus, SimKind};
use recorder::clock::SystemClock;
use recorder::config::reference;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// Runs as fast as the machine can, in simulated time.
const FAST: &str = "--robot.cameras.front.realtime=false";

/// Asserts that both recording and checking refuse, say why, and leave everything on disk as it was.
#[track_caller]
fn refused(lab: &Lab, code: i32, overrides: &[&str], words: &[&str]) {
    let before = lab.tree();
    for command in [&["--config", "lab.toml"][..], &["check", "--config", "lab.toml"]] {
        let ended = lab.run(&[command, overrides].concat());
        assert_eq!(ended.code, Some(code), "{command:?} {overrides:?}:\n{}", ended.text);
        for word in words {
            assert!(ended.text.contains(word), "{command:?} {overrides:?}: `{word}` is not in:\n{}", ended.text);
        }
        assert!(!ended.text.contains("panicked") && !ended.text.contains("load it"), "{}", ended.text);
        let after = lab.tree();
        let new: Vec<_> = after.iter().map(|(path, _)| path).filter(|p| !before.iter().any(|(b, _)| b == *p)).collect();
        assert!(before == after, "{command:?} {overrides:?} left {new:?}");
    }
}

#[test]
fn configurations_that_are_wrong() {
    let lab = Lab::new();
    for (overrides, words) in [
        (
            &["--dataset.fsp=30"][..],
            &["lab.toml: dataset.fsp: expected a known key, found `fsp`", "did you mean `fps`?"][..],
        ),
        (
            &["--dataset.fps=thirty"],
            &["dataset.fps: expected u32", "found invalid type: string \"thirty\"", "docs/config.md"],
        ),
        (&["--dataset.fps=0"], &["dataset.fps: expected 1 to 240, found 0; set the rate"]),
        (
            &["--robot.cameras.front.fourcc=MJPEG"],
            &["robot.cameras.front.fourcc: expected exactly four characters, found \"MJPEG\"", "write MJPG"],
        ),
        (
            &["--dataset.video_encoding_workers=0"],
            &["dataset.video_encoding_workers: expected 1 to 64, found 0", "leave it out"],
        ),
        (
            &["--dataset.episode_time_s=1000.5"],
            &["dataset.episode_time_s: expected 0.001 to 1000, found 1000.5", "float32", "record several"],
        ),
        (
            &[
                "--robot.cameras.a.type=opencv",
                "--robot.cameras.a.index_or_path=7",
                "--robot.cameras.b.type=v4l",
                "--robot.cameras.b.index_or_path=/dev/video7",
            ],
            &["robot.cameras.b.index_or_path: expected a device of its own, found /dev/video7, which camera `a` uses"],
        ),
        (&["--dataset.fps=0", "--dataset.encoder.gop=0"], &["dataset.fps", "dataset.encoder.gop"]),
    ] {
        refused(&lab, 2, overrides, words);
    }
    lab.write("lab.toml", "[dataset]\nfps = = 3\n");
    refused(&lab, 2, &[], &["lab.toml:2: not valid TOML"]);
    std::fs::remove_file(lab.path("lab.toml")).unwrap();
    refused(&lab, 2, &[], &["lab.toml: cannot be read", "--config", "examples/lab.toml"]);
    for arguments in [&[][..], &["check"], &["record"], &["--confg", "lab.toml"], &["completions", "csh"]] {
        let ended = lab.run(arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.text);
        assert!(ended.text.contains("--help") || ended.text.contains("possible values"), "{}", ended.text);
    }
}

#[test]
fn places_where_no_data_set_can_be() {
    let lab = Lab::new();
    let file = lab.write("file", "");
    let below = file.join("a/set");
    for root in [&file, &below] {
        let words = format!("{}: expected a folder on the way to the data set, found a file", file.display());
        refused(&lab, 4, &[&format!("--dataset.root={}", root.display())], &[&words, "choose another dataset.root"]);
    }
    // There is no room in /proc, nor can folders be made.
    refused(&lab, 4, &["--dataset.root=/proc/a/set"], &["/proc/a/set"]);
    refused(
        &lab,
        4,
        &["--dataset.root=/proc/a/set", "--limits.min_free_gib=0"],
        &["/proc/a/set: expected a folder that can be made", "rights"],
    );
    let words = ["data/set: expected at least 100000.00 GiB free (limits.min_free_gib), found", "free space"];
    refused(&lab, 4, &["--limits.min_free_gib=100000"], &words);

    lab.write("photos/holiday.jpg", "");
    let words =
        ["photos: expected an empty or absent folder for a new data set, found `holiday.jpg`", "another dataset.root"];
    refused(&lab, 4, &["--dataset.root=photos"], &words);
    let words = ["expected a LeRobot v3.0 data set to add to, found no meta/info.json", "dataset.resume = false"];
    refused(&lab, 4, &["--dataset.root=photos", "--dataset.resume=true"], &words);
    refused(&lab, 4, &["--dataset.resume=true"], &words);
}

#[test]
fn data_sets_that_cannot_be_continued() {
    let lab = Lab::new();
    assert_eq!(lab.record(&[FAST]).code, Some(0));
    let words = ["data/set: a data set with 2 episodes is here already", "set dataset.resume = true"];
    refused(&lab, 4, &[], &words);
    for (overrides, difference) in [
        (&["--dataset.fps=15"][..], "fps (expected 15, found 30)"),
        (&["--robot.cameras.front.width=64"], "observation.images.front.shape (expected [96,64,3], found [96,128,3])"),
        (&["--robot.cameras.top.type=synthetic"], "features.observation.images.top"),
        (&["--robot.type=none", "--teleop.type=none"], "robot_type (expected none, found \"so_follower\")"),
    ] {
        let words = [difference, "recorded with another set-up", "change the configuration to match"];
        refused(&lab, 4, &[&["--dataset.resume=true"], overrides].concat(), &words);
    }
    // What cannot be recorded leaves no trace in a data set of LeRobot's either.
    dataset_support::lerobot_sample(&lab.path("sample"));
    let same = ["--dataset.root=sample", "--dataset.resume=true", "--robot.cameras.wrist.type=file"];
    let size =
        ["--robot.cameras.front.width=320", "--robot.cameras.front.height=240", "--robot.cameras.wrist.width=320"];
    let absent = ["--robot.cameras.wrist.height=240", "--robot.cameras.wrist.index_or_path=absent.mjpeg"];
    refused(&lab, 3, &[&same[..], &size, &absent].concat(), &["camera wrist: absent.mjpeg does not exist"]);
}

#[test]
fn cameras_that_cannot_be_used() {
    let lab = Lab::new();
    let with = |kind: &str, path: &str, words: &[&str]| {
        let (kind, path) =
            (format!("--robot.cameras.top.type={kind}"), format!("--robot.cameras.top.index_or_path={path}"));
        refused(&lab, 3, &[&kind, &path], words);
    };
    with(
        "v4l",
        "/dev/v4l/by-id/none",
        &["camera top: /dev/v4l/by-id/none does not exist", "This machine has", "plug the camera in"],
    );
    with("opencv", "987", &["camera top: /dev/video987 does not exist", "This machine has"]);
    with("v4l", "/dev/null", &["camera top: /dev/null is not a video capture device", "use the first"]);
    with(
        "file",
        "absent.mjpeg",
        &["camera top: absent.mjpeg does not exist", "Relative paths start at", "correct index_or_path"],
    );
    lab.write("text.mjpeg", "no picture");
    with("file", "text.mjpeg", &["camera top: text.mjpeg holds", "expected JPEG pictures", "ffmpeg -i text.mjpeg"]);
    with("file", ".", &["camera top", "directory"]);

    // Other pictures than the configured 1280x720: those that were just recorded.
    assert_eq!(lab.record(&[FAST, "--dataset.encoder.codec=copy"]).code, Some(0));
    let clip = "data/set/videos/observation.images.front/chunk-000/file-000.mp4";
    let file = format!("--robot.cameras.top.index_or_path={clip}");
    let words = ["holds pictures of 128x96, expected 1280x720", "set width = 128 and height = 96"];
    refused(&lab, 3, &["--dataset.root=other", "--robot.cameras.top.type=file", &file], &words);
}

/// Overrides for a follower on a port that is not `sim`, with a calibration file of the golden data.
fn follower(port: &str, id: &str, calibration: &Path) -> [String; 3] {
    let calibration = calibration.display();
    [format!("--robot.port={port}"), format!("--robot.id={id}"), format!("--robot.calibration_dir={calibration}")]
}

#[track_caller]
fn follower_refused(lab: &Lab, port: &str, id: &str, calibration: &Path, words: &[&str]) {
    let overrides = follower(port, id, calibration);
    refused(lab, 3, &overrides.each_ref().map(String::as_str), words);
}

fn golden() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/arm/calib/robots/so_follower")
}

fn bus() -> SimBus {
    SimBus::start(SimKind::Follower, Arc::new(SystemClock::default())).unwrap()
}

#[test]
fn ports_that_cannot_be_used() {
    let (lab, golden) = (Lab::new(), golden());
    let words = ["there is no serial port /dev/ttyACM_absent", "found", "plug the arm in"];
    follower_refused(&lab, "/dev/ttyACM_absent", "f1", &golden, &words);
    follower_refused(
        &lab,
        "/dev/null",
        "f1",
        &golden,
        &["/dev/null cannot be used as a serial port", "check the port"],
    );

    let sim = bus();
    let held = serialport::new(sim.path(), 1_000_000).open_native().unwrap();
    let holder = format!("(process {})", std::process::id());
    follower_refused(&lab, sim.path(), "f1", &golden, &[sim.path(), "is in use by another program: ", &holder]);
    drop(held);

    sim.inject(Fault::ErrorBits(0x20), Some(5), usize::MAX);
    follower_refused(
        &lab,
        sim.path(),
        "f1",
        &golden,
        &["motor 5 (wrist_roll) reports an error: overload", "let the motor cool"],
    );

    let sim = bus();
    sim.poke(3, reg::ID, 13);
    let words =
        ["motors missing: expected motor 1 (shoulder_pan)", "motor 3 (elbow_flex)", "found motor 1", "check the cable"];
    follower_refused(&lab, sim.path(), "f1", &golden, &words);
}

#[test]
fn calibrations_that_cannot_be_used() {
    let (lab, sim) = (Lab::new(), bus());
    let refused = |id: &str, words: &[&str]| follower_refused(&lab, sim.path(), id, &lab.path("calibration"), words);
    refused(
        "f9",
        &[
            "no calibration file for so101_follower 'f9': expected",
            "calibration/f9.json",
            "`recorder calibrate`",
            "lerobot-calibrate",
        ],
    );
    let good = std::fs::read_to_string(golden().join("f1.json")).unwrap();
    lab.write("calibration/cut.json", &good[..good.len() / 2]);
    refused("cut", &["calibration/cut.json is malformed", "line", "calibrate the arm again"]);
    lab.write("calibration/other.json", &good.replace("elbow_flex", "elbow_roll"));
    refused(
        "other",
        &["calibration/other.json belongs to another arm: expected the joints", "elbow_roll", "check the id"],
    );
    lab.write("calibration/ids.json", &good.replacen("\"id\": 3", "\"id\": 7", 1));
    refused("ids", &["calibration/ids.json belongs to another arm: expected motor id 3 for elbow_flex, found 7"]);
    let port = format!("--robot.port={}", sim.path());
    self::refused(&lab, 3, &[&port], &["robot.id is not set", "set it to the id"]);
}

#[test]
fn a_metrics_port_that_is_taken() {
    let lab = Lab::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let words = ["metrics.listen: expected an address that is free, found", &address, "choose another port"];
    refused(&lab, 2, &[&format!("--metrics.listen={address}")], &words);
}

#[test]
fn a_good_configuration_is_checked_and_recorded() {
    let lab = Lab::new();
    let before = lab.tree();
    let checked = lab.run(&["check", "--config", "lab.toml", "--metrics.listen=127.0.0.1:0"]);
    assert_eq!(checked.code, Some(0), "{}", checked.text);
    for part in [
        "ok     configuration",
        "ok     encoder: openh264",
        "ok     metrics.listen",
        "ok     data set data/set: 0 episodes so far",
        "GiB free",
        "ok     camera front: 128x96 MJPG at 30/1 frames a second",
        "ok     follower: all motors answer",
        "ok     leader: all motors answer",
    ] {
        assert!(checked.text.contains(part), "`{part}` is not in:\n{}", checked.text);
    }
    assert!(!checked.text.contains("ERROR") && lab.tree() == before, "{}", checked.text);

    let overrides = ["--dataset.num_episodes=3", "--dataset.single_task", "Put it = back", FAST];
    let recorded = lab.record(&overrides);
    assert_eq!(recorded.code, Some(0), "{}", recorded.text);
    for part in [
        "recording episode 3 of 3",
        "data/set: 3 episodes saved, 0 discarded, 0 failed; 3 in the data set; 0 frames dropped",
        "load it: LeRobotDataset(\"lab/set\", root=\"data/set\")",
    ] {
        assert!(recorded.text.contains(part), "`{part}` is not in:\n{}", recorded.text);
    }
    let added = lab.record(&["--dataset.resume=true", "--dataset.num_episodes", "1", FAST]);
    assert!(added.code == Some(0) && added.text.contains("4 in the data set"), "{}", added.text);
    assert_eq!(dataset_support::check(&lab.root()), "60 frames, 4 episodes, 0 bad");
    let tasks = std::fs::read(lab.root().join("meta/tasks.parquet")).unwrap();
    let has = |text: &str| tasks.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    assert!(has("Put it = back") && has("Pick up the cube"));
}

/// A signal during a take: it is saved, and the exit code tells.
fn ended_by(signal: Signal, code: i32) {
    let lab = Lab::new();
    let mut running = lab.start(&["--dataset.episode_time_s=1000"]);
    running.wait_for("recording episode 1 of 2");
    running.signal(signal);
    running.wait_for("stopping");
    let ended = running.wait();
    assert_eq!(ended.code, Some(code), "{}", ended.text);
    assert!(ended.text.contains("1 episode saved, 0 discarded, 0 failed"), "{}", ended.text);
    let checked = dataset_support::check(&lab.root());
    assert!(checked.ends_with(" 1 episodes, 0 bad"), "{checked}");
}

#[test]
fn ctrl_c_saves_the_take() {
    ended_by(Signal::INT, 130);
}

#[test]
fn sigterm_and_sighup_save_the_take() {
    ended_by(Signal::TERM, 143);
    ended_by(Signal::HUP, 129);
}

#[test]
fn a_signal_while_devices_are_opened_leaves_nothing() {
    let (lab, sim, elsewhere) = (Lab::new(), bus(), tempfile::tempdir().unwrap());
    let before = lab.tree();
    // The calibration is a pipe: the follower is being opened until something comes out of it.
    let calibration = elsewhere.path().join("f1.json");
    rustix::fs::mkfifoat(rustix::fs::CWD, &calibration, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let overrides = follower(sim.path(), "f1", elsewhere.path());
    let mut running = lab.start(&overrides.each_ref().map(String::as_str));
    // Returns when the pipe is being read.
    let mut pipe = std::fs::File::create(&calibration).unwrap();
    running.signal(Signal::INT);
    running.wait_for("stopping");
    pipe.write_all(&std::fs::read(golden().join("f1.json")).unwrap()).unwrap();
    drop(pipe);
    let ended = running.wait();
    assert_eq!(ended.code, Some(130), "{}", ended.text);
    assert!(ended.text.contains("0 episodes saved") && !ended.text.contains("load it"), "{}", ended.text);
    assert!(lab.tree() == before);
}

#[test]
fn a_second_signal_ends_at_once_and_saved_episodes_are_whole() {
    let (lab, sim) = (Lab::new(), bus());
    let overrides = follower(sim.path(), "f1", &golden());
    let endless = ["--dataset.num_episodes=1000".to_string()];
    let mut running = lab.start(&[&overrides[..], &endless].concat().iter().map(String::as_str).collect::<Vec<_>>());
    running.wait_for("saved as the data set's episode 0");
    // A follower that has gone silent takes a second or two to be let go of.
    sim.inject(Fault::Lost, None, usize::MAX);
    // Both wait for it when it goes on: the second is there before the run can have ended by the first.
    for signal in [Signal::STOP, Signal::INT, Signal::TERM, Signal::CONT] {
        running.signal(signal);
    }
    running.wait_for("stopping");
    running.wait_for("stopped at once");
    let ended = running.wait();
    assert!(matches!(ended.code, Some(130 | 143)), "{:?}: {}", ended.code, ended.text);
    assert!(!ended.text.contains("load it"), "it did not wait for the end: {}", ended.text);
    let checked = dataset_support::check(&lab.root());
    assert!(checked.ends_with(" episodes, 0 bad") && !checked.contains(" 0 episodes"), "{checked}");
}

#[test]
fn help_version_and_completions() {
    let lab = Lab::new();
    let says = |arguments: &[&str], parts: &[&str]| {
        let ended = lab.run(arguments);
        assert_eq!(ended.code, Some(0), "{}", ended.text);
        for part in parts {
            assert!(ended.text.contains(part), "`{part}` is not in:\n{}", ended.text);
        }
        ended.text
    };
    let keys = ["→ or n", "← or r", "Esc or q"];
    let codes = ["Exit codes of a run", "  0 ", "  1 ", "  2 ", "  3 ", "  4 ", "130", "143", "129", "RUST_LOG"];
    let usage = [
        "recorder check --config lab.toml",
        "recorder calibrate",
        "recorder setup-motors",
        "--dataset.num_episodes=3",
        "schema",
        "completions",
    ];
    says(&["--help"], &[&keys[..], &codes, &usage].concat());
    let version = says(&["--version"], &[env!("CARGO_PKG_VERSION"), recorder::REVISION]);
    let revision = version.trim().rsplit_once('(').unwrap().1.trim_end_matches(')');
    assert!(revision == "unknown" || revision.len() == 12 && revision.chars().all(|c| c.is_ascii_hexdigit()));
    for shell in ["bash", "zsh", "fish"] {
        says(&["completions", shell], &["recorder", "config", "check", "schema"]);
    }
}

/// The keys that the configuration promises, written down apart from the code.
const PROMISED: &str = "
    robot.type robot.port robot.id robot.calibration_dir robot.use_degrees robot.max_relative_target
    robot.disable_torque_on_disconnect robot.cameras.NAME.type robot.cameras.NAME.index_or_path robot.cameras.NAME.width
    robot.cameras.NAME.height robot.cameras.NAME.fps robot.cameras.NAME.fourcc robot.cameras.NAME.realtime
    robot.position_p_coefficient robot.position_i_coefficient robot.position_d_coefficient
    robot.left_arm_config.port robot.right_arm_config.port robot.left_arm_config.max_relative_target
    teleop.left_arm_config.port teleop.right_arm_config.use_degrees teleop.type teleop.port teleop.id dataset.repo_id dataset.root dataset.single_task dataset.fps
    dataset.episode_time_s dataset.reset_time_s dataset.num_episodes dataset.resume dataset.streaming_encoding
    dataset.gpu_video_encoding dataset.async_video_encoding dataset.video_encoding_workers
    dataset.video_encoding_queue_size dataset.encoder.encoder_type dataset.encoder.codec dataset.encoder.preset
    dataset.encoder.quality dataset.encoder.gop dataset.encoder.bitrate dataset.encoder.gpu_id metrics.listen
    metrics.token metrics.token_file metrics.allow notify.command notify.on notify.timeout_s notify.min_interval_s notify.bell
    limits.frame_memory_mib limits.spill_mib limits.min_free_gib
    run.on_restart run.max_hours run.until run.on_low_disk run.on_stop log.file log.max_mib log.keep log.format";

#[test]
fn the_schema_is_json_and_knows_every_key() {
    let printed = Lab::new().run(&["schema"]).text;
    let schema: serde_json::Value = serde_json::from_str(&printed).unwrap();
    let known: Vec<String> = reference::entries(&schema).into_iter().map(|entry| entry.path).collect();
    for key in PROMISED.split_whitespace() {
        assert!(known.iter().any(|path| path == key), "{key} is not in {known:?}");
    }
    assert!(Lab::new().run(&["schema", "--markdown"]).text == reference::markdown());
}

/// A reader that goes away, as in `recorder schema | head -1`, is no reason to complain.
#[test]
fn a_closed_pipe_is_no_error() {
    let lab = Lab::new();
    let mut command = lab.command("sh");
    let recorder = env!("CARGO_BIN_EXE_recorder");
    let output = command.args(["-c", &format!("({recorder} schema; echo $? >&2) | true")]).output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "0\n");
}
