//! How much room a disk has, how long it lasts, and when that is too little.

use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Too little room to start recording.
#[derive(Debug, thiserror::Error)]
#[error(
    "{path}: expected at least {} GiB free (limits.min_free_gib), found {} GiB; free space or record to another disk",
    digits(*needed_gib), digits(*free_gib)
)]
pub struct NoSpace {
    pub path: PathBuf,
    pub needed_gib: f64,
    pub free_gib: f64,
}

/// Enough of them to tell a little too few from enough.
fn digits(gib: f64) -> String {
    if gib < 10.0 { format!("{gib:.4}") } else { format!("{gib:.2}") }
}

/// Tells the bytes that may still be written at a path; [`free`] does.
pub type FreeSpace = Arc<dyn Fn(&Path) -> std::io::Result<u64> + Send + Sync>;

/// Bytes that this user may still write at `path`, or at its nearest parent that exists.
pub fn free(path: &Path) -> std::io::Result<u64> {
    let existing = path.ancestors().find(|p| p.exists()).unwrap_or(Path::new("."));
    let existing = if existing.as_os_str().is_empty() { Path::new(".") } else { existing };
    let stat = rustix::fs::statvfs(existing)?;
    Ok(stat.f_bavail * stat.f_frsize)
}

/// Refuses a disk that is nearly full. One that cannot be asked is tried.
pub fn require(path: &Path, bytes: u64) -> Result<(), NoSpace> {
    match free(path) {
        Ok(free) if free < bytes => Err(no_space(path, bytes, free)),
        _ => Ok(()),
    }
}

/// The words for a disk with less room than needed.
pub fn no_space(path: &Path, needed: u64, free: u64) -> NoSpace {
    const GIB: f64 = (1u64 << 30) as f64;
    NoSpace { path: path.into(), needed_gib: needed as f64 / GIB, free_gib: free as f64 / GIB }
}

/// Bytes that a second of recording takes, as measured. The bytes are those that stay: videos, tables, summaries; what
/// is on disk only until its episode is saved is not in it.
#[derive(Clone, Debug)]
pub struct Rate {
    fps: f64,
    bytes: f64,
    rows: f64,
}

/// A row counts half as much after so many seconds of further rows: scenes change, single episodes should not matter.
const HALF_LIFE_S: f64 = 300.0;

impl Rate {
    /// Nothing is known yet.
    pub fn new(fps: u32) -> Rate {
        Rate { fps: f64::from(fps.max(1)), bytes: 0.0, rows: 0.0 }
    }

    /// So many more bytes were written, and so many more rows are on disk.
    pub fn add(&mut self, bytes: u64, rows: u64) {
        let kept = 0.5f64.powf(rows as f64 / (HALF_LIFE_S * self.fps));
        self.bytes = self.bytes * kept + bytes as f64;
        self.rows = self.rows * kept + rows as f64;
    }

    /// Seconds that so many bytes are good for; `None` before anything is known.
    pub fn seconds(&self, bytes: u64) -> Option<f64> {
        let a_second = self.bytes / self.rows * self.fps;
        // Less than a second of rows says little.
        (self.rows >= self.fps && a_second > 0.0).then(|| bytes as f64 / a_second)
    }
}

/// Whether there is room to record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Room {
    #[default]
    Enough,
    /// It will be used up soon.
    Little,
    /// Less than the limit: nothing may be recorded.
    None,
}

/// Says once when room gets scarce, and once when there is enough again.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Bytes below which nothing may be recorded.
    min_free: u64,
    /// Seconds of recording below which there is little room.
    little_s: f64,
    room: Room,
}

/// There is room again only when it is this much above what was too little: else every file that comes and goes would
/// be news.
const MARGIN: f64 = 1.0 / 16.0;

impl Watch {
    pub fn new(min_free: u64, little_s: f64) -> Watch {
        Watch { min_free, little_s, room: Room::Enough }
    }

    /// Bytes to record with, of those that are free.
    pub fn usable(&self, free: u64) -> u64 {
        free.saturating_sub(self.min_free)
    }

    /// What has changed, if anything, now that `free` bytes are free, which are good for so many seconds.
    pub fn look(&mut self, free: u64, recordable_s: Option<f64>) -> Option<Room> {
        let above = |worse: Room, limit: f64| if self.room >= worse { limit * (1.0 + MARGIN) } else { limit };
        let room = if (free as f64) < above(Room::None, self.min_free as f64) {
            Room::None
        } else if recordable_s.is_some_and(|seconds| seconds < above(Room::Little, self.little_s)) {
            Room::Little
        } else {
            Room::Enough
        };
        let changed = room != self.room;
        self.room = room;
        changed.then_some(room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_too_full_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        require(&dir.path().join("not/yet/there"), 1).unwrap();
        let error = require(dir.path(), u64::MAX).unwrap_err().to_string();
        assert!(error.contains(&dir.path().display().to_string()) && error.contains("min_free_gib"), "{error}");
    }

    #[test]
    fn the_rate_is_that_of_all_bytes_and_follows_slowly() {
        let mut rate = Rate::new(30);
        assert_eq!(rate.seconds(1000), None);
        rate.add(500, 0);
        assert_eq!(rate.seconds(1000), None, "bytes of no row");
        rate.add(0, 30);
        assert!((rate.seconds(1000).unwrap() - 2.0).abs() < 0.01, "{rate:?}");
        // Ten minutes at 3000 bytes a second, a tenth of them written at the end of each episode of a minute.
        let mut rate = Rate::new(30);
        for _ in 0..10 {
            (0..60).for_each(|_| rate.add(2700, 30));
            rate.add(60 * 300, 0);
        }
        let seconds = rate.seconds(3_000_000).unwrap();
        assert!((seconds - 1000.0).abs() < 20.0, "{seconds}");
        // Twice as much from here on: half of the change is seen after the half-life.
        (0..300).for_each(|_| rate.add(6000, 30));
        let seconds = rate.seconds(4_500_000).unwrap();
        assert!((950.0..1050.0).contains(&seconds), "{seconds}");
    }

    #[test]
    fn room_is_news_once_for_each_crossing() {
        let mut watch = Watch::new(1600, 60.0);
        assert_eq!(watch.usable(1700), 100);
        for (free, seconds, news) in [
            (5000, None, None),
            (5000, Some(61.0), None),
            (4000, Some(59.0), Some(Room::Little)),
            (4000, Some(61.0), None),
            (4000, Some(65.0), Some(Room::Enough)),
            (1700, Some(1.0), Some(Room::Little)),
            (1599, Some(0.0), Some(Room::None)),
            (1650, Some(2.0), None),
            (1701, Some(2.0), Some(Room::Little)),
            (1599, None, Some(Room::None)),
            (9000, None, Some(Room::Enough)),
        ] {
            assert_eq!(watch.look(free, seconds), news, "{free} {seconds:?}");
        }
        let mut off = Watch::new(0, 0.0);
        assert_eq!(off.look(0, Some(0.0)), None);
    }
}
