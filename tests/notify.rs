//! `[notify]`: a command of the user's is told of what matters, and whatever it does, the recording goes on.

mod dataset_support;
mod program;

use program::{Lab, PATIENCE, Running, Signal};
use recorder::clock::Stamp;
use recorder::config::schema::{Notify, OnLoss, Words};
use recorder::events::{Event, Events};
use recorder::notify::Teller;
use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Runs as fast as the machine can, in simulated time.
const FAST: &str = "--robot.cameras.front.realtime=false";

fn told(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn names(told: &[Value]) -> Vec<&str> {
    told.iter().map(|told| told["event"].as_str().unwrap()).collect()
}

/// Waits for the line `name value` in the metrics of a run.
fn wait_for_metric(running: &mut Running, wanted: &[&str]) {
    let line = running.wait_for("metrics at http://");
    let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap();
    let start = Instant::now();
    loop {
        let mut page = String::new();
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
        stream.read_to_string(&mut page).unwrap();
        if wanted.iter().all(|wanted| page.lines().any(|line| line == *wanted)) {
            return;
        }
        let notifications: Vec<&str> = page.lines().filter(|line| line.contains("notifications")).collect();
        assert!(start.elapsed() < PATIENCE, "{wanted:?} never came: {notifications:?}");
    }
}

#[test]
fn a_run_tells_its_end_before_it_ends() {
    let lab = Lab::new();
    let script = "cat >> told; env | grep ^RECORDER_ | sort > environment; readlink /proc/self/fd/* > files; exit 0";
    let ended = lab.record(&[FAST, &format!("--notify.command={script}")]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    let told = told(&lab.path("told"));
    assert_eq!(names(&told), ["run_ended"]);
    assert_eq!(
        (&told[0]["saved"], &told[0]["severity"], &told[0]["root"]),
        (&2.into(), &"info".into(), &"data/set".into())
    );
    let environment = std::fs::read_to_string(lab.path("environment")).unwrap();
    for part in [
        "RECORDER_EVENT=run_ended\n",
        "RECORDER_SEVERITY=info\n",
        "RECORDER_TEXT=the run has ended: 2 saved, 0 discarded, 0 failed\n",
        "RECORDER_ROOT=data/set\n",
        "RECORDER_SKIPPED=0\n",
    ] {
        assert!(environment.contains(part), "{part} is not in:\n{environment}");
    }
    // Standard input, output and error, and what `readlink` reads: nothing of the recorder's.
    let files = std::fs::read_to_string(lab.path("files")).unwrap();
    assert!(!files.contains("data/set") && !files.contains("pts") && !files.contains("socket"), "{files}");
}

/// A storm of events becomes a few runs of the command.
#[test]
fn a_storm_is_told_together() {
    let lab = Lab::new();
    let overrides = [
        FAST,
        "--notify.command=cat >> told",
        "--notify.on=info",
        "--notify.min_interval_s=1000",
        "--dataset.num_episodes=30",
    ];
    let ended = lab.record(&overrides);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    let told = told(&lab.path("told"));
    assert_eq!(names(&told), ["run_started", "run_ended"]);
    let last = &told[1];
    let (also, skipped) = (last["also"].as_array().unwrap().len() as u64, last["skipped"].as_u64().unwrap());
    // Every take began and was saved.
    assert!(also == 7 && also + skipped >= 60, "{also} and {skipped}");
}

#[test]
fn a_command_that_fails_or_hangs_is_counted_and_disturbs_nothing() {
    let lab = Lab::new();
    let script = "case $RECORDER_EVENT in \
                  run_started) echo no network; exit 3;; take_started) echo $$ > hung; sleep 1000;; *) cat >> told;; esac";
    let mut running = lab.start(&[
        &format!("--notify.command={script}"),
        "--notify.on=['run_started', 'take_started', 'run_ended']",
        "--notify.timeout_s=0.5",
        "--notify.min_interval_s=0",
        "--metrics.listen=127.0.0.1:0",
        "--dataset.episode_time_s=1000",
    ]);
    let counted = |outcome: &str| format!("recorder_notifications_total{{outcome=\"{outcome}\"}} 1");
    wait_for_metric(&mut running, &[&counted("failed"), &counted("timed_out")]);
    let hung = std::fs::read_to_string(lab.path("hung")).unwrap();
    assert!(!Path::new(&format!("/proc/{}", hung.trim())).exists(), "{hung} goes on");
    running.signal(Signal::INT);
    let ended = running.wait();
    assert_eq!(ended.code, Some(130), "{}", ended.text);
    for part in [
        "notify.command: exit code 3: no network; as long as it fails that is only counted",
        "notify.command: works again",
        "1 episode saved, 0 discarded, 0 failed; 1 in the data set; 0 frames dropped",
    ] {
        assert_eq!(ended.text.matches(part).count(), 1, "{part}: {}", ended.text);
    }
    assert!(!ended.text.contains("did not end within"), "it is said more than once: {}", ended.text);
    assert_eq!(names(&told(&lab.path("told"))), ["run_ended"]);
    assert!(dataset_support::check(&lab.root()).ends_with(" 1 episodes, 0 bad"));
}

/// A further signal does not wait for the last command, nor leaves it behind.
#[test]
fn the_wait_for_the_last_command_can_be_cut_short() {
    let lab = Lab::new();
    mkfifoat(CWD, lab.path("begun"), Mode::RUSR | Mode::WUSR).unwrap();
    let script = "echo $$ > begun; sleep 1000";
    let running =
        lab.start(&[&format!("--notify.command={script}"), "--notify.timeout_s=300", "--dataset.num_episodes=1"]);
    let process = std::fs::read_to_string(lab.path("begun")).unwrap();
    running.signal(Signal::INT);
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert!(!ended.text.contains("did not end within"), "it was waited for: {}", ended.text);
    let start = Instant::now();
    // Whoever inherits it reaps it soon.
    while std::fs::read_to_string(format!("/proc/{}/stat", process.trim())).is_ok_and(|stat| !stat.contains(") Z")) {
        assert!(start.elapsed() < PATIENCE, "{process} goes on");
        std::thread::yield_now();
    }
    assert!(dataset_support::check(&lab.root()).ends_with(" 1 episodes, 0 bad"));
}

/// What happens while a command runs is told by the next one, most of it in one line; what is too much is counted.
#[tokio::test(flavor = "multi_thread")]
async fn what_happens_while_a_command_runs_is_told_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    mkfifoat(CWD, path("gate"), Mode::RUSR | Mode::WUSR).unwrap();
    let script = "cd \"$0\"; cat >> told; test -e second || { touch second; cat gate; }";
    let command = ["sh", "-c", script, dir.path().to_str().unwrap()].map(String::from).to_vec();
    let notify =
        Notify { command: Some(Words::Many(command)), min_interval_s: 0.0, timeout_s: 300.0, ..Notify::default() };
    let events = Arc::new(Events::default());
    let tell = |event: Event| events.tell(Stamp::default(), event.name().into(), event);
    let lost = || Event::DeviceLost { device: "camera front".into(), reason: "gone".into(), on_loss: OnLoss::Hold };
    let mut teller = Teller::start(&notify, "data/set", &events);
    tell(lost());
    // Opens when the first command reads it.
    let gate = path("gate");
    let mut gate = tokio::task::spawn_blocking(move || std::fs::File::create(gate).unwrap()).await.unwrap();
    (0..100).for_each(|_| drop(tell(lost())));
    tell(Event::DeviceFailing { device: "camera front".into() });
    // Nobody wants to hear of it.
    tell(Event::DeviceBack { device: "camera front".into() });
    writeln!(gate, "go on").unwrap();
    drop(gate);
    teller.finish().await;
    let told = told(&path("told"));
    assert_eq!(names(&told), ["device_lost", "device_failing"]);
    let numbers: Vec<u64> = told[1]["also"].as_array().unwrap().iter().map(|e| e["number"].as_u64().unwrap()).collect();
    assert_eq!((numbers, &told[1]["skipped"]), ((95..=101).collect(), &93.into()));
}

#[test]
fn the_command_is_checked_and_tried() {
    let lab = Lab::new();
    let check = |command: &str, more: &[&str]| {
        let command = format!("--notify.command={command}");
        lab.run(&[&["check", "--config", "lab.toml", &command], more].concat())
    };
    for (command, code, words) in [
        ("cat > told", 0, "ok     notify.command: can be run"),
        ("X=1 cat > told", 0, "ok     notify.command: can be run"),
        ("['cat', '/dev/null']", 0, "ok     notify.command: can be run"),
        ("no-such-program -x", 2, "expected a command that can be run, found no program \"no-such-program\""),
        ("['./told.sh']", 2, "found no program \"./told.sh\" that may be executed; install it"),
        ("if true; then", 2, "yntax error"),
    ] {
        let checked = check(command, &[]);
        assert!(checked.code == Some(code) && checked.text.contains(words), "{command}: {}", checked.text);
    }
    assert!(!lab.path("told").exists(), "it was run, though nobody wanted that");
    let tried = check("cat > told", &["--notify"]);
    assert!(tried.code == Some(0) && tried.text.contains("notify.command: ran as a test"), "{}", tried.text);
    assert_eq!(names(&told(&lab.path("told"))), ["test"]);
    let failed = check("echo no network; exit 3", &["--notify"]);
    assert!(
        failed.code == Some(2) && failed.text.contains("notify.command: exit code 3: no network"),
        "{}",
        failed.text
    );
    let nothing = lab.run(&["check", "--config", "lab.toml", "--notify"]);
    assert!(nothing.code == Some(2) && nothing.text.contains("expected a command to test"), "{}", nothing.text);
}
