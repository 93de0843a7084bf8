//! What the tests of cameras and codecs share: frames, pictures, and decoders that are not the recorder's.
#![allow(dead_code)]

use openh264::decoder::Decoder;
use openh264::formats::YUVSource;
use recorder::budget::Budget;
use recorder::clock::Stamp;
use recorder::codec::Preset;
use recorder::codec::Sample;
use recorder::codec::bitstream::nal_units;
use recorder::codec::stream::StreamParams;
use recorder::codec::view::View;
use recorder::config::schema::{Camera, CameraKind, Codec, ColorRange, IndexOrPath};
use recorder::frame::{Frame, PixelFormat};
use std::path::Path;
use std::sync::Arc;
use turbojpeg::{Image, PixelFormat as Rgb, Subsamp};

pub fn frame(data: Vec<u8>, format: PixelFormat, width: u32, height: u32) -> Arc<Frame> {
    viewed(data, format, width, height, View::default())
}

pub fn viewed(data: Vec<u8>, format: PixelFormat, width: u32, height: u32, view: View) -> Arc<Frame> {
    let credit = Budget::new(usize::MAX, 1).acquire(data.len());
    let (captured, arrived) = (Stamp::default(), Stamp::default());
    Arc::new(Frame {
        camera: 0,
        sequence: 0,
        captured,
        arrived,
        format,
        width,
        height,
        view,
        data: data.into(),
        coded: None,
        credit,
    })
}

pub fn params(codec: Codec, width: u32, height: u32) -> StreamParams {
    let color_range = ColorRange::Limited;
    StreamParams {
        codec,
        quality: 23,
        gop: 15,
        width,
        height,
        fps: 30,
        color_range,
        bitrate: None,
        preset: Preset::P1,
        gpu_id: 0,
        stats_stride: 1,
    }
}

pub fn camera(kind: CameraKind, path: Option<&Path>, width: u32, height: u32) -> Camera {
    let index_or_path = path.map(|path| IndexOrPath::Path(path.into()));
    Camera { index_or_path, ..Camera::new(kind, width, height) }
}

/// A picture from a function of the pixel, as a JPEG.
pub fn jpeg(
    width: usize,
    height: usize,
    subsampling: Subsamp,
    quality: i32,
    pixel: impl Fn(usize, usize) -> [u8; 3],
) -> Vec<u8> {
    let pixels: Vec<u8> = (0..width * height).flat_map(|i| pixel(i % width, i / width)).collect();
    let image = Image { pixels: &pixels[..], width, pitch: width * 3, height, format: Rgb::RGB };
    turbojpeg::compress(image, quality, subsampling).unwrap().to_vec()
}

/// A picture that differs everywhere and from picture to picture.
pub fn textured(width: usize, height: usize, k: usize) -> Vec<u8> {
    jpeg(width, height, Subsamp::Sub2x1, 85, |x, y| {
        let wave = ((x + 3 * k) as f32 / 9.0).sin() + ((y + k) as f32 / 7.0).cos();
        [(128.0 + 50.0 * wave) as u8, (x * 255 / width) as u8, (y * 255 / height) as u8]
    })
}

/// A decoded picture: planes without padding.
#[derive(Clone, PartialEq, Eq)]
pub struct Decoded {
    pub width: usize,
    pub height: usize,
    pub planes: [Vec<u8>; 3],
}

/// Decodes length-prefixed H.264 from its first sample on, every sample giving one picture.
pub fn decode_h264<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Vec<Decoded> {
    let mut decoder = Decoder::new().unwrap();
    let mut pictures = Vec::new();
    for sample in samples {
        let annex_b: Vec<u8> = nal_units(&sample.data).flat_map(|nal| [&[0, 0, 0, 1], nal].concat()).collect();
        let yuv = decoder.decode(&annex_b).unwrap().expect("a picture for every sample");
        let (width, height) = yuv.dimensions();
        let (y, u, v) = yuv.strides();
        let plane = |data: &[u8], stride, width, height| -> Vec<u8> {
            (0..height).flat_map(|row| data[row * stride..][..width].to_vec()).collect()
        };
        let planes = [
            plane(yuv.y(), y, width, height),
            plane(yuv.u(), u, width / 2, height / 2),
            plane(yuv.v(), v, width / 2, height / 2),
        ];
        pictures.push(Decoded { width, height, planes });
    }
    pictures
}

/// Decodes length-prefixed H.264 from its first sample on by FFmpeg, every sample giving one picture.
pub fn ffmpeg_h264(samples: &[Sample]) -> Vec<Decoded> {
    let nals = samples.iter().flat_map(|sample| nal_units(&sample.data));
    ffmpeg_annex_b(&nals.flat_map(|nal| [&[0, 0, 0, 1], nal].concat()).collect::<Vec<u8>>())
}

/// Decodes an H.264 byte stream by FFmpeg.
pub fn ffmpeg_annex_b(stream: &[u8]) -> Vec<Decoded> {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("stream.h264"), folder.path().join("pictures.y4m"));
    std::fs::write(&from, stream).unwrap();
    let mut command = std::process::Command::new("ffmpeg");
    command.args(["-v", "error", "-f", "h264", "-i"]).arg(&from).args(["-fps_mode", "passthrough"]).arg(&to);
    let output = command.output().expect("ffmpeg is needed: scripts/setup.sh --test installs it");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    y4m(&std::fs::read(&to).unwrap())
}

/// The pictures of a YUV4MPEG2 file in 4:2:0, which says their size.
fn y4m(bytes: &[u8]) -> Vec<Decoded> {
    let header_end = bytes.iter().position(|byte| *byte == b'\n').expect("a header");
    let header = String::from_utf8_lossy(&bytes[..header_end]).into_owned();
    let number =
        |mark: char| header.split(' ').find_map(|word| word.strip_prefix(mark)?.parse::<usize>().ok()).unwrap();
    let (width, height) = (number('W'), number('H'));
    let (luma, chroma) = (width * height, width * height / 4);
    let pictures = bytes[header_end + 1..].chunks_exact(b"FRAME\n".len() + luma + 2 * chroma);
    let plane = |bytes: &[u8], from, length| bytes[b"FRAME\n".len() + from..][..length].to_vec();
    pictures
        .map(|bytes| {
            let planes = [plane(bytes, 0, luma), plane(bytes, luma, chroma), plane(bytes, luma + chroma, chroma)];
            Decoded { width, height, planes }
        })
        .collect()
}

impl Decoded {
    /// BT.601, by the floating-point formula.
    pub fn rgb(&self, x: usize, y: usize, range: ColorRange) -> [f64; 3] {
        let chroma = y / 2 * (self.width / 2) + x / 2;
        let luma = f64::from(self.planes[0][y * self.width + x]);
        let (u, v) = (f64::from(self.planes[1][chroma]) - 128.0, f64::from(self.planes[2][chroma]) - 128.0);
        let (luma, u, v) = match range {
            ColorRange::Full => (luma, u, v),
            ColorRange::Limited => ((luma - 16.0) * 255.0 / 219.0, u * 255.0 / 224.0, v * 255.0 / 224.0),
        };
        [luma + 1.402 * v, luma - 0.344_136 * u - 0.714_136 * v, luma + 1.772 * u].map(|value| value.clamp(0.0, 255.0))
    }

    /// Peak signal-to-noise ratio of the luma planes, in dB.
    pub fn luma_psnr(&self, other: &[u8]) -> f64 {
        let squares = self.planes[0].iter().zip(other).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2));
        let mean = squares.sum::<f64>() / other.len() as f64;
        10.0 * (255.0 * 255.0 / mean.max(1e-9)).log10()
    }
}
