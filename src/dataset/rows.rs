//! One row of an episode with everything that is known of it, and the table of what LeRobot has no place for.

use super::error::DatasetError;
use super::spec::DatasetSpec;
use super::table::Columns;
use crate::clock::Stamp;
use crate::frame::DropReason;
use arrow_array::{BooleanArray, Float32Array, Int64Array, ListArray, StringArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// What was recorded at one tick.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The tick's place in the grid: the cameras' frames are the newest captured at or before it.
    pub tick: Stamp,
    /// How late the tick's thread woke, in nanoseconds: when the arm was asked.
    pub late_ns: u64,
    /// `observation.state`, in the order of [`DatasetSpec::state_names`].
    pub state: Vec<f32>,
    /// `action`, in the order of [`DatasetSpec::action_names`].
    pub action: Vec<f32>,
    /// For each camera of the specification, in its order.
    pub cameras: Vec<RowFrame>,
    /// None without an arm.
    pub arm: Option<RowArm>,
}

/// The picture of a camera that a row holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowFrame {
    pub captured: Stamp,
    pub arrived: Stamp,
    /// The driver's sequence number.
    pub sequence: u64,
    /// The picture of the row before: no newer one was there.
    pub repeated: bool,
    /// The picture is older than the camera's rate allows.
    pub late: bool,
    /// The camera was away.
    #[serde(default)]
    pub lost: bool,
}

/// What is known of the arm in a row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RowArm {
    /// When the state was read.
    pub sampled: Stamp,
    /// The state of the row before: the arm did not answer in time.
    pub state_reused: bool,
    /// The action of the row before: what the arm follows did not answer in time.
    pub action_reused: bool,
    /// The goal really sent, after limits; empty when none was sent.
    pub goal_sent: Vec<f32>,
    /// The arm was away: state and action are the last ones.
    #[serde(default)]
    pub lost: bool,
}

impl Row {
    /// Refuses a row that does not fit the data set.
    pub(super) fn check(&self, number: u64, spec: &DatasetSpec) -> Result<(), DatasetError> {
        let wrong = |field: &str, expected: String, found: String| {
            Err(DatasetError::Row { row: number, field: field.into(), expected, found })
        };
        for (field, values, n) in [
            ("observation.state", &self.state, spec.state_names.len()),
            ("action", &self.action, spec.action_names.len()),
        ] {
            if values.len() != n {
                return wrong(field, format!("{n} values"), values.len().to_string());
            }
            if let Some(value) = values.iter().find(|v| !v.is_finite()) {
                return wrong(field, "finite values".into(), value.to_string());
            }
        }
        if self.cameras.len() != spec.cameras.len() {
            return wrong("cameras", format!("{} cameras", spec.cameras.len()), self.cameras.len().to_string());
        }
        let goal = self.arm.as_ref().map_or(&[][..], |arm| &arm.goal_sent);
        if ![0, spec.action_names.len()].contains(&goal.len()) {
            let expected = format!("{} values, or none", spec.action_names.len());
            return wrong("goal sent", expected, goal.len().to_string());
        }
        match goal.iter().find(|v| !v.is_finite()) {
            Some(value) => wrong("goal sent", "finite values".into(), value.to_string()),
            None => Ok(()),
        }
    }
}

/// Frames for which another picture stands in, by frame: one map for each camera.
pub type Substituted = HashMap<u64, DropReason>;

/// The table in `recorder/rows/`: one line for each row of the episode. Times are nanoseconds, `mono` on the kernel's
/// monotonic clock, `utc` since 1970. Columns: `frame_index`, `tick/*`; for each camera `KEY/captured_*`,
/// `KEY/arrived_*`, `KEY/sequence`, `KEY/repeated`, `KEY/late`, `KEY/lost`, `KEY/substituted` (the reason, or null); with
/// an arm `arm/sampled_*`, `arm/state_reused`, `arm/action_reused`, `arm/lost` and `arm/goal_sent` (null where none was
/// sent). Tables of version 0.1.0 have no `lost`.
pub fn sidecar(spec: &DatasetSpec, rows: &[Row], substituted: &[Substituted]) -> Result<Vec<u8>, DatasetError> {
    let mut columns = Columns::default();
    columns.push("frame_index", (0..rows.len() as i64).collect::<Int64Array>());
    push_stamps(&mut columns, "tick/", rows.iter().map(|row| Some(row.tick)));
    columns.push("tick/late_ns", rows.iter().map(|row| Some(row.late_ns as i64)).collect::<Int64Array>());
    for (i, (camera, substituted)) in spec.cameras.iter().zip(substituted).enumerate() {
        let frames = || rows.iter().map(|row| &row.cameras[i]);
        let flags = |flag: fn(&RowFrame) -> bool| frames().map(|f| Some(flag(f))).collect::<BooleanArray>();
        let name = |column: &str| format!("{}/{column}", camera.key);
        push_stamps(&mut columns, &name("captured_"), frames().map(|f| Some(f.captured)));
        push_stamps(&mut columns, &name("arrived_"), frames().map(|f| Some(f.arrived)));
        columns.push(name("sequence"), frames().map(|f| f.sequence as i64).collect::<Int64Array>());
        columns.push(name("repeated"), flags(|f| f.repeated));
        columns.push(name("late"), flags(|f| f.late));
        columns.push(name("lost"), flags(|f| f.lost));
        let reasons = (0..rows.len() as u64).map(|k| substituted.get(&k).map(|reason| reason.name()));
        columns.push(name("substituted"), reasons.collect::<StringArray>());
    }
    if rows.iter().any(|row| row.arm.is_some()) {
        let arms = || rows.iter().map(|row| row.arm.as_ref());
        push_stamps(&mut columns, "arm/sampled_", arms().map(|arm| Some(arm?.sampled)));
        columns.push("arm/state_reused", arms().map(|arm| Some(arm?.state_reused)).collect::<BooleanArray>());
        columns.push("arm/action_reused", arms().map(|arm| Some(arm?.action_reused)).collect::<BooleanArray>());
        columns.push("arm/lost", arms().map(|arm| Some(arm?.lost)).collect::<BooleanArray>());
        let n = spec.action_names.len();
        let sent: Vec<bool> = arms().map(|arm| arm.is_some_and(|arm| n > 0 && arm.goal_sent.len() == n)).collect();
        let goals = arms().zip(&sent).filter_map(|(arm, &sent)| arm.filter(|_| sent));
        let values = goals.flat_map(|arm| arm.goal_sent.iter());
        let values = Arc::new(values.copied().collect::<Float32Array>());
        let element = Arc::new(Field::new("element", DataType::Float32, true));
        if n > 0 {
            // Not a fixed-size list: pyarrow 24 cannot read one that has nulls.
            let offsets = OffsetBuffer::from_lengths(sent.iter().map(|&sent| if sent { n } else { 0 }));
            let goals = ListArray::try_new(element, offsets, values, Some(NullBuffer::from(sent)))
                .map_err(DatasetError::encode("column arm/goal_sent"))?;
            columns.push("arm/goal_sent", goals);
        }
    }
    columns.into_parquet("recorder's table of rows", None)
}

fn push_stamps(columns: &mut Columns, prefix: &str, stamps: impl Iterator<Item = Option<Stamp>> + Clone) {
    // 2^63 ns are 292 years: no clock of either scale gets there.
    let mono = stamps.clone().map(|stamp| Some(stamp?.mono_ns as i64));
    let utc = stamps.map(|stamp| Some(stamp?.utc_ns as i64));
    columns.push(format!("{prefix}mono_ns"), mono.collect::<Int64Array>());
    columns.push(format!("{prefix}utc_ns"), utc.collect::<Int64Array>());
}
