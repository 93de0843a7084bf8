//! H.264 of cameras that encode themselves: decoded picture by picture, stored as it came where that can be, encoded anew in
//! between. FFmpeg decodes what it is compared with, bit by bit where nothing was encoded twice.

mod media;

use media::{Decoded, ffmpeg_annex_b, ffmpeg_h264, params, textured};
use recorder::camera;
use recorder::clock::{Clock, Rank, SimulatedClock, Stamp};
use recorder::codec::Sample;
use recorder::codec::backend::Device;
use recorder::codec::bitstream::{annex_b_units, nal_units};
use recorder::codec::h264::{Decoder, H264Error};
use recorder::codec::stream::{Encoded, StreamParams, VideoStream};
use recorder::config::schema::{CameraKind, Codec, ColorRange, Rotation};
use recorder::frame::{DropReason, Frame, PixelFormat};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

const W: usize = 322;
const H: usize = 242;

/// A byte stream of moving pictures by x264, as the arguments want it.
fn x264(folder: &Path, pictures: usize, arguments: &[&str]) -> Vec<u8> {
    let (from, to) = (folder.join("pictures.mjpeg"), folder.join("stream.h264"));
    std::fs::write(&from, (0..pictures).flat_map(|k| textured(W, H, k)).collect::<Vec<u8>>()).unwrap();
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y", "-f", "mjpeg", "-framerate", "30", "-i"]).arg(&from);
    command.args(["-c:v", "libx264", "-threads", "1"]).args(arguments).args(["-f", "h264"]).arg(&to);
    let output = command.output().expect("ffmpeg is needed: scripts/setup.sh --test installs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(&to).unwrap()
}

const PLAIN: [&str; 10] = ["-bf", "0", "-g", "6", "-pix_fmt", "yuv420p", "-profile:v", "baseline", "-crf", "20"];

/// Its access units, by way of a file camera.
fn access_units(folder: &Path, stream: &[u8], count: usize) -> Vec<Vec<u8>> {
    let path = folder.join("camera.h264");
    std::fs::write(&path, stream).unwrap();
    let mut config = media::camera(CameraKind::File, Some(&path), W as u32, H as u32);
    config.fourcc = "H264".into();
    let clock: Arc<dyn Clock> = Arc::new(SimulatedClock::new(Stamp::default()));
    let mut camera = camera::open("front", &config, &clock, Rank(0)).unwrap();
    let mut next = || camera.next(Duration::from_secs(1)).unwrap().data.to_vec();
    let found: Vec<Vec<u8>> = (0..count).map(|_| next()).collect();
    assert!(next() == found[0], "after the last one comes the first again");
    assert!(found.concat() == stream, "all of the file, in order");
    found
}

/// What the camera's thread makes of access units that the driver numbers so.
fn frames(decoder: &mut Decoder, units: &[(u64, &[u8])]) -> Vec<Result<Arc<Frame>, H264Error>> {
    let frame = |(sequence, unit): &(u64, &[u8])| {
        let decoded = decoder.decode(*sequence, unit)?;
        let (bytes, format) = (decoded.bytes(), decoded.format);
        let (planes, coded) = decoded.into_parts();
        assert_eq!(bytes, planes.len() + coded.data.len());
        let frame = Arc::into_inner(media::frame(planes, format, W as u32, H as u32)).unwrap();
        Ok(Arc::new(Frame { coded: Some(coded), sequence: *sequence, ..frame }))
    };
    units.iter().map(frame).collect()
}

fn numbered(units: &[Vec<u8>]) -> Vec<(u64, &[u8])> {
    (0..).zip(units.iter().map(Vec::as_slice)).collect()
}

fn whole(folder: &Path, pictures: usize, arguments: &[&str]) -> (Vec<Vec<u8>>, Vec<Arc<Frame>>) {
    let units = access_units(folder, &x264(folder, pictures, arguments), pictures);
    let mut decoder = Decoder::open(W as u32, H as u32).unwrap();
    let frames = frames(&mut decoder, &numbered(&units)).into_iter().map(Result::unwrap).collect();
    (units, frames)
}

fn planes(picture: &Decoded) -> Vec<u8> {
    picture.planes.concat()
}

fn h264() -> StreamParams {
    params(Codec::H264, W as u32, H as u32)
}

fn encode(params: &StreamParams, frames: &[Arc<Frame>]) -> Vec<Encoded> {
    let mut stream = VideoStream::open(params.clone(), Device::Cpu).unwrap();
    frames.iter().zip(0..).map(|(frame, index)| stream.encode(frame, index).unwrap()).collect()
}

fn samples(encoded: &[Encoded]) -> Vec<Sample> {
    encoded.iter().map(|encoded| encoded.sample.clone()).collect()
}

/// Units that an mp4 track holds: no delimiters.
fn without_delimiters(unit: &[u8]) -> Vec<Vec<u8>> {
    annex_b_units(unit).filter(|nal| nal[0] & 0x1f != 9).map(<[u8]>::to_vec).collect()
}

fn is_as_it_came(sample: &Sample, unit: &[u8]) -> bool {
    nal_units(&sample.data).eq(without_delimiters(unit).iter().map(Vec::as_slice))
}

/// Baseline and High, several slices, delimiters, full range: the very pictures, and in the video the very units.
#[test]
fn what_a_camera_encoded_is_decoded_to_the_bit_and_stored_as_it_came() {
    let high = ["-bf", "0", "-g", "5", "-pix_fmt", "yuv420p", "-profile:v", "high", "-crf", "18"];
    let full = [&PLAIN[..], &["-vf", "scale=out_range=pc", "-color_range", "pc"]].concat();
    for arguments in [
        &PLAIN[..],
        &high,
        &[&high[..], &["-x264-params", "slices=4:aud=1"]].concat(),
        &[&PLAIN[..], &["-x264-params", "intra-refresh=0:ref=3"]].concat(),
        &full,
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (units, frames) = whole(folder.path(), 17, arguments);
        let range = if arguments == full { PixelFormat::J420 } else { PixelFormat::I420 };
        let expected = ffmpeg_annex_b(&units.concat());
        assert_eq!(expected.len(), 17, "{arguments:?}");
        for (k, (frame, expected)) in frames.iter().zip(&expected).enumerate() {
            assert_eq!(frame.format, range, "{arguments:?}");
            assert!(frame.data == planes(expected), "{arguments:?}: picture {k} is the standard's");
        }
        let encoded = encode(&h264(), &frames);
        for (k, (encoded, unit)) in encoded.iter().zip(&units).enumerate() {
            assert!(is_as_it_came(&encoded.sample, unit), "{arguments:?}: picture {k}");
            let keys = annex_b_units(unit).any(|nal| nal[0] & 0x1f == 5);
            assert_eq!((encoded.sample.sync, encoded.substituted), (keys, None), "{arguments:?}: picture {k}");
            assert!(encoded.histogram.is_some());
        }
        assert!(ffmpeg_h264(&samples(&encoded)) == expected, "{arguments:?}");
    }
}

/// Rows that repeat, pictures that are left out, a start between key frames: every row shows its picture, from the start and
/// from every key frame on.
#[test]
fn what_cannot_be_stored_is_encoded_until_the_next_key_frame() {
    let folder = tempfile::tempdir().unwrap();
    let full = [&PLAIN[..], &["-vf", "scale=out_range=pc", "-color_range", "pc"]].concat();
    for arguments in [&PLAIN[..], &full] {
        let (units, frames) = whole(folder.path(), 24, arguments);
        let originals = ffmpeg_annex_b(&units.concat());
        // Key frames are 0, 6, 12 and 18. Which pictures the rows show, and which are stored as they came:
        for (shown, stored) in [
            (&[0, 1, 2, 2, 3, 4, 5, 6, 7][..], "xxx....xx"),
            (&[2, 3, 4, 6, 7, 8], "...xxx"),
            (&[0, 0, 0, 1, 2, 6, 6, 7, 12], "x....x..x"),
            (&[6, 8, 10, 12, 14, 16, 18, 20], "x..x..x."),
            (&[0, 1, 3, 5, 6, 7, 7, 12, 13, 14, 18, 19], "xx..xx.xxxxx"),
            (&[5, 6, 6, 11, 12, 13], ".x..xx"),
        ] {
            let rows: Vec<Arc<Frame>> = shown.iter().map(|k| frames[*k].clone()).collect();
            let encoded = encode(&h264(), &rows);
            let as_it_came = |(encoded, k): (&Encoded, &usize)| is_as_it_came(&encoded.sample, &units[*k]);
            let found: String =
                encoded.iter().zip(shown).map(|pair| if as_it_came(pair) { 'x' } else { '.' }).collect();
            assert_eq!(found, stored, "{shown:?}");
            let all = samples(&encoded);
            for start in (0..all.len()).filter(|i| all[*i].sync) {
                let pictures = ffmpeg_h264(&all[start..]);
                assert_eq!(pictures.len(), all.len() - start, "{shown:?} from {start} on");
                for (i, picture) in pictures.iter().enumerate() {
                    let (row, original) = (start + i, &originals[shown[start + i]]);
                    let as_it_was = stored.as_bytes()[row] == b'x';
                    let psnr = picture.luma_psnr(&original.planes[0]);
                    assert!(*picture == *original || !as_it_was, "{shown:?}: row {row} from {start} on");
                    assert!(psnr > 36.0, "{shown:?}: row {row} from {start} on, {psnr:.1} dB");
                }
            }
            // Parameter sets stand in front of every key frame.
            for sample in all.iter().filter(|sample| sample.sync) {
                let kinds: Vec<u8> = nal_units(&sample.data).map(|nal| nal[0] & 0x1f).collect();
                assert!(kinds.starts_with(&[7, 8]), "{kinds:?}");
            }
        }
    }
}

/// A session that ends and another one that begins, with the same pictures: the second starts with a key frame of its own.
#[test]
fn a_camera_that_is_opened_anew_starts_a_new_chain() {
    let folder = tempfile::tempdir().unwrap();
    let (units, first) = whole(folder.path(), 6, &PLAIN);
    let mut decoder = Decoder::open(W as u32, H as u32).unwrap();
    let second: Vec<_> = frames(&mut decoder, &numbered(&units)).into_iter().map(Result::unwrap).collect();
    let rows = [&first[0], &first[1], &second[2], &second[3], &second[0], &second[1]].map(Arc::clone);
    let encoded = encode(&h264(), &rows);
    let stored: Vec<bool> =
        encoded.iter().zip([0, 1, 2, 3, 0, 1]).map(|(e, k)| is_as_it_came(&e.sample, &units[k])).collect();
    assert_eq!(stored, [true, true, false, false, true, true]);
}

/// Turned or cut pictures, and other codecs' videos, hold nothing of the camera's stream.
#[test]
fn what_is_turned_is_encoded() {
    let folder = tempfile::tempdir().unwrap();
    let (units, frames) = whole(folder.path(), 8, &PLAIN);
    let turned = |frame: &Arc<Frame>| {
        let mut view = frame.view;
        view.rotation = Rotation::By180;
        let (data, coded) = (frame.data.to_vec(), frame.coded.clone());
        let of = Arc::into_inner(media::viewed(data, frame.format, frame.width, frame.height, view)).unwrap();
        Arc::new(Frame { coded, ..of })
    };
    let rows: Vec<_> = frames.iter().map(turned).collect();
    let encoded = encode(&h264(), &rows);
    assert!(encoded.iter().zip(&units).all(|(encoded, unit)| !is_as_it_came(&encoded.sample, unit)));
    for (picture, frame) in ffmpeg_h264(&samples(&encoded)).iter().zip(&frames) {
        let upside_down: Vec<u8> = frame.data[..W * H].iter().rev().copied().collect();
        assert!(picture.luma_psnr(&upside_down) > 36.0);
    }
}

/// Lost, broken, cut off, empty: the picture is none, and the pictures after it begin with the next key frame, to the bit.
#[test]
fn a_broken_access_unit_breaks_the_chain_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (units, good) = whole(folder.path(), 20, &PLAIN);
    let mut broken = units[8].clone();
    let length = broken.len();
    broken[length / 3..length / 3 + 40.min(length / 3)].fill(0xa5);
    let cut = units[8][..length / 2].to_vec();
    let garbage = vec![0x5a; 3000];
    let other = |sequence: u64| (sequence, units[sequence as usize].as_slice());
    for (name, at_eight) in [
        ("lost", None),
        ("broken", Some(&broken[..])),
        ("cut off", Some(&cut)),
        ("empty", Some(&[])),
        ("no H.264", Some(&garbage)),
        ("two at once", Some(&units[8..10].concat())),
    ] {
        let mut delivered: Vec<(u64, &[u8])> = (0..8).map(other).collect();
        delivered.extend(at_eight.map(|unit| (8, unit)));
        delivered.extend((9..20).map(other));
        let mut decoder = Decoder::open(W as u32, H as u32).unwrap();
        let found = frames(&mut decoder, &delivered);
        for ((sequence, _), frame) in delivered.iter().zip(&found) {
            match (sequence, frame) {
                (0..8 | 12..20, Ok(frame)) => {
                    assert!(frame.data == good[*sequence as usize].data, "{name}: picture {sequence}");
                }
                (8, Err(error)) => assert_eq!(error.reason(), DropReason::Corrupt, "{name}: {error}"),
                (9..12, Err(error)) => assert_eq!(*error, H264Error::NoKeyFrame, "{name}: picture {sequence}"),
                (_, other) => panic!("{name}: picture {sequence} is {:?}", other.as_ref().map(|_| "there")),
            }
        }
        let rows: Vec<_> = found.into_iter().flatten().collect();
        let encoded = encode(&h264(), &rows);
        assert!(encoded.iter().all(|encoded| encoded.substituted.is_none()));
        let shown = ffmpeg_h264(&samples(&encoded));
        assert!(shown.iter().zip(&rows).all(|(picture, frame)| planes(picture) == frame.data), "{name}");
    }
}

#[test]
fn streams_that_cannot_be_recorded_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let first = |arguments: &[&str], width: u32| {
        let units = access_units_of(&x264(folder.path(), 12, arguments));
        let mut decoder = Decoder::open(width, H as u32).unwrap();
        let found = frames_of(&mut decoder, &units);
        found.into_iter().find_map(Result::err).expect("refused").to_string()
    };
    let b_frames = ["-bf", "3", "-g", "12", "-pix_fmt", "yuv420p"];
    let fields = ["-bf", "0", "-flags", "+ildct+ilme", "-pix_fmt", "yuv420p", "-vf", "scale=320:240"];
    let sampling = ["-bf", "0", "-pix_fmt", "yuv444p"];
    assert!(first(&b_frames, W as u32).contains("B frames"));
    assert!(first(&fields, W as u32).contains("fields"));
    assert!(first(&sampling, W as u32).contains("4:2:0"));
    assert!(first(&PLAIN, 640).contains("322x242, expected 640x242"));
}

/// Access units as x264 writes them: one slice each.
fn access_units_of(stream: &[u8]) -> Vec<Vec<u8>> {
    let mut units: Vec<Vec<u8>> = vec![Vec::new()];
    for nal in annex_b_units(stream) {
        if let Some(unit) = units.last_mut() {
            unit.extend([&[0, 0, 0, 1], nal].concat());
        }
        if matches!(nal[0] & 0x1f, 1 | 5) {
            units.push(Vec::new());
        }
    }
    units.pop();
    units
}

fn frames_of(decoder: &mut Decoder, units: &[Vec<u8>]) -> Vec<Result<(), H264Error>> {
    numbered(units).into_iter().map(|(sequence, unit)| decoder.decode(sequence, unit).map(|_| ())).collect()
}

/// Cameras that send their parameter sets once: every key frame gets them.
#[test]
fn parameter_sets_that_are_sent_once_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let stream = x264(folder.path(), 14, &PLAIN);
    let mut seen = false;
    let bare: Vec<Vec<u8>> = access_units_of(&stream)
        .iter()
        .map(|unit| {
            let kept = annex_b_units(unit).filter(|nal| {
                let is_set = matches!(nal[0] & 0x1f, 7 | 8);
                !(is_set && seen)
            });
            let kept: Vec<u8> = kept.flat_map(|nal| [&[0, 0, 0, 1], nal].concat()).collect();
            seen = true;
            kept
        })
        .collect();
    let mut decoder = Decoder::open(W as u32, H as u32).unwrap();
    let found: Vec<_> = frames(&mut decoder, &numbered(&bare)).into_iter().map(Result::unwrap).collect();
    let encoded = encode(&h264(), &found[6..]);
    assert!(encoded[0].sample.sync && encoded[6].sample.sync, "key frames");
    let shown = ffmpeg_h264(&samples(&encoded));
    assert!(shown.iter().zip(&found[6..]).all(|(picture, frame)| planes(picture) == frame.data));
}

/// Bytes changed at random: some pictures are none; nothing panics, and what follows the next whole key frame is right.
#[test]
fn mutated_streams_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let (units, good) = whole(folder.path(), 12, &PLAIN);
    let mut state = 0x1234_5678_9abc_def1u64;
    let mut random = move |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % n as u64) as usize
    };
    for _round in 0..150 {
        let mut mutated = units.clone();
        for unit in &mut mutated[..6] {
            for _ in 0..random(4) {
                let at = random(unit.len());
                unit[at] = random(256) as u8;
            }
            unit.truncate(unit.len() - random(2) * random(unit.len()));
        }
        let mut decoder = Decoder::open(W as u32, H as u32).unwrap();
        let found = frames(&mut decoder, &numbered(&mutated));
        for (k, frame) in found.iter().enumerate().skip(6) {
            let frame = frame.as_ref().unwrap_or_else(|error| panic!("picture {k}: {error}"));
            assert!(frame.data == good[k].data, "picture {k}");
        }
    }
}

/// The range of a full-range camera: FFmpeg's word for what is stored, and for what is encoded in between.
#[test]
fn a_video_has_the_camera_s_range_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, range) in [
        (PLAIN.to_vec(), ColorRange::Limited),
        ([&PLAIN[..], &["-vf", "scale=out_range=pc", "-color_range", "pc"]].concat(), ColorRange::Full),
    ] {
        let (_, frames) = whole(folder.path(), 8, &arguments);
        for asked in [ColorRange::Limited, ColorRange::Full] {
            let params = StreamParams { color_range: asked, ..h264() };
            // Begun in the middle, so that both are in it.
            let encoded = encode(&params, &frames[2..]);
            let ranges: Vec<ColorRange> = encoded
                .iter()
                .flat_map(|encoded| nal_units(&encoded.sample.data))
                .filter(|nal| nal[0] & 0x1f == 7)
                .map(|sps| recorder::codec::sps::Sps::parse(sps).unwrap().range)
                .collect();
            assert_eq!(ranges, [range, range], "asked for {asked:?}");
        }
    }
}
