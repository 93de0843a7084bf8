//! What is told of an episode beside its data: counters from those who counted, spreads from the rows. Pure.

use super::checksums::FileSum;
use super::rows::{Row, RowFrame};
use super::spec::DatasetSpec;
use crate::account::{CameraAccount, ControlChanges, Gaps, TakeReport};
use crate::frame::DropReason;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What others counted during an episode.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpisodeCounters {
    /// By camera name; a camera that is left out counts as zero.
    pub cameras: BTreeMap<String, CameraCounters>,
    /// Errors of the arm by kind.
    pub arm_errors: BTreeMap<String, u64>,
    /// Changes of encoders beyond those that the cameras list.
    #[serde(default)]
    pub more_encoder_switches: u64,
    /// Rows without the arm.
    #[serde(default)]
    pub arm: Gaps,
}

impl EpisodeCounters {
    /// Of a take: `report` as it was recorded, then what encoding changed. Cameras are numbered as their `names`;
    /// `substituted` are frames in whose place another picture stands, each once; `stored` are how many of each camera are
    /// stored as it has encoded them.
    pub fn of(
        names: &[String],
        report: &TakeReport,
        substituted: &[(usize, DropReason)],
        stored: &[u64],
        encoders: &BTreeMap<usize, String>,
        switches: &[(usize, EncoderSwitch)],
    ) -> EpisodeCounters {
        let mut accounts = report.cameras.clone();
        for (camera, reason) in substituted {
            accounts[*camera].substituted(*reason);
        }
        let camera = |(index, (name, account)): (usize, (&String, CameraAccount))| {
            let counters = CameraCounters {
                captured: account.captured(),
                written: account.written,
                as_encoded: stored.get(index).copied().unwrap_or_default(),
                repeated: account.repeated,
                sequence_gaps: account.lost_before_capture,
                dropped: account.dropped,
                encoder: encoders.get(&index).cloned().unwrap_or_default(),
                encoder_switches: switches.iter().filter(|(c, _)| *c == index).map(|(_, s)| s.clone()).collect(),
                gaps: account.gaps,
                target_fps: account.target_fps,
                control_changes: account.control_changes,
            };
            (name.clone(), counters)
        };
        let cameras = names.iter().zip(accounts).enumerate().map(camera).collect();
        EpisodeCounters {
            cameras,
            arm_errors: report.arm_errors.clone(),
            more_encoder_switches: 0,
            arm: report.arm_gaps.clone(),
        }
    }
}

/// What was counted of one camera.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CameraCounters {
    /// Frames that the camera delivered.
    pub captured: u64,
    /// Frames in the video.
    pub written: u64,
    /// Of these, those that are stored as the camera itself has encoded them; absent where there are none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub as_encoded: u64,
    /// Rows that hold the picture of the row before.
    pub repeated: u64,
    /// Captured frames that are not in the video.
    pub dropped: BTreeMap<DropReason, u64>,
    /// Frames that the driver lost, by its sequence numbers.
    pub sequence_gaps: u64,
    /// The encoder that finished the video, such as `openh264`.
    pub encoder: String,
    /// Changes of the encoder during the episode.
    pub encoder_switches: Vec<EncoderSwitch>,
    /// Rows without the camera.
    #[serde(flatten)]
    pub gaps: Gaps,
    /// Frames a second that it was asked for; 0 where that is not known.
    #[serde(default)]
    pub target_fps: u32,
    /// Controls that somebody else changed.
    #[serde(flatten)]
    pub control_changes: ControlChanges,
}

impl CameraCounters {
    /// Captured and in no video, or never delivered.
    pub fn lost(&self) -> u64 {
        self.dropped.values().sum::<u64>() + self.sequence_gaps
    }
}

/// A change of the encoder in the middle of a video.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncoderSwitch {
    /// The first frame of the new encoder.
    pub frame: u64,
    pub from: String,
    pub to: String,
    pub reason: String,
}

/// What is known of a take that a crash interrupted, beside its rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recovered {
    /// Rows after the last one of the episode that were recorded and could not be kept. Those that had not reached the
    /// disk are not known of: less than a second's.
    pub rows_lost: u64,
    /// The same as time.
    pub seconds_lost: f64,
    /// Why, in words.
    pub reason: String,
}

/// The file in `recorder/episodes/`. Times are nanoseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpisodeSummary {
    pub episode_index: u64,
    /// The take that became the episode, counted by the recorder's run.
    pub take: u64,
    pub task: String,
    /// The first tick, on the monotonic clock.
    pub start_mono_ns: u64,
    /// The first tick, since 1970.
    pub start_utc_ns: u64,
    /// Rows.
    pub length: u64,
    pub fps: u32,
    /// Rows a second as they really came.
    pub achieved_fps: f64,
    /// How late ticks woke, against their places in the grid.
    pub tick_jitter_ns: Spread,
    /// By camera name.
    pub cameras: BTreeMap<String, CameraSummary>,
    /// By kind, of which there are few.
    pub arm_errors: BTreeMap<String, u64>,
    /// The take was interrupted by a crash; absent for one that was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered: Option<Recovered>,
    /// The episode's files as they were written; none in summaries of older recorders.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileSum>,
    /// Changes of encoders beyond those that the cameras list.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_encoder_switches: u64,
    /// Rows without the arm.
    #[serde(default)]
    pub arm: Gaps,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// One camera in an [`EpisodeSummary`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CameraSummary {
    #[serde(flatten)]
    pub counters: CameraCounters,
    /// Time from one picture's capture to the next one's, repeated ones left out.
    pub interval_ns: Spread,
    /// In each row, from the earliest capture of all cameras to this one's.
    pub skew_ns: Spread,
    /// Its own beat; absent in summaries of older recorders.
    #[serde(flatten)]
    pub beat: Beat,
}

/// How evenly and how fast a camera delivers, by the driver's numbers and time stamps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Beat {
    /// Pictures a second that reached the recorder, in rows or not; 0 with less than two.
    pub delivered_hertz: f64,
    /// By how much the camera's own clock is off `target_fps`, in millionths: 1000 is a picture too many in 1000. Pictures
    /// that were lost on the way do not count. `None` where that is not known.
    pub drift_ppm: Option<f64>,
    /// How far the time from one picture to the next is off the camera's own mean.
    pub jitter_ns: Spread,
}

impl Beat {
    /// From the pictures in rows, while the camera was there.
    fn of(frames: impl Iterator<Item = RowFrame>, counters: &CameraCounters) -> Beat {
        let mut steps: Vec<(u64, u64)> = Vec::new();
        let mut last: Option<RowFrame> = None;
        for frame in frames {
            if frame.lost {
                // Opened again, it counts from the start.
                last = None;
            } else if !frame.repeated {
                let step = last.filter(|last| last.sequence < frame.sequence && last.captured < frame.captured);
                let step =
                    step.map(|last| (frame.sequence - last.sequence, frame.captured.mono_ns - last.captured.mono_ns));
                steps.extend(step);
                last = Some(frame);
            }
        }
        let numbered: u64 = steps.iter().map(|(pictures, _)| pictures).sum();
        let ns: u64 = steps.iter().map(|(_, ns)| ns).sum();
        if numbered == 0 {
            return Beat::default();
        }
        let (own_hertz, target) = (numbered as f64 * 1e9 / ns as f64, f64::from(counters.target_fps));
        let mean_ns = ns as f64 / numbered as f64;
        let jitter = steps.iter().map(|(pictures, ns)| (*ns as f64 - *pictures as f64 * mean_ns).abs().round() as u64);
        Beat {
            delivered_hertz: numbered.saturating_sub(counters.sequence_gaps) as f64 * 1e9 / ns as f64,
            drift_ppm: (target > 0.0).then(|| (own_hertz / target - 1.0) * 1e6),
            jitter_ns: Spread::of(jitter),
        }
    }
}

/// How a quantity is spread (nearest rank); zeros where nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
}

impl Spread {
    /// Of any values, in any order.
    pub fn of(values: impl IntoIterator<Item = u64>) -> Spread {
        let mut values: Vec<u64> = values.into_iter().collect();
        values.sort_unstable();
        let Some(&max) = values.last() else { return Spread::default() };
        let rank = |percent: usize| values[(values.len() * percent).div_ceil(100).max(1) - 1];
        Spread { p50: rank(50), p99: rank(99), max }
    }
}

/// The summary of an episode's rows and counters.
pub fn summarise(
    spec: &DatasetSpec,
    rows: &[Row],
    counters: &EpisodeCounters,
    (episode_index, take, task): (u64, u64, &str),
) -> EpisodeSummary {
    let start = rows.first().map(|row| row.tick).unwrap_or_default();
    let woke = |row: Option<&Row>| row.map_or(0, |row| row.tick.mono_ns + row.late_ns);
    let elapsed_s = woke(rows.last()).saturating_sub(woke(rows.first())) as f64 / 1e9;
    let cameras = spec.cameras.iter().enumerate().map(|(i, camera)| {
        let captures: Vec<u64> =
            rows.iter().map(|row| row.cameras[i]).filter(|f| !f.repeated).map(|f| f.captured.mono_ns).collect();
        let skew = rows.iter().map(|row| {
            let earliest = row.cameras.iter().map(|f| f.captured.mono_ns).min().unwrap_or_default();
            row.cameras[i].captured.mono_ns - earliest
        });
        let counters = counters.cameras.get(&camera.name).cloned().unwrap_or_default();
        let summary = CameraSummary {
            beat: Beat::of(rows.iter().map(|row| row.cameras[i]), &counters),
            counters,
            interval_ns: Spread::of(captures.windows(2).map(|pair| pair[1].saturating_sub(pair[0]))),
            skew_ns: Spread::of(skew),
        };
        (camera.name.clone(), summary)
    });
    EpisodeSummary {
        episode_index,
        take,
        task: task.into(),
        start_mono_ns: start.mono_ns,
        start_utc_ns: start.utc_ns,
        length: rows.len() as u64,
        fps: spec.fps,
        achieved_fps: if elapsed_s > 0.0 { (rows.len() - 1) as f64 / elapsed_s } else { 0.0 },
        tick_jitter_ns: Spread::of(rows.iter().map(|row| row.late_ns)),
        cameras: cameras.collect(),
        more_encoder_switches: counters.more_encoder_switches,
        arm_errors: counters.arm_errors.clone(),
        recovered: None,
        files: Vec::new(),
        arm: counters.arm.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Stamp;
    use crate::config::schema::ColorRange;
    use crate::dataset::{CameraSpec, RowFrame, VideoInfo};

    #[test]
    fn spreads_are_by_nearest_rank() {
        for (values, p50, p99, max) in [
            (vec![], 0, 0, 0),
            (vec![7], 7, 7, 7),
            (vec![3, 1, 2], 2, 3, 3),
            ((1..=100).collect(), 50, 99, 100),
            ((1..=1000).rev().collect(), 500, 990, 1000),
        ] {
            assert_eq!(Spread::of(values), Spread { p50, p99, max });
        }
    }

    #[test]
    fn jitter_skew_and_intervals_come_from_the_rows() {
        let at = |mono_ns| Stamp { mono_ns, utc_ns: mono_ns + 5_000_000_000 };
        let video = VideoInfo {
            codec: "h264".into(),
            pix_fmt: "yuv420p".into(),
            color_range: ColorRange::Limited,
            gop: None,
            quality: None,
            preset: None,
        };
        let camera = |name: &str| CameraSpec {
            name: name.into(),
            key: format!("observation.images.{name}"),
            width: 4,
            height: 2,
            video: video.clone(),
        };
        let spec = DatasetSpec {
            fps: 10,
            robot_type: None,
            state_names: vec![],
            action_names: vec![],
            cameras: vec![camera("front"), camera("wrist")],
        };
        let frame = |ns, repeated| RowFrame { captured: at(ns), repeated, ..Default::default() };
        let row = |tick, late_ns, front, wrist| {
            let cameras = vec![front, wrist];
            Row { tick: at(tick), late_ns, cameras, ..Default::default() }
        };
        let rows = [
            row(1_000_000_000, 0, frame(990_000_000, false), frame(980_000_000, false)),
            row(1_100_000_000, 7, frame(990_000_000, true), frame(1_080_000_000, false)),
            row(1_200_000_000, 0, frame(1_190_000_000, false), frame(1_190_000_000, false)),
        ];
        let summary = summarise(&spec, &rows, &EpisodeCounters::default(), (4, 9, "pick"));
        assert_eq!((summary.length, summary.start_utc_ns, summary.achieved_fps), (3, 6_000_000_000, 10.0));
        assert_eq!(summary.tick_jitter_ns, Spread { p50: 0, p99: 7, max: 7 });
        let (front, wrist) = (&summary.cameras["front"], &summary.cameras["wrist"]);
        assert_eq!(front.interval_ns.max, 200_000_000, "the repeated picture is not an interval");
        assert_eq!(wrist.interval_ns.max, 110_000_000);
        assert_eq!((front.skew_ns.max, wrist.skew_ns.max), (10_000_000, 90_000_000));
        // Version 0.1.0 told of no gaps.
        let mut old = serde_json::to_value(&summary).unwrap();
        old.as_object_mut().unwrap().remove("arm").unwrap();
        for camera in ["front", "wrist"] {
            for key in ["gaps", "gaps_total", "rows_lost"] {
                old["cameras"][camera].as_object_mut().unwrap().remove(key).unwrap();
            }
        }
        assert_eq!(serde_json::from_value::<EpisodeSummary>(old).unwrap(), summary);
    }
}
