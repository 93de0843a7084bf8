//! `recorder devices` as a person or a program meets it, with the devices' files of a machine made in a folder.

mod machine;
mod program;

use machine::{Machine, camera};
use program::Lab;
use recorder::arm::sim::{Setup, SimBus, SimKind};
use recorder::arm::so101::MOTORS;
use recorder::camera::v4l::described::{Control, Entry};
use recorder::camera::{self, CameraError};
use recorder::clock::{Clock, SimulatedClock, Stamp, SystemClock};
use recorder::codec::jpeg;
use recorder::config::schema;
use recorder::devices::OpenCamera;
use recorder::discover::Found;
use recorder::discover::cameras::Camera;
use recorder::discover::ports::Port;
use recorder::discover::servos::{Arm, Role, Servo};
use recorder::discover::snapshot;
use recorder::discover::tree::{Roots, Usb};
use recorder::in_use::Holder;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

fn arm(kind: SimKind) -> SimBus {
    SimBus::open(Setup::new(kind), Arc::new(SystemClock::default())).unwrap()
}

/// Runs `recorder ARGUMENTS --root MACHINE`, which must end well.
#[track_caller]
fn run(lab: &Lab, machine: &Machine, arguments: &[&str]) -> String {
    let root = format!("--root={}", machine.root().display());
    let ended = lab.run(&[arguments, &[&root]].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    ended.text
}

fn listing(lab: &Lab, machine: &Machine, arguments: &[&str]) -> Value {
    serde_json::from_str(&run(lab, machine, &[&["devices", "--json"], arguments].concat())).unwrap()
}

/// Devices are named by what stays, and what the kernel knows of them is read.
#[test]
fn names_that_stay_and_what_usb_devices_say() {
    let machine = Machine::new();
    machine.usb("1-2", "046d:082d", Some("1A2B"), 480.0);
    machine.usb("2-1.4", "0c45:6366", Some("SN0001"), 480.0);
    machine.usb("2-1.3", "0c45:6366", Some("SN0001"), 480.0);
    machine.video(10, "1-2", 0, "HD Pro Webcam C920", Some("usb-046d_HD_Pro_Webcam_C920_1A2B-video-index0"));
    machine.video(11, "1-2", 1, "HD Pro Webcam C920", Some("usb-046d_HD_Pro_Webcam_C920_1A2B-video-index1"));
    // Two that say the same of themselves: one link by id for both.
    machine.video(2, "2-1.4", 0, "USB 2.0 Camera", Some("usb-Sonix_USB_2.0_Camera_SN0001-video-index0"));
    machine.video(9, "2-1.3", 0, "USB 2.0 Camera", None);
    // No USB at all.
    machine.node("video0");
    machine.node("video-of-somebody");

    let nodes = Roots::below(machine.root()).video();
    let dev = machine.root().join("dev");
    let shown: Vec<String> =
        nodes.iter().map(|node| node.path.strip_prefix(&dev).unwrap().display().to_string()).collect();
    let expected = [
        "video0",
        "v4l/by-path/2-1.4-video-index0",
        "v4l/by-path/2-1.3-video-index0",
        "v4l/by-id/usb-046d_HD_Pro_Webcam_C920_1A2B-video-index0",
        "v4l/by-id/usb-046d_HD_Pro_Webcam_C920_1A2B-video-index1",
    ];
    assert_eq!(shown, expected);
    assert_eq!(nodes.iter().map(|node| node.is_ambiguous).collect::<Vec<_>>(), [false, true, true, false, false]);
    let camera = &nodes[3];
    assert_eq!((camera.name.as_deref(), camera.index), (Some("HD Pro Webcam C920"), Some(0)));
    let usb = camera.usb.as_ref().unwrap();
    assert_eq!((usb.vendor.as_str(), usb.product.as_str(), usb.serial.as_deref()), ("046d", "082d", Some("1A2B")));
    assert_eq!((usb.bus, usb.port.as_str(), usb.speed_mbit), (1, "2", Some(480.0)));
    assert_eq!(nodes[0].usb, None);
}

/// Six servos are an arm; which one is known by the calibration that its motors hold, or by a supply that leaders do not have.
#[test]
fn arms_are_found_and_told_apart_where_that_can_be_known() {
    let (lab, machine) = (Lab::new(), Machine::new());
    let (leader, follower, strong) = (arm(SimKind::Leader), arm(SimKind::Follower), arm(SimKind::Follower));
    for (n, sim) in [&leader, &follower, &strong].into_iter().enumerate() {
        let device = format!("1-{}", n + 1);
        machine.usb(&device, "1a86:55d3", Some(&format!("SER{n}")), 12.0);
        let id = format!("usb-1a86_USB_Single_Serial_SER{n}-if00");
        machine.serial(n as u32, &device, Some(&id), Some(Path::new(sim.path())));
    }
    // The leader's motors hold a file of this machine, the third arm has 12 V; of the second nothing is known.
    follower.command("write all Homing_Offset 77").unwrap();
    strong.command("write all Homing_Offset 78").unwrap();
    strong.command("write all Present_Voltage 121").unwrap();
    // As on a machine that is busy, or behind a bridge.
    strong.command("slow 100").unwrap();
    let held = |register: &str| -> Vec<i64> {
        let words = leader.command(&format!("read all {register}")).unwrap();
        words.split(' ').map(|word| word.parse().unwrap()).collect()
    };
    let (homing, low, high) = (held("Homing_Offset"), held("Min_Position_Limit"), held("Max_Position_Limit"));
    let joint = |(k, (name, id)): (usize, &(&str, u8))| {
        let values =
            json!({"id": id, "drive_mode": 0, "homing_offset": homing[k], "range_min": low[k], "range_max": high[k]});
        (name.to_string(), values)
    };
    let file: serde_json::Map<String, Value> = MOTORS.iter().enumerate().map(joint).collect();
    let folder = ".cache/huggingface/lerobot/calibration/teleoperators/so_leader";
    lab.write(&format!("{folder}/blue.json"), &Value::Object(file).to_string());
    lab.write(&format!("{folder}/broken.json"), "{");

    let found = listing(&lab, &machine, &[]);
    let ports = found["serial_ports"].as_array().unwrap();
    assert_eq!(ports.len(), 3, "{found:#}");
    for (port, (role, id, because)) in ports.iter().zip([
        (json!("leader"), json!("blue"), "hold the calibration of the leader 'blue'"),
        (json!(null), json!(null), "no calibration file"),
        (json!("follower"), json!(null), "12.1 V"),
    ]) {
        assert_eq!((&port["asked"], &port["problem"]), (&json!(true), &json!(null)), "{port:#}");
        let ids: Vec<u64> =
            port["servos"].as_array().unwrap().iter().map(|servo| servo["id"].as_u64().unwrap()).collect();
        assert_eq!(ids, [1, 2, 3, 4, 5, 6]);
        assert_eq!(
            (&port["arm"]["kind"], &port["arm"]["role"], &port["arm"]["id"]),
            (&json!("so101"), &role, &id),
            "{port:#}"
        );
        assert!(port["arm"]["because"].as_str().unwrap().contains(because), "{port:#}");
    }
    let text = run(&lab, &machine, &["devices"]);
    for words in [
        "3 serial ports",
        "dev/serial/by-id/usb-1a86_USB_Single_Serial_SER0-if00\n",
        "1a86:55d3, serial SER0, bus 1 port 1, 12 Mbit/s",
        "servo 1: STS3215",
        "an SO-101 leader: its motors hold the calibration of the leader 'blue'",
        "an SO-101; which one cannot be told",
    ] {
        assert!(text.contains(words), "`{words}` is not in:\n{text}");
    }
    // Nothing was written: torque is as it was, on no motor.
    for sim in [&leader, &follower, &strong] {
        assert_eq!(sim.command("read all Torque_Enable").unwrap(), "0 0 0 0 0 0");
    }
}

/// What a servo bus is not is not written to, what somebody uses is left alone, and what goes wrong with one port is said of that one.
#[test]
fn ports_are_asked_only_where_that_is_harmless() {
    let (lab, machine) = (Lab::new(), Machine::new());
    let (free, used, printer) = (arm(SimKind::Follower), arm(SimKind::Follower), arm(SimKind::Follower));
    for (n, (sim, id)) in [(&free, "1a86:55d3"), (&used, "1a86:55d3"), (&printer, "2c99:0002")].into_iter().enumerate()
    {
        let device = format!("1-{}", n + 1);
        machine.usb(&device, id, None, 12.0);
        machine.serial(n as u32, &device, None, Some(Path::new(sim.path())));
    }
    machine.usb("1-9", "1a86:55d3", Some("GONE"), 12.0);
    machine.serial(3, "1-9", None, Some(Path::new("/dev/pts/no-such-terminal")));
    free.command("missing 3").unwrap();
    free.command("write wrist_roll Model_Number 1284").unwrap();

    machine.process(77, "lerobot-record", "ttyACM1");
    let found = listing(&lab, &machine, &[]);
    let text = run(&lab, &machine, &["devices"]);
    let all = listing(&lab, &machine, &["--ask=all"]);
    let none = listing(&lab, &machine, &["--ask=none"]);

    let servos = |port: &Value| port["servos"].as_array().unwrap().len();
    let asked = |found: &Value| -> Vec<(bool, usize)> {
        let ports = found["serial_ports"].as_array().unwrap();
        ports.iter().map(|port| (port["asked"].as_bool().unwrap(), servos(port))).collect()
    };
    assert_eq!(asked(&found), [(true, 5), (false, 0), (false, 0), (false, 0)], "{found:#}");
    assert_eq!(asked(&all), [(true, 5), (false, 0), (true, 6), (false, 0)], "{all:#}");
    assert_eq!(asked(&none), [(false, 0); 4], "{none:#}");
    let port = |n: usize| &found["serial_ports"][n];
    assert_eq!((&port(0)["arm"], &port(0)["servos"][3]["model"]), (&json!(null), &json!(1284)), "{found:#}");
    assert_eq!(port(1)["in_use_by"], json!([{"process": 77, "name": "lerobot-record"}]));
    for (n, words) in [(1, "not asked, as it is in use"), (2, "--ask all asks it"), (3, "there is no serial port")] {
        assert!(port(n)["problem"].as_str().unwrap().contains(words), "{found:#}");
    }
    assert!(text.contains("in use by  lerobot-record (process 77)"), "{text}");
    // Two ports of one kind without a serial number of their own, by which udev could tell them apart.
    assert!(text.contains("warning: ttyACM0, ttyACM1 say the same of themselves as another device"), "{text}");
}

/// A silent port is not waited for long, and a machine without anything is said to be one.
#[test]
fn where_nothing_answers_and_where_nothing_is() {
    let (lab, machine) = (Lab::new(), Machine::new());
    let text = run(&lab, &machine, &["devices"]);
    assert!(text.contains("No camera") && text.contains("No serial port"), "{text}");
    assert_eq!(
        listing(&lab, &machine, &[]),
        json!({"version": 1, "cameras": [], "serial_ports": [], "warnings": [], "snapshots": []})
    );

    let silent = arm(SimKind::Follower);
    silent.command("missing all").unwrap();
    machine.usb("1-1", "1a86:7523", None, 12.0);
    machine.serial(0, "1-1", None, Some(Path::new(silent.path())));
    // A file where a camera should be is no camera.
    machine.node("video0");
    let found = listing(&lab, &machine, &[]);
    assert_eq!(found["cameras"], json!([]));
    let port = &found["serial_ports"][0];
    assert_eq!(
        (&port["asked"], &port["servos"], &port["problem"]),
        (&json!(true), &json!([]), &json!(null)),
        "{port:#}"
    );
    assert!(run(&lab, &machine, &["devices"]).contains("answers    no servo"));
}

/// The keys of all objects in it.
fn keys(json: &Value, found: &mut Vec<String>) {
    match json {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            found.push(key.clone());
            keys(value, found);
        }),
        Value::Array(all) => all.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

/// What programs are given is described, every key of it.
#[test]
fn the_json_is_as_its_description_says() {
    let usb = |serial| Usb {
        vendor: "046d".into(),
        product: "082d".into(),
        manufacturer: None,
        name: None,
        serial,
        bus: 1,
        port: "2".into(),
        speed_mbit: Some(480.0),
        interface: None,
    };
    let control = Control {
        name: "gain".into(),
        label: "Gain".into(),
        kind: "menu",
        min: 0,
        max: 1,
        step: 1,
        default: 0,
        value: Some(1),
        menu: vec![Entry { value: 1, name: "high".into() }],
        inactive: false,
        read_only: false,
    };
    let front = Camera {
        usb: Some(usb(Some("A1".into()))),
        in_use_by: vec![Holder { process: 7, name: "recorder".into() }],
        controls: vec![control],
        ..camera("usb-front-video-index0", &[("MJPG", 640, 480)])
    };
    let servos = vec![Servo { id: 1, model: Some(777), volts: Some(7.4), doubled: false }];
    let arm = Arm { kind: "so101", role: Some(Role::Leader), id: None, because: "so".into() };
    let port = Port {
        path: "/dev/serial/by-id/one".into(),
        node: "/dev/ttyACM0".into(),
        usb: None,
        named_by_place: false,
        in_use_by: vec![],
        asked: true,
        servos,
        garbled: false,
        arm: Some(arm),
        problem: None,
    };
    let snapshots = vec![snapshot::Snapshot { camera: front.path.clone(), file: None, problem: Some("busy".into()) }];
    let found = Found { cameras: vec![front], serial_ports: vec![port], warnings: vec![], snapshots };
    let json: Value = serde_json::from_str(&found.json()).unwrap();
    assert_eq!((&json["version"], &json["serial_ports"][0]["arm"]["role"]), (&json!(1), &json!("leader")));
    assert_eq!(json["cameras"][0]["offers"][0], json!({"fourcc": "MJPG", "width": 640, "height": 480, "fps": [30.0]}));
    assert_eq!(json["cameras"][0]["usb"]["speed_mbit"], json!(480.0));
    let doc = include_str!("../docs/devices.md");
    let mut all = Vec::new();
    keys(&json, &mut all);
    assert!(all.len() > 50, "{all:?}");
    for key in all {
        assert!(
            [format!("`{key}`"), format!("`{key}[]`")].iter().any(|word| doc.contains(word)),
            "docs/devices.md says nothing of `{key}`"
        );
    }
    assert_eq!(found.exit_code(), 3);
}

/// A camera of raw pictures: rows of one luma, one picture in ten cut short.
struct Raw {
    mode: camera::Mode,
    clock: Arc<dyn Clock>,
    count: u64,
    data: Vec<u8>,
}

impl camera::Camera for Raw {
    fn mode(&self) -> &camera::Mode {
        &self.mode
    }

    fn next(&mut self, _: std::time::Duration) -> Result<camera::Picture<'_>, CameraError> {
        self.count += 1;
        let whole = (self.mode.width * self.mode.height * 2) as usize;
        self.data = [16, 128, 235, 128].repeat(whole / 4);
        self.data.truncate(if self.count % 10 == 1 { whole / 2 } else { whole });
        let captured = self.clock.stamp(self.count * 33_000_000);
        Ok(camera::Picture { sequence: self.count, captured, data: &self.data })
    }
}

/// Pictures by the cameras' stable names; what goes wrong with one is said of that one; pictures from before stay.
#[test]
fn snapshots_of_cameras() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("a/pictures");
    let cameras = [
        camera("usb-front-video-index0", &[("MJPG", 640, 480), ("YUYV", 640, 480)]),
        camera("usb-raw-video-index0", &[("YUYV", 320, 240)]),
        camera("usb-busy-video-index0", &[("MJPG", 640, 480)]),
        camera("usb-depth-video-index0", &[("Z16 ", 640, 480)]),
        Camera { problem: Some("no permission to open it".into()), ..camera("usb-shut-video-index0", &[]) },
    ];
    let open: OpenCamera = Arc::new(|name, config, clock, rank| {
        let path = config.index_or_path.as_ref().unwrap().path();
        assert!(path.starts_with("/dev/v4l/by-id"));
        let (width, height) = (config.width, config.height);
        match name {
            "usb-raw-video-index0" => {
                let format = recorder::frame::PixelFormat::Yuyv;
                let mode = camera::Mode { format, width, height, fps: (30, 1) };
                Ok(Box::new(Raw { mode, clock: clock.clone(), count: 0, data: Vec::new() }))
            }
            "usb-busy-video-index0" => Err(CameraError::Busy { camera: name.into(), path, holder: "somebody".into() }),
            _ => {
                let config = schema::Camera { realtime: false, kind: schema::CameraKind::Synthetic, ..config.clone() };
                camera::open(name, &config, clock, rank)
            }
        }
    });
    let clock: Arc<dyn Clock> = Arc::new(SimulatedClock::new(Stamp::default()));
    let taken = snapshot::take(&cameras, &folder, &open, &clock).unwrap();
    let jpeg = |name: &str| std::fs::read(folder.join(name)).unwrap();
    for (snapshot, camera) in taken.iter().zip(&cameras) {
        assert_eq!(snapshot.camera, camera.path);
        assert_eq!(snapshot.file.is_some(), snapshot.problem.is_none());
    }
    let problems: Vec<String> = taken.iter().filter_map(|snapshot| snapshot.problem.clone()).collect();
    assert_eq!(problems.len(), 3, "{taken:?}");
    for (problem, words) in
        problems.iter().zip(["is in use by somebody", "no format that can be read", "no permission"])
    {
        assert!(problem.contains(words), "{problem}");
    }
    assert_eq!(taken[0].file, Some(folder.join("usb-front-video-index0.jpg")));
    jpeg::parse_sized(&jpeg("usb-front-video-index0.jpg"), 640, 480).unwrap();
    let raw = jpeg("usb-raw-video-index0.jpg");
    jpeg::parse_sized(&raw, 320, 240).unwrap();
    let mut picture = recorder::codec::yuv::I420::grey(320, 240, schema::ColorRange::Full);
    jpeg::Decoder::new().unwrap().decode(&raw, &mut picture).unwrap();
    let [luma, ..] = picture.planes();
    assert!(luma[..2].iter().zip([0u8, 255]).all(|(found, expected)| found.abs_diff(expected) < 8), "{:?}", &luma[..2]);

    let again = snapshot::take(&cameras[..1], &folder, &open, &clock).unwrap();
    assert_eq!(again[0].file, Some(folder.join("usb-front-video-index0.2.jpg")));
    assert_eq!(jpeg("usb-raw-video-index0.jpg"), raw);
    assert!(snapshot::take(&cameras, Path::new("/proc/no/folder"), &open, &clock).is_err());
}
