//! Colours: what a trainer sees in a video is what the camera's JPEG shows.

mod media;

use media::{Decoded, decode_h264, frame, params};
use recorder::codec::backend::Device;
use recorder::codec::jpeg;
use recorder::codec::stream::{StreamParams, VideoStream};
use recorder::codec::yuv::I420;
use recorder::codec::{Sample, SampleFormat};
use recorder::config::schema::{Codec, ColorRange};
use recorder::frame::PixelFormat;
use std::io::Write;
use std::process::{Command, Stdio};
use turbojpeg::Subsamp;

const SIDE: usize = 64;
const COLUMNS: usize = 6;
const W: usize = SIDE * COLUMNS;
const H: usize = SIDE * 4;
/// Levels of 255 on each patch's mean.
const TOLERANCE: f64 = 3.0;

/// Saturated colours, half-saturated ones, skin and wood, and a row of greys.
#[rustfmt::skip]
const PATCHES: [[u8; 3]; COLUMNS * 4] = [
    [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255], [255, 0, 255],
    [128, 0, 0], [0, 128, 0], [0, 0, 128], [200, 160, 40], [40, 160, 200], [160, 40, 200],
    [224, 172, 150], [140, 90, 60], [90, 110, 60], [250, 200, 0], [30, 60, 90], [240, 120, 120],
    [0, 0, 0], [32, 32, 32], [96, 96, 96], [160, 160, 160], [224, 224, 224], [255, 255, 255],
];

fn chart(subsampling: Subsamp) -> Vec<u8> {
    media::jpeg(W, H, subsampling, 95, |x, y| PATCHES[y / SIDE * COLUMNS + x / SIDE])
}

/// Mean of a patch away from its edges, where chroma of neighbours mixes.
fn means(rgb: impl Fn(usize, usize) -> [f64; 3]) -> Vec<[f64; 3]> {
    let mean = |patch: usize| {
        let (left, top) = (patch % COLUMNS * SIDE, patch / COLUMNS * SIDE);
        let inner = SIDE / 4..SIDE * 3 / 4;
        let pixels: Vec<_> = inner.clone().flat_map(|y| inner.clone().map(move |x| (left + x, top + y))).collect();
        let sum = pixels.iter().map(|&(x, y)| rgb(x, y)).fold([0.0; 3], |a, b| [a[0] + b[0], a[1] + b[1], a[2] + b[2]]);
        sum.map(|value| value / pixels.len() as f64)
    };
    (0..PATCHES.len()).map(mean).collect()
}

/// The JPEG's own RGB, by libjpeg-turbo.
fn source_means(jpeg: &[u8]) -> Vec<[f64; 3]> {
    let image = turbojpeg::decompress(jpeg, turbojpeg::PixelFormat::RGB).unwrap();
    means(|x, y| std::array::from_fn(|channel| f64::from(image.pixels[y * image.pitch + x * 3 + channel])))
}

fn assert_close(found: &[[f64; 3]], expected: &[[f64; 3]], what: &str) {
    for (patch, (found, expected)) in found.iter().zip(expected).enumerate() {
        let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst <= TOLERANCE, "{what}, patch {:?}: {found:.1?}, expected {expected:.1?}", PATCHES[patch]);
    }
}

fn encode(jpeg: &[u8], codec: Codec, color_range: ColorRange) -> (VideoStream, Vec<Sample>) {
    let mut stream =
        VideoStream::open(StreamParams { color_range, ..params(codec, W as u32, H as u32) }, Device::Cpu).unwrap();
    let frame = frame(jpeg.to_vec(), PixelFormat::Mjpg, W as u32, H as u32);
    let samples = (0..3).map(|index| stream.encode(&frame, index).unwrap().sample).collect();
    (stream, samples)
}

const SAMPLINGS: [Subsamp; 4] = [Subsamp::Sub2x1, Subsamp::Sub2x2, Subsamp::None, Subsamp::Sub1x2];

#[test]
fn h264_keeps_colours_in_both_ranges_and_every_sampling() {
    for subsampling in SAMPLINGS {
        let jpeg = chart(subsampling);
        let expected = source_means(&jpeg);
        for range in [ColorRange::Limited, ColorRange::Full] {
            let (_, samples) = encode(&jpeg, Codec::H264, range);
            for (k, picture) in decode_h264(&samples).iter().enumerate() {
                let found = means(|x, y| picture.rgb(x, y, range));
                assert_close(&found, &expected, &format!("{subsampling:?}, {range:?}, frame {k}"));
            }
        }
    }
}

#[test]
fn grey_jpegs_stay_grey() {
    let jpeg = media::jpeg(W, H, Subsamp::Gray, 95, |x, _| [(x * 255 / W) as u8; 3]);
    let mut picture = I420::grey(W as u32, H as u32, ColorRange::Full);
    jpeg::Decoder::new().unwrap().decode(&jpeg, &mut picture).unwrap();
    let [y, u, v] = picture.planes();
    assert!(u.iter().chain(v).all(|&value| value == 128));
    assert!(y[0] < 5 && y[W - 1] > 250);
}

/// What ffmpeg makes of the stream's own colour tags, which is what PyAV and torchcodec read as well.
fn ffmpeg_means(input: &[u8], demuxer: &str) -> Vec<Vec<[f64; 3]>> {
    let mut child = Command::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-f",
            demuxer,
            "-i",
            "-",
            "-f",
            "rawvideo",
            "-pix_fmt",
            "rgb24",
            "-sws_flags",
            "accurate_rnd+full_chroma_int",
            "-",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("ffmpeg is installed: apt-get install ffmpeg");
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success() && output.stdout.len() == W * H * 3 * 3, "{} bytes", output.stdout.len());
    output
        .stdout
        .chunks(W * H * 3)
        .map(|picture| means(|x, y| std::array::from_fn(|channel| f64::from(picture[(y * W + x) * 3 + channel]))))
        .collect()
}

#[test]
fn ffmpeg_reads_the_same_colours_by_the_tags() {
    for subsampling in [Subsamp::Sub2x1, Subsamp::Sub2x2] {
        let jpeg = chart(subsampling);
        let expected = source_means(&jpeg);
        for (codec, range) in
            [(Codec::H264, ColorRange::Limited), (Codec::H264, ColorRange::Full), (Codec::Copy, ColorRange::Full)]
        {
            let (stream, samples) = encode(&jpeg, codec, range);
            let (bytes, demuxer): (Vec<u8>, _) = match **stream.format() {
                SampleFormat::H264 { .. } => (samples.iter().flat_map(annex_b).collect(), "h264"),
                SampleFormat::Mjpeg => (samples.iter().flat_map(|sample| sample.data.clone()).collect(), "mjpeg"),
                _ => unreachable!("the CPU makes neither"),
            };
            for (k, found) in ffmpeg_means(&bytes, demuxer).iter().enumerate() {
                assert_close(found, &expected, &format!("{subsampling:?}, {codec:?}, {range:?}, frame {k}"));
            }
        }
    }
}

fn annex_b(sample: &Sample) -> Vec<u8> {
    recorder::codec::bitstream::nal_units(&sample.data).flat_map(|nal| [&[0, 0, 0, 1], nal].concat()).collect()
}

/// The test's own conversion is the inverse of the encoder's input, so that the tests above cannot both be wrong.
#[test]
fn reference_conversion_knows_its_primaries() {
    let plane = |value| vec![value; 4];
    let red = Decoded { width: 2, height: 2, planes: [plane(81), plane(90), plane(240)] };
    let [r, g, b] = red.rgb(0, 0, ColorRange::Limited);
    assert!((r - 255.0).abs() < 1.5 && g < 1.5 && b < 1.5, "{r} {g} {b}");
}
