//! A follower and a leader on simulated buses of the test's, outside of the run: what was said there can be heard, and what
//! the motors were left with can be seen when the run is over.
#![allow(dead_code)] // each test binary uses its part

use recorder::arm::feetech::registers::{self as reg, Register};
use recorder::arm::sim::{SimBus, SimKind};
use recorder::clock::Clock;
use recorder::config::schema;
use recorder::devices::Devices;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

pub const IDS: [u8; 6] = [1, 2, 3, 4, 5, 6];

pub struct Buses {
    pub follower: SimBus,
    pub leader: SimBus,
}

/// A folder of calibration files.
pub fn calibration(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/arm/calib").join(folder)
}

impl Buses {
    pub fn start(clock: &Arc<dyn Clock>) -> Buses {
        let start = |kind| SimBus::start(kind, clock.clone()).unwrap();
        Buses { follower: start(SimKind::Follower), leader: start(SimKind::Leader) }
    }

    /// What a run's configuration says of them.
    pub fn overrides(&self) -> [(&'static str, String); 6] {
        let [robots, teleoperators] =
            ["robots/so_follower", "teleoperators/so_leader"].map(|folder| calibration(folder).display().to_string());
        [
            ("robot.port", self.follower.path().to_string()),
            ("robot.id", "f1".into()),
            ("robot.calibration_dir", robots),
            ("teleop.port", self.leader.path().to_string()),
            ("teleop.id", "l1".into()),
            ("teleop.calibration_dir", teleoperators),
        ]
    }

    /// The same for the program's command line.
    pub fn arguments(&self) -> Vec<String> {
        self.overrides().iter().map(|(key, value)| format!("--{key}={value}")).collect()
    }

    /// `devices`, for a configuration in simulated time, which knows no ports: their arms are on these buses.
    pub fn devices(&self, devices: Devices) -> Devices {
        let [port, id, folder, their_port, their_id, their_folder] = self.overrides().map(|(_, value)| value);
        let Devices { camera, robot, teleop } = devices;
        Devices {
            camera,
            robot: Arc::new(move |config, clock| {
                let (port, id, folder) = (Some(port.clone()), Some(id.clone()), Some(folder.clone().into()));
                robot(&schema::Robot { port, id, calibration_dir: folder, ..config.clone() }, clock)
            }),
            teleop: Arc::new(move |config, clock| {
                let (port, id) = (Some(their_port.clone()), Some(their_id.clone()));
                let calibration_dir = Some(their_folder.clone().into());
                teleop(&schema::Teleop { port, id, calibration_dir, ..config.clone() }, clock)
            }),
        }
    }

    /// Torque of each motor of the follower.
    pub fn torque(&self) -> [i32; 6] {
        IDS.map(|id| self.follower.peek(id, reg::TORQUE_ENABLE).unwrap())
    }
}

/// What was said on a bus.
pub struct Said(Vec<Vec<u8>>);

impl Said {
    /// All until now.
    pub fn on(tap: &Receiver<Vec<u8>>) -> Said {
        Said(tap.try_iter().collect())
    }

    /// Values that were written to a register of one motor each, in order: motor and value.
    pub fn written(&self, register: Register) -> Vec<(u8, i32)> {
        let writes = self.0.iter().filter(|bytes| bytes[4] == 0x03 && bytes[5] == register.addr);
        writes.map(|bytes| (bytes[2], register.decode(&bytes[6..bytes.len() - 1]))).collect()
    }

    /// Goals of all motors that were sent at once, in order.
    pub fn goals(&self) -> Vec<Vec<(u8, i32)>> {
        let goals = self.0.iter().filter(|bytes| bytes[4] == 0x83 && bytes[5] == reg::GOAL_POSITION.addr);
        goals
            .map(|bytes| {
                let values = bytes[7..bytes.len() - 1].chunks_exact(3);
                values.map(|value| (value[0], reg::GOAL_POSITION.decode(&value[1..]))).collect()
            })
            .collect()
    }

    /// How often the arm was connected: the first motor is asked then who is there.
    pub fn connections(&self) -> usize {
        self.0
            .iter()
            .filter(|bytes| bytes[4] == 0x03 && bytes[2] == 1 && bytes[5] == reg::RETURN_DELAY_TIME.addr)
            .count()
    }
}
