//! A stream's contract: one sample a frame, key frames where they belong, stand-ins for broken frames, same bytes for
//! same input.

mod media;

use media::{camera, decode_h264, frame, params, textured};
use recorder::codec::backend::Device;
use recorder::codec::bitstream::nal_units;
use recorder::codec::openh264::MIN_QP;
use recorder::codec::stream::{Encoded, StreamParams, VideoStream};
use recorder::codec::yuv::I420;
use recorder::codec::{CodecError, SampleFormat, jpeg};
use recorder::config::schema::{CameraKind, Codec, ColorRange};
use recorder::frame::{DropReason, Frame, PixelFormat};
use std::sync::Arc;
use std::time::Duration;

const W: u32 = 320;
const H: u32 = 240;

fn picture(k: usize) -> Arc<Frame> {
    frame(textured(W as usize, H as usize, k), PixelFormat::Mjpg, W, H)
}

fn encode(params: &StreamParams, frames: &[Arc<Frame>]) -> (VideoStream, Vec<Encoded>) {
    let mut stream = VideoStream::open(params.clone(), Device::Cpu).unwrap();
    let encoded = frames.iter().zip(0..).map(|(frame, index)| stream.encode(frame, index).unwrap()).collect();
    (stream, encoded)
}

#[test]
fn a_key_frame_every_gop_and_on_request() {
    for gop in [1, 2, 5, 30] {
        let params = StreamParams { gop, ..params(Codec::H264, W, H) };
        let mut stream = VideoStream::open(params, Device::Cpu).unwrap();
        let mut keys = Vec::new();
        for index in 0..40 {
            if index == 13 {
                stream.force_key_frame();
            }
            if stream.encode(&picture(index as usize % 3), index).unwrap().sample.sync {
                keys.push(index);
            }
        }
        let expected: Vec<u64> = (0..13)
            .filter(|i| i % u64::from(gop) == 0)
            .chain((13..40).filter(|i| (i - 13) % u64::from(gop) == 0))
            .collect();
        assert_eq!(keys, expected, "GOP {gop}");
    }
}

#[test]
fn every_key_frame_carries_the_parameter_sets_of_the_format() {
    let (stream, encoded) = encode(&params(Codec::H264, W, H), &(0..31).map(picture).collect::<Vec<_>>());
    let SampleFormat::H264 { sps, pps } = &**stream.format() else { panic!() };
    assert_eq!((sps[0] & 0x1f, pps[0] & 0x1f), (7, 8));
    for (index, Encoded { sample, .. }) in encoded.iter().enumerate() {
        let nals: Vec<&[u8]> = nal_units(&sample.data).collect();
        let total: usize = nals.iter().map(|nal| nal.len() + 4).sum();
        assert_eq!(total, sample.data.len(), "lengths cover frame {index}");
        let kinds: Vec<u8> = nals.iter().map(|nal| nal[0] & 0x1f).collect();
        if index % 15 == 0 {
            assert!(sample.sync);
            assert_eq!(kinds, [7, 8, 5], "frame {index}: parameter sets and one slice");
            assert_eq!((nals[0], nals[1]), (&sps[..], &pps[..]));
        } else {
            assert_eq!((sample.sync, &kinds[..]), (false, &[1][..]), "frame {index}");
        }
    }
}

#[test]
fn pictures_come_out_as_they_went_in() {
    let frames: Vec<_> = (0..20).map(picture).collect();
    for color_range in [ColorRange::Limited, ColorRange::Full] {
        let params = StreamParams { color_range, ..params(Codec::H264, W, H) };
        let (_, encoded) = encode(&params, &frames);
        let decoded = decode_h264(encoded.iter().map(|encoded| &encoded.sample));
        assert_eq!(decoded.len(), frames.len());
        let mut decoder = jpeg::Decoder::new().unwrap();
        for (k, (picture, frame)) in decoded.iter().zip(&frames).enumerate() {
            assert_eq!((picture.width, picture.height), (W as usize, H as usize));
            let mut source = I420::grey(W, H, color_range);
            decoder.decode(&frame.data, &mut source).unwrap();
            let psnr = picture.luma_psnr(source.planes()[0]);
            assert!(psnr > 38.0, "{color_range:?}, frame {k}: {psnr:.1} dB");
        }
    }
}

#[test]
fn same_frames_give_same_bytes() {
    let frames: Vec<_> = (0..33).map(picture).collect();
    let run = || encode(&params(Codec::H264, W, H), &frames).1.into_iter().map(|e| e.sample).collect::<Vec<_>>();
    assert_eq!(run(), run());
}

#[test]
fn quality_is_the_quantiser() {
    let frames: Vec<_> = (0..5).map(picture).collect();
    let size = |quality| -> usize {
        let params = StreamParams { quality, ..params(Codec::H264, W, H) };
        encode(&params, &frames).1.iter().map(|encoded| encoded.sample.data.len()).sum()
    };
    let sizes: Vec<usize> = [MIN_QP, 18, 23, 30, 40, 51].map(size).to_vec();
    assert!(sizes.is_sorted_by(|a, b| a > b), "{sizes:?}");
    assert_eq!(size(0), sizes[0], "below the lowest quantiser it is that one");
    assert_eq!(size(99), sizes[5]);
}

#[test]
fn a_broken_frame_is_replaced_by_the_one_before() {
    let good = picture(1);
    let broken = |data: Vec<u8>| frame(data, PixelFormat::Mjpg, W, H);
    let cut = broken(good.data[..good.data.len() / 2].to_vec());
    let empty = broken(Vec::new());
    let other_size = broken(textured(160, 120, 0));
    let mut damaged = good.data.to_vec();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 40].fill(0xff);
    let damaged = broken(damaged);
    let frames = [&cut, &good, &cut, &empty, &other_size, &damaged, &damaged, &picture(9)].map(Arc::clone);
    let expected = [
        Some(DropReason::Corrupt),
        None,
        Some(DropReason::Corrupt),
        Some(DropReason::Corrupt),
        Some(DropReason::WrongSize),
        Some(DropReason::Corrupt),
        Some(DropReason::Corrupt),
        None,
    ];
    for codec in [Codec::H264, Codec::Copy] {
        let (_, encoded) = encode(&params(codec, W, H), &frames);
        let found: Vec<_> = encoded.iter().map(|encoded| encoded.substituted).collect();
        assert_eq!(found, expected, "{codec:?}");
        let luma: Vec<Vec<u8>> = match codec {
            Codec::H264 => {
                decode_h264(encoded.iter().map(|e| &e.sample)).into_iter().map(|d| d.planes[0].clone()).collect()
            }
            _ => encoded
                .iter()
                .map(|e| {
                    let mut picture = I420::grey(W, H, ColorRange::Full);
                    jpeg::Decoder::new().unwrap().decode(&e.sample.data, &mut picture).unwrap();
                    picture.planes()[0].to_vec()
                })
                .collect(),
        };
        assert!(luma[0].iter().all(|value| (120..=136).contains(value)), "{codec:?}: grey before the first picture");
        for (k, replaced) in luma[2..7].iter().enumerate() {
            let worst = replaced.iter().zip(&luma[1]).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(worst <= Some(12), "{codec:?}, stand-in {k}: differs by {worst:?}");
        }
        assert!(
            luma[7].iter().zip(&luma[1]).any(|(a, b)| a.abs_diff(*b) > 30),
            "{codec:?}: goes on with the next picture"
        );
    }
}

#[test]
fn a_repeated_frame_is_not_decoded_again() {
    let frames = [picture(0), picture(1)];
    let mut rows = [0, 0, 1, 1, 1].map(|k: usize| frames[k].clone()).to_vec();
    rows.extend(vec![frames[1].clone(); 15]);
    let (_, encoded) = encode(&params(Codec::H264, W, H), &rows);
    let decoded = decode_h264(encoded.iter().map(|e| &e.sample));
    assert_eq!(decoded.len(), rows.len());
    assert!(encoded.iter().all(|encoded| encoded.substituted.is_none()));
    // The shortest of many: a busy machine may hold up some of them, never all.
    let repeat = encoded[3..].iter().map(|e| e.decode).min().unwrap();
    let decode = encoded[0].decode.min(encoded[2].decode);
    assert!(3 * repeat < decode, "{repeat:?} for a repeat, {decode:?} for a decode");
    // A small repeat: nothing moved.
    assert!(encoded[3].sample.data.len() * 5 < encoded[2].sample.data.len());
}

#[test]
fn yuyv_is_encoded() {
    let mut yuyv = Vec::new();
    for row in 0..H {
        for column in 0..W / 2 {
            yuyv.extend([(column % 200) as u8 + 20, 100, (row % 200) as u8 + 20, 160]);
        }
    }
    let short = yuyv[..yuyv.len() - 1].to_vec();
    let frames = [
        frame(yuyv, PixelFormat::Yuyv, W, H),
        frame(short, PixelFormat::Yuyv, W, H),
        frame(vec![0; 8], PixelFormat::Yuyv, 2, 2),
    ];
    let (_, encoded) = encode(&params(Codec::H264, W, H), &frames);
    let found = encoded.iter().map(|e| e.substituted).collect::<Vec<_>>();
    assert_eq!(found, [None, Some(DropReason::Corrupt), Some(DropReason::WrongSize)]);
    let decoded = decode_h264(encoded.iter().map(|e| &e.sample));
    let [y, u, v] = &decoded[0].planes;
    assert!(y[0].abs_diff(20) < 12 && u[0].abs_diff(100) < 5 && v[0].abs_diff(160) < 5, "{} {} {}", y[0], u[0], v[0]);
}

#[test]
fn copy_keeps_the_jpegs_without_their_padding() {
    let jpeg = textured(W as usize, H as usize, 0);
    let padded = frame([&jpeg[..], &[0; 1000]].concat(), PixelFormat::Mjpg, W, H);
    let (stream, encoded) =
        encode(&StreamParams { stats_stride: 2, ..params(Codec::Copy, W, H) }, &[padded.clone(), padded]);
    assert_eq!(**stream.format(), SampleFormat::Mjpeg);
    for (encoded, sampled) in encoded.iter().zip([true, false]) {
        assert!(encoded.sample.sync && encoded.sample.data == jpeg);
        assert_eq!(encoded.histogram.is_some(), sampled);
    }
}

#[test]
fn statistics_are_those_of_the_picture() {
    let colour = [200, 90, 40];
    let data = media::jpeg(W as usize, H as usize, turbojpeg::Subsamp::Sub2x2, 95, |_, _| colour);
    let flat = frame(data, PixelFormat::Mjpg, W, H);
    for codec in [Codec::H264, Codec::Copy] {
        let params = StreamParams { stats_stride: 3, ..params(codec, W, H) };
        let (_, encoded) = encode(&params, &vec![flat.clone(); 7]);
        let sampled: Vec<_> = encoded.iter().map(|encoded| encoded.histogram.is_some()).collect();
        assert_eq!(sampled, [true, false, false, true, false, false, true]);
        let histogram = encoded[0].histogram.as_ref().unwrap();
        for (channel, counts) in histogram.counts.iter().enumerate() {
            // A stride of 2: 320 is more than 300.
            assert_eq!(counts.iter().sum::<u64>(), u64::from(W / 2 * H / 2));
            let sum: u64 = counts.iter().zip(0..).map(|(count, value)| count * value).sum();
            let mean = sum as f64 / f64::from(W / 2 * H / 2);
            assert!((mean - f64::from(colour[channel])).abs() < 3.0, "{codec:?}, channel {channel}: {mean}");
        }
    }
}

#[test]
fn unusual_sizes_and_rates_are_encoded() {
    for (width, height, fps) in
        [(16, 16, 30), (322, 242, 15), (48, 640, 1), (320, 240, 60), (320, 240, 120), (320, 240, 240)]
    {
        let params = StreamParams { width, height, fps, ..params(Codec::H264, W, H) };
        let data = textured(width as usize, height as usize, 0);
        let picture = frame(data, PixelFormat::Mjpg, width, height);
        let (_, encoded) = encode(&params, &vec![picture; 5]);
        let decoded = decode_h264(encoded.iter().map(|e| &e.sample));
        assert_eq!(decoded.len(), 5);
        assert_eq!((decoded[4].width, decoded[4].height), (width as usize, height as usize), "{fps} fps");
    }
}

#[test]
fn what_cannot_be_encoded_says_why() {
    let check = |params: StreamParams, words: &str| match VideoStream::open(params, Device::Cpu) {
        Err(error) => assert!(error.to_string().contains(words), "{error}"),
        Ok(_) => panic!("opened, expected: {words}"),
    };
    check(params(Codec::Hevc, W, H), "codec = \"h264\"");
    check(params(Codec::Av1, W, H), "NVENC");
    check(params(Codec::H264, 321, H), "321x240");
    check(params(Codec::H264, 8, 8), "8x8");
    check(params(Codec::H264, 7680, 4320), "3840x2160");
    check(StreamParams { fps: 0, ..params(Codec::H264, W, H) }, "rate");
    check(StreamParams { gop: 0, ..params(Codec::H264, W, H) }, "GOP");
    let mut copy = VideoStream::open(params(Codec::Copy, W, H), Device::Cpu).unwrap();
    let raw = frame(vec![0; (W * H * 2) as usize], PixelFormat::Yuyv, W, H);
    assert_eq!(copy.encode(&raw, 0).unwrap_err(), CodecError::CopyNeedsJpeg(PixelFormat::Yuyv));
}

#[test]
fn the_synthetic_counter_survives_encoding() {
    use recorder::camera::{self, synthetic::read_counter};
    use recorder::clock::{Clock, Rank, SimulatedClock, Stamp};
    let clock: Arc<dyn Clock> = Arc::new(SimulatedClock::new(Stamp::default()));
    for (width, height) in [(640, 360), (160, 120), (64, 48)] {
        let config = camera(CameraKind::Synthetic, None, width, height);
        let mut camera = camera::open("front", &config, &clock, Rank(0)).unwrap();
        for quality in [23, 32] {
            let mut stream =
                VideoStream::open(StreamParams { quality, ..params(Codec::H264, width, height) }, Device::Cpu).unwrap();
            let mut samples = Vec::new();
            let mut numbers = Vec::new();
            for index in 0..40 {
                let picture = camera.next(Duration::from_secs(1)).unwrap();
                numbers.push(Some(picture.sequence as u32));
                let encoded =
                    stream.encode(&frame(picture.data.to_vec(), PixelFormat::Mjpg, width, height), index).unwrap();
                assert_eq!(encoded.substituted, None);
                samples.push(encoded.sample);
            }
            let read = |d: &media::Decoded| read_counter(&d.planes[0], d.width, d.height);
            assert_eq!(
                decode_h264(&samples).iter().map(read).collect::<Vec<_>>(),
                numbers,
                "{width}x{height} at {quality}"
            );
        }
    }
}
