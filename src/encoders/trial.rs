//! A timed trial of one encoder, on the way that recordings take, in a child process.

use super::decode::{self, Verdict};
use super::part::Part;
use crate::budget::Budget;
use crate::camera;
use crate::clock::{Clock, Rank, SimulatedClock, Stamp};
use crate::codec::backend::Device;
use crate::codec::stream::{StreamParams, VideoStream};
use crate::codec::view::View;
use crate::codec::{Preset, Sample};
use crate::config::schema::{Camera, CameraKind, Codec, ColorRange};
use crate::dataset::Spread;
use crate::frame::{Frame, PixelFormat};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The size of every trial's pictures, in pixels.
pub const SIZE: (u32, u32) = (1280, 720);
/// The rate that bit rates are for.
pub const FPS: u32 = 30;
/// The quality that presets are compared at, and the default of `dataset.encoder`.
const QUALITY: u32 = 23;
const GOP: u32 = 15;
/// A picture that takes longer than this is a hang, not a slow machine.
const LONGEST_PICTURE: Duration = Duration::from_secs(1);
/// What opening an encoder and drawing the pictures may take beside.
const LONGEST_START: Duration = Duration::from_secs(20);

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    pub codec: Codec,
    pub device: Device,
    /// For NVENC.
    pub gpu_id: u32,
    /// For NVENC.
    pub preset: Preset,
    /// How many pictures, at least 1.
    pub pictures: u32,
    /// Whether what was encoded is decoded again, and its pictures recognised.
    pub decode: bool,
}

/// What was measured. Times are wall times in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    pub pictures: u32,
    pub width: u32,
    pub height: u32,
    /// From opening the encoder until it could take pictures.
    pub open_ms: f64,
    /// Decoding the camera's JPEG, for a picture; for `copy` finding its end.
    pub decode_ms: Milliseconds,
    /// Encoding a picture.
    pub encode_ms: Milliseconds,
    /// Pictures a second that the encoder alone would reach.
    pub fps: f64,
    /// Bits a second at [`FPS`] pictures a second.
    pub bits_per_second: u64,
    /// Whether the right pictures came out of a decoder; `None` if that was not asked for.
    pub decoded: Option<Verdict>,
}

/// How a time is spread, by nearest rank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Milliseconds {
    pub mean: f64,
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

impl Milliseconds {
    /// Of any times, in any order; zeros of none.
    pub fn of(times: &[Duration]) -> Milliseconds {
        let ms = |ns: u64| ns as f64 / 1e6;
        let Spread { p50, p99, max } = Spread::of(times.iter().map(|time| time.as_nanos() as u64));
        let mean = times.iter().sum::<Duration>().as_secs_f64() * 1e3 / times.len().max(1) as f64;
        Milliseconds { mean, p50: ms(p50), p99: ms(p99), max: ms(max) }
    }
}

impl Trial {
    /// Two seconds of video by the fastest preset, not decoded again.
    pub fn new(codec: Codec, device: Device, gpu_id: u32) -> Trial {
        Trial { codec, device, gpu_id, preset: Preset::default(), pictures: 2 * FPS, decode: false }
    }

    /// Runs in a child process that runs `program`; why there are no figures, in one line.
    pub fn run_in_child(&self, program: &Path) -> Result<Figures, String> {
        Part::Trial(*self).run_in_child(program, LONGEST_START + LONGEST_PICTURE * self.pictures)
    }

    /// Encodes moving pictures, one after the other, as fast as it goes.
    pub fn run(&self) -> Result<Figures, String> {
        let (width, height) = SIZE;
        let mut pictures = Pictures::open(width, height)?;
        let start = Instant::now();
        let mut stream = VideoStream::open(self.params(), self.device).map_err(|error| error.to_string())?;
        let open_ms = start.elapsed().as_secs_f64() * 1e3;
        let (mut decode, mut encode, mut samples) = (Vec::new(), Vec::new(), Vec::<Sample>::new());
        for index in 0..self.pictures {
            let frame = pictures.next_frame()?;
            let encoded = stream.encode(&frame, index.into()).map_err(|error| error.to_string())?;
            if let Some(reason) = encoded.substituted {
                return Err(format!("picture {index} could not be decoded ({})", reason.name()));
            }
            decode.push(encoded.decode);
            encode.push(encoded.encode);
            samples.push(encoded.sample);
        }
        let bytes: usize = samples.iter().map(|sample| sample.data.len()).sum();
        let encode = Milliseconds::of(&encode);
        Ok(Figures {
            pictures: self.pictures,
            width,
            height,
            open_ms,
            decode_ms: Milliseconds::of(&decode),
            encode_ms: encode,
            fps: 1e3 / encode.mean,
            bits_per_second: bytes as u64 * 8 * u64::from(FPS) / u64::from(self.pictures),
            decoded: self.decode.then(|| decode::check(stream.format(), &samples, SIZE)),
        })
    }

    /// What its encoder is opened with.
    pub fn params(&self) -> StreamParams {
        StreamParams {
            codec: self.codec,
            quality: QUALITY,
            gop: GOP,
            width: SIZE.0,
            height: SIZE.1,
            fps: FPS,
            color_range: ColorRange::Limited,
            bitrate: None,
            preset: self.preset,
            gpu_id: self.gpu_id,
            // Statistics of a recording are no part of an encoder's time.
            stats_stride: u64::MAX,
        }
    }
}

/// Moving pictures with their numbers in them, from 0, as a camera's JPEGs.
pub struct Pictures {
    camera: Box<dyn camera::Camera>,
    budget: Budget,
}

impl Pictures {
    /// Draws them: some 300 ms at 720p.
    pub fn open(width: u32, height: u32) -> Result<Pictures, String> {
        let config = Camera { fps: FPS, realtime: false, ..Camera::new(CameraKind::Synthetic, width, height) };
        let clock: Arc<dyn Clock> = Arc::new(SimulatedClock::new(Stamp::default()));
        let camera = camera::open("trial", &config, &clock, Rank(0)).map_err(|error| error.to_string())?;
        Ok(Pictures { camera, budget: Budget::new(usize::MAX, usize::MAX) })
    }

    /// The next one.
    pub fn next_frame(&mut self) -> Result<Arc<Frame>, String> {
        let (width, height) = (self.camera.mode().width, self.camera.mode().height);
        let picture = self.camera.next(Duration::MAX).map_err(|error| error.to_string())?;
        Ok(Arc::new(Frame {
            camera: 0,
            sequence: picture.sequence,
            captured: picture.captured,
            arrived: picture.captured,
            format: PixelFormat::Mjpg,
            width,
            height,
            view: View::default(),
            data: picture.data.to_vec().into(),
            coded: None,
            credit: self.budget.acquire(picture.data.len()),
        }))
    }
}
