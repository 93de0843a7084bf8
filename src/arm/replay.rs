//! The leader that needs no person: a motion that was recorded, or written to a file, played anew in every take.
//!
//! Between takes the arm moves from where it is to the motion's first pose, all joints together, in `teleop.ramp_s` or as
//! long as `teleop.max_speed` makes it take, and rests there; only then a take begins. Row k of every take is given pose
//! k, or as near to it as `max_speed` allows; after its end the last pose is held. What is recorded as the action is what
//! was given.
//!
//! A motion that leaves the robot's calibrated range is refused, but for the little by which a leader's range may exceed its
//! follower's (`OVERSHOOT`): that is cut off, as the follower's motors would do.

use super::cues::Cues;
use super::trajectory::{MOST_SECONDS, Motion, Pace, Recorded, Trajectory, parse_csv, places};
use super::{ArmError, Reading, Teleop, features, motor_names, per_motor, ranges};
use crate::config::schema::Config;
use crate::config::validate::ticks_per_episode;
use crate::dataset::{DatasetError, Poses};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Values may lie outside of a joint's calibrated range by this share of it.
const OVERSHOOT: f64 = 0.05;
/// The arm comes behind its goal by some tens of milliseconds; so long it rests before a take begins.
const SETTLE: Duration = Duration::from_millis(500);
/// Larger files are no trajectory.
const LARGEST_FILE: u64 = 256 << 20;

/// Why there is nothing to replay.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(
        "teleop.path: {path} cannot be read: {source}; give a data set's folder, or a CSV file with a header of the robot's features"
    )]
    Unreadable { path: String, source: std::io::Error },
    #[error("{place}: expected {expected}, found {found}; {remedy}")]
    Unusable { place: String, expected: String, found: String, remedy: String },
    #[error(transparent)]
    Dataset(#[from] DatasetError),
}

/// A motion and how it is played; made once for a run.
#[derive(Clone, Debug)]
pub struct Replay {
    trajectory: Arc<Trajectory>,
    pace: Pace,
    features: Vec<String>,
    source: String,
    fps: u32,
    /// Values that were cut off at the robot's range.
    cut_off: usize,
    pub cues: Arc<Cues>,
}

impl Replay {
    /// Reads the configuration's motion and holds it against the robot. Moves nothing.
    pub fn load(config: &Config) -> Result<Replay, ArmError> {
        let (teleop, fps) = (&config.teleop, config.dataset.fps);
        let features = features(config.robot.kind);
        let path = teleop.path.clone().unwrap_or_default();
        let (recorded, source) = read(&path, teleop.episode, &features, f64::from(teleop.fps.unwrap_or(fps)))?;
        let unusable = |expected: String, found: String| ReplayError::Unusable {
            place: source.clone(),
            expected,
            found,
            remedy: "choose another motion".into(),
        };
        if recorded.seconds() > MOST_SECONDS {
            return Err(unusable(format!("at most {MOST_SECONDS} s"), format!("{} s", recorded.seconds())).into());
        }
        let (recorded, cut_off) = within(recorded, &ranges(&config.robot)?, &features, &source)?;
        let trajectory = recorded.on_grid(fps).ok_or_else(|| unusable("at least one pose".into(), "none".into()))?;
        let motors = motor_names(config.robot.kind);
        let speeds = per_motor(&teleop.max_speed, &motors).map_err(ArmError::MaxSpeed)?;
        let ticks = |seconds: f64| (seconds * f64::from(fps)).ceil() as u64;
        let pace = Pace {
            most: speeds.iter().map(|speed| speed / f64::from(fps)).collect(),
            ramp_ticks: ticks(teleop.ramp_s),
            settle_ticks: ticks(SETTLE.as_secs_f64()),
        };
        let cues = Arc::default();
        Ok(Replay { trajectory: Arc::new(trajectory), pace, features, source, fps, cut_off, cues })
    }

    /// What is replayed, in words.
    pub fn describe(&self) -> String {
        let poses = self.trajectory.poses().len();
        format!("replay: {}, {poses} poses in {:.1} s", self.source, self.seconds(poses as u64))
    }

    /// What of the motion will not be as one might expect.
    pub fn warnings(&self, config: &Config) -> Vec<String> {
        let (poses, mut found) = (self.trajectory.poses().len() as u64, Vec::new());
        let dataset = &config.dataset;
        let rows = ticks_per_episode(dataset);
        if poses > rows {
            found.push(format!(
                "the motion takes {:.1} s, an episode {} s: its rest is not played; set dataset.episode_time_s",
                self.seconds(poses),
                dataset.episode_time_s
            ));
        }
        let fast = self.trajectory.too_fast(&self.pace.most);
        if fast > 0 {
            found.push(format!(
                "{fast} of {poses} steps are faster than teleop.max_speed: the arm comes behind there, and is recorded so; raise it if the arm may move that fast"
            ));
        }
        if self.cut_off > 0 {
            found
                .push(format!("{} values lie beyond the robot's calibrated range and are cut off there", self.cut_off));
        }
        let back = self.seconds(self.pace.ticks(self.trajectory.pose(rows.saturating_sub(1)), self.trajectory.pose(0)));
        if dataset.num_episodes > 1 && back > dataset.reset_time_s {
            found.push(format!(
                "the way back to the first pose takes {back:.1} s, dataset.reset_time_s is {}: each episode begins that much later",
                dataset.reset_time_s
            ));
        }
        found
    }

    /// A leader that moves from `present`.
    pub fn start(&self, present: &[f32]) -> Replayer {
        self.cues.set_in_place(false);
        let motion = Motion::new(self.trajectory.clone(), self.pace.clone(), present);
        Replayer { motion, features: self.features.clone(), cues: self.cues.clone() }
    }

    /// A pose for each tick.
    pub fn poses(&self) -> &[Vec<f32>] {
        self.trajectory.poses()
    }

    /// So many ticks it rests where its goal stands still: the arm is behind it.
    pub fn rest_ticks(&self) -> u64 {
        self.pace.settle_ticks
    }

    fn seconds(&self, ticks: u64) -> f64 {
        ticks as f64 / f64::from(self.fps)
    }
}

/// See the module's text.
pub struct Replayer {
    motion: Motion,
    features: Vec<String>,
    cues: Arc<Cues>,
}

impl Teleop for Replayer {
    fn features(&self) -> Vec<String> {
        self.features.clone()
    }

    fn action(&mut self, _deadline: Instant) -> Result<Reading, ArmError> {
        Ok(Reading::fresh(self.motion.goal()))
    }

    /// A tick of which nobody has said by half of the time what it is for: the goal stays. The next one's row is told with
    /// its number, so that nothing is shifted.
    fn action_at(&mut self, tick: u64, deadline: Instant) -> Result<Reading, ArmError> {
        let now = Instant::now();
        let half = now + deadline.saturating_duration_since(now) / 2;
        if let Some(cue) = self.cues.wait(tick, half) {
            self.motion.step(cue);
            self.cues.set_in_place(self.motion.is_in_place());
        }
        Ok(Reading::fresh(self.motion.goal()))
    }

    fn shutdown(&mut self) -> Vec<ArmError> {
        Vec::new()
    }
}

/// The motion in the order of `features`, and its name in words.
fn read(path: &Path, episode: Option<u64>, features: &[String], fps: f64) -> Result<(Recorded, String), ReplayError> {
    let shown = path.display().to_string();
    let unreadable = |source| ReplayError::Unreadable { path: shown.clone(), source };
    let unusable =
        |place, expected, found, remedy: &str| ReplayError::Unusable { place, expected, found, remedy: remedy.into() };
    let about = std::fs::metadata(path).map_err(unreadable)?;
    if about.is_dir() {
        let Some(episode) = episode else {
            let (expected, found) = ("an episode of the data set in teleop.path".into(), "nothing".into());
            return Err(unusable("teleop.episode".into(), expected, found, "give its number, from 0"));
        };
        let poses = Poses::read(path, episode)?;
        let source = format!("{} of episode {episode} of {shown}", poses.column);
        let order = places(&poses.names, features).map_err(|(expected, found)| {
            unusable(source.clone(), expected, found, "choose a data set of this kind of robot")
        })?;
        let in_order = |row: Vec<f32>| order.iter().map(|&at| row[at]).collect();
        return Ok((Recorded::at_rate(poses.fps, poses.rows.into_iter().map(in_order).collect()), source));
    }
    if let Some(episode) = episode {
        let expected = "nothing where teleop.path is a file".into();
        return Err(unusable(
            "teleop.episode".into(),
            expected,
            episode.to_string(),
            "leave it out, or give a data set's folder",
        ));
    }
    if about.len() > LARGEST_FILE {
        let (expected, found) =
            (format!("a file of at most {} MiB", LARGEST_FILE >> 20), format!("{} MiB", about.len() >> 20));
        return Err(unusable(shown, expected, found, "give a CSV file with a header of the robot's features"));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let remedy = "correct the file: a header of the robot's features, and optionally timestamp, then a line of numbers for each pose";
    let Ok(text) = String::from_utf8(bytes) else {
        return Err(unusable(shown, "a CSV file in UTF-8".into(), "other bytes".into(), remedy));
    };
    match parse_csv(&text, features, fps) {
        Ok(recorded) => Ok((recorded, shown)),
        Err(wrong) => Err(unusable(format!("{shown}:{}", wrong.line), wrong.expected, wrong.found, remedy)),
    }
}

/// Cuts off what exceeds the ranges by a little, and refuses what exceeds them by more; how many values were cut off.
fn within(
    mut recorded: Recorded,
    ranges: &[(f64, f64)],
    features: &[String],
    source: &str,
) -> Result<(Recorded, usize), ReplayError> {
    let mut cut_off = 0;
    for (row, pose) in recorded.poses.iter_mut().enumerate() {
        for ((value, (low, high)), name) in pose.iter_mut().zip(ranges).zip(features) {
            let slack = (high - low) * OVERSHOOT;
            let exact = f64::from(*value);
            if !(low - slack..=high + slack).contains(&exact) {
                return Err(ReplayError::Unusable {
                    place: format!("{source}, pose {row}, {name}"),
                    expected: format!("{low:.1} to {high:.1}, the robot's calibrated range"),
                    found: value.to_string(),
                    remedy: "choose a motion of this robot, in the unit of robot.use_degrees".into(),
                });
            }
            let bounded = exact.clamp(*low, *high);
            if bounded != exact && (exact - bounded).abs() > slack * 1e-6 {
                *value = bounded as f32;
                cut_off += 1;
            }
        }
    }
    Ok((recorded, cut_off))
}
