//! Runs that nobody watches: the disk fills up, the time is up, a part hangs, the process dies and is started again.

mod dataset_support;
mod program;
mod run_support;

use program::{Lab, Signal};
use recorder::actors::recorder::RunError;
use recorder::arm::sim::{Fault, SimBus, SimKind};
use recorder::clock::{Stamp, SystemClock};
use recorder::codec::backend;
use recorder::devices::Devices;
use recorder::disk_space::{FreeSpace, Room};
use recorder::episode::Key;
use recorder::run::{self, Parts, Running, Stage};
use recorder::schedule::Schedule;
use recorder::status::{self, Phase, SharedStatus};
use recorder::supervision::{Notifier, Supervisor};
use run_support::*;
use std::io::Write as _;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const GIB: u64 = 1 << 30;

/// A run from `stage` in simulated time.
async fn start_from(root: &Path, overrides: &[(&str, &str)], stage: Stage) -> (Running, SharedStatus) {
    let (config, status) = (config(SMALL, root, overrides), status::shared());
    let dataset = run::open_dataset(&config).unwrap();
    let (open_encoder, on_saved) = (backend::standard(), Box::new(|_: &_, _| {}));
    let parts = Parts { clock: simulated(), open_encoder, gpu: None, status: status.clone(), on_saved };
    (run::start_from(&config, dataset, parts, Devices::default(), stage).await.unwrap(), status)
}

fn lengths(root: &Path) -> Vec<u64> {
    summaries(root).iter().map(|summary| summary.length).collect()
}

/// A disk that is full from when the second take's videos have some bytes, until `emptied`.
fn small_disk(root: &Path, emptied: Arc<AtomicBool>) -> FreeSpace {
    let (partial, full) = (root.join(".partial"), AtomicBool::new(false));
    Arc::new(move |_| {
        let takes = std::fs::read_dir(&partial).into_iter().flatten().flatten().map(|take| take.path());
        let second = takes.filter(|take| take.to_string_lossy().ends_with("take_000001"));
        let files = second.flat_map(|take| std::fs::read_dir(take).into_iter().flatten().flatten());
        let bytes: u64 = files.filter_map(|file| Some(file.metadata().ok()?.len())).sum();
        let full = full.fetch_or(bytes > 100_000, Ordering::SeqCst) || bytes > 100_000;
        Ok(if full && !emptied.load(Ordering::SeqCst) { GIB - 1 } else { 2 * GIB })
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_ends_the_take_saves_it_and_stops() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    let stage = Stage { free_space: small_disk(&root, Arc::default()), ..Stage::default() };
    let long = [("dataset.episode_time_s", "40"), ("dataset.num_episodes", "5"), ("limits.min_free_gib", "1")];
    let (running, status) = start_from(&root, &long, stage).await;
    let Err(RunError::Failed(reason)) = running.wait().await else { panic!("it must end with an error") };
    assert!(reason.contains("limits.min_free_gib") && reason.contains("free space"), "{reason}");
    let lengths = lengths(&root);
    assert!(lengths.len() == 2 && lengths[0] == 1200 && (31..1200).contains(&lengths[1]), "{lengths:?}");
    assert_eq!((status.borrow().saved, status.borrow().failed), (2, 0));
    assert!(dataset_support::check(&root).ends_with(" 2 episodes, 0 bad"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_may_wait_for_room_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    let emptied = Arc::new(AtomicBool::new(false));
    let stage = Stage { free_space: small_disk(&root, emptied.clone()), ..Stage::default() };
    let overrides = [
        ("dataset.episode_time_s", "40"),
        ("dataset.num_episodes", "3"),
        ("limits.min_free_gib", "1"),
        ("run.on_low_disk", "pause"),
    ];
    let (running, status) = start_from(&root, &overrides, stage).await;
    let paused = until(&status, "a pause", |s| s.held && s.saved == 2).await;
    assert_eq!((paused.room, paused.phase == Phase::Done), (Room::None, false));
    emptied.store(true, Ordering::SeqCst);
    running.wait().await.unwrap();
    let lengths = lengths(&root);
    assert!(lengths.len() == 3 && lengths[1] < 1200 && lengths[2] == 1200, "{lengths:?}");
    assert_eq!(status.borrow().room, Room::Enough);
    assert!(dataset_support::check(&root).ends_with(" 3 episodes, 0 bad"));
}

/// What begins on a disk that is too full is no episode: it is thrown away, not saved as a stub.
#[tokio::test(flavor = "multi_thread")]
async fn a_take_that_has_only_just_begun_is_not_saved_when_the_disk_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    let room = Arc::new(AtomicBool::new(false));
    let seen = room.clone();
    let free_space: FreeSpace = Arc::new(move |_| Ok(if seen.load(Ordering::SeqCst) { 2 * GIB } else { 1 }));
    let overrides = [("limits.min_free_gib", "1"), ("run.on_low_disk", "pause")];
    let (running, status) = start_from(&root, &overrides, Stage { free_space, ..Stage::default() }).await;
    until(&status, "a pause", |s| s.held).await;
    room.store(true, Ordering::SeqCst);
    running.wait().await.unwrap();
    assert_eq!(lengths(&root), [45, 45]);
}

/// The simulated clock starts at this time.
fn start() -> Stamp {
    simulated().now()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_episode_begins_after_the_end_and_the_one_before_is_whole() {
    // Takes of 1.5 s every 2 s: the third is under way after 5 s.
    for (until_s, max_hours, expected) in [(Some(5), None, 3), (None, Some(5.0 / 3600.0), 3), (Some(0), None, 0)] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("set");
        let until_utc_ns = until_s.map(|seconds: u64| start().utc_ns + seconds * 1_000_000_000);
        let schedule = Schedule::new(start(), start().utc_ns, until_utc_ns, max_hours);
        let (running, status) =
            start_from(&root, &[("dataset.num_episodes", "100")], Stage { schedule, ..Stage::default() }).await;
        running.wait().await.unwrap();
        assert_eq!(lengths(&root), vec![45; expected]);
        assert_eq!(status.borrow().saved, expected as u64);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_where_it_stood() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    let (running, status) =
        start_from(&root, &[("dataset.num_episodes", "5")], Stage { recorded: 3, ..Stage::default() }).await;
    let first = until(&status, "a take", |s| s.phase == Phase::Recording).await;
    assert_eq!((first.episode, first.episodes), (4, 5));
    running.wait().await.unwrap();
    assert_eq!(lengths(&root), [45, 45]);
}

/// Whatever ends a run while its last takes are being saved, they are saved.
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_while_takes_are_saved_discards_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    let gate = Arc::new(Gate::default());
    let waiting = gate.clone();
    let open = tampered(move |_| {
        waiting.pass();
        Ok(())
    });
    let overrides = [("dataset.num_episodes", "1"), ("dataset.streaming_encoding", "false")];
    let (running, status) = run_support::start(&config(SMALL, &root, &overrides), simulated(), open).await;
    until(&status, "the end of the last take", |s| s.phase == Phase::Finishing).await;
    running.key(Key::StopDiscarding);
    gate.open();
    running.wait().await.unwrap();
    assert_eq!(lengths(&root), [45]);
}

/// The writer hangs, as in a system call that does not return; every other thread goes on.
#[tokio::test(flavor = "multi_thread")]
async fn systemd_hears_nothing_of_a_run_whose_writer_hangs() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    let name = format!("recorder-unattended-{}", std::process::id());
    let systemd = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    systemd.set_nonblocking(true).unwrap();
    let heard = || {
        let mut buffer = [0; 512];
        std::iter::from_fn(|| {
            systemd.recv(&mut buffer).ok().map(|n| String::from_utf8_lossy(&buffer[..n]).into_owned())
        })
        .collect::<Vec<String>>()
    };
    let env = |key: &str| match key {
        "NOTIFY_SOCKET" => Some(format!("@{name}").into()),
        "WATCHDOG_USEC" => Some("1000000".into()),
        _ => None,
    };
    let overrides = [
        ("robot.cameras.front.realtime", "true"),
        ("robot.cameras.wrist.realtime", "true"),
        ("dataset.episode_time_s", "0.3"),
        ("dataset.reset_time_s", "0"),
        ("dataset.num_episodes", "100000"),
    ];
    let (config, status, gate) = (config(SMALL, &root, &overrides), status::shared(), Arc::new(Gate::default()));
    let dataset = run::open_dataset(&config).unwrap();
    let hangs = gate.clone();
    let parts = Parts {
        clock: real(),
        open_encoder: backend::standard(),
        gpu: None,
        status: status.clone(),
        // On the writer's thread.
        on_saved: Box::new(move |_, _| hangs.pass()),
    };
    let running = run::start(&config, dataset, parts).await.unwrap();
    let notifier = Notifier::from_env(&env).unwrap().map(Arc::new);
    let mut supervisor = Supervisor::new(running.health(), notifier, Duration::from_secs(2), Instant::now());
    let mut step = async || {
        tokio::time::sleep(supervisor.interval()).await;
        supervisor.step(Instant::now(), &status.borrow().clone());
        (heard(), supervisor.stuck().to_vec())
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut words = Vec::new();
    let stuck = loop {
        assert!(Instant::now() < deadline, "never seen: {words:?}");
        let (new, stuck) = step().await;
        words.extend(new);
        if stuck.contains(&"writer") {
            break stuck;
        }
    };
    assert!(words.contains(&"READY=1".into()) && words.contains(&"WATCHDOG=1".into()), "{words:?}");
    assert!(!stuck.contains(&"ticks"), "the control loop does not wait for the disk: {stuck:?}");
    for _ in 0..5 {
        let (words, stuck) = step().await;
        assert!(!words.contains(&"WATCHDOG=1".into()), "{words:?}");
        assert!(stuck.contains(&"writer"));
    }
    gate.open();
    while !step().await.0.contains(&"WATCHDOG=1".into()) {
        assert!(Instant::now() < deadline);
    }
    running.key(Key::Stop);
    running.wait().await.unwrap();
}

fn state_file(lab: &Lab) -> std::path::PathBuf {
    lab.root().join("recorder/run.json")
}

/// More than what a kill may leave of them.
const FIVE: &str = "--dataset.num_episodes=5";

#[test]
fn a_run_that_was_killed_or_terminated_goes_on_and_one_that_was_ended_does_not() {
    let lab = Lab::new();
    let long = "--dataset.reset_time_s=0.3";
    let mut running = lab.start(&[FIVE, long]);
    running.wait_for("saved as the data set's episode 0");
    running.signal(Signal::KILL);
    assert_eq!(running.wait().code, None);
    assert!(state_file(&lab).exists());

    let other = lab.record(&["--dataset.num_episodes=6"]);
    assert_eq!(other.code, Some(4), "{}", other.text);
    assert!(other.text.contains("dataset.num_episodes was 5, is 6"), "{}", other.text);
    let looked = lab.run(&["check", "--config", "lab.toml", FIVE]);
    assert!(looked.text.contains("ok     goes on with the run of"), "{}", looked.text);

    let mut running = lab.start(&[FIVE, "--dataset.reset_time_s=1000"]);
    running.wait_for("goes on with the run of");
    running.wait_for("saved as the data set's episode");
    running.signal(Signal::TERM);
    let ended = running.wait();
    assert_eq!(ended.code, Some(143), "{}", ended.text);
    assert!(state_file(&lab).exists());

    let ended = lab.record(&[FIVE, long]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert!(ended.text.contains("goes on with the run of") && ended.text.contains("of 5 episodes"), "{}", ended.text);
    assert!(ended.text.contains("; 5 in the data set;"), "{}", ended.text);
    assert!(!state_file(&lab).exists());
    assert!(dataset_support::check(&lab.root()).ends_with(" 5 episodes, 0 bad"));

    let mut running = lab.start(&["--dataset.resume=true", "--dataset.reset_time_s=1000"]);
    running.wait_for("saved as the data set's episode 5");
    running.signal(Signal::INT);
    assert_eq!(running.wait().code, Some(130));
    assert!(!state_file(&lab).exists(), "the operator has ended it");
}

/// The system shuts down before anything is recorded, then with little patience; the run is for the next start.
#[test]
fn a_run_that_was_stopped_at_once_goes_on() {
    let lab = Lab::new();
    let sim = SimBus::start(SimKind::Follower, Arc::new(SystemClock::default())).unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/arm/calib/robots/so_follower");
    // The calibration is a pipe: the follower is being opened until something comes out of it.
    let pipe = lab.path("f1.json");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let port = format!("--robot.port={}", sim.path());
    let follower =
        |folder: &Path| [port.clone(), "--robot.id=f1".into(), format!("--robot.calibration_dir={}", folder.display())];
    let start = |folder: &Path| lab.start(&follower(folder).each_ref().map(String::as_str));
    let mut running = start(pipe.parent().unwrap());
    let mut opened = std::fs::File::create(&pipe).unwrap();
    running.signal(Signal::TERM);
    running.wait_for("stopping");
    opened.write_all(&std::fs::read(golden.join("f1.json")).unwrap()).unwrap();
    drop(opened);
    assert_eq!(running.wait().code, Some(143));
    assert!(state_file(&lab).exists());

    let mut running = start(&golden);
    running.wait_for("0 of 2 episodes are recorded");
    running.wait_for("recording episode 1 of 2");
    // A follower that has gone silent takes a second or two to be let go of: the second signal comes before the end.
    sim.inject(Fault::Lost, None, usize::MAX);
    for signal in [Signal::STOP, Signal::TERM, Signal::HUP, Signal::CONT] {
        running.signal(signal);
    }
    running.wait_for("stopped at once");
    let code = running.wait().code;
    assert!(matches!(code, Some(143 | 129)), "{code:?}");
    assert!(state_file(&lab).exists());

    // With another arm: the port is not what makes it another run.
    let ended = lab.record(&[]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert!(
        ended.text.contains("goes on with the run of") && ended.text.contains("; 2 in the data set;"),
        "{}",
        ended.text
    );
    assert!(!state_file(&lab).exists());
    assert!(dataset_support::check(&lab.root()).ends_with(" 2 episodes, 0 bad"));
}

#[test]
fn what_a_signal_does_with_the_take_is_configured() {
    for (on_stop, saved, discarded) in [("keep", 1, 0), ("discard", 0, 1)] {
        let lab = Lab::new();
        let mut running = lab.start(&[&format!("--run.on_stop={on_stop}"), "--dataset.episode_time_s=1000"]);
        running.wait_for("recording episode 1 of 2");
        running.signal(Signal::TERM);
        let ended = running.wait();
        assert_eq!(ended.code, Some(143), "{}", ended.text);
        let counts = format!("{saved} episode{} saved, {discarded} discarded", if saved == 1 { "" } else { "s" });
        assert!(ended.text.contains(&counts), "{}", ended.text);
    }
}

#[test]
fn a_run_whose_time_is_up_records_nothing_and_is_over() {
    let lab = Lab::new();
    let ended = lab.record(&["--run.until=2026-01-01T00:00:00Z"]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert!(ended.text.contains("run.until is reached") && ended.text.contains("0 episodes saved"), "{}", ended.text);
    assert!(!state_file(&lab).exists());
    let refused = lab.record(&["--run.until=26:00"]);
    assert!(refused.code == Some(2) && refused.text.contains("run.until: expected HH:MM"), "{}", refused.text);
}

#[test]
fn systemd_hears_when_it_runs_how_it_is_and_when_it_ends() {
    let lab = Lab::new();
    let socket = UnixDatagram::bind(lab.path("notify")).unwrap();
    socket.set_read_timeout(Some(program::PATIENCE)).unwrap();
    let mut command = lab.command(env!("CARGO_BIN_EXE_recorder"));
    command.args(["--config", "lab.toml", "--dataset.episode_time_s=1000"]);
    command.env("NOTIFY_SOCKET", lab.path("notify")).env("WATCHDOG_USEC", "400000");
    let running = program::Running::of(command);
    let mut heard = Vec::new();
    let mut hear_until = |wanted: &dyn Fn(&[String]) -> bool| {
        while !wanted(&heard) {
            let mut buffer = [0; 512];
            let length = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{error}: {heard:?}"));
            heard.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
        }
        heard.clone()
    };
    let words = hear_until(&|words| words.iter().any(|w| w.starts_with("STATUS=episode 1 of 2, 30.0 fps")));
    assert_eq!(words.iter().filter(|w| *w == "READY=1").count(), 1, "{words:?}");
    hear_until(&|words| words.iter().filter(|w| *w == "WATCHDOG=1").count() >= 5);
    running.signal(Signal::TERM);
    hear_until(&|words| words.contains(&"STOPPING=1".to_string()));
    assert_eq!(running.wait().code, Some(143));
}

/// One that ends well without ever having been ready would count as failed, and be started again.
#[test]
fn systemd_takes_a_run_that_has_nothing_to_record_for_one_that_was_ready() {
    let lab = Lab::new();
    let socket = UnixDatagram::bind(lab.path("notify")).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut command = lab.command(env!("CARGO_BIN_EXE_recorder"));
    command.args(["--config", "lab.toml", "--run.until=2026-01-01T00:00:00Z"]).env("NOTIFY_SOCKET", lab.path("notify"));
    assert_eq!(program::Running::of(command).wait().code, Some(0));
    let mut buffer = [0; 512];
    let words: Vec<String> =
        std::iter::from_fn(|| socket.recv(&mut buffer).ok().map(|n| String::from_utf8_lossy(&buffer[..n]).into()))
            .collect();
    let place = |word: &str| words.iter().position(|said| said == word);
    assert!(place("READY=1").is_some() && place("READY=1") < place("STOPPING=1"), "{words:?}");
}

#[test]
fn a_second_instance_is_refused_and_a_killed_one_leaves_no_lock() {
    let lab = Lab::new();
    let mut running = lab.start(&["--dataset.episode_time_s=1000"]);
    running.wait_for("recording episode 1 of 2");
    let second = lab.record(&["--dataset.episode_time_s=1000"]);
    assert_eq!(second.code, Some(4), "{}", second.text);
    assert!(second.text.contains("another recorder is writing this data set"), "{}", second.text);
    // No child that outlives it holds the lock: it is closed where another program is started.
    let process = format!("/proc/{}", running.id());
    let locks: Vec<_> = std::fs::read_dir(format!("{process}/fd"))
        .unwrap()
        .flatten()
        .filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|target| target.ends_with("recorder/lock")))
        .collect();
    assert_eq!(locks.len(), 1);
    let info = format!("{process}/fdinfo/{}", locks[0].file_name().to_string_lossy());
    let info = std::fs::read_to_string(info).unwrap();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
    assert!(u32::from_str_radix(flags, 8).unwrap() & 0o2_000_000 != 0, "the lock is not closed on exec: {info}");
    running.signal(Signal::KILL);
    running.wait();
    let third = lab.record(&["--run.on_restart=new", "--dataset.root=data/set", "--dataset.resume=false"]);
    assert!(!third.text.contains("another recorder"), "{}", third.text);
}

#[test]
fn a_port_that_another_recorder_uses_is_refused_by_name_of_its_holder() {
    let (lab, clock) = (Lab::new(), Arc::new(SystemClock::default()));
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/arm/calib");
    for (table, kind, folder, id) in [
        ("robot", SimKind::Follower, "robots/so_follower", "f1"),
        ("teleop", SimKind::Leader, "teleoperators/so_leader", "l1"),
    ] {
        let sim = SimBus::start(kind, clock.clone()).unwrap();
        let overrides = [
            format!("--{table}.port={}", sim.path()),
            format!("--{table}.id={id}"),
            format!("--{table}.calibration_dir={}", golden.join(folder).display()),
            format!("--dataset.root=data/{table}"),
            "--dataset.episode_time_s=1000".into(),
        ];
        let overrides: Vec<&str> = overrides.iter().map(String::as_str).collect();
        let mut running = lab.start(&overrides);
        running.wait_for("recording episode 1 of 2");
        let second = lab.record(&[&overrides[..], &["--dataset.root=data/second"]].concat());
        assert_eq!(second.code, Some(3), "{}", second.text);
        let holder = format!("recorder (process {})", running.id());
        for part in [sim.path(), "is in use by another program: ", &holder] {
            assert!(second.text.contains(part), "`{part}` is not in: {}", second.text);
        }
        running.signal(Signal::KILL);
        running.wait();
        // The lock is free at once.
        let mut third = lab.start(&[&overrides[..], &["--dataset.root=data/second"]].concat());
        third.wait_for("recording episode 1 of 2");
        third.signal(Signal::INT);
        assert_eq!(third.wait().code, Some(130));
        std::fs::remove_dir_all(lab.path("data")).unwrap();
    }
}

#[test]
fn the_log_is_a_file_too_and_its_full_disk_is_no_failure() {
    let lab = Lab::new();
    let ended = lab.record(&["--log.file=logs/recorder.log", "--dataset.num_episodes=1"]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    let text = std::fs::read_to_string(lab.path("logs/recorder.log")).unwrap();
    // Each has its own time.
    for line in text.lines().map(|line| line.split_once(' ').unwrap().1) {
        assert!(ended.text.contains(line), "{line}");
    }
    assert!(text.contains("saved as the data set's episode 0") && !text.contains('\x1b'), "{text}");

    let more = ["--dataset.num_episodes=1", "--dataset.resume=true"];
    let ended = lab.record(&[&more[..], &["--log.file=logs/recorder.json", "--log.format=json"]].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    let text = std::fs::read_to_string(lab.path("logs/recorder.json")).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let says = |line: &serde_json::Value| line["message"].as_str().unwrap().contains("saved as the data set");
    assert!(lines.iter().any(says), "{text}");

    let ended = lab.record(&[&more[..], &["--log.file=/dev/full"]].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert_eq!(ended.text.matches("/dev/full: the log cannot be written").count(), 1, "{}", ended.text);
    let refused = lab.record(&[&more[..], &["--log.file=/proc/recorder.log"]].concat());
    assert!(refused.code == Some(2) && refused.text.contains("log.file: expected a file"), "{}", refused.text);
}

/// What the unit file says must fit what the program does.
#[test]
fn the_unit_fits_the_program() {
    let unit = include_str!("../scripts/recorder@.service");
    let value = |key: &str| {
        let mut values = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        values.next().unwrap_or_else(|| panic!("no {key}"))
    };
    let watchdog = Duration::from_secs(value("WatchdogSec").parse().unwrap());
    assert!(watchdog >= 2 * recorder::supervision::PATIENCE, "a part that is stuck must be said before the end");
    assert_eq!((value("Type"), value("KillSignal"), value("Restart")), ("notify", "SIGTERM", "on-failure"));
    assert_eq!((value("SuccessExitStatus"), value("RestartPreventExitStatus")), ("129 130 143", "2 4"));
}
