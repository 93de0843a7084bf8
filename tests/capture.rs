//! What becomes of a picture's bytes from the device's memory to the file: one allocation, one copy.

mod media;
mod run_support;

use media::textured;
use recorder::camera::{self, Camera, CameraError, Mode, Picture};
use recorder::devices::Devices;
use run_support::{SMALL, config, simulated, start_on, summaries};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const WIDTH: usize = 640;
const HEIGHT: usize = 480;

/// Counts allocations of the sizes that pictures have.
struct Counting;

static SMALLEST: AtomicUsize = AtomicUsize::new(usize::MAX);
static LARGEST: AtomicUsize = AtomicUsize::new(0);
static COUNTED: AtomicUsize = AtomicUsize::new(0);

fn count(bytes: usize) {
    if (SMALLEST.load(Ordering::Relaxed)..=LARGEST.load(Ordering::Relaxed)).contains(&bytes) {
        COUNTED.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call is passed on as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promises are those that are asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A camera whose pictures lie in memory, as in a driver's buffers: longer than the picture, with the last one's rest in them.
struct Buffers {
    inner: Box<dyn Camera>,
    buffers: Arc<Vec<Vec<u8>>>,
}

impl Camera for Buffers {
    fn mode(&self) -> &Mode {
        self.inner.mode()
    }

    fn next(&mut self, timeout: Duration) -> Result<Picture<'_>, CameraError> {
        let Picture { sequence, captured, .. } = self.inner.next(timeout)?;
        let data = &self.buffers[sequence as usize % self.buffers.len()];
        Ok(Picture { sequence, captured, data })
    }
}

/// Nothing of a picture's size is allocated but once for each frame, whatever becomes of it: the sample is the frame's memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_picture_is_copied_once() {
    const ROWS: u64 = 60;
    let pictures: Vec<Vec<u8>> = (0..8).map(|k| textured(WIDTH, HEIGHT, k)).collect();
    let sizes = || pictures.iter().map(Vec::len);
    let (smallest, largest) = (sizes().min().unwrap(), sizes().max().unwrap());
    let buffers: Vec<Vec<u8>> = pictures.iter().map(|jpeg| [&jpeg[..], &jpeg[jpeg.len() / 2..]].concat()).collect();
    let buffers = Arc::new(buffers);
    let (dir, clip) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
    // The file's camera keeps one buffer; its picture has another size.
    std::fs::write(clip.path(), media::jpeg(WIDTH, HEIGHT, turbojpeg::Subsamp::Sub2x1, 50, |_, _| [90; 3])).unwrap();
    let (path, width, height) = (clip.path().display().to_string(), WIDTH.to_string(), HEIGHT.to_string());
    let keys = [("type", "file"), ("index_or_path", &path), ("width", &width), ("height", &height)];
    let cameras =
        ["front", "wrist"].map(|name| keys.map(|(key, value)| (format!("robot.cameras.{name}.{key}"), value)));
    let mut overrides: Vec<(&str, &str)> =
        cameras.iter().flatten().map(|(key, value)| (key.as_str(), *value)).collect();
    overrides.extend([
        ("dataset.num_episodes", "1"),
        ("dataset.episode_time_s", "2"),
        ("dataset.encoder.codec", "copy"),
    ]);
    let root = dir.path().join("set");
    let config = config(SMALL, &root, &overrides);
    let devices = Devices {
        camera: Arc::new(move |name, config, clock, rank| {
            Ok(Box::new(Buffers { inner: camera::open(name, config, clock, rank)?, buffers: buffers.clone() }))
        }),
        ..Devices::default()
    };
    SMALLEST.store(smallest, Ordering::Relaxed);
    LARGEST.store(largest, Ordering::Relaxed);
    let (running, _) = start_on(&config, simulated(), devices).await;
    running.wait().await.unwrap();
    LARGEST.store(0, Ordering::Relaxed);
    let counted = COUNTED.load(Ordering::Relaxed);
    let [summary] = &summaries(&root)[..] else { panic!("one episode") };
    let captured: u64 = summary.cameras.values().map(|camera| camera.counters.captured).sum();
    assert_eq!((summary.length, captured), (ROWS, 2 * ROWS));
    // A few pictures come before the first row and after the last one.
    println!("{counted} allocations of {smallest} to {largest} bytes, {captured} frames in rows");
    assert!((captured..captured + 20).contains(&(counted as u64)), "{counted} for {captured} frames");
    run_support::check(&root);
}
