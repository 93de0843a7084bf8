//! `recorder setup-motors` as a person meets it: on a terminal, with servos as they are delivered, connected one by one.

mod program;
mod terminal_support;

use program::Lab;
use recorder::arm::sim::{Setup, SimBus, SimKind};
use recorder::arm::so101::MOTORS;
use recorder::clock::SystemClock;
use std::sync::Arc;
use terminal_support::Terminal;

/// New servos: all of them motor 1, none connected.
fn delivered() -> SimBus {
    let setup = Setup { calibration: None, ..Setup::new(SimKind::Follower) };
    SimBus::open(setup, Arc::new(SystemClock::default())).unwrap()
}

fn terminal(lab: &Lab, sim: &SimBus) -> Terminal {
    let port = format!("--robot.port={}", sim.path());
    Terminal::run(lab, 80, &["setup-motors", "--config", "lab.toml", "--arm", "follower", "--robot.id=f1", &port])
}

#[track_caller]
fn command(sim: &SimBus, line: &str) -> String {
    sim.command(line).unwrap()
}

/// Whoever connects the wrong thing is told, and asked again; in the end every motor has its id and rate, without power too.
#[test]
fn new_motors_are_set_up_one_by_one() {
    let (lab, sim) = (Lab::new(), delivered());
    let mut terminal = terminal(&lab, &sim);
    terminal.wait_for("Connect the gripper motor");
    terminal.press("\r");
    terminal.wait_for("no motor answered at any rate");
    // Two motors, at rates of their own.
    command(&sim, "back gripper");
    command(&sim, "back wrist_roll");
    command(&sim, "write gripper Baud_Rate 4");
    terminal.press("\r");
    terminal.wait_for("2 motors answered, expected one motor");
    command(&sim, "only gripper");
    terminal.press("\r");
    terminal.wait_for("Connect the wrist_roll motor");
    assert_eq!(command(&sim, "read gripper ID") + &command(&sim, "read gripper Baud_Rate"), "60");
    // The one before is still connected.
    terminal.press("\r");
    terminal.wait_for("motor 6 answers, which was set up as gripper");
    // Two that say the same until what they measure differs.
    command(&sim, "missing gripper");
    command(&sim, "back wrist_roll");
    command(&sim, "back wrist_flex");
    command(&sim, "turn wrist_flex 1000");
    terminal.press("\r");
    terminal.wait_for("several motors answer as motor 1");
    command(&sim, "only wrist_roll");
    terminal.press("\r");
    terminal.wait_for("Connect the wrist_flex motor");
    command(&sim, "only wrist_flex");
    command(&sim, "write wrist_flex Model_Number 1284");
    terminal.press("\r");
    terminal.wait_for("model number 1284, expected 777 (STS3215)");
    command(&sim, "write wrist_flex Model_Number 777");
    terminal.press("\r");
    for joint in ["elbow_flex", "shoulder_lift", "shoulder_pan"] {
        terminal.wait_for(&format!("Connect the {joint} motor"));
        command(&sim, &format!("only {joint}"));
        if joint == "shoulder_lift" {
            // A used motor, with an id that was just given to another.
            command(&sim, "write shoulder_lift ID 3");
            terminal.press("\r");
            terminal.wait_for("motor 3 answers, which was set up as elbow_flex");
            terminal.press("y");
        } else {
            terminal.press("\r");
        }
    }
    terminal.wait_for("Connect them one behind the other");
    terminal.press("\r");
    terminal.wait_for("motors missing");
    command(&sim, "back all");
    terminal.press("\r");
    assert_eq!(terminal.end("all motors are set up and answer on one bus"), Some(0));
    command(&sim, "power");
    for (joint, id) in MOTORS {
        let read = |register: &str| command(&sim, &format!("read {joint} {register}"));
        assert_eq!(
            [read("ID"), read("Baud_Rate"), read("Torque_Enable")],
            [&id.to_string(), "0", "0"].map(String::from)
        );
    }
}

#[test]
fn whoever_leaves_keeps_what_is_set_up() {
    let (lab, sim) = (Lab::new(), delivered());
    let mut terminal = terminal(&lab, &sim);
    terminal.wait_for("Connect the gripper motor");
    command(&sim, "only gripper");
    terminal.press("\r");
    terminal.wait_for("Connect the wrist_roll motor");
    command(&sim, "only wrist_roll");
    terminal.press("\x03");
    assert_eq!(terminal.end("set up: gripper; the others are as they were"), Some(130));
    assert_eq!(command(&sim, "read gripper ID"), "6");
    assert_eq!(command(&sim, "read wrist_roll ID"), "1");
}

/// The power went between the new id and the new rate: the next time it is found as it was left.
#[test]
fn a_motor_whose_set_up_was_cut_short_is_set_up_again() {
    let (lab, sim) = (Lab::new(), delivered());
    command(&sim, "only gripper");
    command(&sim, "write gripper Baud_Rate 4");
    command(&sim, "write gripper ID 6");
    command(&sim, "write gripper Lock 0");
    let mut terminal = terminal(&lab, &sim);
    terminal.wait_for("Connect the gripper motor");
    terminal.press("\r");
    terminal.wait_for("Connect the wrist_roll motor");
    terminal.press("\x03");
    assert_eq!(terminal.end("set up: gripper; the others are as they were"), Some(130));
    command(&sim, "power");
    let read = |register: &str| command(&sim, &format!("read gripper {register}"));
    assert_eq!([read("ID"), read("Baud_Rate")], ["6", "0"].map(String::from));
}

#[test]
fn nobody_is_waited_for_without_a_terminal() {
    let (lab, sim) = (Lab::new(), delivered());
    let port = format!("--robot.port={}", sim.path());
    let arguments = ["setup-motors", "--config", "lab.toml", "--arm", "follower", &port];
    let ended = lab.run(&arguments);
    assert!(ended.code == Some(2) && ended.text.contains("expected a terminal"), "{}", ended.text);
    let ended = lab.run(&[&arguments[..3], &[&port]].concat());
    assert!(ended.code == Some(2) && ended.text.contains("--arm follower or --arm leader"), "{}", ended.text);
    let ended = lab.run(&[&arguments[..5], &["--robot.port=sim"]].concat());
    assert!(ended.code == Some(2) && ended.text.contains("robot.port is \"sim\""), "{}", ended.text);
}
