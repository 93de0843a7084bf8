use super::*;
use crate::bench::bottleneck::Part;
use crate::bench::render;
use crate::dataset::{CameraCounters, CameraSummary};
use serde_json::Value;

const PERIOD: u64 = 1_000_000_000 / 30;

fn setting() -> Setting {
    Setting {
        encoding: Encoding::Streaming,
        device: Device::Cpu,
        encoder: "openh264".into(),
        fake: false,
        threads: 1,
        cores: 2,
        episodes: 2,
        real_cameras: false,
        faster: BTreeSet::new(),
    }
}

/// An episode of 30 rows and one camera.
fn episode(take: u64, start_mono_ns: u64, dropped: &[(DropReason, u64)]) -> (EpisodeSummary, Duration) {
    let dropped: BTreeMap<_, _> = dropped.iter().copied().collect();
    let lost: u64 = dropped.values().sum();
    let counters = CameraCounters { captured: 30, written: 30 - lost, dropped, ..CameraCounters::default() };
    let camera =
        CameraSummary { counters, interval_ns: Spread::default(), skew_ns: Spread::default(), ..Default::default() };
    let summary = EpisodeSummary {
        episode_index: take,
        take,
        task: String::new(),
        start_mono_ns,
        start_utc_ns: 0,
        length: 30,
        fps: 30,
        achieved_fps: 30.0,
        tick_jitter_ns: Spread { p50: 10_000 * (take + 1), p99: 50_000, max: 90_000 },
        cameras: BTreeMap::from([("front".into(), camera)]),
        arm_errors: BTreeMap::new(),
        recovered: None,
        files: Vec::new(),
        more_encoder_switches: 0,
        arm: Default::default(),
    };
    (summary, Duration::from_millis(40 + 20 * take))
}

/// Two seconds recorded; 60 frames of 1, 2 and 5 ms.
fn outcome() -> Outcome {
    let ms = Duration::from_millis;
    Outcome {
        steps: vec![Step { capture: ms(1), decode: ms(2), encode: ms(5), total: ms(50) }; 60],
        // In the order in which they were saved.
        episodes: vec![episode(1, 30 * PERIOD + 300_000_000, &[]), episode(0, 0, &[])],
        write: Some(ms(6)),
        cpu: Duration::from_secs(1),
        wall: Duration::from_secs(4),
        others: Some(ms(100)),
        peak_kib: Some(3 << 10),
        failure: None,
    }
}

#[test]
fn figures_are_what_was_measured() {
    let run = Run::new(setting(), outcome());
    let times = |ms| Times { mean_ms: Some(ms), p50_ms: Some(ms), p99_ms: Some(ms) };
    let stages = [&run.stages.capture, &run.stages.decode, &run.stages.encode, &run.stages.total];
    assert_eq!(stages, [1.0, 2.0, 5.0, 50.0].map(times).each_ref());
    assert!((run.stages.write.mean_ms.unwrap() - 0.1).abs() < 1e-9 && run.stages.write.p99_ms.is_none());
    assert_eq!((run.save_ms.p50, run.save_ms.max), (40.0, 60.0));
    // One gap between two episodes.
    assert!((run.held_up_ms.max - 300.0).abs() < 0.001, "{:?}", run.held_up_ms);
    assert_eq!(run.tick_jitter_us, SpreadUs { p50: 20.0, p99: 50.0, max: 90.0 });
    assert_eq!((run.cores, run.peak_memory_mib, run.other_programs_cores), (0.25, Some(3), Some(0.025)));
    assert_eq!((run.frames.captured, run.frames.lost, run.ok), (60, 0, true));
    let saves: Vec<f64> = run.episodes.iter().map(|episode| episode.save_ms).collect();
    assert_eq!(saves, [40.0, 60.0], "in the order in which they were recorded");
    let close = |value: Option<f64>, expected: f64| (value.unwrap() - expected).abs() < 1e-9;
    assert!(close(run.busy.capture, 0.03) && close(Some(run.busy.encoders), 0.21), "{:?}", run.busy);
    assert!(close(run.busy.writer, 0.003) && close(Some(run.busy.cpu), 0.125), "{:?}", run.busy);
    assert_eq!((run.bottleneck.part, run.bottleneck.stage.as_str()), (Part::Encoders, "encode"));
    assert!(close(run.bottleneck.headroom, 1.0 / 0.21));
}

fn set_up() -> SetUp {
    SetUp {
        name: "conservative".into(),
        cameras: Vec::new(),
        arm: true,
        rows_per_second: 30,
        episodes: 2,
        episode_s: 1.0,
        codec: "h264".into(),
        quality: 23,
        gop: 15,
        workers: 1,
        queue: 50,
        cores: 2,
        in_memory: false,
    }
}

fn report(runs: Vec<Run>) -> Report {
    Report::new(set_up(), runs, (None, Some("there is no NVIDIA GPU".into())))
}

/// Exit code 1 follows from it.
#[test]
fn a_lost_frame_or_an_episode_that_is_missing_fails_the_bench() {
    let lossy = |reason, faster: &[&str]| {
        let setting = Setting { faster: faster.iter().map(|name| name.to_string()).collect(), ..setting() };
        Run::new(setting, Outcome { episodes: vec![episode(0, 0, &[(reason, 3)]), episode(1, 0, &[])], ..outcome() })
    };
    let short = Outcome { episodes: vec![episode(0, 0, &[])], ..outcome() };
    let failed = Outcome { failure: Some("the disk is full".into()), ..outcome() };
    let mut gaps = outcome();
    gaps.episodes[0].0.cameras.get_mut("front").unwrap().counters.sequence_gaps = 2;
    for (run, ok, words) in [
        (Run::new(setting(), outcome()), true, "no frame was lost"),
        (lossy(DropReason::SpillFull, &[]), false, "3 frames were lost (3 spill_full)"),
        (lossy(DropReason::Superseded, &[]), false, "3 frames were lost (3 superseded)"),
        (lossy(DropReason::Superseded, &["front"]), true, "no frame was lost"),
        (lossy(DropReason::SpillFull, &["front"]), false, "3 frames were lost"),
        (Run::new(setting(), gaps), false, "2 frames were lost"),
        (Run::new(setting(), short), false, "FAILED"),
        (Run::new(setting(), failed), false, "the run ended early: the disk is full"),
    ] {
        let report = report(vec![run]);
        let text = render::text(&report);
        assert_eq!((report.ok, text.contains("FAILED")), (ok, !ok), "{text}");
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!report(Vec::new()).ok);
}

#[test]
fn a_gpu_is_compared_and_a_fake_one_is_called_so() {
    let mut faster = outcome();
    faster.steps.iter_mut().for_each(|step| step.encode /= 4);
    faster.cpu /= 2;
    let gpu = Setting { device: Device::Gpu, encoder: "nvenc".into(), fake: true, ..setting() };
    let both = Report::new(set_up(), vec![Run::new(setting(), outcome()), Run::new(gpu.clone(), faster)], (None, None));
    assert_eq!(both.comparison, Some(Comparison { encode_speedup: 4.0, cores_saved: 0.125 }));
    let text = render::text(&both);
    assert!(both.fake_driver && text.contains("GPU (nvenc) (fake driver)"), "{text}");
    assert!(
        text.contains("GPU against CPU (fake driver): a frame is encoded 4.0 times as fast, with 0.12 cores less"),
        "{text}"
    );
    let alone = report(vec![Run::new(setting(), outcome())]);
    assert_eq!(alone.comparison, None);
    let text = render::text(&alone);
    assert!(text.contains("only the CPU was measured, not the GPU: there is no NVIDIA GPU"), "{text}");
    assert!(!text.contains("fake"), "{text}");
}

#[test]
fn every_way_to_encode_has_its_line() {
    let run = |encoding| Run::new(Setting { encoding, ..setting() }, outcome());
    let text = render::text(&report(Encoding::ALL.map(run).to_vec()));
    let words = "CPU (openh264): tick jitter p50 / p99 with encoders idle 20 / 50 us, saturated 20 / 50 us";
    assert!(text.contains(words), "{text}");
    for encoding in Encoding::ALL {
        let line = text.lines().find(|line| line.starts_with(&format!("{}  ", encoding.name()))).unwrap();
        assert!(line.contains("40 / 60 ms") && line.contains("300 ms") && line.contains("20 / 50 / 90 us"), "{line}");
    }
}

#[test]
fn busy_machines_and_failed_encoders_are_said() {
    let mut outcome = outcome();
    outcome.others = Some(Duration::from_secs(2));
    let camera = outcome.episodes[0].0.cameras.get_mut("front").unwrap();
    camera.counters.encoder_switches.push(crate::dataset::EncoderSwitch::default());
    let text = render::text(&report(vec![Run::new(setting(), outcome)]));
    for words in ["other programs used up to 0.50 cores", "1 times an encoder failed"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn what_was_not_measured_is_null() {
    let json = serde_json::json!(report(vec![Run::new(setting(), Outcome::default())]));
    assert_eq!(json["ok"], Value::Bool(false));
    assert_eq!(json["runs"][0]["stages"]["encode"]["mean_ms"], Value::Null);
    assert_eq!(json["runs"][0]["bottleneck"]["headroom"], Value::Null);
    assert_eq!(json["runs"][0]["encoding"], Value::String("streaming".into()));
}
