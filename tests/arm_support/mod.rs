//! Simulated arms for tests, and errors held to what they must say.
#![allow(dead_code)] // each test binary uses its part

use recorder::arm::feetech::bus::Bus;
use recorder::arm::sim::{SimBus, SimKind};
use recorder::arm::so101::{Follower, Leader, MOTORS};
use recorder::arm::{ArmError, Motor};
use recorder::clock::{Clock, SystemClock};
use recorder::config::schema;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const IDS: [u8; 6] = [1, 2, 3, 4, 5, 6];
/// Only what hangs takes so long.
pub const AMPLE: Duration = Duration::from_secs(60);
/// What a try waits for replies that are lost on purpose: longer than a busy machine keeps the simulated bus waiting.
pub const ONE_TRY: Duration = Duration::from_millis(500);

pub fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::default())
}

pub fn follower_bus() -> SimBus {
    SimBus::start(SimKind::Follower, clock()).unwrap()
}

pub fn leader_bus() -> SimBus {
    SimBus::start(SimKind::Leader, clock()).unwrap()
}

fn calibration(folder: &str) -> Option<PathBuf> {
    Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/arm/calib").join(folder))
}

pub fn config(port: &str) -> schema::Robot {
    schema::Robot {
        kind: schema::RobotKind::So101Follower,
        port: Some(port.into()),
        id: Some("f1".into()),
        calibration_dir: calibration("robots/so_follower"),
        ..Default::default()
    }
}

pub fn leader_config(port: &str) -> schema::Teleop {
    schema::Teleop {
        kind: schema::TeleopKind::So101Leader,
        port: Some(port.into()),
        id: Some("l1".into()),
        calibration_dir: calibration("teleoperators/so_leader"),
        ..Default::default()
    }
}

pub fn connect(bus: &SimBus) -> Result<Follower, ArmError> {
    Follower::connect(&config(bus.path()), &clock())
}

pub fn connect_leader(bus: &SimBus) -> Leader {
    Leader::connect(&leader_config(bus.path()), &clock()).unwrap()
}

/// The bus itself, without what an arm says at connect.
pub fn bare_bus(sim: &SimBus, patience: Duration) -> Bus {
    let mut bus = Bus::open(sim.path(), motors(), false).unwrap();
    bus.patience = patience;
    bus
}

pub fn within(time: Duration) -> Instant {
    Instant::now() + time
}

pub fn motors() -> Vec<Motor> {
    MOTORS.iter().map(|(name, id)| Motor { id: *id, name }).collect()
}

/// How often each motor, 0 for none, is in faults of each kind.
pub fn tally(faults: &[ArmError]) -> BTreeMap<(&'static str, u8), usize> {
    let mut tally = BTreeMap::new();
    for fault in faults {
        *tally.entry((fault.kind(), fault.motor().map_or(0, |motor| motor.id))).or_default() += 1;
    }
    tally
}

#[track_caller]
pub fn check(error: ArmError, kind: &str, words: &[&str]) {
    let message = error.to_string();
    assert_eq!(error.kind(), kind, "{message}");
    assert!(ArmError::KINDS.contains(&kind));
    for word in words {
        assert!(message.contains(word), "'{word}' is not in: {message}");
    }
}
