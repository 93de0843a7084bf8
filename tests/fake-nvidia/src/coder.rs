//! What encodes the pictures of a session.

use crate::child;
use crate::h264;
use crate::picture::Picture;
use crate::settings::{Codec, Settings};

/// An encoder for one session: a picture in, a picture out.
pub trait Coder: Send {
    /// Encodes a picture, as a key frame if `key`. `headers` puts the parameter sets in front of it.
    fn encode(&mut self, picture: &Picture, key: bool, headers: bool) -> Result<Coded, String>;

    /// Whether every picture is a key frame, asked for or not.
    fn is_intra_only(&self) -> bool;

    /// SPS and PPS (HEVC: and VPS) as Annex B, or AV1's sequence header.
    fn headers(&self) -> &[u8];
}

/// An encoded picture.
#[derive(Debug)]
pub struct Coded {
    pub data: Vec<u8>,
    /// Whether decoding can begin here.
    pub key: bool,
}

/// Opens the encoder that the settings ask for.
pub fn open(settings: &Settings) -> Result<Box<dyn Coder>, String> {
    Ok(match settings.codec {
        Codec::H264 => Box::new(h264::Encoder::open(settings)?),
        Codec::Hevc | Codec::Av1 => Box::new(child::Encoder::open(settings)?),
    })
}
