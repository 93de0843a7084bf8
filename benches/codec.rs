//! What decoding and encoding cost, in CPU time of one thread, and how that compares with a bare loop over the same
//! clip in the same run: `cargo bench --bench codec`. The clip is two seconds of a synthetic camera at 720p.
//!
//! Every figure is the least of several interleaved rounds. Figures of two runs, or of two machines, cannot be
//! compared; the ratios can.

use openh264::encoder::{
    BitRate, Complexity, Encoder, EncoderConfig, FrameRate, IntraFramePeriod, QpRange, RateControlMode, SpsPpsStrategy,
    VuiConfig,
};
use openh264::formats::YUVSlices;
use openh264::{OpenH264API, Timestamp};
use recorder::budget::Budget;
use recorder::camera;
use recorder::clock::{Clock, Rank, SimulatedClock, Stamp};
use recorder::codec::Preset;
use recorder::codec::backend::{Device, PictureEncoder};
use recorder::codec::jpeg::{self, Decoder};
use recorder::codec::openh264::Encoder as OurEncoder;
use recorder::codec::stream::{StreamParams, VideoStream};
use recorder::codec::view::View;
use recorder::codec::yuv::I420;
use recorder::codec::{PixelHistogram, stream};
use recorder::config::schema::{Camera, CameraKind, Codec, ColorRange};
use recorder::frame::{Frame, PixelFormat};
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;
use turbojpeg::{Decompressor, Subsamp, YuvImage};

const W: usize = 1280;
const H: usize = 720;
const FPS: u32 = 30;
const FRAMES: usize = 60;
const ROUNDS: usize = 7;
const QUALITY: u32 = 23;

fn main() {
    let clip = clip();
    let bytes: usize = clip.iter().map(|frame| frame.data.len()).sum();
    println!(
        "{W}x{H}, {FRAMES} frames, {} KB a JPEG; CPU ms a frame, least of {ROUNDS} rounds\n",
        bytes / FRAMES / 1000
    );

    let mut limited: Vec<I420> = Vec::new();
    let mut decoder = Decoder::new().unwrap();
    for frame in &clip {
        let mut picture = I420::grey(W as u32, H as u32, ColorRange::Limited);
        decoder.decode(&frame.data, &mut picture).unwrap();
        limited.push(picture);
    }

    let mut full_picture = I420::grey(W as u32, H as u32, ColorRange::Full);
    let mut limited_picture = I420::grey(W as u32, H as u32, ColorRange::Limited);
    let mut bare_decoder = BareDecoder::new();
    let mut second_decoder = Decoder::new().unwrap();
    let decode = least([
        &mut || clip.iter().for_each(|frame| drop(black_box(jpeg::parse(&frame.data)))),
        &mut || clip.iter().for_each(|frame| bare_decoder.planes(&frame.data)),
        &mut || clip.iter().for_each(|frame| decoder.decode(&frame.data, &mut full_picture).unwrap()),
        &mut || clip.iter().for_each(|frame| second_decoder.decode(&frame.data, &mut limited_picture).unwrap()),
        &mut || limited.iter().for_each(|picture| PixelHistogram::default().add_picture(black_box(picture))),
    ]);
    let [parse, planes, full, limited_range, statistics] = decode;
    row("JPEG structure", parse, planes);
    row("JPEG to its own planes (turbojpeg alone)", planes, planes);
    row("JPEG to I420, full range", full, planes);
    row("JPEG to I420, limited range", limited_range, planes);
    row("statistics of a sampled picture", statistics, planes);

    println!();
    for gop in [2, 15, 30] {
        let mut encoder = OurEncoder::open(W as u32, H as u32, FPS, QUALITY, ColorRange::Limited).unwrap();
        let mut size = 0;
        let [encode] = least([&mut || {
            size = 0;
            for (picture, index) in limited.iter().zip(0..) {
                size += encoder.encode(picture, index, index % gop == 0).unwrap().data.len();
            }
        }]);
        println!("H.264, GOP {gop:<2}  {encode:8.3} ms  {:7.1} KB a frame", size as f64 / FRAMES as f64 / 1000.0);
    }

    println!();
    for gop in [2, 15, 30] {
        let mut limited_range = VideoStream::open(params(Codec::H264, gop), Device::Cpu).unwrap();
        let color_range = ColorRange::Full;
        let mut full_range =
            VideoStream::open(StreamParams { color_range, ..params(Codec::H264, gop) }, Device::Cpu).unwrap();
        let mut bare_decoder = BareDecoder::new();
        let mut bare_encoder = bare_encoder();
        let mut copy = VideoStream::open(params(Codec::Copy, gop), Device::Cpu).unwrap();
        let [bare, full, limited, copied] = least([
            &mut || {
                for (k, frame) in clip.iter().enumerate() {
                    let planes = bare_decoder.i420(&frame.data);
                    if k % gop as usize == 0 {
                        bare_encoder.force_intra_frame();
                    }
                    let picture = YUVSlices::new(planes, (W, H), (W, W / 2, W / 2));
                    let time = Timestamp::from_millis(k as u64 * 1000 / u64::from(FPS));
                    black_box(bare_encoder.encode_at(&picture, time).unwrap().to_vec());
                }
            },
            &mut || run(&mut full_range, &clip),
            &mut || run(&mut limited_range, &clip),
            &mut || run(&mut copy, &clip),
        ]);
        row(&format!("GOP {gop}: bare decode + encode loop"), bare, bare);
        // Limited range has less contrast, and so a little less to encode: full range is the fair comparison.
        row(&format!("GOP {gop}: the whole stream with statistics, full range"), full, bare);
        row(&format!("GOP {gop}: the whole stream with statistics, limited range"), limited, bare);
        row(&format!("GOP {gop}: copy with statistics"), copied, bare);
    }
}

fn params(codec: Codec, gop: u32) -> StreamParams {
    let (width, height) = (W as u32, H as u32);
    let stats_stride = stream::stats_stride(600);
    let color_range = ColorRange::Limited;
    StreamParams {
        codec,
        quality: QUALITY,
        gop,
        width,
        height,
        fps: FPS,
        color_range,
        bitrate: None,
        preset: Preset::P1,
        gpu_id: 0,
        stats_stride,
    }
}

fn run(stream: &mut VideoStream, clip: &[Arc<Frame>]) {
    stream.force_key_frame();
    for (frame, index) in clip.iter().zip(0..) {
        black_box(stream.encode(frame, index).unwrap());
    }
}

fn row(what: &str, milliseconds: f64, reference: f64) {
    println!("{what:<60}{milliseconds:8.3} ms  {:6.3}x", milliseconds / reference);
}

/// CPU milliseconds a frame of each piece of work, least of the rounds.
fn least<const N: usize>(mut works: [&mut dyn FnMut(); N]) -> [f64; N] {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let mut best = [f64::INFINITY; N];
    for _ in 0..ROUNDS {
        for (work, best) in works.iter_mut().zip(&mut best) {
            let start = now();
            work();
            *best = best.min((now() - start).as_secs_f64() * 1000.0 / FRAMES as f64);
        }
    }
    best
}

fn clip() -> Vec<Arc<Frame>> {
    let clock: Arc<dyn Clock> = Arc::new(SimulatedClock::new(Stamp::default()));
    let config = Camera { fps: FPS, realtime: false, ..Camera::new(CameraKind::Synthetic, W as u32, H as u32) };
    let mut camera = camera::open("front", &config, &clock, Rank(0)).unwrap();
    let budget = Budget::new(usize::MAX, FRAMES);
    let mut clip = Vec::new();
    for _ in 0..FRAMES {
        let picture = camera.next(Duration::from_secs(1)).unwrap();
        let data = picture.data.to_vec();
        let credit = budget.acquire(data.len());
        let (sequence, captured) = (picture.sequence, picture.captured);
        let (width, height) = (W as u32, H as u32);
        let format = PixelFormat::Mjpg;
        clip.push(Arc::new(Frame {
            camera: 0,
            sequence,
            captured,
            arrived: captured,
            format,
            width,
            height,
            view: View::default(),
            data: data.into(),
            coded: None,
            credit,
        }));
    }
    clip
}

/// The least that any program must do: turbojpeg, and chroma averaged to 4:2:0.
struct BareDecoder {
    turbo: Decompressor,
    planes: Vec<u8>,
    chroma: Vec<u8>,
}

impl BareDecoder {
    fn new() -> BareDecoder {
        BareDecoder { turbo: Decompressor::new().unwrap(), planes: vec![0; W * H * 2], chroma: vec![0; W * H / 2] }
    }

    fn planes(&mut self, jpeg: &[u8]) {
        let subsamp = Subsamp::Sub2x1;
        let image = YuvImage { pixels: &mut self.planes[..], width: W, align: 1, height: H, subsamp };
        self.turbo.decompress_to_yuv(jpeg, image).unwrap();
    }

    fn i420(&mut self, jpeg: &[u8]) -> (&[u8], &[u8], &[u8]) {
        self.planes(jpeg);
        let (y, chroma) = self.planes.split_at(W * H);
        for (two_rows, average) in chroma.chunks_exact(W).zip(self.chroma.chunks_exact_mut(W / 2)) {
            let (above, below) = two_rows.split_at(W / 2);
            for ((average, a), b) in average.iter_mut().zip(above).zip(below) {
                *average = ((u16::from(*a) + u16::from(*b) + 1) >> 1) as u8;
            }
        }
        let (u, v) = self.chroma.split_at(W * H / 4);
        (y, u, v)
    }
}

fn bare_encoder() -> Encoder {
    let config = EncoderConfig::new()
        .complexity(Complexity::Low)
        .rate_control_mode(RateControlMode::Bufferbased)
        .qp(QpRange::new(QUALITY as u8, QUALITY as u8))
        .bitrate(BitRate::from_bps(10_000_000))
        .max_frame_rate(FrameRate::from_hz(FPS as f32))
        .skip_frames(false)
        .background_detection(false)
        .adaptive_quantization(false)
        .scene_change_detect(false)
        .intra_frame_period(IntraFramePeriod::auto())
        .sps_pps_strategy(SpsPpsStrategy::ConstantId)
        .num_threads(1)
        .vui(VuiConfig::bt601());
    Encoder::with_api_config(OpenH264API::from_source(), config).unwrap()
}
