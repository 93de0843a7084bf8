use super::*;
use crate::config::schema::{Camera, CameraKind};
use std::collections::BTreeMap;

fn number(id: u32, name: &str, minimum: i64, maximum: i64, step: u64) -> Described {
    Described {
        id,
        name: normalised(name),
        kind: Kind::Number,
        minimum,
        maximum,
        step,
        read_only: false,
        readable: true,
        inactive: false,
        entries: Vec::new(),
    }
}

fn switch(id: u32, name: &str) -> Described {
    Described { kind: Kind::Switch, ..number(id, name, 0, 1, 1) }
}

fn menu(id: u32, name: &str, entries: &[(i64, &str)]) -> Described {
    let entries = entries.iter().map(|(number, name)| (*number, (*name).to_string())).collect();
    Described { kind: Kind::Menu, entries, ..number(id, name, 0, 3, 1) }
}

/// A usual webcam, with Linux' names of 2021 on.
fn webcam() -> Vec<Described> {
    vec![
        number(0x0098_0900, "Brightness", -64, 64, 1),
        number(0x0098_0903, "Hue", -180, 180, 1),
        switch(0x0098_0919, "Hue, Auto"),
        switch(id::WHITE_BALANCE_AUTOMATIC, "White Balance, Automatic"),
        number(id::GAIN, "Gain", 0, 100, 1),
        menu(id::POWER_LINE_FREQUENCY, "Power Line Frequency", &[(0, "Disabled"), (1, "50 Hz"), (2, "60 Hz")]),
        Described {
            inactive: true,
            ..number(id::WHITE_BALANCE_TEMPERATURE, "White Balance Temperature", 2800, 6500, 10)
        },
        menu(id::AUTO_EXPOSURE, "Auto Exposure", &[(1, "Manual Mode"), (3, "Aperture Priority Mode")]),
        Described { inactive: true, ..number(id::EXPOSURE_TIME, "Exposure Time, Absolute", 3, 2047, 1) },
        switch(id::EXPOSURE_DYNAMIC_FRAMERATE, "Exposure, Dynamic Framerate"),
        number(id::FOCUS, "Focus, Absolute", 0, 250, 5),
        switch(id::FOCUS_AUTOMATIC, "Focus, Automatic Continuous"),
        Described { read_only: true, ..number(0x009a_0910, "Privacy", 0, 1, 1) },
        Described { kind: Kind::Other, ..number(0x0098_090f, "Do White Balance", 0, 0, 0) },
    ]
}

fn camera(text: &str) -> Camera {
    let text = format!("type = \"v4l\"\n{text}");
    toml::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn names_are_those_of_v4l2_ctl() {
    for (name, expected) in [
        ("White Balance, Automatic", "white_balance_automatic"),
        ("Exposure (Absolute)", "exposure_absolute"),
        ("LED1 Mode", "led1_mode"),
        ("exposure_time_absolute", "exposure_time_absolute"),
        ("", ""),
    ] {
        assert_eq!(normalised(name), expected);
    }
}

#[test]
fn automatics_go_off_before_what_they_govern_is_set() {
    assert!(nothing_to_set(&Camera::new(CameraKind::V4l, 640, 480)));
    for (text, expected) in [
        ("exposure = 157", "auto_exposure=1 exposure_time_absolute=157"),
        ("exposure = \"auto\"", "auto_exposure=3"),
        ("gain = 12", "gain=12"),
        ("white_balance = 4600", "white_balance_automatic=0 white_balance_temperature=4600"),
        ("white_balance = \"auto\"", "white_balance_automatic=1"),
        ("focus = 30", "focus_automatic_continuous=0 focus_absolute=30"),
        ("focus = \"auto\"", "focus_automatic_continuous=1"),
        ("power_line_frequency = 50", "power_line_frequency=1"),
        ("power_line_frequency = 60", "power_line_frequency=2"),
        ("power_line_frequency = \"off\"", "power_line_frequency=0"),
        (
            "focus = 30\nwhite_balance = 4600\nexposure = 157",
            "auto_exposure=1 white_balance_automatic=0 focus_automatic_continuous=0 \
             exposure_time_absolute=157 white_balance_temperature=4600 focus_absolute=30",
        ),
        // By any name: those in the configuration come in the order of their letters.
        ("controls = {brightness = -3, Hue = 90, hue_auto = false}", "hue_auto=0 hue=90 brightness=-3"),
        // By the name that Linux had for it before.
        ("controls = {exposure_auto_priority = false}", "exposure_dynamic_framerate=0"),
    ] {
        let config = camera(text);
        assert!(!nothing_to_set(&config), "{text}");
        let plan = plan(&config, &webcam()).unwrap_or_else(|problem| panic!("{text}: {problem}"));
        let found: Vec<String> = plan.iter().map(|s| format!("{}={}", s.control.name, s.value)).collect();
        assert_eq!(found.join(" "), expected, "{text}");
    }
    // An automatic exposure that has no entry "aperture priority", and a manual one that leaves the iris alone.
    let other = [
        menu(id::AUTO_EXPOSURE, "Exposure, Auto", &[(0, "Auto Mode"), (2, "Shutter Priority Mode")]),
        webcam()[8].clone(),
    ];
    for (text, expected) in [("exposure = \"auto\"", 0), ("exposure = 157", 2)] {
        assert_eq!(plan(&camera(text), &other).unwrap()[0].value, expected, "{text}");
    }
    // A camera that only knows exposure times.
    assert_eq!(plan(&camera("exposure = 157"), &other[1..]).unwrap().len(), 1);
}

#[test]
fn menus_are_chosen_by_number_or_by_name() {
    let colours = menu(0x0098_091f, "Color Effects", &[(0, "None"), (1, "Black & White"), (3, "Negative")]);
    for (value, expected) in [("3", 3), ("\"Negative\"", 3), ("\"black & white\"", 1), ("\"black_white\"", 1)] {
        let plan =
            plan(&camera(&format!("controls = {{color_effects = {value}}}")), std::slice::from_ref(&colours)).unwrap();
        assert_eq!(plan[0].value, expected, "{value}");
    }
}

#[test]
fn what_cannot_be_set_says_what_can() {
    let device = webcam();
    let bare = &device[..1];
    for (device, text, expected) in [
        (&device[..], "exposure = 5000", "exposure: expected 3 to 2047, found 5000; 2047 is the nearest"),
        (&device, "focus = -1", "focus: expected 0 to 250 in steps of 5, found -1; 0 is the nearest"),
        (
            &device,
            "gain = \"auto\"",
            "gain: expected a camera that finds its gain by itself, found one with brightness, hue",
        ),
        (
            bare,
            "focus = 3",
            "focus: expected a camera whose focus can be set, found one with brightness; leave focus out",
        ),
        (&[], "focus = 3", "found one with no controls at all"),
        (
            &device,
            "power_line_frequency = \"auto\"",
            "expected one of 0 (Disabled), 1 (50 Hz), 2 (60 Hz), found \"auto\"",
        ),
        (
            &device,
            "controls = {brigthness = 1}",
            "controls.brigthness: expected a control of this camera, brightness, hue,",
        ),
        (&device, "controls = {brigthness = 1}", "found \"brigthness\"; did you mean brightness?"),
        (&device, "controls = {brightness = true}", "expected a number, -64 to 64, found true"),
        (&device, "controls = {hue_auto = 1}", "controls.hue_auto: expected true or false, found 1"),
        (
            &device,
            "controls = {power_line_frequency = 9}",
            "expected one of 0 (Disabled), 1 (50 Hz), 2 (60 Hz), found 9",
        ),
        (&device, "controls = {privacy = 1}", "found privacy, which can only be read; leave it out"),
        (&device, "controls = {do_white_balance = true}", "found do_white_balance, which is none of them"),
        (
            &device,
            "controls = {exposure_auto_priority = true, exposure_dynamic_framerate = true}",
            "expected each control once, found exposure_dynamic_framerate twice",
        ),
    ] {
        let problem = plan(&camera(text), device).expect_err(text).to_string();
        assert!(problem.contains(expected), "{text}: {problem}");
    }
}

/// A device that does as devices do.
#[derive(Default)]
struct Fake {
    values: BTreeMap<u32, i64>,
    written: Vec<(u32, i64)>,
    reads: usize,
    /// What is written becomes a multiple of this.
    coarse: BTreeMap<u32, i64>,
    stubborn: Vec<u32>,
}

impl Access for Fake {
    fn read(&mut self, id: u32) -> io::Result<i64> {
        self.reads += 1;
        Ok(self.values.get(&id).copied().unwrap_or_default())
    }

    fn write(&mut self, id: u32, value: i64) -> io::Result<()> {
        if id == id::EXPOSURE_TIME && self.values.get(&id::AUTO_EXPOSURE) != Some(&1) {
            return Err(rustix::io::Errno::ACCESS.into());
        }
        self.written.push((id, value));
        if !self.stubborn.contains(&id) {
            let step = self.coarse.get(&id).copied().unwrap_or(1);
            self.values.insert(id, value / step * step);
        }
        Ok(())
    }
}

fn set(text: &str, device: &mut Fake) -> Result<(Held, Vec<String>), Box<Problem>> {
    Held::set(plan(&camera(text), &webcam()).unwrap(), device)
}

#[test]
fn what_is_set_is_read_back() {
    let mut device = Fake { values: [(id::AUTO_EXPOSURE, 3)].into(), ..Fake::default() };
    let (_, rounded) = set("exposure = 157\nwhite_balance = 4600", &mut device).unwrap();
    assert_eq!(rounded, [""; 0]);
    assert_eq!((device.values[&id::EXPOSURE_TIME], device.values[&id::WHITE_BALANCE_TEMPERATURE]), (157, 4600));

    let mut device = Fake { coarse: [(id::WHITE_BALANCE_TEMPERATURE, 50)].into(), ..Fake::default() };
    let (mut held, rounded) = set("white_balance = 4620", &mut device).unwrap();
    assert_eq!(rounded, ["white_balance: the camera has set white_balance_temperature to 4600 instead of 4620"]);
    assert_eq!(held.look(&mut device), [], "what the device made of it is what is held");

    let mut device = Fake { stubborn: vec![id::WHITE_BALANCE_TEMPERATURE], ..Fake::default() };
    let problem = set("white_balance = 4600", &mut device).expect_err("not taken").to_string();
    assert!(
        problem.contains("expected white_balance_temperature to become 4600, found 0; the camera did not take it"),
        "{problem}"
    );

    let mut device = Fake { stubborn: vec![id::AUTO_EXPOSURE], ..Fake::default() };
    let problem = set("exposure = 157", &mut device).expect_err("not taken").to_string();
    assert!(problem.contains("expected auto_exposure to become 1 (Manual Mode), found 0"), "{problem}");
}

#[test]
fn a_control_that_is_refused_because_of_another_says_so() {
    let exposure = webcam().remove(8);
    let wants = |key: &str| vec![Setting { key: key.into(), control: exposure.clone(), value: 157 }];
    let problem = Held::set(wants("controls.exposure_time_absolute"), &mut Fake::default()).expect_err("refused");
    assert!(problem.to_string().contains("is inactive: another control governs it"), "{problem}");
}

#[test]
fn what_somebody_else_changes_is_set_back_in_order() {
    let mut device = Fake::default();
    let text = "exposure = 157\nfocus = 30\nwhite_balance = 4600\ncontrols = {brightness = 5}";
    let (mut held, _) = set(text, &mut device).unwrap();
    device.reads = 0;
    for _ in 0..100 {
        assert_eq!(held.look(&mut device), []);
    }
    assert_eq!(device.reads, 200, "two at a time");

    // Another program has switched the automatic on, and exposes as it likes.
    device.values.extend([(id::AUTO_EXPOSURE, 3), (id::EXPOSURE_TIME, 900)]);
    device.written.clear();
    let changes: Vec<Change> = (0..4).flat_map(|_| held.look(&mut device)).collect();
    assert_eq!(device.written, [(id::AUTO_EXPOSURE, 1), (id::EXPOSURE_TIME, 157)], "the automatic first");
    let told: Vec<_> = changes.iter().map(|c| (c.control.as_str(), c.set, c.found, c.set_back)).collect();
    assert_eq!(told, [("auto_exposure", 1, 3, true), ("exposure_time_absolute", 157, 900, true)]);
    assert_eq!(
        changes[0].words,
        "auto_exposure was set to 1 (Manual Mode) and found at 3 (Aperture Priority Mode): it is set back"
    );
}

#[test]
fn a_control_that_goes_its_own_way_is_left_alone_in_the_end() {
    let mut device = Fake::default();
    let (mut held, _) = set("gain = 12\nwhite_balance = 4600", &mut device).unwrap();
    let mut disturb = |device: &mut Fake, looks: usize| {
        device.values.insert(id::GAIN, 80);
        (0..looks).flat_map(|_| held.look(device)).map(|change| change.set_back).collect::<Vec<_>>()
    };
    // Now and then, somebody: forgiven.
    for _ in 0..10 {
        assert_eq!(disturb(&mut device, 200), [true]);
    }
    // At once whenever it is set: the camera itself.
    let told: Vec<bool> = (0..10).flat_map(|_| disturb(&mut device, 2)).collect();
    assert_eq!(told, [true, true, true, false], "not set any more, and not told any more");
    assert_eq!(device.values[&id::GAIN], 80);
    device.values.insert(id::WHITE_BALANCE_TEMPERATURE, 2800);
    assert_eq!(disturb(&mut device, 2), [true], "the others are held");
}

#[test]
fn what_changes_when_pictures_begin_is_set_again() {
    let mut device = Fake::default();
    let (mut held, _) = set("focus = 30", &mut device).unwrap();
    device.values.insert(id::FOCUS_AUTOMATIC, 1);
    held.settle(&mut device);
    assert_eq!((device.values[&id::FOCUS_AUTOMATIC], held.look(&mut device)), (0, vec![]));
}
