//! Episodes of a run: recording, reset, the operator's keys, devices that are lost. Pure: ticks, keys and losses in, what
//! to do out.
//!
//! A *take* is one attempt at an episode. It ends when its time is up, or early by a key; it is kept and becomes an
//! episode, or is discarded and recorded anew. As in LeRobot: the number of episodes is that of this run, and there is no
//! reset after the last.

use crate::config::schema::OnLoss;
use crate::restart::Device;
use std::collections::BTreeSet;

/// Number of a take in this run.
pub type TakeId = u64;

/// The operator's wishes; the keys are LeRobot's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// → or n: end the episode, or the reset, now.
    Next,
    /// ← or r: discard this take and record it again; between takes the one that just ended.
    Rerecord,
    /// Esc or q: end and keep the episode, then stop.
    Stop,
    /// No key: a signal, where `run.on_stop = "discard"`: throw the take away, then stop.
    StopDiscarding,
}

/// What a tick is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Row `index` of a take; the first one opens it.
    Row { take: TakeId, index: u64 },
    /// Between takes.
    Idle,
}

/// The end of a take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    pub take: TakeId,
    /// Rows it has.
    pub rows: u64,
    /// Keep it as an episode, or throw it away.
    pub keep: bool,
}

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Recording {
        take: TakeId,
        rows: u64,
    },
    Resetting {
        ticks_left: u64,
    },
    /// No tick will have a row any more.
    Done,
}

/// The plan of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    pub episodes: u64,
    pub ticks_per_episode: u64,
    pub ticks_per_reset: u64,
    /// Number of the first take: those of an earlier run that are not saved yet come before.
    pub first_take: TakeId,
}

/// The state machine.
#[derive(Clone, Debug)]
pub struct Run {
    plan: Plan,
    phase: Phase,
    next_take: TakeId,
    kept: u64,
    /// The take that ended last, if it was kept.
    last_kept: Option<TakeId>,
    /// Devices that no take begins without.
    missing: BTreeSet<Device>,
}

impl Run {
    /// A run that starts recording with its first tick.
    pub fn new(plan: Plan) -> Run {
        let phase = if plan.episodes == 0 { Phase::Done } else { Phase::Recording { take: plan.first_take, rows: 0 } };
        Run { plan, phase, next_take: plan.first_take + 1, kept: 0, last_kept: None, missing: BTreeSet::new() }
    }

    /// The run as it goes on after `kept` episodes of it that an earlier process recorded.
    pub fn after(mut self, kept: u64) -> Run {
        self.kept = kept;
        if kept >= self.plan.episodes {
            self.phase = Phase::Done;
        }
        self
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Takes that were ended to be kept.
    pub fn kept(&self) -> u64 {
        self.kept
    }

    /// The next tick of the grid: what it is for, and the take that it completes. A take whose turn it is begins only if
    /// `may_begin` and no device is missing.
    pub fn tick(&mut self, may_begin: bool) -> (Slot, Option<End>) {
        match self.phase {
            Phase::Recording { rows: 0, .. } if !may_begin || self.is_missing_devices() => (Slot::Idle, None),
            Phase::Recording { take, rows } => {
                self.phase = Phase::Recording { take, rows: rows + 1 };
                let end = if rows + 1 >= self.plan.ticks_per_episode { self.end(true) } else { None };
                (Slot::Row { take, index: rows }, end)
            }
            Phase::Resetting { ticks_left } => {
                if ticks_left <= 1 {
                    self.start();
                } else {
                    self.phase = Phase::Resetting { ticks_left: ticks_left - 1 };
                }
                (Slot::Idle, None)
            }
            Phase::Done => (Slot::Idle, None),
        }
    }

    /// A key, between two ticks: the take that it ends.
    pub fn key(&mut self, key: Key) -> Option<End> {
        match (key, self.phase) {
            (Key::Next, Phase::Recording { rows, .. }) => {
                if rows > 0 {
                    self.end(true)
                } else {
                    None
                }
            }
            (Key::Next, Phase::Resetting { .. }) => {
                self.start();
                None
            }
            (Key::Rerecord, Phase::Recording { rows, .. }) => {
                if rows > 0 {
                    self.end(false)
                } else {
                    None
                }
            }
            (Key::Stop, Phase::Recording { rows, .. }) => {
                let end = if rows > 0 { self.end(true) } else { None };
                self.phase = Phase::Done;
                end
            }
            (Key::StopDiscarding, Phase::Recording { .. }) => self.abort(),
            (Key::Stop | Key::StopDiscarding, Phase::Resetting { .. }) => {
                self.phase = Phase::Done;
                None
            }
            (Key::Rerecord, Phase::Resetting { .. }) | (_, Phase::Done) => None,
        }
    }

    /// Between takes: the one that just ended is not to be kept after all, and is recorded again, at once as in LeRobot.
    /// None when there is none, or when the run has ended.
    pub fn take_back(&mut self) -> Option<TakeId> {
        let resetting = matches!(self.phase, Phase::Resetting { .. });
        if !resetting && !matches!(self.phase, Phase::Recording { rows: 0, .. }) {
            return None;
        }
        let take = self.last_kept.take()?;
        self.kept -= 1;
        if resetting {
            self.start();
        }
        Some(take)
    }

    /// A device is away, between two ticks: the take that its policy ends.
    pub fn lost(&mut self, device: Device, policy: OnLoss) -> Option<End> {
        match policy {
            OnLoss::Hold => return None,
            OnLoss::Stop => return self.key(Key::Stop),
            OnLoss::Pause | OnLoss::Discard => self.missing.insert(device),
        };
        match self.phase {
            Phase::Recording { rows, .. } if rows > 0 => self.end(policy == OnLoss::Pause),
            _ => None,
        }
    }

    /// A device is there again.
    pub fn back(&mut self, device: Device) {
        self.missing.remove(&device);
    }

    /// No take begins before devices are back.
    pub fn is_missing_devices(&self) -> bool {
        !self.missing.is_empty()
    }

    /// The run cannot go on: the take being recorded is discarded.
    pub fn abort(&mut self) -> Option<End> {
        let end = match self.phase {
            Phase::Recording { rows, .. } if rows > 0 => self.end(false),
            _ => None,
        };
        self.phase = Phase::Done;
        end
    }

    fn end(&mut self, keep: bool) -> Option<End> {
        let Phase::Recording { take, rows } = self.phase else { return None };
        self.kept += u64::from(keep);
        self.last_kept = keep.then_some(take);
        if self.kept >= self.plan.episodes {
            self.phase = Phase::Done;
        } else if self.plan.ticks_per_reset == 0 {
            self.start();
        } else {
            self.phase = Phase::Resetting { ticks_left: self.plan.ticks_per_reset };
        }
        Some(End { take, rows, keep })
    }

    fn start(&mut self) {
        self.phase = Phase::Recording { take: self.next_take, rows: 0 };
        self.next_take += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a script (`.` a tick, `_` one at which no take may begin; n, r, q the keys; h, p, d, s the arm is lost under that
    /// policy, b it is back; P and B the same of a camera that pauses; t taking back, D a stop that discards) and writes down
    /// what happens: take number for a row, `-` for an idle tick, `+` and `!` for a take kept and discarded, `<` and its
    /// number for one taken back.
    fn check(plan: (u64, u64, u64), script: &str, expected: &str) {
        let mut run =
            Run::new(Plan { episodes: plan.0, ticks_per_episode: plan.1, ticks_per_reset: plan.2, first_take: 0 });
        let mut text = String::new();
        for step in script.chars() {
            let end = match step {
                '.' | '_' => {
                    let (slot, end) = run.tick(step == '.');
                    match slot {
                        Slot::Row { take, .. } => text.push_str(&take.to_string()),
                        Slot::Idle => text.push('-'),
                    }
                    end
                }
                'n' => run.key(Key::Next),
                'r' => run.key(Key::Rerecord),
                'q' => run.key(Key::Stop),
                'h' => run.lost(Device::Arm, OnLoss::Hold),
                'p' => run.lost(Device::Arm, OnLoss::Pause),
                'd' => run.lost(Device::Arm, OnLoss::Discard),
                's' => run.lost(Device::Arm, OnLoss::Stop),
                'P' => run.lost(Device::Camera(0), OnLoss::Pause),
                't' => {
                    text.extend(run.take_back().map(|take| format!("<{take}")));
                    None
                }
                'D' => run.key(Key::StopDiscarding),
                'b' | 'B' => {
                    run.back(if step == 'b' { Device::Arm } else { Device::Camera(0) });
                    None
                }
                _ => run.abort(),
            };
            if let Some(end) = end {
                text.push(if end.keep { '+' } else { '!' });
            }
        }
        assert_eq!(text, expected, "{plan:?} {script}");
    }

    #[test]
    fn runs() {
        check((2, 3, 2), "..........", "000+--111+--");
        check((2, 3, 0), "........", "000+111+--");
        check((2, 3, 2), ".n......", "0+--111+-");
        check((2, 3, 2), "...n....", "000+111+-");
        check((1, 3, 2), ".r......", "0!--111+-");
        check((5, 3, 2), "..q...", "00+---");
        check((5, 3, 2), "...q..", "000+--");
        check((5, 3, 2), "nrq..", "--");
        check((2, 3, 1), "....r....", "000+-111+-");
        check((5, 3, 2), "..x...", "00!---");
        check((2, 2, 0), "__..__.._", "--00+--11+-");
        check((2, 2, 1), ".._____..", "00+-----11+");
        check((2, 2, 1), "._._n_", "00+---");
        check((2, 2, 0), ".._q.", "00+--");
        check((0, 3, 2), "..", "--");
        check((2, 3, 2), "...t........", "000+<0111+--222+");
        check((2, 2, 2), "...tt.......", "00+-<011+--22+-");
        check((2, 2, 0), ".._t_......", "00+-<0-11+22+--");
        check((1, 2, 2), "..t.", "00+-");
        check((2, 2, 1), ".r.t...", "0!-11+-");
        check((2, 3, 1), "...._t.q", "000+--<01+");
        check((5, 3, 2), "..D.n", "00!-");
        check((5, 3, 2), "...D.n", "000+-");
        check((5, 3, 2), "D.", "-");
    }

    #[test]
    fn a_run_goes_on_with_what_it_still_wants() {
        for (kept, rows) in [(0, 6), (1, 4), (2, 2), (3, 0), (4, 0)] {
            let plan = Plan { episodes: 3, ticks_per_episode: 2, ticks_per_reset: 0, first_take: 7 };
            let mut run = Run::new(plan).after(kept);
            let recorded = (0..20).filter(|_| matches!(run.tick(true).0, Slot::Row { .. })).count();
            assert_eq!((recorded, run.phase(), run.kept()), (rows, Phase::Done, kept.max(3)));
        }
    }

    #[test]
    fn runs_with_devices_that_are_lost() {
        // Held: as if nothing had happened.
        check((2, 3, 2), ".h....b.....", "000+--111+--");
        // Paused: kept up to there; the reset goes on, and nothing begins before the device is back.
        check((3, 3, 1), "..p....b....", "00+----111+-");
        check((3, 3, 2), "..pb.....", "00+--111+");
        check((2, 3, 2), "...p....b...", "000+----111+");
        check((2, 3, 2), "...pb.....", "000+--111+");
        check((1, 3, 1), "..p...", "00+---");
        // Discarded, and recorded anew.
        check((1, 3, 1), "..d...b...", "00!---111+");
        check((1, 3, 0), ".d..b...", "0!--111+");
        // Stopped.
        check((5, 3, 1), "..s....", "00+----");
        check((5, 3, 1), "...s...", "000+---");
        // At the very start, before a row.
        check((1, 2, 0), "p..b..", "--00+");
        // Two devices: the take ends once, and both are waited for.
        check((2, 3, 0), ".Pp..b..B...", "0+----111+");
        check((2, 3, 0), ".dP..B..b...", "0!----111+");
        check((2, 3, 0), ".hP..b..B...", "0+----111+");
        // Lost again before it is back; keys while nothing can begin.
        check((2, 3, 0), ".ppn.b...", "0+-111+");
        check((2, 3, 0), ".pr.q.b..", "0+----");
        // After the end nothing is lost any more.
        check((1, 1, 0), ".spd..", "0+--");
    }

    #[test]
    fn a_take_with_rows_always_ends_exactly_once() {
        let mut run = Run::new(Plan { episodes: 3, ticks_per_episode: 2, ticks_per_reset: 1, first_take: 0 });
        let mut ends = Vec::new();
        for _ in 0..20 {
            let (_, end) = run.tick(true);
            ends.extend(end);
        }
        assert_eq!(ends, [0, 1, 2].map(|take| End { take, rows: 2, keep: true }));
        assert_eq!((run.phase(), run.kept()), (Phase::Done, 3));
    }
}
