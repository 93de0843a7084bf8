//! Long runs: memory, open files, threads and the time to save stay as they are, however many episodes there are.
//!
//! RECORDER_SOAK_EPISODES=5000 records that many short episodes in simulated time instead of some;
//! `scripts/soak.sh` does so, and then records an hour in real time.

mod crashfs;
mod program;
mod run_support;

use crashfs::{judge, saved_episode, scratch};
use program::Lab;
use std::fs::DirEntry;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const EPISODES: usize = 150;
/// Resident memory may grow by so much for each episode. Growth without an end would be more: rows and frames of one
/// episode are 100 kB, its summary 2 kB. The allocator's own noise is larger in a short run.
const MOST_GROWTH: [(usize, f64); 2] = [(1000, 512.0), (0, 16384.0)];
/// Pages that were never given back since the start count for nothing: the figures are those of the second half.
const HALF: f64 = 0.5;
/// As many takes may wait to be saved when the last one is recorded. Then devices are closed already, so that what is open
/// says nothing of a leak any more.
const AT_THE_END: usize = 32 + 1;

/// Two small cameras beside the simulated arm.
fn recorder(lab: &Lab, root: &std::path::Path, arguments: &[&str]) -> Command {
    let mut command = lab.command(env!("CARGO_BIN_EXE_recorder"));
    command.args(arguments).args([
        "--config=lab.toml",
        "--limits.min_free_gib=0",
        "--robot.cameras.front.width=320",
        "--robot.cameras.front.height=240",
        "--robot.cameras.wrist.type=synthetic",
        "--robot.cameras.wrist.width=320",
        "--robot.cameras.wrist.height=240",
    ]);
    command.arg(format!("--dataset.root={}", root.display())).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

const SIMULATED: [&str; 2] = ["--robot.cameras.front.realtime=false", "--robot.cameras.wrist.realtime=false"];

/// A sync has a thread for each video and for the journal. Syncs every 0.3 s keep step with episodes of 10 s, so
/// that one look for each episode may meet one every time: the fewest of several looks count.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// A process as the kernel sees it, when an episode was saved.
struct Sample {
    /// Seconds since the start.
    at_s: f64,
    /// What the recorder said it took.
    save_ms: f64,
    resident_bytes: f64,
    files: usize,
    threads: usize,
}

impl Sample {
    fn of(child: &Child, started: Instant, save_ms: f64) -> Option<Sample> {
        let proc = format!("/proc/{}", child.id());
        let list = |folder: &str| Some(std::fs::read_dir(format!("{proc}/{folder}")).ok()?.flatten());
        // Takes that wait to be saved are some at one time, and others at another.
        let is_lasting = |file: &DirEntry| {
            std::fs::read_link(file.path())
                .is_ok_and(|path| !path.components().any(|part| part.as_os_str() == ".partial"))
        };
        let look = || Some((list("fd")?.filter(is_lasting).count(), list("task")?.count()));
        let (mut files, mut threads) = look()?;
        for _ in 1..LOOKS {
            std::thread::sleep(BETWEEN_LOOKS);
            // The last one may find the process ended.
            let Some(now) = look() else { break };
            (files, threads) = (files.min(now.0), threads.min(now.1));
        }
        let statm = std::fs::read_to_string(format!("{proc}/statm")).ok()?;
        let pages: f64 = statm.split(' ').nth(1)?.parse().ok()?;
        let resident_bytes = pages * rustix::param::page_size() as f64;
        Some(Sample { at_s: started.elapsed().as_secs_f64(), save_ms, resident_bytes, files, threads })
    }
}

/// Runs a recorder to its end, and looks at it whenever an episode is saved.
fn watch(mut command: Command) -> Vec<Sample> {
    let started = Instant::now();
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let (mut samples, mut last) = (Vec::new(), String::new());
    for line in BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok) {
        if saved_episode(&line).is_some() {
            let milliseconds = line.split(" rows, ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
            samples.extend(Sample::of(&child, started, milliseconds.unwrap()));
        }
        last = line;
    }
    assert!(child.wait().unwrap().success(), "{last}");
    samples
}

/// What the second half of a run says: growth for each episode, by least squares.
struct Figures {
    memory: f64,
    resident_mib: f64,
    /// Milliseconds for each episode, and how they grow.
    episode_ms: (f64, f64),
    save_ms: (f64, f64),
    /// The fewest that were open at once, beside those of takes, in each half: what comes and goes does not count.
    files: [usize; 2],
    threads: [usize; 2],
}

fn slope(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let (mean_x, mean_y) = ((n - 1.0) / 2.0, values.iter().sum::<f64>() / n);
    let deviations = (0..).map(|i| f64::from(i) - mean_x);
    let (products, squares) = deviations
        .zip(values)
        .fold((0.0, 0.0), |(products, squares), (x, y)| (products + x * (y - mean_y), squares + x * x));
    products / squares
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn figures(samples: &[Sample]) -> Figures {
    let (first, second) = samples.split_at((samples.len() as f64 * HALF) as usize);
    let values = |of: fn(&Sample) -> f64| second.iter().map(of).collect::<Vec<_>>();
    let (memory, saves) = (values(|sample| sample.resident_bytes), values(|sample| sample.save_ms));
    let times = values(|sample| sample.at_s * 1e3);
    let episodes: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let recording = &second[..second.len().saturating_sub(AT_THE_END).max(1)];
    let fewest = |of: fn(&Sample) -> usize| [first, recording].map(|half| half.iter().map(of).min().unwrap());
    Figures {
        memory: slope(&memory),
        resident_mib: median(&memory) / f64::from(1 << 20),
        episode_ms: (median(&episodes), slope(&episodes)),
        save_ms: (median(&saves), slope(&saves)),
        files: fewest(|sample| sample.files),
        threads: fewest(|sample| sample.threads),
    }
}

fn hold(name: &str, samples: &[Sample]) {
    let found = figures(samples);
    println!(
        "{name}: {} episodes, resident {:.1} MiB, {:+.0} bytes an episode; descriptors {:?}, threads {:?}; {:.1} ms an episode, {:+.5} ms each; a save {:.1} ms, {:+.5} ms each",
        samples.len(),
        found.resident_mib,
        found.memory,
        found.files,
        found.threads,
        found.episode_ms.0,
        found.episode_ms.1,
        found.save_ms.0,
        found.save_ms.1
    );
    let (_, most) = MOST_GROWTH.into_iter().find(|(episodes, _)| samples.len() >= *episodes).unwrap();
    assert!(found.memory < most, "memory grows by {:.0} bytes an episode", found.memory);
    assert!(found.files[1] <= found.files[0], "descriptors leak: {:?}", found.files);
    assert!(found.threads[1] <= found.threads[0], "threads leak: {:?}", found.threads);
}

/// What a command takes until it says something.
fn time_until(mut command: Command, part: &str) -> Duration {
    let started = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let said =
        BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok).find(|line| line.contains(part));
    let time = started.elapsed();
    assert!(said.is_some(), "`{part}` never came");
    let _ = child.kill();
    let _ = child.wait();
    time
}

#[test]
fn many_episodes_cost_what_the_first_ones_cost() {
    let episodes = std::env::var("RECORDER_SOAK_EPISODES").ok().and_then(|n| n.parse().ok()).unwrap_or(EPISODES);
    let (lab, folder) = (Lab::new(), scratch());
    let root = folder.path().join("set");
    let count = format!("--dataset.num_episodes={episodes}");
    let mut command = recorder(&lab, &root, &["--dataset.episode_time_s=1", &count]);
    command.args(SIMULATED);
    let samples = watch(command);
    assert_eq!(samples.len(), episodes);
    hold("simulated time", &samples);

    let judged = Instant::now();
    let recovered = judge::judge(&root, episodes as u64, &crashfs::disk::read_tree(&root)).unwrap();
    assert!(recovered.episodes == episodes as u64 && recovered.frames == 30 * episodes as u64 && !recovered.lost);
    assert_eq!(run_support::summaries(&root).len(), episodes.min(1000));
    println!("recovered and verified in {:.1} s", judged.elapsed().as_secs_f64());
    let check = Instant::now();
    assert!(
        recorder(&lab, &root, &["check", "--dataset.resume=true"]).stderr(Stdio::null()).status().unwrap().success()
    );
    let check = check.elapsed();
    let first = time_until(recorder(&lab, &root, &["--dataset.resume=true"]), "recording episode 1");
    println!(
        "with {episodes} episodes: `recorder check` takes {:.2} s, a run records its first row after {:.2} s",
        check.as_secs_f64(),
        first.as_secs_f64()
    );
}

/// By hand: RECORDER_SOAK_MINUTES of real time, in episodes of 10 s.
#[test]
#[ignore = "takes an hour; see scripts/soak.sh"]
fn an_hour_in_real_time() {
    let minutes: u64 = std::env::var("RECORDER_SOAK_MINUTES").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    let (lab, folder) = (Lab::new(), tempfile::tempdir().unwrap());
    let root = folder.path().join("set");
    let count = format!("--dataset.num_episodes={}", 6 * minutes);
    let size = |camera: &str| ["width=640", "height=480"].map(|size| format!("--robot.cameras.{camera}.{size}"));
    let mut command = recorder(&lab, &root, &["--dataset.episode_time_s=10", &count]);
    command.args(size("front")).args(size("wrist"));
    let samples = watch(command);
    assert_eq!(samples.len() as u64, 6 * minutes);
    hold("real time", &samples);
    let recovered = judge::judge(&root, 6 * minutes, &crashfs::disk::read_tree(&root)).unwrap();
    assert!(recovered.frames == 300 * 6 * minutes && !recovered.lost);
    run_support::summaries(&root);
}
