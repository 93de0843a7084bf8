//! Calibration files: where LeRobot keeps them and how it writes them.

use super::normalise::Range;
use crate::lerobot_home::{expand, lerobot_home};
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::path::{Path, PathBuf};

/// Largest homing offset that a servo's register holds, in steps.
pub const MAX_HOMING: i32 = 2047;
const MAX_STEP: i32 = 4095;

/// Why a calibration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CalibrationError {
    #[error(
        "{table}.id is not set: it names the calibration file, and a real arm is not moved without one; set it to the id that the arm was calibrated with"
    )]
    NoId { table: &'static str },
    #[error(
        "no calibration file for {kind} '{id}': expected {}; calibrate the arm with `recorder calibrate` (or `lerobot-calibrate {option}.type={kind} {option}.id={id}`), or set calibration_dir",
        searched.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(" or ")
    )]
    Absent { kind: &'static str, option: &'static str, id: String, searched: Vec<PathBuf> },
    #[error("{table}.id '{id}' is not a file name: it must hold no '/' and not be '.' or '..'")]
    BadId { table: &'static str, id: String },
    #[error("the calibration file {} cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("the calibration file {} is malformed: {source}; calibrate the arm again with `recorder calibrate`, or restore the file", path.display())]
    Malformed { path: PathBuf, source: serde_json::Error },
    #[error("the calibration file {} belongs to another arm: expected the joints {expected}, found {found}; check the id and calibration_dir", path.display())]
    WrongJoints { path: PathBuf, expected: String, found: String },
    #[error("the calibration file {} belongs to another arm: expected motor id {expected} for {joint}, found {found}; check the id and calibration_dir", path.display())]
    WrongMotor { path: PathBuf, joint: String, expected: u8, found: i64 },
    #[error("the calibration file {} has {key} = {found} for {joint}, expected {expected}; calibrate the arm again with `recorder calibrate`", path.display())]
    OutOfRange { path: PathBuf, joint: String, key: &'static str, expected: String, found: i64 },
}

/// What a joint's calibration fixes. Positions are steps, 4096 a turn.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct JointCalibration {
    /// The motor's id on the bus.
    pub id: i64,
    /// 1 turns the sense of the value round.
    pub drive_mode: i64,
    /// Present position = encoder − this.
    pub homing_offset: i64,
    pub range_min: i64,
    pub range_max: i64,
}

impl JointCalibration {
    /// The range that values are normalised with.
    pub fn range(&self) -> Range {
        Range { min: self.range_min as i32, max: self.range_max as i32, inverted: self.drive_mode != 0 }
    }
}

/// The joints of an arm in motor order, as a file holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calibration(pub Vec<(String, JointCalibration)>);

/// Where an arm's file is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The table of the configuration: `robot` or `teleop`.
    pub table: &'static str,
    /// LeRobot's name of the arm, for the remedy: `so101_follower`.
    pub kind: &'static str,
    /// The folder below the calibration folder, and its name before LeRobot 0.4.3.
    pub folders: [&'static str; 2],
}

impl Place {
    /// The files that are tried, in this order. `env` looks up an environment variable.
    pub fn paths(&self, id: &str, dir: Option<&Path>, env: impl Fn(&str) -> Option<String>) -> Vec<PathBuf> {
        let file = format!("{id}.json");
        match dir {
            Some(dir) => vec![expand(&dir.to_string_lossy(), &env).join(file)],
            None => self.folders.map(|folder| calibration_folder(&env).join(folder).join(&file)).to_vec(),
        }
    }

    /// The calibration of arm `id`, and the file it was read from. `motors` are the arm's names and ids, in order.
    pub fn load(
        &self,
        id: Option<&str>,
        dir: Option<&Path>,
        motors: &[(&str, u8)],
    ) -> Result<(Calibration, PathBuf), CalibrationError> {
        let id = id.ok_or(CalibrationError::NoId { table: self.table })?;
        if id.contains('/') || matches!(id, "" | "." | "..") {
            return Err(CalibrationError::BadId { table: self.table, id: id.into() });
        }
        let searched = self.paths(id, dir, |name| std::env::var(name).ok());
        for path in &searched {
            match std::fs::read_to_string(path) {
                Ok(text) => return Ok((Calibration::parse(&text, path, motors)?, path.clone())),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(CalibrationError::Unreadable { path: path.clone(), source }),
            }
        }
        let option = if self.table == "robot" { "--robot" } else { "--teleop" };
        Err(CalibrationError::Absent { kind: self.kind, option, id: id.into(), searched })
    }
}

/// LeRobot's calibration folder: `$HF_LEROBOT_CALIBRATION`, else `calibration` in `$HF_LEROBOT_HOME`, in
/// `$HF_HOME/lerobot`, in `$XDG_CACHE_HOME/huggingface/lerobot`, in `~/.cache/huggingface/lerobot`.
fn calibration_folder(env: &impl Fn(&str) -> Option<String>) -> PathBuf {
    let folder = env("HF_LEROBOT_CALIBRATION").map(|value| expand(&value, env));
    folder.unwrap_or_else(|| lerobot_home(env).join("calibration"))
}

impl Calibration {
    /// Reads a file's text and holds it against the arm's motors; the joints are put in their order.
    pub fn parse(text: &str, path: &Path, motors: &[(&str, u8)]) -> Result<Calibration, CalibrationError> {
        let Calibration(mut joints) =
            serde_json::from_str(text).map_err(|source| CalibrationError::Malformed { path: path.into(), source })?;
        let order = |name: &str| motors.iter().position(|(motor, _)| *motor == name).unwrap_or(motors.len());
        joints.sort_by_key(|(name, _)| order(name));
        if !joints.iter().map(|(name, _)| name.as_str()).eq(motors.iter().map(|(name, _)| *name)) {
            let list = |names: Vec<&str>| if names.is_empty() { "none".into() } else { names.join(", ") };
            return Err(CalibrationError::WrongJoints {
                path: path.into(),
                expected: list(motors.iter().map(|(name, _)| *name).collect()),
                found: list(joints.iter().map(|(name, _)| name.as_str()).collect()),
            });
        }
        for ((joint, values), (_, id)) in joints.iter().zip(motors) {
            values.check(joint, *id, path)?;
        }
        Ok(Calibration(joints))
    }

    /// The file's text as LeRobot writes it: indented by 4, without a newline at the end.
    pub fn to_json(&self) -> String {
        let mut text = Vec::new();
        let format = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        self.serialize(&mut serde_json::Serializer::with_formatter(&mut text, format))
            .expect("strings and integers always have a JSON form");
        String::from_utf8(text).expect("JSON is UTF-8")
    }
}

impl JointCalibration {
    fn check(&self, joint: &str, id: u8, path: &Path) -> Result<(), CalibrationError> {
        if self.id != i64::from(id) {
            let (path, joint) = (path.into(), joint.into());
            return Err(CalibrationError::WrongMotor { path, joint, expected: id, found: self.id });
        }
        let (homing, max) = (i64::from(MAX_HOMING), i64::from(MAX_STEP));
        for (key, found, low, high) in [
            ("drive_mode", self.drive_mode, 0, 1),
            ("homing_offset", self.homing_offset, -homing, homing),
            ("range_min", self.range_min, 0, max - 1),
            ("range_max", self.range_max, self.range_min.saturating_add(1), max),
        ] {
            if !(low..=high).contains(&found) {
                let expected = format!("{low} to {high}");
                return Err(CalibrationError::OutOfRange {
                    path: path.into(),
                    joint: joint.into(),
                    key,
                    expected,
                    found,
                });
            }
        }
        Ok(())
    }
}

impl Serialize for Calibration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, joint) in &self.0 {
            map.serialize_entry(name, joint)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Calibration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Calibration, D::Error> {
        struct Joints;
        impl<'de> Visitor<'de> for Joints {
            type Value = Calibration;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object with one entry for each joint")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Calibration, A::Error> {
                let mut joints = Vec::new();
                while let Some(joint) = map.next_entry()? {
                    joints.push(joint);
                }
                Ok(Calibration(joints))
            }
        }
        deserializer.deserialize_map(Joints)
    }
}
