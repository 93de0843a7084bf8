//! However a run ends, no motor is left with torque.

mod buses;
mod program;
mod run_support;

use buses::*;
use program::{Lab, Running, Signal};
use recorder::actors::recorder::RunError;
use recorder::actors::writer::OnSaved;
use recorder::arm::feetech::registers as reg;
use recorder::arm::sim::Fault;
use recorder::arm::{ArmError, Health, Reading, Robot, open_robot};
use recorder::camera::{self, Camera, CameraError, Mode, Picture};
use recorder::codec::backend::{self, OpenEncoder};
use recorder::devices::Devices;
use recorder::run::{self, Parts};
use recorder::status;
use run_support::*;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A run of the program that records now, with torque on every motor.
fn recording(lab: &Lab, buses: &Buses, overrides: &[&str]) -> Running {
    let ports = buses.arguments();
    let overrides: Vec<&str> = ports.iter().map(String::as_str).chain(overrides.iter().copied()).collect();
    let mut running = lab.start(&overrides);
    running.wait_for("recording episode 1");
    assert_eq!(buses.torque(), [1; 6]);
    running
}

fn is_let_go_of(buses: &Buses, name: &str) {
    assert_eq!(buses.torque(), [0; 6], "{name}");
    IDS.iter().for_each(|id| assert_eq!(buses.follower.peek(*id, reg::LOCK), Some(0), "{name}, motor {id}"));
}

const ENDLESS: [&str; 2] = ["--dataset.episode_time_s=900", "--dataset.num_episodes=9"];

#[test]
fn at_the_end_of_a_run_and_at_every_signal() {
    for (name, overrides, signals, code) in [
        ("the end", &[][..], &[][..], 0),
        ("Ctrl-C", &ENDLESS[..], &[Signal::INT][..], 130),
        ("SIGTERM", &ENDLESS, &[Signal::TERM], 143),
        ("SIGHUP", &ENDLESS, &[Signal::HUP], 129),
    ] {
        let (lab, buses) = (Lab::new(), Buses::start(&real()));
        let running = recording(&lab, &buses, overrides);
        signals.iter().for_each(|signal| running.signal(*signal));
        let ended = running.wait();
        assert_eq!(ended.code, Some(code), "{name}: {}", ended.text);
        is_let_go_of(&buses, name);
    }
}

/// Where the configuration says so torque stays on: what is looked at here can be seen.
#[test]
fn unless_it_is_to_be_kept() {
    let (lab, buses) = (Lab::new(), Buses::start(&real()));
    let running = recording(&lab, &buses, &["--robot.disable_torque_on_disconnect=false"]);
    assert_eq!(running.wait().code, Some(0));
    assert_eq!(buses.torque(), [1; 6]);
}

/// The second one does not wait for the first one's work, here a leader that has gone silent and is let go of slowly.
#[test]
fn at_a_second_signal() {
    let (lab, buses) = (Lab::new(), Buses::start(&real()));
    let mut running = recording(&lab, &buses, &ENDLESS);
    buses.leader.inject(Fault::Lost, None, usize::MAX);
    for signal in [Signal::STOP, Signal::INT, Signal::TERM, Signal::CONT] {
        running.signal(signal);
    }
    running.wait_for("stopped at once");
    let ended = running.wait();
    assert!(matches!(ended.code, Some(130 | 143)), "{:?}: {}", ended.code, ended.text);
    is_let_go_of(&buses, "a second signal");
}

/// A motor that does not answer at once does not keep the others their torque, nor its own: it is asked again.
#[test]
fn with_a_motor_that_misses_the_first_word() {
    let (lab, buses) = (Lab::new(), Buses::start(&real()));
    let running = recording(&lab, &buses, &ENDLESS);
    buses.follower.inject(Fault::Lost, Some(3), 5);
    running.signal(Signal::TERM);
    assert_eq!(running.wait().code, Some(143));
    is_let_go_of(&buses, "a motor that misses the first word");
}

#[test]
fn when_a_device_is_lost_or_never_was_there() {
    let (lab, Buses { follower, leader }) = (Lab::new(), Buses::start(&real()));
    let mut buses = Buses { follower, leader };
    let running = recording(&lab, &buses, &[&ENDLESS[..], &["--robot.on_loss=stop"]].concat());
    // The leader is unplugged.
    buses.leader = Buses::start(&real()).leader;
    let ended = running.wait();
    assert_eq!(ended.code, Some(3), "{}", ended.text);
    assert!(ended.text.contains("the leader: ") && ended.text.contains("its on_loss is \"stop\""), "{}", ended.text);
    is_let_go_of(&buses, "a leader that is lost");

    let buses = Buses::start(&real());
    let tap = buses.follower.tap();
    let lab = Lab::new();
    let absent = ["--teleop.port=/dev/tty-absent".to_string()];
    let arguments: Vec<String> =
        buses.arguments().into_iter().filter(|a| !a.starts_with("--teleop.port")).chain(absent).collect();
    let ended = lab.record(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(ended.code != Some(0) && ended.text.contains("there is no serial port /dev/tty-absent"), "{}", ended.text);
    drop(tap);
    is_let_go_of(&buses, "a leader that is absent");
}

/// Nobody is asked anything: a calibration that differs is written, be there a person or a pipe that says nothing.
#[test]
fn nothing_is_asked_on_standard_input() {
    let (lab, buses) = (Lab::new(), Buses::start(&real()));
    buses.follower.poke(3, reg::HOMING_OFFSET, 17);
    let (silent, ours) = std::io::pipe().unwrap();
    let mut command = lab.command(env!("CARGO_BIN_EXE_recorder"));
    command.args(["--config", "lab.toml"]).args(buses.arguments());
    let output = command.stdin(silent).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    drop(ours);
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && log.contains("the file's is written to them"), "{log}");
    assert_eq!(buses.follower.peek(3, reg::HOMING_OFFSET), Some(-1200));
    is_let_go_of(&buses, "a calibration that differs");
}

/// A run in this process with devices and encoders of the test's.
async fn run(buses: &Buses, devices: Devices, open_encoder: OpenEncoder, on_saved: OnSaved) -> Result<(), RunError> {
    let dir = tempfile::tempdir().unwrap();
    let ports = buses.overrides();
    let ports: Vec<(&str, &str)> = ports.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let overrides = [
        ("robot.cameras.front.realtime", "true"),
        ("robot.cameras.wrist.realtime", "true"),
        ("robot.on_loss", "stop"),
        ("robot.cameras.front.on_loss", "stop"),
        ("dataset.episode_time_s", "1"),
    ];
    let config = config(SMALL, &dir.path().join("set"), &[&overrides[..], &ports].concat());
    let dataset = run::open_dataset(&config).unwrap();
    let parts = Parts { clock: real(), open_encoder, gpu: None, status: status::shared(), on_saved };
    run::start_with(&config, dataset, parts, devices).await.unwrap().wait().await
}

/// The real follower, which panics at its 10th look. It is opened only once.
struct Panics(Box<dyn Robot>, u32);

impl Robot for Panics {
    fn features(&self) -> Vec<String> {
        self.0.features()
    }
    fn observe(&mut self, deadline: Instant) -> Result<Reading, ArmError> {
        self.1 += 1;
        assert!(self.1 < 10, "the test's panic");
        self.0.observe(deadline)
    }
    fn send(&mut self, action: &[f32], deadline: Instant) -> Result<Vec<f32>, ArmError> {
        self.0.send(action, deadline)
    }
    fn health(&self) -> Vec<Health> {
        self.0.health()
    }
    fn shutdown(&mut self) -> Vec<ArmError> {
        self.0.shutdown()
    }
}

struct PanickingCamera(Box<dyn Camera>, u32);

impl Camera for PanickingCamera {
    fn mode(&self) -> &Mode {
        self.0.mode()
    }
    fn next(&mut self, timeout: Duration) -> Result<Picture<'_>, CameraError> {
        self.1 += 1;
        assert!(self.1 < 10, "the test's panic");
        self.0.next(timeout)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_something_panics_or_the_run_fails() {
    let quiet = || -> OnSaved { Box::new(|_, _| {}) };
    let follower = || {
        let opened = AtomicUsize::new(0);
        let robot: recorder::devices::OpenRobot = Arc::new(move |config, clock| {
            if opened.fetch_add(1, Ordering::SeqCst) > 0 {
                return Err(ArmError::PortUnusable { port: "test".into(), reason: "it is opened once".into() });
            }
            Ok(open_robot(config, clock)?.map(|inner| Box::new(Panics(inner, 0)) as Box<dyn Robot>))
        });
        Devices { robot, ..Devices::default() }
    };
    let camera = || {
        let open: recorder::devices::OpenCamera = Arc::new(|name, config, clock, rank| {
            Ok(Box::new(PanickingCamera(camera::open(name, config, clock, rank)?, 0)))
        });
        Devices { camera: open, ..Devices::default() }
    };
    let cases: [(&str, Devices, OpenEncoder, OnSaved); 5] = [
        ("the arm's thread", follower(), backend::standard(), quiet()),
        ("a camera's thread", camera(), backend::standard(), quiet()),
        ("encoders", Devices::default(), tampered(|_| panic!("the test's panic")), quiet()),
        ("encoders that only fail", Devices::default(), tampered(|_| Err(failure())), quiet()),
        ("the writer", Devices::default(), backend::standard(), Box::new(|_, _| panic!("the test's panic"))),
    ];
    for (name, devices, open_encoder, on_saved) in cases {
        let buses = Buses::start(&real());
        let tap = buses.follower.tap();
        let ended = run(&buses, devices, open_encoder, on_saved).await;
        assert!(ended.is_err(), "{name}");
        let torque: Vec<i32> = Said::on(&tap).written(reg::TORQUE_ENABLE).iter().map(|(_, value)| *value).collect();
        assert_eq!(torque, [[0; 6], [1; 6], [0; 6]].concat(), "{name}: off, on, and off again");
        is_let_go_of(&buses, name);
    }
}
