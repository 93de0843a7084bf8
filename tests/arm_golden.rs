//! Normalisation and calibration files, held against what LeRobot 0.6.1 computed and wrote.

use recorder::arm::calibration::{Calibration, CalibrationError, Place};
use recorder::arm::normalise::{Norm, Range, normalise, unnormalise};
use recorder::arm::so101;
use std::path::{Path, PathBuf};

fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/arm").join(path)
}

/// One vector: what LeRobot made of `x`. Numbers stay text until they are parsed: serde_json rounds some of them wrongly.
#[derive(Default)]
struct Vector {
    dir: String,
    mode: String,
    drive: i64,
    lo: i32,
    hi: i32,
    x: f64,
    y: f64,
}

/// The file has one key a line.
fn vectors() -> Vec<Vector> {
    let text = std::fs::read_to_string(golden("golden_norm.json")).unwrap();
    let mut vectors = Vec::new();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(": ") else { continue };
        let value = value.trim_end_matches(',').trim_matches('"');
        if key == "\"dir\"" {
            vectors.push(Vector::default());
        }
        let vector = vectors.last_mut().unwrap();
        match key.trim_matches('"') {
            "dir" => vector.dir = value.into(),
            "mode" => vector.mode = value.into(),
            "drive" => vector.drive = value.parse().unwrap(),
            "lo" => vector.lo = value.parse().unwrap(),
            "hi" => vector.hi = value.parse().unwrap(),
            "x" => vector.x = value.parse().unwrap(),
            "y" => vector.y = value.parse().unwrap(),
            other => panic!("unknown key {other}"),
        }
    }
    vectors
}

#[test]
fn every_normalisation_vector_is_equal_to_the_last_bit() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 1350);
    for v in vectors {
        let norm = match v.mode.as_str() {
            "degrees" => Norm::Degrees,
            "range_m100_100" => Norm::Range100,
            "range_0_100" => Norm::Percent,
            other => panic!("unknown mode {other}"),
        };
        let range = Range { min: v.lo, max: v.hi, inverted: v.drive != 0 };
        let y = match v.dir.as_str() {
            "norm" => normalise(norm, range, v.x as i32),
            "unnorm" => f64::from(unnormalise(norm, range, v.x)),
            other => panic!("unknown direction {other}"),
        };
        assert!(y == v.y, "{} {} {range:?} of {}: {y}, LeRobot {}", v.dir, v.mode, v.x, v.y);
    }
}

#[test]
fn lerobots_files_are_read_and_written_byte_for_byte() {
    for file in ["calib/robots/so_follower/f1.json", "calib/teleoperators/so_leader/l1.json"] {
        let text = std::fs::read_to_string(golden(file)).unwrap();
        let calibration = Calibration::parse(&text, Path::new(file), &so101::MOTORS).unwrap();
        assert_eq!(calibration.to_json(), text);
    }
}

#[test]
fn files_are_looked_for_where_lerobot_keeps_them() {
    let place = so101::FOLLOWER_PLACE;
    let paths = |dir: Option<&str>, set: &[(&str, &str)]| {
        let env = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string());
        let paths = place.paths("f1", dir.map(Path::new), env);
        paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>()
    };
    let both = |base: &str| {
        vec![format!("{base}/robots/so_follower/f1.json"), format!("{base}/robots/so101_follower/f1.json")]
    };
    let home = ("HOME", "/home/ada");
    assert_eq!(paths(None, &[home]), both("/home/ada/.cache/huggingface/lerobot/calibration"));
    assert_eq!(paths(None, &[home, ("XDG_CACHE_HOME", "/c")]), both("/c/huggingface/lerobot/calibration"));
    assert_eq!(paths(None, &[home, ("HF_HOME", "~/hf")]), both("/home/ada/hf/lerobot/calibration"));
    assert_eq!(paths(None, &[home, ("HF_HOME", "/h"), ("HF_LEROBOT_HOME", "/l")]), both("/l/calibration"));
    assert_eq!(paths(None, &[home, ("HF_LEROBOT_HOME", "/l"), ("HF_LEROBOT_CALIBRATION", "/cal")]), both("/cal"));
    assert_eq!(paths(Some("~/mine"), &[home, ("HF_LEROBOT_CALIBRATION", "/cal")]), ["/home/ada/mine/f1.json"]);
}

/// Every way a file can be wrong, the error's kind, and words that its message must hold.
#[test]
fn wrong_files_are_named_with_the_remedy() {
    let good = std::fs::read_to_string(golden("calib/robots/so_follower/f1.json")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let load = |id: Option<&str>| {
        let place: Place = so101::FOLLOWER_PLACE;
        place.load(id, Some(folder.path()), &so101::MOTORS).unwrap_err()
    };
    let check = |error: CalibrationError, words: &[&str]| {
        let message = error.to_string();
        for word in words {
            assert!(message.contains(word), "'{word}' is not in: {message}");
        }
    };
    check(load(None), &["robot.id"]);
    check(load(Some("../f1")), &["robot.id", "../f1"]);
    check(load(Some("f9")), &["f9.json", "lerobot-calibrate --robot.type=so101_follower --robot.id=f9"]);
    for (from, to, words) in [
        ("{", "", &["malformed", "line 2"][..]),
        ("\"gripper\"", "\"claw\"", &["another arm", "expected the joints", "gripper", "claw"]),
        ("\"id\": 6", "\"id\": 7", &["another arm", "motor id 6 for gripper, found 7"]),
        ("-1200", "-2048", &["homing_offset = -2048 for elbow_flex", "-2047 to 2047", "calibrate the arm again"]),
        ("3400", "750", &["range_max = 750 for shoulder_pan", "751 to 4095"]),
        ("750", "-1", &["range_min = -1"]),
        ("\"drive_mode\": 0", "\"drive_mode\": 2", &["drive_mode = 2"]),
        ("\"drive_mode\"", "\"drivemode\"", &["malformed", "drivemode"]),
    ] {
        assert!(good.contains(from));
        std::fs::write(folder.path().join("bad.json"), good.replacen(from, to, 1)).unwrap();
        check(load(Some("bad")), words);
    }
    // A joint twice is not an arm of six.
    std::fs::write(folder.path().join("bad.json"), good.replacen("shoulder_lift", "shoulder_pan", 1)).unwrap();
    check(load(Some("bad")), &["another arm"]);
}
