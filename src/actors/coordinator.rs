//! The episode coordinator: puts frames and arm samples on the tick grid, decides with the operator what becomes an
//! episode, and hands rows and frames on. It waits for nothing: all it does is move pointers.

use super::arm::Sample;
use super::encoder_pool::{PoolMessage, StreamId};
use super::recorder::{RecorderMessage, RunError};
use super::ticker::Tick;
use super::writer::WriterMessage;
use crate::account::{CameraAccount, Losses, TakeReport};
use crate::align::{self, Aligner};
use crate::arm::cues::Cues;
use crate::arm::trajectory::Cue;
use crate::clock::{Clock, Hold, Stamp, tick_ns};
use crate::config::schema::{OnLoss, OnLowDisk};
use crate::dataset::{Row, RowArm, RowFrame};
use crate::episode::{End, Key, Phase, Plan, Run, Slot, TakeId};
use crate::frame::{CameraIndex, DropReason, Frame};
use crate::losses::{self, Loss};
use crate::metrics;
use crate::restart::Device;
use crate::run_state::Ending;
use crate::schedule::Schedule;
use crate::status::{self, SharedStatus};
use crate::supervision::{Health, Part};
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
    /// From the recorder: a device that worked is away; rows need not wait for it.
    DeviceLost { loss: Loss, hold: Hold },
    /// From the recorder: it is there again; a camera with its first picture, the arm when both of its threads answer.
    DeviceBack { device: Device, hold: Hold },
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
    /// From the writer: the disk has too little room to record, with the words for it; `None`: there is room again.
    DiskFull { reason: Option<String> },
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
    /// Where a replay moves the arm.
    pub cues: Option<Arc<Cues>>,
    pub fps: u32,
    pub plan: Plan,
    pub pace: Pace,
    /// Episodes of the run that an earlier process recorded.
    pub recorded: u64,
    pub schedule: Schedule,
    pub on_low_disk: OnLowDisk,
    pub ending: Arc<Ending>,
    pub health: Arc<Health>,
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
    /// No room on the disk.
    disk_full: bool,
    /// The next take waits for encoders, or for room.
    held: bool,
    rates: Vec<Rate>,
    losses: losses::Losses,
    /// Ticks up to this one may have no sample, since the arm is or was away.
    arm_lost_until: Option<u64>,
    tick: u64,
    ended: bool,
    failure: Option<RunError>,
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
            run: Run::new(arguments.plan).after(arguments.recorded),
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
            disk_full: false,
            held: false,
            rates: arguments.cameras.iter().map(|_| Rate::default()).collect(),
            losses: losses::Losses::default(),
            arm_lost_until: None,
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
            CoordinatorMessage::DeviceLost { loss, hold } => {
                state.lost(loss);
                state.hand_on();
                drop(hold);
            }
            CoordinatorMessage::DeviceBack { device, hold } => {
                state.back(device);
                drop(hold);
            }
            // The half of a lost arm that still answers is about to end.
            CoordinatorMessage::Sample(_) if state.arm_lost_until == Some(u64::MAX) => {}
            CoordinatorMessage::Sample(sample) => {
                if state.samples.len() >= MOST_WAITING_SAMPLES {
                    state.samples.pop_front();
                }
                state.samples.push_back(sample);
            }
            CoordinatorMessage::Tick { tick, hold } => {
                state.tick(tick);
                state.hand_on();
                state.arguments.health.beat(Part::Ticks);
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
            CoordinatorMessage::DiskFull { reason } => state.disk_full(reason),
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
            return self.cue(tick.number, Slot::Idle);
        }
        self.tick = tick.number;
        self.keep_schedule(tick.due);
        let (slot, end) = self.run.tick(self.has_room() && self.is_in_place());
        self.cue(tick.number, slot);
        self.slots.push_back((tick, slot));
        self.aligner.tick(tick.number, tick.due.mono_ns, tick.woke.mono_ns);
        self.ends.extend(end.map(|end| (tick.number, end)));
        self.show(end.is_some());
    }

    /// Tells a replay what the tick is for.
    fn cue(&self, tick: u64, slot: Slot) {
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
    fn is_in_place(&self) -> bool {
        self.arguments.cues.as_ref().is_none_or(|cues| cues.is_in_place())
    }

    /// What was recorded leaves room for another take: nothing that time alone would change.
    fn has_room(&self) -> bool {
        // Those that nobody can encode are not waited for.
        let saving = self.saving.values().filter(|waits| !**waits).count();
        let room = match self.arguments.pace {
            Pace::Saved => saving == 0,
            Pace::Waiting(most) => saving < most,
        };
        room && !self.backlog_full && !self.disk_full && self.taking_back.is_none()
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

    /// Ends a run whose time is up; a take that is being recorded is finished first.
    fn keep_schedule(&mut self, now: Stamp) {
        let between = matches!(self.run.phase(), Phase::Resetting { .. } | Phase::Recording { rows: 0, .. });
        if let Some(key) = self.arguments.schedule.is_over(now).filter(|_| between) {
            let (kept, episodes) = (self.run.kept(), self.arguments.plan.episodes);
            tracing::info!("the run ends here, with {kept} of {episodes} episodes: {key} is reached");
            let _ = self.run.key(Key::Stop);
        }
    }

    /// Ends and saves the take while there is still room for that; what comes then is the configuration's.
    fn disk_full(&mut self, reason: Option<String>) {
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
    fn end_if_stuck(&mut self) {
        let between = matches!(self.run.phase(), Phase::Recording { rows: 0, .. });
        if between && self.backlog_full && !self.saving.is_empty() && self.saving.values().all(|waits| *waits) {
            let _ = self.run.key(Key::Stop);
            self.failure.get_or_insert(RunError::Failed(
                "there is no encoder, and no room for more pictures that wait for one: they are safe on disk and are encoded by the next run or by `recorder regenerate`; raise limits.spill_mib to record more".into(),
            ));
        }
    }

    fn lost(&mut self, loss: Loss) {
        let Loss { device, on_loss, .. } = loss;
        match device {
            Device::Camera(camera) => {
                self.aligner.lost(camera);
                self.rates[camera] = Rate::default();
            }
            Device::Arm => self.arm_lost_until = Some(u64::MAX),
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

    fn back(&mut self, device: Device) {
        if device == Device::Arm {
            self.arm_lost_until = Some(self.tick);
        }
        self.run.back(device);
        self.losses.back(device);
        self.show(true);
    }

    /// Holds simulated time while nothing may be recorded: cameras and ticks would run as fast as they can, and take the
    /// CPU from the encoders.
    fn rest(&mut self) {
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
            || self.arm_lost_until.is_some_and(|until| tick.number <= until)
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
            if selection.lost {
                account.gaps.add(index, self.losses.reason(Device::Camera(camera)));
            }
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
                lost: selection.lost,
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
            let lost = missed && self.arm_lost_until.is_some_and(|until| tick.number <= until);
            report.arm_misses += u64::from(state_reused || action_reused);
            if lost {
                report.arm_gaps.add(index, self.losses.reason(Device::Arm));
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
        self.failure.get_or_insert(RunError::Failed(reason));
    }

    fn end_run(&mut self) {
        let encoding = self.saving.values().any(|waits| !waits);
        if self.is_done() && !encoding && self.taking_back.is_none() && !self.ended {
            self.ended = true;
            self.show(true);
            if self.failure.is_none() && self.run.kept() >= self.arguments.plan.episodes {
                // All is recorded, whatever else wanted the process to end.
                self.arguments.ending.end();
            }
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
        let schedule_left_s = self.arguments.schedule.left_s(self.arguments.clock.now());
        ::metrics::gauge!(metrics::SCHEDULE_LEFT).set(schedule_left_s.unwrap_or(f64::INFINITY));
        let now_ns = self.arguments.clock.now().mono_ns;
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
