//! The power fails at any operation on any file: what the recorder said it had saved is there, and the data set is whole.
//!
//! A recording is made under `tests/crashfs`, which writes down every operation. For each point in it a model says what a
//! file system may have on disk (`tests/crashfs/disk.rs`); that is recovered and verified by the program.
//!
//! RECORDER_POWER_LOSS=all takes every point instead of some, RECORDER_TEST_SEED picks other ones.

mod crashfs;
mod program;
mod run_support;

use crashfs::disk::{Disk, Loss, Tree, read_tree, write_tree};
use crashfs::judge::{self, Recovered};
use crashfs::starved::{Heartbeat, most_lost_ns};
use crashfs::{Event, Op, Random, Shim, read_log, scratch, seed};
use program::{Lab, PATIENCE};
use run_support::Rows;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::fs::{File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Two small cameras beside the simulated arm.
const CAMERAS: [&str; 5] = [
    "--robot.cameras.front.width=64",
    "--robot.cameras.front.height=48",
    "--robot.cameras.wrist.type=synthetic",
    "--robot.cameras.wrist.width=64",
    "--robot.cameras.wrist.height=48",
];
const SIMULATED: [&str; 2] = ["--robot.cameras.front.realtime=false", "--robot.cameras.wrist.realtime=false"];
/// Points of a recording that are taken where not all are.
const POINTS: usize = 24;

/// A recording, and all that it did to its files.
struct Recorded {
    /// Holds the data set's folder.
    folder: TempDir,
    before: Disk,
    events: Vec<Event>,
    end: Tree,
    /// Episodes that had been saved before.
    saved_before: u64,
}

const SET: &str = "set";

impl Recorded {
    /// Of what `run` does below `folder`, once it has given its command to the shim.
    fn of(folder: TempDir, saved_before: u64, run: impl FnOnce(&Path, &dyn Fn(&mut Command))) -> Recorded {
        let logs = scratch();
        let (log, before) = (logs.path().join("operations"), Disk::new(folder.path()));
        run(folder.path(), &|command| Shim::get().watch(command, folder.path(), &log, None));
        let (events, end) = (read_log(&log), read_tree(folder.path()));
        let recorded = Recorded { folder, before, events, end, saved_before };
        let replayed = recorded.disk(recorded.events.len()).after(Loss::Nothing);
        assert!(replayed.keys().eq(recorded.end.keys()) && replayed == recorded.end, "the shim missed an operation");
        recorded
    }

    /// The disk after so many operations.
    fn disk(&self, operations: usize) -> Disk {
        let mut disk = self.before.clone();
        self.events[..operations].iter().for_each(|event| disk.apply(event));
        disk
    }

    /// How many episodes the recorder had said it saved, after so many operations.
    fn saved(&self, operations: usize) -> u64 {
        let saved = self.events[..operations].iter().filter(|event| matches!(event.op, Op::Saved { .. }));
        self.saved_before + saved.count() as u64
    }

    fn root(&self) -> std::path::PathBuf {
        self.folder.path().join(SET)
    }

    /// The data set in a tree of the folder.
    fn set(tree: &Tree) -> Tree {
        let inside = |(path, data): (&std::path::PathBuf, &Option<Vec<u8>>)| {
            Some((path.strip_prefix(SET).ok()?.to_owned(), data.clone()))
        };
        tree.iter().filter_map(inside).collect()
    }
}

/// A moment at which the power fails: after so many operations.
struct Point {
    operations: usize,
    loss: Loss,
}

/// Every state of the disk that is to be looked at, once each, with the moment it belongs to.
fn states(recorded: &Recorded, random: &mut Random, mut each: impl FnMut(Point, Tree)) -> usize {
    let all = std::env::var("RECORDER_POWER_LOSS").is_ok_and(|points| points == "all");
    let count = recorded.events.len() + 1;
    let chosen: HashSet<usize> =
        (0..POINTS).map(|i| (i * count + random.below(count as u64) as usize) / POINTS).collect();
    let mut seen = HashSet::new();
    let mut disk = recorded.before.clone();
    let mut points = 0;
    for operations in 0..count {
        if operations > 0 {
            disk.apply(&recorded.events[operations - 1]);
        }
        if !all && !chosen.contains(&operations) {
            continue;
        }
        points += 1;
        let chances = [Loss::Chance(random.next()), Loss::Chance(random.next())];
        for loss in [Loss::Everything, Loss::Data, Loss::DataAsZeros, Loss::Nothing].into_iter().chain(chances) {
            let tree = disk.after(loss);
            let mut hasher = DefaultHasher::new();
            (&tree, recorded.saved(operations)).hash(&mut hasher);
            if seen.insert(hasher.finish()) {
                each(Point { operations, loss }, tree);
            }
        }
    }
    points
}

/// Recovers every state on its own and holds it against what had been saved; `more` may ask for more of what came back.
fn every_point(recorded: &Recorded, name: &str, more: impl Fn(&Point, &Path, &Recovered) -> Result<(), String> + Sync) {
    let seed = seed();
    let end = Recorded::set(&recorded.end);
    let (started, failures) = (Instant::now(), Mutex::new(Vec::new()));
    let tally = Mutex::new((0u64, 0u64));
    let (send, jobs) = sync_channel::<(Point, Tree)>(2);
    let jobs = Mutex::new(jobs);
    let judge = |point: &Point, tree: &Tree| {
        let folder = scratch();
        write_tree(folder.path(), tree);
        let root = folder.path().join(SET);
        let recovered = judge::judge(&root, recorded.saved(point.operations), &end)?;
        more(point, &root, &recovered)?;
        let mut tally = tally.lock().unwrap();
        *tally = (tally.0 + 1, tally.1 + u64::from(recovered.lost));
        drop(tally);
        // Every fourth is enough: it costs as much as all the rest.
        if point.operations.is_multiple_of(4) { judge::again(&root) } else { Ok(()) }
    };
    let points = std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, |cores| cores.get()) {
            scope.spawn(|| {
                loop {
                    let job = jobs.lock().unwrap().recv();
                    let Ok((point, tree)) = job else { return };
                    if let Err(reason) = judge(&point, &tree) {
                        let next = recorded.events.get(point.operations).map(|event| &event.op);
                        let words = format!(
                            "{:?} after {} operations, before {}: {reason}",
                            point.loss,
                            point.operations,
                            shown(next)
                        );
                        failures.lock().unwrap().push(words);
                    }
                }
            });
        }
        let points = states(recorded, &mut Random::new(seed), |point, tree| send.send((point, tree)).unwrap());
        drop(send);
        points
    });
    let (failures, (judged, lost)) = (failures.into_inner().unwrap(), tally.into_inner().unwrap());
    println!(
        "{name}: {} operations, {points} points, {} states, seed {seed}, {:.0} s: {} fail; of a take in progress something was lost in {lost}",
        recorded.events.len(),
        judged + failures.len() as u64,
        started.elapsed().as_secs_f64(),
        failures.len()
    );
    assert!(
        failures.is_empty(),
        "{} states fail, the first:\n{}",
        failures.len(),
        failures[..failures.len().min(5)].join("\n\n")
    );
    assert!(judged > 0);
}

fn shown(op: Option<&Op>) -> String {
    match op {
        Some(Op::Write { offset, data }) => format!("a write of {} bytes at {offset}", data.len()),
        Some(op) => format!("{op:?}"),
        None => "the end".into(),
    }
}

/// `recorder --config lab.toml …` into `folder`, as fast as the machine can.
fn record(lab: &Lab, folder: &Path, watch: &dyn Fn(&mut Command), overrides: &[&str]) {
    let root = format!("--dataset.root={}", folder.join(SET).display());
    let mut command = lab.command(env!("CARGO_BIN_EXE_recorder"));
    command
        .args(["--config", "lab.toml", &root, "--limits.min_free_gib=0"])
        .args(CAMERAS)
        .args(SIMULATED)
        .args(overrides);
    watch(&mut command);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn power_lost_at_any_operation_costs_no_saved_episode() {
    for (name, overrides) in [
        ("h264", &["--dataset.episode_time_s=1", "--dataset.num_episodes=3"][..]),
        ("copy", &["--dataset.episode_time_s=0.5", "--dataset.encoder.codec=copy"]),
        ("kept, then encoded", &["--dataset.episode_time_s=0.5", "--dataset.streaming_encoding=false"]),
    ] {
        let lab = Lab::new();
        let recorded = Recorded::of(scratch(), 0, |folder, watch| record(&lab, folder, watch, overrides));
        assert!(recorded.saved(recorded.events.len()) >= 2);
        every_point(&recorded, name, |_, _, _| Ok(()));
    }
}

/// The keyboard of a recorder on a terminal of its own.
struct Keyboard(File);

impl Keyboard {
    /// Starts the recorder on it. What it draws is read and forgotten.
    fn start(mut command: Command) -> (Keyboard, std::process::Child) {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let line = || OpenOptions::new().read(true).write(true).open(&name).unwrap();
        let child = command.stdin(line()).stdout(line()).stderr(line()).spawn().unwrap();
        let keyboard = Keyboard(File::from(master));
        let mut output = keyboard.0.try_clone().unwrap();
        std::thread::spawn(move || while let Ok(1..) = output.read(&mut [0; 4096]) {});
        (keyboard, child)
    }
}

/// The second take of a run. Which episode it would become depends on whether the first one is saved by then.
fn is_second_take(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name.to_string_lossy().ends_with("-take_000001"))
}

/// Waits until a file of the second take is larger than `bytes`.
fn wait_for_second_take(set: &Path, bytes: u64) {
    let deadline = Instant::now() + PATIENCE;
    let is_its = |path: &Path| path.parent().is_some_and(is_second_take);
    let has_grown = |path: &Path| path.metadata().is_ok_and(|about| about.is_file() && about.len() > bytes);
    while !walk(set).iter().any(|path| is_its(path) && has_grown(path)) {
        assert!(Instant::now() < deadline, "nothing grew in {}", set.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| [walk(&path), vec![path]].concat()).collect()
}

/// In real time: an episode that is saved, a take that is discarded, and one that is saved in its place.
fn recorded_in_real_time() -> Recorded {
    let lab = Lab::new();
    Recorded::of(scratch(), 0, |folder, watch| {
        let root = format!("--dataset.root={}", folder.join(SET).display());
        let mut command = lab.command("setsid");
        command.args(["--ctty", env!("CARGO_BIN_EXE_recorder"), "--config", "lab.toml", &root]);
        command.args(["--limits.min_free_gib=0", "--dataset.episode_time_s=2.5", "--dataset.num_episodes=2"]);
        watch(command.args(CAMERAS));
        let (mut keyboard, mut child) = Keyboard::start(command);
        wait_for_second_take(&folder.join(SET), 1000);
        keyboard.0.write_all(b"r").unwrap();
        assert!(child.wait().unwrap().success());
    })
}

#[test]
fn power_lost_costs_at_most_a_second_of_the_take_in_progress() {
    let heartbeat = Heartbeat::start();
    let recorded = recorded_in_real_time();
    let most_lost_ns = most_lost_ns(heartbeat.is_starved());
    let all = recorded.events.len();
    assert_eq!(recorded.saved(all), 2);
    let ticks = |root: &Path, episode: u64| Rows::read(root, episode as usize).ints("tick/mono_ns");
    let whole: Vec<Vec<i64>> = (0..2).map(|episode| ticks(&recorded.root(), episode)).collect();
    let is_thrown_away = |event: &Event| match &event.op {
        Op::Rename(path, _) => is_second_take(path),
        _ => false,
    };
    let thrown_away = recorded.events.iter().position(is_thrown_away).expect("a take was discarded");
    every_point(&recorded, "real time", |point, root, recovered| {
        let Some(now) = recorded.events.get(point.operations).map(|event| event.at_ns as i64) else { return Ok(()) };
        for (episode, whole) in (0u64..).zip(&whole) {
            let found = if episode < recovered.episodes { ticks(root, episode) } else { Vec::new() };
            let discarded = found.first().is_some_and(|first| *first != whole[0]);
            if discarded {
                // The one that is thrown away by the operator may come back until it is.
                let is_it = episode == 1 && found[0] < whole[0] && point.operations <= thrown_away;
                return if is_it { Ok(()) } else { Err(format!("episode {episode} is a take that was discarded")) };
            }
            if !whole.starts_with(&found) {
                return Err(format!("episode {episode}: the rows that came back are not the first that were recorded"));
            }
            let due = whole.iter().filter(|tick| **tick <= now - most_lost_ns).count();
            if found.len() < due {
                let lost = (now - whole[found.len()]) as f64 / 1e9;
                return Err(format!(
                    "episode {episode}: {} of {} rows came back: the last {lost:.2} s are lost",
                    found.len(),
                    whole.len()
                ));
            }
        }
        Ok(())
    });
}

/// So many operations of [`recorded_in_real_time`] lead to the middle of the last take, and of its save.
fn moments(recorded: &Recorded) -> (usize, usize) {
    let begun_ns = Rows::read(&recorded.root(), 1).ints("tick/mono_ns")[0] as u64;
    let is_written = |event: &Event| matches!(&event.op, Op::Write { data, .. } if data.len() > 200);
    let in_the_take = |event: &Event| is_written(event) && event.at_ns > begun_ns + 1_900_000_000;
    let is_saving = |event: &Event| matches!(&event.op, Op::Rename(_, to) if to.ends_with("chunk-000/file-001.mp4"));
    let taking = recorded.events.iter().position(in_the_take).expect("a video was written") + 1;
    let saving = recorded.events.iter().position(is_saving).expect("a video was moved") + 1;
    assert!(taking < saving);
    (taking, saving)
}

/// The power fails again while the recorder recovers: it comes to the same in the end.
#[test]
fn power_lost_at_any_operation_of_a_recovery_costs_nothing() {
    let recorded = recorded_in_real_time();
    let (taking, saving) = moments(&recorded);
    for (moment, operations) in [("recovery of a take", taking), ("recovery of a save", saving)] {
        let folder = scratch();
        write_tree(folder.path(), &recorded.disk(operations).after(Loss::Nothing));
        let recovery = Recorded::of(folder, recorded.saved(operations), |folder, watch| {
            let mut command = judge::recorder(&["recover", folder.join(SET).to_str().unwrap()]);
            watch(&mut command);
            let output = command.output().unwrap();
            assert!(matches!(output.status.code(), Some(0 | 3)), "{output:?}");
        });
        let (episodes, frames) = judge::totals(&recovery.root()).unwrap();
        assert_eq!(episodes, 2);
        every_point(&recovery, moment, |_, _, recovered| match (recovered.episodes, recovered.frames) {
            same if same == (episodes, frames) => Ok(()),
            other => {
                Err(format!("{other:?} episodes and rows came back, {episodes} and {frames} without the second crash"))
            }
        });
    }
}

/// Leaves recovered data sets in the folder RECORDER_CRASH_SETS, for `scripts/test-lerobot.sh` to load: the power fails, or
/// the recorder is killed, in the middle of the last take and in the middle of its save.
#[test]
#[ignore = "for scripts/test-lerobot.sh"]
fn data_sets_to_load() {
    let folder = std::env::var("RECORDER_CRASH_SETS").expect("RECORDER_CRASH_SETS");
    let recorded = recorded_in_real_time();
    let (taking, saving) = moments(&recorded);
    for (moment, operations) in [("take", taking), ("save", saving)] {
        let losses =
            [("kill", Loss::Nothing), ("strict", Loss::Everything), ("data", Loss::Data), ("zeros", Loss::DataAsZeros)];
        for (name, loss) in losses {
            let root = Path::new(&folder).join(format!("{moment}-{name}"));
            write_tree(&root, &Recorded::set(&recorded.disk(operations).after(loss)));
            let recovered = judge::judge(&root, recorded.saved(operations), &Recorded::set(&recorded.end)).unwrap();
            println!("{}: {} episodes, {} rows", root.display(), recovered.episodes, recovered.frames);
        }
    }
}

#[test]
fn the_model_knows_what_is_durable() {
    let folder = scratch();
    let event = |inode, op| Event { at_ns: 0, inode, op };
    let write = |data: &[u8]| Op::Write { offset: 0, data: data.to_vec() };
    let root = std::os::unix::fs::MetadataExt::ino(&folder.path().metadata().unwrap());
    let steps = [
        event(1, Op::Create("a".into())),
        event(1, write(b"12")),
        event(1, Op::Fsync),
        event(1, write(b"3456")),
        event(root, Op::Fsync),
        event(1, Op::Rename("a".into(), "b".into())),
    ];
    let tree = |name: &str, data: &[u8]| Tree::from([(name.into(), Some(data.to_vec()))]);
    let mut disk = Disk::new(folder.path());
    let mut after = |steps: &[Event], loss: Loss| {
        steps.iter().for_each(|event| disk.apply(event));
        disk.after(loss)
    };
    assert_eq!(after(&steps[..4], Loss::Everything), Tree::new());
    assert_eq!(after(&[], Loss::Data), tree("a", b"12"));
    assert_eq!(after(&[], Loss::DataAsZeros), tree("a", b"12\0\0"));
    assert_eq!(after(&[], Loss::Nothing), tree("a", b"3456"));
    assert_eq!(after(&steps[4..], Loss::Everything), tree("a", b"12"));
    assert_eq!(after(&[], Loss::Nothing), tree("b", b"3456"));
    let may_be = ["a", "b"].map(|name| [&b"12"[..], b"3456", b"12\0\0", b"\0\0\0\0"].map(|data| tree(name, data)));
    let met: HashSet<Tree> = (0..200).map(|seed| disk.after(Loss::Chance(seed))).collect();
    assert!(met.len() >= 4 && met.iter().all(|met| may_be.as_flattened().contains(met)), "{met:?}");
}
