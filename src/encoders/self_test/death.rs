//! A GPU session that dies in the middle of a video, as drivers let them, and how long it takes until the CPU has caught
//! up.

use crate::codec::backend::{Device, StreamEncoder};
use crate::codec::stream::Encoded;
use crate::codec::{CodecError, SampleFormat};
use crate::frame::Frame;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// How a session dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Death {
    /// It answers with an error.
    Error,
    /// It never answers.
    Hang,
}

/// Kills the first GPU session that gets to a frame, and sees when the CPU gets there.
#[derive(Debug)]
pub struct Killer {
    death: Death,
    frame: u64,
    died: OnceLock<Instant>,
    caught_up: OnceLock<Instant>,
}

impl Killer {
    /// One that waits for frame `frame` of a video.
    pub fn new(death: Death, frame: u64) -> Killer {
        Killer { death, frame, died: OnceLock::new(), caught_up: OnceLock::new() }
    }

    /// The encoder, with the killer between it and the pool.
    pub fn around(self: Arc<Killer>, inner: Box<dyn StreamEncoder>, device: Device) -> Box<dyn StreamEncoder> {
        Box::new(Mortal { inner, device, killer: self })
    }

    /// From the death to the same frame's being encoded by the CPU.
    pub fn switch(&self) -> Option<Duration> {
        Some(self.caught_up.get()?.duration_since(*self.died.get()?))
    }
}

struct Mortal {
    inner: Box<dyn StreamEncoder>,
    device: Device,
    killer: Arc<Killer>,
}

impl StreamEncoder for Mortal {
    fn encode(&mut self, frame: &Arc<Frame>, index: u64) -> Result<Encoded, CodecError> {
        let killer = &self.killer;
        if self.device == Device::Gpu && index == killer.frame && killer.died.set(Instant::now()).is_ok() {
            match killer.death {
                Death::Error => {
                    let words = "killed by the self-test".into();
                    return Err(CodecError::Library { library: "the self-test", index, words });
                }
                // For ever: the thread is abandoned, and ends with the process.
                Death::Hang => loop {
                    std::thread::park();
                },
            }
        }
        let encoded = self.inner.encode(frame, index)?;
        if self.device == Device::Cpu && index == killer.frame && killer.died.get().is_some() {
            let _ = killer.caught_up.set(Instant::now());
        }
        Ok(encoded)
    }

    fn format(&self) -> &Arc<SampleFormat> {
        self.inner.format()
    }
}
