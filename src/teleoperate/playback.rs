//! The course of a motion that is played once: to its first pose, through it, and a rest in the last one.

use super::Doing;
use crate::arm::replay::Replay;
use crate::arm::trajectory::Cue;

/// Where it stands.
pub struct Playback {
    replay: Replay,
    /// The row that is played; none while the first pose is approached.
    row: Option<u64>,
    /// Ticks that the goal has been the last pose.
    rested: u64,
}

impl Playback {
    pub fn new(replay: Replay) -> Playback {
        Playback { replay, row: None, rested: 0 }
    }

    /// Says what a tick is for, before the replay is asked for its goal.
    pub fn cue(&mut self, tick: u64) {
        self.row = match self.row {
            Some(row) => Some(row + 1),
            None => self.replay.cues.is_in_place().then_some(0),
        };
        self.replay.cues.tell(tick, self.row.map_or(Cue::Approach, Cue::Play));
    }

    /// The goal has been given. One that is slower than the motion comes to the last pose later.
    pub fn moved(&mut self, goal: &[f32]) {
        let poses = self.replay.poses();
        let last = self.row.is_some_and(|row| row + 1 >= poses.len() as u64);
        if last && poses.last().is_some_and(|pose| pose == goal) {
            self.rested += 1;
        }
    }

    pub fn doing(&self) -> Doing {
        let of = self.replay.poses().len() as u64;
        match self.row {
            None => Doing::Approaching,
            Some(row) if row < of => Doing::Playing { row, of },
            Some(_) => Doing::Resting,
        }
    }

    /// It has rested in the last pose.
    pub fn is_over(&self) -> bool {
        self.rested > self.replay.rest_ticks()
    }
}
