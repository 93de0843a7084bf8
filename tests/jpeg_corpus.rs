//! JPEGs as cameras and encoders make them: each kind decodes to the picture that ffmpeg decodes, or is refused by name;
//! cut off anywhere it is refused, and what is not the picture's is left out.

mod corpus;
mod media;
mod run_support;

use corpus::{FILES, Fate, HEIGHT, WIDTH};
use recorder::codec::backend::Device;
use recorder::codec::jpeg::{self, Decoder};
use recorder::codec::stream::{StreamParams, VideoStream};
use recorder::codec::yuv::I420;
use recorder::config::schema::{Codec, ColorRange};
use recorder::frame::PixelFormat;
use std::process::Command;

/// Two decoders' DCTs may round differently.
const MOST_APART: u8 = 2;

fn grey() -> I420 {
    I420::grey(WIDTH, HEIGHT, ColorRange::Full)
}

fn decode(jpeg: &[u8]) -> I420 {
    let mut picture = grey();
    Decoder::new().unwrap().decode(jpeg, &mut picture).unwrap();
    picture
}

#[test]
fn every_file_is_looked_at() {
    let mut files: Vec<_> = std::fs::read_dir(corpus::folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut named: Vec<_> = FILES.iter().map(|(name, _)| corpus::path(name)).collect();
    named.sort();
    assert_eq!(files, named);
}

/// ffmpeg's planes, with the chroma averaged over the pixels that share one in 4:2:0.
fn by_ffmpeg(name: &str, pixel_format: &str) -> [Vec<u8>; 3] {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "jpeg_pipe", "-i"])
        .arg(corpus::path(name))
        .args(["-f", "rawvideo", "-pix_fmt", pixel_format, "-"])
        .output()
        .expect("ffmpeg is needed: scripts/setup.sh --test installs it");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let (width, height) = (WIDTH as usize, HEIGHT as usize);
    let (luma, chroma) = output.stdout.split_at(width * height);
    if chroma.is_empty() {
        return [luma.to_vec(), vec![128; luma.len() / 4], vec![128; luma.len() / 4]];
    }
    let (horizontal, vertical) = match pixel_format {
        "yuvj420p" => (2, 2),
        "yuvj422p" => (2, 1),
        "yuvj440p" => (1, 2),
        _ => (1, 1),
    };
    let half = |plane: &[u8]| -> Vec<u8> {
        let value = |x: usize, y: usize| f64::from(plane[y / vertical * (width / horizontal) + x / horizontal]);
        let squares = (0..height / 2).flat_map(|y| (0..width / 2).map(move |x| (2 * x, 2 * y)));
        squares
            .map(|(x, y)| ((value(x, y) + value(x + 1, y) + value(x, y + 1) + value(x + 1, y + 1)) / 4.0).round() as u8)
            .collect()
    };
    let (u, v) = chroma.split_at(chroma.len() / 2);
    [luma.to_vec(), half(u), half(v)]
}

#[test]
fn each_kind_decodes_to_what_ffmpeg_decodes_or_is_refused_by_name() {
    for (name, fate) in FILES {
        let jpeg = corpus::read(name);
        let mut picture = grey();
        let result = Decoder::new().unwrap().decode(&jpeg, &mut picture);
        match fate {
            Fate::Decoded(pixel_format) => {
                result.unwrap_or_else(|error| panic!("{name}: {error}"));
                for (ours, theirs) in picture.planes().into_iter().zip(by_ffmpeg(name, pixel_format)) {
                    assert_eq!(ours.len(), theirs.len(), "{name}");
                    let apart = ours.iter().zip(&theirs).map(|(a, b)| a.abs_diff(*b));
                    assert!(apart.clone().max().unwrap() <= MOST_APART, "{name}: {:?}", apart.max());
                    let sum: u32 = apart.map(u32::from).sum();
                    assert!(f64::from(sum) / (ours.len() as f64) < 0.2, "{name}: {sum} in {} values", ours.len());
                }
                assert!(picture.planes()[0].iter().max() > Some(&200), "{name}: a picture, not a grey area");
            }
            Fate::Refused(words, reason) => {
                let error = result.expect_err(name);
                assert!(error.to_string().contains(words), "{name}: {error}");
                assert_eq!(error.reason().name(), reason, "{name}");
                assert!(picture == grey(), "{name}: the picture before is kept");
            }
        }
    }
}

/// What a buffer holds besides the picture is no part of it: neither decoded nor stored.
#[test]
fn only_the_picture_is_taken() {
    let thumbnail = corpus::read("420");
    for (name, file) in corpus::good() {
        let jpeg = &file[..jpeg::parse(&file).unwrap().end];
        let expected = decode(jpeg);
        let mut segments = jpeg.to_vec();
        for kind in [0xe1, 0xe4, 0xef, 0xfe] {
            segments = corpus::with_segment(&segments, kind, &vec![kind; 65_533]);
        }
        let inside = [
            ("huge segments", segments),
            ("a thumbnail", corpus::with_segment(jpeg, 0xe1, &[b"Exif\0\0", &thumbnail[..]].concat())),
            ("fill bytes", [&jpeg[..2], &[0xff; 70], &jpeg[2..]].concat()),
        ];
        let behind = [
            ("nothing", vec![]),
            ("zeros", vec![0; 5000]),
            ("ones", vec![0xff; 5000]),
            ("the rest of an older picture", jpeg[jpeg.len() / 2..].to_vec()),
            ("another picture", thumbnail.clone()),
            ("another picture, cut off", thumbnail[..thumbnail.len() / 2].to_vec()),
        ];
        let variants = inside.into_iter().map(|(what, jpeg)| (what, jpeg, vec![]));
        let variants = variants.chain(behind.into_iter().map(|(what, rest)| (what, jpeg.to_vec(), rest)));
        let params = StreamParams { stats_stride: u64::MAX, ..media::params(Codec::Copy, WIDTH, HEIGHT) };
        let mut copy = VideoStream::open(params, Device::Cpu).unwrap();
        for (index, (what, jpeg, rest)) in variants.enumerate() {
            let bytes = [&jpeg[..], &rest].concat();
            assert!(decode(&bytes) == expected, "{name}, {what}");
            let frame = media::frame(bytes, PixelFormat::Mjpg, WIDTH, HEIGHT);
            let copied = copy.encode(&frame, index as u64).unwrap();
            assert_eq!(copied.substituted, None, "{name}, {what}");
            assert!(copied.sample.data == jpeg, "{name}, {what}: {} bytes", copied.sample.data.len());
            let inside = frame.data.as_ptr_range().contains(&copied.sample.data.as_ptr());
            assert!(inside, "{name}, {what}: the sample is the frame's own memory");
        }
    }
}

/// Many cameras leave the Huffman tables out, as the standard ones are meant: those, and not the ones of the picture before.
#[test]
fn missing_huffman_tables_are_the_standard_ones() {
    let mut decoder = Decoder::new().unwrap();
    let mut picture = grey();
    for before in ["420", "422-optimised", "420-progressive"] {
        decoder.decode(&corpus::read(before), &mut picture).unwrap();
        decoder.decode(&corpus::read("420-webcam"), &mut picture).unwrap();
        assert!(picture == decode(&corpus::read("420")), "after {before}");
    }
}

/// Stray bytes between the data and the end mark: the picture is whole, and some cameras send them every time.
#[test]
fn stray_bytes_before_the_end_mark_are_harmless() {
    for (name, file) in corpus::good() {
        let (data, end) = file[..jpeg::parse(&file).unwrap().end].split_last_chunk::<2>().unwrap();
        let stray = [data, b"\x12\x34\x56", end, b"padding"].concat();
        assert!(decode(&stray) == decode(&file), "{name}");
    }
}

#[test]
fn another_size_is_told_from_damage() {
    let mut other = I420::grey(WIDTH, HEIGHT + 16, ColorRange::Full);
    let error = Decoder::new().unwrap().decode(&corpus::read("422"), &mut other).unwrap_err();
    assert_eq!(error.reason().name(), "wrong_size");
    assert!(error.to_string().contains("98x58, expected 98x74"), "{error}");
}

/// Two transfers in one buffer: the first picture was cut off.
#[test]
fn a_picture_that_begins_inside_of_another_is_refused() {
    for (name, jpeg) in corpus::good() {
        for share in [3, 5, 7] {
            let cut = jpeg::parse(&jpeg).unwrap().end * share / 8;
            let glued = [&jpeg[..cut], &jpeg].concat();
            let error = Decoder::new().unwrap().decode(&glued, &mut grey()).expect_err(name);
            assert_eq!(error.reason().name(), "corrupt", "{name}, {share} eighths: {error}");
        }
    }
}

/// At every byte. Behind a cut at or near a marker, or at some other bytes, there may stand an end mark.
#[test]
fn cut_off_anywhere_it_is_refused() {
    for (name, jpeg) in corpus::good() {
        let expected = decode(&jpeg);
        let (end, markers) = (jpeg::parse(&jpeg).unwrap().end, corpus::markers(&jpeg));
        assert_eq!((markers.last(), &jpeg[end - 2..end]), (Some(&(end - 2)), &[0xff, 0xd9][..]), "{name}");
        let mut decoder = Decoder::new().unwrap();
        let mut picture = grey();
        for cut in 0..end {
            let error = decoder.decode(&jpeg[..cut], &mut picture).expect_err(name);
            assert_eq!(error.reason().name(), "corrupt", "{name}, cut at {cut}: {error}");
        }
        // Cut off between two of its scans, a picture is whole, if not as it was meant.
        let by_scans = name.contains("progressive") || name.contains("scan");
        let near = |cut: usize| cut.is_multiple_of(41) || markers.iter().any(|at| cut.abs_diff(*at) <= 3);
        for cut in (0..end - 2).filter(|cut| near(*cut)) {
            let sealed = [&jpeg[..cut], b"\xff\xd9"].concat();
            let decoded = decoder.decode(&sealed, &mut picture);
            assert!(by_scans || decoded.is_err(), "{name}, cut at {cut} and sealed");
        }
        assert!(by_scans || picture == grey(), "{name}: the picture before is kept");
        decoder.decode(&jpeg, &mut picture).unwrap();
        assert!(picture == expected, "{name}: broken pictures leave nothing behind in the decoder");
    }
}

/// `copy` stores what the camera delivers, and the data set says what that is.
#[tokio::test(flavor = "multi_thread")]
async fn a_data_set_of_copied_jpegs_says_how_they_are_sampled() {
    for names in [["420-progressive", "grey"], ["444", "440"], ["422-webcam", "420-webcam"]] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("set");
        let mut overrides = vec![("dataset.encoder.codec".to_string(), "copy".to_string())];
        for (camera, name) in ["front", "wrist"].iter().zip(names) {
            let values = ["file", &corpus::path(name).display().to_string(), &WIDTH.to_string(), &HEIGHT.to_string()];
            let keys = ["type", "index_or_path", "width", "height"];
            overrides.extend(
                keys.iter()
                    .zip(values)
                    .map(|(key, value)| (format!("robot.cameras.{camera}.{key}"), value.to_string())),
            );
        }
        let overrides: Vec<(&str, &str)> =
            overrides.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let config = run_support::config(run_support::SMALL, &root, &overrides);
        run_support::record(&config, run_support::simulated(), recorder::codec::backend::standard()).await;
        // Holds the videos against what the data set says of them.
        run_support::check(&root);
        let info: serde_json::Value =
            serde_json::from_slice(&std::fs::read(root.join("meta/info.json")).unwrap()).unwrap();
        for (camera, name) in ["front", "wrist"].iter().zip(names) {
            let found = &info["features"][format!("observation.images.{camera}")]["info"]["video.pix_fmt"];
            let Some((_, Fate::Decoded(expected))) = FILES.iter().find(|(known, _)| *known == name) else {
                panic!("{name}")
            };
            assert_eq!(found, expected, "{name}");
        }
    }
}
