//! `recorder sim-arm`, the simulated bus as a process of its own: against clients that know nothing of it, command by
//! command, and how it ends.

mod program;

use program::{Lab, PATIENCE, Signal};
use recorder::arm::feetech::packet::{BROADCAST, Instruction, Packet};
use recorder::arm::feetech::registers as reg;
use rustypot::servo::feetech::sts3215::Sts3215Controller;
use serialport::{SerialPort, TTYPort};
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

const IDS: [u8; 6] = [1, 2, 3, 4, 5, 6];
const NOTHING: [u8; 0] = [];

/// The process; killed on drop.
struct SimArm {
    child: Child,
    input: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
    path: PathBuf,
    lab: Lab,
}

impl SimArm {
    fn start(options: &[&str]) -> SimArm {
        let lab = Lab::new();
        let mut command = lab.command(env!("CARGO_BIN_EXE_recorder"));
        let command = command.args(["sim-arm", "--link", "arm"]).args(options);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take();
        let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(answers.next().unwrap().unwrap(), "ready arm");
        SimArm { child, input, answers, path: lab.path("arm"), lab }
    }

    fn command(&mut self, line: &str) -> String {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
        self.answers.next().unwrap().unwrap()
    }

    #[track_caller]
    fn obey(&mut self, line: &str) {
        assert_eq!(self.command(line), "ok", "{line}");
    }

    fn port(&self, baud: u32) -> Client {
        let builder = serialport::new(self.path.to_str().unwrap(), baud).timeout(PATIENCE);
        Client(TTYPort::open(&builder).unwrap())
    }

    fn end(mut self) -> (Option<i32>, Lab) {
        let code = self.child.wait().unwrap().code();
        (code, std::mem::replace(&mut self.lab, Lab::new()))
    }
}

impl Drop for SimArm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client that sees the bytes themselves.
struct Client(TTYPort);

impl Client {
    fn say(&mut self, request: &Packet) {
        self.0.write_all(&request.encode()).unwrap();
    }

    /// The next so many bytes.
    fn hear(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Pings, and then motor 1, whose answer shows that nothing else came: what came before it.
    #[track_caller]
    fn ping_then_1(&mut self, id: u8, count: usize) -> Vec<u8> {
        self.say(&Packet::ping(id));
        self.say(&Packet::ping(1));
        let mut bytes = self.hear(count + 6);
        assert_eq!(bytes.split_off(count), status(1, 0, &[]));
        bytes
    }
}

fn status(id: u8, error: u8, params: &[u8]) -> Vec<u8> {
    Packet { id, code: error, params: params.into() }.encode()
}

fn rustypot(path: &Path) -> Sts3215Controller {
    let port = serialport::new(path.to_str().unwrap(), 1_000_000).timeout(PATIENCE).open().unwrap();
    Sts3215Controller::new().with_protocol_v1().with_serial_port(port)
}

#[test]
fn rustypot_gets_on_with_it() {
    let sim = SimArm::start(&[]);
    let mut client = rustypot(&sim.path);
    for id in IDS {
        assert!(client.ping(id).unwrap());
    }
    assert_eq!(client.read_register(1, "model_number").unwrap(), 777);
    assert_eq!(client.read_register(3, "homing_offset").unwrap(), -1200);
    assert_eq!(client.sync_read_register(&IDS, "max_position_limit").unwrap(), [3400, 3200, 3100, 3150, 4095, 3480]);
    client.write_register(1, "acceleration", 254).unwrap();
    assert_eq!(client.read_register(1, "acceleration").unwrap(), 254);

    let goals = [1200, 1300, 1400, 1500, 1600, 2100];
    client.sync_write_register(&IDS, "goal_position", &goals).unwrap();
    assert_eq!(client.sync_read_register(&IDS, "goal_position").unwrap(), goals);
    let before = client.sync_read_register(&IDS, "present_position").unwrap();
    assert_eq!(before, [2075, 2000, 1960, 2005, 2047, 2735], "without torque nothing moves");
    let start = Instant::now();
    client.sync_write_register(&IDS, "torque_enable", &[1; 6]).unwrap();
    while client.sync_read_register(&IDS, "present_position").unwrap() != goals {
        assert!(start.elapsed() < PATIENCE);
    }
    // The longest way has 875 steps, at 3000 steps a second.
    assert!(start.elapsed() > Duration::from_millis(280), "{:?}", start.elapsed());
    client.write_register(1, "goal_position", 0).unwrap();
    while client.read_register(1, "present_position").unwrap() != 750 {
        assert!(start.elapsed() < PATIENCE, "a goal outside the limits ends at the limit");
    }
}

#[test]
fn feetechs_own_library_gets_on_with_it() {
    let mut sim = SimArm::start(&[]);
    sim.obey("overload gripper");
    let python = std::env::var("RECORDER_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/py/check_servo_sdk.py");
    let output = Command::new(python).arg(script).arg(&sim.path).output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    assert_eq!(said.trim(), "ok");
    assert_eq!(sim.command("read all Acceleration"), "ok 201 202 203 204 205 206");
}

#[test]
fn replies_meet_the_faults_they_are_sent() {
    let mut sim = SimArm::start(&[]);
    let mut client = sim.port(1_000_000);
    let whole = status(6, 0, &[]);
    let mut wrong = whole.clone();
    *wrong.last_mut().unwrap() ^= 0x55;
    let noise = |index: usize| -> &[u8] {
        let noises: [&[u8]; 3] = [&[0x12, 0xA5, 0x00, 0x7E, 0x40], &[0x00, 0xFF], &[0xFF, 0xFF, 0x01, 0xFA, 0x00]];
        noises[index]
    };
    for (command, expected) in [
        ("lose gripper", vec![]),
        ("lose 6 1", vec![]),
        ("late 1 gripper", whole.clone()),
        ("corrupt gripper", wrong),
        ("noise before gripper", [noise(0), &whole].concat()),
        ("noise instead gripper", noise(1).to_vec()),
        ("noise behind gripper", [&whole, noise(2)].concat()),
    ] {
        sim.obey(command);
        assert_eq!(client.ping_then_1(6, expected.len()), expected, "{command}");
        assert_eq!(client.ping_then_1(6, 6), whole, "once: {command}");
    }
    sim.obey("lose gripper 1000");
    assert_eq!(client.ping_then_1(6, 0), NOTHING);
    sim.obey("clear");
    assert_eq!(client.ping_then_1(6, 6), whole);

    sim.obey("late 1000ms gripper");
    let start = Instant::now();
    client.say(&Packet::ping(6));
    client.say(&Packet::ping(1));
    assert_eq!(client.hear(6), status(1, 0, &[]), "others are not held back");
    assert_eq!(client.hear(6), whole);
    assert!(start.elapsed() >= Duration::from_millis(1000), "{:?}", start.elapsed());
    sim.obey("slow 20");
    let start = Instant::now();
    assert_eq!(client.ping_then_1(6, 6), whole);
    assert!(start.elapsed() >= Duration::from_millis(20), "{:?}", start.elapsed());
}

#[test]
fn what_a_servo_suffers_from_stands_in_its_every_reply() {
    let mut sim = SimArm::start(&[]);
    let mut client = sim.port(1_000_000);
    sim.obey("overload wrist_roll");
    sim.obey("voltage 5 on");
    assert_eq!(client.ping_then_1(5, 6), status(5, 33, &[]));
    client.say(&Packet::write(5, reg::ACCELERATION.addr, &[7]));
    assert_eq!(client.hear(6), status(5, 33, &[]));
    client.say(&Packet::sync_read(reg::ACCELERATION.addr, 1, &[4, 5]));
    assert_eq!(client.hear(14), [status(4, 0, &[0]), status(5, 33, &[7])].concat());
    assert_eq!(sim.command("read wrist_roll Status"), "ok 33");
    sim.obey("overload wrist_roll off");
    assert_eq!(client.ping_then_1(5, 6), status(5, 1, &[]));
    sim.obey("overheat wrist_roll");
    sim.obey("power");
    assert_eq!(client.ping_then_1(5, 6), status(5, 0, &[]), "not without power");
}

/// What a client writes stands in the registers as a servo understands it: sign and magnitude, limits, torque, homing.
#[test]
fn registers_mean_what_they_mean_to_a_servo() {
    let mut sim = SimArm::start(&["--motion", "step"]);
    let mut client = sim.port(1_000_000);
    let mut write = |id: u8, register: reg::Register, bytes: &[u8]| {
        client.say(&Packet::write(id, register.addr, bytes));
        assert_eq!(client.hear(6), status(id, 0, &[]));
    };
    let mut read = |motor: &str, name: &str| sim.command(&format!("read {motor} {name}"));
    assert_eq!(read("elbow_flex", "Present_Position"), "ok 1960");
    assert_eq!(read("elbow_flex", "Homing_Offset"), "ok -1200");
    // 17 below zero: bit 11 is the sign. The shaft is where it was.
    write(3, reg::HOMING_OFFSET, &[17, 8]);
    assert_eq!(read("elbow_flex", "Homing_Offset"), "ok -17");
    assert_eq!(read("elbow_flex", "Present_Position"), "ok 777");
    write(3, reg::HOMING_OFFSET, &[0xFF, 7]);
    assert_eq!(read("elbow_flex", "Present_Position"), "ok 2809", "positions wrap around");
    // Without torque a goal moves nothing; with it, within the limits; 5 below zero is below the least.
    write(1, reg::GOAL_POSITION, &[0xB8, 0x0B]);
    assert_eq!(read("shoulder_pan", "Present_Position"), "ok 2075");
    write(1, reg::TORQUE_ENABLE, &[1]);
    assert_eq!(read("shoulder_pan", "Present_Position"), "ok 3000");
    write(1, reg::GOAL_POSITION, &[5, 0x80]);
    assert_eq!(read("shoulder_pan", "Goal_Position"), "ok -5");
    assert_eq!(read("shoulder_pan", "Present_Position"), "ok 750");
    // What is measured cannot be written, and EEPROM without power only what was written unlocked: servos start locked.
    write(1, reg::PRESENT_TEMPERATURE, &[99]);
    assert_eq!(read("shoulder_pan", "Present_Temperature"), "ok 31");
    write(2, reg::MAX_TORQUE_LIMIT, &[1, 1]);
    write(4, reg::LOCK, &[0]);
    write(4, reg::MAX_TORQUE_LIMIT, &[2, 1]);
    assert_eq!(read("all", "Max_Torque_Limit"), "ok 1000 257 1000 258 1000 1000");
    sim.obey("power");
    assert_eq!(sim.command("read all Max_Torque_Limit"), "ok 1000 1000 1000 258 1000 1000");
    assert_eq!(sim.command("read all Torque_Enable"), "ok 0 0 0 0 0 0");
}

#[test]
fn servos_come_and_go_and_talk_at_the_same_time() {
    let mut sim = SimArm::start(&[]);
    let mut client = sim.port(1_000_000);
    sim.obey("missing elbow_flex");
    assert_eq!(client.ping_then_1(3, 0), NOTHING);
    client.say(&Packet::ping(BROADCAST));
    assert_eq!(client.hear(30), [1, 2, 4, 5, 6].map(|id| status(id, 0, &[])).concat());
    sim.obey("back elbow_flex");
    assert_eq!(client.ping_then_1(3, 6), status(3, 0, &[]));

    // Of two with the same id nobody takes the one's answer for the other's.
    sim.obey("write wrist_flex ID 3");
    assert_eq!(client.ping_then_1(4, 0), NOTHING);
    assert_eq!(client.ping_then_1(3, 6), status(3, 0, &[]), "equal replies look like one");
    client.say(&Packet::sync_read(reg::PRESENT_POSITION.addr, 2, &[3]));
    let (one, other) = (status(3, 0, &1960u16.to_le_bytes()), status(3, 0, &2005u16.to_le_bytes()));
    let both: Vec<u8> = one.iter().zip(&other).map(|(a, b)| a & b).collect();
    assert!(both != one && both != other && both.iter().skip(2).fold(0u8, |sum, byte| sum.wrapping_add(*byte)) != 0xFF);
    assert_eq!(client.hear(8), both);
}

#[test]
fn servos_hear_only_their_own_speed() {
    let mut sim = SimArm::start(&[]);
    let mut client = sim.port(1_000_000);
    // 500,000: what it is told it answers yet, and is deaf from then on.
    client.say(&Packet::write(6, reg::BAUD_RATE.addr, &[1]));
    assert_eq!(client.hear(6), status(6, 0, &[]));
    assert_eq!(client.ping_then_1(6, 0), NOTHING);
    drop(client);
    for (baud, code) in [(500_000, 1), (250_000, 2), (128_000, 3), (115_200, 4), (57_600, 5), (38_400, 6), (19_200, 7)]
    {
        sim.obey(&format!("write gripper Baud_Rate {code}"));
        let mut client = sim.port(baud);
        client.say(&Packet::ping(1));
        client.say(&Packet::ping(6));
        assert_eq!(client.hear(6), status(6, 0, &[]), "{baud}");
    }
}

/// One servo after another gets its id, as a person sets up a new arm.
#[test]
fn new_servos_are_set_up_one_by_one() {
    let mut sim = SimArm::start(&["--new"]);
    let mut client = sim.port(1_000_000);
    sim.obey("write gripper Baud_Rate 4");
    for id in IDS {
        sim.obey(&format!("only {}", recorder::arm::so101::MOTORS[usize::from(id) - 1].0));
        if id == 6 {
            client.0.set_baud_rate(115_200).unwrap();
        }
        for (id, register, value) in [(1, reg::LOCK, 0), (1, reg::ID, id), (id, reg::BAUD_RATE, 0)] {
            client.say(&Packet::write(id, register.addr, &[value]));
            assert_eq!(client.hear(6), status(id, 0, &[]), "{}", register.name);
        }
    }
    client.0.set_baud_rate(1_000_000).unwrap();
    sim.obey("back all");
    sim.obey("power");
    assert_eq!(sim.command("read all ID"), "ok 1 2 3 4 5 6");
    client.say(&Packet::sync_read(reg::MAX_POSITION_LIMIT.addr, 2, &IDS));
    assert_eq!(client.hear(48), IDS.map(|id| status(id, 0, &4095u16.to_le_bytes())).concat());
}

#[test]
fn registers_are_read_written_and_joints_turned_past_the_bus() {
    let mut sim = SimArm::start(&["--kind", "leader"]);
    for (command, answer) in [
        ("turn gripper 2000", "ok"),
        ("read gripper Present_Position", "ok 2000"),
        ("read 6 present_position", "ok 2000"),
        ("write all Present_Temperature 55", "ok"),
        ("read all Present_Temperature", "ok 55 55 55 55 55 55"),
        ("write 2 Present_Load -300", "ok"),
        ("read shoulder_lift Present_Load", "ok -300"),
        ("", "error: expected a command; found none"),
        (
            "loose",
            "error: expected one of lose, late, corrupt, noise, clear, overload, overheat, voltage, missing, back, only, slow, power, turn, read, write, registers; found `loose`",
        ),
        ("turn gripper", "error: expected `turn MOTOR POSITION`; found `turn gripper`"),
        ("turn gripper far", "error: expected a position in steps; found far"),
        (
            "lose hand",
            "error: expected a motor (shoulder_pan, shoulder_lift, elbow_flex, wrist_flex, wrist_roll, gripper), the id of one that there is, or all; found hand",
        ),
        ("lose all twice", "error: expected a number of replies; found twice"),
        ("lose all 1 2", "error: expected [MOTOR] [COUNT] and no more; found 2"),
        ("late 0", "error: expected a time such as 60ms, or a number of requests above 0; found 0"),
        (
            "noise around gripper",
            "error: expected `noise before|instead|behind [MOTOR] [COUNT]`; found `noise around gripper`",
        ),
        (
            "read 2 Present_Temprature",
            "error: expected a register such as Present_Temperature (`registers` lists them); found Present_Temprature",
        ),
        ("write 2 Present_Load -2000", "error: expected -1023 to 1023 for Present_Load; found -2000"),
        ("write 2 ID 300", "error: expected 0 to 255 for ID; found 300"),
    ] {
        assert_eq!(sim.command(command), answer);
    }
    assert!(sim.command("help").starts_with("ok lose [MOTOR] [COUNT]; late"));
    assert!(sim.command("registers").contains(" Homing_Offset "));
}

#[test]
fn a_port_that_hangs_up_comes_back_under_its_name() {
    let mut sim = SimArm::start(&[]);
    let mut client = sim.port(1_000_000);
    client.say(&Packet::write(2, reg::TORQUE_ENABLE.addr, &[1]));
    client.hear(6);
    sim.obey("hangup");
    assert!(client.0.read(&mut [0]).is_err());
    assert!(!sim.path.is_symlink());
    sim.obey("replug");
    assert!(client.0.write(&[0]).is_err(), "the old terminal stays away");
    let mut client = sim.port(1_000_000);
    client.say(&Packet::read(2, reg::TORQUE_ENABLE.addr, 1));
    assert_eq!(client.hear(7), status(2, 0, &[1]), "the servos kept their power");
}

#[test]
fn in_steps_a_leader_moves_when_it_is_read_and_a_follower_is_there_at_once() {
    let sim = SimArm::start(&["--kind", "leader", "--motion", "step"]);
    let mut client = rustypot(&sim.path);
    let mut positions = || client.sync_read_register(&IDS, "present_position").unwrap();
    let poses: Vec<Vec<i64>> = (0..2701).map(|_| positions()).collect();
    for (k, pair) in poses.windows(2).enumerate() {
        assert_eq!(pair[0][0], 700 + k as i64, "every pose is another one");
        for joint in 1..6 {
            assert!((pair[1][joint] - pair[0][joint]).abs() < 20, "smooth: {pair:?}");
        }
    }
    let spread = |joint: usize| {
        let values = poses.iter().map(|pose| pose[joint]);
        values.clone().max().unwrap() - values.min().unwrap()
    };
    (1..6).for_each(|joint| assert!(spread(joint) > 500, "{joint} moves"));

    let sim = SimArm::start(&["--motion", "step"]);
    let mut client = rustypot(&sim.path);
    client.sync_write_register(&IDS, "torque_enable", &[1; 6]).unwrap();
    client.sync_write_register(&IDS, "goal_position", &[1200, 1300, 1400, 1500, 1600, 1000]).unwrap();
    let reached = client.sync_read_register(&IDS, "present_position").unwrap();
    assert_eq!(reached, [1200, 1300, 1400, 1500, 1600, 1990], "the last one at its limit");
}

/// 10 µs a byte: the floor of every measurement.
#[test]
fn bytes_take_their_time_on_the_wire() {
    let mut sim = SimArm::start(&["--wire-time"]);
    let mut client = sim.port(1_000_000);
    for (delay, least_us) in [(0, 140 + 480), (250, 140 + 480 + 6 * 500)] {
        sim.obey(&format!("write all Return_Delay_Time {delay}"));
        let start = Instant::now();
        client.say(&Packet::sync_read(reg::PRESENT_POSITION.addr, 2, &IDS));
        client.hear(48);
        assert!(start.elapsed() >= Duration::from_micros(least_us), "{:?}", start.elapsed());
    }
    // Of what nobody answers only the next answer tells.
    sim.obey("write all Return_Delay_Time 0");
    let goals = IDS.map(|id| (id, [0u8; 2]));
    let start = Instant::now();
    let write = Packet::sync_write(reg::GOAL_VELOCITY.addr, 2, goals.iter().map(|(id, value)| (*id, &value[..])));
    client.say(&write);
    client.say(&Packet::request(1, Instruction::Ping, vec![]));
    client.hear(6);
    assert!(start.elapsed() >= Duration::from_micros(260 + 60 + 60), "{:?}", start.elapsed());
}

#[test]
fn it_runs_until_it_is_told_to_end_and_leaves_nothing_behind() {
    for ending in ["quit", "SIGINT", "SIGTERM"] {
        let mut sim = SimArm::start(&[]);
        let pid = rustix::process::Pid::from_child(&sim.child);
        if ending != "quit" {
            // The end of its input is not its own.
            sim.input = None;
            let mut client = sim.port(1_000_000);
            assert_eq!(client.ping_then_1(6, 6), status(6, 0, &[]));
        }
        match ending {
            "quit" => writeln!(sim.input.as_mut().unwrap(), "quit").unwrap(),
            "SIGINT" => rustix::process::kill_process(pid, Signal::INT).unwrap(),
            _ => rustix::process::kill_process(pid, Signal::TERM).unwrap(),
        }
        let (code, lab) = sim.end();
        assert_eq!(code, Some(0), "{ending}");
        assert!(!lab.path("arm").is_symlink(), "{ending}");
    }
}

#[test]
fn what_cannot_be_simulated_is_said() {
    let lab = Lab::new();
    lab.write("taken", "");
    std::os::unix::fs::symlink("nowhere", lab.path("dangling")).unwrap();
    for (options, words) in [
        (&["--link", "taken"][..], "--link taken: File exists (os error 17); expected a path where nothing is yet"),
        (&["--link", "no/folder"], "--link no/folder: No such file or directory (os error 2); expected a path"),
        (&["--calibration", "absent.json"], "the calibration file absent.json cannot be read: No such file"),
        (&["--calibration", "lab.toml"], "the calibration file lab.toml is malformed"),
        (&["--new", "--calibration", "lab.toml"], "cannot be used with"),
        (&["--kind", "third"], "invalid value 'third'"),
    ] {
        let ended = lab.run(&[&["sim-arm"], options].concat());
        assert_eq!(ended.code, Some(2), "{}", ended.text);
        assert!(ended.text.contains(words), "{words} is not in: {}", ended.text);
    }
    // What a killed process has left is no obstacle.
    let mut command = lab.command(env!("CARGO_BIN_EXE_recorder"));
    command.args(["sim-arm", "--link", "dangling"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "quit").unwrap();
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((said.as_str(), child.wait().unwrap().code()), ("ready dangling\n", Some(0)));
}
