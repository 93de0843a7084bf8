//! Synthetic cameras: what they show, when, and at which cost.

mod media;

use recorder::camera::synthetic::read_counter;
use recorder::camera::{self, CameraError, Mode};
use recorder::clock::{Clock, Rank, SimulatedClock, Stamp, SystemClock, tick_ns};
use recorder::codec::jpeg::{self, Decoder};
use recorder::codec::yuv::I420;
use recorder::config::schema::{CameraKind, ColorRange};
use recorder::frame::PixelFormat;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

fn simulated() -> Arc<dyn Clock> {
    Arc::new(SimulatedClock::new(Stamp { mono_ns: 5_000, utc_ns: 1_700_000_000_000_000_000 }))
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn every_picture_is_whole_numbered_and_on_the_grid() {
    for (width, height) in [(640, 480), (322, 242), (64, 48)] {
        let clock = simulated();
        let config = media::camera(CameraKind::Synthetic, None, width, height);
        let mut camera = camera::open("front", &config, &clock, Rank(0)).unwrap();
        assert_eq!(*camera.mode(), Mode { format: PixelFormat::Mjpg, width, height, fps: (30, 1) });
        let mut decoder = Decoder::new().unwrap();
        let mut picture = I420::grey(width, height, ColorRange::Full);
        let mut seen = HashSet::new();
        for number in 0..130 {
            let taken = camera.next(SECOND).unwrap();
            assert_eq!(taken.sequence, number);
            assert_eq!(taken.captured.mono_ns, 5_000 + tick_ns(number, 30));
            assert_eq!(jpeg::parse(taken.data).map(|structure| structure.end), Ok(taken.data.len()));
            decoder.decode(taken.data, &mut picture).unwrap();
            assert_eq!(read_counter(picture.planes()[0], width as usize, height as usize), Some(number as u32));
            seen.insert(taken.data.to_vec());
        }
        assert_eq!(seen.len(), 130, "{width}x{height}: no two pictures are alike");
    }
}

#[test]
fn the_same_clock_gives_the_same_pictures_and_names_differ() {
    let pictures = |name: &str| -> Vec<Vec<u8>> {
        let config = media::camera(CameraKind::Synthetic, None, 160, 120);
        let mut camera = camera::open(name, &config, &simulated(), Rank(0)).unwrap();
        (0..5).map(|_| camera.next(SECOND).unwrap().data.to_vec()).collect()
    };
    assert_eq!(pictures("front"), pictures("front"));
    assert_ne!(pictures("front"), pictures("wrist"));
}

#[test]
fn a_stopped_clock_ends_it() {
    for clock in [simulated(), Arc::new(SystemClock::default())] {
        let config = media::camera(CameraKind::Synthetic, None, 64, 48);
        let mut camera = camera::open("front", &config, &clock, Rank(0)).unwrap();
        camera.next(SECOND).unwrap();
        clock.stop();
        assert!(matches!(camera.next(SECOND), Err(CameraError::Stopped)));
    }
}

#[test]
fn in_real_time_a_late_caller_finds_a_gap_and_the_newest_picture() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let config = recorder::config::schema::Camera { fps: 200, ..media::camera(CameraKind::Synthetic, None, 64, 48) };
    let mut camera = camera::open("front", &config, &clock, Rank(0)).unwrap();
    let first = camera.next(SECOND).unwrap().captured.mono_ns;
    // Away for 30 periods.
    let back = first + 150_000_000;
    assert!(clock.join(Rank(1)).sleep_until(back));
    let taken = camera.next(SECOND).unwrap();
    assert!(taken.sequence >= 30, "picture {}", taken.sequence);
    assert_eq!(taken.captured.mono_ns, first + tick_ns(taken.sequence, 200));
    assert!(taken.captured.mono_ns + 5_000_000 > back);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let good = media::camera(CameraKind::Synthetic, None, 640, 480);
    let check = |config: recorder::config::schema::Camera, words: &[&str]| {
        let error = camera::open("front", &config, &simulated(), Rank(0)).err().expect("refused").to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    check(recorder::config::schema::Camera { width: 641, ..good.clone() }, &["front", "641x480", "even"]);
    check(recorder::config::schema::Camera { height: 16, ..good.clone() }, &["640x16", "64x48"]);
    check(recorder::config::schema::Camera { width: 100_000, ..good.clone() }, &["100000x480", "4096"]);
    check(recorder::config::schema::Camera { fourcc: "YUYV".into(), ..good.clone() }, &["fourcc", "YUYV", "MJPG"]);
    check(recorder::config::schema::Camera { fps: 0, ..good }, &["fps", "at least 1"]);
}
