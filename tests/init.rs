//! `recorder init`: what it writes for what is plugged in, what it asks, and what it leaves alone.

mod machine;
mod program;
mod terminal_support;

use machine::{Machine, camera};
use program::Lab;
use recorder::arm::sim::{Setup, SimBus, SimKind};
use recorder::clock::SystemClock;
use recorder::config::schema::{Config, IndexOrPath, RobotKind, TeleopKind};
use recorder::config::{self, reference};
use recorder::discover::ports::{Asked, Port};
use recorder::discover::servos::{Arm, Role, Servo};
use recorder::discover::{Found, PlaceArguments, cameras::Camera};
use recorder::init::ask::{Ask, Left};
use recorder::init::{self, Arguments, InitError};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use terminal_support::Terminal;

fn port(name: &str, role: Option<Role>, id: Option<&str>) -> Port {
    let because = "its motors say so".into();
    Port {
        path: format!("/dev/serial/by-id/{name}").into(),
        node: "/dev/ttyACM0".into(),
        usb: None,
        named_by_place: false,
        in_use_by: Vec::new(),
        asked: true,
        servos: Vec::new(),
        garbled: false,
        arm: Some(Arm { kind: "so101", role, id: id.map(String::from), because }),
        problem: None,
    }
}

fn arguments(output: PathBuf) -> Arguments {
    let place = PlaceArguments { ask: Asked::Known, root: "/".into() };
    Arguments { output, force: false, yes: false, place }
}

/// Who gives these answers, and sees these questions.
struct Person {
    answers: Vec<&'static str>,
    asked: Vec<String>,
}

impl Ask for Person {
    fn ask(&mut self, question: &str) -> Result<String, Left> {
        self.asked.push(question.into());
        if self.answers.is_empty() { Err(Left) } else { Ok(self.answers.remove(0).into()) }
    }
}

/// The file that is written, its configuration, and what is said.
#[track_caller]
fn written(found: Found, person: Option<&mut dyn Ask>) -> (String, Config, String) {
    let dir = tempfile::tempdir().unwrap();
    let arguments = arguments(dir.path().join("lab.toml"));
    let said = init::run(&arguments, |_| found, person).unwrap();
    let text = std::fs::read_to_string(&arguments.output).unwrap();
    let config = config::load(&arguments.output, &[]).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing beside it");
    (text, config, said)
}

fn two_cameras_and_arms() -> Found {
    Found {
        cameras: vec![
            camera(
                "usb-C920-video-index0",
                &[("YUYV", 1920, 1080), ("MJPG", 1920, 1080), ("MJPG", 1280, 720), ("MJPG", 640, 480)],
            ),
            camera("usb-old-video-index0", &[("YUYV", 640, 480)]),
            Camera { problem: Some("no permission to open it".into()), ..camera("usb-shut-video-index0", &[]) },
        ],
        serial_ports: vec![
            port("leader-if00", Some(Role::Leader), Some("blue")),
            port("follower-if00", Some(Role::Follower), None),
        ],
        warnings: vec!["a bus is full".into()],
        snapshots: Vec::new(),
    }
}

#[test]
fn the_file_is_a_configuration_of_what_is_plugged_in() {
    let (text, config, said) = written(two_cameras_and_arms(), None);
    let (robot, teleop) = (&config.robot, &config.teleop);
    assert_eq!(
        (robot.kind, robot.port.as_deref()),
        (RobotKind::So101Follower, Some("/dev/serial/by-id/follower-if00"))
    );
    assert_eq!((teleop.kind, teleop.port.as_deref()), (TeleopKind::So101Leader, Some("/dev/serial/by-id/leader-if00")));
    assert_eq!((robot.id.as_deref(), teleop.id.as_deref()), (Some("follower"), Some("blue")));
    let modes: Vec<_> = robot
        .cameras
        .iter()
        .map(|(name, camera)| (name.as_str(), camera.fourcc.as_str(), camera.width, camera.height, camera.fps))
        .collect();
    assert_eq!(modes, [("camera1", "MJPG", 1280, 720, 30), ("camera2", "YUYV", 640, 480, 30)]);
    let path = PathBuf::from("/dev/v4l/by-id/usb-C920-video-index0");
    assert_eq!(robot.cameras["camera1"].index_or_path, Some(IndexOrPath::Path(path)));
    for words in [
        "Left out: usb-shut-video-index0",
        "no permission to open it",
        "# TODO: the data set's name",
        "# TODO: id is that of",
    ] {
        assert!(text.contains(words), "`{words}` is not in:\n{text}");
    }
    for words in [
        "\ncamera2: usb-old",
        "follower: /dev/serial/by-id/follower-if00",
        "warning: a bus is full",
        "recorder check --config",
    ] {
        assert!(said.contains(words), "`{words}` is not in:\n{said}");
    }
}

/// Every key of the schema is there with its doc; taking the '#' away from all that have a default changes nothing.
#[test]
fn every_key_is_there_with_its_doc_and_its_default() {
    let (text, config, _) = written(two_cameras_and_arms(), None);
    // The docs are broken into lines.
    let words = |text: &str| text.split_whitespace().filter(|word| *word != "#").collect::<Vec<_>>().join(" ");
    let all = words(&text);
    for entry in reference::entries(&reference::json_schema()) {
        let is_there =
            text.lines().any(|line| line.trim_start_matches('#').starts_with(&format!("{} = ", entry.name())));
        assert!(is_there, "{} is not in:\n{text}", entry.path);
        assert!(all.contains(&words(&entry.doc)), "the doc of {} is not in:\n{text}", entry.path);
    }
    assert!(text.lines().all(|line| line.chars().count() <= 118 || !line.starts_with("# ")), "{text}");
    let mut in_table_that_is_left_out = false;
    let open = |line: &str| {
        if line.contains('[') && line.trim_start_matches('#').starts_with('[') {
            in_table_that_is_left_out = line.starts_with('#');
        }
        let key = line.strip_prefix('#').filter(|key| key.starts_with(|c: char| c.is_ascii_lowercase()));
        match key.filter(|key| !key.ends_with('…') && !in_table_that_is_left_out) {
            Some(key) => key.to_string(),
            None => line.to_string(),
        }
    };
    let opened = text.lines().map(open).collect::<Vec<_>>().join("\n");
    assert!(opened.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')).count() > 60, "{opened}");
    assert_eq!(config::parse("lab.toml", &opened, &[]).unwrap(), config);
}

#[test]
fn what_cannot_be_known_is_asked_or_marked() {
    let unknown = |roles: &[Option<Role>]| {
        let ports = roles.iter().zip(["a", "b", "c", "d"]).map(|(role, name)| port(name, *role, None));
        Found { serial_ports: ports.collect(), ..two_cameras_and_arms() }
    };
    let (text, config, said) = written(unknown(&[None, None]), None);
    assert_eq!((config.robot.kind, config.teleop.kind), (RobotKind::None, TeleopKind::None));
    assert!(text.contains("# TODO: 2 arms answered, and which is which is not known"), "{text}");
    assert!(
        text.contains("# /dev/serial/by-id/b: its motors say so") && said.contains("2 arms answered"),
        "{text}{said}"
    );

    let answers = vec!["2", "front", "no spaces", "front", "wrist", "Fold the \"towel\"", "fold", "lab/fold"];
    let mut person = Person { answers, asked: vec![] };
    let (text, config, _) = written(unknown(&[None, None]), Some(&mut person));
    assert_eq!(config.robot.port.as_deref(), Some("/dev/serial/by-id/b"));
    assert_eq!(config.teleop.port.as_deref(), Some("/dev/serial/by-id/a"));
    assert_eq!(config.robot.cameras.keys().collect::<Vec<_>>(), ["front", "wrist"]);
    assert_eq!(
        (config.dataset.single_task.as_str(), config.dataset.repo_id.as_str()),
        ("Fold the \"towel\"", "lab/fold")
    );
    assert!(!text.contains("TODO: the data set"), "{text}");
    assert_eq!(person.asked.len(), 8);
    assert!(person.asked[4].starts_with("another camera has this name"), "{:?}", person.asked);

    // Enter takes what is proposed; four arms are two of each.
    let mut person = Person { answers: vec!["1", "1", "1", "", "", "", ""], asked: vec![] };
    let (_, config, _) = written(unknown(&[None; 4]), Some(&mut person));
    assert_eq!((config.robot.kind, config.teleop.kind), (RobotKind::BiSo101Follower, TeleopKind::BiSo101Leader));
    let ports = [config.robot.left_arm_config, config.robot.right_arm_config].map(|arm| arm.unwrap().port.unwrap());
    assert_eq!(ports, ["/dev/serial/by-id/a", "/dev/serial/by-id/b"]);
    assert_eq!(config.robot.cameras.keys().collect::<Vec<_>>(), ["camera1", "camera2"]);

    // Whoever leaves finds nothing written.
    let dir = tempfile::tempdir().unwrap();
    let arguments = arguments(dir.path().join("lab.toml"));
    let mut person = Person { answers: vec!["1"], asked: vec![] };
    let error = init::run(&arguments, |_| unknown(&[None, None]), Some(&mut person)).unwrap_err();
    assert_eq!((error.exit_code(), arguments.output.exists()), (130, false));
}

/// Rows come as often as the slowest camera's pictures; one arm alone, or a camera that cannot be used, is nothing to record.
#[test]
fn a_slow_camera_and_nothing_at_all() {
    let mut slow = camera("usb-slow-video-index0", &[("MJPG", 640, 480)]);
    slow.offers[0].fps = recorder::camera::v4l::modes::Rates::Each(vec![15.0]);
    let (_, config, said) = written(Found { cameras: vec![slow], ..Found::default() }, None);
    assert_eq!((config.dataset.fps, config.robot.cameras["camera1"].fps), (15, 15));
    assert!(said.contains("no arm answered"), "{said}");

    // A port that cannot be asked, and an arm with a loose cable, are said.
    let shut = Port { arm: None, asked: false, problem: Some("no permission".into()), ..port("shut", None, None) };
    let servo = |id| Servo { id, model: Some(777), volts: Some(7.4), doubled: false };
    let loose = Port { arm: None, servos: vec![servo(1), servo(2)], ..port("loose", None, None) };
    let cameras = vec![camera("usb-front-video-index0", &[("MJPG", 640, 480)])];
    let (_, _, said) = written(Found { cameras, serial_ports: vec![shut, loose], ..Found::default() }, None);
    for words in
        ["no arm at /dev/serial/by-id/shut: no permission", "by-id/loose: servos 1, 2 answer, and an SO-101 has"]
    {
        assert!(said.contains(words), "`{words}` is not in:\n{said}");
    }

    // A camera that only encodes itself can be recorded too.
    let coded = camera("usb-coded-video-index0", &[("H264", 1280, 720)]);
    let (_, config, _) = written(Found { cameras: vec![coded], ..Found::default() }, None);
    assert_eq!(config.robot.cameras["camera1"].fourcc, "H264");

    let depth = camera("usb-depth-video-index0", &[("Z16 ", 640, 480)]);
    let found = Found { cameras: vec![depth], serial_ports: vec![port("alone", None, None)], ..Found::default() };
    let dir = tempfile::tempdir().unwrap();
    let arguments = arguments(dir.path().join("lab.toml"));
    let error = init::run(&arguments, |_| found, None).unwrap_err();
    assert!(matches!(error, InitError::Nothing(_)) && error.exit_code() == 3 && !arguments.output.exists());
    for words in
        ["usb-depth-video-index0: it offers no format", "an arm at /dev/serial/by-id/alone", "recorder devices"]
    {
        assert!(error.to_string().contains(words), "{error}");
    }
}

fn sim(kind: SimKind, machine: &Machine, number: u32) -> SimBus {
    let sim = SimBus::open(Setup::new(kind), Arc::new(SystemClock::default())).unwrap();
    let place = format!("1-{}", number + 1);
    machine.usb(&place, "1a86:55d3", Some(&format!("SER{number}")), 12.0);
    let id = format!("usb-1a86_USB_Single_Serial_SER{number}-if00");
    machine.serial(number, &place, Some(&id), Some(Path::new(sim.path())));
    sim
}

/// With nobody there it asks nothing and leaves no file alone that is there; what it writes passes `recorder check`.
#[test]
fn without_a_terminal_it_never_waits_and_a_file_that_is_there_stays() {
    let (lab, machine) = (Lab::new(), Machine::new());
    let root = format!("--root={}", machine.root().display());
    let before = lab.tree();
    let ended = lab.run(&["init", "--output=new.toml", &root]);
    assert!(ended.code == Some(3) && ended.text.contains("found neither"), "{}", ended.text);
    let ended = lab.run(&["init", &root]);
    assert!(ended.code == Some(2) && ended.text.contains("lab.toml: expected a new file"), "{}", ended.text);
    assert!(lab.tree() == before);

    let follower = sim(SimKind::Follower, &machine, 0);
    let _leader = sim(SimKind::Leader, &machine, 1);
    // Neither is known, and without a camera there is nothing to record.
    let ended = lab.run(&["init", "--output=new.toml", &root]);
    assert!(ended.code == Some(3) && ended.text.contains("SER1-if00: no calibration file"), "{}", ended.text);
    assert!(lab.tree() == before);

    let calibrations = ".cache/huggingface/lerobot/calibration";
    lab.write(&format!("{calibrations}/robots/so_follower/arm7.json"), &SimKind::Follower.calibration().to_json());
    lab.write(&format!("{calibrations}/teleoperators/so_leader/blue.json"), &SimKind::Leader.calibration().to_json());
    let before = lab.tree();
    let ended = lab.run(&["init", "--output=no/such/folder/lab.toml", &root]);
    assert!(ended.code == Some(2) && ended.text.contains("cannot be written"), "{}", ended.text);
    assert!(lab.tree() == before);
    // Somebody's pipe that says nothing and stays open.
    let mut command = lab.command(env!("CARGO_BIN_EXE_recorder"));
    let child = command
        .args(["init", "--yes", "--force", &root])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    let _pipe = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains("follower: ") && text.contains("SER0-if00\nleader: ") && text.contains("SER1-if00\n"),
        "{text}"
    );
    let checked = lab.run(&["check", "--config", "lab.toml", "--metrics.listen="]);
    assert!(
        checked.code == Some(0) && checked.text.contains("all motors answer and are calibrated"),
        "{}",
        checked.text
    );
    assert_eq!(follower.command("read all Torque_Enable").unwrap(), "0 0 0 0 0 0");
}

/// At a terminal it asks for what it cannot know.
#[test]
fn a_person_is_asked() {
    let (lab, machine) = (Lab::new(), Machine::new());
    let (_one, _other) = (sim(SimKind::Follower, &machine, 0), sim(SimKind::Leader, &machine, 1));
    let root = format!("--root={}", machine.root().display());
    let mut terminal = Terminal::run(&lab, 200, &["init", "--output=new.toml", &root]);
    terminal.wait_for("Which arm is the follower, which is recorded? 1 to 2");
    terminal.press("2\r");
    terminal.wait_for("What is the robot to do, in words? [Pick up the cube]");
    terminal.press("Fold the towel\r");
    terminal.wait_for("Name of the data set, as owner/name? [lab/my-task]");
    terminal.press("\r");
    assert_eq!(terminal.end("new.toml is written; recorder check --config new.toml"), Some(0));
    let config = config::load(&lab.path("new.toml"), &[]).unwrap();
    assert!(config.robot.port.unwrap().ends_with("SER1-if00"));
    assert_eq!(config.dataset.single_task, "Fold the towel");
}
