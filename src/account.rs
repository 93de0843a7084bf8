//! What happened to every frame of a take. Pure. The rule that tests hold it to: captured = written + dropped.

use crate::clock::Stamp;
use crate::episode::TakeId;
use crate::frame::{CameraIndex, DropReason};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The frames of one camera in one take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CameraAccount {
    /// Different frames that rows show.
    pub written: u64,
    /// Rows that show the frame of the row before.
    pub repeated: u64,
    pub dropped: BTreeMap<DropReason, u64>,
    /// Pictures that the driver numbered and never delivered: lost on the wire or in the camera, before the recorder.
    pub lost_before_capture: u64,
}

impl CameraAccount {
    /// A row: whether it repeats a frame, and what was dropped since the row before.
    pub fn add(&mut self, repeated: bool, dropped: &[DropReason]) {
        if repeated {
            self.repeated += 1;
        } else {
            self.written += 1;
        }
        for reason in dropped {
            *self.dropped.entry(*reason).or_default() += 1;
        }
    }

    /// A frame that was handed to the encoder and could not be shown after all.
    pub fn substituted(&mut self, reason: DropReason) {
        self.written = self.written.saturating_sub(1);
        self.repeated += 1;
        *self.dropped.entry(reason).or_default() += 1;
    }

    /// Frames that the camera delivered.
    pub fn captured(&self) -> u64 {
        self.written + self.dropped_total()
    }

    /// Frames in no row.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.values().sum()
    }
}

/// What was lost from one row of a take to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Losses {
    /// Frames that no row shows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<(CameraIndex, DropReason)>,
    /// Pictures that the driver numbered and never delivered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub before_capture: Vec<(CameraIndex, u64)>,
    /// Failed talks with an arm, by kind.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arm_errors: Vec<String>,
}

impl Losses {
    /// The cameras that lost something, some of them several times.
    pub fn cameras(&self) -> impl Iterator<Item = CameraIndex> {
        self.dropped.iter().map(|(camera, _)| *camera).chain(self.before_capture.iter().map(|(camera, _)| *camera))
    }
}

/// A take as the coordinator saw it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TakeReport {
    pub take: TakeId,
    /// The first tick.
    pub started: Stamp,
    /// When the thread of its last tick woke: saving is timed from here.
    pub ended: Stamp,
    pub rows: u64,
    pub cameras: Vec<CameraAccount>,
    /// Rows in which the arm's last sample is used again.
    pub arm_misses: u64,
    /// Failed talks with an arm, by kind.
    pub arm_errors: BTreeMap<String, u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captured_is_written_and_dropped() {
        let mut account = CameraAccount::default();
        account.add(false, &[]);
        account.add(false, &[DropReason::Superseded, DropReason::Corrupt]);
        account.add(true, &[DropReason::Corrupt]);
        account.substituted(DropReason::Corrupt);
        assert_eq!((account.captured(), account.written, account.repeated, account.dropped_total()), (5, 1, 2, 4));
    }
}
