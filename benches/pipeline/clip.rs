//! The clip that all cameras play: what a webcam would deliver, drawn by the synthetic camera.

use crate::Result;
use recorder::camera;
use recorder::clock::{Clock, Rank, SimulatedClock, Stamp};
use recorder::config::schema::{Camera, CameraKind};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub const WIDTH: u32 = 1280;
pub const HEIGHT: u32 = 720;
pub const FPS: u32 = 30;
/// Pictures; the clip loops without a jump.
pub const FRAMES: usize = 120;

/// Where the clip is.
pub fn path(dir: &Path) -> PathBuf {
    dir.join("clip.mjpeg")
}

/// Draws the clip into `dir`.
pub fn write(dir: &Path) -> Result<()> {
    let config = Camera { fps: FPS, realtime: false, ..Camera::new(CameraKind::Synthetic, WIDTH, HEIGHT) };
    let clock: Arc<dyn Clock> = Arc::new(SimulatedClock::new(Stamp::default()));
    let mut camera = camera::open("clip", &config, &clock, Rank(0))?;
    let mut file = File::create(path(dir))?;
    let mut bytes = 0;
    for _ in 0..FRAMES {
        let picture = camera.next(Duration::from_secs(1))?;
        bytes += picture.data.len();
        file.write_all(picture.data)?;
    }
    println!("clip: {WIDTH}x{HEIGHT}, {FRAMES} frames of {} KB on average, synthetic", bytes / FRAMES / 1000);
    Ok(())
}

/// The pictures of the clip, found by their end marks: in entropy-coded data no mark but a restart's can stand.
pub fn read(dir: &Path) -> Result<Vec<Vec<u8>>> {
    let bytes = fs::read(path(dir))?;
    let mut pictures = Vec::new();
    let mut start = 0;
    for (at, mark) in bytes.windows(4).enumerate() {
        if mark == [0xff, 0xd9, 0xff, 0xd8] {
            pictures.push(bytes[start..at + 2].to_vec());
            start = at + 2;
        }
    }
    pictures.push(bytes[start..].to_vec());
    Ok(pictures)
}
