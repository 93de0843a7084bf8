//! What happened to every frame of a take. Pure. The rule that tests hold it to: captured = written + dropped.

use crate::clock::Stamp;
use crate::episode::TakeId;
use crate::frame::{CameraIndex, DropReason};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Rows recorded while a device was away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    pub first_row: u64,
    pub rows: u64,
    /// Why the device was lost, in words.
    pub reason: String,
}

/// The gaps of one device in one take. Only the first [`MOST_GAPS`] are told; all are counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gaps {
    pub gaps: Vec<Gap>,
    /// How many there are.
    pub gaps_total: u64,
    /// Rows in all of them.
    pub rows_lost: u64,
    #[serde(skip)]
    last_row: Option<u64>,
}

/// A device that is lost more often in a take is told of by numbers only.
pub const MOST_GAPS: usize = 100;
/// Of a reason so many characters are kept: some errors list all that a device offers.
const LONGEST_REASON: usize = 200;

impl Gaps {
    /// A row that was recorded while the device was away. Rows come in order.
    pub fn add(&mut self, row: u64, reason: &str) {
        self.rows_lost += 1;
        let goes_on = row > 0 && self.last_row == Some(row - 1);
        self.last_row = Some(row);
        if !goes_on {
            self.gaps_total += 1;
            if self.gaps.len() < MOST_GAPS {
                let reason = reason.lines().next().unwrap_or_default().chars().take(LONGEST_REASON).collect();
                self.gaps.push(Gap { first_row: row, rows: 1, reason });
            }
        } else if self.gaps_total == self.gaps.len() as u64
            && let Some(gap) = self.gaps.last_mut()
        {
            gap.rows += 1;
        }
    }
}

/// A control of a camera that was not what it was set to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlChange {
    /// The row at which it was noticed: some seconds after it happened, at most.
    pub row: u64,
    pub control: String,
    pub set: i64,
    pub found: i64,
    /// It was set again; else it was left alone from then on.
    pub set_back: bool,
}

/// Changes of one camera's controls in one take. Only the first [`MOST_CHANGES`] are told; all are counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ControlChanges {
    pub control_changes: Vec<ControlChange>,
    pub control_changes_total: u64,
}

/// More changes of controls in a take are told of by their number only.
pub const MOST_CHANGES: usize = 20;

impl ControlChanges {
    pub fn add(&mut self, change: ControlChange) {
        self.control_changes_total += 1;
        if self.control_changes.len() < MOST_CHANGES {
            self.control_changes.push(change);
        }
    }
}

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
    /// While it was away.
    #[serde(default)]
    pub gaps: Gaps,
    /// Frames a second that it was asked for; 0 where that is not known.
    #[serde(default)]
    pub target_fps: u32,
    #[serde(default)]
    pub control_changes: ControlChanges,
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
    /// While the arm was away.
    #[serde(default)]
    pub arm_gaps: Gaps,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_runs_of_rows_and_bounded() {
        let mut gaps = Gaps::default();
        for row in [0, 1, 2, 5, 9, 10] {
            gaps.add(row, &format!("lost before {row}\nand more"));
        }
        let gap = |first_row, rows| Gap { first_row, rows, reason: format!("lost before {first_row}") };
        assert_eq!(gaps.gaps, [gap(0, 3), gap(5, 1), gap(9, 2)]);
        assert_eq!((gaps.gaps_total, gaps.rows_lost), (3, 6));
        for row in 0..1000 {
            gaps.add(100 + row * 3, "flaps");
            gaps.add(101 + row * 3, &"long ".repeat(1000));
        }
        assert_eq!((gaps.gaps.len(), gaps.gaps_total, gaps.rows_lost), (MOST_GAPS, 1003, 2006));
        assert!(gaps.gaps[3..].iter().all(|gap| gap.rows == 2 && gap.reason.len() <= LONGEST_REASON));
    }

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
