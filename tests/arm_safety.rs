//! A follower that goes on: without its leader, with a leader that says nothing, with motors that something is wrong with. And
//! a follower that is never told to jump, nor to leave its range.

mod buses;
mod outages;
mod run_support;

use buses::*;
use outages::Outages;
use recorder::arm::feetech::registers as reg;
use recorder::arm::motors::Held;
use recorder::arm::sim::{Fault, SimBus, SimKind};
use recorder::arm::so101::{Follower, follower_ranges};
use recorder::arm::{ArmError, Motor, Reading, Robot, Teleop, open_teleop};
use recorder::clock::{Clock, Rank, SimulatedClock, Stamp};
use recorder::config::schema::{self, MotorPolicy, OnMotorFault};
use recorder::devices::Devices;
use recorder::events::{Event, Heard};
use run_support::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What a run in simulated time has left: its data set, its events, and what was said to follower and leader.
struct Played {
    dir: TempDir,
    events: Vec<Event>,
    follower: Said,
    leader: Said,
}

impl Played {
    fn rows(&self) -> Rows {
        Rows::read(&self.dir.path().join("set"), 0)
    }

    fn names(&self) -> Vec<&'static str> {
        self.events.iter().map(Event::name).collect()
    }
}

/// One episode of 4 s at 30 Hz; the first tick is 0.067 s and the first row 0.1 s after the start.
async fn play(overrides: &[(&str, &str)], prepare: impl FnOnce(&Buses), devices: Devices) -> Played {
    let (dir, clock) = (tempfile::tempdir().unwrap(), simulated());
    let buses = Buses::start(&clock);
    prepare(&buses);
    let [follower, leader]: [Receiver<Vec<u8>>; 2] = [buses.follower.tap(), buses.leader.tap()];
    let times = [("dataset.episode_time_s", "4"), ("dataset.num_episodes", "1"), ("dataset.encoder.codec", "copy")];
    let overrides = [&times[..], overrides].concat();
    let (running, status) =
        start_on(&config(SMALL, &dir.path().join("set"), &overrides), clock, buses.devices(devices)).await;
    running.wait().await.unwrap();
    let mut listener = status.events.listen_after(0);
    let events = std::iter::from_fn(|| listener.try_next()).map(|heard| match heard {
        Heard::Event(told) => told.event.clone(),
        Heard::Missed(n) => panic!("{n} events are gone"),
    });
    let events = events.collect();
    assert_eq!(buses.torque(), [0; 6], "let go of at the end");
    Played { dir, events, follower: Said::on(&follower), leader: Said::on(&leader) }
}

/// Rows for which a flag is set.
fn flagged(rows: &Rows, column: &str) -> Vec<usize> {
    rows.flags(column).iter().enumerate().filter(|(_, flag)| **flag).map(|(row, _)| row).collect()
}

/// The largest step of any motor from one goal to the next one.
fn largest_step(goals: &[Vec<(u8, i32)>]) -> i32 {
    let steps = goals.windows(2).flat_map(|pair| pair[0].iter().zip(&pair[1]).map(|((_, a), (_, b))| (a - b).abs()));
    steps.max().unwrap()
}

/// 120 rows, the tick before them, and one or two after them.
fn is_every_tick(count: usize) -> bool {
    (121..=123).contains(&count)
}

/// 90 degrees a second at 30 Hz are 3 degrees, 34.1 steps; the gripper's 3 of 100 are 44.7 of its 1490 steps.
const RAMP_STEPS: i32 = 45;

#[tokio::test(flavor = "multi_thread")]
async fn without_its_leader_the_follower_holds_and_then_approaches_it() {
    let played = play(&[], |_| {}, Outages::of(&[("leader", &[(1.5, 2.5)])]).devices()).await;
    // 0.25 s after the loss it is not back, and then half a second later neither, but a second after that.
    let rows = played.rows();
    let away = flagged(&rows, "arm/lost");
    assert!((41..=44).contains(&away[0]) && away.len() > 45 && away.is_sorted_by(|a, b| a + 1 == *b), "{away:?}");
    assert_eq!(flagged(&rows, "arm/action_reused"), away, "the leader's last word stands there");
    assert!(flagged(&rows, "arm/state_reused").is_empty(), "the follower is observed as ever");
    assert_eq!(
        played.names(),
        ["run_started", "take_started", "device_lost", "device_back", "episode_saved", "run_ended"]
    );
    let Event::DeviceLost { device, .. } = &played.events[2] else { panic!() };
    assert_eq!(device, "the leader");
    // The follower was connected once, and its torque is switched on once, and off before that and at the end.
    assert_eq!((played.follower.connections(), played.leader.connections()), (1, 2));
    let torque: Vec<i32> = played.follower.written(reg::TORQUE_ENABLE).iter().map(|(_, value)| *value).collect();
    assert_eq!(torque, [[0; 6], [1; 6], [0; 6]].concat());
    // No goal is sent meanwhile; then the leader, which has gone on, is not jumped at.
    let goals = played.follower.goals();
    assert!(is_every_tick(goals.len() + away.len()), "{} goals, away for {}", goals.len(), away.len());
    assert!(largest_step(&goals) <= RAMP_STEPS, "{}", largest_step(&goals));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_follower_the_leader_stays_open() {
    let played = play(&[], |_| {}, Outages::of(&[("follower", &[(1.5, 1.7)])]).devices()).await;
    let rows = played.rows();
    let away = flagged(&rows, "arm/lost");
    assert!((7..=9).contains(&away.len()), "{away:?}");
    assert_eq!((played.follower.connections(), played.leader.connections()), (2, 1));
    let Event::DeviceLost { device, .. } = &played.events[2] else { panic!() };
    assert_eq!(device, "the arm");
    assert!(largest_step(&played.follower.goals()) <= RAMP_STEPS);
}

/// A leader that is asked and does not answer, from its 31st to its 60th tick.
fn quiet_leader() -> Devices {
    struct Quiet(Box<dyn Teleop>, u32);
    impl Teleop for Quiet {
        fn features(&self) -> Vec<String> {
            self.0.features()
        }
        fn action(&mut self, deadline: Instant) -> Result<Reading, ArmError> {
            self.1 += 1;
            let motor = Motor { id: 1, name: "shoulder_pan" };
            match self.1 {
                31..61 => Err(ArmError::Timeout { port: "the test".into(), motor, waited: Duration::ZERO }),
                _ => self.0.action(deadline),
            }
        }
        fn shutdown(&mut self) -> Vec<ArmError> {
            self.0.shutdown()
        }
    }
    let teleop: recorder::devices::OpenTeleop = Arc::new(|config, clock| {
        Ok(open_teleop(config, clock)?.map(|leader| Box::new(Quiet(leader, 0)) as Box<dyn Teleop>))
    });
    Devices { teleop, ..Devices::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_says_nothing_commands_nothing_and_is_said_to() {
    let played = play(&[("teleop.ramp_s", "0")], |_| {}, quiet_leader()).await;
    let rows = played.rows();
    let reused = flagged(&rows, "arm/action_reused");
    // The first look is the one when it is connected; row k is the tick k + 1.
    assert_eq!(reused, (28..58).collect::<Vec<_>>());
    assert!(flagged(&rows, "arm/lost").is_empty(), "it is there");
    let expected = ["run_started", "take_started", "leader_silent", "leader_heard", "episode_saved", "run_ended"];
    assert_eq!(played.names(), expected);
    let goals = played.follower.goals();
    assert!(is_every_tick(goals.len() + 30), "not commanded: {}", goals.len());
    assert!(largest_step(&goals) <= RAMP_STEPS, "{}", largest_step(&goals));
}

/// The leader's joints stand still, each somewhere else.
fn still(buses: &Buses) {
    for (id, position) in IDS.into_iter().zip([1500, 2500, 1700, 2000, 2100, 1500]) {
        buses.leader.turn(id, position);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_to_the_leader_takes_its_time_and_all_joints_arrive_together() {
    for (ramp, ticks) in [("0", None), ("1.5", Some(45))] {
        let played = play(&[("teleop.ramp_s", ramp)], still, Devices::default()).await;
        let goals = played.follower.goals();
        let there = goals.last().unwrap();
        let last = goals.iter().position(|goal| goal == there).unwrap();
        // The farthest joint has at most 90 degrees to go.
        assert!(ticks.is_none_or(|ticks: usize| last.abs_diff(ticks) <= 1) && last > 10, "ramp {ramp}: {last}");
        // Half-way there, each joint is.
        let shares = (0..6).map(|i| {
            let [first, half, there] = [&goals[0], &goals[last / 2], there].map(|goal| f64::from(goal[i].1));
            (half - first) / (there - first)
        });
        let shares: Vec<f64> = shares.collect();
        assert!(shares.iter().all(|share| (share - shares[0]).abs() < 0.05), "ramp {ramp}: {shares:?}");
        assert!(largest_step(&goals) <= RAMP_STEPS);
        assert!(goals[last..].iter().all(|goal| goal == there), "there it stays");
    }
}

fn with_follower<C>(
    change: impl FnOnce(&mut schema::Robot) -> C,
    test: impl FnOnce(C, &SimBus, &mut Follower, &mut dyn FnMut(u64)),
) {
    let time = SimulatedClock::new(Stamp { mono_ns: 5_000_000_000, utc_ns: 0 });
    let clock: Arc<dyn Clock> = Arc::new(time.clone());
    let sim = SimBus::start(SimKind::Follower, clock.clone()).unwrap();
    let mut robot = schema::Robot {
        kind: schema::RobotKind::So101Follower,
        port: Some(sim.path().into()),
        id: Some("f1".into()),
        calibration_dir: Some(calibration("robots/so_follower")),
        ..Default::default()
    };
    let changed = change(&mut robot);
    let mut follower = Follower::connect(&robot, &clock).unwrap();
    let mut sleeper = time.join(Rank(0));
    let mut wait = |ms: u64| {
        sleeper.sleep_until(time.now().mono_ns + ms * 1_000_000);
    };
    test(changed, &sim, &mut follower, &mut wait);
}

/// Observes, sends an action and looks after the motors so many times, 50 ms apart; the goals that were sent last.
fn ticks(follower: &mut Follower, wait: &mut dyn FnMut(u64), count: u32, action: &[f32]) -> Vec<f32> {
    let mut sent = Vec::new();
    for _ in 0..count {
        wait(50);
        follower.observe(Instant::now()).unwrap();
        sent = follower.send(action, Instant::now()).unwrap();
        follower.look_after(Instant::now() + Duration::from_secs(60));
    }
    sent
}

#[test]
fn goals_stay_within_the_calibrated_range() {
    for degrees in [true, false] {
        let config = |robot: &mut schema::Robot| {
            robot.use_degrees = degrees;
            robot.clone()
        };
        with_follower(config, |robot, sim, follower, wait| {
            let ranges = follower_ranges(&robot).unwrap();
            for (register, far) in [(reg::MIN_POSITION_LIMIT, -500.0), (reg::MAX_POSITION_LIMIT, 500.0)] {
                let sent = ticks(follower, wait, 120, &[far; 6]);
                for (id, (goal, (low, high))) in IDS.into_iter().zip(sent.iter().zip(&ranges)) {
                    let limit = if far < 0.0 { low } else { high };
                    assert!((f64::from(*goal) - limit).abs() < 1e-4, "motor {id}: {goal}, {limit}");
                    assert_eq!(sim.peek(id, reg::GOAL_POSITION), sim.peek(id, register), "motor {id}");
                }
            }
        });
    }
}

/// A motor that complains: each policy, and what the others do.
#[test]
fn a_motor_with_a_fault_is_treated_as_configured() {
    for policy in [MotorPolicy::Warn, MotorPolicy::Hold, MotorPolicy::TorqueOff] {
        let policies = BTreeMap::from([("elbow_flex".to_string(), policy)]);
        with_follower(
            |robot| robot.on_motor_fault = OnMotorFault::ByMotor(policies),
            |(), sim, follower, wait| {
                let start = follower.observe(Instant::now()).unwrap().values;
                let near: Vec<f32> = start.iter().map(|value| value + 4.0).collect();
                let far: Vec<f32> = start.iter().map(|value| value + 20.0).collect();
                assert_eq!(ticks(follower, wait, 20, &near), near);
                follower.take_faults();
                // In each of 20 ticks motor 3 answers once for its position, and sometimes when it is asked how it is.
                sim.inject(Fault::ErrorBits(32), Some(3), 20);
                let sent = ticks(follower, wait, 10, &far);
                let health = &follower.health()[2];
                let kinds: Vec<_> = health.faults.iter().map(|fault| fault.kind).collect();
                assert_eq!((health.motor.as_str(), kinds), ("elbow_flex", vec!["overload"]), "{policy:?}");
                assert!(health.faults[0].reason.contains("motor 3 (elbow_flex) reports an error: overload"));
                let others = [0, 1, 3, 4, 5];
                others.iter().for_each(|i| assert_eq!(sent[*i], far[*i], "{policy:?}: the others go on"));
                let torque = IDS.map(|id| sim.peek(id, reg::TORQUE_ENABLE).unwrap());
                let expected = match policy {
                    MotorPolicy::Warn => {
                        assert_eq!((sent[2], health.held), (far[2], Held::No));
                        [1; 6]
                    }
                    MotorPolicy::Hold => {
                        assert!((sent[2] - near[2]).abs() < 0.1 && health.held == Held::Hold, "{sent:?}, {near:?}");
                        let here = sim.peek(3, reg::PRESENT_POSITION).unwrap();
                        assert!((sim.peek(3, reg::GOAL_POSITION).unwrap() - here).abs() <= 1);
                        [1; 6]
                    }
                    MotorPolicy::TorqueOff => {
                        assert!((sent[2] - near[2]).abs() < 0.1 && health.held == Held::Limp);
                        [1, 1, 0, 1, 1, 1]
                    }
                };
                assert_eq!(torque, expected, "{policy:?}");
                // It complains no more: a second later that is over, and the joint catches up by the ramp.
                let mut goals = Vec::new();
                for _ in 0..60 {
                    goals.push(ticks(follower, wait, 1, &far)[2]);
                }
                assert!(follower.health().iter().all(|health| health.faults.is_empty()), "{policy:?}");
                let jump = goals.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
                assert!(jump <= 4.501, "{policy:?}: {jump} in 50 ms");
                let limp = policy == MotorPolicy::TorqueOff;
                assert_eq!(goals[59] == far[2], !limp, "{policy:?}: {goals:?}");
                assert_eq!(sim.peek(3, reg::TORQUE_ENABLE), Some(i32::from(!limp)), "for good");
                assert!(follower.take_faults().iter().all(|fault| fault.motor().is_none_or(|motor| motor.id == 3)));
            },
        );
    }
}

/// Even when there is no leader, and so no goal, a motor is not left pushing.
#[test]
fn a_fault_is_dealt_with_without_a_leader() {
    for (policy, register) in [(MotorPolicy::Hold, reg::GOAL_POSITION), (MotorPolicy::TorqueOff, reg::TORQUE_ENABLE)] {
        with_follower(
            |robot| robot.on_motor_fault = OnMotorFault::All(policy),
            |(), sim, follower, wait| {
                let start = follower.observe(Instant::now()).unwrap().values;
                ticks(follower, wait, 5, &start);
                // Somebody pushes the joint away.
                sim.poke(2, reg::TORQUE_ENABLE, 0);
                sim.turn(2, 1700);
                sim.poke(2, reg::TORQUE_ENABLE, 1);
                sim.inject(Fault::ErrorBits(32), Some(2), 1);
                wait(50);
                follower.observe(Instant::now()).unwrap();
                let here = sim.peek(2, reg::PRESENT_POSITION).unwrap();
                follower.look_after(Instant::now() + Duration::from_secs(60));
                let expected = if policy == MotorPolicy::Hold { here } else { 0 };
                assert!((sim.peek(2, register).unwrap() - expected).abs() <= 1, "{policy:?}");
            },
        );
    }
}

#[test]
fn motors_are_asked_one_after_the_other_and_only_when_there_is_time() {
    with_follower(
        |robot| (robot.max_temperature_c, robot.on_motor_fault) = (50.0, OnMotorFault::All(MotorPolicy::Hold)),
        |(), sim, follower, wait| {
            sim.poke(6, reg::PRESENT_TEMPERATURE, 51);
            sim.poke(6, reg::PRESENT_VOLTAGE, 119);
            sim.poke(6, reg::PRESENT_LOAD, -250);
            let start = follower.observe(Instant::now()).unwrap().values;
            let tap = sim.tap();
            follower.look_after(Instant::now());
            assert_eq!(tap.try_iter().count(), 0, "there is no time");
            for id in IDS {
                follower.look_after(Instant::now() + Duration::from_secs(60));
                let said: Vec<Vec<u8>> = tap.try_iter().collect();
                assert_eq!(said.len(), 1, "{said:02X?}");
                assert_eq!(
                    (said[0][2], said[0][4], said[0][5], said[0][6]),
                    (id, 0x02, 60, 4),
                    "one read of four bytes"
                );
            }
            let health = follower.health();
            assert_eq!((health[0].temperature_c, health[0].voltage_v, health[0].load), (31.0, 7.4, 0.0));
            assert_eq!((health[5].temperature_c, health[5].voltage_v, health[5].load), (51.0, 11.9, -0.25));
            assert!(health[..5].iter().all(|health| health.faults.is_empty()));
            assert_eq!((health[5].faults[0].kind, health[5].held), ("overheat", Held::Hold));
            let sent = ticks(follower, wait, 10, &start.iter().map(|value| value + 3.0).collect::<Vec<_>>());
            assert!((sent[5] - start[5]).abs() < 0.1 && (sent[0] - start[0] - 3.0).abs() < 1e-3, "{sent:?}");
        },
    );
}
