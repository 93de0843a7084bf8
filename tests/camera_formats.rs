//! Whole runs, in simulated time, of cameras that are turned or cut, and of cameras that encode themselves: what the rows say
//! is what the videos show, however the pictures got there.

mod run_support;

use recorder::actors::recorder::RunError;
use recorder::clock::{Clock, Rank, SimulatedClock, Stamp};
use recorder::codec::backend::{self, Device, OpenEncoder};
use recorder::codec::bitstream::{annex_b_units, nal_units};
use recorder::codec::h264::Decoder;
use recorder::codec::stream::VideoStream;
use recorder::config::Config;
use recorder::config::schema::{Camera, CameraKind};
use recorder::dataset::Mp4Index;
use recorder::frame::{Frame, PixelFormat};
use recorder::{budget::Budget, camera, run};
use run_support::*;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

const DEFERRED: (&str, &str) = ("dataset.streaming_encoding", "false");

/// Turned by a quarter and cut to the half where the numbers are: 80 pixels wide, 160 high.
const TURNED: [(&str, &str); 4] = [
    ("robot.cameras.front.width", "120"),
    ("robot.cameras.front.height", "160"),
    ("robot.cameras.front.rotation", "90"),
    ("robot.cameras.front.crop", "{left = 40, top = 0, width = 80, height = 160}"),
];

fn shape(root: &Path, camera: &str) -> serde_json::Value {
    let info: serde_json::Value = serde_json::from_slice(&std::fs::read(root.join("meta/info.json")).unwrap()).unwrap();
    info["features"][format!("observation.images.{camera}")].clone()
}

/// The luma of every picture of a video, decoded by FFmpeg.
fn pictures(root: &Path, camera: &str, episode: usize, size: usize) -> Vec<Vec<u8>> {
    let path = root.join(format!("videos/observation.images.{camera}/chunk-000/file-{episode:03}.mp4"));
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-i"]).arg(&path);
    let output =
        command.args(["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "-"]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout.chunks(size).map(<[u8]>::to_vec).collect()
}

/// The rows' pictures are those that they say, turned back; the video has the size of what is recorded.
fn turned_pictures_are_shown(root: &Path, episodes: usize) {
    check(root);
    assert_eq!(shape(root, "front")["shape"], serde_json::json!([160, 80, 3]));
    for episode in 0..episodes {
        let shown = pictures(root, "front", episode, 80 * 160);
        let numbers = shown.iter().map(|picture| {
            // Against the clock: what was the right column is the top row again.
            let upright: Vec<u8> =
                (0..80).flat_map(|y| (0..160).map(move |x| (x, y))).map(|(x, y)| picture[x * 80 + 79 - y]).collect();
            camera::synthetic::read_counter(&upright, 160, 80).map_or(-1, i64::from)
        });
        let rows = Rows::read(root, episode);
        assert_eq!(numbers.collect::<Vec<_>>(), rows.ints("observation.images.front/sequence"), "episode {episode}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn turned_and_cut_pictures_are_recorded_whatever_their_way() {
    let mut videos = Vec::new();
    for more in [&[][..], &[DEFERRED], &[DEFERRED, ("dataset.async_video_encoding", "true")]] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("set");
        let config = config(SMALL, &root, &[&TURNED[..], more].concat());
        assert_eq!(record(&config, simulated(), backend::standard()).await.saved, 2);
        turned_pictures_are_shown(&root, 2);
        videos.push(std::fs::read(root.join("videos/observation.images.front/chunk-000/file-000.mp4")).unwrap());
    }
    assert!(videos.iter().all(|video| *video == videos[0]), "the same bytes, encoded at once or later");
}

/// An encoder that fails in the middle: the next one is given the captured pictures again, and turns them too.
#[tokio::test(flavor = "multi_thread")]
async fn turned_pictures_survive_a_failing_encoder() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    let failed = std::sync::atomic::AtomicBool::new(false);
    let open = tampered(move |index| match index == 20 && !failed.swap(true, std::sync::atomic::Ordering::SeqCst) {
        true => Err(failure()),
        false => Ok(()),
    });
    let config = config(SMALL, &root, &TURNED);
    assert_eq!(record(&config, simulated(), open).await.saved, 2);
    turned_pictures_are_shown(&root, 2);
}

/// Records with encoders that stand still, and ends the program before anything is encoded.
async fn leave_waiting(config: &Arc<Config>) {
    let (gate, open) = gated();
    let (running, status) = start(config, simulated(), open).await;
    until(&status, "both are recorded", |s| s.waiting == 2).await;
    running.controls().abort();
    assert!(matches!(running.wait().await, Err(RunError::Failed(_))));
    gate.open();
}

fn regenerate(root: &Path, codec: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_recorder"));
    let output = command.arg("regenerate").arg(root).args(["--cpu", "--codec", codec]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What waits says itself how it is to be turned: a later run need not know.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_pictures_are_turned_as_they_were_to_be() {
    let later = [DEFERRED, ("dataset.async_video_encoding", "true")];
    for by_program in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("set");
        leave_waiting(&config(SMALL, &root, &[&TURNED[..], &later].concat())).await;
        if by_program {
            regenerate(&root, "h264");
        } else {
            // The camera was turned meanwhile.
            let now = [("robot.cameras.front.width", "80"), ("robot.cameras.front.height", "160")];
            let config = config(SMALL, &root, &[&now[..], &[("dataset.num_episodes", "1")]].concat());
            assert_eq!(record(&config, simulated(), backend::standard()).await.saved, 3);
        }
        turned_pictures_are_shown(&root, 2);
    }
}

const W: u32 = 162;
const H: u32 = 122;
/// Pictures of the clip, and from one of its key frames to the next.
const CLIP: usize = 40;
const GOP: usize = 8;

/// A clip of numbered pictures as a camera would encode them: a byte stream, and its access units.
fn clip(path: &Path) -> Vec<Vec<u8>> {
    clip_in(path, "limited")
}

fn clip_in(path: &Path, range: &str) -> Vec<Vec<u8>> {
    let clock: Arc<dyn Clock> = Arc::new(SimulatedClock::new(Stamp::default()));
    let mut source = camera::open("clip", &Camera::new(CameraKind::Synthetic, W, H), &clock, Rank(0)).unwrap();
    let overrides = [("dataset.encoder.gop", &*GOP.to_string()), ("dataset.encoder.color_range", range)];
    let config = config(SMALL, Path::new("unused"), &overrides);
    let mut encoder = VideoStream::open(run::stream_params(&config, W, H), Device::Cpu).unwrap();
    let budget = Budget::new(usize::MAX, usize::MAX);
    let units: Vec<Vec<u8>> = (0..CLIP)
        .map(|index| {
            let picture = source.next(Duration::from_secs(1)).unwrap();
            let (sequence, captured, arrived) = (picture.sequence, picture.captured, picture.captured);
            let (data, view, coded) = (picture.data.to_vec().into(), Default::default(), None);
            let (camera, format, width, height) = (0, PixelFormat::Mjpg, W, H);
            let credit = budget.acquire(picture.data.len());
            let frame = Frame { camera, sequence, captured, arrived, format, width, height, view, data, coded, credit };
            let sample = encoder.encode(&Arc::new(frame), index as u64).unwrap().sample;
            nal_units(&sample.data).flat_map(|nal| [&[0, 0, 0, 1], nal].concat()).collect()
        })
        .collect();
    std::fs::write(path, units.concat()).unwrap();
    units
}

/// The front camera encodes itself; the other one does not.
fn encodes_itself<'a>(path: &'a str, fps: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("robot.cameras.front.type", "file"),
        ("robot.cameras.front.index_or_path", path),
        ("robot.cameras.front.fourcc", "H264"),
        ("robot.cameras.front.width", "162"),
        ("robot.cameras.front.height", "122"),
        ("robot.cameras.front.fps", fps),
    ]
}

/// Holds every row's picture against its number, the summary's count, and every sample against the camera's access unit: stored as it came
/// exactly where it may be. How many were.
fn pictures_are_stored_as_they_came(root: &Path, episodes: usize, units: &[Vec<u8>]) -> usize {
    check(root);
    assert_eq!(shape(root, "front")["info"]["video.codec"], "h264");
    let mut stored = 0;
    for episode in 0..episodes {
        let rows = Rows::read(root, episode);
        let sequence: Vec<usize> = rows.ints("observation.images.front/sequence").iter().map(|n| *n as usize).collect();
        let expected: Vec<i64> = sequence.iter().map(|n| (n % CLIP) as i64).collect();
        let seen = burnt_in(root, "front", episode, W as usize, H as usize);
        assert_eq!(seen.iter().map(|n| n.map_or(-1, i64::from)).collect::<Vec<_>>(), expected, "episode {episode}");
        let path = root.join(format!("videos/observation.images.front/chunk-000/file-{episode:03}.mp4"));
        let (index, file) = (Mp4Index::read(&path).unwrap(), std::fs::File::open(&path).unwrap());
        assert_eq!(index.samples.len(), rows.len());
        let before_this = stored;
        let mut before: Option<usize> = None;
        for (row, &n) in sequence.iter().enumerate() {
            let repeats = row > 0 && sequence[row - 1] == n;
            let may = !repeats && ((n % CLIP).is_multiple_of(GOP) || before.is_some_and(|before| before + 1 == n));
            let sample = index.read_sample(&file, row).unwrap();
            let unit = annex_b_units(&units[n % CLIP]);
            assert_eq!(nal_units(&sample).eq(unit), may, "episode {episode}, row {row}, picture {n}");
            before = may.then_some(n);
            stored += usize::from(may);
        }
        by_random_access(&path, &expected);
        let counters = &summaries(root)[episode].cameras["front"].counters;
        assert_eq!(counters.as_encoded as usize, stored - before_this, "the summary of episode {episode}");
    }
    stored
}

/// Every picture again, each found by seeking, with PyAV.
fn by_random_access(path: &Path, expected: &[i64]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/py/random_access.py");
    let order: Vec<usize> = (0..expected.len()).map(|i| (i * 17 + 5) % expected.len()).collect();
    let mut command = Command::new(python());
    command.arg(script).arg(path).arg("30").args(order.iter().map(usize::to_string));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = output.stdout.chunks((W * H) as usize);
    let found = found.map(|luma| camera::synthetic::read_counter(luma, W as usize, H as usize).map_or(-1, i64::from));
    assert_eq!(found.collect::<Vec<_>>(), order.iter().map(|i| expected[*i]).collect::<Vec<_>>());
}

/// At the camera's rate, below it and above it; encoded at once and later; and where the other camera's JPEGs are copied.
#[tokio::test(flavor = "multi_thread")]
async fn a_camera_s_own_h264_is_stored_as_it_came() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("clip.h264");
    let units = clip(&file);
    let path = file.display().to_string();
    let copy = ("dataset.encoder.codec", "copy");
    for (run, (fps, more, least)) in [
        ("30", &[][..], 76),
        ("30", &[DEFERRED], 76),
        ("30", &[copy], 76),
        // Every third row repeats, or pictures are left out: key frames, and what follows at once.
        ("20", &[], 4),
        ("50", &[copy], 4),
    ]
    .into_iter()
    .enumerate()
    {
        let root = dir.path().join(format!("set{run}"));
        let overrides = [&encodes_itself(&path, fps)[..], more].concat();
        let status = record(&config(SMALL, &root, &overrides), simulated(), backend::standard()).await;
        assert_eq!(status.saved, 2);
        let stored = pictures_are_stored_as_they_came(&root, 2, &units);
        assert!((least..=90).contains(&stored), "{stored} of 90 at {fps} a second");
        let other = if more.contains(&copy) { "mjpeg" } else { "h264" };
        assert_eq!(shape(&root, "wrist")["info"]["video.codec"], other);
    }
}

/// The range is the camera's, whatever is configured: in the pictures, in the file's own words, and in info.json.
#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_uses_all_values_is_recorded_so() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("clip.h264");
    let path = file.display().to_string();
    for (camera, configured, pix_fmt, word) in [
        ("full", "limited", "yuvj420p", "pc"),
        ("limited", "full", "yuv420p", "tv"),
        ("full", "full", "yuvj420p", "pc"),
    ] {
        let units = clip_in(&file, camera);
        let root = dir.path().join(format!("{camera}-{configured}"));
        let range = [("dataset.encoder.color_range", configured)];
        let config = config(SMALL, &root, &[&encodes_itself(&path, "20")[..], &range].concat());
        assert_eq!(record(&config, simulated(), backend::standard()).await.saved, 2);
        pictures_are_stored_as_they_came(&root, 2, &units);
        assert_eq!(shape(&root, "front")["info"]["video.pix_fmt"], pix_fmt);
        let video = root.join("videos/observation.images.front/chunk-000/file-000.mp4");
        let mut command = Command::new("ffprobe");
        command.args(["-v", "error", "-show_entries", "frame=color_range:stream=color_range", "-of", "csv=p=0"]);
        let output = command.arg(&video).output().expect("ffprobe is needed: scripts/setup.sh --test installs it");
        let words = String::from_utf8(output.stdout).unwrap();
        let words: Vec<&str> =
            words.lines().map(|line| line.trim_matches(',')).filter(|line| !line.is_empty()).collect();
        assert_eq!(words, vec![word; Rows::read(&root, 0).len() + 1], "of the file, and of each picture");
    }
}

/// An encoder that fails: its pictures come again, and the video goes on with a key frame.
#[tokio::test(flavor = "multi_thread")]
async fn h264_goes_on_after_a_failing_encoder() {
    let dir = tempfile::tempdir().unwrap();
    let (root, file) = (dir.path().join("set"), dir.path().join("clip.h264"));
    clip(&file);
    let failed = std::sync::atomic::AtomicBool::new(false);
    let open: OpenEncoder =
        tampered(move |index| match index == 20 && !failed.swap(true, std::sync::atomic::Ordering::SeqCst) {
            true => Err(failure()),
            false => Ok(()),
        });
    let path = file.display().to_string();
    assert_eq!(record(&config(SMALL, &root, &encodes_itself(&path, "30")), simulated(), open).await.saved, 2);
    check(&root);
    for episode in 0..2 {
        let expected: Vec<i64> = Rows::read(&root, episode)
            .ints("observation.images.front/sequence")
            .iter()
            .map(|n| n % CLIP as i64)
            .collect();
        let seen = burnt_in(&root, "front", episode, W as usize, H as usize);
        assert_eq!(seen.iter().map(|n| n.map_or(-1, i64::from)).collect::<Vec<_>>(), expected);
    }
}

/// What waits on disk is still what the camera encoded.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_h264_is_stored_as_it_came() {
    for codec in ["h264", "copy"] {
        let dir = tempfile::tempdir().unwrap();
        let (root, file) = (dir.path().join("set"), dir.path().join("clip.h264"));
        let units = clip(&file);
        let path = file.display().to_string();
        let later = [DEFERRED, ("dataset.async_video_encoding", "true"), ("dataset.encoder.codec", codec)];
        leave_waiting(&config(SMALL, &root, &[&encodes_itself(&path, "30")[..], &later].concat())).await;
        regenerate(&root, codec);
        assert!(pictures_are_stored_as_they_came(&root, 2, &units) >= 76, "{codec}");
    }
}

/// A stream that is broken in places: the rows around show what there is, and everything is counted.
#[tokio::test(flavor = "multi_thread")]
async fn broken_h264_is_counted_and_the_run_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (root, file) = (dir.path().join("set"), dir.path().join("clip.h264"));
    let mut units = clip(&file);
    // Its slice is noise: pictures from there to the next key frame cannot be decoded.
    let broken = GOP + 3;
    units[broken] = [&[0, 0, 0, 1, 0x41, 0x9a][..], &[0x55; 60]].concat();
    let mut decoder = Decoder::open(W, H).unwrap();
    assert!((0..).zip(&units).take(broken).all(|(n, unit)| decoder.decode(n, unit).is_ok()));
    assert!(decoder.decode(broken as u64, &units[broken]).is_err());
    std::fs::write(&file, units.concat()).unwrap();
    let path = file.display().to_string();
    let status = record(&config(SMALL, &root, &encodes_itself(&path, "30")), simulated(), backend::standard()).await;
    assert_eq!(status.saved, 2);
    check(&root);
    let mut corrupt = 0;
    for (episode, summary) in summaries(&root).iter().enumerate() {
        let rows = Rows::read(&root, episode);
        let shown = rows.ints("observation.images.front/sequence");
        let lost = |n: i64| (broken..2 * GOP).contains(&(n as usize % CLIP));
        assert!(!shown.iter().any(|n| lost(*n)), "{shown:?}");
        let seen = burnt_in(&root, "front", episode, W as usize, H as usize);
        let expected: Vec<_> = shown.iter().map(|n| Some((*n as usize % CLIP) as u32)).collect();
        assert_eq!(seen, expected, "episode {episode}");
        corrupt += summary.cameras["front"].counters.dropped.get(&recorder::frame::DropReason::Corrupt).unwrap_or(&0);
    }
    assert!(corrupt >= 5, "{corrupt} pictures were counted as broken");
}
