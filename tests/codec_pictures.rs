//! What cameras capture is what videos show: raw formats, sizes of every kind, rotation and crop. Videos are decoded by
//! FFmpeg, and compared with pictures that are computed here from the same function of the pixel.

mod media;

use media::{Decoded, ffmpeg_h264, frame, params, viewed};
use recorder::codec::backend::Device;
use recorder::codec::raw;
use recorder::codec::stream::{Encoded, StreamParams, VideoStream};
use recorder::codec::view::View;
use recorder::codec::yuv::I420;
use recorder::codec::{CodecError, Sample};
use recorder::config::schema::{Codec, ColorRange, Crop};
use recorder::frame::{DropReason, Frame, PixelFormat};
use std::sync::Arc;
use turbojpeg::Subsamp;

/// A value of one range in another.
type Scale = fn(f64) -> f64;

/// Luma and chroma of a pixel in limited range: smooth, and different in all four corners.
fn yuv(x: usize, y: usize, width: usize, height: usize) -> [f64; 3] {
    let (x, y) = (x as f64 / width as f64, y as f64 / height as f64);
    [30.0 + 120.0 * x + 60.0 * y, 60.0 + 130.0 * y, 200.0 - 120.0 * x]
}

/// A raw picture of that function, packed as its format says.
fn raw_picture(format: PixelFormat, width: usize, height: usize) -> Vec<u8> {
    let at = |x, y| yuv(x, y, width, height).map(|value| value.round() as u8);
    let all = || (0..height).flat_map(move |y| (0..width).map(move |x| (x, y)));
    match format {
        PixelFormat::Yuyv => all().flat_map(|(x, y)| [at(x, y)[0], at(x / 2 * 2, y)[1 + x % 2]]).collect(),
        PixelFormat::Nv12 => {
            let chroma = all().filter(|(x, y)| x % 2 + y % 2 == 0).flat_map(|(x, y)| [at(x, y)[1], at(x, y)[2]]);
            all().map(|(x, y)| at(x, y)[0]).chain(chroma).collect()
        }
        PixelFormat::Grey => all().map(|(x, y)| at(x, y)[0]).collect(),
        other => panic!("{other:?} is not raw"),
    }
}

const RAW: [PixelFormat; 3] = [PixelFormat::Yuyv, PixelFormat::Nv12, PixelFormat::Grey];

fn encode(params: &StreamParams, frames: &[Arc<Frame>]) -> Vec<Encoded> {
    let mut stream = VideoStream::open(params.clone(), Device::Cpu).unwrap();
    frames.iter().zip(0..).map(|(frame, index)| stream.encode(frame, index).unwrap()).collect()
}

fn samples(encoded: Vec<Encoded>) -> Vec<Sample> {
    encoded.into_iter().map(|encoded| encoded.sample).collect()
}

/// Mean difference of a plane from a function of the pixel.
fn difference(plane: &[u8], width: usize, expected: impl Fn(usize, usize) -> f64) -> f64 {
    let sum: f64 =
        plane.iter().enumerate().map(|(i, value)| (f64::from(*value) - expected(i % width, i / width)).abs()).sum();
    sum / plane.len() as f64
}

/// The values of raw formats, in both ranges, by the standard's formulas: at most a rounding away.
#[test]
fn raw_values_are_bt_601s() {
    let (width, height) = (64, 48);
    for format in RAW {
        let bytes = raw_picture(format, width, height);
        let pixel = |x: usize, y: usize| match format {
            PixelFormat::Yuyv => {
                let at = y * width * 2 + x / 2 * 4;
                [bytes[at + x % 2 * 2], bytes[at + 1], bytes[at + 3]]
            }
            PixelFormat::Nv12 => {
                let at = width * height + y / 2 * width + x / 2 * 2;
                [bytes[y * width + x], bytes[at], bytes[at + 1]]
            }
            _ => [bytes[y * width + x], 128, 128],
        };
        for range in [ColorRange::Limited, ColorRange::Full] {
            let mut picture = I420::grey(width as u32, height as u32, range);
            let frame = frame(bytes.clone(), format, width as u32, height as u32);
            raw::read(&frame, &mut picture).unwrap();
            let from = if format == PixelFormat::Grey { ColorRange::Full } else { ColorRange::Limited };
            let (luma, chroma): (Scale, Scale) = match (from, range) {
                (ColorRange::Full, ColorRange::Limited) => {
                    (|y| 16.0 + y * 219.0 / 255.0, |c| 128.0 + (c - 128.0) * 224.0 / 255.0)
                }
                (ColorRange::Limited, ColorRange::Full) => {
                    (|y| (y - 16.0) * 255.0 / 219.0, |c| 128.0 + (c - 128.0) * 255.0 / 224.0)
                }
                _ => (|y| y, |c| c),
            };
            let near = |found: u8, expected: f64, what: &str| {
                let expected = expected.clamp(0.0, 255.0);
                assert!((f64::from(found) - expected).abs() <= 1.1, "{format:?} {range:?} {what}: {found}, {expected}");
            };
            let [y_plane, u_plane, v_plane] = picture.planes();
            for y in 0..height {
                for x in 0..width {
                    near(y_plane[y * width + x], luma(f64::from(pixel(x, y)[0])), "luma");
                    let (above, below) = (pixel(x, y / 2 * 2), pixel(x, y / 2 * 2 + 1));
                    for (plane, i, what) in [(u_plane, 1, "u"), (v_plane, 2, "v")] {
                        let mean = (f64::from(above[i]) + f64::from(below[i])) / 2.0;
                        near(plane[y / 2 * (width / 2) + x / 2], chroma(mean), what);
                    }
                }
            }
        }
    }
}

#[test]
fn raw_pictures_that_are_none_are_replaced() {
    for format in RAW {
        let whole = raw_picture(format, 64, 48);
        let frames = [
            frame(whole[..whole.len() - 1].to_vec(), format, 64, 48),
            frame(Vec::new(), format, 64, 48),
            frame(raw_picture(format, 32, 32), format, 32, 32),
            frame(whole, format, 64, 48),
        ];
        let found: Vec<_> = encode(&params(Codec::H264, 64, 48), &frames).iter().map(|e| e.substituted).collect();
        let corrupt = Some(DropReason::Corrupt);
        assert_eq!(found, [corrupt, corrupt, Some(DropReason::WrongSize), None], "{format:?}");
    }
}

/// Sizes that are no multiples of the encoders' and the JPEGs' blocks, in every format: to the last row and column.
#[test]
fn odd_sizes_are_shown_to_their_edges() {
    for (width, height) in [(1270, 718), (162, 122), (18, 34)] {
        let (w, h) = (width as u32, height as u32);
        for format in RAW {
            let picture = frame(raw_picture(format, width, height), format, w, h);
            let shown = ffmpeg_h264(&samples(encode(&params(Codec::H264, w, h), &vec![picture; 3])));
            assert_eq!(shown.len(), 3, "{format:?} {width}x{height}");
            for Decoded { width: shown_width, height: shown_height, planes } in &shown {
                assert_eq!((*shown_width, *shown_height), (width, height));
                let luma = |x, y| match format {
                    PixelFormat::Grey => 16.0 + yuv(x, y, width, height)[0] * 219.0 / 255.0,
                    _ => yuv(x, y, width, height)[0],
                };
                let edge = |x: usize, y: usize| (f64::from(planes[0][y * width + x]) - luma(x, y)).abs();
                let whole = difference(&planes[0], width, luma);
                let edges = (0..width).map(|x| edge(x, height - 1)).chain((0..height).map(|y| edge(width - 1, y)));
                let worst = edges.fold(0.0, f64::max);
                assert!(whole < 2.0 && worst < 14.0, "{format:?} {width}x{height}: {whole:.2}, edges {worst:.1}");
                for i in [1, 2] {
                    let chroma = |x, y| match format {
                        PixelFormat::Grey => 128.0,
                        _ => yuv(2 * x, 2 * y, width, height)[i],
                    };
                    let whole = difference(&planes[i], width / 2, chroma);
                    // In YUYV the mean of two rows.
                    let bound = 2.0 + 65.0 / height as f64;
                    assert!(whole < bound, "{format:?} {width}x{height}: chroma {whole:.2}");
                }
            }
        }
        for subsampling in [Subsamp::None, Subsamp::Sub2x1, Subsamp::Sub1x2, Subsamp::Sub2x2, Subsamp::Gray] {
            let colour = |x: usize, y: usize| [(x * 255 / width) as u8, (y * 255 / height) as u8, 90];
            let jpeg = media::jpeg(width, height, subsampling, 95, colour);
            let picture = frame(jpeg.clone(), PixelFormat::Mjpg, w, h);
            let shown = ffmpeg_h264(&samples(encode(&params(Codec::H264, w, h), std::slice::from_ref(&picture))));
            let reference = turbojpeg::decompress(&jpeg, turbojpeg::PixelFormat::RGB).unwrap();
            let mut sum = 0.0;
            for (i, expected) in reference.pixels.chunks(3).enumerate() {
                let rgb = shown[0].rgb(i % width, i / width, ColorRange::Limited);
                sum += rgb.iter().zip(expected).map(|(a, b)| (a - f64::from(*b)).abs()).sum::<f64>() / 3.0;
            }
            let mean = sum / (width * height) as f64;
            let bound = 3.0 + 40.0 / width as f64;
            assert!(mean < bound, "{subsampling:?} {width}x{height}: {mean:.2}");
            assert_eq!(encode(&params(Codec::Copy, w, h), &[picture])[0].sample.data, jpeg, "{subsampling:?}");
        }
    }
}

fn view(degrees: i32, crop: Option<[u32; 4]>) -> View {
    let crop = crop.map(|[left, top, width, height]| Crop { left, top, width, height });
    View { rotation: degrees.try_into().unwrap(), crop }
}

/// Turned clockwise, as `cv2.rotate` does for LeRobot, and cut after that: the function of the pixel tells which one of the
/// captured pixels is where.
#[test]
fn what_is_recorded_is_turned_and_cut() {
    let (width, height) = (326usize, 182usize);
    let jpeg = media::jpeg(width, height, Subsamp::Sub2x2, 95, |x, y| {
        [(x * 200 / width + 20) as u8, (y * 200 / height + 20) as u8, (x * 100 / width + y * 100 / height) as u8]
    });
    let (w, h) = (width as u32, height as u32);
    let captured = |format| match format {
        PixelFormat::Mjpg => jpeg.clone(),
        raw => raw_picture(raw, width, height),
    };
    let mut upright = I420::grey(w, h, ColorRange::Limited);
    recorder::codec::jpeg::Decoder::new().unwrap().decode(&jpeg, &mut upright).unwrap();
    for format in [PixelFormat::Mjpg, PixelFormat::Yuyv, PixelFormat::Nv12, PixelFormat::Grey] {
        for (degrees, crop) in [
            (90, None),
            (180, None),
            (270, None),
            (-90, None),
            (0, Some([100, 20, 64, 48])),
            (90, Some([20, 100, 66, 34])),
            (180, Some([100, 20, 64, 48])),
            (270, Some([20, 100, 48, 226])),
        ] {
            let view = view(degrees, crop);
            let size = view.size(w, h).unwrap();
            let (shown_width, shown_height) = (size.0 as usize, size.1 as usize);
            let picture = viewed(captured(format), format, w, h, view);
            let encoded = encode(&params(Codec::H264, size.0, size.1), &[picture]);
            let shown = &ffmpeg_h264(&samples(encoded))[0];
            assert_eq!((shown.width, shown.height), (shown_width, shown_height));
            let (left, top) = crop.map_or((0, 0), |crop| (crop[0] as usize, crop[1] as usize));
            let expected = |x: usize, y: usize| {
                // Where the pixel was, walking back: into the picture that is not cut, then against the clock.
                let (x, y) = (x + left, y + top);
                let (x, y) = match degrees {
                    0 => (x, y),
                    90 => (y, height - 1 - x),
                    180 => (width - 1 - x, height - 1 - y),
                    _ => (width - 1 - y, x),
                };
                match format {
                    PixelFormat::Mjpg => f64::from(upright.planes()[0][y * width + x]),
                    PixelFormat::Grey => 16.0 + yuv(x, y, width, height)[0] * 219.0 / 255.0,
                    _ => yuv(x, y, width, height)[0],
                }
            };
            let mean = difference(&shown.planes[0], shown_width, expected);
            assert!(mean < 2.5, "{format:?}, {degrees} degrees, {crop:?}: {mean:.2}");
        }
    }
}

#[test]
fn statistics_are_of_what_is_recorded() {
    let (red, blue) = ([250, 10, 10], [10, 10, 250]);
    let jpeg = media::jpeg(64, 64, Subsamp::None, 95, |x, _| if x < 32 { red } else { blue });
    for (degrees, crop, colour) in [
        (0, [0, 0, 32, 64], red),
        (0, [32, 0, 32, 64], blue),
        // Turned clockwise, what was left is on top.
        (90, [0, 0, 64, 32], red),
        (270, [0, 0, 64, 32], blue),
        (180, [0, 0, 32, 64], blue),
    ] {
        let view = view(degrees, Some(crop));
        let picture = viewed(jpeg.clone(), PixelFormat::Mjpg, 64, 64, view);
        let encoded = encode(&params(Codec::H264, crop[2], crop[3]), &[picture]);
        let histogram = encoded[0].histogram.as_ref().unwrap();
        for (channel, counts) in histogram.counts.iter().enumerate() {
            let seen: u64 = counts.iter().sum();
            let sum: u64 = counts.iter().zip(0..).map(|(count, value)| count * value).sum();
            let (mean, expected) = (sum as f64 / seen as f64, f64::from(colour[channel]));
            assert!((mean - expected).abs() < 6.0, "{degrees} degrees, channel {channel}: {mean:.0}, {expected}");
        }
    }
}

/// A frame whose view does not give the stream's size is none of its pictures; `copy` cannot turn or cut.
#[test]
fn views_that_do_not_fit_are_refused() {
    let jpeg = media::textured(64, 48, 0);
    for wrong in [view(90, None), view(0, Some([0, 0, 32, 32])), view(0, Some([2, 0, 64, 48]))] {
        let picture = viewed(jpeg.clone(), PixelFormat::Mjpg, 64, 48, wrong);
        let encoded = encode(&params(Codec::H264, 64, 48), &[picture]);
        assert_eq!(encoded[0].substituted, Some(DropReason::WrongSize), "{wrong:?}");
    }
    let mut copy = VideoStream::open(params(Codec::Copy, 48, 64), Device::Cpu).unwrap();
    let turned = viewed(jpeg, PixelFormat::Mjpg, 64, 48, view(90, None));
    assert_eq!(copy.encode(&turned, 0).unwrap_err(), CodecError::CopyOfPart);
}
