//! The pool: owns every stream, shares them out to encoders, keeps what is not yet encoded, and replaces an encoder that fails.
//!
//! A stream (one camera in one take) stays on one encoder. The pool keeps its *tail*: the frames that have been sent to
//! the encoder and have not come back in a fragment. When an encoder fails, its streams get a new generation, a new
//! encoder, and their tail again; fragments of older generations are dropped. Nothing is lost, nothing comes twice.
//!
//! When encoders are slower than cameras, the tail grows to its bound, and further frames wait on disk ([`Spill`]). When
//! that is full too, the frame before stands in, flagged and counted.

use super::encoder::{Encoder, EncoderArguments, EncoderMessage};
use super::writer::WriterMessage;
use crate::budget::Budget;
use crate::clock::Clock;
use crate::codec::Fragment;
use crate::codec::backend::{self, Device, OpenEncoder};
use crate::codec::stream::StreamParams;
use crate::episode::TakeId;
use crate::frame::{CameraIndex, DropReason, Frame};
use crate::metrics;
use crate::restart::{Decision, Policy, Restarts};
use crate::spill::Spill;
use crate::status::SharedStatus;
use ractor::thread_local::{ThreadLocalActor, ThreadLocalActorSpawner};
use ractor::{ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

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
    /// From an encoder: the next frames of a stream.
    Encoded { stream: StreamId, generation: u32, fragment: Fragment },
    /// From an encoder: the stream has given all.
    Finished { stream: StreamId, generation: u32 },
    /// From the pool itself: what a dead encoder had said before is heard first.
    EncoderDied { encoder: ActorId, reason: String },
}

/// One camera as the pool sees it.
#[derive(Clone, Debug)]
pub struct PoolCamera {
    pub name: String,
    pub params: StreamParams,
    /// Credits for frames that come back from disk: apart from the camera's own, so that neither waits for the other.
    pub readback: Budget,
}

/// What the pool is born with.
pub struct PoolArguments {
    pub cameras: Vec<PoolCamera>,
    pub workers: usize,
    /// Frames of a stream that may wait in memory, beyond those of an unfinished fragment.
    pub queue_size: usize,
    pub spill_dir: PathBuf,
    pub spill_limit_bytes: u64,
    pub open: OpenEncoder,
    pub writer: ActorRef<WriterMessage>,
    pub clock: Arc<dyn Clock>,
    pub status: SharedStatus,
}

/// The actor; see [`PoolMessage`].
#[derive(Default)]
pub struct EncoderPool;

/// See [`EncoderPool`].
pub struct PoolState {
    arguments: PoolArguments,
    encoders: Vec<Slot>,
    streams: BTreeMap<StreamId, Stream>,
    spilled_bytes: u64,
    spill_warned: bool,
}

struct Slot {
    actor: ActorRef<EncoderMessage>,
    restarts: Restarts,
    /// No encoder works here any more.
    given_up: bool,
}

struct Stream {
    slot: usize,
    generation: u32,
    params: Arc<StreamParams>,
    tail: VecDeque<(u64, Arc<Frame>)>,
    spill: Spill,
    /// Frames replaced by the one before because the disk had no room: told to the writer with their fragment.
    replaced: VecDeque<u64>,
    next_frame: u64,
    finishing: bool,
}

/// Frames of the longest fragment of a stream.
pub fn longest_fragment(params: &StreamParams) -> usize {
    params.gop.min(params.fps).max(1) as usize
}

/// A spill that holds this share of its bound is said.
const SPILL_WARNING: f64 = 0.8;

impl ThreadLocalActor for EncoderPool {
    type Msg = PoolMessage;
    type State = PoolState;
    type Arguments = PoolArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<PoolMessage>,
        arguments: PoolArguments,
    ) -> Result<PoolState, ActorProcessingErr> {
        let mut state = PoolState {
            arguments,
            encoders: Vec::new(),
            streams: BTreeMap::new(),
            spilled_bytes: 0,
            spill_warned: false,
        };
        for _ in 0..state.arguments.workers.max(1) {
            let actor = state.spawn(&myself).await?;
            let restarts = Restarts::new(Policy::ENCODER);
            state.encoders.push(Slot { actor, restarts, given_up: false });
        }
        Ok(state)
    }

    async fn post_stop(&self, myself: ActorRef<PoolMessage>, _state: &mut PoolState) -> Result<(), ActorProcessingErr> {
        myself.get_cell().stop_children_and_wait(None, None).await;
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<PoolMessage>,
        message: PoolMessage,
        state: &mut PoolState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            PoolMessage::Open { take, expected_frames } => state.open(take, expected_frames),
            PoolMessage::Push { stream, index, frame } => state.push(stream, index, frame),
            PoolMessage::Finish { take } => {
                for id in state.ids(take) {
                    state.finish(id);
                }
            }
            PoolMessage::Abandon { take } => {
                for id in state.ids(take) {
                    state.close(id);
                }
            }
            PoolMessage::Encoded { stream, generation, fragment } => state.encoded(stream, generation, fragment),
            PoolMessage::Finished { stream, generation } => {
                if state.streams.get(&stream).is_some_and(|s| s.generation == generation) {
                    state.close(stream);
                    let _ = state.arguments.writer.cast(WriterMessage::VideoEncoded { stream });
                }
            }
            PoolMessage::EncoderDied { encoder, reason } => state.replace(&myself, encoder, &reason).await?,
        }
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
            SupervisionEvent::ActorFailed(who, error) => Some((who.get_id(), error.to_string())),
            SupervisionEvent::ActorTerminated(who, _, reason) => {
                Some((who.get_id(), reason.unwrap_or_else(|| "stopped".into())))
            }
            _ => None,
        };
        if let Some((encoder, reason)) = died {
            let _ = myself.cast(PoolMessage::EncoderDied { encoder, reason });
        }
        Ok(())
    }
}

impl PoolState {
    async fn spawn(&self, myself: &ActorRef<PoolMessage>) -> Result<ActorRef<EncoderMessage>, ActorProcessingErr> {
        // Each spawner is a thread of its own: an encoder that blocks holds up nobody else.
        let spawner = ThreadLocalActorSpawner::new();
        let arguments = EncoderArguments { pool: myself.clone(), open: self.arguments.open.clone() };
        let (actor, _) = Encoder::spawn_linked(None, arguments, myself.get_cell(), spawner).await?;
        Ok(actor)
    }

    fn ids(&self, take: TakeId) -> Vec<StreamId> {
        let first = StreamId { take, camera: 0 };
        let last = StreamId { take, camera: usize::MAX };
        self.streams.range(first..=last).map(|(id, _)| *id).collect()
    }

    fn open(&mut self, take: TakeId, expected_frames: u64) {
        for camera in 0..self.arguments.cameras.len() {
            let id = StreamId { take, camera };
            let params = StreamParams {
                stats_stride: crate::codec::stream::stats_stride(expected_frames),
                ..self.arguments.cameras[camera].params.clone()
            };
            let stream = Stream {
                slot: camera % self.encoders.len(),
                generation: 0,
                params: Arc::new(params),
                tail: VecDeque::new(),
                spill: Spill::temporary(self.arguments.spill_dir.clone()),
                replaced: VecDeque::new(),
                next_frame: 0,
                finishing: false,
            };
            if self.encoders[stream.slot].given_up {
                self.fail(take, "its encoder failed too often");
                return;
            }
            self.send_open(id, &stream);
            self.streams.insert(id, stream);
        }
        self.show();
    }

    fn send_open(&self, id: StreamId, stream: &Stream) {
        let _ = self.encoders[stream.slot].actor.cast(EncoderMessage::Open {
            stream: id,
            generation: stream.generation,
            params: stream.params.clone(),
            camera: self.arguments.cameras[id.camera].name.clone(),
        });
    }

    /// Frames that a stream may have in memory: those that wait, and those of the fragment being made.
    fn memory_limit(&self, stream: &Stream) -> usize {
        if self.arguments.clock.is_simulated() {
            // The camera waits for credits instead.
            return usize::MAX;
        }
        self.arguments.queue_size + longest_fragment(&stream.params)
    }

    fn push(&mut self, id: StreamId, index: u64, frame: Arc<Frame>) {
        let Some(stream) = self.streams.get(&id) else { return };
        if stream.spill.is_empty() && stream.tail.len() < self.memory_limit(stream) {
            self.send(id, index, frame);
        } else {
            self.spill(id, index, frame);
        }
        self.show_queue(id);
    }

    fn send(&mut self, id: StreamId, index: u64, frame: Arc<Frame>) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.tail.push_back((index, frame.clone()));
        let _ = self.encoders[stream.slot].actor.cast(EncoderMessage::Push { stream: id, index, frame });
    }

    fn spill(&mut self, id: StreamId, index: u64, frame: Arc<Frame>) {
        let limit = self.arguments.spill_limit_bytes;
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let before = stream.spill.bytes();
        let room = self.spilled_bytes + stream.spill.needed(&frame) <= limit;
        let pushed = if room {
            stream.spill.push(index, &frame).map(|()| true)
        } else {
            stream.spill.push_stand_in(index).inspect(|stands_in| stream.replaced.extend(stands_in.then_some(index)))
        };
        match pushed {
            Ok(true) => {}
            // Nothing on disk could stand in: the frame stays in memory, within its credits.
            Ok(false) => return self.send(id, index, frame),
            Err(error) => return self.fail(id.take, &error.to_string()),
        }
        self.spilled_bytes += stream.spill.bytes() - before;
        ::metrics::gauge!(metrics::SPILL_BYTES).set(self.spilled_bytes as f64);
        if !self.spill_warned && self.spilled_bytes as f64 > SPILL_WARNING * limit as f64 {
            self.spill_warned = true;
            tracing::warn!(
                "encoders are behind: {} MiB of frames wait on disk, {} MiB may; beyond that frames are dropped. Lower the resolution, raise video_encoding_workers or use codec = \"copy\"",
                self.spilled_bytes >> 20,
                limit >> 20
            );
        }
    }

    /// Brings frames of the camera's oldest stream back from disk as memory becomes free. Only the oldest: it needs no
    /// credit but its own to go on, so it always ends, and the next one follows.
    fn refill(&mut self, camera: CameraIndex) {
        let Some(id) = self.streams.keys().find(|id| id.camera == camera).copied() else { return };
        while let Some(stream) = self.streams.get_mut(&id) {
            let readback = &self.arguments.cameras[camera].readback;
            let before = stream.spill.bytes();
            let popped = stream.spill.pop(|len| readback.try_acquire(len).ok());
            let ended = stream.finishing && stream.spill.is_empty();
            self.spilled_bytes = self.spilled_bytes.saturating_sub(before - stream.spill.bytes());
            match popped {
                Ok(Some((index, frame))) => self.send(id, index, frame),
                Ok(None) => return,
                Err(error) => return self.fail(id.take, &error.to_string()),
            }
            if ended {
                self.send_finish(id);
            }
        }
    }

    fn finish(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.finishing = true;
        if stream.spill.is_empty() {
            self.send_finish(id);
        } else {
            self.refill(id.camera);
        }
    }

    fn send_finish(&self, id: StreamId) {
        if let Some(stream) = self.streams.get(&id) {
            let _ = self.encoders[stream.slot].actor.cast(EncoderMessage::Finish { stream: id });
        }
    }

    fn encoded(&mut self, id: StreamId, generation: u32, mut fragment: Fragment) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.generation != generation || fragment.first_frame != stream.next_frame {
            return;
        }
        let end = fragment.first_frame + fragment.samples.len() as u64;
        let mut newest = None;
        while stream.tail.front().is_some_and(|(index, _)| *index < end) {
            newest = stream.tail.pop_front().map(|(_, frame)| frame.captured);
        }
        stream.next_frame = end;
        while stream.replaced.front().is_some_and(|index| *index < end) {
            fragment.substituted.extend(stream.replaced.pop_front().map(|index| (index, DropReason::SpillFull)));
        }
        let _ = self.arguments.writer.cast(WriterMessage::Fragment { stream: id, fragment, newest });
        self.refill(id.camera);
        self.show_queue(id);
    }

    /// Puts a new encoder where one died, and gives it the streams of the dead one from the first frame that never came back.
    async fn replace(
        &mut self,
        myself: &ActorRef<PoolMessage>,
        encoder: ActorId,
        reason: &str,
    ) -> Result<(), ActorProcessingErr> {
        let Some(slot) = self.encoders.iter().position(|s| s.actor.get_id() == encoder) else { return Ok(()) };
        let hit: Vec<StreamId> = self.streams.iter().filter(|(_, s)| s.slot == slot).map(|(id, _)| *id).collect();
        if self.encoders[slot].restarts.failed(self.arguments.clock.now().mono_ns) == Decision::GiveUp {
            tracing::error!("encoder {slot} failed too often, the last time with: {reason}; its takes cannot be saved");
            self.encoders[slot].given_up = true;
            for take in hit.iter().map(|id| id.take).collect::<BTreeSet<_>>() {
                self.fail(take, reason);
            }
            return Ok(());
        }
        tracing::warn!("encoder {slot} failed: {reason}; a new one goes on with {} videos", hit.len());
        ::metrics::counter!(metrics::ACTOR_RESTARTS, "actor" => "encoder", "reason" => "failed").increment(1);
        self.encoders[slot].actor = self.spawn(myself).await?;
        for id in hit {
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            stream.generation += 1;
            let backend = backend::name(stream.params.codec, Device::Cpu);
            ::metrics::counter!(metrics::ENCODER_FALLBACKS, "from" => backend, "to" => backend, "reason" => "failed")
                .increment(1);
            let tail: Vec<(u64, Arc<Frame>)> = stream.tail.iter().cloned().collect();
            let finishing = stream.finishing && stream.spill.is_empty();
            let _ = self.arguments.writer.cast(WriterMessage::EncoderReplaced {
                stream: id,
                frame: stream.next_frame,
                reason: reason.to_string(),
            });
            if let Some(stream) = self.streams.get(&id) {
                self.send_open(id, stream);
            }
            for (index, frame) in tail {
                let _ = self.encoders[slot].actor.cast(EncoderMessage::Push { stream: id, index, frame });
            }
            if finishing {
                let _ = self.encoders[slot].actor.cast(EncoderMessage::Finish { stream: id });
            }
        }
        Ok(())
    }

    /// The take cannot be encoded: its streams are closed and the writer is told.
    fn fail(&mut self, take: TakeId, reason: &str) {
        for id in self.ids(take) {
            self.close(id);
        }
        let _ = self.arguments.writer.cast(WriterMessage::EncodingFailed { take, reason: reason.to_string() });
    }

    fn close(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.remove(&id) {
            self.spilled_bytes = self.spilled_bytes.saturating_sub(stream.spill.bytes());
            let _ = self.encoders[stream.slot].actor.cast(EncoderMessage::Close { stream: id });
            self.refill(id.camera);
        }
        self.show();
    }

    fn show(&self) {
        ::metrics::gauge!(metrics::ENCODER_SESSIONS).set(self.streams.len() as f64);
        ::metrics::gauge!(metrics::SPILL_BYTES).set(self.spilled_bytes as f64);
    }

    fn show_queue(&self, id: StreamId) {
        let waiting: usize = self
            .streams
            .iter()
            .filter(|(other, _)| other.camera == id.camera)
            // The frames of the fragment being made do not wait.
            .map(|(_, s)| s.tail.len().saturating_sub(longest_fragment(&s.params)) + s.spill.len())
            .sum();
        let camera = self.arguments.cameras[id.camera].name.clone();
        ::metrics::gauge!(metrics::QUEUE_FRAMES, "camera" => camera).set(waiting as f64);
        self.arguments.status.send_modify(|s| {
            if let Some(shown) = s.cameras.get_mut(id.camera) {
                shown.queue = waiting;
            }
        });
    }
}
