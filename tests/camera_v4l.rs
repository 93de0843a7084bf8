//! V4L2 cameras: what is refused without one, and (where one is named) what it delivers.

mod media;

use recorder::camera::{self, CameraError};
use recorder::clock::{Clock, Rank, SystemClock};
use recorder::codec::jpeg;
use recorder::config::schema::{Camera, CameraKind, IndexOrPath};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn open(config: &Camera) -> Result<Box<dyn camera::Camera>, CameraError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    camera::open("front", config, &clock, Rank(0))
}

fn refused(config: &Camera) -> String {
    open(config).err().expect("refused").to_string()
}

#[test]
fn devices_that_are_none_are_named() {
    let at = |path: &str| media::camera(CameraKind::V4l, Some(Path::new(path)), 640, 480);
    let absent = refused(&at("/dev/v4l/by-id/no-such-camera"));
    assert!(
        absent.contains("camera front: /dev/v4l/by-id/no-such-camera does not exist. This machine has"),
        "{absent}"
    );
    let index = refused(&Camera { index_or_path: Some(IndexOrPath::Index(987)), ..at("") });
    assert!(index.contains("/dev/video987 does not exist"), "{index}");
    for path in ["/dev/null", "/dev", "/etc/hostname"] {
        let error = refused(&at(path));
        assert!(error.contains(path) && !error.contains("does not exist"), "{error}");
    }
    let null = refused(&at("/dev/null"));
    assert!(null.contains("is not a video capture device"), "{null}");
    let fourcc = refused(&Camera { fourcc: "YV12".into(), ..at("/dev/null") });
    assert!(fourcc.contains("fourcc is \"YV12\", expected \"MJPG\", \"YUYV\""), "{fourcc}");
    let unset = refused(&Camera { index_or_path: None, ..at("") });
    assert!(unset.contains("index_or_path is not set"), "{unset}");
}

/// `RECORDER_TEST_CAMERA` as path:fourcc:WxH.
fn named_camera() -> Camera {
    let named = std::env::var("RECORDER_TEST_CAMERA").expect("RECORDER_TEST_CAMERA=path:fourcc:WxH");
    let parts: Vec<&str> = named.split(':').collect();
    let &[path, fourcc, size] = &parts[..] else { panic!("RECORDER_TEST_CAMERA={named}, expected path:fourcc:WxH") };
    let (width, height) = size.split_once('x').expect("WxH");
    let config = media::camera(CameraKind::V4l, Some(Path::new(path)), width.parse().unwrap(), height.parse().unwrap());
    Camera { fourcc: fourcc.into(), ..config }
}

/// Needs a camera: `RECORDER_TEST_CAMERA=/dev/video0:MJPG:1280x720 cargo test --test camera_v4l -- --ignored`.
#[test]
#[ignore = "needs a camera, named in RECORDER_TEST_CAMERA"]
fn a_real_camera_delivers_and_refuses() {
    let good = named_camera();
    let (width, height) = (good.width, good.height);

    let size = refused(&Camera { width: width + 2, ..good.clone() });
    assert!(size.contains("It offers, nearest first:") && size.contains(&format!("{width}x{height}")), "{size}");

    let clock = SystemClock::default();
    let mut camera = open(&good).unwrap();
    assert_eq!((camera.mode().width, camera.mode().height), (width, height));
    let busy = refused(&good);
    assert!(busy.contains("in use by this very program"), "{busy}");
    let mut last = None;
    for _ in 0..60 {
        let picture = loop {
            match camera.next(Duration::from_millis(5)) {
                // Shorter than a period: running out of time must not cost a buffer.
                Err(CameraError::Timeout) => {}
                Err(error) => panic!("{error}"),
                Ok(picture) => break picture,
            }
        };
        let now = clock.now();
        assert!(picture.captured <= now && now.mono_ns - picture.captured.mono_ns < 10_000_000_000);
        if let Some((sequence, captured)) = last {
            assert!(picture.sequence > sequence && picture.captured > captured);
        }
        last = Some((picture.sequence, picture.captured));
        match good.fourcc.as_str() {
            "MJPG" => drop(jpeg::parse_sized(picture.data, width, height).unwrap()),
            _ => assert_eq!(picture.data.len(), (width * height * 2) as usize),
        }
    }
    drop(camera);
    let mut again = open(&good).expect("a closed camera can be opened again");
    again.next(Duration::from_secs(5)).unwrap();
}

/// Needs a camera that a command can unplug: `RECORDER_TEST_CAMERA=…  RECORDER_TEST_UNPLUG='echo unplug cam0 >/tmp/ctl'`.
#[test]
#[ignore = "needs a camera in RECORDER_TEST_CAMERA, and the command in RECORDER_TEST_UNPLUG that unplugs it"]
fn an_unplugged_camera_is_lost_and_then_absent() {
    let good = named_camera();
    let unplug = std::env::var("RECORDER_TEST_UNPLUG").expect("RECORDER_TEST_UNPLUG=command");
    let mut camera = open(&good).unwrap();
    camera.next(Duration::from_secs(5)).unwrap();
    assert!(std::process::Command::new("sh").args(["-c", &unplug]).status().unwrap().success());
    let error = loop {
        match camera.next(Duration::from_millis(100)) {
            Ok(_) | Err(CameraError::Timeout) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, CameraError::Lost { .. }), "{error}");
    assert!(matches!(camera.next(Duration::from_millis(100)), Err(CameraError::Lost { .. })), "it stays lost");
    drop(camera);
    let gone = refused(&good);
    assert!(gone.contains("does not exist"), "{gone}");
}
