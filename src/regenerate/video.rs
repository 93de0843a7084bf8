//! What a video file holds: codec, samples, times. Our own reader of mp4 indexes for MJPEG and for what we wrote
//! ourselves; everything else is asked of ffprobe.

use super::FileError;
use crate::config::schema::ColorRange;
use serde_json::Value;
use shiguredo_mp4::TrackKind;
use shiguredo_mp4::boxes::SampleEntry;
use shiguredo_mp4::demux::Mp4FileDemuxer;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// One frame's bytes in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleSpan {
    pub offset: u64,
    pub length: usize,
    pub sync: bool,
}

/// The index of an mp4 file's one video track.
#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    /// `h264`, `hevc`, `av1`, `mjpeg`, or `other`.
    pub codec: &'static str,
    /// In decoding order.
    pub samples: Vec<SampleSpan>,
    /// When each frame is shown, in seconds, in the order of showing.
    pub times_s: Vec<f64>,
}

/// Largest index that is read (hours of video have some 10 MB), and largest sample.
const LARGEST: u64 = 256 << 20;

/// Reads the index of an mp4 file.
pub fn index(path: &Path) -> Result<Index, FileError> {
    let file = File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => FileError::Missing,
        _ => FileError::io("open")(error),
    })?;
    let end = file.metadata().map_err(FileError::io("read"))?.len();
    let damaged = |words: &str| FileError::Unreadable(words.into());
    let mut demuxer = Mp4FileDemuxer::new();
    while let Some(wanted) = demuxer.required_input() {
        let available = end.saturating_sub(wanted.position);
        let length = wanted.size.map_or(available, |size| available.min(size as u64));
        if length > LARGEST {
            return Err(damaged("an mp4 with an index of that size cannot be read"));
        }
        let mut data = vec![0; length as usize];
        file.read_exact_at(&mut data, wanted.position).map_err(FileError::io("read"))?;
        demuxer.handle_input(wanted.to_input(&data));
    }
    let (mut samples, mut times_s, mut codec) = (Vec::new(), Vec::new(), None);
    loop {
        let sample = match demuxer.next_sample() {
            Ok(Some(sample)) => sample,
            Ok(None) => break,
            Err(error) => return Err(damaged(&format!("an mp4 that cannot be read ({error})"))),
        };
        if sample.track.kind != TrackKind::Video {
            continue;
        }
        if let Some(entry) = sample.sample_entry {
            let name = codec_of(entry);
            if *codec.get_or_insert(name) != name {
                return Err(damaged("two codecs in one video track"));
            }
        }
        let (offset, length) = (sample.data_offset, sample.data_size);
        if length as u64 > LARGEST || offset.checked_add(length as u64).is_none_or(|last| last > end) {
            return Err(FileError::CutOff { frame: samples.len() as u64 });
        }
        let shown = i128::from(sample.timestamp) + i128::from(sample.composition_time_offset.unwrap_or_default());
        times_s.push(shown as f64 / f64::from(sample.track.timescale.get()));
        samples.push(SampleSpan { offset, length, sync: sample.keyframe });
    }
    let mut codec = codec.ok_or_else(|| damaged("no video frame in the file"))?;
    if codec == "jpeg?" {
        // JPEG and MPEG-4 share a sample entry: the first frame's start mark tells.
        let mut mark = [0; 2];
        let first = samples.first().map_or(0, |sample| sample.offset);
        file.read_exact_at(&mut mark, first).map_err(FileError::io("read"))?;
        codec = if mark == [0xff, 0xd8] { "mjpeg" } else { "other" };
    }
    // Frames that others are predicted from come before their turn, which shifts the whole track.
    times_s.sort_by(f64::total_cmp);
    let start = times_s.first().copied().unwrap_or_default();
    times_s.iter_mut().for_each(|time| *time -= start);
    Ok(Index { codec, samples, times_s })
}

fn codec_of(entry: &SampleEntry) -> &'static str {
    match entry {
        SampleEntry::Avc1(_) => "h264",
        SampleEntry::Hev1(_) | SampleEntry::Hvc1(_) => "hevc",
        SampleEntry::Av01(_) => "av1",
        SampleEntry::Unknown(entry) if matches!(entry.box_type.as_bytes(), b"mp4v" | b"jpeg" | b"mjpa") => "jpeg?",
        _ => "other",
    }
}

/// What FFmpeg says of a file's video.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// FFmpeg's name.
    pub codec: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// As it is declared; limited where nothing is.
    pub color_range: ColorRange,
    /// The matrix is declared, and is another than BT.601.
    pub foreign_matrix: Option<String>,
    /// When each frame is shown, in seconds, in the order of showing.
    pub times_s: Vec<f64>,
}

/// Asks ffprobe, which reads every packet of the file and decodes none.
pub fn probe(path: &Path) -> Result<Probe, FileError> {
    let entries = "stream=codec_name,width,height,pix_fmt,color_range,color_space:packet=pts_time,flags";
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-of", "json", "-select_streams", "v:0", "-show_entries", entries])
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .map_err(FileError::io("run ffprobe on"))?;
    let words = String::from_utf8_lossy(&output.stderr);
    let said = || FileError::Unreadable(words.lines().last().unwrap_or("ffprobe failed").to_string());
    if !output.status.success() {
        return Err(said());
    }
    let json: Value = serde_json::from_slice(&output.stdout).map_err(|_| said())?;
    let stream = &json["streams"][0];
    let text = |name: &str| stream[name].as_str().filter(|text| *text != "unknown").map(str::to_string);
    let side = |name: &str| stream[name].as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
    let (Some(codec), Some(width), Some(height)) = (text("codec_name"), side("width"), side("height")) else {
        return Err(FileError::Unreadable("no video in the file".into()));
    };
    let full = text("color_range").as_deref() == Some("pc") || text("pix_fmt").is_some_and(|f| f.starts_with("yuvj"));
    let bt601 = ["smpte170m", "bt470bg", "fcc", "reserved", "gbr"];
    let mut times_s: Vec<f64> = Vec::new();
    for packet in json["packets"].as_array().into_iter().flatten() {
        // An edit list leaves out what is marked so.
        if packet["flags"].as_str().is_some_and(|flags| flags.contains('D')) {
            continue;
        }
        let time = packet["pts_time"].as_str().and_then(|time| time.parse().ok());
        times_s.push(time.ok_or_else(|| FileError::Unreadable("a frame without a time".into()))?);
    }
    times_s.sort_by(f64::total_cmp);
    let color_range = if full { ColorRange::Full } else { ColorRange::Limited };
    let foreign_matrix = text("color_space").filter(|matrix| !bt601.contains(&matrix.as_str()));
    Ok(Probe { codec, width, height, color_range, foreign_matrix, times_s })
}

/// True where both programs can be started.
pub fn has_ffmpeg() -> bool {
    ["ffmpeg", "ffprobe"].iter().all(|program| {
        let mut command = Command::new(program);
        command.arg("-version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}

/// LeRobot finds a frame by its time, within this.
const TOLERANCE_S: f64 = 1e-4;

/// Refuses times other than k / fps, which rows are bound to.
pub fn require_grid(times_s: &[f64], fps: u32) -> Result<(), FileError> {
    for (k, time) in times_s.iter().enumerate() {
        let expected = k as f64 / f64::from(fps);
        if (time - expected).abs() > TOLERANCE_S {
            return Err(FileError::Time { frame: k as u64, expected, found: *time });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_must_be_those_of_the_rows() {
        let grid: Vec<f64> = (0..100).map(|k| f64::from(k) / 30.0 + 5e-5).collect();
        assert!(require_grid(&grid, 30).is_ok());
        let words = require_grid(&grid, 25).unwrap_err().to_string();
        assert!(words.contains("frame 1") && words.contains("0.0400"), "{words}");
    }
}
