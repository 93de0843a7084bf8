//! What can happen in a run, made to happen; what the metrics are to say of it stands in `tests/metrics.rs`.

mod devices;
pub mod page;

use crate::outages::Outages;
use crate::run_support::*;
use page::Looks;
use ractor::thread_local::{ThreadLocalActor, ThreadLocalActorSpawner};
use recorder::account::{CameraAccount, TakeReport};
use recorder::actors::encoder_pool::StreamId;
use recorder::actors::writer::{OnSaved, Writer, WriterArguments, WriterMessage};
use recorder::arm::sim::Fault;
use recorder::clock::Clock;
use recorder::codec::backend::{self, OpenEncoder};
use recorder::codec::{Fragment, PixelHistogram, Sample, SampleFormat};
use recorder::config::Config;
use recorder::config::schema::Log;
use recorder::dataset::{Row, RowFrame};
use recorder::devices::Devices;
use recorder::episode::Key;
use recorder::log_file;
use recorder::run::{self, Gpu, Parts, Running, Stage};
use recorder::schedule::Schedule;
use recorder::status::{self, Phase, SharedStatus};
use recorder::supervision::{Health, PATIENCE, Part, Supervisor};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// Where something happens: the data set's folder, and pages that are looked at in the middle.
#[derive(Clone)]
pub struct Scene {
    pub root: PathBuf,
    pub looks: Looks,
}

type Overrides<'a> = &'a [(&'a str, &'a str)];

/// A run's parts that tests put others in the place of.
struct With {
    clock: Arc<dyn Clock>,
    open: OpenEncoder,
    gpu: Option<Gpu>,
    devices: Devices,
    stage: Stage,
    on_saved: OnSaved,
}

const REAL_TIME: [(&str, &str); 2] =
    [("robot.cameras.front.realtime", "true"), ("robot.cameras.wrist.realtime", "true")];
const ONE_EPISODE: (&str, &str) = ("dataset.num_episodes", "1");
const ON_GPU: [(&str, &str); 2] = [("dataset.gpu_video_encoding", "true"), ("limits.gpu_watchdog_ms", "60000")];
const GIB: u64 = 1 << 30;

impl Default for With {
    fn default() -> With {
        With {
            clock: simulated(),
            open: backend::standard(),
            gpu: None,
            devices: Devices::default(),
            stage: Stage::default(),
            on_saved: Box::new(|_, _| {}),
        }
    }
}

impl Scene {
    fn config(&self, overrides: Overrides) -> Arc<Config> {
        config(SMALL, &self.root, overrides)
    }

    async fn start(&self, overrides: Overrides<'_>, with: With) -> (Running, SharedStatus) {
        let (config, status) = (self.config(overrides), status::shared());
        let dataset = run::open_dataset(&config).unwrap();
        let With { clock, open, gpu, devices, stage, on_saved } = with;
        let parts = Parts { clock, open_encoder: open, gpu, status: status.clone(), on_saved };
        (run::start_from(&config, dataset, parts, devices, stage).await.unwrap(), status)
    }

    /// A whole run, which ends well.
    async fn record(&self, overrides: Overrides<'_>, with: With) {
        let (running, _) = self.start(overrides, with).await;
        running.wait().await.unwrap();
        summaries(&self.root);
    }

    /// A whole run, which ends with an error.
    async fn fail(&self, overrides: Overrides<'_>, with: With) {
        let (running, _) = self.start(overrides, with).await;
        running.wait().await.unwrap_err();
    }
}

pub async fn two_episodes(scene: Scene) {
    let (running, status) = scene.start(&[], With::default()).await;
    running.wait().await.unwrap();
    // Wall time is decades away from it.
    let seconds = recorder::metrics::seconds(status.now());
    assert!((1_700_000_003.0..1_700_000_010.0).contains(&seconds), "{seconds}");
    scene.looks.look_at(status.now());
}

/// Encoders that stand still, through all phases of a run.
pub async fn stuck_encoders(scene: Scene) {
    let overrides = [
        &REAL_TIME[..],
        &[
            ("dataset.video_encoding_queue_size", "5"),
            ("dataset.episode_time_s", "900"),
            ("dataset.reset_time_s", "900"),
            ("limits.spill_mib", "1"),
            ("robot.cameras.front.width", "640"),
            ("robot.cameras.front.height", "480"),
        ],
    ]
    .concat();
    let (gate, open) = gated();
    let looks = scene.looks.clone();
    let mut devices = Devices::default();
    let open_camera = devices.camera.clone();
    devices.camera = Arc::new(move |name, config, clock, rank| {
        looks.look();
        open_camera(name, config, clock, rank)
    });
    let (running, status) = scene.start(&overrides, With { clock: real(), open, devices, ..With::default() }).await;
    until(&status, "the queue is long", |s| s.cameras[0].queue > 100).await;
    scene.looks.look();
    running.key(Key::Next);
    until(&status, "the reset", |s| s.phase == Phase::Resetting).await;
    scene.looks.look();
    running.key(Key::Stop);
    until(&status, "the last episode is being saved", |s| s.phase == Phase::Finishing && s.waiting == 1).await;
    scene.looks.look();
    gate.open();
    running.wait().await.unwrap();
}

pub async fn other_rates(scene: Scene) {
    let rates = [("robot.cameras.front.fps", "50"), ("robot.cameras.wrist.fps", "20")];
    scene.record(&rates, With::default()).await;
}

pub async fn missing_numbers(scene: Scene) {
    let devices = devices::front_camera(|sequence, _| *sequence += if *sequence >= 20 { 3 } else { 0 });
    scene.record(&[], With { devices, ..With::default() }).await;
}

/// Some pictures that do not decode, and some that are none.
pub async fn corrupt_pictures(scene: Scene) {
    let devices = devices::front_camera(|sequence, bytes| match *sequence % 10 {
        2 => {
            let scan = bytes.windows(2).position(|mark| mark == [0xFF, 0xDA]).unwrap();
            let end = bytes.len().min(scan + 400);
            bytes[scan + 40..end].fill(0);
        }
        5 => bytes.truncate(10),
        _ => {}
    });
    scene.record(&[], With { devices, ..With::default() }).await;
}

/// Five losses within a minute; the rows hold the last picture.
pub async fn flapping_camera(scene: Scene) {
    // It is opened again after 0.25 s, then after twice as long each time.
    let away = &[(1.0, 1.1), (3.0, 3.1), (6.0, 6.1), (10.0, 10.1), (16.0, 16.1)];
    let mut devices = Outages::of(&[("wrist", away)]).devices();
    let (open_camera, looks) = (devices.camera.clone(), scene.looks.clone());
    devices.camera = Arc::new(move |name, config, clock, rank| {
        looks.look();
        open_camera(name, config, clock, rank)
    });
    let slow = [
        ("dataset.fps", "10"),
        ("robot.cameras.front.fps", "10"),
        ("robot.cameras.wrist.fps", "10"),
        ("dataset.episode_time_s", "22"),
        ONE_EPISODE,
    ];
    scene.record(&slow, With { devices, ..With::default() }).await;
}

/// A camera that is lost for good while the take is thrown away for it.
pub async fn discarded_take(scene: Scene) {
    let devices = Outages::of(&[("wrist", &[(1.0, 1.2)])]).devices();
    scene.record(&[("robot.cameras.wrist.on_loss", "discard"), ONE_EPISODE], With { devices, ..With::default() }).await;
}

pub async fn take_taken_back(scene: Scene) {
    let overrides = [&REAL_TIME[..], &[("dataset.episode_time_s", "0.5"), ("dataset.reset_time_s", "900")]].concat();
    let (running, status) = scene.start(&overrides, With { clock: real(), ..With::default() }).await;
    until(&status, "the reset", |s| s.phase == Phase::Resetting && s.saved == 1).await;
    scene.looks.look();
    running.key(Key::Rerecord);
    until(&status, "the episode is taken back", |s| s.discarded == 1).await;
    scene.looks.look();
    running.key(Key::Stop);
    running.wait().await.unwrap();
}

pub async fn lost_arm(scene: Scene) {
    let devices = Outages::of(&[("follower", &[(1.0, 1.1)])]).devices();
    scene.record(&[ONE_EPISODE], With { devices, ..With::default() }).await;
}

/// Every bit that a servo sets in its replies, and a reply that is broken.
pub async fn servos_that_complain(scene: Scene) {
    let faults = &[
        (Fault::ErrorBits(32), 1),
        (Fault::ErrorBits(4), 2),
        (Fault::ErrorBits(1), 3),
        (Fault::ErrorBits(2), 4),
        (Fault::BadChecksum, 5),
    ];
    let overrides = [("robot.on_motor_fault", "{shoulder_pan = \"torque_off\"}")];
    scene.record(&overrides, With { devices: devices::follower_bus(&[], faults), ..With::default() }).await;
}

/// It is there, and says nothing for 0.8 s.
pub async fn silent_leader(scene: Scene) {
    scene.record(&[], With { devices: devices::silent_leader(scene.looks.clone()), ..With::default() }).await;
}

/// Refused while it is connected.
pub async fn overloaded_at_the_start(scene: Scene) {
    let devices = devices::follower_bus(&[(Fault::ErrorBits(32), 3)], &[]);
    scene.fail(&[], With { devices, ..With::default() }).await;
}

pub async fn silent_arm(scene: Scene) {
    scene.record(&[], With { devices: devices::silent_follower(), ..With::default() }).await;
}

pub async fn encoder_dies(scene: Scene) {
    let count = AtomicU64::new(0);
    let open = tampered(move |_| if count.fetch_add(1, Ordering::Relaxed) == 20 { Err(failure()) } else { Ok(()) });
    scene.record(&[], With { open, ..With::default() }).await;
}

pub async fn encoder_fails_for_ever(scene: Scene) {
    scene.fail(&[], With { open: tampered(|_| Err(failure())), ..With::default() }).await;
}

/// The GPU fails in the first take, which is encoded before the second begins, and works in that.
pub async fn gpu_fails_once(scene: Scene) {
    let failed = AtomicBool::new(false);
    let opening = move || if failed.swap(true, Ordering::Relaxed) { Ok(()) } else { Err(failure()) };
    let looks = scene.looks.clone();
    let with = With {
        open: stand_in_gpu(opening, |_| Ok(())),
        gpu: Some(Gpu { works: true, prober: no_gpu() }),
        on_saved: Box::new(move |_, _| looks.look()),
        ..With::default()
    };
    scene.record(&[&ON_GPU[..], &[("dataset.streaming_encoding", "false")]].concat(), with).await;
}

/// What only the GPU makes waits on disk for it.
pub async fn gpu_is_needed_and_gone(scene: Scene) {
    let with = With {
        open: Arc::new(|_, _| Err(failure())),
        gpu: Some(Gpu { works: true, prober: no_gpu() }),
        ..With::default()
    };
    let overrides = [&ON_GPU[..], &[("dataset.encoder.codec", "hevc"), ONE_EPISODE]].concat();
    let (running, _) = scene.start(&overrides, with).await;
    running.wait().await.unwrap();
}

/// Little room after the first episode, none after the second.
pub async fn disk_fills_up(scene: Scene) {
    let free = Arc::new(AtomicU64::new(2 * GIB));
    let (seen, looks) = (free.clone(), scene.looks.clone());
    let with = With {
        stage: Stage { free_space: Arc::new(move |_| Ok(seen.load(Ordering::SeqCst))), ..Stage::default() },
        on_saved: Box::new(move |_, _| {
            looks.look();
            let little = free.load(Ordering::SeqCst) == 2 * GIB;
            free.store(if little { GIB + (1 << 16) } else { GIB - 1 }, Ordering::SeqCst);
        }),
        ..With::default()
    };
    scene.fail(&[("limits.min_free_gib", "1"), ("dataset.num_episodes", "50")], with).await;
}

pub async fn schedule(scene: Scene) {
    let now = simulated().now();
    let schedule = Schedule::new(now, now.utc_ns, None, Some(1.0));
    scene.record(&[], With { stage: Stage { schedule, ..Stage::default() }, ..With::default() }).await;
}

/// A writer that is given two frames for three rows: no encoder that keeps to the seam can do that.
pub async fn swallowed_frame(scene: Scene) {
    let config = scene.config(&[("robot.type", "none"), ("teleop.type", "none"), ("dataset.encoder.codec", "copy")]);
    let (_, coordinator) = tokio::sync::oneshot::channel();
    let arguments = WriterArguments {
        dataset: run::open_dataset(&config).unwrap(),
        camera_names: vec!["front".into(), "wrist".into()],
        task: "a task".into(),
        keep_limit_bytes: GIB,
        waiting: Vec::new(),
        min_free_bytes: 0,
        little_room_s: 0.0,
        free_space: Stage::default().free_space,
        ending: Arc::default(),
        health: Arc::default(),
        clock: simulated(),
        status: status::shared(),
        coordinator,
        on_saved: Box::new(|_, _| {}),
    };
    let (writer, thread) = Writer::spawn(None, arguments, ThreadLocalActorSpawner::new()).await.unwrap();
    let tell = |message| writer.cast(message).unwrap();
    let take = 0;
    tell(WriterMessage::Begin { take });
    for _ in 0..3 {
        let row = Row { cameras: vec![RowFrame::default(); 2], ..Row::default() };
        tell(WriterMessage::Row { take, row: Box::new(row), losses: Default::default() });
    }
    for (camera, frames) in [(0, 2), (1, 3)] {
        let stream = StreamId { take, camera };
        let sample = Sample { data: vec![0xFF, 0xD8, 0xFF, 0xD9].into(), sync: true };
        let (samples, format) = (vec![sample; frames], Arc::new(SampleFormat::Mjpeg));
        let (substituted, stored, pixels) = (Vec::new(), Vec::new(), PixelHistogram::default());
        let fragment = Fragment { first_frame: 0, samples, format, substituted, stored, pixels };
        tell(WriterMessage::Fragment { stream, fragment, newest: None });
        tell(WriterMessage::VideoEncoded { stream, encoder: "copy" });
    }
    let cameras = vec![CameraAccount { written: 3, ..CameraAccount::default() }; 2];
    tell(WriterMessage::End { report: Box::new(TakeReport { take, rows: 3, cameras, ..TakeReport::default() }) });
    writer.drain_and_wait(None).await.unwrap();
    thread.await.unwrap();
}

/// Nothing is heard of the writer any more.
pub async fn stuck_writer(scene: Scene) {
    let (health, now, status) = (Arc::new(Health::new(false)), Instant::now(), status::shared());
    let mut supervisor = Supervisor::new(health.clone(), None, PATIENCE, now);
    health.beat(Part::Ticks);
    supervisor.step(now, &status.borrow());
    [Part::Ticks, Part::EncoderPool].into_iter().for_each(|part| health.beat(part));
    supervisor.step(now + PATIENCE, &status.borrow());
    scene.looks.look();
    health.beat(Part::Writer);
    supervisor.step(now + PATIENCE, &status.borrow());
}

/// A log on a disk that is full.
pub async fn full_log(_: Scene) {
    let log = Log { file: Some("/dev/full".into()), ..Log::default() };
    let logging = log_file::start(Some(&log)).unwrap();
    tracing::warn!("there is no room for this");
    // Waits until it was tried.
    drop(logging);
}
