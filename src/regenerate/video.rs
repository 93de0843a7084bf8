//! What ffprobe says of a video file, and what its times must be.

use super::FileError;
use crate::config::schema::ColorRange;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

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
