//! The fake NVIDIA driver, held against a program that was written for the real one: Debian's ffmpeg.

mod fake_driver;

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const FRAMES: usize = 30;
const SOURCE: &str = "testsrc2=size=160x120:rate=25:duration=1.2";

/// What ffmpeg made of the pictures.
struct Run {
    folder: TempDir,
    code: Option<i32>,
    signal: Option<i32>,
    stderr: String,
    took: Duration,
}

/// Encodes with `encoder` on the fake driver in `libraries`, with faults.
fn encode_with(libraries: &Path, faults: &str, encoder: &str, options: &[&str]) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-f", "lavfi", "-i", SOURCE, "-c:v", encoder]).args(options);
    let begin = Instant::now();
    let output = command
        .args(["-f", "nut", "video.nut"])
        .current_dir(&folder)
        .env("LD_LIBRARY_PATH", libraries)
        .env("FAKE_NVENC", faults)
        .env("FAKE_NVENC_TRACE", folder.path().join("trace"))
        .output()
        .expect("ffmpeg is installed: apt-get install ffmpeg");
    Run {
        folder,
        code: output.status.code(),
        signal: output.status.signal(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        took: begin.elapsed(),
    }
}

fn encode(faults: &str, encoder: &str, options: &[&str]) -> Run {
    encode_with(&fake_driver::folder(), faults, encoder, options)
}

impl Run {
    fn video(&self) -> PathBuf {
        self.folder.path().join("video.nut")
    }

    /// The calls that the driver wrote down which contain all the words.
    fn calls(&self, words: &[&str]) -> Vec<String> {
        let trace = std::fs::read_to_string(self.folder.path().join("trace")).unwrap_or_default();
        let has = |line: &str, word: &str| line.split(' ').any(|part| part == word);
        trace.lines().filter(|line| words.iter().all(|word| has(line, word))).map(String::from).collect()
    }

    /// `field` of each frame, by ffprobe.
    fn frames(&self, field: &str) -> Vec<String> {
        let show = format!("frame={field}");
        let output = Command::new("ffprobe")
            .args(["-v", "error", "-show_entries", &show, "-of", "default=nokey=1:noprint_wrappers=1"])
            .arg(self.video())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(String::from).collect()
    }

    /// The least likeness of a picture to the one that was encoded, in dB.
    fn worst_psnr(&self) -> f64 {
        let compare = "[0:v]format=yuv420p,settb=1/25,setpts=N[a];[1:v]format=yuv420p,settb=1/25,setpts=N[b];[a][b]psnr=stats_file=-";
        let output = Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-i"])
            .arg(self.video())
            .args(["-f", "lavfi", "-i", SOURCE, "-lavfi", compare, "-f", "null", "-"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8(output.stdout).unwrap();
        let values = lines.lines().map(|line| {
            let value = line.split("psnr_avg:").nth(1).unwrap().split(' ').next().unwrap();
            value.parse::<f64>().unwrap()
        });
        let values: Vec<f64> = values.collect();
        assert_eq!(values.len(), FRAMES);
        values.into_iter().fold(f64::INFINITY, f64::min)
    }
}

/// ffmpeg was built against API 11.1, and speaks the whole protocol: devices, caps, presets, sequence headers, buffers,
/// pictures, the end of the stream.
#[test]
fn ffmpeg_encodes_h264_whatever_the_layout_of_its_input() {
    for format in ["yuv420p", "nv12"] {
        let run = encode("", "h264_nvenc", &["-pix_fmt", format, "-cq", "20", "-g", "10", "-bf", "0"]);
        assert_eq!((run.code, &*run.stderr), (Some(0), ""), "{format}");
        let keys: Vec<usize> = (0..FRAMES).filter(|i| run.frames("key_frame")[*i] == "1").collect();
        assert_eq!(keys, [0, 10, 20], "{format}");
        assert_eq!(run.frames("pict_type").len(), FRAMES, "{format}");
        let psnr = run.worst_psnr();
        assert!(psnr > 38.0, "{format}: {psnr} dB");
        assert_eq!(run.calls(&["open", "api=11.1"]).len(), 1, "{format}");
        let asked = ["codec=h264", "preset=p4", "gop=10", "idr=10", "interval_p=1", "rc=vbr", "target_quality=20"];
        assert_eq!(run.calls(&["initialize", "size=160x120", "fps=25/1"]), run.calls(&asked), "{format}");
        assert_eq!(run.calls(&["encode"]).len(), FRAMES, "{format}");
        assert_eq!(run.calls(&["destroy"]).len(), 1, "{format}");
    }
}

/// `-forced-idr` makes ffmpeg ask for key frames; with global headers it asks for parameter sets only outside of the stream.
#[test]
fn key_frames_and_parameter_sets_come_where_they_are_asked_for() {
    let forced = ["-force_key_frames", "expr:eq(n,7)", "-forced-idr", "1"];
    let run = encode("", "h264_nvenc", &[&forced[..], &["-g", "20", "-bf", "0", "-flags", "+global_header"]].concat());
    assert_eq!((run.code, &*run.stderr), (Some(0), ""));
    let keys: Vec<usize> = (0..FRAMES).filter(|i| run.frames("key_frame")[*i] == "1").collect();
    // The group of pictures begins anew with a forced key frame.
    assert_eq!(keys, [0, 7, 27]);
    assert_eq!(run.calls(&["initialize", "repeat_headers=0", "disable_headers=1"]).len(), 1);
    assert_eq!(run.calls(&["encode", "headers=0"]).len(), FRAMES);
    let psnr = run.worst_psnr();
    assert!(psnr > 30.0, "decoded by the headers in the container: {psnr} dB");
}

#[test]
fn colours_are_marked_as_asked_for() {
    let options =
        ["-colorspace", "smpte170m", "-color_range", "pc", "-color_primaries", "bt709", "-color_trc", "bt709"];
    let run = encode("", "h264_nvenc", &options);
    assert_eq!((run.code, &*run.stderr), (Some(0), ""));
    assert_eq!(run.calls(&["initialize", "range=1", "matrix=6", "primaries=1", "transfer=1"]).len(), 1);
    assert_eq!(run.frames("color_space")[0], "smpte170m");
    assert_eq!(run.frames("color_range")[0], "pc");
}

#[test]
fn ffmpeg_encodes_hevc() {
    let run = encode("", "hevc_nvenc", &["-cq", "20", "-bf", "0"]);
    assert_eq!((run.code, &*run.stderr), (Some(0), ""));
    let psnr = run.worst_psnr();
    assert!(psnr > 38.0, "{psnr} dB");
}

/// Each fault that stops ffmpeg, and how it says so.
#[test]
fn faults_reach_the_caller_as_a_drivers() {
    for (faults, options, words) in [
        ("cuinit=100", &[][..], "CUDA_ERROR_NO_DEVICE"),
        ("cuinit=803", &[], "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"),
        ("cuinit=999", &[], "CUDA_ERROR_UNKNOWN"),
        ("devices=0", &[], "CUDA_ERROR_NO_DEVICE"),
        ("api=11.0", &[], "Required: 11.1 Found: 11.0"),
        ("open=2", &[], "OpenEncodeSessionEx failed: unsupported device (2)"),
        ("open=10", &[], "OpenEncodeSessionEx failed: out of memory (10)"),
        ("init=8", &[], "InitializeEncoder failed: invalid param (8)"),
        ("codecs=hevc+av1", &[], "No capable devices found"),
        ("sessions=0", &[], "OpenEncodeSessionEx failed: out of memory (10)"),
        ("fail=7:20", &[], "EncodePicture failed!: generic error (20)"),
        ("fail=7:5", &[], "EncodePicture failed!: device does not exist (5)"),
        ("fail_every=8:10", &[], "EncodePicture failed!: out of memory (10)"),
        ("busy=7:1000", &[], "EncodePicture failed!: encoder busy (18)"),
        ("devices=2", &["-gpu", "2"], "No capable devices found"),
    ] {
        let run = encode(faults, "h264_nvenc", options);
        assert_eq!(run.code, Some(1), "{faults}: {}", run.stderr);
        assert!(run.stderr.contains(words), "{faults}: {}", run.stderr);
        if faults.ends_with("=7:20") {
            assert_eq!(
                run.calls(&["encode", "type=p"]).len() + run.calls(&["encode", "type=idr"]).len(),
                7,
                "{faults}"
            );
        }
    }
}

#[test]
fn a_library_can_be_missing() {
    for (there, missing) in [(fake_driver::CUDA, fake_driver::NVENC), (fake_driver::NVENC, fake_driver::CUDA)] {
        let run = encode_with(&fake_driver::folder_with(&[there]), "", "h264_nvenc", &[]);
        assert_eq!(run.code, Some(1));
        assert!(run.stderr.contains(&format!("Cannot load {missing}")), "{}", run.stderr);
    }
}

/// Both outputs of one ffmpeg are sessions of one process.
#[test]
fn sessions_are_limited_by_process() {
    for (limit, code) in [("sessions=1", 1), ("sessions=2", 0)] {
        let second = ["-f", "nut", "first.nut", "-c:v", "h264_nvenc"];
        let run = encode(limit, "h264_nvenc", &second);
        assert_eq!(run.code, Some(code), "{limit}: {}", run.stderr);
        assert_eq!(run.stderr.contains("out of memory (10)"), code == 1, "{limit}: {}", run.stderr);
    }
}

#[test]
fn a_picture_can_hang_and_the_next_go_on() {
    let run = encode("hang=7:1200", "h264_nvenc", &[]);
    assert_eq!((run.code, &*run.stderr), (Some(0), ""));
    assert!(run.took >= Duration::from_millis(1200), "{:?}", run.took);
    assert_eq!(run.calls(&["hang", "picture=7", "ms=1200"]).len(), 1);
    assert_eq!(run.frames("pict_type").len(), FRAMES);
}

#[test]
fn a_picture_can_take_the_process_along() {
    const SEGMENTATION_FAULT: i32 = 11;
    let run = encode("crash=7", "h264_nvenc", &[]);
    assert_eq!(run.signal, Some(SEGMENTATION_FAULT), "{}", run.stderr);
    assert_eq!(run.calls(&["crash", "picture=7"]).len(), 1);
}

#[test]
fn the_second_gpu_is_another_one() {
    let run = encode("devices=2", "h264_nvenc", &["-gpu", "1"]);
    assert_eq!((run.code, &*run.stderr), (Some(0), ""));
    assert_eq!(run.calls(&["open", "device=1"]).len(), 1);
}

/// A fault that does not exist must not let a test pass.
#[test]
fn an_unknown_fault_ends_the_process() {
    const ABORTED: i32 = 6;
    for (faults, words) in
        [("fial=1:2", "fial: no such fault"), ("fail=1", "expected fail=A:B"), ("open=x", "a number")]
    {
        let run = encode(faults, "h264_nvenc", &[]);
        assert_eq!(run.signal, Some(ABORTED), "{faults}: {}", run.stderr);
        assert!(run.stderr.contains(words), "{faults}: {}", run.stderr);
    }
}
