//! From ticks to rows: what is known of each is handed on in order, and takes end behind their last row.

use super::super::encoder_pool::{PoolMessage, StreamId};
use super::super::ticker::Tick;
use super::super::writer::WriterMessage;
use super::{CoordinatorCamera, CoordinatorState};
use crate::account::{CameraAccount, Losses, TakeReport};
use crate::align;
use crate::clock::tick_ns;
use crate::dataset::{Row, RowArm, RowFrame};
use crate::episode::{End, Slot, TakeId};
use crate::events::Event;
use crate::frame::Frame;
use crate::metrics;
use crate::restart::Device;
use std::sync::Arc;

impl CoordinatorState {
    /// Hands on all rows that are known, and ends takes after their last row.
    pub(super) fn hand_on(&mut self) {
        loop {
            // A take may end by a key after its last row has left.
            let next = self.slots.front().map_or(u64::MAX, |(tick, _)| tick.number);
            while self.ends.front().is_some_and(|(after, _)| *after < next) {
                if let Some((_, end)) = self.ends.pop_front() {
                    self.end_take(end);
                }
            }
            let Some((tick, slot)) = self.slots.front().copied() else { return };
            if !self.sample_is_known(&tick) {
                return;
            }
            let Some(aligned) = self.aligner.next_row() else { return };
            self.slots.pop_front();
            while self.samples.front().is_some_and(|s| s.tick <= tick.number) {
                self.sample = self.samples.pop_front();
            }
            if let Slot::Row { take, index } = slot {
                self.row(take, index, tick, aligned);
            }
        }
    }

    /// The arm's sample of this tick, or of a later one, is here, or too late to wait for.
    pub(super) fn sample_is_known(&self, tick: &Tick) -> bool {
        let patience = 2 * tick_ns(1, self.arguments.fps);
        !self.arguments.has_arm
            || self.arm_lost_until.is_some_and(|until| tick.number <= until)
            || self.samples.back().is_some_and(|s| s.tick >= tick.number)
            || (!self.arguments.clock.is_simulated()
                && self.slots.back().is_some_and(|(newest, _)| newest.woke.mono_ns > tick.due.mono_ns + patience))
    }

    pub(super) fn row(&mut self, take: TakeId, index: u64, tick: Tick, aligned: align::Row<Arc<Frame>>) {
        let arguments = &self.arguments;
        if index == 0 {
            // The writer first: what the pool says of the take must find it there.
            let _ = arguments.writer.cast(WriterMessage::Begin { take });
            let _ = arguments.pool.cast(PoolMessage::Open { take, expected_frames: arguments.plan.ticks_per_episode });
            let account = |camera: &CoordinatorCamera| CameraAccount { target_fps: camera.fps, ..Default::default() };
            let accounts = arguments.cameras.iter().map(account).collect();
            self.lost_before_capture.fill(0);
            self.open = Some(TakeReport { take, started: tick.due, cameras: accounts, ..Default::default() });
            let episode = self.episode();
            let text = format!("recording episode {episode} of {}", arguments.plan.episodes);
            self.tell(tick.due, Event::TakeStarted { take, episode }, text);
        }
        let Some(report) = self.open.as_mut().filter(|report| report.take == take) else { return };
        let late_ns = tick.woke.mono_ns.saturating_sub(tick.due.mono_ns);
        let mut row = Row { tick: tick.due, late_ns, ..Default::default() };
        let mut losses = Losses::default();
        let (mut oldest, mut newest) = (u64::MAX, 0);
        for (camera, mut selection) in aligned.selections.into_iter().enumerate() {
            let CoordinatorCamera { name, fps } = &arguments.cameras[camera];
            let account = &mut report.cameras[camera];
            if index == 0 {
                // What came between takes belongs to none; the first frame is the take's own, whoever showed it before.
                selection.dropped.clear();
                selection.repeated = false;
            }
            account.add(selection.repeated, &selection.dropped);
            losses.dropped.extend(selection.dropped.iter().map(|reason| (camera, *reason)));
            let missing = std::mem::take(&mut self.lost_before_capture[camera]);
            losses.before_capture.extend((missing > 0).then_some((camera, missing)));
            if selection.lost {
                account.gaps.add(index, self.losses.reason(Device::Camera(camera)));
            }
            let fresh = u64::from(!selection.repeated);
            // What rows show is written or repeated once it is encoded: the writer counts it.
            self.meters.cameras[camera].captured.increment(fresh + selection.dropped.len() as u64);
            for reason in &selection.dropped {
                metrics::dropped(name, *reason, 1);
            }
            let frame = selection.frame;
            (oldest, newest) = (oldest.min(frame.captured.mono_ns), newest.max(frame.captured.mono_ns));
            row.cameras.push(RowFrame {
                captured: frame.captured,
                arrived: frame.arrived,
                sequence: frame.sequence,
                repeated: selection.repeated,
                late: tick.due.mono_ns.saturating_sub(frame.captured.mono_ns) > 2 * tick_ns(1, *fps),
                lost: selection.lost,
            });
            let _ = arguments.pool.cast(PoolMessage::Push { stream: StreamId { take, camera }, index, frame });
        }
        if row.cameras.len() > 1 {
            self.meters.skew.record(newest.saturating_sub(oldest) as f64 / 1e9);
        }
        if let Some(sample) = &self.sample {
            // A sample of another tick: this one's never came.
            let missed = sample.tick != tick.number;
            let (state_reused, action_reused) = (missed || sample.state_reused, missed || sample.action_reused);
            let arm_lost = missed && self.arm_lost_until.is_some_and(|until| tick.number <= until);
            let leader_away = sample.leader_away.as_deref().filter(|_| !missed);
            let lost = arm_lost || leader_away.is_some();
            report.arm_misses += u64::from(state_reused || action_reused);
            self.meters.arm_misses.increment(u64::from(state_reused || action_reused));
            if lost {
                report.arm_gaps.add(index, leader_away.unwrap_or(self.losses.reason(Device::Arm)));
            }
            if sample.tick == tick.number {
                for kind in &sample.errors {
                    *report.arm_errors.entry((*kind).to_string()).or_default() += 1;
                    losses.arm_errors.push((*kind).to_string());
                }
            }
            row.state.clone_from(&sample.state);
            row.action.clone_from(&sample.action);
            let goal_sent = if missed { Vec::new() } else { sample.goal_sent.clone() };
            row.arm = Some(RowArm { sampled: sample.sampled, state_reused, action_reused, goal_sent, lost });
        }
        report.rows = index + 1;
        report.ended = tick.woke;
        let _ = arguments.writer.cast(WriterMessage::Row { take, row: Box::new(row), losses });
    }

    pub(super) fn end_take(&mut self, end: End) {
        let Some(report) = self.open.take_if(|report| report.take == end.take) else { return };
        if end.keep {
            self.saving.insert(end.take, false);
            let _ = self.arguments.pool.cast(PoolMessage::Finish { take: end.take });
            let _ = self.arguments.writer.cast(WriterMessage::End { report: Box::new(report) });
        } else {
            let (take, rows) = (report.take, report.rows);
            self.tell(report.ended, Event::TakeDiscarded { take, rows }, format!("take discarded after {rows} rows"));
            ::metrics::counter!(metrics::EPISODES, "outcome" => "discarded").increment(1);
            self.arguments.status.send_modify(|s| s.discarded += 1);
            let _ = self.arguments.pool.cast(PoolMessage::Abandon { take: end.take });
        }
    }
}
