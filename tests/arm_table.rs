//! The faults of an arm, row by row: what LeRobot makes of each, and what the driver makes of it.
//!
//! | fault | LeRobot 0.6.1 | the recorder |
//! |---|---|---|
//! | one reply lost | the loop stalls for 64 ms | asked for again; on a miss the last value, marked and counted |
//! | one reply 60 ms late | every later read is one request old | stale data is never taken |
//! | bad checksum, noise | retried, skipped | resync on the header; counted by kind |
//! | several misses in a row | the session ends | the arm is lost by name, and connects again |
//! | overload, overheating | an error, or ignored | the value is used, the motor named |
//! | unplug | an error of the system | told at once, the port opened again by its stable name |
//! | leader stale | the last goal for ever | no reading, or one that is marked |
//!
//! What becomes of the take, of the follower's goals and of its torque is the run's part, and in its tests.

mod arm_support;

use arm_support::{
    AMPLE, IDS, bare_bus, check, clock, config, connect, connect_leader, follower_bus, leader_bus, tally, within,
};
use recorder::arm::feetech::registers as reg;
use recorder::arm::sim::{Fault, Noise, SimBus, SimKind};
use recorder::arm::so101::Follower;
use recorder::arm::{ArmError, LONGEST_SILENCE, Reading, Robot, Teleop};
use std::time::{Duration, Instant};

/// The steps that a reading stands for, one for each motor.
fn steps(sim: &SimBus) -> [i32; 6] {
    IDS.map(|id| sim.peek(id, reg::PRESENT_POSITION).unwrap())
}

/// Turns all joints by a step.
fn turn(sim: &SimBus) {
    for (id, step) in IDS.into_iter().zip(steps(sim)) {
        sim.turn(id, step + 1);
    }
}

/// A reading with every motor in it; on a busy machine it may take several.
fn fresh(mut read: impl FnMut() -> Result<Reading, ArmError>) -> Vec<f32> {
    for _ in 0..1000 {
        if let Ok(Reading { values, reused }) = read()
            && reused.is_empty()
        {
            return values;
        }
    }
    panic!("the arm does not answer any more");
}

#[test]
fn one_reply_lost_is_asked_for_again_or_else_marked_and_counted() {
    let sim = leader_bus();
    let mut leader = connect_leader(&sim);
    turn(&sim);
    let mut read = || leader.action(within(AMPLE));
    let before = fresh(&mut read);

    // Lost at every try that there may be: two retries by default.
    sim.inject(Fault::Lost, Some(4), 3);
    turn(&sim);
    let reading = read().unwrap();
    assert!(reading.reused.contains(&3), "{reading:?}");
    assert_eq!(reading.values[3], before[3], "the last value");
    let faults = tally(&leader.take_faults());
    assert!(faults[&("timeout", 4)] >= 3, "{faults:?}");

    // Lost once: the second try has it.
    let mut read = || leader.action(within(AMPLE));
    let now = fresh(&mut read);
    assert_ne!(now[3], before[3]);
    sim.inject(Fault::Lost, Some(4), 1);
    turn(&sim);
    let reading = fresh(&mut read);
    assert_ne!(reading[3], now[3]);
    let faults = tally(&leader.take_faults());
    assert!(faults[&("timeout", 4)] >= 1, "{faults:?}");
}

/// A motor whose place is not known is not sent on a step of `max_relative_target` from where it was.
#[test]
fn a_motor_that_has_not_told_its_position_keeps_its_goal() {
    let sim = follower_bus();
    let limited = recorder::config::schema::Robot {
        max_relative_target: Some(recorder::config::schema::PerMotor::All(0.5)),
        num_read_retries: 0,
        ..config(sim.path())
    };
    let mut follower = Follower::connect(&limited, &clock()).unwrap();
    let start = fresh(|| follower.observe(within(AMPLE)));
    let action: Vec<f32> = start.iter().map(|value| value + 40.0).collect();
    let first = follower.send(&action, within(AMPLE)).unwrap();
    sim.inject(Fault::Lost, Some(2), 1);
    let reading = follower.observe(within(AMPLE)).unwrap();
    assert!(reading.reused.contains(&1), "{reading:?}");
    follower.take_faults();
    let second = follower.send(&action, within(AMPLE)).unwrap();
    assert_eq!(second[1], first[1], "its last goal");
    let held = follower.take_faults();
    let held = held.into_iter().find(|fault| fault.motor().is_some_and(|motor| motor.id == 2)).unwrap();
    check(held, "goal", &["motor 2 (shoulder_lift)", "keeps its last goal", "max_relative_target"]);
}

/// However late it is: the value of then is not the value of now.
#[test]
fn a_late_reply_is_never_taken_for_a_later_one() {
    let sim = leader_bus();
    let mut leader = connect_leader(&sim);
    IDS.iter().for_each(|id| sim.turn(*id, 2000));
    let mut last = fresh(|| leader.action(within(AMPLE)));
    for late in [1, 2, 3, 4, 5, 6, 7] {
        // Ten ticks, as 60 ms may be; in the first the reply of motor 3 is late by so many requests.
        sim.inject(Fault::Late(late), Some(3), 1);
        for tick in 0..10 {
            turn(&sim);
            let Reading { values, reused } = leader.action(within(AMPLE)).unwrap();
            for joint in 0..6 {
                let is_last = values[joint] == last[joint];
                assert_eq!(is_last, reused.contains(&joint), "late by {late}, tick {tick}, joint {joint}: {reused:?}");
            }
            last = values;
        }
    }
    let faults = leader.take_faults();
    assert!(faults.iter().any(|fault| fault.kind() == "timeout"), "{faults:?}");
}

/// The same by the clock: 60 ms, whatever is asked meanwhile.
#[test]
fn a_reply_that_is_60_ms_late_is_never_taken_for_a_later_one() {
    let sim = leader_bus();
    let mut leader = connect_leader(&sim);
    IDS.iter().for_each(|id| sim.turn(*id, 2000));
    let mut last = fresh(|| leader.action(within(AMPLE)));
    let mut position = 2000;
    for motor in IDS {
        let until = within(Duration::from_millis(150));
        sim.inject(Fault::LateBy(Duration::from_millis(60)), Some(motor), 1);
        while Instant::now() < until {
            // Within the range of every joint.
            position = 1500 + (position + 1) % 1000;
            IDS.iter().for_each(|id| sim.turn(*id, position));
            let Ok(Reading { values, reused }) = leader.action(within(AMPLE)) else { continue };
            for joint in 0..6 {
                let is_last = values[joint] == last[joint];
                assert_eq!(is_last, reused.contains(&joint), "motor {motor}, joint {joint}: {reused:?}");
            }
            last = values;
        }
    }
}

#[test]
fn a_bad_checksum_is_counted_and_the_line_is_found_again() {
    let sim = follower_bus();
    let mut bus = bare_bus(&sim, AMPLE);
    IDS.iter().for_each(|id| sim.poke(*id, reg::GOAL_VELOCITY, i32::from(*id)));
    for motor in IDS {
        sim.inject(Fault::BadChecksum, Some(motor), 1);
        assert_eq!(bus.sync_read(&IDS, reg::GOAL_VELOCITY, within(AMPLE)).unwrap(), [1, 2, 3, 4, 5, 6]);
        let faults = bus.take_faults();
        assert_eq!(tally(&faults)[&("checksum", motor)], 1, "{faults:?}");
    }
}

/// Plain bytes, false headers, and replies that are cut off, before, in the place of, and behind a reply.
#[test]
fn noise_is_counted_and_the_line_is_found_again() {
    let sim = follower_bus();
    let mut bus = bare_bus(&sim, Duration::from_millis(50));
    for (place, may_answer_at_once) in [(Noise::Before, true), (Noise::Instead, false), (Noise::Behind, true)] {
        for k in 0..12 {
            IDS.iter().for_each(|id| sim.poke(*id, reg::GOAL_VELOCITY, i32::from(*id) + k));
            let motor = IDS[k as usize % 6];
            sim.inject(Fault::Noise(place), Some(motor), 1);
            let values = bus.sync_read(&IDS, reg::GOAL_VELOCITY, within(AMPLE)).unwrap();
            assert_eq!(values, IDS.map(|id| i32::from(id) + k), "{place:?}, motor {motor}");
            let faults = bus.take_faults();
            assert!(may_answer_at_once || !faults.is_empty(), "{place:?}, motor {motor}");
            assert!(faults.iter().all(|fault| !fault.is_fatal()));
        }
    }
    // What stands before a reply and is no part of one is noise by name.
    sim.inject(Fault::Noise(Noise::Before), Some(1), 6);
    let faults: Vec<_> = (0..6)
        .flat_map(|_| {
            bus.read(1, reg::GOAL_VELOCITY, within(AMPLE)).unwrap();
            bus.take_faults()
        })
        .collect();
    let noise = faults.into_iter().find(|fault| fault.kind() == "noise").unwrap();
    check(noise, "noise", &[sim.path(), "bytes came that belong to no reply", "check the cables"]);
}

/// One motor of six: the others' values are worth having for a while, but an arm with a dead joint is a lost arm.
#[test]
fn several_misses_in_a_row_make_a_lost_arm_by_the_name_of_its_motor() {
    let sim = follower_bus();
    let mut follower = connect(&sim).unwrap();
    fresh(|| follower.observe(within(AMPLE)));
    sim.poke(5, reg::ID, 105);
    let error = loop {
        match follower.observe(within(AMPLE)) {
            Ok(reading) => assert!(reading.reused.contains(&4), "{reading:?}"),
            Err(error @ ArmError::NoAnswer { .. }) => println!("a busy machine: {error}"),
            Err(error) => break error,
        }
    };
    let ArmError::MotorLost { waited, .. } = &error else { panic!("{error}") };
    assert!(*waited > LONGEST_SILENCE);
    assert!(error.is_fatal());
    check(error, "timeout", &["motor 5 (wrist_roll) has been silent", "check its cable"]);

    // Connecting again says so, too, and is all that it needs once the motor is back.
    follower.shutdown();
    drop(follower);
    check(connect(&sim).err().unwrap(), "motors", &["motors missing", "motor 5 (wrist_roll)"]);
    sim.poke(105, reg::ID, 5);
    let mut follower = connect(&sim).unwrap();
    fresh(|| follower.observe(within(AMPLE)));
}

#[test]
fn overload_and_overheating_are_told_by_motor_and_the_values_are_used() {
    for (bits, kind, word) in
        [(0x20, "overload", "overload"), (0x04, "overheat", "overheat"), (1, "voltage", "voltage")]
    {
        let sim = leader_bus();
        let mut leader = connect_leader(&sim);
        fresh(|| leader.action(within(AMPLE)));
        leader.take_faults();
        sim.inject(Fault::ErrorBits(bits), Some(2), usize::MAX);
        fresh(|| leader.action(within(AMPLE)));
        let faults = leader.take_faults();
        let fault = faults.into_iter().find(|fault| fault.kind() == kind).unwrap();
        assert!(!fault.is_fatal());
        check(fault, kind, &["motor 2 (shoulder_lift)", word]);
    }
}

/// The port is another one after the arm was plugged in again; its stable name is the same.
#[test]
fn an_unplugged_arm_is_told_at_once_and_opened_again_by_its_stable_name() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join("usb-arm");
    let plug = || {
        let sim = follower_bus();
        let _ = std::fs::remove_file(&name);
        std::os::unix::fs::symlink(sim.path(), &name).unwrap();
        sim
    };
    let open = || Follower::connect(&config(name.to_str().unwrap()), &clock());
    let sim = plug();
    let mut follower = open().unwrap();
    fresh(|| follower.observe(within(AMPLE)));
    drop(sim);
    let error = follower.observe(within(AMPLE)).unwrap_err();
    assert!(error.is_fatal(), "{error}");
    assert_eq!(follower.shutdown().len(), 6, "torque-off is tried on every motor");
    drop(follower);
    assert!(open().err().unwrap().is_fatal(), "it is still away");

    let sim = plug();
    assert_eq!(sim.peek(3, reg::TORQUE_ENABLE), Some(0));
    let mut follower = open().unwrap();
    fresh(|| follower.observe(within(AMPLE)));
    assert_eq!(sim.peek(3, reg::TORQUE_ENABLE), Some(1));
}

#[test]
fn a_stale_leader_gives_no_value_that_looks_new() {
    let sim = SimBus::start(SimKind::Leader, clock()).unwrap();
    let mut leader = connect_leader(&sim);
    fresh(|| leader.action(within(AMPLE)));
    sim.inject(Fault::Lost, None, usize::MAX);
    for _ in 0..3 {
        let error = leader.action(within(Duration::from_millis(30))).unwrap_err();
        check(error, "timeout", &["no motor answered", sim.path()]);
    }
}
