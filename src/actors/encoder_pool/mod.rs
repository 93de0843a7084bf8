//! The pool: owns every stream, shares them out to encoders, keeps what is not yet encoded, and replaces an encoder that fails.
//!
//! A stream (one camera in one take) stays on one encoder: on a GPU's session of its own, or on one of the CPU's workers.
//! The pool keeps its *tail*: the frames that have been sent to the encoder and have not come back in a fragment. When an
//! encoder fails, its streams get a new generation, another encoder, and their tail again; fragments of older generations
//! are dropped. Nothing is lost, nothing comes twice. See `failover.rs`.
//!
//! When encoders are slower than cameras, the tail grows to its bound, and further frames wait on disk ([`Spill`]). When
//! that is full too, the frame before stands in, flagged and counted: `streams.rs`.
//!
//! Frames may also be *kept*: the writer puts them into the take's folder, and they are encoded once the take has ended
//! (`streaming_encoding = false`), or when the GPU is back (`on_gpu_failure = "spool"`): `kept.rs`.

mod failover;
mod kept;
mod meters;
mod streams;

pub use streams::SPILL_WARNING;

use super::encoder::EncoderMessage;
use super::writer::WriterMessage;
use crate::clock::{Clock, Hold};
use crate::codec::backend::{Device, OpenEncoder};
use crate::codec::gpu::Prober;
use crate::codec::nvenc::Reason;
use crate::codec::stream::StreamParams;
use crate::codec::{CodecError, Fragment, fragment};
use crate::config::schema::{Codec, OnGpuFailure};
use crate::episode::TakeId;
use crate::events::Event;
use crate::frame::{CameraIndex, Frame};
use crate::gpu_health::GpuHealth;
use crate::restart::{Policy, Restarts};
use crate::spill::Spill;
use crate::status::SharedStatus;
use crate::supervision::{Health, Part};
use crate::watchdog::Watched;
use meters::Meters;
use ractor::thread_local::ThreadLocalActor;
use ractor::{ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One camera in one take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    pub take: TakeId,
    pub camera: CameraIndex,
}

/// What the pool hears.
#[derive(Debug)]
pub enum PoolMessage {
    /// From the coordinator: a take begins, of about so many frames.
    Open { take: TakeId, expected_frames: u64 },
    /// From the coordinator: frame `index` of a stream.
    Push { stream: StreamId, index: u64, frame: Arc<Frame> },
    /// From the coordinator: the take has all its frames.
    Finish { take: TakeId },
    /// From the coordinator: the take is not wanted.
    Abandon { take: TakeId },
    /// From the writer: the frames of a stream of an ended take are in a file, and are to be encoded from frame `first` on.
    Kept { stream: StreamId, file: PathBuf, first: u64, frames: u64 },
    /// From an encoder: the first frame since the stream was opened there is encoded.
    Started { stream: StreamId, generation: u32, index: u64 },
    /// From an encoder: the next frames of a stream.
    Encoded { stream: StreamId, generation: u32, fragment: Fragment },
    /// From an encoder: the stream has given all.
    Finished { stream: StreamId, generation: u32 },
    /// From the pool itself: what a dead encoder had said before is heard first.
    EncoderDied { encoder: ActorId, failure: Failure },
    /// From its own timer: look whether a GPU session hangs, and show that the pool does not.
    Watch,
    /// From a thread of its own: whether the GPU works again.
    GpuProbed { usable: bool },
}

/// Why an encoder is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// From a bounded set, for metrics.
    pub kind: &'static str,
    pub words: String,
}

impl Failure {
    /// Every kind.
    pub const KINDS: [&'static str; 9] = {
        let [a, b, c, d, e, f] = Reason::ALL;
        [a.name(), b.name(), c.name(), d.name(), e.name(), f.name(), Failure::PANIC, Failure::STOPPED, Failure::HANG]
    };
    /// The encoder's thread panicked.
    const PANIC: &'static str = "panic";
    /// It ended without an error.
    const STOPPED: &'static str = "stopped";
    /// It has been busy with one picture for too long.
    const HANG: &'static str = "hang";

    fn of(error: &ActorProcessingErr) -> Failure {
        let kind = error.downcast_ref::<CodecError>().map_or(Failure::PANIC, |error| error.reason().name());
        Failure { kind, words: error.to_string() }
    }
}

/// One camera as the pool sees it.
#[derive(Clone, Debug)]
pub struct PoolCamera {
    pub name: String,
    pub params: StreamParams,
}

/// How the GPU is used.
pub struct GpuUse {
    /// It worked when the run began.
    pub usable: bool,
    /// Looks whether it works again.
    pub prober: Prober,
    /// A session that is busy with one picture for longer hangs.
    pub watchdog: Duration,
    /// What becomes of codecs that the CPU does not make.
    pub on_failure: OnGpuFailure,
}

/// What the pool is born with.
pub struct PoolArguments {
    pub cameras: Vec<PoolCamera>,
    /// Threads on the CPU, and kept videos that are encoded at a time.
    pub workers: usize,
    /// Frames of a stream that may wait in memory, beyond those of an unfinished fragment.
    pub queue_size: usize,
    /// Memory for frames that come back from disk, in bytes.
    pub readback_bytes: usize,
    pub spill_dir: PathBuf,
    pub spill_limit_bytes: u64,
    pub keeping: Keeping,
    pub open: OpenEncoder,
    /// Left out: the CPU only.
    pub gpu: Option<GpuUse>,
    /// Every encoding session is logged.
    pub log_sessions: bool,
    pub writer: ActorRef<WriterMessage>,
    pub clock: Arc<dyn Clock>,
    pub status: SharedStatus,
    pub health: Arc<Health>,
}

/// Whether frames are kept on disk as they were captured, until their take is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// They are encoded as they come.
    No,
    /// They are encoded as they come, and again from disk where that fails.
    Beside,
    /// They are encoded after the take.
    Instead,
}

/// The actor; see [`PoolMessage`].
#[derive(Default)]
pub struct EncoderPool;

/// See [`EncoderPool`].
pub struct PoolState {
    arguments: PoolArguments,
    workers: Vec<Worker>,
    health: GpuHealth,
    streams: BTreeMap<StreamId, Stream>,
    /// Takes being recorded whose frames are kept.
    keeping: BTreeSet<TakeId>,
    /// Simulated time stands still while the GPU is looked at: what it records must not depend on how long that takes.
    probing: Option<Hold>,
    spilled_bytes: u64,
    spill_warned: bool,
    /// By camera.
    meters: Vec<Meters>,
}

/// A thread on the CPU, for streams of several cameras.
struct Worker {
    actor: ActorRef<EncoderMessage>,
    restarts: Restarts,
    /// No encoder works here any more.
    given_up: bool,
}

/// Where a stream is encoded.
#[derive(Clone)]
enum Home {
    /// By a worker on the CPU.
    Worker(usize),
    /// By a session on the GPU with a thread of its own.
    Session { actor: ActorRef<EncoderMessage>, watched: Arc<Watched> },
    /// Nowhere yet: it waits for a free worker, or for the GPU.
    Waiting,
}

impl Home {
    fn device(&self) -> Option<Device> {
        match self {
            Home::Worker(_) => Some(Device::Cpu),
            Home::Session { .. } => Some(Device::Gpu),
            Home::Waiting => None,
        }
    }
}

struct Stream {
    home: Home,
    generation: u32,
    params: Arc<StreamParams>,
    tail: VecDeque<(u64, Arc<Frame>)>,
    /// Frames that wait on disk: those beyond the memory's bound, or all of a kept stream.
    spill: Spill,
    /// Its frames come from the take's folder.
    kept: bool,
    /// Credits for frames that come back from disk: apart from the camera's own, so that neither waits for the other.
    readback: crate::budget::Budget,
    /// Frames replaced by the one before because the disk had no room: told to the writer with their fragment.
    replaced: VecDeque<u64>,
    next_frame: u64,
    finishing: bool,
    /// An encoder was replaced, and the new one has not encoded a frame yet.
    switch: Option<Switch>,
}

/// A change of encoder under way.
struct Switch {
    from: &'static str,
    failure: Failure,
    since: Instant,
}

/// Frames of the longest fragment of a stream.
pub fn longest_fragment(params: &StreamParams) -> usize {
    fragment::longest(params.gop, params.fps)
}

/// The CPU has an encoder for it.
pub fn is_made_on_cpu(codec: Codec) -> bool {
    matches!(codec, Codec::H264 | Codec::Copy)
}

/// How often GPU sessions are looked at.
const WATCH_EVERY: Duration = Duration::from_millis(100);
/// Without a GPU the pool only shows that it goes on.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// A session that hangs at the very end is left behind after this.
const FAREWELL: Duration = Duration::from_secs(3);

impl ThreadLocalActor for EncoderPool {
    type Msg = PoolMessage;
    type State = PoolState;
    type Arguments = PoolArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<PoolMessage>,
        arguments: PoolArguments,
    ) -> Result<PoolState, ActorProcessingErr> {
        let usable = arguments.gpu.as_ref().is_some_and(|gpu| gpu.usable);
        let mut state = PoolState {
            health: GpuHealth::new(usable, arguments.clock.now().mono_ns),
            arguments,
            workers: Vec::new(),
            streams: BTreeMap::new(),
            keeping: BTreeSet::new(),
            probing: None,
            spilled_bytes: 0,
            spill_warned: false,
            meters: Vec::new(),
        };
        state.meters = state.meters();
        for _ in 0..state.arguments.workers.max(1) {
            let (actor, _) = state.spawn(&myself, Device::Cpu).await?;
            let restarts = Restarts::new(Policy::ENCODER);
            state.workers.push(Worker { actor, restarts, given_up: false });
        }
        let (timer, every) = (myself.clone(), if state.arguments.gpu.is_some() { WATCH_EVERY } else { BEAT_EVERY });
        tokio::task::spawn_local(async move {
            let mut interval = tokio::time::interval(every);
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                interval.tick().await;
                if timer.cast(PoolMessage::Watch).is_err() {
                    return;
                }
            }
        });
        let _ = state.arguments.writer.cast(WriterMessage::PoolReady { pool: myself });
        Ok(state)
    }

    async fn post_stop(&self, myself: ActorRef<PoolMessage>, _state: &mut PoolState) -> Result<(), ActorProcessingErr> {
        myself.get_cell().stop_children_and_wait(None, Some(FAREWELL)).await;
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<PoolMessage>,
        message: PoolMessage,
        state: &mut PoolState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            PoolMessage::Open { take, expected_frames } => {
                state.probe_gpu_if_due(&myself);
                state.open(&myself, take, expected_frames).await?;
            }
            PoolMessage::Push { stream, index, frame } => state.push(stream, index, frame),
            PoolMessage::Finish { take } => {
                for id in state.ids(take) {
                    state.finish(id);
                }
                state.end_keeping(take);
                state.probe_gpu_if_due(&myself);
            }
            PoolMessage::Abandon { take } => {
                for id in state.ids(take) {
                    state.close(id);
                }
                state.keeping.remove(&take);
                state.start_kept(&myself).await?;
                // Behind the take's frames that are to be kept: the writer hears of none after this.
                let _ = state.arguments.writer.cast(WriterMessage::Discard { take });
            }
            PoolMessage::Kept { stream, file, first, frames } => {
                state.add_kept(stream, file, first, frames);
                state.start_kept(&myself).await?;
            }
            PoolMessage::Started { stream, generation, index } => state.started(stream, generation, index),
            PoolMessage::Encoded { stream, generation, fragment } => state.encoded(stream, generation, fragment),
            PoolMessage::Finished { stream, generation } => {
                if let Some(ended) = state.streams.get(&stream).filter(|s| s.generation == generation) {
                    let encoder = ended.backend();
                    state.close(stream);
                    let _ = state.arguments.writer.cast(WriterMessage::VideoEncoded { stream, encoder });
                    state.start_kept(&myself).await?;
                }
            }
            PoolMessage::EncoderDied { encoder, failure } => {
                state.replace(&myself, encoder, &failure).await?;
                state.start_kept(&myself).await?;
            }
            PoolMessage::Watch => state.watch(&myself).await?,
            PoolMessage::GpuProbed { usable } => {
                state.gpu_probed(usable);
                state.start_kept(&myself).await?;
            }
        }
        state.arguments.health.beat(Part::EncoderPool);
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<PoolMessage>,
        event: SupervisionEvent,
        _state: &mut PoolState,
    ) -> Result<(), ActorProcessingErr> {
        // Supervision events overtake messages: what the dead encoder said before must be heard first, so the death is
        // put at the end of the queue.
        let died = match event {
            SupervisionEvent::ActorFailed(who, error) => Some((who.get_id(), Failure::of(&error))),
            SupervisionEvent::ActorTerminated(who, _, reason) => Some((
                who.get_id(),
                Failure { kind: Failure::STOPPED, words: reason.unwrap_or_else(|| "stopped".into()) },
            )),
            _ => None,
        };
        if let Some((encoder, failure)) = died {
            let _ = myself.cast(PoolMessage::EncoderDied { encoder, failure });
        }
        Ok(())
    }
}

impl PoolState {
    fn ids(&self, take: TakeId) -> Vec<StreamId> {
        let first = StreamId { take, camera: 0 };
        let last = StreamId { take, camera: usize::MAX };
        self.streams.range(first..=last).map(|(id, _)| *id).collect()
    }

    /// Where videos of a codec can be encoded now; nowhere when only a GPU makes it and that is away.
    fn device_for(&self, codec: Codec) -> Option<Device> {
        match codec {
            Codec::Copy => Some(Device::Cpu),
            _ if self.arguments.gpu.is_some() && self.health.usable() => Some(Device::Gpu),
            codec => is_made_on_cpu(codec).then_some(Device::Cpu),
        }
    }

    fn actor(&self, home: &Home) -> Option<ActorRef<EncoderMessage>> {
        match home {
            Home::Worker(slot) => Some(self.workers[*slot].actor.clone()),
            Home::Session { actor, .. } => Some(actor.clone()),
            Home::Waiting => None,
        }
    }

    fn tell(&self, event: Event, text: impl Into<String>) {
        self.arguments.status.tell(self.arguments.clock.now(), event, text);
    }

    /// The take cannot be encoded: its streams are closed and the writer is told.
    fn fail(&mut self, take: TakeId, reason: &str) {
        for id in self.ids(take) {
            self.close(id);
        }
        self.keeping.remove(&take);
        let _ = self.arguments.writer.cast(WriterMessage::EncodingFailed { take, reason: reason.to_string() });
    }
}
