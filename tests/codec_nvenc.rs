//! NVENC on the fake driver (`tests/fake-nvidia`): what it is asked for, what comes out of it, and what every refusal and
//! failure becomes. No NVENC hardware takes part.
//!
//! A driver is found through `LD_LIBRARY_PATH`, which is read when a process starts: each test runs this file again as a
//! child, with the driver and its faults in the environment.

mod fake_driver;
mod media;

use media::{decode_h264, frame, params, textured};
use recorder::codec::backend::{Device, PictureEncoder, open_pictures};
use recorder::codec::bitstream::nal_units;
use recorder::codec::gpu::GpuReport;
use recorder::codec::stream::{StreamParams, VideoStream};
use recorder::codec::yuv::I420;
use recorder::codec::{CodecError, Preset, Sample, SampleFormat, jpeg, nvenc};
use recorder::config::schema::{Codec, ColorRange};
use recorder::frame::PixelFormat;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A driver that a child finds, its faults, and what was asked of it.
struct Driver {
    libraries: PathBuf,
    faults: String,
    folder: TempDir,
}

impl Driver {
    /// The fake driver, with faults; its README tells of them.
    fn new(faults: &str) -> Driver {
        Driver::of(&[fake_driver::CUDA, fake_driver::NVENC], faults)
    }

    /// With some of the driver's libraries.
    fn of(libraries: &[&str], faults: &str) -> Driver {
        let libraries = fake_driver::folder_with(libraries);
        Driver { libraries, faults: faults.into(), folder: tempfile::tempdir().unwrap() }
    }

    fn apply(&self, command: &mut Command) {
        let trace = self.folder.path().join("trace");
        command.env("LD_LIBRARY_PATH", &self.libraries).env("FAKE_NVENC", &self.faults).env("FAKE_NVENC_TRACE", trace);
    }

    /// A line for each call that matters.
    fn trace(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("trace")).unwrap_or_default()
    }

    /// Sessions that were opened and not closed.
    fn open_sessions(&self) -> usize {
        let trace = self.trace();
        let count = |call: &str| trace.lines().filter(|line| line.starts_with(call)).count();
        count("open ") - count("destroy ")
    }
}

const W: u32 = 322;
const H: u32 = 242;

/// Picture `k` of a series of which no two are alike. Its width is no multiple of any pitch.
fn picture(k: usize, range: ColorRange) -> I420 {
    let mut picture = I420::grey(W, H, range);
    // Far enough from its neighbours.
    let jpeg = textured(W as usize, H as usize, 7 * k);
    jpeg::Decoder::new().unwrap().decode(&jpeg, &mut picture).unwrap();
    picture
}

fn stream(codec: Codec) -> StreamParams {
    params(codec, W, H)
}

/// Encodes `count` pictures, each a key frame where `key` says so.
fn encode(encoder: &mut dyn PictureEncoder, range: ColorRange, keys: &[u64], count: u64) -> Vec<Sample> {
    (0..count)
        .map(|index| encoder.encode(&picture(index as usize, range), index, keys.contains(&index)).unwrap())
        .collect()
}

/// Runs a `part` of this file, below, on the driver; gives what it printed.
fn run(driver: &Driver, part: &str) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("part::{part}"), "--ignored", "--nocapture", "--test-threads=1"]);
    driver.apply(&mut command);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{part}: {}\n{text}\n{complaint}", output.status);
    text
}

/// The lines that a part printed for its test, without the mark that tells them from the harness's own.
fn said(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.split_once("» ")).map(|(_, said)| said).collect()
}

#[test]
fn every_picture_comes_out_at_once_and_is_the_right_one() {
    let driver = Driver::new("");
    run(&driver, "h264");
    // Key frames are forced, with their parameter sets, where they are asked for and at the trial picture before frame 0.
    let trace = driver.trace();
    let calls = trace.lines().filter(|line| line.starts_with("encode "));
    let forced: Vec<bool> = calls.map(|call| call.contains("flags=0x6 type=idr headers=1")).collect();
    let expected: Vec<bool> = (0..41).map(|picture| [0, 1, 16, 21, 36].contains(&picture)).collect();
    assert_eq!(forced, expected, "{trace}");
    let last: Vec<&str> = trace.lines().rev().take(2).collect();
    assert_eq!(last, ["destroy session=1", "end_of_stream session=1"]);
}

/// Nothing of the program's own is held while a driver hangs.
#[test]
fn a_session_that_hangs_keeps_no_other_waiting() {
    run(&Driver::new("hang=1:1500"), "one_hangs");
}

#[test]
fn hevc_and_av1_come_out_as_an_mp4_track_holds_them() {
    run(&Driver::new(""), "hevc_and_av1");
}

#[test]
fn colours_are_tagged_as_openh264_tags_them() {
    run(&Driver::new(""), "colours");
}

/// What the fake driver read from NVENC's structures.
#[test]
fn the_driver_is_asked_for_constant_quality_without_delay() {
    let driver = Driver::new("");
    run(&driver, "settings");
    let trace = driver.trace();
    let asked: Vec<&str> = trace.lines().filter(|line| line.contains("preset=")).collect();
    let common = "interval_p=1 repeat_headers=1 disable_headers=0 range=0 primaries=6 transfer=6 matrix=6 rc=vbr";
    let rest = "qp=28 average_bit_rate=0";
    let expected = [
        format!(
            "codec=h264 preset=p1 tuning=1 size=322x242 fps=30/1 gop=15 idr=15 {common} target_quality=23 target_quality_lsb=0 {rest} max_bit_rate=0 vbv=0 lookahead=0 zero_reorder=1 multi_pass=0"
        ),
        format!(
            "codec=hevc preset=p7 tuning=1 size=322x242 fps=30/1 gop=2 idr=2 {common} target_quality=51 target_quality_lsb=0 {rest} max_bit_rate=8000000 vbv=0 lookahead=0 zero_reorder=1 multi_pass=2"
        ),
        format!(
            "codec=av1 preset=p4 tuning=1 size=322x242 fps=30/1 gop=600 idr=600 {common} target_quality=63 target_quality_lsb=0 {rest} max_bit_rate=0 vbv=0 lookahead=0 zero_reorder=1 multi_pass=0"
        ),
    ];
    assert_eq!(asked.len(), expected.len(), "{trace}");
    for (asked, expected) in asked.iter().zip(&expected) {
        assert!(asked.contains(expected.as_str()), "asked:    {asked}\nexpected: {expected}");
    }
}

/// Each fault at opening: its reason, and words that a user can act on.
#[test]
fn every_refusal_says_what_it_means() {
    for (faults, reason, words) in [
        ("cuinit=100", "refused", "no NVIDIA GPU is in this machine, or the container hides it (cuInit answered 100"),
        ("cuinit=803", "refused", "different versions: restart the machine (cuInit answered 803"),
        ("cuinit=999", "refused", "bad state"),
        ("cuinit=4711", "refused", "CUDA cannot use the GPU (cuInit answered 4711"),
        ("devices=0", "refused", "no NVIDIA GPU"),
        ("api=12.0", "refused", "speaks NVENC 12.0, this program needs 12.1: install driver 530.41.03 or later"),
        ("api=11.1", "refused", "speaks NVENC 11.1"),
        ("open=1", "refused", "NO_ENCODE_DEVICE"),
        ("open=2", "refused", "this GPU has no encoder, or the container hides it"),
        ("open=10", "sessions", "too many encoding sessions"),
        ("open=15", "refused", "install a newer NVIDIA driver"),
        ("open=21", "sessions", "INCOMPATIBLE_CLIENT_KEY"),
        ("open=77", "error", "nvEncOpenEncodeSessionEx answered 77, a status of a newer driver"),
        ("init=8", "unsupported", "nvEncInitializeEncoder answered 8, INVALID_PARAM"),
        ("init=10", "sessions", "too many encoding sessions"),
        ("init=12", "unsupported", "UNSUPPORTED_PARAM"),
        ("fail=0:10", "sessions", "nvEncEncodePicture answered 10"),
        ("fail=0:20", "error", "nvEncEncodePicture answered 20, GENERIC"),
        ("codecs=hevc+av1", "unsupported", "this GPU has no encoder for h264 (it has for hevc and av1)"),
    ] {
        let driver = Driver::new(faults);
        let text = run(&driver, "one_opening");
        let [said] = said(&text)[..] else { panic!("{faults}: {text}") };
        assert!(said.starts_with(&format!("{reason}: NVENC: ")) && said.contains(words), "{faults}: {said}");
        assert_eq!(driver.open_sessions(), 0, "{faults}: {}", driver.trace());
    }
}

#[test]
fn a_gpu_that_is_not_there_is_named_with_those_that_are() {
    for (devices, words) in [(1, "there is one NVIDIA GPU, number 0"), (3, "there are 3 NVIDIA GPUs, numbers 0 to 2")] {
        let text = run(&Driver::new(&format!("devices={devices}")), "gpu_7");
        let expected = format!("refused: NVENC: GPU 7 was asked for, and {words}: set dataset.encoder.gpu_id");
        assert_eq!(said(&text), [expected.as_str()]);
    }
    run(&Driver::new("devices=8"), "gpu_7_is_there");
}

#[test]
fn a_size_beyond_the_gpu_is_refused_with_what_it_takes() {
    let text = run(&Driver::new(""), "too_large");
    let [said] = said(&text)[..] else { panic!("{text}") };
    let expected = "unsupported: NVENC: pictures are 4098x64, and this GPU encodes 32x32 to 4096x4096 as h264";
    assert_eq!(said, expected);
}

/// Picture 0 of the process is the trial at opening, so that picture 6 is frame 5 of the stream.
#[test]
fn a_failure_in_mid_stream_names_the_frame_and_leaves_no_session() {
    for (faults, reason, words) in [
        ("fail=6:5", "lost", "the GPU is gone"),
        ("fail=6:8", "unsupported", "INVALID_PARAM"),
        ("fail=6:10", "error", "the GPU's memory is full"),
        ("fail=6:17", "error", "keeps pictures back"),
        ("fail=6:20", "error", "GENERIC"),
        ("fail=6:4711", "error", "answered 4711, a status of a newer driver"),
        ("busy=6:100000", "busy", "nvEncEncodePicture answered 18, ENCODER_BUSY"),
    ] {
        // A session that stays behind would be one too many.
        let driver = Driver::new(&format!("{faults},sessions=1"));
        let text = run(&driver, "failure_in_mid_stream");
        let [first, again] = said(&text)[..] else { panic!("{faults}: {text}") };
        let expected = format!("{reason}: NVENC at frame 5 of the stream: ");
        assert!(first.starts_with(&expected) && first.contains(words), "{faults}: {first}");
        assert!(!driver.trace().contains("end_of_stream session=1"), "a session that failed is only closed");
        assert_eq!(again, if reason == "busy" { "busy" } else { "encoded" }, "{faults}");
        assert_eq!(driver.open_sessions(), 0, "{faults}: {}", driver.trace());
    }
}

#[test]
fn a_busy_encoder_is_waited_for() {
    run(&Driver::new("busy=4:20"), "h264");
}

#[test]
fn the_limit_of_sessions_is_told_from_other_failures_and_passes() {
    let text = run(&Driver::new("sessions=2"), "three_sessions");
    let [said] = said(&text)[..] else { panic!("{text}") };
    assert!(said.starts_with("sessions: NVENC: too many encoding sessions are open on this machine"), "{said}");
}

#[test]
fn several_sessions_encode_at_once() {
    let driver = Driver::new("");
    run(&driver, "four_threads");
    assert_eq!(driver.open_sessions(), 0, "{}", driver.trace());
}

#[test]
fn without_a_driver_that_is_said_in_one_line() {
    let text = run(&Driver::of(&[], ""), "one_opening");
    let expected = "refused: NVENC: no NVIDIA driver on this machine: libcuda.so.1 is not there";
    assert_eq!(said(&text), [expected]);
    let report = report(&Driver::of(&[], ""));
    assert_eq!(report, GpuReport::refused("no NVIDIA driver on this machine: libcuda.so.1 is not there"));
}

#[test]
fn cuda_without_nvenc_is_a_container_without_video() {
    let text = run(&Driver::of(&[fake_driver::CUDA], ""), "one_opening");
    let [said] = said(&text)[..] else { panic!("{text}") };
    assert!(said.starts_with("refused: NVENC: the NVIDIA driver's libnvidia-encode.so.1 cannot be loaded"), "{said}");
    assert!(said.ends_with("in a container it needs the driver capability \"video\""), "{said}");
}

fn report(driver: &Driver) -> GpuReport {
    let text = run(driver, "probe");
    let [said] = said(&text)[..] else { panic!("{text}") };
    serde_json::from_str(said).unwrap()
}

#[test]
fn the_probe_tries_every_codec_of_every_gpu() {
    let driver = Driver::new("devices=2,codecs=h264+hevc,sessions=1");
    let report = report(&driver);
    assert_eq!((report.driver.as_deref(), report.api.as_deref()), (Some("CUDA 12.2"), Some("12.1")));
    assert!(report.fake && report.refusal.is_none());
    assert_eq!(report.devices.len(), 2);
    for (device, id) in report.devices.iter().zip(0..) {
        assert_eq!((device.id, &device.refusal), (id, &None));
        assert!(device.name.contains("Fake GPU"), "{}", device.name);
        let found: Vec<_> = device.codecs.iter().map(|c| (c.codec, c.refusal.as_deref(), c.max_width)).collect();
        let av1 = (Codec::Av1, Some("this GPU has no encoder for it"), 0);
        assert_eq!(found, [(Codec::H264, None, 4096), (Codec::Hevc, None, 4096), av1]);
        let timed: Vec<bool> = device.codecs.iter().map(|c| c.trial_ms.is_some_and(|ms| ms > 0.0)).collect();
        assert_eq!(timed, [true, true, false]);
    }
    assert_eq!(driver.open_sessions(), 0, "{}", driver.trace());
}

#[test]
fn the_probe_says_why_not() {
    let refused = report(&Driver::new("cuinit=803"));
    assert!(refused.refusal.unwrap().contains("different versions"));
    assert_eq!(refused.driver.as_deref(), Some("CUDA 12.2"));
    let old = report(&Driver::new("api=12.0"));
    assert!(old.refusal.unwrap().contains("speaks NVENC 12.0"));
    assert_eq!(old.api.as_deref(), Some("12.0"));
    // What a data-centre GPU answers: CUDA, and no encoder.
    let [device] = &report(&Driver::new("open=2")).devices[..] else { panic!() };
    assert!(device.refusal.as_ref().unwrap().starts_with("this GPU has no encoder, or the container hides it"));
    assert!(device.codecs.is_empty());
    let [device] = &report(&Driver::new("fail=0:20")).devices[..] else { panic!() };
    let refusals: Vec<bool> = device.codecs.iter().map(|codec| codec.refusal.is_some()).collect();
    assert_eq!(refusals, [true, false, false], "a codec whose trial fails is refused, and the others are tried");
}

/// The program needs no NVIDIA library to start, and looks for none before one is asked for.
#[test]
fn the_program_starts_without_any_library_of_nvidias() {
    let output = Command::new(env!("CARGO_BIN_EXE_recorder")).arg("schema").env("LD_DEBUG", "libs").output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    let sought: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once("find library=")?.1)).collect();
    let sought: Vec<&str> = sought.iter().filter_map(|name| name.split(' ').next()).collect();
    assert!(sought.contains(&"libc.so.6"), "the loader tells nothing here: {text}");
    for name in sought {
        let known = ["libc.so", "libm.so", "libgcc_s.so", "libstdc++.so", "ld-linux"];
        assert!(known.iter().any(|known| name.starts_with(known)), "the program needs {name}");
    }
}

/// Decodes with ffmpeg to the luma planes.
fn ffmpeg_luma(bytes: &[u8], demuxer: &str) -> Vec<Vec<u8>> {
    let mut child = Command::new("ffmpeg")
        .args(["-v", "error", "-f", demuxer, "-i", "-", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-vsync", "0", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("ffmpeg is installed: apt-get install ffmpeg");
    let mut stdin = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    let size = (W * H) as usize;
    output.stdout.chunks_exact(size * 3 / 2).map(|picture| picture[..size].to_vec()).collect()
}

fn psnr(a: &[u8], b: &[u8]) -> f64 {
    let squares: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
    10.0 * (255.0 * 255.0 / (squares / a.len() as f64).max(1e-9)).log10()
}

/// What runs in a child.
mod part {
    use super::*;

    fn say(words: impl std::fmt::Display) {
        println!("» {words}");
    }

    fn open(params: &StreamParams) -> Result<nvenc::Encoder, CodecError> {
        nvenc::Encoder::open(params)
    }

    fn say_error(error: &CodecError) {
        say(format_args!("{}: {error}", error.reason().name()));
    }

    #[test]
    #[ignore = "a part of other tests"]
    fn h264() {
        let mut encoder = open_pictures(&stream(Codec::H264), Device::Gpu).unwrap();
        let keys = [0, 15, 20, 35];
        let samples = encode(&mut *encoder, ColorRange::Limited, &keys, 40);
        let SampleFormat::H264 { sps, pps } = &**encoder.format() else { panic!("{:?}", encoder.format()) };
        for (sample, index) in samples.iter().zip(0..) {
            assert_eq!(sample.sync, keys.contains(&index), "frame {index}");
            let kinds: Vec<u8> = nal_units(&sample.data).map(|nal| nal[0] & 0x1f).collect();
            if sample.sync {
                let sets: Vec<&[u8]> = nal_units(&sample.data).filter(|nal| matches!(nal[0] & 0x1f, 7 | 8)).collect();
                assert_eq!(sets, [&sps[..], &pps[..]], "frame {index}");
            }
            assert_eq!(kinds.contains(&5), sample.sync, "frame {index}: {kinds:?}");
            assert!(!kinds.iter().any(|kind| matches!(kind, 9 | 12)), "frame {index}: {kinds:?}");
        }
        let decoded = decode_h264(&samples);
        assert_eq!(decoded.len(), 40);
        for (k, decoded) in decoded.iter().enumerate() {
            let source = picture(k, ColorRange::Limited);
            let psnrs: Vec<f64> = decoded.planes.iter().zip(source.planes()).map(|(a, b)| psnr(a, b)).collect();
            assert!(psnrs.iter().all(|psnr| *psnr > 30.0), "frame {k}: {psnrs:.1?} dB");
            let neighbour = psnr(&decoded.planes[0], picture(k + 1, ColorRange::Limited).planes()[0]);
            assert!(
                neighbour < psnrs[0] - 6.0,
                "frame {k} is as much like the next: {psnrs:.1?} and {neighbour:.1} dB"
            );
        }
    }

    #[test]
    #[ignore = "a part of other tests"]
    fn hevc_and_av1() {
        for (codec, demuxer) in [(Codec::Hevc, "hevc"), (Codec::Av1, "obu")] {
            let mut encoder = open(&stream(codec)).unwrap();
            let samples = encode(&mut encoder, ColorRange::Limited, &[0, 3], 5);
            assert!(samples[0].sync && samples[3].sync);
            let mut bytes = Vec::new();
            for (sample, index) in samples.iter().zip(0..) {
                // The fake makes every picture of these codecs a key frame, unasked for ones without parameter sets.
                let asked = [0, 3].contains(&index);
                match &**encoder.format() {
                    SampleFormat::Hevc { vps, sps, pps } => {
                        assert_eq!([vps[0] >> 1, sps[0] >> 1, pps[0] >> 1], [32, 33, 34]);
                        let has = |set: &[u8]| nal_units(&sample.data).any(|nal| nal == set);
                        assert!(!asked || has(vps) && has(sps) && has(pps), "frame {index}");
                        nal_units(&sample.data).for_each(|nal| bytes.extend([&[0, 0, 0, 1], nal].concat()));
                    }
                    SampleFormat::Av1 { sequence_header } => {
                        assert!(!asked || sample.data.starts_with(sequence_header), "frame {index}");
                        // A delimiter, which tracks go without, for the demuxer of plain files.
                        bytes.extend([&[0x12, 0x00], &sample.data[..]].concat());
                    }
                    other => panic!("{other:?}"),
                }
            }
            let decoded = ffmpeg_luma(&bytes, demuxer);
            assert_eq!(decoded.len(), 5, "{codec:?}");
            for (k, luma) in decoded.iter().enumerate() {
                let found = psnr(luma, picture(k, ColorRange::Limited).planes()[0]);
                assert!(found > 30.0, "{codec:?}, frame {k}: {found} dB");
            }
        }
    }

    /// What ffprobe reads of the colours of both encoders' streams.
    #[test]
    #[ignore = "a part of other tests"]
    fn colours() {
        for (color_range, words) in [(ColorRange::Limited, "tv"), (ColorRange::Full, "pc")] {
            let tags = [Device::Cpu, Device::Gpu].map(|device| {
                let params = StreamParams { color_range, ..stream(Codec::H264) };
                let mut stream = VideoStream::open(params, device).unwrap();
                let frame = frame(textured(W as usize, H as usize, 0), PixelFormat::Mjpg, W, H);
                let sample = stream.encode(&frame, 0).unwrap().sample;
                let bytes: Vec<u8> = nal_units(&sample.data).flat_map(|nal| [&[0, 0, 0, 1], nal].concat()).collect();
                ffprobe(&bytes)
            });
            assert_eq!(tags[0], tags[1], "the second is NVENC's");
            let expected = format!(
                "color_range={words}\ncolor_space=smpte170m\ncolor_transfer=smpte170m\ncolor_primaries=smpte170m\n"
            );
            assert_eq!(tags[1], expected);
        }
    }

    fn ffprobe(bytes: &[u8]) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let entries = "stream=color_range,color_space,color_transfer,color_primaries";
        let output = Command::new("ffprobe")
            .args(["-v", "error", "-f", "h264", "-show_entries", entries, "-of", "default=noprint_wrappers=1"])
            .arg(file.path())
            .output()
            .expect("ffprobe is installed: apt-get install ffmpeg");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    #[ignore = "a part of other tests"]
    fn settings() {
        open(&stream(Codec::H264)).unwrap();
        let hevc = StreamParams { quality: 51, gop: 2, preset: Preset::P7, ..stream(Codec::Hevc) };
        open(&StreamParams { bitrate: Some(8_000_000), ..hevc }).unwrap();
        open(&StreamParams { quality: 63, gop: 600, preset: Preset::P4, ..stream(Codec::Av1) }).unwrap();
    }

    #[test]
    #[ignore = "a part of other tests"]
    fn one_opening() {
        say_error(&open(&stream(Codec::H264)).unwrap_err());
    }

    #[test]
    #[ignore = "a part of other tests"]
    fn gpu_7() {
        say_error(&open(&StreamParams { gpu_id: 7, ..stream(Codec::H264) }).unwrap_err());
    }

    #[test]
    #[ignore = "a part of other tests"]
    fn gpu_7_is_there() {
        open(&StreamParams { gpu_id: 7, ..stream(Codec::H264) }).unwrap();
    }

    #[test]
    #[ignore = "a part of other tests"]
    fn too_large() {
        say_error(&open(&StreamParams { width: 4098, height: 64, ..stream(Codec::H264) }).unwrap_err());
    }

    #[test]
    #[ignore = "a part of other tests"]
    fn failure_in_mid_stream() {
        let mut encoder = open(&stream(Codec::H264)).unwrap();
        let error = (0..20).find_map(|index| encoder.encode(&picture(0, ColorRange::Limited), index, index == 0).err());
        say_error(&error.unwrap());
        drop(encoder);
        say(open(&stream(Codec::H264)).map_or_else(|error| error.reason().name(), |_| "encoded"));
    }

    #[test]
    #[ignore = "a part of other tests"]
    fn three_sessions() {
        let first = open(&stream(Codec::H264)).unwrap();
        let mut second = open(&stream(Codec::H264)).unwrap();
        say_error(&open(&stream(Codec::H264)).unwrap_err());
        drop(first);
        let mut third = open(&stream(Codec::H264)).unwrap();
        for encoder in [&mut second, &mut third] {
            encode(encoder, ColorRange::Limited, &[0], 3);
        }
    }

    #[test]
    #[ignore = "a part of other tests"]
    fn four_threads() {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut encoder = open(&stream(Codec::H264)).unwrap();
                    let samples = encode(&mut encoder, ColorRange::Full, &[0], 10);
                    assert_eq!(decode_h264(&samples).len(), 10);
                });
            }
        });
    }

    #[test]
    #[ignore = "a part of other tests"]
    fn one_hangs() {
        let mut hanging = open(&stream(Codec::H264)).unwrap();
        let (ended, ends) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let other = ended.clone();
            let (begun, begins) = std::sync::mpsc::channel();
            scope.spawn(move || {
                begins.recv().unwrap();
                let mut encoder = open(&stream(Codec::H264)).unwrap();
                encode(&mut encoder, ColorRange::Limited, &[0], 3);
                other.send("the other").unwrap();
            });
            let trace = std::env::var("FAKE_NVENC_TRACE").unwrap();
            scope.spawn(move || {
                while !std::fs::read_to_string(&trace).unwrap().contains("hang picture=1") {
                    std::thread::yield_now();
                }
                begun.send(()).unwrap();
            });
            encode(&mut hanging, ColorRange::Limited, &[0], 1);
            ended.send("the one that hangs").unwrap();
        });
        assert_eq!(ends.iter().take(2).collect::<Vec<_>>(), ["the other", "the one that hangs"]);
    }

    #[test]
    #[ignore = "a part of other tests"]
    fn probe() {
        say(serde_json::to_string(&nvenc::probe()).unwrap());
    }
}
