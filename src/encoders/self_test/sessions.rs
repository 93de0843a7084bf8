//! How many sessions a GPU holds at once, and what it says to the one that is too many. Drivers limit them, across all
//! programs; the limit is nowhere to be read.

use crate::codec::backend::{self, Device};
use crate::codec::jpeg;
use crate::codec::yuv::I420;
use crate::codec::{Sample, SampleFormat};
use crate::config::schema::{Codec, ColorRange};
use crate::encoders::decode::{self, Verdict};
use crate::encoders::trial::{Milliseconds, Pictures, SIZE, Trial};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Pictures that every session encodes over and over.
const LOOP: u32 = 8;

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sessions {
    pub codec: Codec,
    pub device: Device,
    pub gpu_id: u32,
    /// No more than this many are opened, though more might be had.
    pub at_most: u32,
    /// Pictures that each encodes while all are open.
    pub pictures: u32,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionFigures {
    /// Sessions that were open at the same time.
    pub opened: u32,
    /// What was said to the next one; nothing if [`Sessions::at_most`] were opened.
    pub refusal: Option<String>,
    /// Pictures a second of all sessions together.
    pub fps: f64,
    /// Wall time of encoding one picture, beside the others.
    pub encode_ms: Milliseconds,
    /// Whether the right pictures came out of a decoder, for every session.
    pub decoded: Verdict,
}

/// What a session made.
struct Stream {
    times: Vec<Duration>,
    format: Arc<SampleFormat>,
    samples: Vec<Sample>,
}

/// What a session's thread says.
enum Word {
    Opened,
    Refused(String),
    Done(Stream),
    Failed(String),
}

impl Sessions {
    /// Opens one session after the other, each on a thread of its own; then all encode at once.
    pub fn run(&self) -> Result<SessionFigures, String> {
        let pictures = Arc::new(planes()?);
        let (say, hear) = channel();
        let (mut starts, mut refusal) = (Vec::new(), None);
        while starts.len() < self.at_most as usize {
            let (start, started) = channel();
            let (sessions, pictures, say) = (*self, pictures.clone(), say.clone());
            std::thread::spawn(move || {
                sessions.session(&pictures, started, |word| {
                    // Nobody listens when the test is given up.
                    let _ = say.send(word);
                })
            });
            match hear.recv() {
                Ok(Word::Opened) => starts.push(start),
                Ok(Word::Refused(words)) => {
                    refusal = Some(words);
                    break;
                }
                _ => return Err("a session ended before it was open".into()),
            }
        }
        drop(say);
        let (begin, opened) = (Instant::now(), starts.len() as u32);
        for start in starts {
            // One that is gone says why, or is missing below.
            let _ = start.send(());
        }
        let mut streams = Vec::new();
        for word in hear {
            match word {
                Word::Done(stream) => streams.push(stream),
                Word::Failed(words) => return Err(format!("one of {opened} sessions failed: {words}")),
                Word::Opened | Word::Refused(_) => {}
            }
        }
        if streams.len() != opened as usize {
            return Err(format!("expected {opened} streams of as many sessions, found {}", streams.len()));
        }
        let elapsed = begin.elapsed().as_secs_f64();
        let times: Vec<Duration> = streams.iter().flat_map(|stream| stream.times.iter().copied()).collect();
        let expected: Vec<u32> = (0..LOOP).cycle().take(self.pictures as usize).collect();
        let check = |stream: &Stream| decode::check_numbers(&stream.format, &stream.samples, SIZE, &expected);
        let verdicts: Vec<Verdict> = streams.iter().map(check).collect();
        let decoded = verdicts.iter().find(|verdict| !verdict.is_exact()).or(verdicts.first()).cloned();
        let decoded = decoded.unwrap_or_else(|| Verdict::NotChecked { why: "no session was opened".into() });
        let fps = times.len() as f64 / elapsed;
        Ok(SessionFigures { opened, refusal, fps, encode_ms: Milliseconds::of(&times), decoded })
    }

    /// One session: open, wait until all are, encode.
    fn session(&self, pictures: &[I420], started: Receiver<()>, say: impl Fn(Word)) {
        let Sessions { codec, device, gpu_id, .. } = *self;
        let trial = Trial::new(codec, device, gpu_id);
        let mut encoder = match backend::open_pictures(&trial.params(), device) {
            Ok(encoder) => encoder,
            Err(error) => return say(Word::Refused(error.to_string())),
        };
        say(Word::Opened);
        // The sender goes without a word when the test is given up.
        if started.recv().is_err() {
            return;
        }
        let gop = u64::from(trial.params().gop);
        let mut stream = Stream { times: Vec::new(), format: encoder.format().clone(), samples: Vec::new() };
        for (index, picture) in (0..u64::from(self.pictures)).zip(pictures.iter().cycle()) {
            let start = Instant::now();
            match encoder.encode(picture, index, index % gop == 0) {
                Ok(sample) => stream.samples.push(sample),
                Err(error) => return say(Word::Failed(error.to_string())),
            }
            stream.times.push(start.elapsed());
        }
        say(Word::Done(stream));
    }
}

/// Moving pictures, decoded beforehand: here only the encoders are to work.
fn planes() -> Result<Vec<I420>, String> {
    let mut source = Pictures::open(SIZE.0, SIZE.1)?;
    let mut decoder = jpeg::Decoder::new().map_err(|error| error.to_string())?;
    let mut decode = |_| {
        let mut picture = I420::grey(SIZE.0, SIZE.1, ColorRange::Limited);
        decoder.decode(&source.next_frame()?.data, &mut picture).map_err(|error| error.to_string())?;
        Ok(picture)
    };
    (0..LOOP).map(&mut decode).collect()
}
