//! One video file against the episodes whose frames lie in it, from its index alone.

use super::TOLERANCE_S;
use super::info::Video;
use super::report::Report;
use super::rules;
use crate::dataset::{Mp4Index, checksums};
use std::path::Path;

/// LeRobot's time scale is this times the rate; merging keeps the first file's.
const UNITS_PER_FRAME: u64 = 512;
/// Beyond it LeRobot's float32 time stamps come near its tolerance.
const LONGEST_S: f64 = 1000.0;

/// Frames of an episode in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    pub episode: u64,
    pub length: u64,
    pub from_s: f64,
    pub to_s: f64,
}

impl Part {
    /// Its first frame in the file.
    pub fn first_frame(&self, fps: u32) -> u64 {
        (self.from_s * f64::from(fps)).round().max(0.0) as u64
    }
}

/// What is to be checked.
pub struct File<'a> {
    /// From the data set's root.
    pub path: &'a str,
    /// The camera's feature.
    pub key: &'a str,
    pub video: &'a Video,
    pub fps: u32,
    /// In the order of the episodes.
    pub parts: &'a [Part],
    /// Not all episodes are known: there may be frames of others.
    pub partial: bool,
}

/// What is known of a file that could be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// Where decoding starts on the time line, in seconds: below 0 where frames are reordered.
    pub decode_start_s: f64,
    /// Frames and their times are as they must be.
    pub sound: bool,
}

/// Checks a file; none when it cannot be read. What is wrong is said of its first episode that is concerned.
pub fn check(root: &Path, file: &File, report: &mut Report) -> Option<Checked> {
    let File { path, key, video, fps, parts, .. } = file;
    let first = parts.first().map(|part| part.episode);
    let full = root.join(path);
    let mark_all = |report: &mut Report, state| parts.iter().for_each(|part| report.mark(part.episode, key, state));
    if !full.exists() {
        let what = parts.len();
        report.add(&rules::MISSING_FILE, first, *path, format!("a video of {what} episodes"), "no such file");
        mark_all(report, "missing");
        return None;
    }
    let index = match Mp4Index::read(&full) {
        Ok(index) => index,
        Err(error) => {
            report.add(&rules::UNREADABLE, first, *path, "a video that can be read", reason(&error.to_string(), &full));
            mark_all(report, "damaged");
            return None;
        }
    };
    let size = (u64::from(index.width), u64::from(index.height));
    if size != (video.width, video.height) {
        let expected = format!("{}x{}, as info.json says", video.width, video.height);
        report.add(&rules::VIDEO_SIZE, first, *path, expected, format!("{}x{}", size.0, size.1));
        mark_all(report, "wrong size");
    }
    if let Some(codec) = video.codec.as_ref().filter(|codec| **codec != index.codec) {
        report.add(&rules::VIDEO_CODEC, first, *path, format!("{codec}, as info.json says"), index.codec.clone());
    }
    let scale = UNITS_PER_FRAME * u64::from(*fps);
    if u64::from(index.timescale) != scale {
        report.add(&rules::TIME_SCALE, first, *path, format!("a time scale of {scale}"), index.timescale.to_string());
    }
    // A file of ours holds the frames of its episode, and no more. Those that several episodes share stay as they are when
    // some of these are deleted.
    let shared = !first.is_some_and(|episode| root.join(checksums::summary_path(episode)).exists());
    let sound = frames(&index, file, shared, report);
    if !sound {
        mark_all(report, "damaged");
    }
    // The first sample is decoded at 0 on the track's own time line.
    let decode_start_s = -(index.edit_start.unwrap_or(0) as f64) / f64::from(index.timescale);
    Some(Checked { decode_start_s, sound })
}

/// Counts frames and looks at their times; true when every row finds its frame.
fn frames(index: &Mp4Index, file: &File, shared: bool, report: &mut Report) -> bool {
    let File { path, fps, parts, partial, .. } = file;
    let first = parts.first().map(|part| part.episode);
    let fps = f64::from(*fps);
    let times = index.frame_times();
    let needed: u64 = parts.iter().map(|part| part.length).fold(0, u64::saturating_add);
    let count = times.len() as u64;
    let cut = shared && !partial && count > needed;
    if if *partial || cut { count < needed } else { count != needed } {
        let expected = format!("{needed} frames, one for each row");
        report.add(&rules::FRAME_COUNT, first, *path, expected, format!("{} frames", times.len()));
        return false;
    }
    let off = times.iter().enumerate().find(|(k, time)| (**time - *k as f64 / fps).abs() > TOLERANCE_S);
    if let Some((k, time)) = off {
        let expected = format!("frame {k} at {:.6} s", k as f64 / fps);
        report.add(&rules::FRAME_TIME, first, *path, expected, format!("it at {time:.6} s"));
        return false;
    }
    if index.samples.first().is_some_and(|sample| !sample.sync) {
        report.add(&rules::KEY_FRAME, first, *path, "a key frame first", "another kind of frame");
    }
    let mut keys: Vec<i64> = index.samples.iter().filter(|sample| sample.sync).map(|sample| sample.time).collect();
    keys.sort_unstable();
    if cut {
        let found = format!("{} frames that no episode uses", count - needed);
        report.add(&rules::UNUSED_FRAMES, first, *path, format!("{needed} frames, one for each row"), found);
    }
    // Each episode behind the one before: every frame belongs to one row, but for those of episodes that were deleted.
    let mut next = 0u64;
    let mut sound = true;
    for part in *parts {
        let Part { episode, length, from_s, to_s } = *part;
        if cut {
            next = next.max(part.first_frame(file.fps).min(count.saturating_sub(length)));
        }
        let expected_s = next as f64 / fps;
        let end = next.saturating_add(length);
        let end_s = end as f64 / fps;
        let off = (from_s - expected_s).abs() > TOLERANCE_S || (to_s - end_s).abs() > TOLERANCE_S;
        if off && !partial {
            let found = format!("{from_s:.6} to {to_s:.6} s");
            report.add(&rules::VIDEO_SPAN, Some(episode), *path, format!("{expected_s:.6} to {end_s:.6} s"), found);
            sound = false;
        }
        let start = i64::try_from(next).unwrap_or(i64::MAX).saturating_mul(i64::from(index.timescale)) / fps as i64;
        let units = (TOLERANCE_S * f64::from(index.timescale)).ceil() as i64;
        let near = keys.partition_point(|time| *time < start - units);
        if next > 0 && length > 0 && keys.get(near).is_none_or(|time| *time > start + units) {
            report.add(
                &rules::SEEK,
                Some(episode),
                *path,
                "a key frame at the episode's start",
                "another kind of frame",
            );
        }
        if length as f64 / fps > LONGEST_S {
            let found = format!("{:.0} s", length as f64 / fps);
            report.add(&rules::LONG_VIDEO, Some(episode), *path, format!("an episode of at most {LONGEST_S} s"), found);
        }
        next = end;
    }
    sound
}

/// An error's words without the file's whole path, which the finding names.
fn reason(words: &str, path: &Path) -> String {
    words.strip_prefix(&format!("{}: ", path.display())).unwrap_or(words).to_owned()
}
