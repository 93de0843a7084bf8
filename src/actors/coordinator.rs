//! The episode coordinator: puts frames and arm samples on the tick grid, decides with the operator what becomes an
//! episode, and hands rows and frames on. It waits for nothing: all it does is move pointers.

use super::arm::Sample;
use super::encoder_pool::{PoolMessage, StreamId};
use super::recorder::RecorderMessage;
use super::ticker::Tick;
use super::writer::WriterMessage;
use crate::account::{CameraAccount, Losses, TakeReport};
use crate::align::{self, Aligner};
use crate::clock::{Clock, Hold, Stamp, tick_ns};
use crate::dataset::{Row, RowArm, RowFrame};
use crate::episode::{End, Key, Phase, Plan, Run, Slot, TakeId};
use crate::frame::{CameraIndex, DropReason, Frame};
use crate::metrics;
use crate::status::{self, SharedStatus};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// What the coordinator hears.
#[derive(Debug)]
pub enum CoordinatorMessage {
    /// From a camera's thread: a picture.
    Frame(Arc<Frame>),
    /// From a camera's thread: a picture was captured that cannot be used.
    FrameDropped { camera: CameraIndex, sequence: u64, captured: Stamp, reason: DropReason },
    /// From the recorder: a camera is away; rows need not wait for it.
    CameraLost { camera: CameraIndex },
    /// From the arm's thread: what was read and sent at a tick.
    Sample(Sample),
    /// From the ticker. Simulated time stands still until `hold` is dropped.
    Tick { tick: Tick, hold: Hold },
    /// From the console.
    Key(Key),
    /// From the writer: a take has become an episode.
    TakeSaved { take: TakeId, episode_index: u64, rows: u64, seconds: f64 },
    /// From the writer: nothing is left of a take; of one that was an episode already if `saved`. So many episodes there are.
    TakeDiscarded { take: TakeId, saved: bool, episodes: u64 },
    /// From the writer: a take is safe on disk and waits for an encoder; nobody knows how long.
    TakeWaiting { take: TakeId },
    /// From the writer: whether there is room on disk for pictures that wait for their encoding.
    Backlog { full: bool },
    /// From the writer: a take cannot be saved, and nothing after it.
    TakeFailed { take: TakeId, reason: String },
}

/// One camera as the coordinator sees it.
#[derive(Clone, Debug)]
pub struct CoordinatorCamera {
    pub name: String,
    /// Frames a second that it is asked for.
    pub fps: u32,
}

/// What the coordinator is born with.
pub struct CoordinatorArguments {
    pub cameras: Vec<CoordinatorCamera>,
    pub has_arm: bool,
    pub fps: u32,
    pub plan: Plan,
    pub pace: Pace,
    /// Takes of an earlier run that are being encoded.
    pub waiting: Vec<TakeId>,
    pub clock: Arc<dyn Clock>,
    pub pool: ActorRef<PoolMessage>,
    pub writer: ActorRef<WriterMessage>,
    pub recorder: ActorRef<RecorderMessage>,
    pub status: SharedStatus,
}

/// When the next take may begin, beside the time for the reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// At any time: videos grow while they are recorded.
    Free,
    /// When the one before is saved.
    Saved,
    /// When fewer takes than this wait to be saved.
    Waiting(usize),
}

/// The actor; see [`CoordinatorMessage`].
pub struct Coordinator;

/// See [`Coordinator`].
pub struct CoordinatorState {
    arguments: CoordinatorArguments,
    run: Run,
    aligner: Aligner<Arc<Frame>>,
    /// What each waiting tick is for, in the order of ticks.
    slots: VecDeque<(Tick, Slot)>,
    /// Takes that end after a tick.
    ends: VecDeque<(u64, End)>,
    samples: VecDeque<Sample>,
    sample: Option<Sample>,
    /// The take whose rows are being handed on.
    open: Option<TakeReport>,
    /// By camera, pictures that were lost before capture since its last row.
    lost_before_capture: Vec<u64>,
    /// Takes handed on whole and not yet heard of; true for one that nobody can encode now.
    saving: BTreeMap<TakeId, bool>,
    /// The take that was handed on whole and is not wanted after all: the next one begins when nothing is left of it.
    taking_back: Option<TakeId>,
    /// No room for pictures that wait on disk.
    backlog_full: bool,
    /// The next take waits for encoders.
    held: bool,
    rates: Vec<Rate>,
    tick: u64,
    ended: bool,
    failure: Option<String>,
    /// Simulated time stands still: nothing may be recorded now.
    rest: Option<Hold>,
}

/// A row waits for a camera for two of its periods and this: the way from the sensor to here takes tens of milliseconds.
const TRANSPORT_PATIENCE_NS: u64 = 150_000_000;
/// Samples of the arm that wait for their rows at most; older ones are passed over.
const MOST_WAITING_SAMPLES: usize = 256;
/// A camera that delivers less than this share of its rate is said at the end of a take.
const RATE_WARNING: f64 = 0.95;

impl Actor for Coordinator {
    type Msg = CoordinatorMessage;
    type State = CoordinatorState;
    type Arguments = CoordinatorArguments;

    async fn pre_start(
        &self,
        _myself: ActorRef<CoordinatorMessage>,
        arguments: CoordinatorArguments,
    ) -> Result<CoordinatorState, ActorProcessingErr> {
        let patience = |c: &CoordinatorCamera| 2 * tick_ns(1, c.fps.min(arguments.fps)) + TRANSPORT_PATIENCE_NS;
        let patience = arguments.cameras.iter().map(patience).collect();
        arguments.status.send_modify(|s| {
            s.episodes = arguments.plan.episodes;
            let named = |c: &CoordinatorCamera| status::CameraStatus { name: c.name.clone(), ..Default::default() };
            s.cameras = arguments.cameras.iter().map(named).collect();
        });
        Ok(CoordinatorState {
            run: Run::new(arguments.plan),
            aligner: Aligner::new(patience),
            slots: VecDeque::new(),
            ends: VecDeque::new(),
            samples: VecDeque::new(),
            sample: None,
            open: None,
            lost_before_capture: vec![0; arguments.cameras.len()],
            saving: arguments.waiting.iter().map(|take| (*take, false)).collect(),
            taking_back: None,
            backlog_full: false,
            held: false,
            rates: arguments.cameras.iter().map(|_| Rate::default()).collect(),
            tick: 0,
            ended: false,
            failure: None,
            rest: None,
            arguments,
        })
    }

    async fn handle(
        &self,
        _myself: ActorRef<CoordinatorMessage>,
        message: CoordinatorMessage,
        state: &mut CoordinatorState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            CoordinatorMessage::Frame(frame) => {
                state.seen(frame.camera, frame.sequence, frame.captured);
                state.aligner.frame(frame.camera, frame.captured.mono_ns, frame);
            }
            CoordinatorMessage::FrameDropped { camera, sequence, captured, reason } => {
                state.seen(camera, sequence, captured);
                state.aligner.dropped(camera, captured.mono_ns, reason);
            }
            CoordinatorMessage::CameraLost { camera } => {
                state.aligner.lost(camera);
                state.rates[camera] = Rate::default();
            }
            CoordinatorMessage::Sample(sample) => {
                if state.samples.len() >= MOST_WAITING_SAMPLES {
                    state.samples.pop_front();
                }
                state.samples.push_back(sample);
            }
            CoordinatorMessage::Tick { tick, hold } => {
                state.tick(tick);
                state.hand_on();
                drop(hold);
            }
            CoordinatorMessage::Key(key) => {
                if key == Key::Rerecord && state.take_back() {
                    tracing::info!("the last episode is taken back, and recorded again");
                } else if let Some(end) = state.run.key(key) {
                    state.ends.push_back((state.tick, end));
                }
                state.show(true);
            }
            CoordinatorMessage::TakeSaved { take, episode_index, rows, seconds } => {
                state.saving.remove(&take);
                tracing::info!(
                    "saved as the data set's episode {episode_index}: {rows} rows, {:.0} ms after its last tick",
                    seconds * 1e3
                );
                tracing::debug!("take {take} became episode {episode_index}");
                state.arguments.status.send_modify(|s| {
                    s.saved += 1;
                    s.dataset_episodes = episode_index + 1;
                    s.last_save_s = Some(seconds);
                });
            }
            CoordinatorMessage::TakeDiscarded { take, saved, episodes } => state.taken_back(take, saved, episodes),
            CoordinatorMessage::TakeWaiting { take } => {
                state.saving.entry(take).and_modify(|waits| *waits = true);
            }
            CoordinatorMessage::Backlog { full } => state.backlog_full = full,
            CoordinatorMessage::TakeFailed { take, reason } => state.failed(take, reason),
        }
        state.hand_on();
        state.end_if_stuck();
        state.rest();
        state.end_run();
        Ok(())
    }
}

impl CoordinatorState {
    fn has_sample(&self) -> bool {
        !self.arguments.has_arm || self.sample.is_some() || !self.samples.is_empty()
    }

    fn tick(&mut self, tick: Tick) {
        // Ticks before every camera and the arm have answered have no row.
        if !self.aligner.is_ready() || !self.has_sample() {
            return;
        }
        self.tick = tick.number;
        let (slot, end) = self.run.tick(self.may_begin());
        self.slots.push_back((tick, slot));
        self.aligner.tick(tick.number, tick.due.mono_ns, tick.woke.mono_ns);
        self.ends.extend(end.map(|end| (tick.number, end)));
        self.show(end.is_some());
    }

    fn may_begin(&self) -> bool {
        // Those that nobody can encode are not waited for.
        let saving = self.saving.values().filter(|waits| !**waits).count();
        let room = match self.arguments.pace {
            Pace::Free => true,
            Pace::Saved => saving == 0,
            Pace::Waiting(most) => saving < most,
        };
        room && !self.backlog_full && self.taking_back.is_none()
    }

    /// ← between takes; false where there is nothing to take back.
    fn take_back(&mut self) -> bool {
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

    fn taken_back(&mut self, take: TakeId, saved: bool, episodes: u64) {
        if self.taking_back.take_if(|back| *back == take).is_none() {
            return;
        }
        self.saving.remove(&take);
        tracing::debug!("take {take} is taken back: {episodes} episodes are left");
        let outcome = if saved { "taken_back" } else { "discarded" };
        ::metrics::counter!(metrics::EPISODES, "outcome" => outcome).increment(1);
        self.arguments.status.send_modify(|s| {
            s.discarded += 1;
            s.saved -= u64::from(saved);
            s.dataset_episodes = episodes;
        });
    }

    /// Ends a run that could only wait: the disk is full of takes that nobody can encode.
    fn end_if_stuck(&mut self) {
        let between = matches!(self.run.phase(), Phase::Recording { rows: 0, .. });
        if between && self.backlog_full && !self.saving.is_empty() && self.saving.values().all(|waits| *waits) {
            let _ = self.run.key(Key::Stop);
            self.failure.get_or_insert(
                "there is no encoder, and no room for more pictures that wait for one: they are safe on disk and are encoded by the next run or by `recorder regenerate`; raise limits.spill_mib to record more".into(),
            );
        }
    }

    /// Holds simulated time while nothing may be recorded: cameras and ticks would run as fast as they can, and take the
    /// CPU from the encoders.
    fn rest(&mut self) {
        let next = matches!(self.run.phase(), Phase::Recording { rows: 0, .. });
        // The last rows of a take are known only when time has gone on.
        let between = self.open.is_none()
            && self.ends.is_empty()
            && (next || matches!(self.run.phase(), Phase::Resetting { .. }));
        let idle = between && !self.may_begin() && self.arguments.clock.is_simulated();
        let held = idle || (next && !self.may_begin());
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
    fn is_done(&self) -> bool {
        self.run.phase() == Phase::Done && self.open.is_none() && self.ends.is_empty()
    }

    /// Hands on all rows that are known, and ends takes after their last row.
    fn hand_on(&mut self) {
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
    fn sample_is_known(&self, tick: &Tick) -> bool {
        let patience = 2 * tick_ns(1, self.arguments.fps);
        !self.arguments.has_arm
            || self.samples.back().is_some_and(|s| s.tick >= tick.number)
            || (!self.arguments.clock.is_simulated()
                && self.slots.back().is_some_and(|(newest, _)| newest.woke.mono_ns > tick.due.mono_ns + patience))
    }

    fn row(&mut self, take: TakeId, index: u64, tick: Tick, aligned: align::Row<Arc<Frame>>) {
        let arguments = &self.arguments;
        if index == 0 {
            // The writer first: what the pool says of the take must find it there.
            let _ = arguments.writer.cast(WriterMessage::Begin { take });
            let _ = arguments.pool.cast(PoolMessage::Open { take, expected_frames: arguments.plan.ticks_per_episode });
            let accounts = arguments.cameras.iter().map(|_| CameraAccount::default()).collect();
            self.lost_before_capture.fill(0);
            self.open = Some(TakeReport { take, started: tick.due, cameras: accounts, ..Default::default() });
            tracing::info!("recording episode {} of {}", self.episode(), arguments.plan.episodes);
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
            let fresh = u64::from(!selection.repeated);
            ::metrics::counter!(metrics::FRAMES_CAPTURED, "camera" => name.clone())
                .increment(fresh + selection.dropped.len() as u64);
            ::metrics::counter!(metrics::FRAMES_WRITTEN, "camera" => name.clone()).increment(fresh);
            ::metrics::counter!(metrics::FRAMES_DUPLICATED, "camera" => name.clone()).increment(1 - fresh);
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
            });
            let _ = arguments.pool.cast(PoolMessage::Push { stream: StreamId { take, camera }, index, frame });
        }
        if row.cameras.len() > 1 {
            ::metrics::histogram!(metrics::CAMERA_SKEW).record(newest.saturating_sub(oldest) as f64 / 1e9);
        }
        if let Some(sample) = &self.sample {
            // A sample of another tick: this one's never came.
            let missed = sample.tick != tick.number;
            let (state_reused, action_reused) = (missed || sample.state_reused, missed || sample.action_reused);
            report.arm_misses += u64::from(state_reused || action_reused);
            if sample.tick == tick.number {
                for kind in &sample.errors {
                    *report.arm_errors.entry((*kind).to_string()).or_default() += 1;
                    losses.arm_errors.push((*kind).to_string());
                }
            }
            row.state.clone_from(&sample.state);
            row.action.clone_from(&sample.action);
            let goal_sent = if missed { Vec::new() } else { sample.goal_sent.clone() };
            row.arm = Some(RowArm { sampled: sample.sampled, state_reused, action_reused, goal_sent });
        }
        report.rows = index + 1;
        report.ended = tick.woke;
        let _ = arguments.writer.cast(WriterMessage::Row { take, row: Box::new(row), losses });
    }

    /// The episode of this run that is recorded or was recorded last, from 1.
    fn episode(&self) -> u64 {
        let recording = matches!(self.run.phase(), Phase::Recording { .. });
        (self.run.kept() + u64::from(recording)).max(1)
    }

    fn end_take(&mut self, end: End) {
        let Some(report) = self.open.take_if(|report| report.take == end.take) else { return };
        if end.keep {
            self.saving.insert(end.take, false);
            self.warn_of_rates(&report);
            let _ = self.arguments.pool.cast(PoolMessage::Finish { take: end.take });
            let _ = self.arguments.writer.cast(WriterMessage::End { report: Box::new(report) });
        } else {
            tracing::info!("take discarded after {} rows", report.rows);
            ::metrics::counter!(metrics::EPISODES, "outcome" => "discarded").increment(1);
            self.arguments.status.send_modify(|s| s.discarded += 1);
            let _ = self.arguments.pool.cast(PoolMessage::Abandon { take: end.take });
        }
    }

    fn warn_of_rates(&self, report: &TakeReport) {
        let seconds = report.rows as f64 / f64::from(self.arguments.fps);
        for (camera, account) in self.arguments.cameras.iter().zip(&report.cameras) {
            let rate = account.captured() as f64 / seconds;
            if report.rows > u64::from(self.arguments.fps) && rate < RATE_WARNING * f64::from(camera.fps) {
                tracing::warn!(
                    "camera {}: delivered {rate:.1} frames a second, asked for {}: {} rows repeat a frame",
                    camera.name,
                    camera.fps,
                    account.repeated
                );
            }
        }
    }

    fn failed(&mut self, take: TakeId, reason: String) {
        let what = if self.taking_back.take_if(|back| *back == take).is_some() { "taken back" } else { "saved" };
        tracing::error!("take {take} cannot be {what}: {reason}");
        ::metrics::counter!(metrics::EPISODES, "outcome" => "failed").increment(1);
        self.arguments.status.send_modify(|s| s.failed += 1);
        if self.open.as_ref().is_some_and(|report| report.take == take) {
            self.open = None;
            let _ = self.arguments.pool.cast(PoolMessage::Abandon { take });
        } else {
            self.saving.remove(&take);
        }
        // What fails one take fails the next: a full disk, an encoder that gave up. What is saved is safe.
        self.run.abort();
        self.ends.clear();
        for (_, slot) in &mut self.slots {
            *slot = Slot::Idle;
        }
        if let Some(report) = self.open.take() {
            let _ = self.arguments.pool.cast(PoolMessage::Abandon { take: report.take });
        }
        self.failure.get_or_insert(reason);
    }

    fn end_run(&mut self) {
        let encoding = self.saving.values().any(|waits| !waits);
        if self.is_done() && !encoding && self.taking_back.is_none() && !self.ended {
            self.ended = true;
            self.show(true);
            let _ = self.arguments.recorder.cast(RecorderMessage::RunEnded { failure: self.failure.take() });
        }
    }

    fn seen(&mut self, camera: CameraIndex, sequence: u64, captured: Stamp) {
        let rate = &mut self.rates[camera];
        let missing = rate.add(sequence, captured.mono_ns);
        if let Some(report) = &mut self.open {
            report.cameras[camera].lost_before_capture += missing;
            self.lost_before_capture[camera] += missing;
        }
    }

    /// Brings the status up to date: five times a second, and at once when something happened.
    fn show(&self, now: bool) {
        if !now && !self.tick.is_multiple_of(u64::from(self.arguments.fps).div_ceil(5)) {
            return;
        }
        let fps = f64::from(self.arguments.fps);
        let plan = &self.arguments.plan;
        self.arguments.status.send_modify(|s| {
            let (phase, elapsed, left) = match self.run.phase() {
                Phase::Recording { rows, .. } => (status::Phase::Recording, rows, plan.ticks_per_episode - rows),
                Phase::Resetting { ticks_left } => {
                    (status::Phase::Resetting, plan.ticks_per_reset - ticks_left, ticks_left)
                }
                Phase::Done if self.ended => (status::Phase::Done, 0, 0),
                Phase::Done => (status::Phase::Finishing, 0, 0),
            };
            s.phase = phase;
            s.held = self.held;
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

/// The rate of one camera, measured over its last captures, and the gaps in its sequence numbers.
#[derive(Default)]
struct Rate {
    captures: VecDeque<u64>,
    sequence: Option<u64>,
}

/// Captures that the rate is measured over go back this far.
const RATE_WINDOW_NS: u64 = 2_000_000_000;

impl Rate {
    /// Adds a capture; the number of pictures that the driver counted and never delivered.
    fn add(&mut self, sequence: u64, captured_ns: u64) -> u64 {
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
