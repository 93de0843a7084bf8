//! `recorder regenerate`: every frame is kept, at its time; what fails leaves the old file; what is killed goes on.

mod dataset_support;
mod fake_driver;
mod run_support;

use recorder::cli::{Cli, Command as Subcommand};
use recorder::codec::backend;
use recorder::codec::gpu::{GpuReport, Prober};
use recorder::dataset::Dataset;
use recorder::regenerate::{self, Progress, RegenerateError, State, Summary};
use recorder::run;
use run_support::*;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

const FRONT: &str = "videos/observation.images.front/chunk-000/file-000.mp4";

fn try_regenerate(root: &Path, options: &str) -> Result<Summary, RegenerateError> {
    let root = root.to_str().unwrap();
    let cli = <Cli as clap::Parser>::parse_from(
        ["recorder", "regenerate", root].into_iter().chain(options.split_whitespace()),
    );
    let Some(Subcommand::Regenerate(arguments)) = cli.command else { panic!("{options}") };
    let no_gpu: Prober = Arc::new(GpuReport::default);
    regenerate::run(&arguments, &no_gpu, &Progress::silent(), &AtomicBool::new(false))
}

#[track_caller]
fn regenerated(root: &Path, options: &str) -> Summary {
    let summary = try_regenerate(root, options).unwrap();
    assert_eq!(summary.failed, 0, "{summary:#?}");
    summary
}

/// The program: exit code, and all that it says.
fn program(root: &Path, options: &str) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_recorder"));
    let output = command.arg("regenerate").arg(root).args(options.split_whitespace()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!text.contains("panicked"), "{text}");
    (output.status.code(), text)
}

/// A data set of two cameras, recorded in simulated time.
async fn recorded(root: &Path, codec: &str, episodes: &str) {
    let overrides = [("dataset.encoder.codec", codec), ("dataset.num_episodes", episodes)];
    record(&config(SMALL, root, &overrides), simulated(), backend::standard()).await;
}

fn copied(from: &Path, to: &Path) {
    for (path, bytes) in tree(from) {
        let target = to.join(path);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(target, bytes).unwrap();
    }
}

fn ffmpeg(arguments: &[&str], path: &Path) -> Vec<u8> {
    let (end, front) = arguments.split_last().unwrap();
    let output = Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(path).args(front).arg(end).output();
    let output = output.expect("ffmpeg is needed: scripts/setup.sh --test installs it");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// All pictures of a video as an RGB player shows them.
fn rgb(path: &Path) -> Vec<u8> {
    let scale = "scale=in_color_matrix=auto:flags=accurate_rnd+full_chroma_int";
    ffmpeg(&["-vf", scale, "-fps_mode", "passthrough", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"], path)
}

/// Peak signal-to-noise ratio in dB.
fn psnr(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len(), "as many pictures");
    let squares: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
    10.0 * (255.0 * 255.0 / (squares / a.len() as f64).max(1e-9)).log10()
}

/// Times and key frames of a video, as ffprobe sees them.
fn packets(path: &Path) -> Vec<(i64, bool)> {
    let arguments = ["-v", "error", "-select_streams", "v:0", "-of", "csv=p=0", "-show_entries", "packet=pts,flags"];
    let output = Command::new("ffprobe").args(arguments).arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |line: &str| {
        let (time, flags) = line.split_once(',').unwrap();
        (time.parse().unwrap(), flags.starts_with('K'))
    };
    text.lines().map(line).collect()
}

fn times(path: &Path) -> Vec<i64> {
    packets(path).into_iter().map(|(time, _)| time).collect()
}

fn video_info(root: &Path, camera: &str) -> Value {
    let info: Value = serde_json::from_slice(&fs::read(root.join("meta/info.json")).unwrap()).unwrap();
    info["features"][format!("observation.images.{camera}")]["info"].clone()
}

fn videos(root: &Path) -> Vec<PathBuf> {
    tree(root)
        .into_iter()
        .map(|(path, _)| root.join(path))
        .filter(|p| p.extension().is_some_and(|e| e == "mp4"))
        .collect()
}

/// LeRobot's own sample: AV1, two episodes in one file for each camera.
#[test]
fn lerobots_data_set_becomes_h264() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    dataset_support::lerobot_sample(root);
    let before: Vec<_> = videos(root).iter().map(|path| (times(path), rgb(path))).collect();
    let tables = |root: &Path| -> Vec<_> {
        tree(root).into_iter().filter(|(path, _)| !path.ends_with("info.json") && !path.starts_with("videos")).collect()
    };
    let (tables_before, description) = (tables(root), fs::read_to_string(root.join("meta/info.json")).unwrap());

    let summary = regenerated(root, "--cpu");
    assert_eq!((summary.encoded, summary.frames, summary.info_updated), (2, 120, true));
    check(root);
    for (path, (times_before, pictures)) in videos(root).iter().zip(&before) {
        assert_eq!(times(path), *times_before, "{}", path.display());
        // Measured: 35.9 and 37.4 dB at quality 23.
        assert!(psnr(pictures, &rgb(path)) > 34.0, "{}: {} dB", path.display(), psnr(pictures, &rgb(path)));
    }
    assert!(tables(root) == tables_before, "statistics, rows and episodes stay");
    let expected = description.replace("\"av1\"", "\"h264\"").replace("\"video.g\": 2", "\"video.g\": 15");
    let expected = expected.replace("\"video.crf\": 30", "\"video.crf\": 23");
    let expected = expected.replace("\"video.preset\": 12", "\"video.preset\": null");
    assert_eq!(fs::read_to_string(root.join("meta/info.json")).unwrap(), expected);

    let after = tree(root);
    let again = regenerated(root, "--cpu");
    assert_eq!((again.encoded, again.up_to_date, again.info_updated), (0, 2, false));
    assert!(again.text().contains("nothing to do"), "{}", again.text());
    assert!(tree(root) == after);
}

#[tokio::test(flavor = "multi_thread")]
async fn copied_jpegs_become_what_encoding_them_at_once_gives() {
    let dir = tempfile::tempdir().unwrap();
    let (copy, h264) = (dir.path().join("copy"), dir.path().join("h264"));
    recorded(&copy, "copy", "2").await;
    recorded(&h264, "h264", "2").await;
    assert_eq!(video_info(&copy, "wrist")["video.codec"], "mjpeg");
    // But for the checksums of the videos, which `check` holds the new ones against.
    let rest = |root: &Path| -> Vec<_> {
        tree(root).into_iter().filter(|(p, _)| p.starts_with("recorder/rows") || p.starts_with("data")).collect()
    };
    let rest_before = rest(&copy);
    let before: Vec<_> = (0..2).map(|episode| burnt_in(&copy, "front", episode, 160, 120)).collect();
    assert!(before[0].iter().all(Option::is_some));

    regenerated(&copy, "--cpu");
    check(&copy);
    assert_eq!(video_info(&copy, "wrist"), video_info(&h264, "wrist"));
    assert!(rest(&copy) == rest_before);
    for (ours, theirs) in videos(&copy).iter().zip(&videos(&h264)) {
        let stream = |path| ffmpeg(&["-c", "copy", "-f", "h264", "-"], path);
        assert!(stream(ours) == stream(theirs), "{}", ours.display());
        assert_eq!(packets(ours), packets(theirs));
    }
    for (episode, numbers) in before.iter().enumerate() {
        assert_eq!(burnt_in(&copy, "front", episode, 160, 120), *numbers);
    }
    // What was recorded so to begin with is not encoded twice.
    let untouched = tree(&h264);
    assert_eq!(regenerated(&h264, "--cpu").up_to_date, 4);
    assert!(tree(&h264) == untouched);
}

#[tokio::test(flavor = "multi_thread")]
async fn quality_gop_and_episodes_are_chosen() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    recorded(&root, "h264", "2").await;
    let numbers: Vec<_> = (0..2).map(|episode| burnt_in(&root, "wrist", episode, 160, 120)).collect();
    let before = tree(&root);

    // The same codec for a part of the files: info.json stays as it is.
    let summary = regenerated(&root, "--cpu --quality 35 --gop 5 --episodes 1");
    assert_eq!((summary.encoded, summary.info_updated), (2, false));
    let touched = |n: &str| tree(&root).iter().zip(&before).any(|(a, b)| a.0.ends_with(n) && a.1 != b.1);
    assert!(touched("file-001.mp4") && !touched("file-000.mp4") && !touched("info.json"));
    check(&root);

    let summary = regenerated(&root, "--cpu --quality 35 --gop 5");
    assert_eq!((summary.encoded, summary.up_to_date, summary.info_updated), (2, 2, true));
    assert!(summary.bytes_after < summary.bytes_before);
    check(&root);
    let info = video_info(&root, "front");
    assert_eq!((&info["video.g"], &info["video.crf"], &info["video.codec"]), (&5.into(), &35.into(), &"h264".into()));
    for path in videos(&root) {
        let found = packets(&path);
        assert!(found.len() >= 40 && found.iter().enumerate().all(|(k, (_, key))| *key == (k % 5 == 0)), "{found:?}");
    }
    for (episode, numbers) in numbers.iter().enumerate() {
        assert_eq!(burnt_in(&root, "wrist", episode, 160, 120), *numbers, "every frame is the one it was");
    }
    // A group of pictures longer than a second.
    regenerated(&root, "--cpu --gop 40");
    check(&root);
}

/// Sources that others make: B-frames, other codecs, full range, another matrix.
#[tokio::test(flavor = "multi_thread")]
async fn every_source_keeps_its_pictures_and_colours() {
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("recording");
    recorded(&recording, "copy", "1").await;
    let full = "scale=out_range=full:out_color_matrix=bt601,format=yuvj420p";
    let bt709 = "scale=out_range=tv:out_color_matrix=bt709,format=yuv420p";
    let plain = "scale=out_range=tv:out_color_matrix=bt601,format=yuv420p";
    let wide = "scale=out_range=tv:out_color_matrix=bt601,format=yuv444p";
    let as_bt709 = ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"];
    let as_full = ["-color_range", "pc"];
    for (name, filter, options, range) in [
        ("B-frames", plain, &["-c:v", "libx264", "-bf", "3", "-crf", "8"][..], "tv"),
        ("full range", full, &[&["-c:v", "libx264", "-crf", "8"][..], &as_full].concat(), "pc"),
        ("BT.709", bt709, &[&["-c:v", "libx264", "-crf", "8"][..], &as_bt709].concat(), "tv"),
        ("4:4:4", wide, &["-c:v", "libx264", "-crf", "8"], "tv"),
        ("H.265", plain, &["-c:v", "libx265", "-crf", "8", "-x265-params", "log-level=none"], "tv"),
        (
            "H.265, full range",
            full,
            &[&["-c:v", "libx265", "-crf", "8", "-x265-params", "log-level=none:range=full"][..], &as_full].concat(),
            "pc",
        ),
        ("MPEG-4", plain, &["-c:v", "mpeg4", "-q:v", "2"], "tv"),
    ] {
        let root = dir.path().join(name);
        copied(&recording, &root);
        for path in videos(&root) {
            let new = path.with_extension("new.mp4");
            let common = ["-fps_mode", "passthrough", "-video_track_timescale", "15360", "-vf", filter];
            ffmpeg(&[&common[..], options, &["-y", new.to_str().unwrap()]].concat(), &path);
            fs::rename(new, path).unwrap();
        }
        let before = rgb(&root.join(FRONT));
        regenerated(&root, "--cpu --quality 12");
        check(&root);
        let similarity = psnr(&before, &rgb(&root.join(FRONT)));
        // Measured: 36.8 dB (4:4:4, which loses chroma) to 46.7 dB.
        assert!(similarity > 34.0, "{name}: {similarity:.1} dB");
        let arguments = ["-v", "error", "-of", "csv=p=0", "-show_entries", "stream=color_range,color_space"];
        let output = Command::new("ffprobe").args(arguments).arg(root.join(FRONT)).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), format!("{range},smpte170m"), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_videos_are_reported_and_left() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    recorded(&root, "copy", "3").await;
    let whole = tree(&root);
    let video = |n: usize| root.join(format!("videos/observation.images.front/chunk-000/file-{n:03}.mp4"));
    // A picture in the middle loses its start mark; a file its end.
    let mut corrupt = fs::read(video(0)).unwrap();
    let marks: Vec<usize> = (0..corrupt.len() - 3).filter(|i| corrupt[*i..].starts_with(b"\xff\xd8\xff")).collect();
    corrupt[marks[20]] = 0;
    fs::write(video(0), &corrupt).unwrap();
    let truncated = fs::read(video(1)).unwrap();
    let truncated = &truncated[..truncated.len() * 2 / 3];
    fs::write(video(1), truncated).unwrap();

    let (code, text) = program(&root, "--cpu");
    assert_eq!(code, Some(1), "{text}");
    for words in
        ["file-000.mp4: FAILED, and is as it was: frame 20 cannot be decoded", "file-001.mp4: FAILED", "67 % good"]
    {
        assert!(text.contains(words), "`{words}` is not in:\n{text}");
    }
    assert!(fs::read(video(0)).unwrap() == corrupt && fs::read(video(1)).unwrap() == truncated);
    let codecs = |root: &Path| ["front", "wrist"].map(|camera| video_info(root, camera)["video.codec"].clone());
    assert_eq!(codecs(&root), ["mjpeg", "h264"], "info.json follows when all of a camera's files have");
    assert!(text.contains("observation.images.front: some of its videos are mjpeg still"), "{text}");
    assert!(tree(&root).len() == whole.len(), "no temporary file is left");

    for (path, bytes) in whole.iter().filter(|(p, _)| root.join(p) == video(0) || root.join(p) == video(1)) {
        fs::write(root.join(path), bytes).unwrap();
    }
    let summary = regenerated(&root, "--cpu");
    assert_eq!((summary.encoded, summary.up_to_date), (2, 4));
    assert_eq!(codecs(&root), ["h264", "h264"]);
    check(&root);

    // As LeRobot's own video, decoded by ffmpeg.
    let root = dir.path().join("lerobot");
    dataset_support::lerobot_sample(&root);
    let mut bytes = fs::read(root.join(FRONT)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 2000].fill(0x55);
    fs::write(root.join(FRONT), &bytes).unwrap();
    let summary = try_regenerate(&root, "--cpu").unwrap();
    let states: Vec<State> = summary.files.iter().map(|file| file.state).collect();
    assert_eq!(states, [State::Failed, State::Encoded], "{summary:#?}");
    assert!(fs::read(root.join(FRONT)).unwrap() == bytes);
    fs::remove_file(root.join(FRONT)).unwrap();
    let summary = try_regenerate(&root, "--cpu").unwrap();
    assert!(summary.files[0].error.as_ref().unwrap().contains("cannot open"), "{summary:#?}");
}

/// Killed after each of its files, and in each state in which that can leave the disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("recording");
    recorded(&recording, "copy", "3").await;
    let expected = dir.path().join("expected");
    copied(&recording, &expected);
    regenerated(&expected, "--cpu");
    let expected = tree(&expected);

    for files_done in 1..=6 {
        let root = dir.path().join(format!("killed-{files_done}"));
        copied(&recording, &root);
        let mut child = Command::new(env!("CARGO_BIN_EXE_recorder"))
            .args(["regenerate", "--cpu", "--workers", "1"])
            .arg(&root)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        for _ in 0..files_done {
            lines.by_ref().find(|line| line.contains(" frames in ")).expect("a line for each file");
        }
        // The next file is in work, or after the last one info.json.
        kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
        child.wait().unwrap();
        assert!(regenerated(&root, "--cpu").up_to_date >= files_done);
        assert!(tree(&root) == expected, "killed after {files_done} files");
    }

    // All renamed, and info.json not yet; and a temporary file, whole or not, that was not renamed.
    let root = dir.path().join("left");
    copied(&recording, &root);
    regenerated(&root, "--cpu");
    fs::copy(recording.join("meta/info.json"), root.join("meta/info.json")).unwrap();
    fs::copy(recording.join(FRONT), root.join(FRONT)).unwrap();
    fs::write(root.join(FRONT).with_file_name(".file-000.mp4.regenerating"), "half a video").unwrap();
    let summary = regenerated(&root, "--cpu");
    assert_eq!((summary.encoded, summary.up_to_date, summary.info_updated), (1, 5, true));
    assert!(tree(&root) == expected);
    fs::copy(recording.join("meta/info.json"), root.join("meta/info.json")).unwrap();
    let summary = regenerated(&root, "--cpu");
    assert_eq!((summary.encoded, summary.info_updated), (0, true));
    assert!(tree(&root) == expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_leaves_nothing_half_done() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    recorded(&root, "copy", "3").await;
    let files = tree(&root).len();
    let mut child = Command::new(env!("CARGO_BIN_EXE_recorder"))
        .args(["regenerate", "--cpu", "--workers", "1"])
        .arg(&root)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    lines.by_ref().find(|line| line.contains(" frames in ")).expect("a line for each file");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    // What is in work is given up; a run that had just ended has nothing to give up.
    assert!(matches!(child.wait().unwrap().code(), Some(130 | 0)));
    assert_eq!(tree(&root).len(), files);
    regenerated(&root, "--cpu");
    check(&root);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_and_nothing_touched() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, sample, other) = (dir.path().join("ours"), dir.path().join("sample"), dir.path().join("other"));
    recorded(&ours, "copy", "2").await;
    dataset_support::lerobot_sample(&sample);
    fs::create_dir_all(other.join("meta")).unwrap();
    let absent = dir.path().join("absent");
    let (old, blind) = (dir.path().join("old"), dir.path().join("blind"));
    for (root, change) in [(&old, ["\"v3.0\"", "\"v2.1\""]), (&blind, ["\"video\"", "\"image\""])] {
        dataset_support::lerobot_sample(root);
        let text = fs::read_to_string(root.join("meta/info.json")).unwrap().replace(change[0], change[1]);
        fs::write(root.join("meta/info.json"), text).unwrap();
    }
    let torn = dir.path().join("torn");
    dataset_support::lerobot_sample(&torn);
    fs::write(torn.join("meta/episodes/chunk-000/file-000.parquet"), "no table").unwrap();
    let before = dataset_support::tree(dir.path());
    for (root, options, code, words) in [
        (&ours, "--codec vp9", 2, &["expected h264, hevc, av1 or copy"][..]),
        (&ours, "--preset quick", 2, &["expected one of fast, medium, slow"]),
        (&ours, "--encoder-type qsv", 2, &["qsv is not built in; here are nvenc, software"]),
        (&ours, "--encoder-type vce", 2, &["vce is not built in"]),
        (&ours, "--encoder-type cuda", 2, &["expected auto, nvenc or software"]),
        (&ours, "--episodes 1-x", 2, &["such as 0,3-5, found `1-x`"]),
        (&ours, "--episodes 2", 2, &["expected numbers below 2", "found 2"]),
        (&ours, "--episodes 1", 2, &["holds mjpeg, and codecs are not mixed", "leave --episodes out"]),
        (&ours, "--quality 52", 2, &["--quality: expected 0 to 51 for h264 and hevc, found 52"]),
        (&ours, "--codec av1 --quality 64", 2, &["expected 0 to 63 for av1, found 64"]),
        (&ours, "--cpu --quality 0 --bitrate 1000000", 2, &["--bitrate: the CPU encodes at constant quality"]),
        (&ours, "--cpu --codec hevc", 2, &["the CPU encodes h264 only"]),
        (&ours, "--cpu --gpu", 2, &["cannot be used with"]),
        (&ours, "--cpu --encoder-type nvenc", 2, &["--cpu contradicts --encoder-type nvenc"]),
        (&ours, "--gpu --encoder-type software", 2, &["--gpu contradicts --encoder-type software"]),
        (&ours, "--gop 0", 2, &["--gop"]),
        (&ours, "--workers 0", 2, &["--workers"]),
        (&ours, "--fps 15", 2, &["30 rows a second", "found 15; leave --fps out"]),
        (&sample, "--codec copy", 2, &["file-000.mp4 holds av1", "choose h264"]),
        (&sample, "--codec copy --dry-run", 2, &["file-000.mp4 holds av1"]),
        (&absent, "", 4, &["absent: expected a LeRobot v3.0 data set, found no such folder"]),
        (&other, "", 4, &["other: expected a LeRobot v3.0 data set, found no meta/info.json", "give the folder"]),
        (&old, "", 4, &["expected codebase_version \"v3.0\", found \"v2.1\"", "LeRobot's scripts"]),
        (&blind, "", 4, &["expected a data set with videos"]),
        (&torn, "", 4, &["file-000.parquet: expected a table of episodes"]),
    ] {
        let (found, text) = program(root, options);
        assert_eq!(found, Some(code), "`{options}`: {text}");
        for word in words {
            assert!(text.contains(word), "`{options}`: `{word}` is not in:\n{text}");
        }
        assert!(dataset_support::tree(dir.path()) == before, "`{options}`");
    }
    assert_eq!(program(&ours, "--fps 30 --codec copy").0, Some(0), "there is nothing to do");
    // Only where there is none.
    if program(&ours, "--gpu --dry-run").0 != Some(0) {
        for (options, words) in [
            ("--gpu", "the GPU does not encode"),
            ("--encoder-type nvenc", "the GPU does not encode"),
            ("--codec hevc", "choose h264"),
            ("--bitrate 1000000", "--bitrate is for NVENC only"),
        ] {
            let (code, text) = program(&ours, options);
            assert!(code == Some(2) && text.contains(words), "`{options}`: {text}");
        }
    }
    assert!(dataset_support::tree(dir.path()) == before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    dataset_support::lerobot_sample(&root);
    let before = dataset_support::tree(dir.path());
    let (code, text) = program(&root, "--cpu --dry-run");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("file-000.mp4: would be encoded (60 frames, episodes 0, 1)"), "{text}");
    assert!(text.contains("2 to encode as h264"), "{text}");
    let (code, text) = program(&root, "--cpu --dry-run --json");
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &json["planned"], &json["files"][1]["state"]), (Some(0), &2.into(), &"planned".into()));
    assert!(dataset_support::tree(dir.path()) == before);
}

#[tokio::test(flavor = "multi_thread")]
async fn data_sets_that_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    let config = config(SMALL, &root, &[("dataset.encoder.codec", "copy"), ("dataset.num_episodes", "1")]);
    record(&config, simulated(), backend::standard()).await;
    let before = tree(&root);
    let open = Dataset::resume(&root, run::dataset_spec(&config)).unwrap();
    let (code, text) = program(&root, "--cpu");
    assert!(code == Some(4) && text.contains("another recorder is writing this data set"), "{text}");
    drop(open);

    // A folder without the right to write, for somebody who is not root.
    let videos = root.join(FRONT).parent().unwrap().to_owned();
    let rights = |path: &Path, mode| {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    let program = dir.path().join("recorder");
    fs::copy(env!("CARGO_BIN_EXE_recorder"), &program).unwrap();
    let mut command = Command::new(&program);
    command.args(["regenerate", "--cpu"]).arg(&root);
    if rustix::process::geteuid().is_root() {
        rights(dir.path(), 0o755);
        Command::new("chown").args(["-R", "65534:65534"]).arg(&root).status().unwrap();
        command.uid(65534).gid(65534);
    }
    rights(&videos, 0o555);
    let output = command.output().unwrap();
    rights(&videos, 0o755);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("cannot create") && text.contains("check the folder's owner and rights"), "{text}");
    let same = |path: &str| tree(&root).iter().zip(&before).any(|(a, b)| a.0 == Path::new(path) && a == b);
    assert!(same(FRONT) && !same(&FRONT.replace("front", "wrist")));
}

#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_is_needed_for_other_sources_only() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, sample) = (dir.path().join("ours"), dir.path().join("sample"));
    recorded(&ours, "copy", "1").await;
    dataset_support::lerobot_sample(&sample);
    let before = dataset_support::tree(&sample);
    let without = |root: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_recorder"));
        let output = command.args(["regenerate", "--cpu"]).arg(root).env("PATH", dir.path()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, text) = without(&sample);
    assert!(code == Some(1) && text.contains("holds av1: expected the programs ffmpeg and ffprobe"), "{text}");
    assert!(text.contains("apt-get install ffmpeg") && dataset_support::tree(&sample) == before, "{text}");
    let (code, text) = without(&ours);
    assert_eq!(code, Some(0), "{text}");
    check(&ours);
}

/// The program on the fake driver, with a fault.
fn on_fake_driver(root: &Path, options: &str, fault: &str) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_recorder"));
    command.env("LD_LIBRARY_PATH", fake_driver::folder()).env("FAKE_NVENC", fault);
    let output = command.arg("regenerate").arg(root).args(options.split_whitespace()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gpu_encodes_and_when_it_fails_the_cpu() {
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("recording");
    recorded(&recording, "copy", "2").await;
    let numbers: Vec<_> = (0..2).map(|episode| burnt_in(&recording, "front", episode, 160, 120)).collect();
    for (name, options, fault, code, words) in [
        ("works", "--preset slow", "", 0, &["nvenc", "4 encoded as h264"][..]),
        ("forced", "--gpu", "", 0, &["nvenc", "4 encoded as h264"]),
        ("fails", "", "fail=70:20", 0, &["the GPU failed", "going on with the CPU", "openh264", "4 encoded as h264"]),
        ("refuses", "", "open=10", 0, &["the GPU does not encode", "openh264", "4 encoded as h264"]),
        ("crashes when asked", "", "crash=0", 0, &["the GPU does not encode", "crashed", "4 encoded as h264"]),
        ("must not fail", "--gpu --workers 1", "fail=70:20", 1, &["nvenc", "1 failed: 75 % good"]),
    ] {
        let root = dir.path().join(name);
        copied(&recording, &root);
        let (found, text) = on_fake_driver(&root, options, fault);
        assert_eq!(found, Some(code), "{name}: {text}");
        for word in words {
            assert!(text.contains(word), "{name}: `{word}` is not in:\n{text}");
        }
        if code == 0 {
            check(&root);
        }
        for (episode, numbers) in numbers.iter().enumerate() {
            assert_eq!(burnt_in(&root, "front", episode, 160, 120), *numbers, "{name}");
        }
        // What the GPU made is not done again, and where it did not, what the CPU made will do.
        let (found, text) = on_fake_driver(&root, options, "");
        assert!(found == Some(0) && text.contains(if code == 0 { "nothing to do" } else { "1 encoded" }), "{text}");
        check(&root);
    }
    let (code, text) = on_fake_driver(&recording, "--gpu --gpu-id 3", "");
    assert!(code == Some(2) && text.contains("there is no GPU 3"), "{text}");
}
