//! What people and programs are shown of it.

use super::{CoordinatorArguments, CoordinatorState};
use crate::clock::Stamp;
use crate::episode::Phase;
use crate::frame::CameraIndex;
use crate::losses::Loss;
use crate::metrics;
use crate::status;
use ::metrics::{Counter, Histogram, counter, histogram};
use std::collections::VecDeque;

impl CoordinatorState {
    /// The episode of this run that is recorded or was recorded last, from 1.
    pub(super) fn episode(&self) -> u64 {
        let recording = matches!(self.run.phase(), Phase::Recording { .. });
        (self.run.kept() + u64::from(recording)).max(1)
    }

    pub(super) fn seen(&mut self, camera: CameraIndex, sequence: u64, captured: Stamp) {
        let rate = &mut self.rates[camera];
        let missing = rate.add(sequence, captured.mono_ns);
        if let Some(report) = &mut self.open {
            report.cameras[camera].lost_before_capture += missing;
            self.lost_before_capture[camera] += missing;
            self.meters.cameras[camera].missed.increment(missing);
        }
    }

    /// Brings the status up to date: five times a second, and at once when something happened.
    pub(super) fn show(&self, now: bool) {
        if !now && !self.tick.is_multiple_of(u64::from(self.arguments.fps).div_ceil(5)) {
            return;
        }
        let fps = f64::from(self.arguments.fps);
        let plan = &self.arguments.plan;
        let schedule_left_s = self.arguments.schedule.left_s(self.arguments.clock.now());
        ::metrics::gauge!(metrics::SCHEDULE_LEFT).set(schedule_left_s.unwrap_or(f64::INFINITY));
        let now_ns = self.arguments.clock.now().mono_ns;
        let (phase, elapsed, left) = match self.run.phase() {
            Phase::Recording { rows, .. } => (status::Phase::Recording, rows, plan.ticks_per_episode - rows),
            Phase::Resetting { ticks_left } => {
                (status::Phase::Resetting, plan.ticks_per_reset - ticks_left, ticks_left)
            }
            Phase::Done if self.ended => (status::Phase::Done, 0, 0),
            Phase::Done => (status::Phase::Finishing, 0, 0),
        };
        // Whether it is done, or only over, the recorder knows.
        metrics::phase(if phase == status::Phase::Done { status::Phase::Finishing } else { phase });
        self.arguments.status.send_modify(|s| {
            s.phase = phase;
            s.held = self.held;
            s.schedule_left_s = schedule_left_s;
            s.lost = self.losses.away().map(Loss::words).collect();
            s.failing = self.losses.failing(now_ns).map(|loss| loss.name.clone()).collect();
            s.missing = self.run.is_missing_devices();
            s.approaching = !self.is_in_place();
            s.episode = self.episode();
            (s.elapsed_s, s.left_s) = (elapsed as f64 / fps, left as f64 / fps);
            for (shown, rate) in s.cameras.iter_mut().zip(&self.rates) {
                shown.rate = rate.per_second();
                shown.alive = rate.per_second() > 0.0;
            }
            // Between takes the numbers of the last one stay.
            let Some(report) = &self.open else { return };
            s.arm_misses = report.arm_misses;
            for (shown, account) in s.cameras.iter_mut().zip(&report.cameras) {
                shown.captured = account.captured();
                shown.dropped = account.dropped_total();
                shown.repeated = account.repeated;
            }
        });
    }
}

/// What is counted for every frame: looked up once.
pub(super) struct Meters {
    pub cameras: Vec<CameraMeters>,
    pub skew: Histogram,
    pub arm_misses: Counter,
}

/// Of one camera.
pub(super) struct CameraMeters {
    pub captured: Counter,
    pub missed: Counter,
}

impl Meters {
    pub(super) fn new(arguments: &CoordinatorArguments) -> Meters {
        let of = |name: &String| CameraMeters {
            captured: counter!(metrics::FRAMES_CAPTURED, "camera" => name.clone()),
            missed: counter!(metrics::FRAMES_MISSED, "camera" => name.clone()),
        };
        Meters {
            cameras: arguments.cameras.iter().map(|camera| of(&camera.name)).collect(),
            skew: histogram!(metrics::CAMERA_SKEW),
            arm_misses: counter!(metrics::ARM_MISSES),
        }
    }
}

/// The rate of one camera, measured over its last captures, and the gaps in its sequence numbers.
#[derive(Default)]
pub(super) struct Rate {
    captures: VecDeque<u64>,
    sequence: Option<u64>,
}

/// Captures that the rate is measured over go back this far.
const RATE_WINDOW_NS: u64 = 2_000_000_000;

impl Rate {
    /// Adds a capture; the number of pictures that the driver counted and never delivered.
    pub(super) fn add(&mut self, sequence: u64, captured_ns: u64) -> u64 {
        self.captures.push_back(captured_ns);
        while self.captures.front().is_some_and(|first| first + RATE_WINDOW_NS < captured_ns) {
            self.captures.pop_front();
        }
        let missing = self.sequence.map_or(0, |last| sequence.saturating_sub(last + 1));
        self.sequence = Some(sequence);
        missing
    }

    fn per_second(&self) -> f64 {
        match (self.captures.front(), self.captures.back()) {
            (Some(first), Some(last)) if last > first => (self.captures.len() - 1) as f64 * 1e9 / (last - first) as f64,
            _ => 0.0,
        }
    }
}
