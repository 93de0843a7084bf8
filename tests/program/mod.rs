//! The real program, run by tests in a folder of its own, which is its home and its working directory too.
#![allow(dead_code)] // each test binary uses its part

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub use rustix::process::Signal;

/// Whatever is waited for comes long before this, or never.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A small picture, a simulated arm, short episodes. Overrides make of it what a test needs.
const LAB_TOML: &str = r#"
[robot]
type = "so101_follower"
port = "sim"

[robot.cameras.front]
type = "synthetic"
width = 128
height = 96

[teleop]
type = "so101_leader"
port = "sim"

[dataset]
repo_id = "lab/set"
root = "data/set"
single_task = "Pick up the cube"
episode_time_s = 0.5
reset_time_s = 0
num_episodes = 2

[metrics]
listen = ""
"#;

/// A folder with a `lab.toml`.
pub struct Lab {
    dir: TempDir,
}

fn is_summary(path: &Path) -> bool {
    let folder = path.ancestors().nth(2);
    folder.is_some_and(|folder| folder.ends_with("recorder/episodes")) && path.extension().is_some_and(|e| e == "json")
}

/// Whatever was recorded below a folder has an account that balances.
fn all_balance(folder: &Path) {
    tree(folder).iter().filter(|(path, _)| is_summary(path)).for_each(|(path, text)| balances(path, text));
}

/// Captured = written + dropped, and rows = written + repeated, in every camera.
fn balances(path: &Path, text: &[u8]) {
    let Ok(summary) = serde_json::from_slice::<recorder::dataset::EpisodeSummary>(text) else { return };
    for (name, camera) in &summary.cameras {
        let counters = &camera.counters;
        let dropped: u64 = counters.dropped.values().sum();
        assert_eq!(counters.captured, counters.written + dropped, "{}: {name}: {counters:?}", path.display());
        assert_eq!(summary.length, counters.written + counters.repeated, "{}: {name}: {counters:?}", path.display());
    }
}

/// How a run of the program ended.
pub struct Ended {
    pub code: Option<i32>,
    /// Standard output and standard error.
    pub text: String,
}

impl Lab {
    pub fn new() -> Lab {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("lab.toml"), LAB_TOML).unwrap();
        Lab { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where the data set is.
    pub fn root(&self) -> PathBuf {
        self.path("data/set")
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// `program` with nothing of this machine's in its environment.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.dir.path()).env("HOME", self.dir.path()).env("TERM", "xterm-256color");
        for name in ["HF_HOME", "HF_LEROBOT_HOME", "HF_LEROBOT_CALIBRATION", "XDG_CACHE_HOME", "RUST_LOG", "NO_COLOR"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs `recorder ARGUMENTS` to its end.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        let mut command = self.command(env!("CARGO_BIN_EXE_recorder"));
        let output = command.args(arguments).stdin(Stdio::null()).output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        all_balance(self.dir.path());
        Ended { code: output.status.code(), text }
    }

    /// Runs `recorder --config lab.toml OVERRIDES` to its end.
    pub fn record(&self, overrides: &[&str]) -> Ended {
        self.run(&[&["--config", "lab.toml"], overrides].concat())
    }

    /// As [`Lab::record`], and does not wait for the end.
    pub fn start(&self, overrides: &[&str]) -> Running {
        let mut command = self.command(env!("CARGO_BIN_EXE_recorder"));
        command.args(["--config", "lab.toml"]).args(overrides);
        Running::of(command)
    }

    /// Every file and folder, with the files' bytes.
    pub fn tree(&self) -> Vec<(PathBuf, Vec<u8>)> {
        tree(self.dir.path())
    }
}

fn tree(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    fn walk(dir: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            // A pipe would be waited for.
            let data = if path.is_file() { std::fs::read(&path).unwrap_or_default() } else { Vec::new() };
            found.push((path.clone(), data));
            if path.is_dir() {
                walk(&path, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, &mut found);
    found.sort();
    found
}

/// A run that goes on; killed on drop.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    text: String,
    folder: Option<PathBuf>,
}

impl Running {
    /// Starts a command.
    pub fn of(mut command: Command) -> Running {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let folder = command.get_current_dir().map(Path::to_owned);
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        let log = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || log.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Running { child, lines, text: String::new(), folder }
    }

    /// Waits for a line of the log that contains `part`.
    pub fn wait_for(&mut self, part: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.text += &format!("{line}\n");
                    if line.contains(part) {
                        return line;
                    }
                }
                Err(error) => panic!("no `{part}` came ({error}):\n{}", self.text),
            }
        }
    }

    /// The log so far.
    pub fn said(&mut self) -> &str {
        self.text.extend(self.lines.try_iter().map(|line| line + "\n"));
        &self.text
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    pub fn wait(mut self) -> Ended {
        let mut output = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
        let code = self.child.wait().unwrap().code();
        self.folder.iter().for_each(|folder| all_balance(folder));
        let text = std::mem::take(&mut self.text) + &self.lines.iter().collect::<Vec<_>>().join("\n") + "\n" + &output;
        Ended { code, text }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
