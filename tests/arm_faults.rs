//! The driver against a bus that loses, delays and corrupts replies, and against arms that are not as expected.

mod arm_support;

use arm_support::{
    AMPLE, IDS, ONE_TRY, bare_bus, check, config, connect, follower_bus, leader_bus, motors, tally, within,
};
use recorder::arm::feetech::bus::{Bus, TRY};
use recorder::arm::feetech::packet::Packet;
use recorder::arm::feetech::registers as reg;
use recorder::arm::sim::{Fault, SimBus};
use recorder::arm::so101::{Follower, MOTORS};
use recorder::arm::{Reading, Robot, Teleop};
use recorder::config::schema;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

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
    let mut bus = bare_bus(&sim, ONE_TRY);
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
    let mut bus = bare_bus(&sim, ONE_TRY);
    sim.inject(Fault::Lost, Some(3), usize::MAX);
    let start = Instant::now();
    let error = bus.sync_read(&IDS, reg::PRESENT_POSITION, within(2 * ONE_TRY)).unwrap_err();
    assert!((2 * ONE_TRY..AMPLE).contains(&start.elapsed()), "{:?}", start.elapsed());
    assert_eq!(tally(&bus.take_faults()), [(("timeout", 3), 1)].into(), "the first try");
    assert!(!error.is_fatal());
    check(error, "timeout", &["motor 3 (elbow_flex)", sim.path()]);
}

/// A broken reply says more than the silence of a last try that the deadline cut short: of two motors with one id none is
/// missing.
#[test]
fn a_broken_reply_is_named_also_when_the_last_try_is_cut_short() {
    let sim = follower_bus();
    for (retries, broken, expected) in [(1, 1, "checksum"), (2, 2, "checksum"), (1, 0, "timeout")] {
        let mut bus = bare_bus(&sim, ONE_TRY);
        bus.retries = retries as u32;
        sim.inject(Fault::BadChecksum, Some(3), broken);
        sim.inject(Fault::Lost, Some(3), retries + 1 - broken);
        let error = bus.sync_read(&IDS, reg::PRESENT_POSITION, within(AMPLE)).unwrap_err();
        check(error, expected, &["motor 3 (elbow_flex)", sim.path()]);
        // Each try has one error, and is counted once.
        assert_eq!(bus.take_faults().len(), retries, "{expected} after {broken} broken ones");
    }
}

/// The requests that a question led to.
fn asked(said: &std::sync::mpsc::Receiver<Vec<u8>>) -> Vec<Vec<u8>> {
    said.try_iter().map(|packet| packet[7..packet.len() - 1].to_vec()).collect()
}

/// Those that answer are not kept waiting for those that do not, and a further try asks only the others.
#[test]
fn some_motors_answer_and_only_the_others_are_asked_again() {
    let sim = follower_bus();
    let mut bus = bare_bus(&sim, ONE_TRY);
    IDS.iter().for_each(|id| sim.poke(*id, reg::GOAL_VELOCITY, i32::from(*id) * 10));
    let said = sim.tap();
    let read = |bus: &mut Bus| bus.sync_read_some(&IDS, reg::GOAL_VELOCITY, within(AMPLE));

    // Two miss the first try, one of them the second, none the third.
    sim.inject(Fault::Lost, Some(2), 1);
    sim.inject(Fault::Lost, Some(5), 2);
    bus.retries = 2;
    assert_eq!(read(&mut bus).unwrap(), [10, 20, 30, 40, 50, 60].map(Some));
    assert_eq!(asked(&said), [&[1, 2, 3, 4, 5, 6][..], &[2, 5], &[5]]);
    assert_eq!(tally(&bus.take_faults()), [(("timeout", 2), 1), (("timeout", 5), 2)].into());

    // The budget ends before the motors answer.
    sim.inject(Fault::Lost, Some(2), usize::MAX);
    sim.inject(Fault::Lost, Some(5), 2);
    bus.retries = 1;
    assert_eq!(read(&mut bus).unwrap(), [Some(10), None, Some(30), Some(40), None, Some(60)]);
    assert_eq!(asked(&said), [&[1, 2, 3, 4, 5, 6][..], &[2, 5]]);
    assert_eq!(tally(&bus.take_faults()), [(("timeout", 2), 2), (("timeout", 5), 2)].into());
    bus.retries = 0;
    assert_eq!(read(&mut bus).unwrap(), [Some(10), None, Some(30), Some(40), Some(50), Some(60)]);
    assert_eq!(asked(&said), [[1, 2, 3, 4, 5, 6]]);

    // None at all is an error, once and not for every motor.
    bus.take_faults();
    sim.inject(Fault::Lost, None, usize::MAX);
    check(read(&mut bus).unwrap_err(), "timeout", &["no motor answered", sim.path()]);
    assert_eq!(bus.take_faults().len(), 0);
}

/// A try on a bus that is slow by itself, as behind a wireless bridge, is not given up while its answer is on the way.
#[test]
fn a_slow_bridge_gets_longer_tries() {
    let sim = leader_bus();
    let mut bus = bare_bus(&sim, AMPLE);
    bus.settle(2);
    assert_eq!((bus.patience, bus.retries), (TRY, 2), "nothing was measured");
    let delay = Duration::from_millis(20);
    sim.set_delay(delay);
    bus.patience = AMPLE;
    for _ in 0..5 {
        bus.read(1, reg::MODEL, within(AMPLE)).unwrap();
    }
    bus.settle(3);
    assert!(bus.patience >= 2 * delay, "{:?}", bus.patience);
    assert_eq!(bus.retries, 3);
    drop(bus);

    let mut leader = arm_support::connect_leader(&sim);
    let answered = |reading: Reading| reading.reused.is_empty();
    assert!((0..100).any(|_| leader.action(within(AMPLE)).is_ok_and(answered)), "no reading at all");
}

/// The number of bytes tells failures apart, whatever the size of the register: the late word of a register of two bytes
/// must not become the value of one that has one.
#[test]
fn a_late_reply_is_not_taken_for_that_of_a_register_of_another_size() {
    let sim = follower_bus();
    let mut bus = bare_bus(&sim, Duration::from_millis(50));
    sim.poke(1, reg::GOAL_VELOCITY, 0x0102);
    sim.poke(1, reg::ACCELERATION, 7);
    // With every failure the next reads are longer: a byte more must not be what the size makes up for.
    for late in [1, 2, 3] {
        sim.inject(Fault::Late(late), Some(1), 1);
        bus.retries = 0;
        bus.read(1, reg::GOAL_VELOCITY, within(AMPLE)).unwrap_err();
        bus.retries = u32::MAX;
        for _ in 0..late {
            assert_eq!(bus.read(1, reg::ACCELERATION, within(AMPLE)).unwrap(), 7, "late by {late}");
        }
    }
}

/// After as many missed tries as there are lengths, a length tells nothing any more.
#[test]
fn a_motor_that_was_silent_for_long_is_not_believed_at_its_first_word() {
    let sim = follower_bus();
    let mut bus = bare_bus(&sim, Duration::from_millis(50));
    sim.poke(1, reg::GOAL_VELOCITY, 1);
    bus.retries = 0;
    // The first reply comes with the length that the tenth request asks for.
    sim.inject(Fault::Lost, Some(1), 1);
    bus.read(1, reg::GOAL_VELOCITY, within(AMPLE)).unwrap_err();
    sim.inject(Fault::Late(8), Some(1), 1);
    sim.inject(Fault::Lost, Some(1), 7);
    for _ in 0..8 {
        bus.read(1, reg::GOAL_VELOCITY, within(AMPLE)).unwrap_err();
    }
    sim.poke(1, reg::GOAL_VELOCITY, 2);
    check(bus.read(1, reg::GOAL_VELOCITY, within(AMPLE)).unwrap_err(), "protocol", &["motor 1"]);
    assert_eq!(bus.read(1, reg::GOAL_VELOCITY, within(AMPLE)).unwrap(), 2);
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
    drop(Follower::connect(&keep, &arm_support::clock()).unwrap());
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
