//! Devices that are not as they should be.

use super::page::Looks;
use recorder::arm::sim::{Fault, SimBus, SimKind};
use recorder::arm::so101::Follower;
use recorder::arm::{ArmError, Health, Motor, Reading, Robot, Teleop, open_robot, open_teleop};
use recorder::camera::{self, Camera, CameraError, Mode, Picture};
use recorder::devices::Devices;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Changes a picture's number and bytes.
pub type Change = fn(&mut u64, &mut Vec<u8>);

/// The front camera with another thing in the place of some pictures.
pub fn front_camera(change: Change) -> Devices {
    Devices {
        camera: Arc::new(move |name, config, clock, rank| {
            let inner = camera::open(name, config, clock, rank)?;
            match name {
                "front" => Ok(Box::new(Changed { inner, bytes: Vec::new(), change })),
                _ => Ok(inner),
            }
        }),
        ..Devices::default()
    }
}

struct Changed {
    inner: Box<dyn Camera>,
    bytes: Vec<u8>,
    change: Change,
}

impl Camera for Changed {
    fn mode(&self) -> &Mode {
        self.inner.mode()
    }

    fn next(&mut self, timeout: Duration) -> Result<Picture<'_>, CameraError> {
        let picture = self.inner.next(timeout)?;
        let (mut sequence, captured) = (picture.sequence, picture.captured);
        self.bytes.clear();
        self.bytes.extend_from_slice(picture.data);
        (self.change)(&mut sequence, &mut self.bytes);
        Ok(Picture { sequence, captured, data: &self.bytes })
    }
}

/// A simulated bus of its own for the follower, which meets `before` while it is connected, and `after` from then on.
pub fn follower_bus(before: &'static [(Fault, u8)], after: &'static [(Fault, u8)]) -> Devices {
    Devices {
        robot: Arc::new(move |config, clock| {
            let bus = SimBus::start(SimKind::Follower, clock.clone())?;
            let mut config = config.clone();
            config.port = Some(bus.path().into());
            config.id = Some("f1".into());
            let calibration = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/arm/calib/robots/so_follower");
            config.calibration_dir = Some(calibration);
            let inject =
                |faults: &[(Fault, u8)]| faults.iter().for_each(|(fault, id)| bus.inject(*fault, Some(*id), 20));
            inject(before);
            let inner = Follower::connect(&config, clock)?;
            inject(after);
            Ok(Some(Box::new(Bussed { inner, _bus: bus })))
        }),
        ..Devices::default()
    }
}

struct Bussed {
    inner: Follower,
    _bus: SimBus,
}

impl Robot for Bussed {
    fn features(&self) -> Vec<String> {
        self.inner.features()
    }

    fn observe(&mut self, deadline: Instant) -> Result<Reading, ArmError> {
        self.inner.observe(deadline)
    }

    fn approach(&mut self, seconds: f64) {
        self.inner.approach(seconds);
    }

    fn send(&mut self, action: &[f32], deadline: Instant) -> Result<Vec<f32>, ArmError> {
        self.inner.send(action, deadline)
    }

    fn look_after(&mut self, deadline: Instant) {
        self.inner.look_after(deadline);
    }

    fn health(&self) -> Vec<Health> {
        self.inner.health()
    }

    fn take_faults(&mut self) -> Vec<ArmError> {
        self.inner.take_faults()
    }

    fn shutdown(&mut self) -> Vec<ArmError> {
        self.inner.shutdown()
    }
}

/// A follower that is silent from its 20th to its 22nd look.
pub fn silent_follower() -> Devices {
    Devices {
        robot: Arc::new(|config, clock| {
            let inner = open_robot(config, clock)?;
            Ok(inner.map(|inner| Box::new(Silent { inner, looks: 0 }) as Box<dyn Robot>))
        }),
        ..Devices::default()
    }
}

struct Silent {
    inner: Box<dyn Robot>,
    looks: u32,
}

impl Robot for Silent {
    fn features(&self) -> Vec<String> {
        self.inner.features()
    }

    fn observe(&mut self, deadline: Instant) -> Result<Reading, ArmError> {
        self.looks += 1;
        let motor = Motor { id: 1, name: "shoulder_pan" };
        match self.looks {
            20..23 => Err(ArmError::Timeout { port: "the test".into(), motor, waited: Duration::ZERO }),
            _ => self.inner.observe(deadline),
        }
    }

    fn send(&mut self, action: &[f32], deadline: Instant) -> Result<Vec<f32>, ArmError> {
        self.inner.send(action, deadline)
    }

    fn shutdown(&mut self) -> Vec<ArmError> {
        self.inner.shutdown()
    }
}

/// A leader that is silent from its 10th to its 34th look; the page is looked at with the 30th.
pub fn silent_leader(looks: Looks) -> Devices {
    Devices {
        teleop: Arc::new(move |config, clock| {
            let (inner, looks) = (open_teleop(config, clock)?, looks.clone());
            Ok(inner.map(|inner| Box::new(SilentLeader { inner, looks, count: 0 }) as Box<dyn Teleop>))
        }),
        ..Devices::default()
    }
}

struct SilentLeader {
    inner: Box<dyn Teleop>,
    looks: Looks,
    count: u32,
}

impl Teleop for SilentLeader {
    fn features(&self) -> Vec<String> {
        self.inner.features()
    }

    fn action(&mut self, deadline: Instant) -> Result<Reading, ArmError> {
        self.count += 1;
        if self.count == 30 {
            self.looks.look();
        }
        let motor = Motor { id: 1, name: "shoulder_pan" };
        match self.count {
            10..34 => Err(ArmError::Timeout { port: "the test".into(), motor, waited: Duration::ZERO }),
            _ => self.inner.action(deadline),
        }
    }

    fn shutdown(&mut self) -> Vec<ArmError> {
        self.inner.shutdown()
    }
}
