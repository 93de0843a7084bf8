//! H.264, H.265 and AV1 by NVENC, the hardware encoder of NVIDIA's GPUs.
//!
//! The driver's libraries are loaded when an encoder is first opened ([`driver`]), so that the program starts where there
//! are none. [`settings`] is what is asked for, `config` writes it into NVENC's structs, `opened` and `session` are a session
//! before and after it is told of them, and [`fault`] says what went wrong. Unsafe code is in `driver`, `config`, `opened`
//! and `session` alone.

mod config;
pub mod driver;
pub mod fault;
mod opened;
mod probe;
mod session;
pub mod settings;

pub use fault::{Fault, Reason};
pub use probe::probe;

use super::backend::PictureEncoder;
use super::stream::StreamParams;
use super::yuv::I420;
use super::{CodecError, Sample, SampleFormat, bitstream};
use crate::config::schema::Codec;
use fault::Stage;
use opened::Opened;
use session::Session;
use settings::Settings;
use std::sync::Arc;

/// An open encoder: one session on one GPU, which stays on the thread that opened it.
pub struct Encoder {
    session: Session,
    codec: Codec,
    format: Arc<SampleFormat>,
}

impl Encoder {
    /// Opens an encoder and encodes one grey picture: what opens has encoded.
    pub fn open(params: &StreamParams) -> Result<Encoder, CodecError> {
        let settings = Settings::new(params)?;
        Encoder::start(params, &settings).map_err(|fault| {
            if fault.reason == Reason::Unsupported {
                tracing::warn!(gpu = params.gpu_id, ?settings, "{fault}");
            }
            fault.into()
        })
    }

    fn start(params: &StreamParams, settings: &Settings) -> Result<Encoder, Fault> {
        let mut session = Opened::open(params.gpu_id)?.start(settings)?;
        let grey = I420::grey(params.width, params.height, params.color_range);
        let trial = session.encode(&grey, true, Stage::Open)?;
        let format = match params.codec {
            Codec::Hevc => bitstream::hevc_format(&trial.bits),
            Codec::Av1 => bitstream::av1_format(&trial.bits),
            _ => bitstream::h264_format(&trial.bits),
        };
        let missing = || Fault::new("the trial picture", Reason::Error, "the encoder gave no parameter sets with it");
        Ok(Encoder { session, codec: params.codec, format: Arc::new(format.ok_or_else(missing)?) })
    }
}

impl PictureEncoder for Encoder {
    /// The parameter sets, equal to those in front of every key frame.
    fn format(&self) -> &Arc<SampleFormat> {
        &self.format
    }

    fn encode(&mut self, picture: &I420, index: u64, key: bool) -> Result<Sample, CodecError> {
        let coded = self.session.encode(picture, key, Stage::Encode).map_err(|fault| fault.at(index))?;
        if key && !coded.idr {
            let words = "a key frame was asked for, and another frame came";
            return Err(Fault::new("nvEncEncodePicture", Reason::Error, words).at(index).into());
        }
        let data = match self.codec {
            Codec::Av1 => bitstream::av1_sample(&coded.bits),
            _ => bitstream::length_prefixed(&coded.bits),
        };
        Ok(Sample { data: data.into(), sync: coded.idr })
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").field("codec", &self.codec).field("format", &self.format).finish_non_exhaustive()
    }
}
