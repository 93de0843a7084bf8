//! HEVC and AV1 by a child `ffmpeg`, one process and one key frame for each picture.
//!
//! Slow, and no picture refers to another: enough to see real bitstreams of small pictures through.

use crate::coder::{Coded, Coder};
use crate::h264::{annex_b, with_start_code};
use crate::picture::Picture;
use crate::settings::{Codec, Settings};
use std::io::Write;
use std::process::{Command, Stdio};

/// HEVC's types of NAL unit: VPS, SPS, PPS, and what x265 says of itself.
const PARAMETER_SETS: std::ops::RangeInclusive<u8> = 32..=34;
const PREFIX_SEI: u8 = 39;
/// AV1's types of OBU.
const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;

/// What starts ffmpeg for each picture.
pub struct Encoder {
    codec: Codec,
    arguments: Vec<String>,
    headers: Vec<u8>,
}

impl Encoder {
    /// Encodes a grey picture, whose parameter sets are those of the session.
    pub fn open(settings: &Settings) -> Result<Encoder, String> {
        let mut encoder = Encoder { codec: settings.codec, arguments: arguments(settings), headers: Vec::new() };
        let (headers, _) = encoder.run(&Picture::grey(settings.width, settings.height))?;
        encoder.headers = headers;
        Ok(encoder)
    }

    /// A picture's parameter sets, and the rest of it.
    fn run(&self, picture: &Picture) -> Result<(Vec<u8>, Vec<u8>), String> {
        let mut child = Command::new("ffmpeg")
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|error| format!("cannot start ffmpeg: {error}"))?;
        // ffmpeg reads its one picture before it writes anything, so that neither waits for the other.
        let sent = child.stdin.take().map_or(Ok(()), |mut input| input.write_all(&picture.data));
        let output = child.wait_with_output().map_err(|error| format!("ffmpeg: {error}"))?;
        sent.map_err(|error| format!("ffmpeg took no picture: {error}"))?;
        if !output.status.success() {
            return Err(format!("ffmpeg: {}", output.status));
        }
        let (headers, rest) = match self.codec {
            Codec::Av1 => split_av1(&output.stdout)?,
            _ => split_hevc(&output.stdout),
        };
        if headers.is_empty() || rest.is_empty() {
            return Err("ffmpeg gave no key frame".into());
        }
        Ok((headers, rest))
    }
}

impl Coder for Encoder {
    fn encode(&mut self, picture: &Picture, _key: bool, headers: bool) -> Result<Coded, String> {
        let (own, rest) = self.run(picture)?;
        if own != self.headers {
            return Err("ffmpeg gave other parameter sets than before".into());
        }
        // A temporal unit of AV1 begins with a delimiter, an OBU of no bytes.
        let mut data = if self.codec == Codec::Av1 { vec![TEMPORAL_DELIMITER << 3 | 2, 0] } else { Vec::new() };
        if headers {
            data.extend_from_slice(&own);
        }
        data.extend_from_slice(&rest);
        Ok(Coded { data, key: true })
    }

    fn is_intra_only(&self) -> bool {
        true
    }

    fn headers(&self) -> &[u8] {
        &self.headers
    }
}

fn arguments(settings: &Settings) -> Vec<String> {
    let size = format!("{}x{}", settings.width, settings.height);
    let rate = format!("{}/{}", settings.fps.0, settings.fps.1);
    let mut arguments =
        vec!["-v", "error", "-nostdin", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", &size, "-r", &rate];
    arguments.extend(["-i", "pipe:0", "-frames:v", "1"]);
    let (range, primaries, transfer, matrix);
    if let Some(vui) = &settings.vui {
        range = if vui.full_range { "pc" } else { "tv" };
        (primaries, transfer, matrix) = (vui.primaries.to_string(), vui.transfer.to_string(), vui.matrix.to_string());
        arguments.extend(["-color_range", range, "-color_primaries", &primaries, "-color_trc", &transfer]);
        arguments.extend(["-colorspace", &matrix]);
    }
    let quality = settings.quality.round().max(1.0).to_string();
    let (encoder, format) = match settings.codec {
        Codec::Av1 => ("libaom-av1 -cpu-used 8 -usage realtime -b:v 0", "obu"),
        _ => ("libx265 -preset ultrafast -x265-params log-level=error:info=0:pools=1", "hevc"),
    };
    arguments.push("-c:v");
    arguments.extend(encoder.split(' '));
    arguments.extend(["-crf", &quality, "-threads", "1", "-f", format, "pipe:1"]);
    arguments.into_iter().map(String::from).collect()
}

fn split_hevc(stream: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let kind = |nal: &[u8]| nal[0] >> 1 & 0x3f;
    let nals = || annex_b(stream).filter(|nal| kind(nal) != PREFIX_SEI);
    let part = |headers: bool| nals().filter(move |nal| PARAMETER_SETS.contains(&kind(nal)) == headers);
    (part(true).flat_map(with_start_code).collect(), part(false).flat_map(with_start_code).collect())
}

fn split_av1(stream: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
    let (mut headers, mut rest) = (Vec::new(), Vec::new());
    let mut tail = stream;
    while let Some(&first) = tail.first() {
        // Type in four bits, then flags for an extension byte and for a length, which ffmpeg always writes.
        let (kind, extension, has_length) = (first >> 3 & 0xf, first & 4 != 0, first & 2 != 0);
        let at = 1 + usize::from(extension);
        let (length, bytes) = tail.get(at..).and_then(leb128).ok_or("an OBU without a length")?;
        let obu = tail.get(..at + bytes + length).filter(|_| has_length).ok_or("an OBU that is cut off")?;
        match kind {
            TEMPORAL_DELIMITER => {}
            SEQUENCE_HEADER => headers.extend_from_slice(obu),
            _ => rest.extend_from_slice(obu),
        }
        tail = &tail[obu.len()..];
    }
    Ok((headers, rest))
}

/// A number of seven bits a byte, lowest first, and how many bytes it took.
fn leb128(bytes: &[u8]) -> Option<(usize, usize)> {
    let length = bytes.iter().take(8).position(|byte| byte & 0x80 == 0)? + 1;
    let value = bytes[..length].iter().rev().fold(0, |value, byte| value << 7 | usize::from(byte & 0x7f));
    Some((value, length))
}
