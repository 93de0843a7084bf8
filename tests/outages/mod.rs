//! Devices that are away at given times: the run's own ones, with a plug between.
#![allow(dead_code)] // each test binary uses its part

use recorder::arm::{ArmError, Health, Reading, Robot, Teleop, open_robot, open_teleop};
use recorder::camera::{self, Camera, CameraError, Mode, Picture};
use recorder::clock::Clock;
use recorder::devices::Devices;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What [`run_support::simulated`] starts at.
pub const START_NS: u64 = 1_000_000_000;

/// When a device is away, in seconds since the start of a simulated run; cameras by name, `follower`, `leader`.
#[derive(Clone, Default)]
pub struct Outages(BTreeMap<&'static str, Vec<(f64, f64)>>);

impl Outages {
    pub fn of(devices: &[(&'static str, &[(f64, f64)])]) -> Outages {
        Outages(devices.iter().map(|(device, spans)| (*device, spans.to_vec())).collect())
    }

    fn has(&self, device: &str, now_ns: u64) -> bool {
        let seconds = now_ns.saturating_sub(START_NS) as f64 / 1e9;
        self.0.get(device).into_iter().flatten().any(|(from, to)| (*from..*to).contains(&seconds))
    }

    /// The run's own devices, whenever they are there.
    pub fn devices(self) -> Devices {
        let (for_cameras, for_robot, for_teleop) = (self.clone(), self.clone(), self);
        Devices {
            camera: Arc::new(move |name, config, clock, rank| {
                if for_cameras.has(name, clock.now().mono_ns) {
                    let present = "The test has pulled the plug".into();
                    return Err(CameraError::Absent { camera: name.into(), path: "/dev/test".into(), present });
                }
                let inner = camera::open(name, config, clock, rank)?;
                Ok(Box::new(Unsteady { inner, name: name.into(), outages: for_cameras.clone() }))
            }),
            robot: Arc::new(move |config, clock| {
                for_robot.arm("follower", clock.as_ref())?;
                let plug = Plug { arm: "follower", outages: for_robot.clone(), clock: clock.clone() };
                Ok(open_robot(config, clock)?.map(|inner| Box::new(Arm { inner, plug }) as Box<dyn Robot>))
            }),
            teleop: Arc::new(move |config, clock| {
                for_teleop.arm("leader", clock.as_ref())?;
                let plug = Plug { arm: "leader", outages: for_teleop.clone(), clock: clock.clone() };
                Ok(open_teleop(config, clock)?.map(|inner| Box::new(Arm { inner, plug }) as Box<dyn Teleop>))
            }),
        }
    }

    fn arm(&self, arm: &str, clock: &dyn Clock) -> Result<(), ArmError> {
        match self.has(arm, clock.now().mono_ns) {
            true => Err(ArmError::PortUnusable { port: arm.into(), reason: "the test has pulled the plug".into() }),
            false => Ok(()),
        }
    }
}

struct Unsteady {
    inner: Box<dyn Camera>,
    name: Box<str>,
    outages: Outages,
}

impl Camera for Unsteady {
    fn mode(&self) -> &Mode {
        self.inner.mode()
    }

    fn next(&mut self, timeout: Duration) -> Result<Picture<'_>, CameraError> {
        let picture = self.inner.next(timeout)?;
        if self.outages.has(&self.name, picture.captured.mono_ns) {
            let (camera, words) = (self.name.clone(), "the test has pulled the plug".into());
            return Err(CameraError::Lost { camera, path: "/dev/test".into(), words });
        }
        Ok(picture)
    }
}

struct Plug {
    arm: &'static str,
    outages: Outages,
    clock: Arc<dyn Clock>,
}

impl Plug {
    fn check(&self) -> Result<(), ArmError> {
        self.outages.arm(self.arm, self.clock.as_ref())
    }
}

struct Arm<T: ?Sized> {
    plug: Plug,
    inner: Box<T>,
}

impl Robot for Arm<dyn Robot> {
    fn features(&self) -> Vec<String> {
        self.inner.features()
    }

    fn observe(&mut self, deadline: Instant) -> Result<Reading, ArmError> {
        self.plug.check()?;
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

    fn shutdown(&mut self) -> Vec<ArmError> {
        self.inner.shutdown()
    }
}

impl Teleop for Arm<dyn Teleop> {
    fn features(&self) -> Vec<String> {
        self.inner.features()
    }

    fn action(&mut self, deadline: Instant) -> Result<Reading, ArmError> {
        self.plug.check()?;
        self.inner.action(deadline)
    }

    fn shutdown(&mut self) -> Vec<ArmError> {
        self.inner.shutdown()
    }
}
