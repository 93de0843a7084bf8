//! What a run tells of itself, event by event: in order, in simulated time, and described in `docs/events.md`.

mod cameras_support;
mod outages;
mod run_support;

use cameras_support::Manners;
use outages::Outages;
use recorder::arm::motors::{Held, MotorFault};
use recorder::arm::{self, ArmError, Motor, Reading, Robot, Teleop, open_robot, open_teleop};
use recorder::clock::Clock;
use recorder::codec::backend::{self, OpenEncoder};
use recorder::codec::gpu::{GpuCodec, GpuDevice, GpuReport};
use recorder::config::schema::Codec;
use recorder::devices::Devices;
use recorder::episode::Key;
use recorder::events::{Event, Heard, Severity, Told};
use recorder::run::{self, Gpu, Parts, Stage};
use recorder::status::{self, Phase, SharedStatus};
use recorder::supervision::{self, Part, Supervisor};
use run_support::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What may differ from one run to the next.
struct Scene {
    overrides: Vec<(&'static str, &'static str)>,
    clock: Arc<dyn Clock>,
    open_encoder: OpenEncoder,
    gpu: Option<Gpu>,
    devices: Devices,
    stage: Stage,
}

impl Scene {
    fn new(overrides: &[(&'static str, &'static str)]) -> Scene {
        let (devices, stage) = (Devices::default(), Stage::default());
        let (clock, open_encoder) = (simulated(), backend::standard());
        Scene { overrides: overrides.to_vec(), clock, open_encoder, gpu: None, devices, stage }
    }

    async fn start(self, root: &Path) -> (run::Running, SharedStatus) {
        let Scene { overrides, clock, open_encoder, gpu, devices, stage } = self;
        let (config, status) = (config(SMALL, root, &overrides), status::shared());
        let dataset = run::open_dataset(&config).unwrap();
        let parts = Parts { clock, open_encoder, gpu, status: status.clone(), on_saved: Box::new(|_, _| {}) };
        (run::start_from(&config, dataset, parts, devices, stage).await.unwrap(), status)
    }

    /// All that is told from the start to the end.
    async fn play(self, root: &Path) -> Vec<Arc<Told>> {
        let (running, status) = self.start(root).await;
        let _ = running.wait().await;
        told(&status)
    }
}

fn told(status: &SharedStatus) -> Vec<Arc<Told>> {
    let mut listener = status.events.listen_after(0);
    std::iter::from_fn(|| listener.try_next())
        .map(|heard| match heard {
            Heard::Event(told) => told,
            Heard::Missed(n) => panic!("{n} events are gone"),
        })
        .collect()
}

fn names(told: &[Arc<Told>]) -> Vec<&'static str> {
    told.iter().map(|told| told.event.name()).collect()
}

/// Episodes of 2 s, each encoded before the next one begins: then encoders do not tell when they like.
const ORDERLY: [(&str, &str); 5] = [
    ("dataset.episode_time_s", "2"),
    ("dataset.reset_time_s", "0.5"),
    ("dataset.streaming_encoding", "false"),
    ("dataset.video_encoding_workers", "1"),
    ("robot.cameras.wrist.on_loss", "discard"),
];

/// The wrist camera is away in the first take, the leader in the second, the front camera in the third; one encoder fails.
fn eventful() -> Scene {
    let outages: [(&str, &[(f64, f64)]); 3] =
        [("wrist", &[(1.5, 1.7)]), ("leader", &[(3.0, 3.1)]), ("front", &[(6.0, 6.1)])];
    let frames = AtomicU64::new(0);
    let open_encoder =
        tampered(move |_| if frames.fetch_add(1, Ordering::Relaxed) == 30 { Err(failure()) } else { Ok(()) });
    Scene { open_encoder, devices: Outages::of(&outages).devices(), ..Scene::new(&ORDERLY) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_told_in_order_and_alike_every_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut runs = Vec::new();
    for run in ["1", "2"] {
        let root = dir.path().join(run);
        let told = eventful().play(&root).await;
        assert_eq!(told.iter().map(|told| told.number).collect::<Vec<_>>(), (1..=15).collect::<Vec<_>>());
        let expected = [
            "run_started",
            "take_started",
            "device_lost",
            "take_discarded",
            "device_back",
            "take_started",
            "device_lost",
            "device_back",
            "encoder_replaced",
            "episode_saved",
            "take_started",
            "device_lost",
            "device_back",
            "episode_saved",
            "run_ended",
        ];
        assert_eq!(names(&told), expected);
        // The devices are lost when the test pulls the plug, to the frame.
        let seconds = |n: usize| (told[n].utc_ns - simulated().now().utc_ns) as f64 / 1e9;
        for (n, expected) in [(0, 0.0), (1, 0.1), (2, 1.5), (4, 1.75), (6, 3.0), (7, 3.25), (11, 6.0), (12, 6.25)] {
            assert!((expected..expected + 0.04).contains(&seconds(n)), "{n}: {} instead of {expected}", seconds(n));
        }
        let takes = told.iter().filter_map(|told| match told.event {
            Event::TakeStarted { take, episode } => Some((take, episode)),
            _ => None,
        });
        assert_eq!(takes.collect::<Vec<_>>(), [(0, 1), (1, 1), (2, 2)]);
        let devices = told.iter().filter_map(|told| match &told.event {
            Event::DeviceLost { device, reason, .. } => {
                assert!(reason.contains("pulled the plug"), "{reason}");
                Some(device.as_str())
            }
            _ => None,
        });
        assert_eq!(devices.collect::<Vec<_>>(), ["camera wrist", "the leader", "camera front"]);
        let saved = told.iter().filter_map(|told| match &told.event {
            Event::EpisodeSaved { summary, .. } => Some((serde_json::json!(**summary), told.severity)),
            _ => None,
        });
        // Both have rows without a device.
        let expected = summaries(&root).into_iter().map(|summary| (serde_json::json!(summary), Severity::Warning));
        assert_eq!(saved.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        assert_eq!(told[14].event, Event::RunEnded { saved: 2, discarded: 1, failed: 0, error: None });
        // How long encoders take is the machine's.
        let by_encoders = |told: &&Arc<Told>| {
            !matches!(
                told.event,
                Event::EncoderReplaced { .. }
                    | Event::EpisodeSaved { .. }
                    | Event::RunStarted { .. }
                    | Event::RunEnded { .. }
            )
        };
        runs.push(told.iter().filter(by_encoders).map(|told| told.as_ref().clone()).collect::<Vec<_>>());
    }
    assert_eq!(runs[0], runs[1]);
}

/// Arms between which and the run something stands: the follower's gripper is hot from its 20th look to its 40th, and the
/// leader says nothing from its 60th to its 80th.
fn troubled_arms() -> Devices {
    struct Hot(Box<dyn Robot>, u32);
    impl Robot for Hot {
        fn features(&self) -> Vec<String> {
            self.0.features()
        }
        fn observe(&mut self, deadline: Instant) -> Result<Reading, ArmError> {
            self.1 += 1;
            self.0.observe(deadline)
        }
        fn send(&mut self, action: &[f32], deadline: Instant) -> Result<Vec<f32>, ArmError> {
            self.0.send(action, deadline)
        }
        fn health(&self) -> Vec<arm::Health> {
            let reason = "motor 6 (gripper) reports an error: overheat".to_string();
            let faults =
                if (20..40).contains(&self.1) { vec![MotorFault { kind: "overheat", reason }] } else { vec![] };
            vec![arm::Health { motor: "gripper".into(), faults, held: Held::Hold, ..Default::default() }]
        }
        fn shutdown(&mut self) -> Vec<ArmError> {
            self.0.shutdown()
        }
    }
    struct Quiet(Box<dyn Teleop>, u32);
    impl Teleop for Quiet {
        fn features(&self) -> Vec<String> {
            self.0.features()
        }
        fn action(&mut self, deadline: Instant) -> Result<Reading, ArmError> {
            self.1 += 1;
            let motor = Motor { id: 1, name: "shoulder_pan" };
            match self.1 {
                60..80 => Err(ArmError::Timeout { port: "the test".into(), motor, waited: Duration::ZERO }),
                _ => self.0.action(deadline),
            }
        }
        fn shutdown(&mut self) -> Vec<ArmError> {
            self.0.shutdown()
        }
    }
    let robot: recorder::devices::OpenRobot =
        Arc::new(|config, clock| Ok(open_robot(config, clock)?.map(|robot| Box::new(Hot(robot, 0)) as Box<dyn Robot>)));
    let teleop: recorder::devices::OpenTeleop = Arc::new(|config, clock| {
        Ok(open_teleop(config, clock)?.map(|leader| Box::new(Quiet(leader, 0)) as Box<dyn Teleop>))
    });
    Devices { robot, teleop, ..Devices::default() }
}

/// However many ticks it lasts.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_an_arm_is_told_when_it_begins_and_when_it_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let long = [("dataset.episode_time_s", "4"), ("dataset.num_episodes", "1")];
    let told = Scene { devices: troubled_arms(), ..Scene::new(&long) }.play(&dir.path().join("set")).await;
    let expected = ["arm_fault", "arm_fault_over", "leader_silent", "leader_heard"];
    assert_eq!(names(&told)[2..6], expected);
    let fault = Event::ArmFault {
        arm: "follower",
        motor: "gripper".into(),
        kind: "overheat",
        reason: "motor 6 (gripper) reports an error: overheat".into(),
        held: Held::Hold,
    };
    assert_eq!(told[2].event, fault);
    assert!(told[2].text.contains("overheat; the motor is kept where it is until that is over"), "{}", told[2].text);
    assert_eq!(told[3].event, Event::ArmFaultOver { arm: "follower", motor: "gripper".into(), kind: "overheat" });
    // Ticks are 1/30 s: the 19 between, and half a second after the first word that is missing.
    let seconds = |n: usize| (told[n].utc_ns - told[2].utc_ns) as f64 / 1e9;
    for (n, expected) in [(3, 20.0 / 30.0), (4, 40.0 / 30.0 + 0.5), (5, 60.0 / 30.0)] {
        assert!((seconds(n) - expected).abs() < 0.04, "{n}: {} instead of {expected}", seconds(n));
    }
}

/// Runs that provoke what the eventful one does not.
async fn troubled(dir: &Path) -> Vec<Arc<Told>> {
    let mut all = Vec::new();
    // A loose cable.
    let spans: Vec<(f64, f64)> = (1..8).map(|k| (f64::from(k) * 1.7 - 0.1, f64::from(k) * 1.7)).collect();
    let devices = Outages::of(&[("wrist", &spans)]).devices();
    let long = [("dataset.episode_time_s", "15"), ("dataset.num_episodes", "1")];
    all.extend(Scene { devices, ..Scene::new(&long) }.play(&dir.join("flaps")).await);
    // A camera that is slow for some seconds, and tampered with.
    let manners =
        Manners { slow: Some((3.0, 8.0)), changed: Some((3.0, cameras_support::change())), ..Manners::default() };
    let devices = cameras_support::front(manners);
    all.extend(Scene { devices, ..Scene::new(&long) }.play(&dir.join("slow")).await);
    // A disk that is full at first, and an encoder that never works.
    let full = AtomicBool::new(true);
    let stage = Stage {
        free_space: Arc::new(move |_| Ok(if full.swap(false, Ordering::SeqCst) { 1 } else { 2 << 30 })),
        ..Stage::default()
    };
    let open_encoder = tampered(|_| Err(failure()));
    let waits = [("limits.min_free_gib", "1"), ("run.on_low_disk", "pause")];
    all.extend(Scene { stage, open_encoder, ..Scene::new(&waits) }.play(&dir.join("fails")).await);
    // More to encode than may wait.
    let much = [
        ("dataset.streaming_encoding", "false"),
        ("limits.spill_mib", "1"),
        ("dataset.episode_time_s", "15"),
        ("dataset.num_episodes", "1"),
    ];
    all.extend(Scene::new(&much).play(&dir.join("waits")).await);
    // A GPU that refuses its first three sessions, and works when it is looked at.
    let sessions = AtomicU64::new(0);
    let refuse = move || if sessions.fetch_add(1, Ordering::Relaxed) < 3 { Err(failure()) } else { Ok(()) };
    let codec = GpuCodec { codec: Codec::H264, refusal: None, max_width: 0, max_height: 0, trial_ms: None };
    let device = GpuDevice { id: 0, name: "the test".into(), pci_bus_id: None, refusal: None, codecs: vec![codec] };
    let works = GpuReport { devices: vec![device], ..GpuReport::default() };
    let gpu = Some(Gpu { works: true, prober: Arc::new(move || works.clone()) });
    let many =
        [("dataset.gpu_video_encoding", "true"), ("limits.gpu_watchdog_ms", "60000"), ("dataset.num_episodes", "10")];
    let scene = Scene { gpu, open_encoder: stand_in_gpu(refuse, |_| Ok(())), ..Scene::new(&many) };
    all.extend(scene.play(&dir.join("gpu")).await);
    all
}

/// The operator takes an episode back.
async fn taken_back(root: &Path) -> Vec<Arc<Told>> {
    let overrides = [
        ("dataset.episode_time_s", "0.5"),
        ("dataset.reset_time_s", "600"),
        ("robot.cameras.front.realtime", "true"),
        ("robot.cameras.wrist.realtime", "true"),
    ];
    let (running, status) = Scene { clock: real(), ..Scene::new(&overrides) }.start(root).await;
    let saved = until(&status, "a reset", |s| s.saved == 1 && s.phase == Phase::Resetting).await;
    assert_eq!(saved.last_episode.as_deref(), summaries(root).first());
    running.key(Key::Rerecord);
    assert_eq!(until(&status, "it is taken back", |s| s.discarded == 1).await.last_episode, None);
    running.key(Key::Stop);
    running.wait().await.unwrap();
    told(&status)
}

/// Parts that do nothing, and then something.
async fn stuck() -> Vec<Arc<Told>> {
    let (health, status) = (Arc::new(supervision::Health::new(false)), status::shared());
    let supervisor = Supervisor::new(health.clone(), None, Duration::ZERO, Instant::now());
    let mut listener = status.events.listen();
    Part::ALL.into_iter().for_each(|part| health.beat(part));
    let supervised = tokio::spawn(supervision::supervise(supervisor, status.clone(), real()));
    for name in ["part_stuck", "part_goes_on"] {
        for part in Part::ALL.map(Part::name) {
            let Heard::Event(told) = listener.next().await else { panic!() };
            assert_eq!((told.event.name(), told.text.starts_with(part)), (name, true), "{told:?}");
        }
        Part::ALL.into_iter().for_each(|part| health.beat(part));
    }
    supervised.abort();
    told(&status)
}

/// No event is without a cause, and none of its fields without a word in the documentation.
#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_told_by_something_and_described() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = eventful().play(&dir.path().join("eventful")).await;
    all.extend(
        Scene { devices: troubled_arms(), ..Scene::new(&[("dataset.episode_time_s", "4")]) }
            .play(&dir.path().join("arms"))
            .await,
    );
    all.extend(troubled(dir.path()).await);
    all.extend(taken_back(&dir.path().join("back")).await);
    all.extend(stuck().await);
    let by_name: BTreeMap<&str, &Arc<Told>> = all.iter().map(|told| (told.event.name(), told)).collect();
    // The program tells of them where there is no run: tests/event_stream.rs, src/notify.
    let missing: Vec<_> = Event::NAMES.iter().filter(|name| !by_name.contains_key(*name)).collect();
    assert_eq!(missing, [&"recovered", &"test"]);

    let docs = include_str!("../docs/events.md");
    for name in Event::NAMES {
        let row = docs.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/events.md has no row for {name}"));
        let Some(told) = by_name.get(name) else { continue };
        let json = serde_json::to_value(&told.event).unwrap();
        assert_eq!(json["event"], *name);
        for field in json.as_object().unwrap().keys().filter(|key| *key != "event") {
            assert!(row.contains(&format!("`{field}`")), "{name}: docs/events.md does not describe {field}");
        }
    }
}
