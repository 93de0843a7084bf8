//! What simulated servos hold, and the arms on them in simulated time. What they say is in `tests/sim_arm.rs`.

use recorder::arm::feetech::registers as reg;
use recorder::arm::sim::{SimBus, SimKind};
use recorder::arm::so101::Follower;
use recorder::arm::{Robot, open_robot, open_teleop};
use recorder::clock::{Clock, Rank, SimulatedClock, Stamp, SystemClock};
use recorder::config::schema;
use rustypot::servo::feetech::sts3215::Sts3215Controller;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Only what hangs takes so long.
const AMPLE: Duration = Duration::from_secs(60);

const IDS: [u8; 6] = [1, 2, 3, 4, 5, 6];

fn rustypot(sim: &SimBus) -> Sts3215Controller {
    let port = serialport::new(sim.path(), 1_000_000).timeout(AMPLE).open().unwrap();
    Sts3215Controller::new().with_protocol_v1().with_serial_port(port)
}

#[test]
fn eeprom_keeps_only_what_was_written_unlocked() {
    let sim = SimBus::start(SimKind::Follower, Arc::new(SystemClock::default())).unwrap();
    let mut client = rustypot(&sim);
    client.write_register(1, "lock", 1).unwrap();
    client.write_register(1, "min_position_limit", 100).unwrap();
    assert_eq!(client.read_register(1, "min_position_limit").unwrap(), 100);
    client.write_register(2, "lock", 0).unwrap();
    client.write_register(2, "min_position_limit", 200).unwrap();
    client.write_register(2, "model_number", 1).unwrap_or(());
    sim.power_cycle();
    assert_eq!(sim.peek(1, reg::MIN_POSITION_LIMIT), Some(750));
    assert_eq!(sim.peek(2, reg::MIN_POSITION_LIMIT), Some(200));
    assert_eq!(sim.peek(2, reg::MODEL), Some(777), "read-only");
}

fn simulated() -> (Arc<dyn Clock>, SimulatedClock) {
    let clock = SimulatedClock::new(Stamp { mono_ns: 5_000_000_000, utc_ns: 0 });
    (Arc::new(clock.clone()), clock)
}

fn robot(port: &str) -> schema::Robot {
    schema::Robot { kind: schema::RobotKind::So101Follower, port: Some(port.into()), ..Default::default() }
}

fn teleop() -> schema::Teleop {
    schema::Teleop { kind: schema::TeleopKind::So101Leader, port: Some("sim".into()), ..Default::default() }
}

/// Teleoperation for some seconds of simulated time: (follower, leader, sent) for each tick.
fn teleoperate(ticks: u64) -> Vec<[Vec<f32>; 3]> {
    let (clock, time) = simulated();
    let mut sleeper = time.join(Rank(0));
    let mut follower = open_robot(&robot("sim"), &clock).unwrap().unwrap();
    let mut leader = open_teleop(&teleop(), &clock).unwrap().unwrap();
    assert_eq!(follower.features(), leader.features());
    assert_eq!(follower.features()[5], "gripper.pos");
    (1..=ticks)
        .map(|k| {
            sleeper.sleep_until(5_000_000_000 + k * 33_333_333);
            let state = follower.observe(Instant::now()).unwrap().values;
            let action = leader.action(Instant::now()).unwrap().values;
            let sent = follower.send(&action, Instant::now()).unwrap();
            [state, action, sent]
        })
        .collect()
}

#[test]
fn in_simulated_time_every_run_is_the_same() {
    let first = teleoperate(150);
    let differing = first.iter().zip(teleoperate(150)).position(|(a, b)| *a != b);
    assert_eq!(differing, None);
    let farthest = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
    // The arm starts away from its leader, approaches it no faster than the ramp, and then follows closely.
    assert!(farthest(&first[0][0], &first[0][1]) > 10.0);
    for pair in first.windows(2).take(10) {
        assert!(farthest(&pair[0][2], &pair[1][2]) <= 3.001);
    }
    for tick in &first[60..] {
        assert_eq!(tick[1], tick[2]);
        assert!(farthest(&tick[0], &tick[1]) < 4.0, "{tick:?}");
    }
    assert!(farthest(&first[60][1], &first[120][1]) > 10.0, "the leader moves");
}

fn with_arm(config: impl FnOnce(&str) -> schema::Robot, test: impl FnOnce(&SimBus, Follower, &dyn Fn(u64))) {
    let (clock, time) = simulated();
    let sim = SimBus::start(SimKind::Follower, clock.clone()).unwrap();
    // An old goal far away, as the last program left it.
    IDS.iter().for_each(|id| sim.poke(*id, reg::GOAL_POSITION, 1000));
    let follower = Follower::connect(&config(sim.path()), &clock).unwrap();
    let sleeper = std::cell::RefCell::new(time.join(Rank(0)));
    let wait = |ms: u64| {
        sleeper.borrow_mut().sleep_until(time.now().mono_ns + ms * 1_000_000);
    };
    test(&sim, follower, &wait);
}

fn golden_robot(port: &str) -> schema::Robot {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/arm/calib/robots/so_follower");
    schema::Robot { id: Some("f1".into()), calibration_dir: Some(dir), ..robot(port) }
}

#[test]
fn torque_on_does_not_move_the_arm() {
    with_arm(golden_robot, |sim, mut follower, wait| {
        let before = follower.observe(Instant::now()).unwrap().values;
        wait(1000);
        assert_eq!(follower.observe(Instant::now()).unwrap().values, before);
        assert_eq!(sim.peek(1, reg::TORQUE_ENABLE), Some(1));
        assert_eq!(sim.peek(1, reg::LOCK), Some(1));
        assert_eq!(sim.peek(6, reg::MAX_TORQUE_LIMIT), Some(500));
    });
}

#[test]
fn the_files_calibration_is_written_to_stay() {
    let (clock, _) = simulated();
    let sim = SimBus::start(SimKind::Follower, clock.clone()).unwrap();
    sim.poke(3, reg::HOMING_OFFSET, 17);
    sim.poke(3, reg::LOCK, 1);
    sim.poke(3, reg::TORQUE_ENABLE, 1);
    drop(Follower::connect(&golden_robot(sim.path()), &clock).unwrap());
    sim.power_cycle();
    assert_eq!(sim.peek(3, reg::HOMING_OFFSET), Some(-1200));
}

#[test]
fn max_relative_target_clips_what_is_sent() {
    let limited =
        |port: &str| schema::Robot { max_relative_target: Some(schema::PerMotor::All(2.0)), ..golden_robot(port) };
    with_arm(limited, |_, mut follower, wait| {
        let present = follower.observe(Instant::now()).unwrap().values;
        wait(100);
        assert_eq!(follower.send(&present, Instant::now()).unwrap(), present, "nothing is approached any more");
        wait(100);
        let mut action = present.clone();
        action[0] += 50.0;
        action[1] -= 1.0;
        let sent = follower.send(&action, Instant::now()).unwrap();
        assert!((sent[0] - (present[0] + 2.0)).abs() < 1e-4, "{sent:?}");
        assert_eq!(sent[1], action[1]);
        // Without an observation in between the present position is read for it.
        wait(100);
        let sent = follower.send(&action, Instant::now()).unwrap();
        assert!((sent[0] - (present[0] + 4.0)).abs() < 0.1, "{sent:?}");
    });
}

#[test]
fn a_goal_that_is_no_position_does_not_cost_the_others_theirs() {
    with_arm(golden_robot, |sim, mut follower, wait| {
        let present = follower.observe(Instant::now()).unwrap().values;
        let mut action: Vec<f32> = present.iter().map(|value| value + 1.0).collect();
        action[2] = f32::NAN;
        wait(100);
        let sent = follower.send(&action, Instant::now()).unwrap();
        assert_eq!(sent[2], present[2]);
        assert_eq!((sent[0], sent[5]), (action[0], action[5]));
        wait(1000);
        let reached = follower.observe(Instant::now()).unwrap().values;
        for i in [0, 1, 3, 4, 5] {
            assert!((reached[i] - action[i]).abs() < 0.1, "{reached:?}");
        }
        let faults = follower.take_faults();
        assert_eq!(faults.len(), 1);
        assert_eq!(
            faults[0].to_string(),
            "the goal NaN for motor 3 (elbow_flex) is not a position; the motor keeps its last goal"
        );
        assert_eq!(sim.peek(3, reg::GOAL_POSITION), sim.peek(3, reg::PRESENT_POSITION));
        assert_eq!(follower.send(&action[..5], Instant::now()).unwrap_err().kind(), "goal");
    });
}

#[test]
fn after_a_pause_the_leader_is_approached_anew() {
    with_arm(golden_robot, |_, mut follower, wait| {
        let present = follower.observe(Instant::now()).unwrap().values;
        assert_eq!(follower.send(&present, Instant::now()).unwrap(), present);
        let far: Vec<f32> = present.iter().map(|value| value + 40.0).collect();
        wait(33);
        assert_eq!(follower.send(&far, Instant::now()).unwrap(), far, "caught up once, it follows at once");
        wait(3000);
        assert_eq!(follower.send(&present, Instant::now()).unwrap(), far, "the way begins here");
        wait(100);
        let sent = follower.send(&present, Instant::now()).unwrap();
        for (sent, far) in sent.iter().zip(&far) {
            assert!((far - sent - 9.0).abs() < 1e-3, "a tenth of a second's way: {sent} from {far}");
        }
    });
}
