//! The way of frames through the pool: to the encoder, or over the disk when memory holds as many as it may.

use super::super::encoder::EncoderMessage;
use super::super::writer::WriterMessage;
use super::{Home, Keeping, PoolMessage, PoolState, Stream, StreamId, longest_fragment};
use crate::budget::Budget;
use crate::codec::Fragment;
use crate::codec::backend::{self, Device};
use crate::codec::stream::{StreamParams, stats_stride};
use crate::episode::TakeId;
use crate::events::Event;
use crate::frame::{CameraIndex, DropReason, Frame};
use crate::metrics;
use crate::spill::Spill;
use ractor::{ActorProcessingErr, ActorRef};
use std::collections::VecDeque;
use std::sync::Arc;

/// A spill that holds this share of its bound is said.
pub const SPILL_WARNING: f64 = 0.8;
/// Frames that come back from disk and are on their way to the encoder, beside those of a fragment.
const READBACK_FRAMES: usize = 24;

impl Stream {
    /// The name of what encodes it.
    pub(super) fn backend(&self) -> &'static str {
        backend::name(self.params.codec, self.home.device().unwrap_or(Device::Gpu))
    }
}

impl PoolState {
    pub(super) fn stream(&self, camera: CameraIndex, expected_frames: u64, spill: Spill) -> Stream {
        let params = StreamParams {
            stats_stride: stats_stride(expected_frames),
            ..self.arguments.cameras[camera].params.clone()
        };
        Stream {
            home: Home::Waiting,
            generation: 0,
            readback: Budget::new(self.arguments.readback_bytes, longest_fragment(&params) + READBACK_FRAMES),
            params: Arc::new(params),
            tail: VecDeque::new(),
            spill,
            kept: false,
            replaced: VecDeque::new(),
            next_frame: 0,
            finishing: false,
            switch: None,
        }
    }

    pub(super) async fn open(
        &mut self,
        myself: &ActorRef<PoolMessage>,
        take: TakeId,
        expected_frames: u64,
    ) -> Result<(), ActorProcessingErr> {
        if self.arguments.keeping != Keeping::No {
            self.keeping.insert(take);
        }
        for camera in 0..self.arguments.cameras.len() {
            let id = StreamId { take, camera };
            let device = self.device_for(self.arguments.cameras[camera].params.codec);
            self.placed(id, device);
            let (Some(device), true) = (device, self.arguments.keeping != Keeping::Instead) else {
                let _ = self.arguments.writer.cast(WriterMessage::EncodeLater { stream: id });
                continue;
            };
            let spill = Spill::temporary(self.arguments.spill_dir.clone());
            let mut stream = self.stream(camera, expected_frames, spill);
            stream.home = self.home(myself, device, camera).await?;
            if matches!(stream.home, Home::Worker(slot) if self.workers[slot].given_up) {
                self.fail(take, "its encoder failed too often");
                return Ok(());
            }
            self.send_open(id, &stream);
            self.streams.insert(id, stream);
        }
        self.show();
        Ok(())
    }

    pub(super) fn send_open(&self, id: StreamId, stream: &Stream) {
        let Some(actor) = self.actor(&stream.home) else { return };
        let _ = actor.cast(EncoderMessage::Open {
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

    pub(super) fn push(&mut self, id: StreamId, index: u64, frame: Arc<Frame>) {
        if self.keeping.contains(&id.take) {
            let _ = self.arguments.writer.cast(WriterMessage::Keep { stream: id, index, frame: frame.clone() });
        }
        let Some(stream) = self.streams.get(&id) else { return };
        if stream.spill.is_empty() && stream.tail.len() < self.memory_limit(stream) {
            self.send(id, index, frame);
        } else {
            self.spill(id, index, frame);
        }
        self.show_queue(id);
    }

    pub(super) fn send(&mut self, id: StreamId, index: u64, frame: Arc<Frame>) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let message = EncoderMessage::Push { stream: id, index, frame: Arc::downgrade(&frame) };
        stream.tail.push_back((index, frame));
        let home = stream.home.clone();
        if let Some(actor) = self.actor(&home) {
            let _ = actor.cast(message);
        }
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
            let text = format!(
                "encoders are behind: {} MiB of frames wait on disk, {} MiB may; beyond that frames are dropped. Lower the resolution, raise video_encoding_workers or use codec = \"copy\"",
                self.spilled_bytes >> 20,
                limit >> 20
            );
            self.tell(Event::Backlog { bytes: self.spilled_bytes, limit_bytes: limit }, text);
        }
    }

    /// Brings frames back from disk as memory becomes free: for the camera's oldest stream, which needs no credit but its
    /// own to go on, so that it always ends and the next one follows; and for kept streams, which are few at a time.
    pub(super) fn refill(&mut self, camera: CameraIndex) {
        let of_camera = |id: &&StreamId| id.camera == camera;
        let oldest = self.streams.iter().find(|(id, s)| of_camera(id) && !s.kept).map(|(id, _)| *id);
        let kept = |(id, s): &(&StreamId, &Stream)| of_camera(id) && s.kept && s.home.device().is_some();
        let ids: Vec<StreamId> = self.streams.iter().filter(kept).map(|(id, _)| *id).chain(oldest).collect();
        for id in ids {
            self.refill_stream(id);
        }
    }

    fn refill_stream(&mut self, id: StreamId) {
        while let Some(stream) = self.streams.get_mut(&id) {
            let before = stream.spill.bytes();
            let popped = stream.spill.pop(|len| stream.readback.try_acquire(len).ok());
            let ended = stream.finishing && stream.spill.is_empty();
            if !stream.kept {
                self.spilled_bytes = self.spilled_bytes.saturating_sub(before - stream.spill.bytes());
            }
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

    pub(super) fn finish(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.finishing = true;
        if stream.spill.is_empty() {
            self.send_finish(id);
        } else {
            self.refill(id.camera);
        }
    }

    pub(super) fn send_finish(&self, id: StreamId) {
        if let Some(actor) = self.streams.get(&id).and_then(|stream| self.actor(&stream.home)) {
            let _ = actor.cast(EncoderMessage::Finish { stream: id });
        }
    }

    pub(super) fn encoded(&mut self, id: StreamId, generation: u32, mut fragment: Fragment) {
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

    pub(super) fn close(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.remove(&id) {
            if !stream.kept {
                self.spilled_bytes = self.spilled_bytes.saturating_sub(stream.spill.bytes());
            }
            match &stream.home {
                Home::Worker(slot) => {
                    let _ = self.workers[*slot].actor.cast(EncoderMessage::Close { stream: id });
                }
                Home::Session { actor, .. } => actor.stop(None),
                Home::Waiting => {}
            }
            self.refill(id.camera);
            self.show_queue(id);
        }
        self.show();
    }

    /// Brings what is shown of all streams up to date.
    pub(super) fn show(&self) {
        let open: Vec<&Stream> = self.streams.values().filter(|s| s.home.device().is_some()).collect();
        ::metrics::gauge!(metrics::ENCODER_SESSIONS).set(open.len() as f64);
        ::metrics::gauge!(metrics::SPILL_BYTES).set(self.spilled_bytes as f64);
        let mut names: Vec<&str> = open.iter().map(|stream| stream.backend()).collect();
        names.sort_unstable();
        names.dedup();
        if !names.is_empty() {
            self.arguments.status.send_modify(|s| s.encoder = names.join(" and "));
        }
    }

    fn show_queue(&self, id: StreamId) {
        let waiting: usize = self
            .streams
            .iter()
            // What is kept to be encoded later waits in no queue: it is told as episodes that wait.
            .filter(|(other, stream)| other.camera == id.camera && !stream.kept)
            // The frames of the fragment being made do not wait.
            .map(|(_, s)| s.tail.len().saturating_sub(longest_fragment(&s.params)) + s.spill.len())
            .sum();
        self.meters[id.camera].queue.set(waiting as f64);
        self.arguments.status.send_modify(|s| {
            if let Some(shown) = s.cameras.get_mut(id.camera) {
                shown.queue = waiting;
            }
        });
    }
}
