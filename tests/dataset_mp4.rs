//! Videos: the growing file, the finished one, and what must not be written.

mod dataset_support;

use dataset_support::{Codec, External, FPS, GOP, HEIGHT, WIDTH, encode, external, external_stream, h264, python, run};
use openh264::encoder::Profile;
use proptest::collection::vec;
use proptest::prelude::*;
use recorder::codec::{Fragment, Sample, SampleFormat};
use recorder::config::schema::ColorRange;
use recorder::dataset::{DatasetError, Mp4Index, Mp4Writer, VideoTrack};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

const TRACK: VideoTrack =
    VideoTrack { width: WIDTH as u16, height: HEIGHT as u16, fps: FPS, color_range: ColorRange::Limited };

/// Packets, their times in units of the track, and what ffprobe says of the stream.
fn probe(path: &Path, entries: &str) -> String {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-select_streams", "v:0", "-of", "csv=p=0", "-show_entries", entries]).arg(path);
    let (ok, output) = run(&mut ffprobe);
    assert!(ok, "{output}");
    output
}

/// Asserts that ffmpeg reads exactly `frames` frames, each at its time, and decodes them all without a complaint.
fn assert_plays(path: &Path, frames: usize) {
    let times: Vec<String> = probe(path, "packet=pts").lines().map(|l| l.trim_end_matches(',').to_owned()).collect();
    let expected: Vec<String> = (0..frames).map(|k| (512 * k).to_string()).collect();
    assert_eq!(times, expected, "{}", path.display());
    assert_eq!(probe(path, "stream=time_base").trim(), "1/15360");
    let decode = ["-v", "warning", "-xerror", "-i", path.to_str().unwrap(), "-f", "framemd5", "-"];
    let (ok, output) = run(Command::new("ffmpeg").args(decode));
    assert!(ok, "{output}");
    let pictures: Vec<&str> =
        output.lines().filter(|line| line.starts_with("0,")).filter_map(|l| l.rsplit(", ").next()).collect();
    assert_eq!(pictures.len(), frames, "{output}");
    let mut distinct = pictures.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), frames, "every picture is another one");
}

/// Seeks to every frame in an order of its own, as a trainer does, and compares with the frames in order, and those with
/// the pictures that were encoded: neighbours differ by 4 in luma.
fn assert_seeks(path: &Path, frames: usize) {
    let script = r#"
import sys, av, hashlib
import numpy as np
path, n = sys.argv[1], int(sys.argv[2])
y, x = np.mgrid[0:240, 0:320]
with av.open(path) as c:
    for k, f in enumerate(c.decode(video=0)):
        luma = f.to_ndarray()[:240, :320].astype(int)
        assert abs(luma - (16 + (x + y + 4 * k) % 220)).mean() < 2, f"another picture than {k}"
digest = lambda f: hashlib.md5(f.to_ndarray(format="rgb24").tobytes()).hexdigest()
with av.open(path) as c: straight = {f.pts: digest(f) for f in c.decode(video=0)}
assert len(straight) == n, len(straight)
for k in sorted(range(n), key=lambda k: (k * 7919) % n):
    with av.open(path) as c:
        c.seek(512 * k, stream=c.streams.video[0], backward=True)
        frame = next(f for f in c.decode(video=0) if f.pts >= 512 * k)
        assert frame.pts == 512 * k and digest(frame) == straight[512 * k], k
"#;
    let (ok, output) = run(Command::new(python()).args(["-c", script, path.to_str().unwrap(), &frames.to_string()]));
    assert!(ok, "{output}");
}

#[test]
fn growing_and_finished_files_play_every_frame() {
    let dir = tempfile::tempdir().unwrap();
    for codec in [Codec::H264, Codec::Hevc, Codec::Av1, Codec::Mjpeg] {
        let path = dir.path().join(format!("{codec:?}.mp4"));
        let mut writer = Mp4Writer::create(&path, TRACK).unwrap();
        for (i, fragment) in encode(codec, 0, 30).iter().enumerate() {
            writer.append(fragment).unwrap();
            writer.sync().unwrap();
            assert_plays(&path, (i + 1) * GOP);
        }
        let growing = fs::read(&path).unwrap();
        assert_eq!(writer.finish().unwrap(), 30);
        assert_plays(&path, 30);
        assert_seeks(&path, 30);

        let finished = fs::read(&path).unwrap();
        let kind = |bytes: &[u8], at: usize| String::from_utf8_lossy(&bytes[at + 4..at + 8]).into_owned();
        let mdat = u32::from_be_bytes(finished[..4].try_into().unwrap()) as usize;
        assert_eq!(
            (kind(&finished, 0), kind(&growing, mdat), kind(&finished, mdat)),
            ("ftyp".into(), "free".into(), "mdat".into())
        );
        let size = u64::from_be_bytes(finished[mdat + 8..mdat + 16].try_into().unwrap()) as usize;
        assert_eq!(mdat + size, growing.len(), "the fragments are the payload");
        assert_eq!(kind(&finished, growing.len()), "moov");
        let changed = growing.iter().zip(&finished).filter(|(a, b)| a != b).count();
        assert!(changed <= 16, "{changed} bytes changed");
    }
}

#[test]
fn a_file_cut_off_anywhere_keeps_its_earlier_fragments() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mp4");
    let mut writer = Mp4Writer::create(&path, TRACK).unwrap();
    let mut ends = vec![0];
    for fragment in encode(Codec::H264, 0, 30) {
        writer.append(&fragment).unwrap();
        ends.push(fs::metadata(&path).unwrap().len());
    }
    drop(writer);
    let whole = fs::read(&path).unwrap();
    for cut in [1, 60, 700] {
        let end = ends[2] + cut;
        fs::write(&path, &whole[..end as usize]).unwrap();
        let packets = probe(&path, "packet=pts").lines().count();
        assert!(packets >= 2 * GOP, "{packets} frames of {} left, {cut} bytes into the third fragment", 2 * GOP);
    }
}

#[test]
fn the_stream_is_tagged() {
    let dir = tempfile::tempdir().unwrap();
    for (codec, color_range, name, range, space) in [
        (Codec::H264, ColorRange::Limited, "h264,avc1", "tv", "smpte170m"),
        (Codec::Hevc, ColorRange::Limited, "hevc,hvc1", "tv", "smpte170m"),
        (Codec::Av1, ColorRange::Limited, "av1,av01", "tv", "smpte170m"),
        (Codec::Mjpeg, ColorRange::Full, "mjpeg,mp4v", "pc", ""),
    ] {
        let path = dir.path().join(format!("{codec:?}.mp4"));
        let mut writer = Mp4Writer::create(&path, VideoTrack { color_range, ..TRACK }).unwrap();
        encode(codec, 0, 10).iter().for_each(|fragment| writer.append(fragment).unwrap());
        writer.finish().unwrap();
        assert_eq!(probe(&path, "stream=codec_name,codec_tag_string").trim(), name);
        let colors = probe(&path, "stream=color_range,color_space,color_transfer,color_primaries");
        assert!(colors.starts_with(range) && colors.contains(space), "{colors}");
        assert_eq!(probe(&path, "stream=width,height,avg_frame_rate,nb_frames").trim(), "320,240,30/1,10");
        // The container alone says it too: H.264's own tags are not looked at here.
        let bytes = fs::read(&path).unwrap();
        let colr = bytes.windows(8).rposition(|w| w == b"colrnclx").unwrap();
        assert_eq!(bytes[colr + 8..colr + 14], [0, 6, 0, 6, 0, 6]);
        assert_eq!(bytes[colr + 14] == 0x80, color_range == ColorRange::Full);
    }
}

#[test]
fn an_encoder_switch_in_mid_stream_decodes_frame_exactly() {
    let dir = tempfile::tempdir().unwrap();
    for (name, before, after) in [
        ("h264-profiles", h264(0, 20, Profile::High), h264(20, 20, Profile::Baseline)),
        ("h264-main-openh264", external(External::X264, 0, 20), h264(20, 20, Profile::Baseline)),
        ("h264-openh264-main", h264(0, 20, Profile::Baseline), external(External::X264, 20, 20)),
        ("hevc", external(External::X265, 0, 20), external(External::X265Layers, 20, 20)),
        ("av1", external(External::Aom, 0, 20), external(External::SvtAv1, 20, 20)),
    ] {
        let path = dir.path().join(format!("{name}.mp4"));
        assert_ne!(before[0].format, after[0].format, "{name}: the two encoders must have different parameter sets");
        let mut writer = Mp4Writer::create(&path, TRACK).unwrap();
        before.iter().chain(&after).for_each(|fragment| writer.append(fragment).unwrap());
        assert_plays(&path, 40);
        assert_seeks(&path, 40);
        assert_eq!(writer.finish().unwrap(), 40);
        assert_plays(&path, 40);
        assert_seeks(&path, 40);
    }
}

/// The first box of a name in a file, without its size.
fn find_box(path: &Path, name: &[u8; 4]) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    // Of our files the last: behind the pictures.
    let at = bytes.windows(4).rposition(|window| window == name).unwrap();
    let size = u32::from_be_bytes(bytes[at - 4..at].try_into().unwrap()) as usize;
    bytes[at..at - 4 + size].to_vec()
}

#[test]
fn decoder_configurations_are_those_that_ffmpeg_writes() {
    let dir = tempfile::tempdir().unwrap();
    for (encoder, name) in [
        (External::X265, b"hvcC"),
        (External::X265Layers, b"hvcC"),
        (External::Aom, b"av1C"),
        (External::SvtAv1, b"av1C"),
    ] {
        let [stream, theirs, ours] = ["stream", "theirs.mp4", "ours.mp4"].map(|name| dir.path().join(name));
        fs::write(&stream, external_stream(encoder, 0, 10)).unwrap();
        let copy = ["-c", "copy", "-tag:v", if name == b"hvcC" { "hvc1" } else { "av01" }];
        let mut ffmpeg = Command::new("ffmpeg");
        let (ok, output) = run(ffmpeg.args(["-v", "error", "-y", "-i"]).arg(&stream).args(copy).arg(&theirs));
        assert!(ok, "{output}");
        let mut writer = Mp4Writer::create(&ours, TRACK).unwrap();
        external(encoder, 0, 10).iter().for_each(|fragment| writer.append(fragment).unwrap());
        writer.finish().unwrap();
        assert_eq!(find_box(&ours, name), find_box(&theirs, name), "{encoder:?}");
    }
}

proptest! {
    #[test]
    fn what_is_no_parameter_set_is_refused_or_described(bytes in vec(any::<u8>(), 0..80)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.mp4");
        let obu = [&[0x0a, bytes.len() as u8], &bytes[..]].concat();
        for format in [
            SampleFormat::H264 { sps: bytes.clone(), pps: bytes.clone() },
            SampleFormat::Hevc { vps: bytes.clone(), sps: bytes.clone(), pps: bytes.clone() },
            SampleFormat::Av1 { sequence_header: bytes.clone() },
            SampleFormat::Av1 { sequence_header: obu },
        ] {
            let name = format.name();
            let fragment = Fragment {
                first_frame: 0,
                samples: vec![Sample { data: vec![0; 10].into(), sync: true }],
                format: Arc::new(format),
                substituted: Vec::new(),
                stored: Vec::new(),
                pixels: Default::default(),
            };
            let mut writer = Mp4Writer::create(&path, TRACK).unwrap();
            match writer.append(&fragment) {
                Ok(()) => prop_assert_eq!(Mp4Index::read(&path).unwrap().samples.len(), 1),
                Err(error) => prop_assert!(error.to_string().contains(name), "{}", error),
            }
        }
    }
}

#[test]
fn fragments_out_of_order_are_refused_and_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mp4");
    let mut writer = Mp4Writer::create(&path, TRACK).unwrap();
    let fragments = encode(Codec::H264, 0, 30);
    let refuse = |writer: &mut Mp4Writer, fragment: &Fragment, expected: &str| {
        let before = fs::read(&path).unwrap();
        let message = writer.append(fragment).unwrap_err().to_string();
        assert!(message.contains(expected) && message.contains("a.mp4"), "{message}");
        assert_eq!(fs::read(&path).unwrap(), before);
    };
    refuse(&mut writer, &fragments[1], "expected a fragment that starts at frame 0, found one at 10");
    let mut cut = fragments[0].clone();
    cut.samples.remove(0);
    refuse(&mut writer, &cut, "expected a key frame first");
    writer.append(&fragments[0]).unwrap();
    refuse(&mut writer, &fragments[0], "expected a fragment that starts at frame 10, found one at 0");
    refuse(&mut writer, &fragments[2], "expected a fragment that starts at frame 10, found one at 20");
    for (codec, name) in [(Codec::Mjpeg, "MJPEG"), (Codec::Hevc, "H.265"), (Codec::Av1, "AV1")] {
        let expected = format!("expected one codec in a file, found {name} after H.264");
        refuse(&mut writer, &encode(codec, 10, 1)[0], &expected);
    }
    let mut cut = fragments[1].clone();
    cut.samples.clear();
    refuse(&mut writer, &cut, "expected at least one frame, found none");
    fragments[1..].iter().for_each(|fragment| writer.append(fragment).unwrap());
    writer.finish().unwrap();
    assert_plays(&path, 30);
}

#[test]
fn a_full_disk_is_named_and_recognised() {
    let path = Path::new("/dev/full");
    let mut writer = Mp4Writer::create(path, TRACK).unwrap();
    let error = writer.append(&encode(Codec::Mjpeg, 0, 1)[0]).unwrap_err();
    assert!(error.is_disk_full() && matches!(error, DatasetError::Io { operation: "write", .. }), "{error}");
    assert!(error.to_string().starts_with("/dev/full: cannot write: No space left"), "{error}");
    assert_eq!(writer.frames(), 0);
}
