//! The program on a fake NVIDIA driver that fails in every way it can: episodes are saved whole, not one frame is lost or
//! doubled, and what happened is said. Nothing here ran on a GPU.
//!
//! `RECORDER_FAULTS=200 cargo test --release --test nvenc_faults random -- --nocapture` injects as many faults, holds
//! every change of encoder against one second, and prints a table.

mod fake_driver;
mod fault_support;
mod program;
mod run_support;

use fault_support::*;
use program::Signal;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Statuses that NVENC may give in mid-stream, and what a summary says of them.
const STATUSES: [(u32, &str); 10] = [
    (1, "NO_ENCODE_DEVICE"),
    (4, "INVALID_DEVICE"),
    (5, "DEVICE_NOT_EXIST"),
    (8, "INVALID_PARAM"),
    (10, "OUT_OF_MEMORY"),
    (12, "UNSUPPORTED_PARAM"),
    (15, "INVALID_VERSION"),
    (17, "NEED_MORE_INPUT"),
    (20, "GENERIC"),
    (25, "RESOURCE_NOT_MAPPED"),
];
/// Pictures of two episodes of two cameras: each session encodes one when it is opened.
const PICTURES: u64 = 2 * 2 * (1 + ROWS as u64);
/// The faults that every `make test` injects: each kind once, and hangs twice.
const FEW: usize = 14;

/// A fault that a driver may have in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Status(u32),
    Hang,
    Busy,
    Sessions,
}

impl Fault {
    /// The `n`-th of a series that goes through all kinds.
    fn nth(n: usize) -> Fault {
        match n % (STATUSES.len() + 4) {
            kind if kind < STATUSES.len() => Fault::Status(STATUSES[kind].0),
            kind if kind == STATUSES.len() => Fault::Busy,
            kind if kind == STATUSES.len() + 1 => Fault::Sessions,
            _ => Fault::Hang,
        }
    }

    /// For `FAKE_NVENC`, at a picture of the run.
    fn at(self, picture: u64) -> String {
        match self {
            Fault::Status(status) => format!("fail={picture}:{status}"),
            // Far longer than the program runs.
            Fault::Hang => format!("hang={picture}:600000"),
            // A session gives up after 251 tries; the four that there may be at a time share them.
            Fault::Busy => format!("busy={picture}:1200"),
            Fault::Sessions => "sessions=1".into(),
        }
    }
}

/// What became of a run with a fault.
struct Outcome {
    kind: String,
    lost: u64,
    switch_ms: Vec<f64>,
}

/// The same numbers in every run (splitmix64).
fn random(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// Records two episodes with one fault at a random picture.
fn inject(n: usize) -> Outcome {
    let fault = Fault::nth(n);
    // Picture 0 would fail when the GPU is looked for, already.
    let described = fault.at(1 + random(n as u64) % (PICTURES - 1));
    let faulty = Faulty::new(&described);
    // A machine that is busy with something else must not look like a GPU that hangs, where something else is meant.
    let patient: &[&str] = if fault == Fault::Hang { &[] } else { &["--limits.gpu_watchdog_ms=30000"] };
    let ended = faulty.record(patient);
    assert_eq!(ended.code, Some(0), "{described}: {}", ended.text);
    assert!(ended.text.contains("2 episodes saved, 0 discarded, 0 failed"), "{described}: {}", ended.text);
    run_support::check(&faulty.root());
    let switch_ms = switch_ms(&ended.text);
    let switches = faulty.switches();
    assert!(!switches.is_empty() && switches.len() == switch_ms.len(), "{described}: {switches:?}\n{}", ended.text);
    assert!(switches.iter().all(|s| (s.from.as_str(), s.to.as_str()) == ("nvenc", "openh264")), "{switches:?}");
    let kind = match fault {
        Fault::Status(status) => {
            let (_, name) = STATUSES.iter().find(|(known, _)| *known == status).unwrap();
            let reason = format!("answered {status}, {name}");
            assert!(switches.len() == 1 && switches[0].reason.contains(&reason), "{described}: {switches:?}");
            format!("status {status}, {name}")
        }
        Fault::Hang if switches.iter().any(|switch| switch.reason.contains("opening")) => "hang in opening".into(),
        Fault::Hang => "hang".into(),
        Fault::Busy => "busy for ever".into(),
        Fault::Sessions => "one session only".into(),
    };
    Outcome { kind, lost: lost(&faulty.root(), 2), switch_ms }
}

#[test]
fn faults_at_random_frames_lose_and_double_nothing() {
    let asked = std::env::var("RECORDER_FAULTS").ok().map(|n| n.parse().expect("RECORDER_FAULTS is a number"));
    let count: usize = asked.unwrap_or(FEW);
    let next = Mutex::new(0..count);
    let outcomes = Mutex::new(Vec::new());
    let take_next = || next.lock().unwrap().next();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some(n) = take_next() {
                    let outcome = inject(n);
                    println!("{n}: {}, {:.0?} ms", outcome.kind, outcome.switch_ms);
                    outcomes.lock().unwrap().push(outcome);
                }
            });
        }
    });
    let mut table: BTreeMap<String, (usize, u64, Vec<f64>)> = BTreeMap::new();
    for Outcome { kind, lost, switch_ms } in outcomes.into_inner().unwrap() {
        let row = table.entry(kind).or_default();
        (row.0, row.1) = (row.0 + 1, row.1 + lost);
        row.2.extend(switch_ms);
    }
    println!("on a fake driver\n{:28} {:>6} {:>12} {:>16}", "fault", "count", "frames lost", "worst switch ms");
    for (kind, (count, lost, times)) in &table {
        println!("{kind:28} {count:6} {lost:12} {:16.0}", times.iter().copied().fold(0.0, f64::max));
    }
    assert_eq!(table.values().map(|row| row.0).sum::<usize>(), count);
    assert!(table.values().all(|row| row.1 == 0), "frames were lost");
    // Only where the machine has nothing else to do: times say nothing otherwise. A driver that hangs in opening a session
    // is waited for 5 s: it may be waking its device.
    if asked.is_some() {
        let slow = |kind: &String, times: &[f64]| kind != "hang in opening" && times.iter().any(|ms| *ms > 1000.0);
        assert!(!table.iter().any(|(kind, row)| slow(kind, &row.2)), "a change of encoder took longer than 1 s");
    }
}

/// The episode goes on on the CPU, the next one is the GPU's again, and log, summary and data set tell of it.
#[test]
fn a_fault_is_told_in_one_line_and_in_the_summary() {
    let faulty = Faulty::new("fail=30:20");
    let ended = faulty.record(&["--limits.gpu_watchdog_ms=30000", "--dataset.encoder.gop=7"]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    faulty.is_whole(2);
    frames_are_found_by_seeking(&faulty.root(), 2);
    let said = lines(&ended.text, "the GPU encoder failed");
    let [line] = said[..] else { panic!("{}", ended.text) };
    let [switch] = &faulty.switches()[..] else { panic!("{:?}", faulty.switches()) };
    for words in ["WARN", "camera ", &format!("at frame {}: ", switch.frame), "answered 20, GENERIC", "the CPU goes on"]
    {
        assert!(line.contains(words), "{words}: {line}");
    }
    assert!(switch.reason.contains("answered 20, GENERIC") && (switch.frame as usize) < ROWS, "{switch:?}");
    assert_eq!((switch.from.as_str(), switch.to.as_str()), ("nvenc", "openh264"));
    let goes_on = format!("openh264 goes on for nvenc at frame {}, after ", switch.frame);
    assert_eq!(lines(&ended.text, &goes_on).len(), 1, "{}", ended.text);
    assert_eq!(lines(&ended.text, "encoder: nvenc, h264 (fake driver)").len(), 1, "{}", ended.text);
    let first = faulty.encoders(0);
    assert!(first.contains(&"nvenc".into()) && first.contains(&"openh264".into()), "{first:?}");
    assert_eq!(faulty.encoders(1), ["nvenc", "nvenc"]);
    // The codec stays, and key frames come as configured, from both encoders; one more where the second begins.
    assert_eq!(faulty.codec(), "h264");
    for (camera, episode) in CAMERAS.iter().flat_map(|camera| [(camera, 0), (camera, 1)]) {
        let video = faulty.video(camera, episode);
        assert_eq!(codec_of(&video), "h264");
        let keys = key_frames(&video);
        assert!((0..ROWS).step_by(7).all(|n| keys.contains(&n)), "{camera}, episode {episode}: {keys:?}");
    }
}

/// The seed's four modes, each with a driver that fails: with `gpu_video_encoding` off nobody asks it.
#[test]
fn every_mode_survives_a_fault() {
    for (mode, gpu, fault) in [
        (SYNC, true, "fail=20:5"),
        (SYNC, true, "hang=20:600000"),
        (ASYNC, true, "hang=20:600000"),
        (ASYNC, true, "sessions=1"),
        (SYNC, false, "crash=0"),
        (ASYNC, false, "crash=0"),
    ] {
        let faulty = Faulty::new(fault);
        let off: &[&str] = if gpu { &[] } else { &["--dataset.gpu_video_encoding=false"] };
        let ended = faulty.record(&[mode, off].concat());
        assert_eq!(ended.code, Some(0), "{mode:?} {fault}: {}", ended.text);
        faulty.is_whole(2);
        let switches = faulty.switches().len();
        if gpu {
            assert!(switches >= 1, "{mode:?} {fault}: {}", ended.text);
            let encoders: Vec<String> = (0..2).flat_map(|episode| faulty.encoders(episode)).collect();
            assert!(encoders.contains(&"nvenc".into()), "{mode:?} {fault}: {encoders:?}");
        } else {
            assert_eq!((switches, faulty.trace().as_str()), (0, ""), "{mode:?}");
            assert_eq!(faulty.encoders(1), ["openh264", "openh264"]);
        }
    }
}

#[test]
fn a_busy_encoder_is_no_failure() {
    let faulty = Faulty::new("busy=20:5");
    let ended = faulty.record(&["--limits.gpu_watchdog_ms=30000"]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    faulty.is_whole(2);
    assert_eq!((faulty.switches(), lines(&ended.text, "WARN")), (vec![], vec![]));
    assert_eq!((faulty.encoders(0), faulty.encoders(1)), (vec!["nvenc".into(); 2], vec!["nvenc".to_string(); 2]));
}

/// What lists an encoder and does not open one, or crashes when asked, is not used: said once, and the CPU records.
#[test]
fn a_gpu_that_cannot_be_used_is_told_once_and_the_cpu_records() {
    let (both, cuda, none) =
        (fake_driver::folder(), fake_driver::folder_with(&[fake_driver::CUDA]), fake_driver::folder_with(&[]));
    for (driver, fault, words) in [
        (&both, "cuinit=100", "no NVIDIA GPU is in this machine"),
        (&both, "cuinit=803", "restart the machine"),
        (&both, "cuinit=999", "bad state"),
        (&both, "api=11.0", "speaks NVENC 11.0, this program needs 12.1"),
        (&both, "open=2", "no encoder"),
        (&both, "init=8", "does not take a setting"),
        (&both, "fail=0:20", "GENERIC"),
        (&both, "codecs=hevc", "no encoder for it"),
        (&both, "crash=0", "the NVIDIA driver crashed when asked (signal 11)"),
        (&cuda, "", "video"),
        (&none, "", "libcuda"),
    ] {
        let faulty = Faulty::on(driver.clone(), fault);
        let ended = faulty.record(&["--dataset.num_episodes=1", "--dataset.episode_time_s=0.5"]);
        assert_eq!(ended.code, Some(0), "{fault}: {}", ended.text);
        faulty.is_whole(1);
        assert_eq!(faulty.encoders(0), ["openh264", "openh264"], "{fault}");
        let warnings = lines(&ended.text, "WARN");
        let [warning] = warnings[..] else { panic!("{fault}: {}", ended.text) };
        assert!(warning.contains("the GPU is not used: ") && warning.contains(words), "{fault}: {warning}");
        assert!(warning.ends_with("h264 is encoded on the CPU"), "{fault}: {warning}");
        assert_eq!(lines(&ended.text, "encoder: openh264, h264").len(), 1, "{fault}: {}", ended.text);
    }
}

/// Failure upon failure: all videos leave the GPU.
#[test]
fn a_gpu_that_fails_again_and_again_is_left_alone() {
    let faulty = Faulty::new("fail_every=20:20");
    let ended = faulty.record(&["--dataset.num_episodes=4", "--limits.gpu_watchdog_ms=30000"]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    faulty.is_whole(4);
    assert_eq!(lines(&ended.text, "the GPU failed too often").len(), 1, "{}", ended.text);
    assert_eq!(faulty.encoders(3), ["openh264", "openh264"]);
}

#[test]
fn one_session_makes_one_video_and_the_cpu_the_other() {
    let faulty = Faulty::new("sessions=1");
    let ended = faulty.record(&["--dataset.num_episodes=1", "--limits.gpu_watchdog_ms=30000"]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    faulty.is_whole(1);
    let mut encoders = faulty.encoders(0);
    encoders.sort();
    assert_eq!(encoders, ["nvenc", "openh264"]);
    assert!(faulty.switches()[0].reason.contains("too many encoding sessions"), "{:?}", faulty.switches());
}

#[test]
fn the_gpu_that_is_asked_for_is_used() {
    let faulty = Faulty::new("devices=2");
    let ended = faulty.record(&["--dataset.encoder.gpu_id=1", "--dataset.num_episodes=1"]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    faulty.is_whole(1);
    let opened = faulty.trace();
    let of = |device: &str| lines(&opened, "open session=").iter().filter(|line| line.contains(device)).count();
    // Who looks for GPUs opens both.
    assert!(of("device=1") >= of("device=0") + 2, "{opened}");

    let ended = faulty.record(&["--dataset.encoder.gpu_id=5", "--dataset.root=data/other"]);
    assert_eq!(ended.code, Some(2), "{}", ended.text);
    for words in ["dataset.encoder.gpu_id", "one of 0 (", "1 (", "found 5", "recorder encoders"] {
        assert!(ended.text.contains(words), "{words}: {}", ended.text);
    }
    assert!(!faulty.root().with_file_name("other").exists());
}

/// In mid-run a crash ends the program; what was recorded is there at the next start.
#[test]
fn a_driver_that_takes_the_program_along_loses_nothing_that_was_recorded() {
    // The second episode is being encoded when it dies: two sessions open, and some frames.
    let mut faulty = Faulty::new(&format!("crash={}", PICTURES / 2 + 10));
    let ended = faulty.record(SYNC);
    assert_eq!((ended.code, faulty.waiting()), (None, 1), "{}", ended.text);
    faulty.set("");
    let ended = faulty.record(&["--dataset.resume=true", "--dataset.num_episodes=1"]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    faulty.is_whole(3);
    assert_eq!(faulty.encoders(1), ["nvenc", "nvenc"]);
}

/// The fake makes a picture of these in a tenth of a second: short episodes.
const SHORT: [&str; 2] = ["--dataset.episode_time_s=0.4", "--limits.gpu_watchdog_ms=30000"];

fn short<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&SHORT[..], more].concat()
}

#[test]
fn hevc_and_av1_are_recorded() {
    for (codec, known_as) in [("hevc", "hevc"), ("av1", "av1")] {
        let faulty = Faulty::new(&format!("codecs={codec}"));
        let encoder = format!("--dataset.encoder.codec={codec}");
        let ended = faulty.record(&short(&[&encoder, "--dataset.num_episodes=1"]));
        assert_eq!(ended.code, Some(0), "{}", ended.text);
        faulty.is_whole(1);
        frames_are_found_by_seeking(&faulty.root(), 1);
        assert_eq!((faulty.codec().as_str(), faulty.encoders(0)), (codec, vec!["nvenc".to_string(); 2]));
        assert_eq!(codec_of(&faulty.video("front", 0)), known_as);
    }
}

const HEVC: &str = "--dataset.encoder.codec=hevc";

/// The CPU makes no hevc: what was captured is kept, and a session that opens again makes the rest of it. The codec is
/// the same throughout, also where h264 is asked for instead.
#[test]
fn hevc_is_finished_by_another_session() {
    for on_failure in ["spool", "h264"] {
        let faulty = Faulty::new("fail=8:5,codecs=hevc+h264");
        let on_failure = format!("--dataset.encoder.on_gpu_failure={on_failure}");
        let ended = faulty.record(&short(&[HEVC, &on_failure, "--dataset.num_episodes=1"]));
        assert_eq!(ended.code, Some(0), "{}", ended.text);
        faulty.is_whole(1);
        assert_eq!(lines(&ended.text, "its pictures wait on disk until it works again").len(), 1, "{}", ended.text);
        assert_eq!(faulty.codec(), "hevc");
        assert!(CAMERAS.iter().all(|camera| codec_of(&faulty.video(camera, 0)) == "hevc"));
    }
}

/// Nobody is left who makes hevc: the episode waits, and the next run finishes it first.
#[test]
fn hevc_waits_for_a_gpu_over_the_end_of_the_run() {
    let mut faulty = Faulty::new("fail_every=4:5,codecs=hevc");
    let ended = faulty.record(&short(&[HEVC, "--dataset.num_episodes=1"]));
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert!(ended.text.contains("0 episodes saved, 0 discarded, 0 failed"), "{}", ended.text);
    let waits = "take 0 waits on disk: the next run or `recorder regenerate` encodes and saves it";
    assert_eq!(lines(&ended.text, waits).len(), 1, "{}", ended.text);
    assert_eq!(faulty.waiting(), 1);
    assert!(!faulty.root().join("meta/info.json").exists(), "an episode that waits is none");
    faulty.set("codecs=hevc");
    let ended = faulty.record(&short(&[HEVC, "--dataset.num_episodes=1"]));
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    faulty.is_whole(2);
    assert!((0..2).all(|episode| codec_of(&faulty.video("wrist", episode)) == "hevc"));
}

/// A kill while episodes wait loses none of them.
#[test]
fn hevc_that_waits_survives_a_kill() {
    let mut faulty = Faulty::new("cuinit=999,codecs=hevc");
    let mut running = faulty.start(&short(&[
        HEVC,
        "--dataset.encoder.encoder_type=nvenc",
        "--dataset.reset_time_s=600",
        "--robot.cameras.front.realtime=true",
        "--robot.cameras.wrist.realtime=true",
    ]));
    running.wait_for("episodes wait on disk");
    let deadline = Instant::now() + program::PATIENCE;
    while faulty.waiting() == 0 {
        assert!(Instant::now() < deadline, "no take waits");
        std::thread::sleep(Duration::from_millis(20));
    }
    running.signal(Signal::KILL);
    assert_eq!(running.wait().code, None);
    assert_eq!(faulty.waiting(), 1);
    faulty.set("codecs=hevc");
    let ended = faulty.record(&short(&[HEVC, "--dataset.num_episodes=1"]));
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    run_support::check(&faulty.root());
    // Cameras in real time may be late, which is counted; the pictures are those of the rows.
    run_support::every_frame_is_shown(&faulty.root(), 2, 160, 120);
    assert!(!faulty.root().join(".partial").exists());
}

#[test]
fn hevc_stops_the_run_where_that_is_asked_for() {
    let faulty = Faulty::new("fail=8:5,codecs=hevc");
    let ended = faulty.record(&short(&[HEVC, "--dataset.encoder.on_gpu_failure=stop", "--dataset.num_episodes=1"]));
    assert_eq!(ended.code, Some(1), "{}", ended.text);
    for words in
        ["on_gpu_failure = \"stop\"", "answered 5, DEVICE_NOT_EXIST", "0 episodes saved, 0 discarded, 1 failed"]
    {
        assert!(ended.text.contains(words), "{words}: {}", ended.text);
    }
    assert!(!faulty.root().join("meta/info.json").exists(), "a video that failed leaves no rows");
}

#[test]
fn without_a_gpu_auto_records_h264_and_says_so() {
    let faulty = Faulty::new("cuinit=100");
    let ended = faulty.record(&short(&[HEVC, "--dataset.num_episodes=1"]));
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    faulty.is_whole(1);
    let said = lines(&ended.text, "WARN");
    let [warning] = said[..] else { panic!("{}", ended.text) };
    assert!(warning.contains("no hevc from the GPU: ") && warning.ends_with("h264 is recorded instead"), "{warning}");
    assert_eq!((faulty.codec().as_str(), codec_of(&faulty.video("front", 0)).as_str()), ("h264", "h264"));
}

#[test]
fn a_codec_that_the_named_encoder_lacks_is_refused() {
    let faulty = Faulty::new("codecs=h264");
    let ended = faulty.record(&[HEVC, "--dataset.encoder.encoder_type=nvenc"]);
    assert_eq!(ended.code, Some(2), "{}", ended.text);
    for words in ["dataset.encoder.codec", "one that GPU 0 encodes: h264", "found hevc", "encoder_type = \"auto\""] {
        assert!(ended.text.contains(words), "{words}: {}", ended.text);
    }
    assert!(!faulty.root().exists());
}
