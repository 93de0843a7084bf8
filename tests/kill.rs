//! `kill -9` at random instants of the real program in real time, over and over on the same data set: what it said it had
//! saved is there to the byte, the data set verifies, and of the take in progress at most a second is gone.
//!
//! RECORDER_KILLS=2000 kills that often instead of a few times, RECORDER_TEST_SEED repeats the same instants.

mod crashfs;
mod program;
mod run_support;

use crashfs::disk::{Tree, read_tree};
use crashfs::judge::{self, Recovered};
use crashfs::starved::{Heartbeat, most_lost_ns};
use crashfs::{Random, saved_episode, scratch, seed};
use program::Lab;
use run_support::Rows;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Two small cameras beside the simulated arm, one take after the other.
const SMALL: [&str; 10] = [
    "--config=lab.toml",
    "--limits.min_free_gib=0",
    "--dataset.num_episodes=1000",
    "--robot.cameras.front.width=64",
    "--robot.cameras.front.height=48",
    "--robot.cameras.wrist.type=synthetic",
    "--robot.cameras.wrist.width=64",
    "--robot.cameras.wrist.height=48",
    "--dataset.reset_time_s=0",
    "--dataset.fps=30",
];
const FPS: f64 = 30.0;
const KILLS: u64 = 50;
/// Kills that one data set goes through.
const KILLS_IN_A_ROW: u64 = 10;
fn monotonic_ns() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// Kills a process, and waits until it is gone.
fn kill(child: &mut std::process::Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// What happened until a recorder was killed.
struct Killed {
    at_ns: i64,
    starved: bool,
    /// When it said that a take begins.
    begun_ns: Vec<i64>,
    /// The episodes that it said it had saved.
    saved: Vec<u64>,
    text: String,
}

/// When a recorder is killed.
enum Instants {
    /// So long after it was started.
    AfterStart(Duration),
    /// So long after it said that its n-th take begins.
    AfterTake(usize, Duration),
}

/// Starts a recorder and kills it.
fn record_and_kill(lab: &Lab, arguments: &[String], when: Instants, heartbeat: &Heartbeat) -> Result<Killed, String> {
    let mut command = lab.command(env!("CARGO_BIN_EXE_recorder"));
    command.args(SMALL).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (send, lines): (_, Receiver<(i64, String)>) = channel();
    let log = BufReader::new(child.stderr.take().unwrap());
    std::thread::spawn(move || {
        log.lines().map_while(Result::ok).try_for_each(|line| send.send((monotonic_ns(), line)))
    });
    let started = Instant::now();
    let mut killed = Killed { at_ns: 0, starved: false, begun_ns: Vec::new(), saved: Vec::new(), text: String::new() };
    let hear = |killed: &mut Killed, (at_ns, line): (i64, String)| {
        killed.text += &format!("{line}\n");
        killed.saved.extend(saved_episode(&line));
        killed.begun_ns.extend(line.contains("recording episode").then_some(at_ns));
    };
    let mut deadline = match when {
        Instants::AfterStart(delay) => started + delay,
        Instants::AfterTake(..) => started + program::PATIENCE,
    };
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => hear(&mut killed, line),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => break,
            Err(error) => {
                kill(&mut child);
                return Err(format!("it ended by itself ({error}):\n{}", killed.text));
            }
        }
        if let Instants::AfterTake(take, delay) = when
            && killed.begun_ns.len() == take
        {
            deadline = deadline.min(Instant::now() + delay);
        }
    }
    killed.at_ns = monotonic_ns();
    kill(&mut child);
    killed.starved = heartbeat.is_starved();
    lines.iter().for_each(|line| hear(&mut killed, line));
    Ok(killed)
}

/// What was counted over all kills.
#[derive(Default)]
struct Tally {
    kills: u64,
    /// Of them, those in the middle of a recovery.
    in_recovery: u64,
    episodes: u64,
    /// Takes that were whole and not acknowledged, and came back.
    whole: u64,
    /// Of each take in progress, what was lost of it.
    lost_ns: Vec<i64>,
    /// Of these takes, those recorded while the machine was starved.
    starved: u64,
}

/// One data set, killed again and again.
struct Chain<'a> {
    lab: Lab,
    root: std::path::PathBuf,
    random: Random,
    seconds: f64,
    codec: &'a str,
    /// As it was after the last recovery.
    before: Tree,
    episodes: u64,
    tally: &'a Mutex<Tally>,
    heartbeat: &'a Heartbeat,
}

impl Chain<'_> {
    fn arguments(&self) -> Vec<String> {
        let resume = self.root.join("meta/info.json").exists();
        vec![
            format!("--dataset.root={}", self.root.display()),
            format!("--dataset.resume={resume}"),
            format!("--dataset.episode_time_s={}", self.seconds),
            format!("--dataset.encoder.codec={}", self.codec),
        ]
    }

    /// Half of the kills come at any time, half around the end of a take, when it is saved.
    fn instant(&mut self) -> Instants {
        if self.random.below(2) == 0 {
            return Instants::AfterStart(Duration::from_secs_f64(self.random.unit() * (2.5 * self.seconds + 0.2)));
        }
        let take = 1 + self.random.below(3) as usize;
        Instants::AfterTake(take, Duration::from_secs_f64(self.seconds - 0.02 + 0.1 * self.random.unit()))
    }

    /// Kills recoveries too, some of them.
    fn kill_recoveries(&mut self) {
        while self.random.below(3) == 0 {
            let mut recovery = judge::recorder(&["recover", self.root.to_str().unwrap()]);
            let mut recovery = recovery.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_secs_f64(0.05 * self.random.unit()));
            kill(&mut recovery);
            self.tally.lock().unwrap().in_recovery += 1;
        }
    }

    fn round(&mut self) -> Result<(), String> {
        let when = self.instant();
        let killed = record_and_kill(&self.lab, &self.arguments(), when, self.heartbeat)?;
        let context = |reason: String| format!("{reason}\nthe killed run said:\n{}", killed.text);
        let left = read_tree(&self.root);
        let saved = killed.saved.last().map_or(self.episodes, |episode| episode + 1);
        if self.root.exists() {
            self.kill_recoveries();
            let recovered = judge::judge(&self.root, saved, &left).map_err(context)?;
            judge::same_episodes(&self.before, &read_tree(&self.root), self.episodes).map_err(context)?;
            self.in_progress(&killed, &recovered).map_err(context)?;
            self.episodes = recovered.episodes;
        }
        self.before = read_tree(&self.root);
        self.tally.lock().unwrap().kills += 1;
        Ok(())
    }

    /// What came back of the takes that were begun and not acknowledged.
    fn in_progress(&self, killed: &Killed, recovered: &Recovered) -> Result<(), String> {
        for (take, begun_ns) in killed.begun_ns.iter().enumerate().skip(killed.saved.len()) {
            let episode = self.episodes + take as u64;
            let came_back = episode < recovered.episodes;
            let ticks =
                if came_back { Rows::read(&self.root, episode as usize).ints("tick/mono_ns") } else { Vec::new() };
            let mut tally = self.tally.lock().unwrap();
            if ticks.len() as f64 >= self.seconds * FPS - 0.5 {
                tally.whole += 1;
                continue;
            }
            let lost_ns = killed.at_ns - ticks.last().unwrap_or(begun_ns);
            tally.lost_ns.push(lost_ns);
            tally.starved += u64::from(killed.starved);
            if lost_ns > most_lost_ns(killed.starved) {
                return Err(format!(
                    "episode {episode}: {} rows came back, the last {:.2} s are lost:\n{}",
                    ticks.len(),
                    lost_ns as f64 / 1e9,
                    recovered.words
                ));
            }
        }
        Ok(())
    }

    /// The last time nobody recovers: the next run does it by itself, and adds an episode.
    fn end(&mut self) -> Result<(), String> {
        let when = self.instant();
        let killed = record_and_kill(&self.lab, &self.arguments(), when, self.heartbeat)?;
        let saved = killed.saved.last().map_or(self.episodes, |episode| episode + 1);
        let left = read_tree(&self.root);
        let mut command = self.lab.command(env!("CARGO_BIN_EXE_recorder"));
        command.args(SMALL).args(self.arguments()).args(["--dataset.episode_time_s=0.2", "--dataset.num_episodes=1"]);
        command.args(["--robot.cameras.front.realtime=false", "--robot.cameras.wrist.realtime=false"]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            return Err(format!("the next run ended with {}:\n{text}", output.status));
        }
        let recovered = judge::judge(&self.root, saved + 1, &read_tree(&self.root))?;
        judge::same_episodes(&left, &read_tree(&self.root), saved)?;
        if recovered.lost {
            return Err(format!("something was left to recover after a whole run:\n{}", recovered.words));
        }
        let mut tally = self.tally.lock().unwrap();
        tally.kills += 1;
        tally.episodes += recovered.episodes;
        Ok(())
    }
}

#[test]
fn a_killed_recorder_loses_at_most_a_second() {
    let wanted = std::env::var("RECORDER_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let (seed, started) = (seed(), Instant::now());
    let heartbeat = Heartbeat::start();
    let (tally, failures, next) = (Mutex::default(), Mutex::new(Vec::new()), AtomicU64::new(0));
    let chains = u64::max(wanted / KILLS_IN_A_ROW, 1);
    println!("{} kills, seed {seed}", chains * KILLS_IN_A_ROW);
    let chain = |number: u64| {
        let mut random = Random::new(seed.wrapping_add(number));
        let seconds = 1.0 + 0.5 * random.below(5) as f64;
        let codec = if random.below(4) == 0 { "copy" } else { "h264" };
        let folder = scratch();
        let (lab, root, before) = (Lab::new(), folder.path().join("set"), Tree::new());
        let mut chain =
            Chain { lab, root, random, seconds, codec, before, episodes: 0, tally: &tally, heartbeat: &heartbeat };
        let rounds = (1..KILLS_IN_A_ROW).try_for_each(|_| chain.round());
        let result = rounds.and_then(|()| chain.end());
        if let Err(reason) = result {
            failures.lock().unwrap().push(format!("chain {number} ({codec}, {seconds} s): {reason}"));
            keep(&chain.root, number);
        }
    };
    // A recorder in real time mostly waits.
    let workers = 2 * std::thread::available_parallelism().map_or(1, |cores| cores.get());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= chains {
                        return;
                    }
                    chain(number);
                }
            });
        }
    });
    let (mut tally, failures): (Tally, _) = (tally.into_inner().unwrap(), failures.into_inner().unwrap());
    tally.lost_ns.sort_unstable();
    let lost = |part: f64| match tally.lost_ns.len() {
        0 => 0.0,
        n => tally.lost_ns[((n - 1) as f64 * part).round() as usize] as f64 / 1e9,
    };
    println!(
        "{} kills, {} more of recoveries, seed {seed}, {:.0} s: {} episodes are there; {} takes in progress ({} on a starved machine), lost of them p50 {:.2} s, p99 {:.2} s, most {:.2} s; {} whole takes not acknowledged yet came back; {} failures",
        tally.kills,
        tally.in_recovery,
        started.elapsed().as_secs_f64(),
        tally.episodes,
        tally.lost_ns.len(),
        tally.starved,
        lost(0.5),
        lost(0.99),
        lost(1.0),
        tally.whole,
        failures.len()
    );
    assert!(failures.is_empty(), "{} fail:\n{}", failures.len(), failures.join("\n\n"));
    assert!(!tally.lost_ns.is_empty());
}

/// Keeps a data set that failed, where somebody asked for it.
fn keep(root: &Path, number: u64) {
    if let Ok(folder) = std::env::var("RECORDER_KEEP_FAILED") {
        crashfs::disk::write_tree(&Path::new(&folder).join(format!("chain-{number}")), &read_tree(root));
    }
}
