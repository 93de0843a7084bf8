//! Indexes of video files: those of other writers as ffprobe reads them, and whatever becomes of a file.

mod dataset_support;

use dataset_support::{Codec, External, FPS, GOP, HEIGHT, WIDTH, encode, external, h264, run};
use openh264::encoder::Profile;
use proptest::collection::vec;
use proptest::prelude::*;
use recorder::config::schema::ColorRange;
use recorder::dataset::{Mp4Index, Mp4Writer, SampleInfo, VideoTrack};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

const TRACK: VideoTrack =
    VideoTrack { width: WIDTH as u16, height: HEIGHT as u16, fps: FPS, color_range: ColorRange::Limited };

/// Packets as ffprobe lists them.
fn ffprobe(path: &Path) -> Vec<SampleInfo> {
    let mut ffprobe = Command::new("ffprobe");
    let arguments = "-v error -select_streams v:0 -show_entries packet=pts,duration,size,pos,flags -of json";
    let (ok, output) = run(ffprobe.args(arguments.split(' ')).arg(path));
    assert!(ok, "{output}");
    let found: serde_json::Value = serde_json::from_str(&output).unwrap();
    let text = |packet: &serde_json::Value, key: &str| packet[key].as_str().unwrap().parse::<u64>().unwrap();
    let sample = |packet: &serde_json::Value| SampleInfo {
        time: packet["pts"].as_i64().unwrap(),
        duration: packet["duration"].as_u64().unwrap_or(0) as u32,
        size: text(packet, "size") as u32,
        offset: text(packet, "pos"),
        sync: packet["flags"].as_str().unwrap().starts_with('K'),
    };
    found["packets"].as_array().unwrap().iter().map(sample).collect()
}

fn ffmpeg(arguments: &str, to: &Path) {
    let source = "-v error -y -f lavfi -i testsrc2=size=64x48:rate=30:duration=1";
    let (ok, output) = run(Command::new("ffmpeg").args(source.split(' ')).args(arguments.split(' ')).arg(to));
    assert!(ok, "{arguments}: {output}");
}

/// Compares with ffprobe, and the samples' bytes with those that ffmpeg copies.
fn check(path: &Path, codec: &str, width: u16, frames: usize) -> Mp4Index {
    let index = Mp4Index::read(path).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((index.codec.as_str(), index.width, index.samples.len()), (codec, width, frames), "{}", path.display());
    let mut theirs = ffprobe(path);
    assert_eq!(theirs.len(), frames);
    for (i, (ours, theirs)) in index.samples.iter().zip(&mut theirs).enumerate() {
        // Of fragments ffprobe does not know every duration.
        if theirs.duration == 0 {
            theirs.duration = 512;
        }
        assert_eq!(ours, theirs, "sample {i} of {}", path.display());
    }

    let times = index.frame_times();
    for (k, time) in times.iter().enumerate() {
        assert!((time - times[0] - k as f64 / 30.0).abs() < 1e-9, "frame {k} of {} at {time} s", path.display());
    }
    let copy = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        .args("-map 0:v -c copy -f data -".split(' '))
        .output();
    let file = File::open(path).unwrap();
    let ours: Vec<u8> = (0..frames).flat_map(|i| index.read_sample(&file, i).unwrap()).collect();
    assert!(ours == copy.unwrap().stdout, "bytes of {}", path.display());
    index
}

#[test]
fn lerobots_videos_are_read() {
    for camera in ["front", "wrist"] {
        let video = format!("tests/data/lerobot-v3-sample/videos/observation.images.{camera}/chunk-000/file-000.mp4");
        let index = check(&Path::new(env!("CARGO_MANIFEST_DIR")).join(video), "av1", 320, 60);
        assert_eq!((index.height, index.timescale, index.frame_times()[0]), (240, 15360, 0.0));
    }
}

#[test]
fn ffmpegs_videos_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let x264 = "-pix_fmt yuv420p -c:v libx264 -bf 2 -g 10";
    for (name, arguments, codec) in [
        ("plain.mp4", x264.into(), "h264"),
        ("faststart.mp4", format!("{x264} -movflags faststart"), "h264"),
        ("negative.mp4", format!("{x264} -movflags negative_cts_offsets"), "h264"),
        ("fragments.mp4", format!("{x264} -movflags frag_keyframe+empty_moov+default_base_moof"), "h264"),
        ("old-fragments.mp4", format!("{x264} -movflags frag_keyframe"), "h264"),
        ("delayed.mp4", format!("{x264} -movflags frag_keyframe+delay_moov"), "h264"),
        ("audio.mp4", format!("-f lavfi -i sine=duration=1 {x264} -c:a aac"), "h264"),
        ("audio-first.mp4", format!("-f lavfi -i sine=duration=1 -map 1 -map 0 {x264} -c:a aac"), "h264"),
        ("x265.mp4", "-pix_fmt yuv420p -c:v libx265 -x265-params log-level=error".into(), "hevc"),
        ("aom.mp4", "-pix_fmt yuv420p -c:v libaom-av1 -cpu-used 8".into(), "av1"),
        ("mpeg4.mp4", "-c:v mpeg4".into(), "mp4v"),
        ("mjpeg.mp4", "-c:v mjpeg".into(), "mjpeg"),
        ("mjpeg.mov", "-c:v mjpeg".into(), "mjpeg"),
        ("alike.mov", "-c:v rawvideo -pix_fmt rgb24".into(), "raw "),
    ] {
        let path = dir.path().join(name);
        ffmpeg(&arguments, &path);
        let index = check(&path, codec, 64, 30);
        let reordered = index.samples.windows(2).any(|pair| pair[1].time < pair[0].time);
        assert_eq!(reordered, arguments.contains("-bf") || name == "x265.mp4", "{name}");
        // What the reordering of B-frames delays, the edit list takes back; fragments have none.
        match name {
            "fragments.mp4" | "old-fragments.mp4" => {
                assert_eq!((index.edit_start, index.frame_times()[0]), (None, 2.0 / 30.0))
            }
            "plain.mp4" => assert_eq!((index.edit_start, index.frame_times()[0]), (Some(1024), 0.0)),
            _ => assert_eq!(index.frame_times()[0], 0.0, "{name}"),
        }
    }
}

#[test]
fn a_video_of_which_frames_are_cut_off_by_an_edit_list_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let [whole, cut] = ["whole.mp4", "cut.mp4"].map(|name| dir.path().join(name));
    ffmpeg("-pix_fmt yuv420p -c:v libx264 -bf 2 -g 10", &whole);
    let mut ffmpeg = Command::new("ffmpeg");
    let (ok, output) = run(ffmpeg.args(["-v", "error", "-ss", "0.5", "-i"]).arg(&whole).args(["-c", "copy"]).arg(&cut));
    assert!(ok, "{output}");
    let message = Mp4Index::read(&cut).unwrap_err().to_string();
    assert!(message.contains("an edit list that shows every frame, found one that leaves out 5 of 20"), "{message}");
}

#[test]
fn our_own_videos_are_read_while_they_grow_and_after() {
    let dir = tempfile::tempdir().unwrap();
    let switched = h264(0, 10, Profile::Baseline).into_iter().chain(external(External::X264, 10, 20)).collect();
    for (fragments, codec) in [
        (switched, "h264"),
        (encode(Codec::Hevc, 0, 30), "hevc"),
        (encode(Codec::Av1, 0, 30), "av1"),
        (encode(Codec::Mjpeg, 0, 30), "mjpeg"),
    ] {
        let fragments: Vec<recorder::codec::Fragment> = fragments;
        let path = dir.path().join(format!("{codec}.mp4"));
        let mut writer = Mp4Writer::create(&path, TRACK).unwrap();
        for (i, fragment) in fragments.iter().enumerate() {
            writer.append(fragment).unwrap();
            check(&path, codec, 320, (i + 1) * GOP);
        }
        writer.finish().unwrap();
        let index = check(&path, codec, 320, 30);
        assert_eq!((index.height, index.timescale, index.edit_start, index.samples[0].time), (240, 15360, None, 0));
        let file = File::open(&path).unwrap();
        let samples = fragments.iter().flat_map(|fragment| &fragment.samples);
        for (i, sample) in samples.enumerate() {
            assert_eq!(index.read_sample(&file, i).unwrap(), sample.data, "frame {i} of {codec}");
        }
    }
}

/// Small files of every kind, with their bytes.
static FILES: LazyLock<Vec<(&str, Vec<u8>)>> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    let x264 = "-pix_fmt yuv420p -c:v libx264 -bf 2 -g 10 -crf 40";
    for (name, flags) in [
        ("plain", "+faststart"),
        ("fragments", "frag_keyframe+empty_moov+default_base_moof"),
        ("mixed", "frag_keyframe"),
    ] {
        let path = dir.path().join(name).with_extension("mp4");
        ffmpeg(&format!("{x264} -movflags {flags}"), &path);
        files.push((name, fs::read(path).unwrap()));
    }
    let path = dir.path().join("ours.mp4");
    let mut writer = Mp4Writer::create(&path, TRACK).unwrap();
    h264(0, 20, Profile::Baseline).iter().for_each(|fragment| writer.append(fragment).unwrap());
    files.push(("growing", fs::read(&path).unwrap()));
    writer.finish().unwrap();
    files.push(("finished", fs::read(path).unwrap()));
    files
});

fn file(name: &str) -> Vec<u8> {
    FILES.iter().find(|(found, _)| *found == name).unwrap().1.clone()
}

/// Reads bytes as a file; what is read must be true of it.
fn read(bytes: &[u8]) -> Result<Mp4Index, String> {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("damaged.mp4");
    fs::write(&path, bytes).unwrap();
    let index = Mp4Index::read(&path).map_err(|error| {
        let message = error.to_string();
        assert!(message.contains("damaged.mp4: expected ") && message.contains(" at byte "), "{message}");
        message
    })?;
    let file = File::open(&path).unwrap();
    for (i, sample) in index.samples.iter().enumerate() {
        assert_eq!(index.read_sample(&file, i).unwrap().len(), sample.size as usize);
    }
    assert_eq!(index.frame_times().len(), index.samples.len());
    Ok(index)
}

/// Overwrites what follows the first box of a name in a file.
fn patched(name: &str, box_name: &[u8; 4], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = file(name);
    let start = file.windows(4).position(|window| window == box_name).unwrap() + 4 + at;
    file[start..start + bytes.len()].copy_from_slice(bytes);
    file
}

#[test]
fn hostile_numbers_are_refused_with_the_place() {
    let huge = u32::MAX.to_be_bytes();
    for (bytes, expected) in [
        (patched("plain", b"stsz", 4, &[huge, huge].concat()), "expected at most 0 samples, found 4294967295"),
        (patched("plain", b"stsz", 4, &[1u32.to_be_bytes(), huge].concat()), "samples, found 4294967295"),
        (patched("plain", b"stsz", 8, &huge), "expected a valid `stsz`"),
        (patched("plain", b"stts", 8, &huge), "expected entries for 30 samples, found 4294967295"),
        (patched("plain", b"ctts", 8, &huge), "expected entries for 30 samples, found"),
        (patched("plain", b"stsc", 8, &2u32.to_be_bytes()), "expected chunks of 30 samples, found"),
        (patched("plain", b"stco", 8, &huge), "expected frame 0 within the file's"),
        (patched("plain", b"stss", 8, &31u32.to_be_bytes()), "expected 30 samples, found number 31"),
        (patched("plain", b"mdhd", 12, &[0; 4]), "expected a valid `mdhd`"),
        (
            patched("plain", b"elst", 12, &9216u32.to_be_bytes()),
            "expected an edit list that shows every frame, found one that leaves out",
        ),
        (
            patched("plain", b"elst", 8, &100u32.to_be_bytes()),
            "expected an edit list that shows every frame, found one that leaves out",
        ),
        (patched("plain", b"hdlr", 8, b"meta"), "expected a video track, found none"),
        (
            patched("growing", b"trun", 0, &[[0; 4], 9000u32.to_be_bytes()].concat()),
            "expected a size for each sample, found 9000 samples without",
        ),
        (patched("growing", b"tfdt", 4, &[0xff; 8]), "expected a time of decoding below 2^61"),
        (b"RIFF....AVI LIST".to_vec(), "expected an mp4 file, which starts with `ftyp`, found"),
        (b"mp4".to_vec(), "expected a box, found 3 bytes up to the end at byte 0"),
        (Vec::new(), "expected an index (`moov`), found the end of the file at byte 0"),
    ] {
        let message = read(&bytes).unwrap_err();
        assert!(message.contains(expected), "expected `{expected}` in {message}");
    }
    // A sparse file claims an index of 1 TiB.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("large.mp4");
    let head = [&[0, 0, 0, 8][..], b"ftyp", &[0, 0, 0, 1], b"moov", &(1u64 << 40).to_be_bytes()].concat();
    fs::write(&path, head).unwrap();
    File::options().write(true).open(&path).unwrap().set_len((1 << 40) + 8).unwrap();
    let message = Mp4Index::read(&path).unwrap_err().to_string();
    assert!(
        message.contains("expected an index of at most 67108864 bytes, found `moov` of 1099511627776 at byte 8"),
        "{message}"
    );
}

proptest! {
    #[test]
    fn a_file_cut_off_anywhere_is_an_error_or_its_whole_fragments(cut in any::<prop::sample::Index>()) {
        for (name, whole) in FILES.iter() {
            let cut = cut.index(whole.len());
            match read(&whole[..cut]) {
                Err(message) => prop_assert!(message.contains("expected"), "{}", message),
                Ok(index) => {
                    prop_assert!(!["plain", "finished"].contains(name), "{} cut at {} of {}", name, cut, whole.len());
                    prop_assert_eq!(index.samples.len() % 10, 0);
                }
            }
        }
    }

    #[test]
    fn flipped_bytes_are_never_more_than_an_error(
        flips in vec((any::<prop::sample::Index>(), any::<u8>(), 0..8usize), 1..4),
    ) {
        for (_, whole) in FILES.iter() {
            // Within the index, where they matter, and its surroundings.
            let moov = whole.windows(4).rposition(|w| w == b"moov" || w == b"moof").unwrap();
            let end = (moov + 1500).min(whole.len());
            let mut bytes = whole.clone();
            for (at, value, width) in &flips {
                let at = moov.saturating_sub(16) + at.index(end - moov.saturating_sub(16));
                bytes[at..(at + width / 2 + 1).min(whole.len())].fill(*value);
            }
            let _ = read(&bytes);
        }
    }
}
