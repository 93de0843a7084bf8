//! Cameras with manners: a synthetic one, with the test between it and the run.
#![allow(dead_code)] // each test binary uses its part

use recorder::camera::controls::Change;
use recorder::camera::{self, Camera, CameraError, Mode, Picture};
use recorder::clock::Clock;
use recorder::config::schema;
use recorder::devices::Devices;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What [`run_support::simulated`] starts at.
pub const START_NS: u64 = 1_000_000_000;

/// How a camera behaves, in seconds since the start of a simulated run; else as it should.
#[derive(Clone, Default)]
pub struct Manners {
    /// Its real rate; it says that of the configuration.
    pub fps: Option<u32>,
    /// Of every three pictures one does not come, nor does the driver count it.
    pub slow: Option<(f64, f64)>,
    /// Of every ten pictures the driver loses one.
    pub lossy: Option<(f64, f64)>,
    /// From then on there is no picture, until it is opened anew.
    pub frozen: Option<f64>,
    /// From then on its pictures are this one, until it is opened anew.
    pub resized: Option<(f64, Vec<u8>)>,
    /// What is found when its controls are looked at from then on, once.
    pub changed: Option<(f64, Change)>,
    pub causes: Vec<String>,
}

/// The front camera has these manners; the others none. Whatever type is configured, they are synthetic.
pub fn front(manners: Manners) -> Devices {
    let has_failed = Arc::new(AtomicBool::new(false));
    Devices {
        camera: Arc::new(move |name, config, clock, rank| {
            let mut manners = if name == "front" { manners.clone() } else { Manners::default() };
            // Opened anew it is well.
            if has_failed.load(Ordering::Relaxed) {
                (manners.frozen, manners.resized) = (None, None);
            }
            let kind = schema::CameraKind::Synthetic;
            let real = schema::Camera { kind, fps: manners.fps.unwrap_or(config.fps), ..config.clone() };
            let inner = camera::open(name, &real, clock, rank)?;
            let mode = Mode { fps: (config.fps, 1), ..inner.mode().clone() };
            let (clock, has_failed) = (clock.clone(), has_failed.clone());
            Ok(Box::new(Mannered { inner, mode, manners, clock, has_failed, uncounted: 0 }))
        }),
        ..Devices::default()
    }
}

struct Mannered {
    inner: Box<dyn Camera>,
    mode: Mode,
    manners: Manners,
    clock: Arc<dyn Clock>,
    has_failed: Arc<AtomicBool>,
    uncounted: u64,
}

fn seconds(mono_ns: u64) -> f64 {
    mono_ns.saturating_sub(START_NS) as f64 / 1e9
}

impl Camera for Mannered {
    fn mode(&self) -> &Mode {
        &self.mode
    }

    fn next(&mut self, timeout: Duration) -> Result<Picture<'_>, CameraError> {
        let Mannered { inner, manners, clock, has_failed, uncounted, .. } = self;
        let picture = inner.next(timeout)?;
        let at = seconds(clock.now().mono_ns);
        let is_in = |span: Option<(f64, f64)>| span.is_some_and(|(from, to)| (from..to).contains(&at));
        if is_in(manners.slow) && picture.sequence % 3 == 0 {
            *uncounted += 1;
            return Err(CameraError::Timeout);
        }
        if is_in(manners.lossy) && picture.sequence % 10 == 0 {
            return Err(CameraError::Timeout);
        }
        if manners.frozen.is_some_and(|from| at >= from) {
            has_failed.store(true, Ordering::Relaxed);
            return Err(CameraError::Timeout);
        }
        let sequence = picture.sequence - *uncounted;
        if let Some((_, data)) = manners.resized.as_ref().filter(|(from, _)| at >= *from) {
            has_failed.store(true, Ordering::Relaxed);
            return Ok(Picture { sequence, data, ..picture });
        }
        Ok(Picture { sequence, ..picture })
    }

    fn look_after(&mut self) -> Vec<Change> {
        let now = seconds(self.clock.now().mono_ns);
        self.manners.changed.take_if(|(from, _)| now >= *from).map(|(_, change)| change).into_iter().collect()
    }

    fn slow_causes(&mut self) -> Vec<String> {
        self.manners.causes.clone()
    }
}

/// A control that somebody else has changed.
pub fn change() -> Change {
    Change {
        control: "gain".into(),
        set: 12,
        found: 80,
        set_back: true,
        words: "gain was set to 12 and found at 80: it is set back".into(),
    }
}
