//! Ports and arms that are not as expected: each is refused by name, with its remedy.

mod arm_support;

use arm_support::{AMPLE, ONE_TRY, check, clock, config, connect, follower_bus, motors, within};
use recorder::arm::feetech::bus::Bus;
use recorder::arm::feetech::packet::Packet;
use recorder::arm::feetech::registers as reg;
use recorder::arm::sim::Fault;
use recorder::arm::so101::{Follower, MOTORS};
use recorder::arm::{ArmError, open_robot, open_teleop};
use recorder::config::schema;
use serialport::{SerialPort, TTYPort};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;

#[test]
fn an_arm_that_is_not_as_expected_is_refused_by_name() {
    let sim = follower_bus();
    sim.poke(3, reg::ID, 13);
    check(
        connect(&sim).err().unwrap(),
        "motors",
        &["motor 3 (elbow_flex)", "found motor 1 (shoulder_pan), motor 2", "cable"],
    );
    sim.poke(13, reg::ID, 3);
    sim.poke(5, reg::MODEL, 1029);
    check(connect(&sim).err().unwrap(), "motors", &["motor 5 (wrist_roll)", "1029", "777"]);
    sim.poke(5, reg::MODEL, 777);
    sim.poke(2, reg::FIRMWARE_MINOR, 9);
    check(connect(&sim).err().unwrap(), "motors", &["motor 2 (shoulder_lift) 3.9", "motor 3 (elbow_flex) 3.10"]);
    sim.poke(2, reg::FIRMWARE_MINOR, 10);
    connect(&sim).unwrap();
    MOTORS.iter().for_each(|(_, id)| sim.poke(*id, reg::ID, i32::from(id + 100)));
    check(
        connect(&sim).err().unwrap(),
        "motors",
        &["no servo answers", "found: none", "power", "this is the arm's port"],
    );
}

#[test]
fn ports_and_configurations_that_cannot_be_used() {
    let open = |robot: &schema::Robot| open_robot(robot, &clock()).err().unwrap();
    let absent = open(&config("/dev/ttyACM_absent"));
    assert!(absent.is_fatal());
    check(absent, "port", &["/dev/ttyACM_absent", "found"]);
    check(open(&config("/dev/null")), "port", &["/dev/null", "serial port", "another kind of device"]);
    check(open(&config("/dev")), "port", &["/dev", "it is a folder"]);
    let file = tempfile::NamedTempFile::new().unwrap();
    check(open(&config(file.path().to_str().unwrap())), "port", &["it is a plain file"]);
    check(open(&schema::Robot { port: None, ..config("") }), "config", &["robot.port", "sim"]);
    check(open(&schema::Robot { id: None, ..config("/dev/x") }), "calibration", &["robot.id"]);
    check(open(&schema::Robot { id: Some("f9".into()), ..config("/dev/x") }), "calibration", &["f9.json"]);
    let limit = |limit| schema::Robot { max_relative_target: Some(limit), ..config("sim") };
    check(open(&limit(schema::PerMotor::All(0.0))), "config", &["max_relative_target", "above 0"]);
    let one = schema::PerMotor::ByMotor([("gripper".into(), 5.0)].into());
    check(open(&limit(one)), "config", &["max_relative_target", "shoulder_pan", "found gripper"]);

    let sim = follower_bus();
    let first = connect(&sim).unwrap();
    check(connect(&sim).err().unwrap(), "port", &["in use", sim.path()]);
    drop(first);
    connect(&sim).unwrap();

    assert!(open_robot(&schema::Robot::default(), &clock()).unwrap().is_none());
    assert!(open_teleop(&schema::Teleop::default(), &clock()).unwrap().is_none());
}

/// An id that was never set: two motors answer to one, and another is missing.
#[test]
fn two_motors_with_one_id_are_told() {
    let sim = follower_bus();
    sim.poke(3, reg::ID, 1);
    check(
        connect(&sim).err().unwrap(),
        "motors",
        &["motor 1 (shoulder_pan)", "missing: motor 3 (elbow_flex)", "setup-motors"],
    );

    // Two that answer at the same time break each other's replies.
    let sim = follower_bus();
    sim.poke(3, reg::ID, 103);
    sim.inject(Fault::BadChecksum, Some(1), usize::MAX);
    let words =
        ["replies of motor 1 (shoulder_pan) are always broken", "missing: motor 3 (elbow_flex)", "setup-motors"];
    check(connect(&sim).err().unwrap(), "motors", &words);

    // The same without a missing one: a seventh motor.
    let sim = follower_bus();
    sim.inject(Fault::BadChecksum, Some(2), usize::MAX);
    let error = connect(&sim).err().unwrap();
    assert!(!error.to_string().contains("missing"), "{error}");
    check(error, "motors", &["motor 2 (shoulder_lift) are always broken", "check its cable"]);
}

/// A motor that is new waits longer before it answers than one that is configured: there are two replies.
#[test]
fn two_replies_to_one_ping_are_two_motors() {
    let (mut master, slave) = TTYPort::pair().unwrap();
    let answers = std::thread::spawn(move || {
        master.set_timeout(AMPLE).unwrap();
        let mut ping = [0; 6];
        while master.read_exact(&mut ping).is_ok() && ping[2] != 6 {
            let reply = Packet { id: ping[2], code: 0, params: vec![] }.encode();
            let replies = if ping[2] == 1 { [&reply[..], &reply].concat() } else { reply };
            master.write_all(&replies).unwrap();
        }
        // Whoever holds it keeps the port alive.
        master
    });
    let mut bus = Bus::open(&slave.name().unwrap(), motors(), false).unwrap();
    bus.patience = ONE_TRY;
    assert!(bus.ping_doubled(1, within(AMPLE)).unwrap());
    assert!(!bus.ping_doubled(2, within(AMPLE)).unwrap());
    bus.retries = 0;
    assert_eq!(bus.ping_doubled(6, within(AMPLE)).unwrap_err().kind(), "timeout");
    drop(answers.join().unwrap());
}

/// A late answer is not a second motor, and neither is one broken reply.
#[test]
fn a_reply_that_comes_twice_or_broken_once_is_no_second_motor() {
    for fault in [Fault::Late(1), Fault::BadChecksum] {
        let sim = follower_bus();
        sim.inject(fault, Some(1), 1);
        connect(&sim).unwrap();
    }
}

#[test]
fn a_port_on_which_something_else_speaks_is_told() {
    let sim = follower_bus();
    sim.inject(Fault::BadChecksum, None, usize::MAX);
    check(
        connect(&sim).err().unwrap(),
        "motors",
        &["something answers, but not as a servo does", "this is the arm's port"],
    );
}

/// The figures are asked for only when a motor complains: the wire says nothing else otherwise.
#[test]
fn a_wrong_voltage_is_told_with_its_figures() {
    let sim = follower_bus();
    for (_, id) in MOTORS {
        sim.poke(id, reg::PRESENT_VOLTAGE, 121);
        sim.poke(id, reg::MIN_VOLTAGE_LIMIT, 45);
        sim.poke(id, reg::MAX_VOLTAGE_LIMIT, 80);
    }
    sim.inject(Fault::ErrorBits(1), None, usize::MAX);
    let words = ["motor 1 (shoulder_pan)", "it has 12.1 V and allows 4.5 V to 8 V", "power supply"];
    check(connect(&sim).err().unwrap(), "voltage", &words);
}

/// Root may open anything; without that right, which is taken from this thread only, it is as for everybody.
#[test]
fn a_port_without_permission_names_its_group() {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    let sim = follower_bus();
    let path = std::path::Path::new(sim.path());
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    let gid = std::fs::metadata(path).unwrap().gid();
    let groups = std::fs::read_to_string("/etc/group").unwrap();
    let line = groups.lines().find(|line| line.split(':').nth(2) == Some(&gid.to_string()));
    let group = line.map_or(gid.to_string(), |line| line.split(':').next().unwrap().into());
    let opened = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let mut sets = capabilities(None).unwrap();
            sets.effective.remove(CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH);
            set_capabilities(None, sets).unwrap();
            Follower::connect(&config(sim.path()), &clock()).err().unwrap()
        });
        thread.join().unwrap()
    });
    assert!(matches!(opened, ArmError::PortPermission { .. }), "{opened}");
    check(opened, "port", &["no permission", sim.path(), &format!("the group {group} with mode 0000"), "udev"]);
}
