//! Small recordings for the data set's tests: moving pictures, really encoded, and rows that go with them.
#![allow(dead_code)] // each test binary uses its part

use openh264::encoder::{
    BitRate, Encoder, EncoderConfig, FrameType, IntraFramePeriod, Profile, QpRange, RateControlMode, VuiConfig,
};
use openh264::formats::YUVSlices;
use openh264::{OpenH264API, Timestamp};
use recorder::clock::{Stamp, tick_ns};
use recorder::codec::{Fragment, PixelHistogram, Sample, SampleFormat, bitstream};
use recorder::config::schema::ColorRange;
use recorder::dataset::{
    CameraCounters, CameraSpec, Dataset, DatasetSpec, EpisodeCounters, EpisodeWriter, Row, RowArm, RowFrame, VideoInfo,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

pub const WIDTH: usize = 320;
pub const HEIGHT: usize = 240;
pub const FPS: u32 = 30;
pub const GOP: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    H264,
    Hevc,
    Av1,
    Mjpeg,
}

/// Encoders of ffmpeg, none of them with reordered frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum External {
    /// Main profile with CABAC, as NVENC makes it.
    X264,
    X265,
    /// Other block sizes, tools and parameter sets, with temporal layers.
    X265Layers,
    Aom,
    SvtAv1,
}

impl External {
    /// Arguments for ffmpeg, and the format of the stream.
    fn arguments(self) -> (&'static str, &'static str) {
        match self {
            External::X264 => ("-c:v libx264 -profile:v main -bf 0 -sc_threshold 0 -x264-params aud=1", "h264"),
            External::X265 => (
                "-c:v libx265 -preset ultrafast -x265-params log-level=error:aud=1:repeat-headers=1:bframes=0:scenecut=0:\
                 open-gop=0:keyint=10:min-keyint=10",
                "hevc",
            ),
            External::X265Layers => (
                "-c:v libx265 -preset fast -x265-params log-level=error:aud=1:repeat-headers=1:bframes=0:scenecut=0:\
                 open-gop=0:keyint=10:min-keyint=10:ctu=16:temporal-layers=1",
                "hevc",
            ),
            External::Aom => ("-c:v libaom-av1 -crf 20 -cpu-used 8 -usage realtime -lag-in-frames 0", "ivf"),
            External::SvtAv1 => ("-c:v libsvtav1 -crf 20 -preset 10 -svtav1-params pred-struct=1", "ivf"),
        }
    }
}

/// A picture in YUV 4:2:0: a gradient that moves with `k`, so that no two are alike.
fn picture(k: usize) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let luma = (0..WIDTH * HEIGHT).map(|i| (16 + (i % WIDTH + i / WIDTH + 4 * k) % 220) as u8).collect();
    let (w, h) = (WIDTH / 2, HEIGHT / 2);
    let u = (0..w * h).map(|i| (64 + (i % w) / 2) as u8).collect();
    let v = (0..w * h).map(|i| (64 + (i / w + k) % 128) as u8).collect();
    (luma, u, v)
}

/// Statistics that a decoder of [`picture`] could have gathered.
fn pixels() -> PixelHistogram {
    let mut pixels = PixelHistogram { pictures: 1, ..Default::default() };
    for (channel, counts) in pixels.counts.iter_mut().enumerate() {
        (20..200).for_each(|value| counts[value + channel] = 100 + value as u64);
    }
    pixels
}

fn fragments(samples: Vec<Sample>, format: SampleFormat, first: u64) -> Vec<Fragment> {
    let format = Arc::new(format);
    let mut fragments: Vec<Fragment> = Vec::new();
    for (k, sample) in (first..).zip(samples) {
        match fragments.last_mut() {
            Some(last) if !sample.sync || last.samples.len() < GOP && *format == SampleFormat::Mjpeg => {
                last.samples.push(sample);
            }
            _ => fragments.push(Fragment {
                first_frame: k,
                samples: vec![sample],
                format: format.clone(),
                substituted: Vec::new(),
                stored: Vec::new(),
                pixels: pixels(),
            }),
        }
    }
    fragments
}

/// `frames` pictures from picture `first` on, as fragments that start at frame `first`.
pub fn encode(codec: Codec, first: u64, frames: usize) -> Vec<Fragment> {
    match codec {
        Codec::H264 => h264(first, frames, Profile::Baseline),
        Codec::Hevc => external(External::X265, first, frames),
        Codec::Av1 => external(External::SvtAv1, first, frames),
        Codec::Mjpeg => {
            let mut compressor = turbojpeg::Compressor::new().unwrap();
            let jpeg = |k: usize| {
                let (mut yuv, u, v) = picture(k);
                yuv.extend(u);
                yuv.extend(v);
                let image = turbojpeg::YuvImage {
                    pixels: yuv.as_slice(),
                    width: WIDTH,
                    align: 1,
                    height: HEIGHT,
                    subsamp: turbojpeg::Subsamp::Sub2x2,
                };
                Sample { data: compressor.compress_yuv_to_vec(image).unwrap().into(), sync: true }
            };
            let samples = (first as usize..first as usize + frames).map(jpeg).collect();
            fragments(samples, SampleFormat::Mjpeg, first)
        }
    }
}

/// H.264 by openh264 with parameter sets in front of every key frame; they differ by profile.
pub fn h264(first: u64, frames: usize, profile: Profile) -> Vec<Fragment> {
    let config = EncoderConfig::new()
        .rate_control_mode(RateControlMode::Quality)
        .bitrate(BitRate::from_bps(10_000_000))
        .qp(QpRange::new(23, 23))
        .skip_frames(false)
        .profile(profile)
        .intra_frame_period(IntraFramePeriod::from_num_frames(GOP as u32))
        .num_threads(1)
        .vui(VuiConfig::bt601());
    let mut encoder = Encoder::with_api_config(OpenH264API::from_source(), config).unwrap();
    let (mut sps, mut pps) = (Vec::new(), Vec::new());
    let mut samples = Vec::new();
    for k in 0..frames {
        let (y, u, v) = picture(first as usize + k);
        let source = YUVSlices::new((&y, &u, &v), (WIDTH, HEIGHT), (WIDTH, WIDTH / 2, WIDTH / 2));
        let stream = encoder.encode_at(&source, Timestamp::from_millis(k as u64 * 33)).unwrap();
        let sync = matches!(stream.frame_type(), FrameType::IDR);
        let mut data = Vec::new();
        for layer in (0..stream.num_layers()).filter_map(|i| stream.layer(i)) {
            for nal in (0..layer.nal_count()).filter_map(|i| layer.nal_unit(i)) {
                let nal = nal.strip_prefix(&[0, 0, 0, 1]).or(nal.strip_prefix(&[0, 0, 1])).unwrap();
                match nal[0] & 31 {
                    7 => sps = nal.to_vec(),
                    8 => pps = nal.to_vec(),
                    _ => {}
                }
                data.extend((nal.len() as u32).to_be_bytes());
                data.extend(nal);
            }
        }
        samples.push(Sample { data: data.into(), sync });
    }
    fragments(samples, SampleFormat::H264 { sps, pps }, first)
}

/// The stream that an encoder of ffmpeg makes of `frames` pictures from picture `first` on.
pub fn external_stream(encoder: External, first: u64, frames: usize) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let (raw, made) = (dir.path().join("raw.yuv"), dir.path().join("made"));
    let planes = (first as usize..first as usize + frames).map(picture).map(|(y, u, v)| [y, u, v].concat());
    std::fs::write(&raw, planes.collect::<Vec<_>>().concat()).unwrap();
    let input = format!("-v error -f rawvideo -pix_fmt yuv420p -video_size {WIDTH}x{HEIGHT} -framerate {FPS} -i");
    let color = "-color_range tv -colorspace smpte170m -color_primaries smpte170m -color_trc smpte170m";
    let (codec, format) = encoder.arguments();
    let output = format!("{codec} -g {GOP} -keyint_min {GOP} {color} -f {format}");
    let mut ffmpeg = Command::new("ffmpeg");
    let (ok, words) =
        run(ffmpeg.args(input.split(' ')).arg(&raw).args(output.split_whitespace()).arg(&made).env("SVT_LOG", "1"));
    assert!(ok, "{words}");
    std::fs::read(made).unwrap()
}

/// The same as fragments that start at frame `first`, through the library's own splitting.
pub fn external(encoder: External, first: u64, frames: usize) -> Vec<Fragment> {
    let stream = external_stream(encoder, first, frames);
    let units = |delimiter: &[u8]| {
        let starts = (0..stream.len()).filter(|&at| stream[at..].starts_with(delimiter));
        let mut bounds: Vec<usize> = starts.chain([stream.len()]).collect();
        bounds.dedup();
        bounds.windows(2).map(|bound| stream[bound[0]..bound[1]].to_vec()).collect::<Vec<_>>()
    };
    let nals = |unit: &[u8], key: fn(u8) -> bool| {
        let data = bitstream::length_prefixed(unit);
        let sync = bitstream::nal_units(&data).any(|nal| key(nal[0]));
        Sample { data: data.into(), sync }
    };
    let (samples, format): (Vec<Sample>, Option<SampleFormat>) = match encoder {
        External::X264 => {
            let units = units(&[0, 0, 0, 1, 9]);
            (units.iter().map(|unit| nals(unit, |byte| byte & 31 == 5)).collect(), bitstream::h264_format(&units[0]))
        }
        External::X265 | External::X265Layers => {
            let units = units(&[0, 0, 0, 1, 0x46]);
            let key = |byte: u8| [19, 20].contains(&(byte >> 1));
            (units.iter().map(|unit| nals(unit, key)).collect(), bitstream::hevc_format(&units[0]))
        }
        External::Aom | External::SvtAv1 => {
            // IVF: a header of 32 bytes, and one of 12 for each frame that begins with its size.
            let mut units = Vec::new();
            let mut rest = &stream[32..];
            while let Some((size, _)) = rest.split_first_chunk::<4>() {
                let end = 12 + u32::from_le_bytes(*size) as usize;
                units.push(&rest[12..end]);
                rest = &rest[end..];
            }
            let sample = |unit: &&[u8]| Sample {
                data: bitstream::av1_sample(unit).into(),
                sync: bitstream::av1_format(unit).is_some(),
            };
            (units.iter().map(sample).collect(), bitstream::av1_format(units[0]))
        }
    };
    assert_eq!(samples.len(), frames, "{encoder:?}");
    fragments(samples, format.unwrap(), first)
}

const JOINTS: [&str; 6] = ["shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper"];

/// The set-up of the sample that LeRobot wrote: an SO-101 and the cameras front and wrist.
pub fn spec(codec: Codec) -> DatasetSpec {
    let joints: Vec<String> = JOINTS.iter().map(|joint| format!("{joint}.pos")).collect();
    let encoded = |codec: &str| VideoInfo {
        codec: codec.into(),
        pix_fmt: "yuv420p".into(),
        color_range: ColorRange::Limited,
        gop: Some(GOP as u32),
        quality: Some(23),
        preset: Some("fast".into()),
    };
    let video = match codec {
        Codec::H264 => encoded("h264"),
        Codec::Hevc => encoded("hevc"),
        Codec::Av1 => encoded("av1"),
        Codec::Mjpeg => VideoInfo {
            codec: "mjpeg".into(),
            pix_fmt: "yuvj420p".into(),
            color_range: ColorRange::Full,
            gop: Some(1),
            quality: None,
            preset: None,
        },
    };
    let camera = |name: &str| CameraSpec {
        name: name.into(),
        key: format!("observation.images.{name}"),
        width: WIDTH as u32,
        height: HEIGHT as u32,
        video: video.clone(),
    };
    DatasetSpec {
        fps: FPS,
        robot_type: Some("so_follower".into()),
        state_names: joints.clone(),
        action_names: joints,
        cameras: vec![camera("front"), camera("wrist")],
    }
}

/// Row `k` of a recording that starts one second after the clock's zero.
pub fn row(spec: &DatasetSpec, k: usize) -> Row {
    let at = |mono_ns: u64| Stamp { mono_ns, utc_ns: 1_700_000_000_000_000_000 + mono_ns };
    let tick = 1_000_000_000 + tick_ns(k as u64, spec.fps);
    let value = |i: usize| ((k + i) as f32 * 0.2).sin() * 30.0;
    let frame = |i: usize| RowFrame {
        captured: at(tick - 5_000_000 * (i as u64 + 1)),
        arrived: at(tick - 1_000_000),
        sequence: k as u64,
        repeated: false,
        late: k % 7 == 6,
        lost: i == 1 && k == 4,
    };
    let n = spec.action_names.len();
    Row {
        tick: at(tick),
        late_ns: 1000,
        state: (0..spec.state_names.len()).map(value).collect(),
        action: (0..n).map(|i| value(i) + 0.5).collect(),
        cameras: (0..spec.cameras.len()).map(frame).collect(),
        arm: (n > 0).then(|| RowArm {
            sampled: at(tick - 300_000),
            state_reused: k == 3,
            action_reused: k == 5,
            goal_sent: if k == 0 { vec![] } else { (0..n).map(|i| value(i) + 0.25).collect() },
            lost: k == 5,
        }),
    }
}

pub fn counters(spec: &DatasetSpec, frames: usize) -> EpisodeCounters {
    let camera = CameraCounters {
        captured: frames as u64 + 2,
        written: frames as u64,
        dropped: BTreeMap::from([(recorder::frame::DropReason::Superseded, 2)]),
        encoder: "openh264".into(),
        ..Default::default()
    };
    EpisodeCounters {
        cameras: spec.cameras.iter().map(|c| (c.name.clone(), camera.clone())).collect(),
        arm_errors: BTreeMap::from([("timeout".to_string(), 1)]),
        ..Default::default()
    }
}

/// Fills a take with `frames` rows and as many frames of each camera.
pub fn fill(writer: &mut EpisodeWriter, spec: &DatasetSpec, video: &[Fragment], frames: usize) {
    (0..frames).for_each(|k| writer.push_row(row(spec, k)).unwrap());
    for camera in 0..spec.cameras.len() {
        video.iter().for_each(|fragment| writer.push_fragment(camera, fragment).unwrap());
        assert_eq!(writer.frames(camera), frames as u64);
    }
    writer.sync().unwrap();
}

/// Records and saves one episode; returns its index.
pub fn record(dataset: &mut Dataset, spec: &DatasetSpec, take: u64, task: &str, video: &[Fragment]) -> u64 {
    let frames = video.iter().map(|fragment| fragment.samples.len()).sum();
    let mut writer = dataset.begin(take, task).unwrap();
    fill(&mut writer, spec, video, frames);
    dataset.commit(writer, task, &counters(spec, frames)).unwrap().episode_index
}

/// Every file below `root` with its bytes, sorted by path; folders by name alone.
pub fn tree(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let relative = path.strip_prefix(root).unwrap().to_owned();
            if path.is_dir() {
                found.push((relative, Vec::new()));
                dirs.push(path);
            } else {
                found.push((relative, std::fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// Runs the light checker over a data set; the last line of its output.
pub fn check(root: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/py/check_dataset.py");
    let (ok, output) = run(Command::new(python()).arg(script).arg(root).arg("--deep"));
    assert!(ok, "check_dataset.py {}:\n{output}", root.display());
    verified(root, false);
    output.lines().last().unwrap_or_default().to_owned()
}

/// Holds a data set against the rules of `recorder verify`.
#[track_caller]
pub fn verified(root: &Path, deep: bool) -> recorder::verify::Report {
    let report = recorder::verify::verify(root, deep).unwrap();
    assert!(report.faults().is_empty(), "{}", report.text());
    report
}

/// The interpreter of the tests' virtual environment.
pub fn python() -> String {
    std::env::var("RECORDER_PYTHON").unwrap_or_else(|_| "python3".into())
}

/// Runs a program: whether it succeeded, and all of its output.
pub fn run(command: &mut Command) -> (bool, String) {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().unwrap_or_else(|e| panic!("cannot run {name}: {e}; install it"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

/// A copy of the sample that LeRobot wrote.
pub fn lerobot_sample(to: &Path) {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            let target = to.join(path.file_name().unwrap());
            if path.is_dir() {
                copy(&path, &target);
            } else {
                std::fs::copy(&path, &target).unwrap();
            }
        }
    }
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/lerobot-v3-sample"), to);
}
