//! What metrics show of the frames that videos are made of.

use super::Take;
use crate::dataset::RowFrame;
use crate::metrics;
use ::metrics::{Counter, Histogram, counter, histogram};

/// What is counted of a camera's frames and fragments: looked up once.
pub(super) struct Meters {
    camera: String,
    written: Counter,
    duplicated: Counter,
    pub video_frames: Counter,
    pub write_duration: Histogram,
    pub lag: Histogram,
}

impl Meters {
    pub fn new(camera: &str) -> Meters {
        let counter = |name: &'static str| counter!(name, "camera" => camera.to_string());
        let histogram = |name: &'static str| histogram!(name, "camera" => camera.to_string());
        Meters {
            camera: camera.to_string(),
            written: counter(metrics::FRAMES_WRITTEN),
            duplicated: counter(metrics::FRAMES_DUPLICATED),
            video_frames: counter(metrics::VIDEO_FRAMES),
            write_duration: histogram(metrics::WRITE_DURATION),
            lag: histogram(metrics::ENCODE_LAG),
        }
    }

    /// A row's frame, as the row has it.
    pub fn count(&self, frame: &RowFrame) {
        let counter = if frame.repeated { &self.duplicated } else { &self.written };
        counter.increment(1);
    }
}

impl Take {
    /// Counts what became of the frames in a camera's rows, up to a row: shown, repeated, or dropped after all. So
    /// captured = written + dropped, as soon as frames are encoded.
    pub fn count(&mut self, camera: usize, meters: &Meters, rows: u64) {
        let from = self.counted[camera];
        if from >= rows {
            return;
        }
        self.counted[camera] = rows;
        let fresh = (from..rows).filter(|row| !self.writer.is_repeated(camera, *row)).count() as u64;
        let lost = self.substituted.range((camera, from)..(camera, rows));
        // A frame that is shown twice is dropped once.
        let lost = lost.filter(|((camera, row), _)| !self.writer.is_repeated(*camera, *row));
        let lost = lost.map(|(_, reason)| metrics::dropped(&meters.camera, *reason, 1)).count() as u64;
        meters.written.increment(fresh - lost);
        meters.duplicated.increment(rows - from - fresh + lost);
    }

    /// No more of its frames will be encoded here: those that are left count as written, wherever their take ends.
    pub fn count_all(&mut self, meters: &[Meters]) {
        for (camera, meters) in meters.iter().enumerate() {
            self.count(camera, meters, self.writer.rows());
        }
    }
}
