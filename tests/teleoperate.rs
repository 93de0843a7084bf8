//! `recorder teleoperate` and `recorder replay`: simulated buses in simulated time, and the program itself.

mod program;
mod run_support;
mod terminal_support;

use arrow_array::{Array, FixedSizeListArray, Float32Array};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use program::{Lab, PATIENCE, Running, Signal};
use recorder::arm::feetech::registers as reg;
use recorder::arm::sim::{Fault, SimBus, SimKind};
use recorder::clock::Clock;
use recorder::codec::backend;
use recorder::config::Config;
use recorder::devices::Devices;
use recorder::teleoperate::{self, Doing, Meters, Source, TeleoperateError, Torque};
use run_support::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use terminal_support::Terminal;

/// Arms on buses that the test holds.
struct Arms {
    clock: Arc<dyn Clock>,
    follower: Option<SimBus>,
    leader: Option<SimBus>,
    dir: tempfile::TempDir,
    config: Config,
}

impl Arms {
    fn new(clock: Arc<dyn Clock>, overrides: &[(&str, &str)]) -> Arms {
        let bus = |kind| Some(SimBus::start(kind, clock.clone()).unwrap());
        let (follower, leader) = (bus(SimKind::Follower), bus(SimKind::Leader));
        let dir = tempfile::tempdir().unwrap();
        for (id, kind) in [("f", SimKind::Follower), ("l", SimKind::Leader)] {
            std::fs::write(dir.path().join(format!("{id}.json")), kind.calibration().to_json()).unwrap();
        }
        let path = dir.path().display().to_string();
        let keys = [
            ("robot.id", "f"),
            ("teleop.id", "l"),
            ("robot.calibration_dir", &path),
            ("teleop.calibration_dir", &path),
        ];
        let mut config = (*config(SMALL, dir.path(), &[&keys[..], overrides].concat())).clone();
        // Cameras in simulated time want simulated arms, and nothing opens them here.
        config.robot.cameras.clear();
        // With ports of its own nobody could look at the simulated arms from outside.
        config.robot.port = follower.as_ref().map(|bus| bus.path().to_string());
        config.teleop.port = leader.as_ref().map(|bus| bus.path().to_string());
        Arms { clock, follower, leader, dir, config }
    }

    /// Follows, or plays, as long as `watch` wants.
    fn run(&self, source: Source, mut watch: impl FnMut(&Meters) -> bool) -> Result<Meters, TeleoperateError> {
        teleoperate::run(&self.config, &Devices::default(), &self.clock, source, &mut watch)
    }

    fn torque(&self) -> Vec<i32> {
        let bus = self.follower.as_ref().unwrap();
        (1..=6).map(|id| bus.peek(id, reg::TORQUE_ENABLE).unwrap()).collect()
    }
}

/// How far apart the arms are, in normalised units, at most.
fn apart(meters: &Meters) -> f32 {
    let joints = meters.joints.iter();
    joints.map(|joint| (joint.leader.unwrap() - joint.follower.unwrap()).abs()).fold(0.0, f32::max)
}

#[test]
fn the_follower_goes_where_the_leader_is() {
    let arms = Arms::new(simulated(), &[]);
    let leader = arms.leader.as_ref().unwrap();
    // Not too far from its middle, in both arms' ranges.
    [2200, 1900, 2000, 2100, 1500, 1800].iter().zip(1..).for_each(|(at, id)| leader.turn(id, *at));
    let (mut first, mut torque) = (None, Vec::new());
    let meters = arms
        .run(Source::Leader, |meters| {
            first.get_or_insert(apart(meters));
            torque = arms.torque();
            meters.ticks < 150
        })
        .unwrap();
    assert!(first.unwrap() > 10.0, "it begins elsewhere");
    // A step of the follower, and one of the leader.
    assert!(apart(&meters) < 0.2, "{:?}", meters.joints);
    assert_eq!((meters.ticks, meters.missed, meters.doing), (150, 0, Doing::Following));
    assert!((meters.rate() - 30.0).abs() < 0.01, "{}", meters.rate());
    assert_eq!((torque, arms.torque()), (vec![1; 6], vec![0; 6]));
    assert_eq!((meters.torque, meters.errors.len()), (Torque::Off, 0), "{:?}", meters.errors);
}

#[test]
fn torque_stays_on_where_the_configuration_says_so() {
    let arms = Arms::new(simulated(), &[("robot.disable_torque_on_disconnect", "false")]);
    let meters = arms.run(Source::Leader, |meters| meters.ticks < 5).unwrap();
    assert_eq!((arms.torque(), meters.torque), (vec![1; 6], Torque::On));
}

/// A column of vectors of an episode.
fn vectors(root: &Path, episode: usize, column: &str) -> Vec<Vec<f32>> {
    let file = std::fs::File::open(root.join(format!("data/chunk-000/file-{episode:03}.parquet"))).unwrap();
    let mut reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().with_batch_size(1 << 20).build().unwrap();
    let batch = reader.next().unwrap().unwrap();
    let column = batch.column_by_name(column).unwrap().as_any().downcast_ref::<FixedSizeListArray>().unwrap();
    let values = |k| column.value(k).as_any().downcast_ref::<Float32Array>().unwrap().values().to_vec();
    (0..column.len()).map(values).collect()
}

fn goals(meters: &Meters) -> Vec<f32> {
    meters.joints.iter().map(|joint| joint.leader.unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_episodes_actions_are_played() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("original");
    record(&config(SMALL, &root, &[]), simulated(), backend::standard()).await;
    let led = vectors(&root, 1, "action");
    let arms = Arms::new(simulated(), &[("teleop.ramp_s", "1"), ("teleop.max_speed", "170")]);
    let motion = teleoperate::motion(&arms.config, &root, 1).unwrap();
    let (mut played, mut approached, mut fastest) = (Vec::new(), 0, 0f32);
    let mut last: Option<Vec<f32>> = None;
    let meters = arms
        .run(motion, |meters| {
            match meters.doing {
                Doing::Approaching => approached += 1,
                Doing::Playing { .. } => played.push(goals(meters)),
                Doing::Resting | Doing::Following => {}
            }
            let goals = goals(meters);
            for (a, b) in last.iter().flatten().zip(&goals) {
                fastest = fastest.max((a - b).abs() * 30.0);
            }
            last = Some(goals);
            true
        })
        .unwrap();
    assert_eq!(played, led);
    assert_eq!(meters.doing, Doing::Resting);
    assert!(approached >= 30 + 15, "a second's way and half a second's rest: {approached}");
    assert!(fastest <= 170.1, "{fastest}");
    assert!(apart(&meters) < 0.2, "it ends in the last pose: {:?}", meters.joints);
    assert_eq!(goals(&meters), led[led.len() - 1]);
    assert_eq!((arms.torque(), meters.torque), (vec![0; 6], Torque::Off));
}

/// A motion that the arm may not follow as fast is played to its end all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_motion_that_is_too_fast_comes_later_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("original");
    record(&config(SMALL, &root, &[]), simulated(), backend::standard()).await;
    let led = vectors(&root, 0, "action");
    let arms = Arms::new(simulated(), &[("teleop.max_speed", "5")]);
    let motion = teleoperate::motion(&arms.config, &root, 0).unwrap();
    let meters = arms.run(motion, |_| true).unwrap();
    assert_eq!(goals(&meters), led[led.len() - 1]);
    let missing = teleoperate::motion(&arms.config, &root, 9).err().unwrap();
    assert!(missing.to_string().contains("expected an episode 9, found episodes 0 to 1"), "{missing}");
    assert_eq!(missing.exit_code(), 4);
}

#[test]
fn a_leader_that_misses_a_tick_does_not_move_the_arm() {
    let arms = Arms::new(simulated(), &[]);
    let leader = arms.leader.as_ref().unwrap();
    let meters = arms
        .run(Source::Leader, |meters| {
            if meters.ticks == 10 {
                leader.inject(Fault::BadChecksum, Some(2), 1);
            }
            meters.ticks < 40
        })
        .unwrap();
    let tallies: Vec<_> = meters.errors.iter().map(|(at, tally)| (*at, tally.count)).collect();
    assert_eq!(tallies, [(("leader", "checksum"), 1)]);
}

/// Whatever ends it, the follower's motors are left without torque.
#[test]
fn torque_is_off_after_every_end() {
    // The leader is unplugged.
    let mut arms = Arms::new(simulated(), &[]);
    let mut leader = arms.leader.take();
    let error = arms
        .run(Source::Leader, |meters| {
            if meters.ticks == 5 {
                leader = None;
            }
            assert!(meters.ticks < 1000, "nobody has noticed");
            true
        })
        .unwrap_err();
    assert!(matches!(error, TeleoperateError::Lost { arm: "leader", .. }), "{error}");
    assert_eq!((arms.torque(), error.exit_code()), (vec![0; 6], 3));
    // There is no leader to begin with.
    let error = arms.run(Source::Leader, |_| true).unwrap_err();
    assert!(matches!(error, TeleoperateError::Unusable { arm: "leader", .. }), "{error}");
    assert_eq!((arms.torque(), error.exit_code()), (vec![0; 6], 3));
    // Something panics in the loop.
    let arms = Arms::new(simulated(), &[]);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        arms.run(Source::Leader, |meters| {
            assert!(meters.ticks < 5, "the test's panic");
            true
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(arms.torque(), [0; 6]);
    // The clock is stopped, as a signal does it.
    let arms = Arms::new(simulated(), &[]);
    let meters = arms
        .run(Source::Leader, |meters| {
            if meters.ticks == 5 {
                arms.clock.stop();
            }
            true
        })
        .unwrap();
    assert_eq!((meters.ticks, arms.torque()), (5, vec![0; 6]));
    // One of the follower's motors does not answer any more: the others are switched off, and it is said.
    let arms = Arms::new(real(), &[]);
    let follower = arms.follower.as_ref().unwrap();
    let meters = arms
        .run(Source::Leader, |meters| {
            if meters.ticks == 5 {
                follower.inject(Fault::Lost, Some(3), 1 << 20);
            }
            meters.ticks < 5
        })
        .unwrap();
    assert_eq!(meters.torque, Torque::InDoubt);
    assert_eq!(arms.torque(), [0; 6], "it hears, though it does not answer");
    drop(arms.dir);
}

/// The follower is unplugged in the middle: what the loop says. Its motors are out of reach.
#[test]
fn a_follower_that_is_lost_ends_it() {
    let mut arms = Arms::new(simulated(), &[]);
    let mut follower = arms.follower.take();
    let error = arms
        .run(Source::Leader, |meters| {
            if meters.ticks == 5 {
                follower = None;
            }
            assert!(meters.ticks < 1000, "nobody has noticed");
            true
        })
        .unwrap_err();
    assert!(matches!(error, TeleoperateError::Lost { arm: "follower", .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("was lost") && text.contains("torque-off was tried on every motor"), "{text}");
}

/// Arguments of a run of the program whose arms are on buses of the test's.
fn arguments(arms: &Arms, command: &[&str]) -> Vec<String> {
    let mut arguments = [command, &["--config", "lab.toml", "--robot.id=f", "--teleop.id=l"]].concat();
    let dir = arms.dir.path().display().to_string();
    let keys: Vec<String> = [("robot", &arms.config.robot.port), ("teleop", &arms.config.teleop.port)]
        .iter()
        .flat_map(|(table, port)| {
            let port = port.as_deref().unwrap();
            [format!("--{table}.calibration_dir={dir}"), format!("--{table}.port={port}")]
        })
        .collect();
    arguments.extend(keys.iter().map(String::as_str));
    arguments.into_iter().map(String::from).collect()
}

/// Such a run.
fn start(lab: &Lab, arms: &Arms, command: &[&str]) -> Running {
    let mut program = lab.command(env!("CARGO_BIN_EXE_recorder"));
    program.args(arguments(arms, command));
    Running::of(program)
}

/// Somebody has pressed Ctrl-S: the table stands still, the arm does not.
#[test]
fn a_stopped_terminal_does_not_stop_the_arm() {
    let (lab, arms) = (Lab::new(), Arms::new(real(), &[]));
    let arguments = arguments(&arms, &["teleoperate"]);
    let mut terminal = Terminal::run(&lab, 100, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    terminal.wait_for("Ctrl-C, Esc or q: end, with torque off");
    terminal.stop();
    let (leader, follower) = (arms.leader.as_ref().unwrap(), arms.follower.as_ref().unwrap());
    let talk = follower.tap();
    let goal = || follower.peek(1, reg::GOAL_POSITION).unwrap();
    // Long enough for many tables; then it follows still.
    (0..100).for_each(|_| drop(talk.recv_timeout(PATIENCE).expect("the loop stands still")));
    let before = goal();
    leader.turn(1, 2600);
    while goal() == before {
        talk.recv_timeout(PATIENCE).expect("the loop stands still");
    }
    terminal.resume();
    terminal.press("q");
    assert_eq!(terminal.end("the follower's torque is off"), Some(0));
    assert_eq!(arms.torque(), [0; 6]);
}

#[test]
fn without_a_terminal_there_are_lines_and_signals_end_it() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let (lab, arms) = (Lab::new(), Arms::new(real(), &[]));
        let mut running = start(&lab, &arms, &["teleoperate"]);
        let line = running.wait_for("following the leader");
        assert!(line.contains("of 30 Hz") && line.contains("follower p50"), "{line}");
        assert_eq!(arms.torque(), [1; 6]);
        running.signal(signal);
        let ended = running.wait();
        assert_eq!(ended.code, Some(code), "{}", ended.text);
        assert!(ended.text.contains("the follower's torque is off"), "{}", ended.text);
        assert_eq!(arms.torque(), [0; 6]);
        assert!(!lab.root().exists(), "nothing is recorded");
    }
}

#[test]
fn the_program_plays_an_episode() {
    let lab = Lab::new();
    let ended = lab.record(&["--dataset.num_episodes=1"]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    let before = lab.tree();
    let arms = Arms::new(real(), &[]);
    let running = start(&lab, &arms, &["replay", "data/set", "--episode", "0", "--teleop.ramp_s=0.2"]);
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert!(ended.text.contains("replay: action of episode 0 of data/set, 15 poses"), "{}", ended.text);
    assert_eq!(arms.torque(), [0; 6]);
    assert!(lab.tree() == before, "nothing is recorded");
    let refused = |arguments: &[&str], code, part: &str| {
        let ended = lab.run(&[arguments, &["--config", "lab.toml"]].concat());
        assert_eq!(ended.code, Some(code), "{}", ended.text);
        assert!(ended.text.contains(part), "`{part}` is not in {}", ended.text);
    };
    refused(&["replay", "data/set", "--episode", "7"], 4, "expected an episode 7");
    refused(&["replay", "nowhere", "--episode", "0"], 4, "nowhere");
    let off = ["--robot.type=none", "--teleop.type=none"];
    refused(&[&["teleoperate"], &off[..]].concat(), 2, "expected an arm");
    refused(&[&["replay", "data/set", "--episode", "0"], &off[..]].concat(), 2, "robot.type");
    let dir = arms.dir.path().display().to_string();
    let known = ["--robot.id=f", &format!("--robot.calibration_dir={dir}")];
    refused(&[&["teleoperate", "--robot.port=/dev/nowhere"], &known[..]].concat(), 3, "no serial port /dev/nowhere");
}
