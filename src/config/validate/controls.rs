//! What can be said of a camera's controls and its warm-up without the camera.

use super::in_range;
use crate::camera::controls::own_key;
use crate::config::Problem;
use crate::config::schema::{Camera, CameraKind, ControlValue};

/// Longer than any camera needs to find its exposure.
const LONGEST_WARMUP_S: f64 = 60.0;

pub(super) fn controls(name: &str, camera: &Camera, found: &mut Vec<Problem>) {
    let at = |key: &str| format!("robot.cameras.{name}.{key}");
    in_range(
        found,
        &at("warmup_s"),
        camera.warmup_s,
        0,
        LONGEST_WARMUP_S,
        "1 is enough for most cameras, 0 records from the first picture on",
    );
    let quantities = [
        ("exposure", &camera.exposure, "give it in units of 100 µs, such as 157, or leave it to the camera"),
        ("gain", &camera.gain, "give it in the camera's own units, or leave it to the camera"),
        ("white_balance", &camera.white_balance, "give it in kelvin, such as 4600, or leave it to the camera"),
        ("focus", &camera.focus, "give it in the camera's own units, or leave it to the camera"),
    ];
    for (key, value, remedy) in quantities {
        if let Some(value) = value.as_ref().filter(|v| !is_word(v, "auto") && !matches!(v, ControlValue::Number(_))) {
            found.push(Problem::new(at(key), "a number or \"auto\"", value.to_string(), remedy));
        }
    }
    let is_mains =
        |v: &ControlValue| is_word(v, "auto") || is_word(v, "off") || matches!(v, ControlValue::Number(50 | 60));
    if let Some(value) = camera.power_line_frequency.as_ref().filter(|value| !is_mains(value)) {
        let (expected, remedy) = ("50, 60, \"off\" or \"auto\"", "give the mains' frequency in Hz");
        found.push(Problem::new(at("power_line_frequency"), expected, value.to_string(), remedy));
    }
    for (control, value) in &camera.controls {
        if let Some(key) = own_key(control) {
            found.push(Problem::new(
                at(&format!("controls.{control}")),
                "a control without a key of its own",
                value.to_string(),
                format!("set robot.cameras.{name}.{key} instead: it switches the automatic on and off too"),
            ));
        }
    }
    if camera.kind != CameraKind::V4l {
        let given = quantities.iter().map(|(key, value, _)| (*key, value.is_some()));
        let others = [
            ("power_line_frequency", camera.power_line_frequency.is_some()),
            ("controls", !camera.controls.is_empty()),
        ];
        for (key, _) in given.chain(others).filter(|(_, is_given)| *is_given) {
            let expected = "nothing where type is not \"v4l\"";
            found.push(Problem::new(at(key), expected, "a setting", "leave it out: only real cameras have controls"));
        }
    }
}

fn is_word(value: &ControlValue, word: &str) -> bool {
    matches!(value, ControlValue::Word(found) if found == word)
}
