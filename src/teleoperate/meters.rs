//! What is seen of the arms, and how well the loop keeps up. Pure: told of ticks and talks, nothing else.

use crate::arm::{ArmError, Health, Reading};
use crate::clock::tick_ns;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Ticks that the rate is taken over, and talks that percentiles are.
const MOST_TICKS: usize = 64;
const MOST_TALKS: usize = 1000;

/// What the arm does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Doing {
    /// It follows the leader.
    #[default]
    Following,
    /// It moves to the motion's first pose.
    Approaching,
    /// It is at a pose of the motion, from 0.
    Playing { row: u64, of: u64 },
    /// It is in the last pose.
    Resting,
}

/// Whether the follower's motors have torque.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Torque {
    /// While it follows; and at the end where `disable_torque_on_disconnect = false`.
    #[default]
    On,
    /// Every motor has answered that it has none.
    Off,
    /// At the end some motors did not answer.
    InDoubt,
}

/// Whose answers are timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Talk {
    Follower,
    Leader,
}

/// One joint of the follower, and of what it follows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Joint {
    /// Without `.pos`.
    pub name: String,
    /// None before the first answer.
    pub leader: Option<f32>,
    pub follower: Option<f32>,
    /// The values are older than this tick.
    pub leader_reused: bool,
    pub follower_reused: bool,
    /// Of the follower's motor; none before it was asked.
    pub health: Option<Health>,
}

/// Errors of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub count: u64,
    /// The last one, in words.
    pub last: String,
}

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub struct Meters {
    /// Ticks a second that are wanted.
    pub fps: u32,
    pub doing: Doing,
    pub joints: Vec<Joint>,
    /// By arm and kind, see [`ArmError::kind`].
    pub errors: BTreeMap<(&'static str, &'static str), Tally>,
    /// Ticks that there were, and that came too late to be any.
    pub ticks: u64,
    pub missed: u64,
    pub torque: Torque,
    began_ns: u64,
    /// Of the newest ticks, oldest first.
    times_ns: VecDeque<u64>,
    /// In seconds, of the newest talks.
    latencies: BTreeMap<Talk, VecDeque<f64>>,
}

impl Meters {
    /// Of a robot with these features, from `now_ns` on.
    pub fn new(features: &[String], fps: u32, now_ns: u64) -> Meters {
        let joint = |name: &String| Joint { name: name.trim_end_matches(".pos").into(), ..Joint::default() };
        Meters { fps, joints: features.iter().map(joint).collect(), began_ns: now_ns, ..Meters::default() }
    }

    /// The tick after `tick`, that many nanoseconds after the start: the next one, or where that has passed already by more
    /// than a period, the newest.
    pub fn next_tick(&mut self, tick: u64, since_start_ns: u64) -> u64 {
        let mut next = tick + 1;
        while tick_ns(next + 1, self.fps) <= since_start_ns {
            next += 1;
            self.missed += 1;
        }
        next
    }

    /// A tick is over.
    pub fn ticked(&mut self, now_ns: u64, doing: Doing) {
        (self.doing, self.ticks) = (doing, self.ticks + 1);
        keep(&mut self.times_ns, now_ns, MOST_TICKS);
    }

    /// An arm was talked to for so long.
    pub fn talked(&mut self, talk: Talk, took: Duration) {
        keep(self.latencies.entry(talk).or_default(), took.as_secs_f64(), MOST_TALKS);
    }

    /// Something went wrong with an arm.
    pub fn failed(&mut self, arm: &'static str, error: &ArmError) {
        tracing::debug!("{arm}: {error}");
        let tally = self.errors.entry((arm, error.kind())).or_default();
        (tally.count, tally.last) = (tally.count + 1, error.to_string());
    }

    /// The newest values, and how the follower's motors are.
    pub fn show(&mut self, state: &Reading, action: &Reading, health: &[Health]) {
        for (index, joint) in self.joints.iter_mut().enumerate() {
            (joint.follower, joint.leader) = (state.values.get(index).copied(), action.values.get(index).copied());
            joint.follower_reused = state.reused.contains(&index);
            joint.leader_reused = action.reused.contains(&index);
            joint.health = health.iter().find(|health| health.motor == joint.name).cloned();
        }
    }

    /// Ticks a second, of the newest ones; 0 before there are two.
    pub fn rate(&self) -> f64 {
        match (self.times_ns.front(), self.times_ns.back()) {
            (Some(first), Some(last)) if last > first => (self.times_ns.len() - 1) as f64 * 1e9 / (last - first) as f64,
            _ => 0.0,
        }
    }

    /// Since the start, in seconds.
    pub fn elapsed_s(&self) -> f64 {
        self.times_ns.back().map_or(0.0, |now| now.saturating_sub(self.began_ns) as f64 / 1e9)
    }

    /// A percentile, 0…1, of the newest talks with an arm in seconds; none before the first.
    pub fn latency_s(&self, talk: Talk, percentile: f64) -> Option<f64> {
        let mut sorted: Vec<f64> = self.latencies.get(&talk)?.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        sorted.get((last as f64 * percentile).round() as usize).copied()
    }
}

fn keep<T>(newest: &mut VecDeque<T>, value: T, most: usize) {
    if newest.len() == most {
        newest.pop_front();
    }
    newest.push_back(value);
}
