//! Whether what was encoded shows the right pictures: it is decoded, and the numbers that synthetic cameras burn in are
//! read. H.264 and MJPEG are decoded in this process; for H.265 and AV1 there is the `ffmpeg` program, where it is.

use crate::camera::synthetic::read_counter;
use crate::codec::bitstream::nal_units;
use crate::codec::yuv::I420;
use crate::codec::{Sample, SampleFormat, jpeg};
use crate::config::schema::ColorRange;
use openh264::decoder::Decoder;
use openh264::formats::YUVSource;
use serde::{Deserialize, Serialize};
use std::io::{ErrorKind, Read, Write};
use std::process::{Command, Stdio};

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every picture came out, in order, by this decoder.
    Exact { by: String },
    /// Not every picture, or one that is another: a failure.
    Wrong { by: String, what: String },
    /// There is no decoder for it here.
    NotChecked { why: String },
}

impl Verdict {
    /// All is as it should be.
    pub fn is_exact(&self) -> bool {
        matches!(self, Verdict::Exact { .. })
    }

    /// In a few words.
    pub fn describe(&self) -> String {
        match self {
            Verdict::Exact { by } => format!("frame-exact by {by}"),
            Verdict::Wrong { by, what } => format!("WRONG by {by}: {what}"),
            Verdict::NotChecked { why } => format!("not checked: {why}"),
        }
    }
}

/// Decodes the samples of a whole stream, and expects the pictures numbered 0, 1, 2, ….
pub fn check(format: &SampleFormat, samples: &[Sample], size: (u32, u32)) -> Verdict {
    let expected: Vec<u32> = (0..samples.len() as u32).collect();
    check_numbers(format, samples, size, &expected)
}

/// Decodes the samples of a whole stream, and expects the pictures with these numbers.
pub fn check_numbers(format: &SampleFormat, samples: &[Sample], size: (u32, u32), expected: &[u32]) -> Verdict {
    let by = match format {
        SampleFormat::H264 { .. } => "openh264",
        SampleFormat::Mjpeg => "libjpeg-turbo",
        SampleFormat::Hevc { .. } | SampleFormat::Av1 { .. } => "ffmpeg",
    };
    let size = (size.0 as usize, size.1 as usize);
    let numbers = match format {
        SampleFormat::H264 { .. } => h264(samples, size),
        SampleFormat::Mjpeg => mjpeg(samples, size),
        SampleFormat::Hevc { .. } => by_ffmpeg("hevc", samples.iter().flat_map(|s| annex_b(&s.data)).collect(), size),
        SampleFormat::Av1 { .. } => {
            by_ffmpeg("obu", samples.iter().flat_map(|s| temporal_unit(&s.data)).collect(), size)
        }
    };
    match numbers {
        Ok(Some(numbers)) => match compare(&numbers, expected) {
            None => Verdict::Exact { by: by.into() },
            Some(what) => Verdict::Wrong { by: by.into(), what },
        },
        Ok(None) => Verdict::NotChecked { why: "the ffmpeg program, which would decode it, is not here".into() },
        Err(what) => Verdict::Wrong { by: by.into(), what },
    }
}

/// The numbers in the pictures, in order, `None` for one that cannot be read; `Ok(None)` without a decoder.
type Numbers = Result<Option<Vec<Option<u32>>>, String>;

/// The first difference, in words.
fn compare(found: &[Option<u32>], expected: &[u32]) -> Option<String> {
    let name = |number: Option<u32>| number.map_or("an unreadable one".into(), |n| format!("number {n}"));
    let wrong = found.iter().zip(expected).position(|(found, expected)| *found != Some(*expected));
    match wrong {
        Some(i) => Some(format!("picture {i}: expected number {}, found {}", expected[i], name(found[i]))),
        None if found.len() != expected.len() => {
            Some(format!("expected {} pictures, found {}", expected.len(), found.len()))
        }
        None => None,
    }
}

fn h264(samples: &[Sample], size: (usize, usize)) -> Numbers {
    let mut decoder = Decoder::new().map_err(|error| error.to_string())?;
    let read = |picture: &dyn YUVSource| {
        let (stride, luma) = (picture.strides().0, picture.y());
        let rows: Vec<u8> =
            luma.chunks(stride).flat_map(|row| &row[..picture.dimensions().0.min(row.len())]).copied().collect();
        (picture.dimensions() == size).then(|| read_counter(&rows, size.0, size.1)).flatten()
    };
    let mut numbers = Vec::with_capacity(samples.len());
    for (i, sample) in samples.iter().enumerate() {
        let picture = decoder.decode(&annex_b(&sample.data)).map_err(|error| format!("sample {i}: {error}"))?;
        numbers.extend(picture.map(|picture| read(&picture)));
    }
    let rest = decoder.flush_remaining().map_err(|error| error.to_string())?;
    numbers.extend(rest.iter().map(|picture| read(picture)));
    Ok(Some(numbers))
}

fn mjpeg(samples: &[Sample], (width, height): (usize, usize)) -> Numbers {
    let mut decoder = jpeg::Decoder::new().map_err(|error| error.to_string())?;
    let mut picture = I420::grey(width as u32, height as u32, ColorRange::Full);
    let mut number = |(i, sample): (usize, &Sample)| {
        decoder.decode(&sample.data, &mut picture).map_err(|error| format!("sample {i}: {error}"))?;
        Ok(read_counter(picture.planes()[0], width, height))
    };
    samples.iter().enumerate().map(&mut number).collect::<Result<_, String>>().map(Some)
}

fn by_ffmpeg(format: &str, stream: Vec<u8>, (width, height): (usize, usize)) -> Numbers {
    let ffmpeg = Command::new("ffmpeg")
        .args(["-v", "error", "-f", format, "-i", "pipe:0"])
        .args(["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "pipe:1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut ffmpeg = match ffmpeg {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| format!("ffmpeg cannot be started: {error}"))?,
    };
    let (Some(mut input), Some(mut output)) = (ffmpeg.stdin.take(), ffmpeg.stdout.take()) else {
        return Err("ffmpeg has no pipes".into());
    };
    // It reads and writes at once. If it ends early, that shows in what it wrote.
    let feeding = std::thread::spawn(move || drop(input.write_all(&stream)));
    let (mut numbers, mut luma) = (Vec::new(), vec![0; width * height]);
    while output.read_exact(&mut luma).is_ok() {
        numbers.push(read_counter(&luma, width, height));
    }
    drop(output);
    let _ = feeding.join();
    let ended = ffmpeg.wait_with_output().map_err(|error| error.to_string())?;
    let complaint = String::from_utf8_lossy(&ended.stderr);
    match complaint.lines().next() {
        None if ended.status.success() => Ok(Some(numbers)),
        line => Err(format!("ffmpeg refuses it ({}): {}", ended.status, line.unwrap_or_default())),
    }
}

/// Start codes instead of lengths.
fn annex_b(sample: &[u8]) -> Vec<u8> {
    nal_units(sample).flat_map(|nal| [&[0, 0, 0, 1], nal].concat()).collect()
}

/// With the temporal delimiter in front that a stream outside of mp4 has.
fn temporal_unit(sample: &[u8]) -> Vec<u8> {
    [&[0x12, 0], sample].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_picture_that_is_another_is_found() {
        for (found, expected, what) in [
            (&[Some(0), Some(1)][..], &[0, 1][..], None),
            (&[], &[], None),
            (&[Some(0), Some(0)], &[0, 1], Some("picture 1: expected number 1, found number 0")),
            (&[Some(0), None], &[0, 1], Some("picture 1: expected number 1, found an unreadable one")),
            (&[Some(0)], &[0, 1], Some("expected 2 pictures, found 1")),
            (&[Some(0), Some(1)], &[0], Some("expected 1 pictures, found 2")),
        ] {
            assert_eq!(compare(found, expected).as_deref(), what);
        }
    }
}
