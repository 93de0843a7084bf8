//! The episode coordinator: puts frames and arm samples on the tick grid, decides with the operator what becomes an
//! episode, and hands rows and frames on. It waits for nothing: all it does is move pointers.

mod gates;
mod rows;
mod shown;

use super::arm::Sample;
use super::encoder_pool::PoolMessage;
use super::recorder::{RecorderMessage, RunError};
use super::ticker::Tick;
use super::writer::WriterMessage;
use crate::account::{ControlChange, TakeReport};
use crate::align::Aligner;
use crate::arm::cues::Cues;
use crate::clock::{Clock, Hold, Stamp, tick_ns};
use crate::config::schema::OnLowDisk;
use crate::episode::{End, Key, Plan, Run, Slot, TakeId};
use crate::events::Event;
use crate::frame::{CameraIndex, DropReason, Frame};
use crate::losses::{self, Loss};
use crate::metrics;
use crate::restart::Device;
use crate::run_state::Ending;
use crate::schedule::Schedule;
use crate::status::{self, SharedStatus};
use crate::supervision::{Health, Part};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use shown::{Meters, Rate};
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
    /// From the recorder: it is there again; a camera with its first picture, an arm when it answers.
    DeviceBack { device: Device, hold: Hold },
    /// From the follower's thread: what was read and sent at a tick.
    Sample(Sample),
    /// From a camera's or an arm's thread: something happened, which it has no time to tell itself.
    Told { at: Stamp, event: Box<Event>, text: String },
    /// From the ticker. Simulated time stands still until `hold` is dropped.
    Tick { tick: Tick, hold: Hold },
    /// From the console.
    Key(Key),
    /// From the writer: a take has become an episode.
    TakeSaved { take: TakeId, episode_index: u64, seconds: f64 },
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
    meters: Meters,
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
            meters: Meters::new(&arguments),
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
            CoordinatorMessage::Told { at, event, text } => {
                state.note(&event);
                state.tell(at, *event, text);
            }
            // It was on its way when the arm was lost.
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
                let takes_back = key == Key::Rerecord && state.take_back();
                if let Some(end) = if takes_back { None } else { state.run.key(key) } {
                    state.ends.push_back((state.tick, end));
                }
                state.show(true);
            }
            CoordinatorMessage::TakeSaved { take, episode_index, seconds } => {
                state.saving.remove(&take);
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

    fn failed(&mut self, take: TakeId, reason: String) {
        let what = if self.taking_back.take_if(|back| *back == take).is_some() { "taken back" } else { "saved" };
        let text = format!("take {take} cannot be {what}: {reason}");
        self.tell(self.arguments.clock.now(), Event::TakeFailed { take, reason: reason.clone() }, text);
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

    /// What the take's summary tells of it too.
    fn note(&mut self, event: &Event) {
        let Event::ControlChanged { camera, control, set, found, set_back } = event else { return };
        let index = self.arguments.cameras.iter().position(|known| known.name == *camera);
        if let Some((report, index)) = self.open.as_mut().zip(index) {
            let (row, control) = (report.rows, control.clone());
            let change = ControlChange { row, control, set: *set, found: *found, set_back: *set_back };
            report.cameras[index].control_changes.add(change);
        }
    }

    fn tell(&self, at: Stamp, event: Event, text: String) {
        self.arguments.status.tell(at, event, text);
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
}
