//! Disks that fail: at any operation, in every way, and one that is really full. The recorder ends by itself with an error
//! that names the file, what was saved is there, and without the fault everything goes on.
//!
//! The faults are injected by `tests/crashfs`. RECORDER_DISK_FAULTS=all lets every operation fail instead of some,
//! RECORDER_TEST_SEED picks other ones.

mod crashfs;
mod program;

use crashfs::disk::read_tree;
use crashfs::{Op, Random, Shim, judge, read_log, saved_episode, scratch, seed};
use program::{Lab, PATIENCE};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Two episodes of a second from two small cameras and the simulated arm, as fast as the machine can.
const SMALL: [&str; 11] = [
    "--config=lab.toml",
    "--limits.min_free_gib=0",
    "--dataset.episode_time_s=1",
    "--robot.cameras.front.width=64",
    "--robot.cameras.front.height=48",
    "--robot.cameras.front.realtime=false",
    "--robot.cameras.wrist.type=synthetic",
    "--robot.cameras.wrist.width=64",
    "--robot.cameras.wrist.height=48",
    "--robot.cameras.wrist.realtime=false",
    "--dataset.num_episodes=2",
];
/// The modes that write different files.
const MODES: [(&str, &str); 3] = [
    ("h264", "--dataset.encoder.codec=h264"),
    ("copy", "--dataset.encoder.codec=copy"),
    ("kept, then encoded", "--dataset.streaming_encoding=false"),
];
/// Injected, and what the error is to say of it.
const KINDS: [(&str, &str); 8] = [
    ("enospc", "No space left on device"),
    ("enospc:sticky", "No space left on device"),
    ("eio", "Input/output error"),
    ("eio:sticky", "Input/output error"),
    ("erofs", "Read-only file system"),
    ("erofs:sticky", "Read-only file system"),
    ("short", "No space left on device"),
    ("short:sticky", "No space left on device"),
];
/// Operations that fail in a mode and kind where not all do.
const POINTS: u64 = 5;

fn recorder(lab: &Lab, root: &Path, mode: &str) -> Command {
    let mut command = lab.command(env!("CARGO_BIN_EXE_recorder"));
    command.args(SMALL).arg(mode).arg(format!("--dataset.root={}", root.display()));
    command
}

/// Waits for the end of a program that must come by itself; its words.
fn run(mut command: Command) -> Result<(ExitStatus, String), String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    fn read(from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
        let mut from = from;
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = from.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        })
    }
    let (out, err) = (read(child.stdout.take().unwrap()), read(child.stderr.take().unwrap()));
    let status = wait(&mut child);
    let text = err.join().unwrap() + &out.join().unwrap();
    status.map(|status| (status, text.clone())).ok_or(format!("did not end within {PATIENCE:?}:\n{text}"))
}

fn wait(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match child.try_wait().unwrap() {
            Some(status) => return Some(status),
            None if Instant::now() > deadline => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// How many episodes a run said it saved.
fn saved(text: &str) -> u64 {
    text.lines().filter(|line| saved_episode(line).is_some()).count() as u64
}

/// What a run with a fault must have said and left. True when the fault was met.
fn fault(lab: &Lab, mode: &str, at: u64, kind: (&str, &str)) -> Result<bool, String> {
    let folder = scratch();
    let (watched, log) = (folder.path().join("disk"), folder.path().join("operations"));
    std::fs::create_dir(&watched).unwrap();
    let root = watched.join("set");
    let mut command = recorder(lab, &root, mode);
    Shim::get().watch(&mut command, &watched, &log, Some(&format!("{at}:{}", kind.0)));
    let (status, text) = run(command)?;
    let events = read_log(&log);
    let faults = events.iter().filter_map(|event| match &event.op {
        Op::Fault { operation, path } => Some((operation.as_str(), path.as_path())),
        _ => None,
    });
    let met: Vec<(&str, &Path)> = faults.collect();
    let context = |reason: String| format!("{reason}; met {:?}; {status}:\n{text}", met.first());
    let code = status.code().ok_or_else(|| context("a signal ended it".into()))?;
    if text.contains("panicked") {
        return Err(context("it panicked".into()));
    }
    let saved = saved(&text);
    match met.as_slice() {
        _ if code == 0 && saved == 2 => {}
        [] => return Err(context("no fault was met, and yet it failed".into())),
        _ if code == 0 => return Err(context(format!("only {saved} of 2 episodes are saved, and it does not say so"))),
        // Of operations that fail at the same time, any may be the one that is named.
        faults => {
            // Of folders that cannot be made for the data set, the data set's own is named.
            let own = |line: &str| line.contains("/set: expected a folder");
            let place = |line: &str| own(line) || faults.iter().any(|(_, path)| line.contains(file_or_folder(path)));
            let line = text.lines().find(|line| line.contains(kind.1) && place(line));
            let line = line.ok_or_else(|| context("the error does not name the path and the fault".into()))?;
            let remedy = line
                .split_once("(os error")
                .and_then(|(_, after)| after.split_once(')'))
                .map(|(_, words)| words.trim());
            if !(line.contains("cannot") || line.contains("expected")) || remedy.is_none_or(|words| words.len() < 10) {
                return Err(context(format!("expected operation and remedy in: {line}")));
            }
        }
    }
    let left = read_tree(&root);
    judge::judge(&root, saved, &left).and_then(|_| judge::again(&root)).map_err(context)?;
    Ok(!met.is_empty())
}

/// An error may name a file's folder instead.
fn file_or_folder(path: &Path) -> &str {
    let take = path.iter().find(|name| name.to_str().is_some_and(|name| name.contains("-take_")));
    take.unwrap_or(path.as_os_str()).to_str().unwrap()
}

#[test]
fn a_disk_that_fails_at_any_operation_ends_the_run_with_a_named_error() {
    let all = std::env::var("RECORDER_DISK_FAULTS").is_ok_and(|points| points == "all");
    let (seed, started) = (seed(), Instant::now());
    let (lab, mut random) = (Lab::new(), Random::new(seed));
    let mut jobs = Vec::new();
    for (_, mode) in MODES {
        let folder = scratch();
        let (watched, log) = (folder.path().join("disk"), folder.path().join("operations"));
        std::fs::create_dir(&watched).unwrap();
        let mut command = recorder(&lab, &watched.join("set"), mode);
        Shim::get().watch(&mut command, &watched, &log, None);
        let (status, text) = run(command).unwrap();
        assert!(status.success() && saved(&text) == 2, "{text}");
        let operations = read_log(&log).iter().filter(|event| event.op.counts()).count() as u64;
        for kind in KINDS {
            let some = (0..POINTS).map(|i| 1 + (i * operations + random.below(operations)) / POINTS);
            let points: Vec<u64> = if all { (1..=operations).collect() } else { some.collect() };
            jobs.extend(points.into_iter().map(|at| (mode, at, kind)));
        }
    }
    let (next, met, failures) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, |cores| cores.get()) {
            scope.spawn(|| {
                while let Some(&(mode, at, kind)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match fault(&lab, mode, at, kind) {
                        Ok(was_met) => _ = met.fetch_add(usize::from(was_met), Ordering::Relaxed),
                        Err(reason) => failures.lock().unwrap().push(format!("{mode} {at}:{}: {reason}", kind.0)),
                    }
                }
            });
        }
    });
    let (failures, met) = (failures.into_inner().unwrap(), met.into_inner());
    println!(
        "{} runs, {met} met their fault, seed {seed}, {:.0} s: {} fail",
        jobs.len(),
        started.elapsed().as_secs_f64(),
        failures.len()
    );
    assert!(
        failures.is_empty(),
        "{} fail, the first:\n{}",
        failures.len(),
        failures[..failures.len().min(5)].join("\n\n")
    );
    assert!(met * 10 > jobs.len() * 9, "{met} of {}", jobs.len());
}

/// The commands that a full disk is tried with, in a namespace of their own: its mounts are nobody else's.
const FULL_DISK: &str = r#"
set -u
mount -t tmpfs -o size=3m full "$DISK" || exit 77
record() { "$RECORDER" --config=lab.toml --dataset.root="$DISK/set" --limits.min_free_gib=0 $CAMERA "$@"; echo "exit code $?"; }
echo "- two episodes that fit"
record --dataset.num_episodes=2
echo "- a take for which there is no room"
record --dataset.resume=true --dataset.episode_time_s=600
echo "- recovery on the full disk"
"$RECORDER" recover "$DISK/set"; echo "exit code $?"
mount -o remount,size=64m "$DISK"
cp -a "$DISK/set" "$KEPT"
"#;

#[test]
fn a_full_disk_ends_the_take_and_keeps_what_was_saved() {
    let (lab, disk, kept) = (Lab::new(), tempfile::tempdir().unwrap(), scratch());
    let root = kept.path().join("set");
    let mut command = lab.command("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", FULL_DISK]);
    command.env("RECORDER", env!("CARGO_BIN_EXE_recorder")).env("DISK", disk.path()).env("KEPT", &root);
    command.env("CAMERA", "--robot.cameras.front.realtime=false --dataset.encoder.codec=copy");
    let output = match command.stdin(Stdio::null()).stderr(Stdio::piped()).output() {
        Ok(output) if output.status.success() => {
            [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat()
        }
        other => {
            println!("skipped: this machine lets nobody mount a tmpfs: {other:?}");
            return;
        }
    };
    println!("{output}");
    assert!(
        !output.contains("panicked")
            && output.contains("No space left on device")
            && output.contains("free some space"),
        "{output}"
    );
    let codes: Vec<&str> = output.lines().filter_map(|line| line.strip_prefix("exit code ")).collect();
    assert!(matches!(codes[..], ["0", "1", "0" | "1" | "3"]), "{output}");
    let left = read_tree(&root);
    let recovered = judge::judge(&root, saved(&output), &left).unwrap();
    assert!(recovered.episodes >= 2 && saved(&output) >= 2, "{output}");
    judge::again(&root).unwrap();
}
