//! What the next take waits for, and what ends a take or the run beside its plan: room, time, lost devices, ←.

use super::super::encoder_pool::PoolMessage;
use super::super::recorder::RunError;
use super::{CoordinatorState, Pace, Rate};
use crate::arm::trajectory::Cue;
use crate::clock::Stamp;
use crate::config::schema::{OnLoss, OnLowDisk};
use crate::episode::{Key, Phase, Slot, TakeId};
use crate::events::Event;
use crate::losses::Loss;
use crate::metrics;
use crate::restart::Device;

impl CoordinatorState {
    /// Tells a replay what the tick is for.
    pub(super) fn cue(&self, tick: u64, slot: Slot) {
        let Some(cues) = &self.arguments.cues else { return };
        cues.tell(
            tick,
            match slot {
                Slot::Row { index, .. } => Cue::Play(index),
                Slot::Idle if self.run.phase() == Phase::Done => Cue::Hold,
                Slot::Idle => Cue::Approach,
            },
        );
    }

    /// A take that is replayed begins only where its motion begins.
    pub(super) fn is_in_place(&self) -> bool {
        self.arguments.cues.as_ref().is_none_or(|cues| cues.is_in_place())
    }

    /// What was recorded leaves room for another take: nothing that time alone would change.
    pub(super) fn has_room(&self) -> bool {
        // Those that nobody can encode are not waited for.
        let saving = self.saving.values().filter(|waits| !**waits).count();
        let room = match self.arguments.pace {
            Pace::Saved => saving == 0,
            Pace::Waiting(most) => saving < most,
        };
        room && !self.backlog_full && !self.disk_full && self.taking_back.is_none()
    }

    /// ← between takes; false where there is nothing to take back.
    pub(super) fn take_back(&mut self) -> bool {
        if !self.held && !matches!(self.run.phase(), Phase::Resetting { .. }) {
            return false;
        }
        let Some(take) = self.run.take_back() else { return false };
        match self.ends.iter_mut().find(|(_, end)| end.take == take) {
            // Its last rows are not known yet: it ends as one that is discarded.
            Some((_, end)) => end.keep = false,
            // It is being encoded, waits, or is saved: whoever has it gives it up.
            None => {
                self.taking_back = Some(take);
                let _ = self.arguments.pool.cast(PoolMessage::Abandon { take });
            }
        }
        true
    }

    pub(super) fn taken_back(&mut self, take: TakeId, saved: bool, episodes: u64) {
        if self.taking_back.take_if(|back| *back == take).is_none() {
            return;
        }
        self.saving.remove(&take);
        let text = format!("the last episode is taken back, and recorded again; the data set has {episodes}");
        self.tell(self.arguments.clock.now(), Event::EpisodeTakenBack { take, episodes }, text);
        let outcome = if saved { "taken_back" } else { "discarded" };
        ::metrics::counter!(metrics::EPISODES, "outcome" => outcome).increment(1);
        self.arguments.status.send_modify(|s| {
            s.discarded += 1;
            s.saved -= u64::from(saved);
            s.dataset_episodes = episodes;
        });
    }

    /// Ends a run whose time is up; a take that is being recorded is finished first.
    pub(super) fn keep_schedule(&mut self, now: Stamp) {
        let between = matches!(self.run.phase(), Phase::Resetting { .. } | Phase::Recording { rows: 0, .. });
        if let Some(key) = self.arguments.schedule.is_over(now).filter(|_| between) {
            let (kept, episodes) = (self.run.kept(), self.arguments.plan.episodes);
            tracing::info!("the run ends here, with {kept} of {episodes} episodes: {key} is reached");
            let _ = self.run.key(Key::Stop);
        }
    }

    /// Ends and saves the take while there is still room for that; what comes then is the configuration's.
    pub(super) fn disk_full(&mut self, reason: Option<String>) {
        self.disk_full = reason.is_some();
        let Some(reason) = reason else { return };
        if let Phase::Recording { rows, .. } = self.run.phase() {
            // What has only just begun would be no episode to learn from.
            let key = if rows <= u64::from(self.arguments.fps) { Key::Rerecord } else { Key::Next };
            if let Some(end) = self.run.key(key) {
                let fate = if end.keep { "ended and saved" } else { "discarded" };
                tracing::warn!("the take is {fate} after {rows} rows: the disk is nearly full");
                self.ends.push_back((self.tick, end));
            }
        }
        if self.run.phase() == Phase::Done {
            return;
        }
        match self.arguments.on_low_disk {
            OnLowDisk::Pause => tracing::warn!("paused: the next episode begins when there is room on the disk"),
            OnLowDisk::Stop => {
                let _ = self.run.key(Key::Stop);
                self.failure.get_or_insert(RunError::Failed(reason));
            }
        }
    }

    /// Ends a run that could only wait: the disk is full of takes that nobody can encode.
    pub(super) fn end_if_stuck(&mut self) {
        let between = matches!(self.run.phase(), Phase::Recording { rows: 0, .. });
        if between && self.backlog_full && !self.saving.is_empty() && self.saving.values().all(|waits| *waits) {
            let _ = self.run.key(Key::Stop);
            self.failure.get_or_insert(RunError::Failed(
                "there is no encoder, and no room for more pictures that wait for one: they are safe on disk and are encoded by the next run or by `recorder regenerate`; raise limits.spill_mib to record more".into(),
            ));
        }
    }

    pub(super) fn lost(&mut self, loss: Loss) {
        let Loss { device, on_loss, .. } = loss;
        match device {
            Device::Camera(camera) => {
                self.aligner.lost(camera);
                self.rates[camera] = Rate::default();
            }
            Device::Arm => self.arm_lost_until = Some(u64::MAX),
            // Samples themselves say that they are without a leader.
            Device::Leader => {}
        }
        if on_loss == OnLoss::Stop && self.run.phase() != Phase::Done {
            let words = format!("{}; its on_loss is \"stop\"", loss.words());
            self.failure.get_or_insert(RunError::Lost(words));
        }
        let end = self.run.lost(device, on_loss);
        self.ends.extend(end.map(|end| (self.tick, end)));
        self.losses.lost(loss, self.arguments.clock.now().mono_ns);
        self.show(true);
    }

    pub(super) fn back(&mut self, device: Device) {
        if device == Device::Arm {
            self.arm_lost_until = Some(self.tick);
        }
        self.run.back(device);
        self.losses.back(device);
        self.show(true);
    }

    /// Holds simulated time while nothing may be recorded: cameras and ticks would run as fast as they can, and take the
    /// CPU from the encoders.
    pub(super) fn rest(&mut self) {
        let next = matches!(self.run.phase(), Phase::Recording { rows: 0, .. });
        // The last rows of a take are known only when time has gone on.
        let between = self.open.is_none()
            && self.ends.is_empty()
            && (next || matches!(self.run.phase(), Phase::Resetting { .. }));
        let idle = between && !self.has_room() && self.arguments.clock.is_simulated();
        let held = idle || (next && !self.has_room());
        if held != self.held {
            self.held = held;
            self.show(true);
        }
        if idle || self.is_done() {
            self.rest.get_or_insert_with(|| self.arguments.clock.hold());
        } else {
            self.rest = None;
        }
    }

    /// No row will be handed on any more.
    pub(super) fn is_done(&self) -> bool {
        self.run.phase() == Phase::Done && self.open.is_none() && self.ends.is_empty()
    }
}
