//! `recorder calibrate` as a person meets it: on a terminal, with a simulated arm whose joints are turned by hand.

mod program;
mod terminal_support;

use program::{Lab, Signal};
use recorder::arm::calibration::Calibration;
use recorder::arm::feetech::registers::{self as reg, Register};
use recorder::arm::sim::{Fault, SimBus, SimKind};
use recorder::arm::so101::MOTORS;
use recorder::clock::SystemClock;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use terminal_support::Terminal;

const FOLDER: &str = ".cache/huggingface/lerobot/calibration/robots/so_follower";
const HELD: [Register; 3] = [reg::HOMING_OFFSET, reg::MIN_POSITION_LIMIT, reg::MAX_POSITION_LIMIT];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/arm/calib").join(name)
}

fn golden_text() -> String {
    std::fs::read_to_string(golden("robots/so_follower/f1.json")).unwrap()
}

/// A lab with an arm that holds another calibration than the golden file, and torque on.
struct Bench {
    lab: Lab,
    sim: SimBus,
}

impl Bench {
    fn new() -> Bench {
        let sim = SimBus::start(SimKind::Follower, Arc::new(SystemClock::default())).unwrap();
        for (_, id) in MOTORS {
            for (register, value) in HELD.into_iter().zip([17, 500, 3500]) {
                sim.poke(id, register, value);
            }
            sim.poke(id, reg::TORQUE_ENABLE, 1);
        }
        Bench { lab: Lab::new(), sim }
    }

    fn file(&self) -> PathBuf {
        self.lab.path(&format!("{FOLDER}/f1.json"))
    }

    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let port = format!("--robot.port={}", self.sim.path());
        let first = ["calibrate", "--config", "lab.toml", "--robot.id=f1", &port].map(String::from);
        first.into_iter().chain(more.iter().map(|argument| argument.to_string())).collect()
    }

    /// `recorder calibrate --arm follower MORE` on a terminal of 80 columns.
    fn terminal(&self, more: &[&str]) -> Terminal {
        let arguments = self.arguments(&[&["--arm", "follower"], more].concat());
        Terminal::run(&self.lab, 80, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The same without a terminal.
    fn run(&self, more: &[&str]) -> program::Ended {
        let arguments = self.arguments(&[&["--arm", "follower"], more].concat());
        self.lab.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Puts every joint where its position is 2047 with the golden file's offset.
    fn centre(&self) {
        for (id, joint) in joints() {
            self.sim.turn(id, 2047 + joint.1 - self.sim.peek(id, reg::HOMING_OFFSET).unwrap());
        }
    }

    /// What the servos hold, in the order of the motors: homing offset, minimum, maximum.
    fn held(&self) -> Vec<(i32, i32, i32)> {
        let held = |(_, id)| {
            let [homing, min, max] = HELD.map(|register| self.sim.peek(id, register).unwrap());
            (homing, min, max)
        };
        MOTORS.map(held).to_vec()
    }

    #[track_caller]
    fn is_limp_and_locked(&self) {
        for (_, id) in MOTORS {
            let [torque, lock] = [reg::TORQUE_ENABLE, reg::LOCK].map(|register| self.sim.peek(id, register));
            assert_eq!((torque, lock), (Some(0), Some(1)), "motor {id}");
        }
    }

    /// The servos hold this, and still do without power.
    #[track_caller]
    fn holds_for_good(&self, expected: &[(i32, i32, i32)]) {
        self.is_limp_and_locked();
        assert_eq!(self.held(), expected);
        self.sim.power_cycle();
        assert_eq!(self.held(), expected, "after the power was off");
    }

    #[track_caller]
    fn is_as_before(&self) {
        self.holds_for_good(&[(17, 500, 3500); 6]);
    }

    /// Moves every joint through the golden file's range; each end is waited for on the screen.
    fn sweep(&self, terminal: &Terminal) {
        for (id, (name, _, min, max)) in joints() {
            if name == "wrist_roll" {
                continue;
            }
            // A hand does not jump from end to end.
            for position in [2047, min, 2047, max] {
                self.turn(terminal, id, &name, position);
            }
        }
    }

    /// Turns a joint, and waits until it is seen there.
    fn turn(&self, terminal: &Terminal, id: u8, name: &str, position: i32) {
        self.sim.turn(id, position);
        terminal.wait_until(&format!("{name} at {position}"), |screen| {
            let text = screen.contents();
            let columns =
                text.lines().filter_map(|line| line.trim().strip_prefix(name)).next_back().unwrap_or_default();
            columns.split_whitespace().nth(1) == Some(&position.to_string())
        });
    }
}

/// A line of the table with these columns first.
fn has_row(text: &str, columns: &[&str]) -> bool {
    text.lines().any(|line| line.split_whitespace().take(columns.len()).eq(columns.iter().copied()))
}

/// The golden file's joints: motor, and name, homing offset, minimum and maximum.
fn joints() -> Vec<(u8, (String, i32, i32, i32))> {
    let Calibration(joints) = Calibration::parse(&golden_text(), Path::new("f1.json"), &MOTORS).unwrap();
    let values =
        joints.into_iter().map(|(name, j)| (name, j.homing_offset as i32, j.range_min as i32, j.range_max as i32));
    (1..).zip(values).collect()
}

fn golden_held() -> Vec<(i32, i32, i32)> {
    joints().into_iter().map(|(_, (_, homing, min, max))| (homing, min, max)).collect()
}

const CENTRE: &str = "step 1 of 2";
const SWEEP: &str = "step 2 of 2";

/// The file equals LeRobot's for the same motion, the servos keep it without power, and a recording takes both as they are.
#[test]
fn an_arm_is_calibrated_by_hand() {
    let bench = Bench::new();
    let mut terminal = bench.terminal(&[]);
    let text = terminal.wait_for("Enter: calibrate");
    for part in ["Calibrate the follower 'f1'", "There is no calibration yet", "Take hold of the arm"] {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
    assert_eq!(bench.sim.peek(1, reg::TORQUE_ENABLE), Some(1), "torque is on until the person knows");
    terminal.press("\r");
    terminal.wait_for(CENTRE);
    assert_eq!(bench.sim.peek(1, reg::TORQUE_ENABLE), Some(0));
    assert_eq!(bench.held(), [(17, 500, 3500); 6]);
    bench.centre();
    terminal.press("\r");
    let text = terminal.wait_for(SWEEP);
    assert!(text.contains("position") && text.lines().all(|line| line.chars().count() <= 80), "{text}");
    bench.sweep(&terminal);
    // A joint that turns without end is not measured.
    bench.turn(&terminal, 5, "wrist_roll", 4000);
    bench.turn(&terminal, 5, "wrist_roll", 3);
    terminal.press("\r");
    assert_eq!(terminal.end("the motors hold the calibration, read back"), Some(0));
    assert_eq!(std::fs::read_to_string(bench.file()).unwrap(), golden_text());
    bench.holds_for_good(&golden_held());
    let checked = bench.lab.run(&[
        "check",
        "--config",
        "lab.toml",
        "--robot.id=f1",
        &format!("--robot.port={}", bench.sim.path()),
    ]);
    assert!(checked.text.contains("follower: all motors answer and are calibrated"), "{}", checked.text);
}

/// LeRobot ends the whole session at any of these.
#[test]
fn what_is_wrong_in_a_sweep_is_named_and_the_sweep_goes_on() {
    let bench = Bench::new();
    let mut terminal = bench.terminal(&[]);
    terminal.wait_for("Enter: calibrate");
    terminal.press("\r");
    terminal.wait_for(CENTRE);
    // One joint stands at the very end of its turn.
    bench.centre();
    bench.sim.turn(2, 4095 - 17);
    bench.sim.inject(Fault::Lost, Some(4), 2);
    terminal.press("\r");
    terminal.wait_for("shoulder_lift cannot be centred");
    // Half a turn away from where it belongs: the sweep will go past the end of the turn.
    bench.sim.turn(2, 400);
    terminal.press("\r");
    terminal.wait_for(SWEEP);
    terminal.press("\r");
    terminal.wait_until("nothing was moved", |screen| {
        let text = screen.contents();
        text.contains("Not moved: shoulder_pan, shoulder_lift, elbow_flex, wrist_flex, gripper")
    });
    bench.turn(&terminal, 1, "shoulder_pan", 2100);
    terminal.wait_for("few steps: shoulder_pan 53");
    for position in [3000, 4000, 100] {
        bench.turn(&terminal, 2, "shoulder_lift", position);
    }
    terminal.wait_for("4095): shoulder_lift");
    terminal.press("r");
    terminal.wait_for(CENTRE);
    bench.centre();
    terminal.press("\r");
    terminal.wait_for(SWEEP);
    // A motor that is silent for a while loses nothing.
    bench.sim.inject(Fault::Lost, Some(3), 100);
    terminal.wait_for("No answer from elbow_flex: check the cables");
    terminal.wait_until("it answers again", |screen| !screen.contents().contains("does not answer"));
    bench.sweep(&terminal);
    terminal.press("\r");
    assert_eq!(terminal.end("read back; saved to"), Some(0));
    assert_eq!(std::fs::read_to_string(bench.file()).unwrap(), golden_text());
    bench.holds_for_good(&golden_held());
}

#[test]
fn whoever_leaves_finds_all_as_it_was() {
    for phase in ["Enter: calibrate", CENTRE, SWEEP] {
        let bench = Bench::new();
        let mut terminal = bench.terminal(&[]);
        for step in ["Enter: calibrate", CENTRE, SWEEP] {
            terminal.wait_for(step);
            if step == phase {
                break;
            }
            bench.centre();
            terminal.press("\r");
        }
        terminal.press("\x03");
        assert_eq!(terminal.end("not calibrated; motors and file hold what they held before"), Some(130), "{phase}");
        assert!(!bench.file().exists());
        if phase == "Enter: calibrate" {
            assert_eq!(bench.held(), [(17, 500, 3500); 6]);
            assert_eq!(bench.sim.peek(1, reg::TORQUE_ENABLE), Some(1), "nothing was touched");
        } else {
            bench.is_as_before();
        }
    }
    // Signals, and a terminal that is closed.
    for (signal, code) in [(Some(Signal::TERM), 143), (None, 129)] {
        let bench = Bench::new();
        let mut terminal = bench.terminal(&[]);
        for step in ["Enter: calibrate", CENTRE] {
            terminal.wait_for(step);
            bench.centre();
            terminal.press("\r");
        }
        terminal.wait_for(SWEEP);
        match signal {
            Some(signal) => {
                rustix::process::kill_process(rustix::process::Pid::from_child(&terminal.child), signal).unwrap();
            }
            None => terminal.close(),
        }
        assert_eq!(terminal.child.wait().unwrap().code(), Some(code));
        bench.is_as_before();
        assert!(!bench.file().exists());
    }
}

#[test]
fn a_file_that_is_there_is_offered_and_never_lost() {
    let bench = Bench::new();
    let file = bench.lab.write(&format!("{FOLDER}/f1.json"), &golden_text());
    let mut terminal = bench.terminal(&[]);
    let text = terminal.wait_for("c: calibrate anew");
    for part in ["another calibration than", "Enter: write the file to the motors", "differs", "Take hold"] {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
    assert!(has_row(&text, &["elbow_flex", "-1200", "820", "3100", "17", "500", "3500", "differs"]), "{text}");
    terminal.press("\r");
    assert_eq!(terminal.end("the motors hold the calibration of"), Some(0));
    bench.holds_for_good(&golden_held());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), golden_text());

    // Now they are alike; a new one takes its place, and the old one is kept.
    let mut terminal = bench.terminal(&[]);
    terminal.wait_for("Enter: leave it so");
    terminal.press("\r");
    assert_eq!(terminal.end("as before"), Some(0));
    let mut terminal = bench.terminal(&[]);
    terminal.wait_for("Enter: leave it so");
    terminal.press("c");
    terminal.wait_for(CENTRE);
    bench.centre();
    terminal.press("\r");
    terminal.wait_for(SWEEP);
    bench.turn(&terminal, 1, "shoulder_pan", 700);
    bench.sweep(&terminal);
    terminal.press("\r");
    assert_eq!(terminal.end("the old file is kept as"), Some(0));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), golden_text().replacen("750", "700", 1));
    assert_eq!(std::fs::read_to_string(bench.lab.path(&format!("{FOLDER}/f1.json.1"))).unwrap(), golden_text());
}

#[test]
fn a_file_that_cannot_be_used_is_no_obstacle() {
    let bench = Bench::new();
    let cut = &golden_text()[..200];
    bench.lab.write(&format!("{FOLDER}/f1.json"), cut);
    let mut terminal = bench.terminal(&[]);
    let text = terminal.wait_for("Enter: calibrate anew");
    assert!(text.contains("is malformed"), "{text}");
    terminal.press("\r");
    terminal.wait_for(CENTRE);
    bench.centre();
    terminal.press("\r");
    terminal.wait_for(SWEEP);
    bench.sweep(&terminal);
    terminal.press("\r");
    assert_eq!(terminal.end("f1.json.1"), Some(0));
    assert_eq!(std::fs::read_to_string(bench.file()).unwrap(), golden_text());
    assert_eq!(std::fs::read_to_string(bench.lab.path(&format!("{FOLDER}/f1.json.1"))).unwrap(), cut);
}

/// The sweep is not lost with a disk that is full, or a folder that cannot be written.
#[test]
fn a_file_that_cannot_be_written_is_tried_again() {
    let bench = Bench::new();
    let mut terminal = bench.terminal(&[]);
    for step in ["Enter: calibrate", CENTRE] {
        terminal.wait_for(step);
        bench.centre();
        terminal.press("\r");
    }
    terminal.wait_for(SWEEP);
    bench.sweep(&terminal);
    let in_the_way = bench.lab.write(".cache/huggingface/lerobot/calibration/robots", "a file");
    terminal.press("\r");
    terminal.wait_for("cannot be written");
    std::fs::remove_file(in_the_way).unwrap();
    terminal.press("\r");
    assert_eq!(terminal.end("saved to"), Some(0));
    assert_eq!(std::fs::read_to_string(bench.file()).unwrap(), golden_text());
    bench.holds_for_good(&golden_held());
}

/// A motor that does not keep a value is named, whoever leaves then has what there was, and so has whoever asked for a file.
#[test]
fn a_motor_that_does_not_keep_a_value() {
    let bench = Bench::new();
    let mut terminal = bench.terminal(&[]);
    for step in ["Enter: calibrate", CENTRE] {
        terminal.wait_for(step);
        bench.centre();
        terminal.press("\r");
    }
    terminal.wait_for(SWEEP);
    bench.sweep(&terminal);
    bench.sim.poke(4, reg::MIN_POSITION_LIMIT, 500);
    bench.sim.wear_out(4, reg::MIN_POSITION_LIMIT);
    terminal.press("\r");
    let words = "motor 4 (wrist_flex) did not keep a value: Min_Position_Limit was set to 860 and reads 500";
    let says = |screen: &vt100::Screen| {
        let text = screen.contents().replace("\n  ! ", " ");
        text.contains(words) && text.contains("Enter: try again")
    };
    terminal.wait_until(words, says);
    terminal.press("\x03");
    assert_eq!(terminal.end("not calibrated; motors and file hold what they held before"), Some(130));
    bench.is_as_before();
    assert!(!bench.file().exists());

    let from = golden("robots/so_follower/f1.json");
    let ended = bench.run(&["--from", from.to_str().unwrap()]);
    assert!(ended.code == Some(3) && ended.text.contains(words), "{}", ended.text);
    bench.is_as_before();
    assert!(!bench.file().exists());
}

/// A cable that is pulled ends it, and what the servos hold now is said.
#[test]
fn a_port_that_is_lost_is_told() {
    let lab = Lab::new();
    // A bus in a process of its own: ours would lend its end of the line to the program.
    let mut arm = lab.command(env!("CARGO_BIN_EXE_recorder"));
    let mut arm = arm.args(["sim-arm", "--link", "arm"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(arm.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
    let arguments = ["calibrate", "--config", "lab.toml", "--arm", "follower", "--robot.id=f1", "--robot.port=arm"];
    let mut terminal = Terminal::run(&lab, 80, &arguments);
    for step in ["Enter: calibrate", CENTRE] {
        terminal.wait_for(step);
        terminal.press("\r");
    }
    terminal.wait_for(SWEEP);
    arm.kill().unwrap();
    arm.wait().unwrap();
    assert_eq!(terminal.end("before the arm is used"), Some(3));
    let text = terminal.wait_for("was lost");
    assert!(text.contains("could not be given back what they held"), "{text}");
    assert!(!lab.path(FOLDER).exists());
}

#[test]
fn a_leader_has_a_folder_of_its_own() {
    let (lab, sim) = (Lab::new(), SimBus::start(SimKind::Leader, Arc::new(SystemClock::default())).unwrap());
    let (port, from) = (format!("--teleop.port={}", sim.path()), golden("teleoperators/so_leader/l1.json"));
    sim.poke(6, reg::HOMING_OFFSET, 600);
    let calibrate = ["calibrate", "--config", "lab.toml", "--teleop.id=l1", &port, "--from", from.to_str().unwrap()];
    let ended = lab.run(&[&calibrate[..], &["--arm", "leader"]].concat());
    assert!(ended.code == Some(0) && ended.text.contains("leader 'l1'"), "{}", ended.text);
    assert_eq!(sim.peek(6, reg::HOMING_OFFSET), Some(-60));
    let file = lab.path(&FOLDER.replace("robots/so_follower", "teleoperators/so_leader/l1.json"));
    assert_eq!(std::fs::read(file).unwrap(), std::fs::read(&from).unwrap());
    let ended = lab.run(&[&calibrate[..], &["--arm", "left"]].concat());
    assert!(
        ended.code == Some(2) && ended.text.contains("--arm: expected follower or leader, found left"),
        "{}",
        ended.text
    );
}

#[test]
fn an_arm_of_a_pair_has_a_file_of_its_own() {
    let bench = Bench::new();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/bimanual.toml");
    let port = format!("--robot.left_arm_config.port={}", bench.sim.path());
    let from = golden("robots/so_follower/f1.json");
    let calibrate = ["calibrate", "--config", example, &port, "--from", from.to_str().unwrap()];
    let ended = bench.lab.run(&[&calibrate[..], &["--arm", "left_follower"]].concat());
    assert!(ended.code == Some(0) && ended.text.contains("left_follower 'pair_left'"), "{}", ended.text);
    bench.holds_for_good(&golden_held());
    let file = bench.lab.path(&format!("{FOLDER}/pair_left.json"));
    assert_eq!(std::fs::read_to_string(file).unwrap(), golden_text());
    let ended = bench.lab.run(&calibrate);
    assert!(ended.code == Some(2) && ended.text.contains("--arm right_leader"), "{}", ended.text);
}

#[test]
fn which_arm_is_asked_where_there_are_two() {
    let bench = Bench::new();
    let arguments = bench.arguments(&[]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut terminal = Terminal::run(&bench.lab, 80, &arguments);
    let text = terminal.wait_for("Calibrate which arm?");
    assert!(text.contains("1: follower   2: leader"), "{text}");
    terminal.press("1");
    terminal.wait_for("Calibrate the follower 'f1'");
    terminal.press("\x03");
    assert_eq!(terminal.end("not calibrated"), Some(130));

    let ended = bench.lab.run(&[&arguments[..], &["--from", "f1.json"]].concat());
    assert_eq!(ended.code, Some(2), "{}", ended.text);
    assert!(ended.text.contains("say which with --arm follower or --arm leader"), "{}", ended.text);
    // Where there is one, it is meant.
    let ended = bench
        .lab
        .run(&[&arguments[..], &["--from", "f1.json", "--teleop.type=replay", "--teleop.path=a.csv"]].concat());
    assert!(ended.text.contains("--from: the calibration file f1.json cannot be read"), "{}", ended.text);
}

#[test]
fn a_file_is_given_to_the_motors_without_a_question() {
    let bench = Bench::new();
    let from = golden("robots/so_follower/f1.json");
    let from = from.to_str().unwrap();
    let ended = bench.run(&["--from", from]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert!(ended.text.contains("the motors hold the calibration, read back; saved to"), "{}", ended.text);
    assert_eq!(std::fs::read_to_string(bench.file()).unwrap(), golden_text());
    bench.holds_for_good(&golden_held());
    let ended = bench.run(&["--from", from]);
    assert!(ended.code == Some(0) && ended.text.contains("f1.json holds it already"), "{}", ended.text);
    assert_eq!(std::fs::read_dir(bench.lab.path(FOLDER)).unwrap().count(), 1);
}

/// LeRobot before 0.4.3 kept files in other folders: they are read there, and a new one goes where LeRobot looks today.
#[test]
fn a_file_in_an_older_folder_is_found_and_left_alone() {
    let bench = Bench::new();
    let old = FOLDER.replace("so_follower", "so101_follower");
    let old = bench.lab.write(&format!("{old}/f1.json"), &golden_text());
    let mut terminal = bench.terminal(&[]);
    let text = terminal.wait_for("c: calibrate anew");
    assert!(text.contains("so101_follower/"), "{text}");
    terminal.press("c");
    terminal.wait_for(CENTRE);
    bench.centre();
    terminal.press("\r");
    terminal.wait_for(SWEEP);
    bench.turn(&terminal, 6, "gripper", 1980);
    bench.sweep(&terminal);
    terminal.press("\r");
    assert_eq!(terminal.end("saved to"), Some(0));
    assert_eq!(std::fs::read_to_string(bench.file()).unwrap(), golden_text().replacen("1990", "1980", 1));
    assert_eq!(std::fs::read_to_string(old).unwrap(), golden_text());
}

#[test]
fn what_cannot_be_calibrated_is_said() {
    let bench = Bench::new();
    let (lab, before) = (&bench.lab, bench.held());
    let text = golden_text();
    let refused = |more: &[&str], code: i32, words: &[&str]| {
        let ended = bench.run(more);
        assert_eq!(ended.code, Some(code), "{more:?}: {}", ended.text);
        for word in words {
            assert!(ended.text.contains(word), "{more:?}: `{word}` is not in: {}", ended.text);
        }
        assert_eq!(bench.held(), before, "{more:?}");
        assert!(!bench.file().exists(), "{more:?}");
    };
    refused(&[], 2, &["expected a terminal", "`recorder calibrate --from FILE`"]);
    refused(&["--from", "absent.json"], 2, &["absent.json cannot be read", "No such file"]);
    for (name, from, to, words) in [
        ("cut", "}", "", &["cut.json is malformed"][..]),
        ("other", "gripper", "claw", &["other.json belongs to another arm", "claw"]),
        ("ids", "\"id\": 3", "\"id\": 4", &["expected motor id 3 for elbow_flex, found 4"]),
        ("far", "-1200", "-2048", &["homing_offset = -2048 for elbow_flex, expected -2047 to 2047"]),
        ("wide", "3400", "4096", &["range_max = 4096 for shoulder_pan, expected 751 to 4095"]),
        ("mode", "\"drive_mode\": 0", "\"drive_mode\": 3", &["drive_mode = 3 for shoulder_pan, expected 0 to 1"]),
    ] {
        let file = lab.write(&format!("{name}.json"), &text.replacen(from, to, 1));
        refused(&["--from", file.to_str().unwrap()], 2, words);
    }
    let good = lab.write("good.json", &text);
    let good = good.to_str().unwrap();
    refused(&["--from", good, "--robot.port=sim"], 2, &["robot.port is \"sim\"", "/dev/serial/by-id"]);
    refused(&["--from", good, "--robot.port=/dev/absent"], 3, &["there is no serial port /dev/absent"]);
    refused(&["--from", good, "--robot.id=../f1"], 2, &["robot.id '../f1' is not a file name"]);
    refused(&["--from", good, "--robot.type=none", "--teleop.type=none"], 2, &["no arm with motors"]);
    bench.sim.poke(3, reg::ID, 13);
    let ended = bench.run(&["--from", good]);
    assert!(ended.code == Some(3) && ended.text.contains("motors missing"), "{}", ended.text);
}
