//! A fleet of cells under one Prometheus: real runs, each in a process of its own, each with a fault that comes when it is
//! asked for. The program itself where the fault can come from outside (a servo, a file, a limit of the process); where
//! it has to sit inside (a camera, an encoder, the disk's free space), this test once more, as [`inside`] has it.

pub mod expressions;
pub mod inside;
pub mod outside;
pub mod prometheus;
pub mod scenarios;

use crate::program::{Lab, Running, Signal};
use std::process::Command;

/// What is shown of a cell's log.
const MOST_LINES: usize = 10;

/// Small pictures at a rate that a busy machine keeps: a row waits 1.15 s for its frames, which grows with the period.
pub const LAB: &str = r#"
[robot]
type = "so101_follower"
port = "sim"
[robot.cameras.front]
type = "synthetic"
width = 64
height = 48
fps = 2
[robot.cameras.wrist]
type = "synthetic"
width = 64
height = 48
fps = 2
[teleop]
type = "so101_leader"
port = "sim"
[dataset]
repo_id = "lab/set"
root = "data/set"
single_task = "Pick up the cube"
fps = 2
episode_time_s = 2
reset_time_s = 0.5
num_episodes = 100000
[dataset.encoder]
gop = 4
[limits]
min_free_gib = 0
[run]
# Should whoever started it not live to end it.
max_hours = 0.2
[metrics]
listen = "127.0.0.1:0"
"#;

/// An alert's name, and some of its labels with their values.
pub type Alert = (&'static str, &'static [(&'static str, &'static str)]);

/// What goes wrong in a cell, and what is to be said of it.
pub struct Scenario {
    pub name: &'static str,
    pub start: fn(&Scenario) -> Cell,
    /// Alerts that fire because of the fault.
    pub fires: &'static [Alert],
    /// Alerts that rightly may fire as well.
    pub allows: &'static [&'static str],
}

impl Scenario {
    /// A recorder is there, and all is well until its fault.
    pub fn works(&self) -> bool {
        self.name != "never there"
    }
}

/// Brings a fault on.
type BringOn = Box<dyn FnOnce(&mut Cell)>;

/// A recorder at work.
pub struct Cell {
    pub name: &'static str,
    pub lab: Lab,
    pub running: Option<Running>,
    /// Of its pages; Prometheus' `instance`.
    pub address: String,
    /// Once.
    pub fault: Option<BringOn>,
}

impl Cell {
    /// A process, which serves its pages.
    pub fn new(scenario: &Scenario, lab: Lab, command: Command, fault: impl FnOnce(&mut Cell) + 'static) -> Cell {
        let (name, address) = (scenario.name, String::new());
        let mut cell = Cell { name, lab, running: None, address, fault: Some(Box::new(fault)) };
        cell.start(command);
        cell
    }

    /// Starts a process and waits until it serves its pages.
    fn start(&mut self, command: Command) {
        let mut running = Running::of(command);
        let line = running.wait_for("metrics at http://");
        self.address = line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_string();
        self.running = Some(running);
    }

    /// Kills the process and starts the program at its address.
    pub fn start_again(&mut self, overrides: &[&str]) {
        drop(self.running.take());
        let listen = format!("--metrics.listen={}", self.address);
        self.start(Cell::program(&self.lab, &[&[listen.as_str()], overrides].concat()));
    }

    /// The program with the configuration of the fleet and overrides.
    pub fn program(lab: &Lab, overrides: &[&str]) -> Command {
        lab.write("lab.toml", LAB);
        let mut command = lab.command(env!("CARGO_BIN_EXE_recorder"));
        command.args(["--config", "lab.toml"]).args(overrides);
        command
    }

    /// This test as a cell with a fault inside.
    pub fn inside(scenario: &Scenario) -> Cell {
        let lab = Lab::new();
        let mut command = lab.command(std::env::current_exe().unwrap().to_str().unwrap());
        command.args(["--exact", "cell", "--ignored", "--nocapture"]).env(inside::NAME, scenario.name);
        Cell::new(scenario, lab, command, |cell| cell.signal(Signal::USR1))
    }

    pub fn signal(&self, signal: Signal) {
        self.running.iter().for_each(|running| running.signal(signal));
    }

    /// Brings the fault on.
    pub fn break_it(&mut self) {
        if let Some(fault) = self.fault.take() {
            fault(self);
        }
    }
}

impl Drop for Cell {
    /// In a test that fails, what the cell complained about is shown.
    fn drop(&mut self) {
        let Some(running) = self.running.as_mut().filter(|_| std::thread::panicking()) else { return };
        let complains = |line: &&str| [" WARN ", " ERROR ", "panicked"].iter().any(|word| line.contains(word));
        let lines: Vec<&str> = running.said().lines().filter(complains).collect();
        eprintln!("{} ({}): {:#?}", self.name, self.address, &lines[..lines.len().min(MOST_LINES)]);
    }
}
