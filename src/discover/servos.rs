//! What answers on a serial port, if it speaks as Feetech's servos do. Nothing is written to a servo: it is pinged and read from.

use crate::arm::ArmError;
use crate::arm::Motor;
use crate::arm::calibration::{Calibration, JointCalibration, Place};
use crate::arm::feetech::bus::Bus;
use crate::arm::feetech::registers as reg;
use crate::arm::so101::{FOLLOWER_PLACE, LEADER_PLACE, MOTORS};
use serde::Serialize;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long answers to a ping of all are waited for: as `recorder setup-motors` does for ids below 100.
const WINDOW: Duration = Duration::from_millis(300);
/// What a servo that is there is waited for, on a machine that is busy too.
const PATIENCE: Duration = Duration::from_millis(500);
/// What a servo is waited for of which nothing was heard, once the first such has cost [`PATIENCE`].
const UNSURE: Duration = Duration::from_millis(60);
/// What one try waits: far longer than a follower in use could, since what comes later than its try is not believed.
const TRY: Duration = Duration::from_millis(250);
/// Servos run on what they are built for: above this only those for 12 V, which an SO-101 leader does not have.
const LEADERS_MOST_VOLTS: f64 = 9.0;

/// A servo that answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Servo {
    pub id: u8,
    /// The number of its model; 777 is an STS3215.
    pub model: Option<i32>,
    /// Its supply.
    pub volts: Option<f64>,
    /// Another one answers with the same id.
    pub doubled: bool,
}

/// What is known of an arm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Arm {
    /// `so101`: six STS3215 with the ids 1 to 6; an SO-100 is one too.
    pub kind: &'static str,
    /// Left out where it cannot be told.
    pub role: Option<Role>,
    /// The id of the calibration file whose values the motors hold.
    pub id: Option<String>,
    /// How the role is known, or why it is not.
    pub because: String,
}

/// Which of two arms it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Follower,
    Leader,
}

impl Role {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Role::Follower => "follower",
            Role::Leader => "leader",
        }
    }
}

/// What a port answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Heard {
    pub servos: Vec<Servo>,
    /// Bytes came that are no servo's.
    pub garbled: bool,
    pub arm: Option<Arm>,
}

/// Asks a port at the rate of an arm's servos. A silent one costs about a second.
pub fn ask(path: &str, known: &[Known]) -> Result<Heard, ArmError> {
    let motors = MOTORS.map(|(name, id)| Motor { id, name });
    let mut bus = Bus::open(path, motors.to_vec(), false)?;
    bus.patience = TRY;
    let scan = bus.scan(WINDOW)?;
    let mut ids = scan.ids.clone();
    // Not everything that answers its own id answers a ping to all, nor in time.
    ids.extend(pinged(&mut bus, &ids)?);
    ids.sort_unstable();
    ids.dedup();
    let mut servos = Vec::new();
    for id in ids {
        let model = told(bus.read(id, reg::MODEL, soon()))?;
        let volts = told(bus.read(id, reg::PRESENT_VOLTAGE, soon()))?.map(|tenths| f64::from(tenths) / 10.0);
        let doubled = scan.ids.iter().filter(|other| **other == id).count() > 1;
        servos.push(Servo { id, model, volts, doubled });
    }
    let arm = if is_so101(&servos) { Some(arm(&servos, held(&mut bus)?.as_ref(), known)) } else { None };
    Ok(Heard { servos, garbled: scan.garbled, arm })
}

/// Those ids of an arm that are not `heard` yet and answer a ping of their own.
fn pinged(bus: &mut Bus, heard: &[u8]) -> Result<Vec<u8>, ArmError> {
    let mut missing: Vec<u8> = MOTORS.map(|(_, id)| id).into_iter().filter(|id| !heard.contains(id)).collect();
    let mut found = Vec::new();
    let patient = soon();
    // Where some answer, the others are waited for as long.
    for is_sure in [!heard.is_empty(), true] {
        for id in std::mem::take(&mut missing) {
            let deadline = if is_sure { soon() } else { patient.max(Instant::now() + UNSURE) };
            match bus.ping(id, deadline) {
                Ok(()) => found.push(id),
                Err(error) if error.is_fatal() => return Err(error),
                Err(_) => missing.push(id),
            }
        }
        if is_sure || found.is_empty() {
            break;
        }
    }
    Ok(found)
}

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// Only a port that is gone is an error: a servo that does not answer one question may answer the others.
fn told(read: Result<i32, ArmError>) -> Result<Option<i32>, ArmError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_fatal() => Err(error),
        Err(_) => Ok(None),
    }
}

/// Six STS3215 with the ids of an arm, and no other.
fn is_so101(servos: &[Servo]) -> bool {
    servos.iter().all(|servo| servo.model == Some(reg::STS3215) && !servo.doubled)
        && servos.iter().map(|servo| servo.id).eq(MOTORS.map(|(_, id)| id))
}

/// The calibration that the motors hold.
fn held(bus: &mut Bus) -> Result<Option<Calibration>, ArmError> {
    let mut joints = Vec::new();
    for (name, id) in MOTORS {
        let mut values = [0; 3];
        for (value, register) in
            values.iter_mut().zip([reg::HOMING_OFFSET, reg::MIN_POSITION_LIMIT, reg::MAX_POSITION_LIMIT])
        {
            let Some(read) = told(bus.read(id, register, soon()))? else { return Ok(None) };
            *value = i64::from(read);
        }
        let [homing_offset, range_min, range_max] = values;
        let joint = JointCalibration { id: id.into(), drive_mode: 0, homing_offset, range_min, range_max };
        joints.push((name.to_string(), joint));
    }
    Ok(Some(Calibration(joints)))
}

/// A calibration file of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub role: Role,
    pub id: String,
    pub calibration: Calibration,
}

/// The calibration files where LeRobot keeps them; those that cannot be used are passed over.
pub fn known(env: impl Fn(&str) -> Option<String>) -> Vec<Known> {
    let read = |(role, place): (Role, Place)| {
        let folders = place.paths("any", None, &env).into_iter();
        let files = folders.filter_map(|file| std::fs::read_dir(file.parent()?).ok()).flatten().flatten();
        files.filter_map(move |file| {
            let path = file.path();
            let id = path.file_name()?.to_str()?.strip_suffix(".json")?.to_string();
            let calibration = parse(&path)?;
            Some(Known { role, id, calibration })
        })
    };
    let mut found: Vec<Known> =
        [(Role::Follower, FOLLOWER_PLACE), (Role::Leader, LEADER_PLACE)].into_iter().flat_map(read).collect();
    found.sort_by(|a, b| a.id.cmp(&b.id));
    found
}

fn parse(path: &Path) -> Option<Calibration> {
    Calibration::parse(&std::fs::read_to_string(path).ok()?, path, &MOTORS).ok()
}

/// Which arm it is, as far as that can be known.
fn arm(servos: &[Servo], held: Option<&Calibration>, known: &[Known]) -> Arm {
    let is_held = |known: &&Known| held.is_some_and(|held| same(held, &known.calibration));
    let files: Vec<&Known> = known.iter().filter(is_held).collect();
    let of = |role: Option<Role>, id: Option<&String>, because: String| Arm {
        kind: "so101",
        role,
        id: id.cloned(),
        because,
    };
    let names =
        || files.iter().map(|file| format!("{} '{}'", file.role.name(), file.id)).collect::<Vec<_>>().join(" and ");
    if let [first, rest @ ..] = files.as_slice()
        && rest.iter().all(|file| file.role == first.role)
    {
        let id = rest.is_empty().then_some(&first.id);
        return of(Some(first.role), id, format!("its motors hold the calibration of the {}", names()));
    }
    let most = servos.iter().filter_map(|servo| servo.volts).fold(0.0, f64::max);
    if most > LEADERS_MOST_VOLTS {
        return of(Some(Role::Follower), None, format!("its motors have {most} V, and a leader's are built for 7.4 V"));
    }
    let because = match files.len() {
        0 => "no calibration file on this machine has the values that its motors hold".into(),
        _ => format!("its motors hold the calibration of the {}", names()),
    };
    of(None, None, because)
}

/// As the motors hold it: which way a joint counts stands in files only.
fn same(held: &Calibration, file: &Calibration) -> bool {
    let values =
        |(name, joint): &(String, JointCalibration)| (name.clone(), JointCalibration { drive_mode: 0, ..*joint });
    held.0.iter().map(values).eq(file.0.iter().map(values))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servos(volts: f64) -> Vec<Servo> {
        MOTORS.iter().map(|(_, id)| Servo { id: *id, model: Some(777), volts: Some(volts), doubled: false }).collect()
    }

    fn calibration(homing_offset: i64) -> Calibration {
        let joint = |&(name, id): &(&str, u8)| {
            let values =
                JointCalibration { id: id.into(), drive_mode: 0, homing_offset, range_min: 900, range_max: 3100 };
            (name.to_string(), values)
        };
        Calibration(MOTORS.iter().map(joint).collect())
    }

    #[test]
    fn six_servos_with_the_ids_of_an_arm_are_one() {
        assert!(is_so101(&servos(7.4)));
        for spoil in [
            |servos: &mut Vec<Servo>| servos.truncate(5),
            |servos: &mut Vec<Servo>| servos[2].id = 9,
            |servos: &mut Vec<Servo>| servos[2].model = Some(1284),
            |servos: &mut Vec<Servo>| servos[2].model = None,
            |servos: &mut Vec<Servo>| servos[2].doubled = true,
            |servos: &mut Vec<Servo>| servos.push(Servo { id: 7, ..servos[0].clone() }),
        ] {
            let mut servos = servos(7.4);
            spoil(&mut servos);
            assert!(!is_so101(&servos), "{servos:?}");
        }
        assert!(!is_so101(&[]));
    }

    #[test]
    fn the_role_is_said_only_where_it_is_known() {
        let file = |role, id: &str, homing| Known { role, id: id.into(), calibration: calibration(homing) };
        let files = [
            file(Role::Follower, "f1", 1),
            file(Role::Leader, "l1", 2),
            file(Role::Follower, "both", 3),
            file(Role::Leader, "both", 3),
            file(Role::Leader, "l2", 4),
            file(Role::Leader, "copy", 4),
        ];
        for (homing, volts, role, id) in [
            (Some(1), 5.1, Some(Role::Follower), Some("f1")),
            (Some(2), 5.1, Some(Role::Leader), Some("l1")),
            (Some(3), 5.1, None, None),
            (Some(3), 12.1, Some(Role::Follower), None),
            (Some(4), 5.1, Some(Role::Leader), None),
            (Some(5), 7.4, None, None),
            (None, 7.4, None, None),
            (None, 11.9, Some(Role::Follower), None),
        ] {
            let held = homing.map(calibration);
            let arm = arm(&servos(volts), held.as_ref(), &files);
            assert_eq!((arm.role, arm.id.as_deref()), (role, id), "{homing:?} {volts}: {arm:?}");
        }
    }
}
