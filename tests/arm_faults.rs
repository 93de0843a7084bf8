//! The driver against a bus that loses, delays and corrupts replies, and against arms that are not as expected.

use recorder::arm::feetech::bus::Bus;
use recorder::arm::feetech::packet::Packet;
use recorder::arm::feetech::registers as reg;
use recorder::arm::sim::{Fault, SimBus, SimKind};
use recorder::arm::so101::{Follower, MOTORS};
use recorder::arm::{ArmError, Motor, Robot, open_robot, open_teleop};
use recorder::clock::{Clock, SystemClock};
use recorder::config::schema;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::default())
}

fn follower_bus() -> SimBus {
    SimBus::start(SimKind::Follower, clock()).unwrap()
}

fn config(port: &str) -> schema::Robot {
    schema::Robot {
        kind: schema::RobotKind::So101Follower,
        port: Some(port.into()),
        id: Some("f1".into()),
        calibration_dir: Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/arm/calib/robots/so_follower")),
        ..Default::default()
    }
}

fn connect(bus: &SimBus) -> Result<Follower, ArmError> {
    Follower::connect(&config(bus.path()), &clock())
}

fn within(time: Duration) -> Instant {
    Instant::now() + time
}

/// Only what hangs takes so long.
const AMPLE: Duration = Duration::from_secs(60);
/// What a try waits for replies that are lost on purpose: longer than a busy machine keeps the simulated bus waiting.
const ONE_TRY: Duration = Duration::from_millis(500);

fn motors() -> Vec<Motor> {
    MOTORS.iter().map(|(name, id)| Motor { id: *id, name }).collect()
}

#[track_caller]
fn check(error: ArmError, kind: &str, words: &[&str]) {
    let message = error.to_string();
    assert_eq!(error.kind(), kind, "{message}");
    assert!(ArmError::KINDS.contains(&kind));
    for word in words {
        assert!(message.contains(word), "'{word}' is not in: {message}");
    }
}

/// A counter in a register is read while replies are lost, broken and late by up to several requests. Whatever is
/// read is the counter's value now, never an older one.
#[test]
fn no_fault_makes_a_reply_the_answer_to_another_request() {
    let sim = follower_bus();
    let mut bus = Bus::open(sim.path(), motors(), false).unwrap();
    bus.patience = Duration::from_millis(100);
    let three_tries = 3 * bus.patience;
    let ids = [1, 2, 3, 4, 5, 6];
    let (mut failed, mut faults) = (0, BTreeMap::<&str, u32>::new());
    for k in 0..48 {
        ids.iter().for_each(|id| sim.poke(*id, reg::GOAL_VELOCITY, k));
        let motor = Some(ids[k as usize % 6]);
        match k % 8 {
            1 => sim.inject(Fault::Late(1), motor, 1),
            3 => sim.inject(Fault::Lost, motor, 1),
            4 => sim.inject(Fault::Late(4), motor, 1),
            6 => sim.inject(Fault::BadChecksum, motor, 1),
            // Every try of this request is answered, but during the next one, whose own first reply is lost.
            0 | 7 => {
                sim.inject(Fault::Late(3), motor, 3);
                sim.inject(Fault::Lost, motor, 1);
            }
            _ => {}
        }
        loop {
            let answer = if k % 2 == 0 {
                bus.sync_read(&ids, reg::GOAL_VELOCITY, within(three_tries))
            } else {
                ids.iter().map(|id| bus.read(*id, reg::GOAL_VELOCITY, within(three_tries))).collect()
            };
            for fault in bus.take_faults() {
                *faults.entry(fault.kind()).or_default() += 1;
            }
            if let Ok(values) = answer {
                assert_eq!(values, [k; 6], "stale at {k}");
                break;
            }
            failed += 1;
        }
    }
    // Three late replies in a row are more than the deadline has time for.
    assert!(failed >= 12, "{failed} failed, {faults:?}");
    assert!(faults["timeout"] > 25 && faults["protocol"] > 0 && faults["checksum"] > 0, "{faults:?}");
}

/// One lost reply costs one try, not the deadline.
#[test]
fn a_lost_reply_is_asked_for_again() {
    let sim = follower_bus();
    let mut bus = Bus::open(sim.path(), motors(), false).unwrap();
    bus.patience = ONE_TRY;
    sim.inject(Fault::Lost, Some(4), 1);
    let start = Instant::now();
    bus.sync_read(&[1, 2, 3, 4, 5, 6], reg::PRESENT_POSITION, within(AMPLE)).unwrap();
    assert!(start.elapsed() < AMPLE / 2, "{:?}", start.elapsed());
    let faults = bus.take_faults();
    assert_eq!(faults[0].motor().unwrap().name, "wrist_flex");
}

#[test]
fn a_motor_that_never_answers_is_named_at_the_deadline() {
    let sim = follower_bus();
    let mut bus = Bus::open(sim.path(), motors(), false).unwrap();
    bus.patience = ONE_TRY;
    sim.inject(Fault::Lost, Some(3), usize::MAX);
    let start = Instant::now();
    let error = bus.sync_read(&[1, 2, 3, 4, 5, 6], reg::PRESENT_POSITION, within(2 * ONE_TRY)).unwrap_err();
    assert!((2 * ONE_TRY..AMPLE).contains(&start.elapsed()), "{:?}", start.elapsed());
    assert_eq!(bus.take_faults().len(), 1, "the first try");
    assert!(!error.is_fatal());
    check(error, "timeout", &["motor 3 (elbow_flex)", sim.path()]);
}

/// While replies cannot be trusted, a write counts once it is read back.
#[test]
fn a_write_that_does_not_stick_is_said() {
    let sim = follower_bus();
    let mut bus = Bus::open(sim.path(), motors(), false).unwrap();
    sim.inject(Fault::Lost, Some(1), 1);
    bus.write(1, reg::ACCELERATION, 7, within(AMPLE)).unwrap();
    assert_eq!(sim.peek(1, reg::ACCELERATION), Some(7));
    let error = bus.write(1, reg::PRESENT_VOLTAGE, 0, within(AMPLE)).unwrap_err();
    check(error, "not_kept", &["motor 1 (shoulder_pan)", "Present_Voltage was set to 0 and reads 74"]);
}

#[test]
fn error_bits_are_named_and_the_position_is_still_used() {
    let sim = follower_bus();
    let mut follower = connect(&sim).unwrap();
    sim.inject(Fault::ErrorBits(0x24), Some(6), usize::MAX);
    assert_eq!(follower.observe(within(AMPLE)).unwrap().values.len(), 6);
    let fault = follower.take_faults().into_iter().find(|fault| fault.kind() == "overload").unwrap();
    assert_eq!(fault.motor().unwrap().name, "gripper");
    check(fault, "overload", &["motor 6 (gripper)", "overheat, overload"]);
    drop(follower);

    let sim = follower_bus();
    sim.inject(Fault::ErrorBits(0x20), Some(3), usize::MAX);
    check(connect(&sim).err().unwrap(), "overload", &["motor 3 (elbow_flex)", "overload"]);
}

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
    check(connect(&sim).err().unwrap(), "motors", &["found none", "power"]);
}

#[test]
fn ports_and_configurations_that_cannot_be_used() {
    let open = |robot: &schema::Robot| open_robot(robot, &clock()).err().unwrap();
    let absent = open(&config("/dev/ttyACM_absent"));
    assert!(absent.is_fatal());
    check(absent, "port", &["/dev/ttyACM_absent", "found"]);
    check(open(&config("/dev/null")), "port", &["/dev/null", "serial port"]);
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

#[test]
fn pulling_the_plug_is_noticed_at_once() {
    let sim = follower_bus();
    let mut follower = connect(&sim).unwrap();
    follower.observe(within(AMPLE)).unwrap();
    drop(sim);
    let start = Instant::now();
    let error = follower.observe(within(AMPLE)).unwrap_err();
    assert!(error.is_fatal(), "{error}");
    assert_eq!(follower.shutdown().len(), 6, "torque-off is tried on every motor");
    assert!(start.elapsed() < AMPLE / 2, "without waiting for the deadline");
}

fn torque(sim: &SimBus) -> Vec<i32> {
    MOTORS.iter().map(|(_, id)| sim.peek(*id, reg::TORQUE_ENABLE).unwrap()).collect()
}

#[test]
fn torque_goes_off_on_every_way_out() {
    let sim = follower_bus();
    let mut follower = connect(&sim).unwrap();
    assert_eq!(torque(&sim), [1; 6]);
    sim.inject(Fault::Lost, Some(2), usize::MAX);
    let errors = follower.shutdown();
    assert_eq!(errors.iter().map(|e| e.motor().unwrap().id).collect::<Vec<_>>(), [2]);
    // Motor 2 heard it all the same: only its replies are lost.
    assert_eq!(torque(&sim), [0; 6]);

    let sim = follower_bus();
    drop(connect(&sim).unwrap());
    assert_eq!(torque(&sim), [0; 6], "dropped");

    let follower = connect(&sim).unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _follower = follower;
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    assert_eq!(torque(&sim), [0; 6], "panicked");

    let keep = schema::Robot { disable_torque_on_disconnect: false, ..config(sim.path()) };
    drop(Follower::connect(&keep, &clock()).unwrap());
    assert_eq!(torque(&sim), [1; 6], "as configured");

    // Connecting fails while torque is being switched on: what has torque by then loses it.
    let sim = follower_bus();
    let said = sim.tap();
    let torque_on = Packet::write(4, reg::TORQUE_ENABLE.addr, &[1]);
    sim.leave_unanswered(&torque_on);
    check(connect(&sim).err().unwrap(), "timeout", &["motor 4 (wrist_flex)"]);
    assert!(said.try_iter().any(|packet| packet == torque_on.encode()), "it got that far");
    assert_eq!(torque(&sim), [0; 6], "connecting failed");
}
