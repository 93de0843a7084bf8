//! A motion that is replayed: read from a table, put on the tick grid, and followed no faster than is allowed. Pure.

use std::sync::Arc;

/// One pose for each tick, in the order of the robot's features. There is at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct Trajectory(Vec<Vec<f32>>);

/// Poses at any times, as they were recorded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recorded {
    /// Ascending, from 0.
    pub times_s: Vec<f64>,
    pub poses: Vec<Vec<f32>>,
}

/// Longer motions are something else. No episode lasts as long, and the grid of one must fit into memory.
pub const MOST_SECONDS: f64 = 3600.0;
/// As long, at the highest rate there is.
const MOST_POSES: usize = 3600 * 1000;
/// Two times are the same when they differ by less, in seconds.
const SAME_TIME_S: f64 = 1e-6;

impl Recorded {
    /// At a constant rate.
    pub fn at_rate(fps: f64, poses: Vec<Vec<f32>>) -> Recorded {
        Recorded { times_s: (0..poses.len()).map(|k| k as f64 / fps).collect(), poses }
    }

    /// From the first pose to the last one, in seconds.
    pub fn seconds(&self) -> f64 {
        self.times_s.last().copied().unwrap_or_default()
    }

    /// The poses at the ticks of a grid, linear in between; `None` without a pose. Recorded on that very grid they stay as
    /// they are.
    pub fn on_grid(&self, fps: u32) -> Option<Trajectory> {
        let last = *self.times_s.last()?;
        let mut at = 0;
        let mut poses = Vec::new();
        for k in 0.. {
            let time = f64::from(k) / f64::from(fps);
            if time > last + SAME_TIME_S {
                break;
            }
            while at + 1 < self.times_s.len() && self.times_s[at + 1] <= time + SAME_TIME_S {
                at += 1;
            }
            let before = &self.poses[at];
            poses.push(match self.poses.get(at + 1) {
                Some(after) if time > self.times_s[at] + SAME_TIME_S => {
                    let share = (time - self.times_s[at]) / (self.times_s[at + 1] - self.times_s[at]);
                    let between =
                        |(a, b): (&f32, &f32)| (f64::from(*a) + (f64::from(*b) - f64::from(*a)) * share) as f32;
                    before.iter().zip(after).map(between).collect()
                }
                _ => before.clone(),
            });
        }
        Some(Trajectory(poses))
    }
}

impl Trajectory {
    /// The pose at a row; after the end the last one.
    pub fn pose(&self, row: u64) -> &[f32] {
        let last = self.0.len() - 1;
        &self.0[usize::try_from(row).map_or(last, |row| row.min(last))]
    }

    pub fn poses(&self) -> &[Vec<f32>] {
        &self.0
    }

    /// Poses that lie further from the one before than `most` allows, in any joint.
    pub fn too_fast(&self, most: &[f64]) -> usize {
        let pairs = self.0.windows(2);
        pairs.filter(|pair| distances(&pair[0], &pair[1]).zip(most).any(|(way, most)| way > most * 1.000_001)).count()
    }
}

fn distances<'a>(from: &'a [f32], to: &'a [f32]) -> impl Iterator<Item = f64> + 'a {
    from.iter().zip(to).map(|(from, to)| (f64::from(*to) - f64::from(*from)).abs())
}

/// A table in CSV: a header of feature names, and a row of numbers for each pose. Seconds in a column `timestamp` must
/// ascend; without it rows come at `fps`. Answers with the poses in the order of `features`, or says what is wrong where.
pub fn parse_csv(text: &str, features: &[String], fps: f64) -> Result<Recorded, Wrong> {
    let wrong = |line, expected: String, found: String| Err(Wrong { line, expected, found });
    let mut lines = text.trim_start_matches('\u{feff}').lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let header: Vec<&str> = match lines.next() {
        Some((_, header)) => header.split(',').map(|name| name.trim().trim_matches('"')).collect(),
        None => return wrong(1, "a header of feature names".into(), "an empty file".into()),
    };
    let time_at = header.iter().position(|name| *name == "timestamp");
    let names: Vec<&str> = header.iter().copied().filter(|name| *name != "timestamp").collect();
    let places = match places(&names, features) {
        Ok(_) if names.len() + usize::from(time_at.is_some()) < header.len() => {
            return wrong(1, "one column `timestamp`".into(), "several".into());
        }
        Ok(_) => {
            features.iter().filter_map(|feature| header.iter().position(|name| name == feature)).collect::<Vec<_>>()
        }
        Err((expected, found)) => return wrong(1, expected, found),
    };
    let mut recorded = Recorded::default();
    for (i, line) in lines {
        let mut numbers = Vec::with_capacity(header.len());
        for (cell, name) in line.split(',').zip(&header) {
            match cell.trim().parse::<f64>() {
                Ok(number) if number.is_finite() && (number as f32).is_finite() => numbers.push(number),
                _ => return wrong(i + 1, format!("a finite number in column `{name}`"), format!("`{}`", cell.trim())),
            }
        }
        let cells = line.split(',').count();
        if cells != header.len() {
            return wrong(i + 1, format!("{} values, as the header has names", header.len()), cells.to_string());
        }
        let time = time_at.map_or(recorded.poses.len() as f64 / fps, |at| numbers[at]);
        match recorded.times_s.last() {
            Some(last) if time < last + SAME_TIME_S => {
                return wrong(i + 1, format!("a timestamp after {last}"), time.to_string());
            }
            _ => recorded.times_s.push(time),
        }
        recorded.poses.push(places.iter().map(|&at| numbers[at] as f32).collect());
        if recorded.poses.len() > MOST_POSES {
            return wrong(i + 1, format!("at most {MOST_POSES} poses"), "more".into());
        }
    }
    let Some(first) = recorded.times_s.first().copied() else {
        return wrong(2, "a row of numbers for each pose".into(), "none".into());
    };
    recorded.times_s.iter_mut().for_each(|time| *time -= first);
    Ok(recorded)
}

/// What is wrong in which line, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub line: usize,
    pub expected: String,
    pub found: String,
}

/// Where each of `features` stands among `names`, which must be the same ones; else what is expected and what is found.
pub fn places<N: AsRef<str>>(names: &[N], features: &[String]) -> Result<Vec<usize>, (String, String)> {
    let list = |names: Vec<&str>| if names.is_empty() { "none".into() } else { names.join(", ") };
    let known: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    let found: Vec<usize> =
        features.iter().filter_map(|feature| known.iter().position(|name| name == feature)).collect();
    if found.len() == features.len() && known.len() == features.len() {
        return Ok(found);
    }
    let missing: Vec<&str> = features.iter().map(String::as_str).filter(|feature| !known.contains(feature)).collect();
    let foreign: Vec<&str> = known.iter().copied().filter(|name| !features.iter().any(|f| f == name)).collect();
    let words = format!("{}; missing: {}; foreign: {}", list(known), list(missing), list(foreign));
    Err((format!("the robot's features {}", list(features.iter().map(String::as_str).collect())), words))
}

/// What the replay is to do at a tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cue {
    /// Between takes: move to the first pose, and wait there.
    #[default]
    Approach,
    /// Row of a take.
    Play(u64),
    /// The run is over: stay.
    Hold,
}

/// How the arm may be moved.
#[derive(Clone, Debug, PartialEq)]
pub struct Pace {
    /// Largest step of each joint in one tick.
    pub most: Vec<f64>,
    /// An approach takes at least so many ticks.
    pub ramp_ticks: u64,
    /// In the first pose it rests so many ticks before a take begins: the arm is behind its goal.
    pub settle_ticks: u64,
}

impl Pace {
    /// Ticks from a pose to another one, and to rest there.
    pub fn ticks(&self, from: &[f32], to: &[f32]) -> u64 {
        self.ramp_ticks.max(self.fewest(distances(from, to))) + self.settle_ticks
    }

    /// In fewer ticks the ways are not gone.
    fn fewest(&self, ways: impl Iterator<Item = f64>) -> u64 {
        ways.zip(&self.most).map(|(way, most)| (way / most).ceil() as u64).max().unwrap_or(0)
    }
}

/// The goal from tick to tick: the same for the same cues.
#[derive(Clone, Debug)]
pub struct Motion {
    trajectory: Arc<Trajectory>,
    pace: Pace,
    goal: Vec<f64>,
    /// Ticks that the approach is to take still; none while a take is played.
    approach: Option<u64>,
    rested: u64,
}

impl Motion {
    /// From where the arm is.
    pub fn new(trajectory: Arc<Trajectory>, pace: Pace, present: &[f32]) -> Motion {
        let goal = present.iter().map(|value| f64::from(*value)).collect();
        Motion { trajectory, pace, goal, approach: None, rested: 0 }
    }

    /// The goal now.
    pub fn goal(&self) -> Vec<f32> {
        self.goal.iter().map(|value| *value as f32).collect()
    }

    /// A tick: the goal from here on.
    pub fn step(&mut self, cue: Cue) -> Vec<f32> {
        match cue {
            Cue::Approach => self.approach(),
            Cue::Play(row) => {
                self.approach = None;
                self.rested = 0;
                for ((goal, target), most) in self.goal.iter_mut().zip(self.trajectory.pose(row)).zip(&self.pace.most) {
                    let way = f64::from(*target) - *goal;
                    *goal = if way.abs() <= *most { f64::from(*target) } else { *goal + way.clamp(-most, *most) };
                }
            }
            Cue::Hold => {}
        }
        self.goal()
    }

    /// It rests in the first pose: a take may begin.
    pub fn is_in_place(&self) -> bool {
        self.rested > self.pace.settle_ticks
    }

    /// All joints arrive at the first pose together.
    fn approach(&mut self) {
        let left = self.approach.unwrap_or(self.pace.ramp_ticks);
        self.approach = Some(left.saturating_sub(1));
        let target = self.trajectory.pose(0);
        let ways: Vec<f64> = target.iter().zip(&self.goal).map(|(target, goal)| f64::from(*target) - goal).collect();
        if ways.iter().all(|way| *way == 0.0) {
            self.rested += 1;
            return;
        }
        let ticks = left.max(self.pace.fewest(ways.iter().map(|way| way.abs()))).max(1);
        for ((goal, target), way) in self.goal.iter_mut().zip(target).zip(ways) {
            *goal = if ticks == 1 { f64::from(*target) } else { *goal + way / ticks as f64 };
        }
    }
}

#[cfg(test)]
mod tests;
