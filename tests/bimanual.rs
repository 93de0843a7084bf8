//! Two arms as one robot: the data set that is recorded with them, and what becomes of an arm that does not answer.

mod run_support;

use arrow_array::{Array, FixedSizeListArray, Float32Array};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use recorder::arm::feetech::registers as reg;
use recorder::arm::motors::Held;
use recorder::arm::sim::{Fault, SimBus, SimKind};
use recorder::arm::{ArmError, LONGEST_SILENCE, Robot, Teleop, open_robot, open_teleop, so101};
use recorder::clock::Clock;
use recorder::codec::backend;
use recorder::config::schema::{self, FollowerArm, LeaderArm, MotorPolicy, OnMotorFault, RobotKind, TeleopKind};
use run_support::*;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PAIR: &str = r#"
[robot]
type = "bi_so101_follower"
[robot.left_arm_config]
port = "sim"
[robot.right_arm_config]
port = "sim"
use_degrees = false
[robot.cameras.top]
type = "synthetic"
width = 160
height = 120
realtime = false
[teleop]
type = "bi_so101_leader"
[teleop.left_arm_config]
port = "sim"
[teleop.right_arm_config]
port = "sim"
use_degrees = false
[dataset]
repo_id = "lab/pair"
single_task = "Fold the towel"
episode_time_s = 1.5
reset_time_s = 0.5
num_episodes = 2
[limits]
min_free_gib = 0
"#;

/// A column of vectors of an episode.
fn vectors(root: &Path, episode: usize, column: &str) -> Vec<Vec<f32>> {
    let file = std::fs::File::open(root.join(format!("data/chunk-000/file-{episode:03}.parquet"))).unwrap();
    let mut reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().with_batch_size(1 << 20).build().unwrap();
    let batch = reader.next().unwrap().unwrap();
    let column = batch.column_by_name(column).unwrap().as_any().downcast_ref::<FixedSizeListArray>().unwrap();
    let values = |k| column.value(k).as_any().downcast_ref::<Float32Array>().unwrap().values().to_vec();
    (0..column.len()).map(values).collect()
}

fn info(root: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(root.join("meta/info.json")).unwrap()).unwrap()
}

/// LeRobot's names in LeRobot's order, and in each half just what a single arm of that set-up records.
#[tokio::test(flavor = "multi_thread")]
async fn a_pair_records_what_two_single_arms_do() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("pair");
    record(&config(PAIR, &root, &[]), simulated(), backend::standard()).await;
    check(&root);
    let (info, plain) = (info(&root), so101::features());
    let named = |prefix: &str| plain.iter().map(|name| format!("{prefix}_{name}")).collect::<Vec<_>>();
    let names = serde_json::json!([named("left"), named("right")].concat());
    assert_eq!(info["robot_type"], "bi_so_follower");
    for feature in ["action", "observation.state"] {
        assert_eq!(info["features"][feature]["names"], names);
        assert_eq!(info["features"][feature]["shape"], serde_json::json!([12]));
    }
    assert_eq!(names[0], "left_shoulder_pan.pos");
    assert_eq!(names[11], "right_gripper.pos");
    let single = |degrees: &'static str| {
        let root = dir.path().join(degrees);
        let units = [("robot.use_degrees", degrees), ("teleop.use_degrees", degrees)];
        let config = config(SMALL, &root, &units);
        async move {
            record(&config, simulated(), backend::standard()).await;
            root
        }
    };
    let (left, right) = (single("true").await, single("false").await);
    for episode in 0..2 {
        for column in ["action", "observation.state"] {
            let [pair, left, right] = [&root, &left, &right].map(|root| vectors(root, episode, column));
            assert_ne!(left, right, "the halves can be told apart");
            let joined: Vec<_> = left.into_iter().zip(right).map(|(left, right)| [left, right].concat()).collect();
            assert_eq!(pair, joined, "{column} of episode {episode}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_motion_is_replayed_on_a_pair() {
    let dir = tempfile::tempdir().unwrap();
    let (original, root) = (dir.path().join("original"), dir.path().join("set"));
    record(&config(PAIR, &original, &[]), simulated(), backend::standard()).await;
    let path = original.display().to_string();
    let speeds = (so101::features().iter())
        .flat_map(|name| ["left", "right"].map(|side| format!("{side}_{} = 170", name.trim_end_matches(".pos"))))
        .collect::<Vec<_>>()
        .join(", ");
    let speeds = format!("{{ {speeds} }}");
    // A replay has no ports.
    let text = PAIR.replace("[teleop.left_arm_config]\nport = \"sim\"\n", "");
    let text = text.replace("[teleop.right_arm_config]\nport = \"sim\"\nuse_degrees = false\n", "");
    let replay =
        [("teleop.type", "replay"), ("teleop.path", &path), ("teleop.episode", "1"), ("teleop.max_speed", &speeds)];
    record(&config(&text, &root, &replay), simulated(), backend::standard()).await;
    check(&root);
    let led = vectors(&original, 1, "action");
    assert_eq!(led[0].len(), 12);
    for episode in 0..2 {
        assert_eq!(vectors(&root, episode, "action"), led, "episode {episode}");
    }
}

/// Where the test keeps `pair_left.json` and `pair_right.json`.
fn calibrations(kind: SimKind) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for side in ["left", "right"] {
        std::fs::write(dir.path().join(format!("pair_{side}.json")), kind.calibration().to_json()).unwrap();
    }
    dir
}

/// Two buses that the test holds, and their clock.
fn buses(kind: SimKind) -> ([SimBus; 2], Arc<dyn Clock>) {
    let clock = real();
    ([(); 2].map(|()| SimBus::start(kind, clock.clone()).unwrap()), clock)
}

fn followers(buses: &[SimBus; 2], clock: &Arc<dyn Clock>) -> Result<Box<dyn Robot>, ArmError> {
    let calibrations = calibrations(SimKind::Follower);
    let [left_arm_config, right_arm_config] =
        buses.each_ref().map(|bus| Some(FollowerArm { port: Some(bus.path().into()), ..FollowerArm::default() }));
    let config = schema::Robot {
        kind: RobotKind::BiSo101Follower,
        id: Some("pair".into()),
        calibration_dir: Some(calibrations.path().into()),
        left_arm_config,
        right_arm_config,
        ..schema::Robot::default()
    };
    open_robot(&config, clock).map(Option::unwrap)
}

fn leaders(buses: &[SimBus; 2], clock: &Arc<dyn Clock>) -> Box<dyn Teleop> {
    let calibrations = calibrations(SimKind::Leader);
    let [left_arm_config, right_arm_config] =
        buses.each_ref().map(|bus| Some(LeaderArm { port: Some(bus.path().into()), ..LeaderArm::default() }));
    let config = schema::Teleop {
        kind: TeleopKind::BiSo101Leader,
        id: Some("pair".into()),
        calibration_dir: Some(calibrations.path().into()),
        left_arm_config,
        right_arm_config,
        ..schema::Teleop::default()
    };
    open_teleop(&config, clock).unwrap().unwrap()
}

/// Only what hangs takes so long.
fn amply() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// Time enough for an arm that answers, however busy the machine is, and an end for one that does not.
fn soon() -> Instant {
    Instant::now() + Duration::from_millis(300)
}

/// Every further reply of a bus.
const ALL: usize = 1 << 20;

/// The silent arm's last values stand in the row, marked, and the other one's are new.
#[test]
fn an_arm_that_does_not_answer_does_not_cost_the_other_one_its_row() {
    for (silent, reused) in [(0, 0..6), (1, 6..12)] {
        let (buses, clock) = buses(SimKind::Leader);
        let turn = |to: i32| buses.iter().for_each(|bus| (1..=6).for_each(|motor| bus.turn(motor, to)));
        turn(2000);
        let mut pair = leaders(&buses, &clock);
        let before = pair.action(amply()).unwrap();
        assert_eq!((before.values.len(), before.reused.len()), (12, 0));
        pair.take_faults();
        turn(1500);
        buses[silent].inject(Fault::Lost, None, ALL);
        let during = pair.action(soon()).unwrap();
        assert_eq!(during.reused, reused.clone().collect::<Vec<_>>());
        for index in 0..12 {
            let stands = during.values[index] == before.values[index];
            assert_eq!(stands, reused.contains(&index), "{index}: {before:?}, {during:?}");
        }
        // When no motor answers it is the arm that is named, by its port.
        let faults: Vec<String> = pair.take_faults().iter().map(ToString::to_string).collect();
        let place = format!("{}:", buses[silent].path());
        assert!(!faults.is_empty() && faults.iter().all(|fault| fault.starts_with(&place)), "{faults:?}");
    }
}

/// A pair without one of its arms is lost, as a single arm would be; silence of both is an error at once.
#[test]
fn silence_of_one_for_long_or_of_both_is_an_error() {
    let (buses, clock) = buses(SimKind::Leader);
    let mut pair = leaders(&buses, &clock);
    pair.action(amply()).unwrap();
    buses[1].inject(Fault::Lost, None, ALL);
    let start = Instant::now();
    let error = loop {
        match pair.action(soon()) {
            Ok(reading) => assert_eq!(reading.reused, [6, 7, 8, 9, 10, 11]),
            Err(error) => break error,
        }
    };
    assert!(start.elapsed() > LONGEST_SILENCE, "{error}");
    let place = format!("{}:", buses[1].path());
    assert!(error.kind() == "timeout" && error.to_string().starts_with(&place), "{error}");
    buses[0].inject(Fault::Lost, None, ALL);
    let error = pair.action(soon()).unwrap_err();
    assert_eq!(error.kind(), "timeout");
}

/// Whatever becomes of one arm, the other one is not left with torque.
#[test]
fn torque_off_is_tried_on_both_arms() {
    for lost in [0, 1] {
        let (buses, clock) = buses(SimKind::Follower);
        let mut pair = followers(&buses, &clock).unwrap();
        assert_eq!(buses.each_ref().map(|bus| bus.peek(6, reg::TORQUE_ENABLE)), [Some(1); 2]);
        let mut buses = buses.map(Some);
        buses[lost] = None;
        let error = pair.observe(soon()).unwrap_err();
        assert!(error.is_fatal(), "{error}");
        let errors = pair.shutdown();
        assert!(!errors.is_empty() && errors.iter().all(ArmError::is_fatal), "{errors:?}");
        let left = buses.iter().flatten().next().unwrap();
        assert_eq!((1..=6).map(|id| left.peek(id, reg::TORQUE_ENABLE)).collect::<Vec<_>>(), [Some(0); 6]);
    }
}

/// An arm that cannot be opened keeps the other one from having torque.
#[test]
fn a_pair_is_opened_as_a_whole_or_not_at_all() {
    let (buses, clock) = buses(SimKind::Follower);
    buses[1].poke(3, reg::MODEL, 1);
    let error = followers(&buses, &clock).err().unwrap();
    assert_eq!((error.kind(), error.motor().unwrap().name), ("motors", "right_elbow_flex"));
    for id in 1..=6 {
        assert_eq!(buses[0].peek(id, reg::TORQUE_ENABLE), Some(0));
    }
}

/// Goals go to the arm that they are for, and answers come from it.
#[test]
fn each_arm_is_given_its_own_goals() {
    let (buses, clock) = buses(SimKind::Follower);
    let mut pair = followers(&buses, &clock).unwrap();
    let present = pair.observe(amply()).unwrap().values;
    let mut goals = present.clone();
    (goals[0], goals[6]) = (present[0] + 1.0, present[6] - 1.0);
    assert_eq!(pair.send(&goals, amply()).unwrap().len(), 12);
    let goal = |bus: usize| buses[bus].peek(1, reg::GOAL_POSITION).unwrap();
    while pair.send(&goals, amply()).unwrap() != goals {
        std::thread::yield_now();
    }
    // Goals are not answered; what comes after them on the same bus is.
    pair.observe(amply()).unwrap();
    // A degree has 11.4 steps, and a goal is cut off to a whole one.
    let moved = [goal(0) - 2075, 2075 - goal(1)];
    assert!(moved.iter().all(|steps| (10..=12).contains(steps)), "{moved:?}");
    let error = pair.send(&goals[..6], amply()).unwrap_err();
    assert!(error.to_string().contains("6 values, expected 12"), "{error}");
}

/// Motors are asked in turn on both buses, by the robot's names; what is configured for one becomes of that one.
#[test]
fn motors_are_looked_after_by_their_names() {
    let (buses, clock) = buses(SimKind::Follower);
    let calibrations = calibrations(SimKind::Follower);
    let arm = |bus: &SimBus| Some(FollowerArm { port: Some(bus.path().into()), ..FollowerArm::default() });
    let config = schema::Robot {
        kind: RobotKind::BiSo101Follower,
        id: Some("pair".into()),
        calibration_dir: Some(calibrations.path().into()),
        left_arm_config: arm(&buses[0]),
        right_arm_config: arm(&buses[1]),
        on_motor_fault: OnMotorFault::ByMotor([("right_gripper".to_string(), MotorPolicy::TorqueOff)].into()),
        ..schema::Robot::default()
    };
    let mut pair = open_robot(&config, &clock).unwrap().unwrap();
    pair.observe(amply()).unwrap();
    for bus in &buses {
        bus.poke(6, reg::PRESENT_TEMPERATURE, 65);
    }
    let torque = |bus: usize| buses[bus].peek(6, reg::TORQUE_ENABLE).unwrap();
    let start = Instant::now();
    while torque(1) == 1 {
        pair.look_after(amply());
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", pair.health());
    }
    assert_eq!(torque(0), 1);
    let health = pair.health();
    let names: Vec<String> = pair.features().iter().map(|name| name.trim_end_matches(".pos").to_string()).collect();
    assert_eq!(health.iter().map(|health| health.motor.clone()).collect::<Vec<_>>(), names);
    assert_eq!((health[11].temperature_c, health[11].held), (65.0, Held::Limp));
    assert_eq!(health[11].faults[0].kind, "overheat");
    assert!(health[..11].iter().all(|health| health.held == Held::No));
}

/// The position loop's coefficients are the configuration's, for each arm its own.
#[test]
fn coefficients_are_written() {
    let (buses, clock) = buses(SimKind::Follower);
    let calibrations = calibrations(SimKind::Follower);
    let arm = |bus: &SimBus| FollowerArm { port: Some(bus.path().into()), ..FollowerArm::default() };
    let config = schema::Robot {
        kind: RobotKind::BiSo101Follower,
        id: Some("pair".into()),
        calibration_dir: Some(calibrations.path().into()),
        left_arm_config: Some(FollowerArm { position_p_coefficient: 20, ..arm(&buses[0]) }),
        right_arm_config: Some(FollowerArm { position_i_coefficient: 3, position_d_coefficient: 30, ..arm(&buses[1]) }),
        ..schema::Robot::default()
    };
    let _pair = open_robot(&config, &clock).unwrap();
    let registers = [reg::P_COEFFICIENT, reg::I_COEFFICIENT, reg::D_COEFFICIENT];
    for id in 1..=6 {
        assert_eq!(registers.map(|register| buses[0].peek(id, register).unwrap()), [20, 0, 32]);
        assert_eq!(registers.map(|register| buses[1].peek(id, register).unwrap()), [16, 3, 30]);
    }
}
