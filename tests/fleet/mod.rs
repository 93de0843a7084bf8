//! A fleet of cells under one Prometheus: real runs, each in a process of its own, each with a fault that comes when it is
//! asked for. The program itself where the fault can come from outside (a servo, a file, a limit of the process); where
//! it has to sit inside (a camera, an encoder, the disk's free space), this test once more, as [`inside`] has it.

pub mod expressions;
pub mod inside;
pub mod outside;
pub mod prometheus;

use crate::program::{Lab, Running, Signal};
use std::process::Command;

/// Small pictures at a rate that a busy machine keeps: a row waits for its frames for 0.35 s.
pub const LAB: &str = r#"
[robot]
type = "so101_follower"
port = "sim"
[robot.cameras.front]
type = "synthetic"
width = 64
height = 48
fps = 10
[robot.cameras.wrist]
type = "synthetic"
width = 64
height = 48
fps = 10
[teleop]
type = "so101_leader"
port = "sim"
[dataset]
repo_id = "lab/set"
root = "data/set"
single_task = "Pick up the cube"
fps = 10
episode_time_s = 2
reset_time_s = 0.5
num_episodes = 100000
[dataset.encoder]
gop = 5
[limits]
min_free_gib = 0
[run]
# Should whoever started it not live to end it.
max_hours = 0.2
[metrics]
listen = "127.0.0.1:0"
"#;

/// What goes wrong in a cell, and what is to be said of it.
pub struct Scenario {
    pub name: &'static str,
    pub start: fn(&Scenario) -> Cell,
    /// Alerts that fire because of the fault, with some of their labels.
    pub fires: &'static [(&'static str, &'static [(&'static str, &'static str)])],
    /// Alerts that rightly may fire as well.
    pub allows: &'static [&'static str],
}

/// A recorder at work.
pub struct Cell {
    pub lab: Lab,
    pub running: Running,
    /// Of its pages; Prometheus' `instance`.
    pub address: String,
    /// Brings the fault on, once.
    pub fault: Option<Box<dyn FnOnce(&mut Cell)>>,
}

impl Cell {
    /// Waits for the address at which a process serves its pages.
    pub fn new(lab: Lab, command: Command, fault: impl FnOnce(&mut Cell) + 'static) -> Cell {
        let mut running = Running::of(command);
        let line = running.wait_for("metrics at http://");
        let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_string();
        Cell { lab, running, address, fault: Some(Box::new(fault)) }
    }

    /// The program with this configuration of the fleet and overrides.
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
        Cell::new(lab, command, |cell| cell.running.signal(Signal::USR1))
    }

    /// Brings the fault on.
    pub fn break_it(&mut self) {
        if let Some(fault) = self.fault.take() {
            fault(self);
        }
    }

    /// Ends it; what it has said.
    pub fn end(self) -> String {
        self.running.signal(Signal::KILL);
        self.running.wait().text
    }
}
