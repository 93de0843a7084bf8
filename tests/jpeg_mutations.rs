//! Ten thousand damaged JPEGs, always the same ones, through decoding and through whole runs: each is a picture or a named
//! error, the next good picture is as it should be, and what a run saved is a valid data set.

mod corpus;
mod media;
mod run_support;

use corpus::{HEIGHT, Mutations, WIDTH};
use recorder::camera::{self, Camera, CameraError, Mode, Picture};
use recorder::codec::backend::Device;
use recorder::codec::jpeg::{self, Decoder};
use recorder::codec::stream::{StreamParams, VideoStream};
use recorder::codec::yuv::I420;
use recorder::config::schema::{Codec, ColorRange};
use recorder::devices::Devices;
use recorder::frame::{DropReason, Frame, PixelFormat};
use run_support::{SMALL, config, simulated, start_on, summaries};
use std::sync::Arc;
use std::time::Duration;

const MUTATIONS: usize = 10_000;

fn mjpg(data: Vec<u8>) -> Arc<Frame> {
    media::frame(data, PixelFormat::Mjpg, WIDTH, HEIGHT)
}

fn grey() -> I420 {
    I420::grey(WIDTH, HEIGHT, ColorRange::Limited)
}

#[test]
fn each_mutation_is_a_picture_or_a_named_error() {
    let goods: Vec<(Vec<u8>, I420)> = corpus::good()
        .map(|(_, jpeg)| {
            let mut picture = grey();
            Decoder::new().unwrap().decode(&jpeg, &mut picture).unwrap();
            (jpeg, picture)
        })
        .collect();
    let mut decoder = Decoder::new().unwrap();
    let (mut decoded, mut refused) = (0, 0);
    for (round, jpeg) in Mutations::new(0x5eed_5eed_5eed_5eed).take(MUTATIONS).enumerate() {
        let parsed = jpeg::parse(&jpeg);
        let mut picture = grey();
        match decoder.decode(&jpeg, &mut picture) {
            Ok(()) => {
                let structure = parsed.unwrap_or_else(|error| panic!("round {round}: {error}"));
                assert_eq!((structure.width, structure.height), (WIDTH, HEIGHT), "round {round}");
                assert!(structure.end <= jpeg.len());
                decoded += 1;
            }
            Err(error) => {
                let other_size = parsed.is_ok_and(|found| (found.width, found.height) != (WIDTH, HEIGHT));
                let reason = if other_size { DropReason::WrongSize } else { DropReason::Corrupt };
                assert_eq!(error.reason(), reason, "round {round}: {error}");
                assert!(picture == grey(), "round {round}: the picture before is kept");
                refused += 1;
            }
        }
        let (good, expected) = &goods[round % goods.len()];
        decoder.decode(good, &mut picture).unwrap();
        assert!(picture == *expected, "round {round}: nothing of the damaged picture is left");
    }
    assert!(decoded > 500 && refused > 5000, "{decoded} decoded, {refused} refused: the mutations reach both");
}

/// Each codec gets every mutation and, in between, a good picture.
#[test]
fn each_mutation_is_encoded_or_replaced_by_the_picture_before() {
    let good = corpus::read("422");
    let params = |codec, stats_stride| StreamParams { stats_stride, ..media::params(codec, WIDTH, HEIGHT) };
    let open = |codec, stride| VideoStream::open(params(codec, stride), Device::Cpu).unwrap();
    let mut h264 = open(Codec::H264, 7);
    let (mut copy, mut sampled) = (open(Codec::Copy, u64::MAX), open(Codec::Copy, 1));
    let (mut decoder, mut before) = (Decoder::new().unwrap(), good.clone());
    // Frame 0 is sampled by all.
    for stream in [&mut h264, &mut copy, &mut sampled] {
        assert_eq!(stream.encode(&mjpg(good.clone()), 0).unwrap().substituted, None);
    }
    for (index, jpeg) in (1..).zip(Mutations::new(0xbad_cab1e).take(MUTATIONS)) {
        let frame = mjpg(jpeg.clone());
        let whole = decoder.decode(&jpeg, &mut grey()).err().map(|error| error.reason());
        let encoded = h264.encode(&frame, index).unwrap();
        assert_eq!(encoded.substituted, whole, "frame {index}");
        assert!(!encoded.sample.data.is_empty());

        // What is not sampled may be damaged within its data, and nowhere else.
        let structure = jpeg::parse_sized(&jpeg, WIDTH, HEIGHT);
        let copied = copy.encode(&frame, index).unwrap();
        match (structure, copied.substituted) {
            (Err(error), found) => assert_eq!(found, Some(error.reason()), "frame {index}"),
            (Ok(structure), None) => before = jpeg[..structure.end].to_vec(),
            (Ok(_), found) => assert_eq!(found, whole, "frame {index}"),
        }
        assert!(copied.sample.data == before, "frame {index}");

        let checked = sampled.encode(&frame, index).unwrap();
        assert_eq!(checked.substituted, whole, "frame {index}");
        decoder.decode(&checked.sample.data, &mut grey()).unwrap_or_else(|error| panic!("frame {index}: {error}"));

        if index.is_multiple_of(10) {
            for stream in [&mut h264, &mut copy, &mut sampled] {
                assert_eq!(stream.encode(&mjpg(good.clone()), index).unwrap().substituted, None, "after frame {index}");
            }
            before = good.clone();
        }
    }
}

/// Every picture of the corpus, whole, and cut off at and just behind each of its markers.
fn whole_and_cut() -> Vec<Vec<u8>> {
    let mut pictures = Vec::new();
    for (name, _) in corpus::FILES {
        let jpeg = corpus::read(name);
        let cuts = corpus::markers(&jpeg).into_iter().flat_map(|at| [at, at + 1, at + 2]);
        pictures.extend(cuts.map(|cut| jpeg[..cut].to_vec()));
        pictures.push(jpeg);
    }
    pictures
}

/// A camera whose cable is bad.
struct Damaged<P> {
    inner: Box<dyn Camera>,
    pictures: P,
    current: Vec<u8>,
}

impl<P: Iterator<Item = Vec<u8>> + Send> Camera for Damaged<P> {
    fn mode(&self) -> &Mode {
        self.inner.mode()
    }

    fn next(&mut self, timeout: Duration) -> Result<Picture<'_>, CameraError> {
        let Picture { sequence, captured, .. } = self.inner.next(timeout)?;
        self.current = self.pictures.next().unwrap_or_default();
        Ok(Picture { sequence, captured, data: &self.current })
    }
}

/// Two cameras and two codecs share the mutations; each gets all the rest.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_damaged_pictures_ends_with_a_valid_data_set() {
    let cut = whole_and_cut();
    let rows = MUTATIONS / 4 + cut.len();
    let clip = corpus::path("422").display().to_string();
    let (seconds, width, height) = ((rows as f64 / 30.0).to_string(), WIDTH.to_string(), HEIGHT.to_string());
    let mut overrides = vec![("dataset.episode_time_s", seconds.as_str()), ("dataset.num_episodes", "1")];
    for camera in ["front", "wrist"] {
        let keys = [("type", "file"), ("index_or_path", &clip), ("width", &width), ("height", &height)];
        let keys = keys.map(|(key, value)| (&*format!("robot.cameras.{camera}.{key}").leak(), value));
        overrides.extend(keys);
    }
    for (codec, salt) in [("h264", 1), ("copy", 2)] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("set");
        let config = config(SMALL, &root, &[&overrides[..], &[("dataset.encoder.codec", codec)]].concat());
        let cut = cut.clone();
        let devices = Devices {
            camera: Arc::new(move |name, config, clock, rank| {
                let salt = if name == "front" { salt } else { salt + 10 };
                let pictures = cut.clone().into_iter().chain(Mutations::new(0xfeed_f00d * salt));
                Ok(Box::new(Damaged { inner: camera::open(name, config, clock, rank)?, pictures, current: vec![] }))
            }),
            ..Devices::default()
        };
        let (running, _) = start_on(&config, simulated(), devices).await;
        running.wait().await.unwrap();
        let [summary] = &summaries(&root)[..] else { panic!("one episode") };
        assert_eq!(summary.length, rows as u64, "{codec}");
        for (name, camera) in &summary.cameras {
            let counters = &camera.counters;
            assert!(
                counters.dropped.keys().all(|reason| matches!(reason, DropReason::Corrupt | DropReason::WrongSize))
            );
            let dropped: u64 = counters.dropped.values().sum();
            assert!(dropped > rows as u64 / 2 && counters.written > 100, "{codec}, {name}: {counters:?}");
            assert!(counters.dropped[&DropReason::WrongSize] > 10, "{codec}, {name}: {counters:?}");
        }
        run_support::check(&root);
    }
}
