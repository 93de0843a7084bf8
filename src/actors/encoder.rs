//! One encoder: an OS thread that decodes and encodes the streams it is given, one frame at a time.

use super::encoder_pool::{PoolMessage, StreamId};
use crate::codec::CodecError;
use crate::codec::backend::{self, Device, OpenEncoder, StreamEncoder};
use crate::codec::fragment::FragmentBuilder;
use crate::codec::stream::StreamParams;
use crate::frame::Frame;
use crate::metrics;
use crate::watchdog::{Call, Watched};
use ::metrics::{Histogram, histogram};
use ractor::thread_local::ThreadLocalActor;
use ractor::{ActorProcessingErr, ActorRef};
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// What the pool, and nobody else, asks of an encoder.
#[derive(Debug)]
pub enum EncoderMessage {
    /// Start a stream, or go on with one that another encoder lost: its first frame is a key frame.
    Open { stream: StreamId, generation: u32, params: Arc<StreamParams>, camera: String },
    /// The next frame of a stream. The pool holds the frame until it comes back in a fragment; one that it let go of is
    /// wanted by nobody.
    Push { stream: StreamId, index: u64, frame: Weak<Frame> },
    /// No more frames: give what is left and say that the stream is done.
    Finish { stream: StreamId },
    /// Forget the stream.
    Close { stream: StreamId },
}

/// What an encoder is born with.
pub struct EncoderArguments {
    pub pool: ActorRef<PoolMessage>,
    pub open: OpenEncoder,
    /// Where its streams are encoded.
    pub device: Device,
    pub watched: Arc<Watched>,
    /// Every session is logged as it opens and closes.
    pub log_sessions: bool,
}

/// The actor; see [`EncoderMessage`].
#[derive(Default)]
pub struct Encoder;

/// The streams of this encoder.
pub struct EncoderState {
    arguments: EncoderArguments,
    streams: HashMap<StreamId, Stream>,
}

struct Stream {
    generation: u32,
    camera: String,
    encoder: Box<dyn StreamEncoder>,
    backend: &'static str,
    duration: Histogram,
    builder: FragmentBuilder,
    /// Nothing was encoded yet.
    new: bool,
}

/// Encoders give way to capture and control.
const NICE: i32 = 5;

impl ThreadLocalActor for Encoder {
    type Msg = EncoderMessage;
    type State = EncoderState;
    type Arguments = EncoderArguments;

    async fn pre_start(
        &self,
        _myself: ActorRef<EncoderMessage>,
        arguments: EncoderArguments,
    ) -> Result<EncoderState, ActorProcessingErr> {
        // Best effort: a container may forbid it, and then all threads are equal.
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
        Ok(EncoderState { arguments, streams: HashMap::new() })
    }

    async fn handle(
        &self,
        _myself: ActorRef<EncoderMessage>,
        message: EncoderMessage,
        state: &mut EncoderState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            EncoderMessage::Open { stream, generation, params, camera } => {
                let EncoderArguments { open, device, watched, .. } = &state.arguments;
                let encoder = watched.during(Call::Open, || open(&params, *device))?;
                let backend = backend::name(params.codec, *device);
                state.log(&format!("{camera}: {backend} opened for {stream:?} with {params:?}"));
                let builder = FragmentBuilder::new(encoder.format().clone(), params.gop, params.fps);
                let duration = histogram!(metrics::ENCODE_DURATION, "camera" => camera.clone(), "backend" => backend);
                let opened = Stream { generation, camera, encoder, backend, duration, builder, new: true };
                state.streams.insert(stream, opened);
            }
            EncoderMessage::Push { stream, index, frame } => {
                if let Some(frame) = frame.upgrade() {
                    state.push(stream, index, &frame)?;
                }
            }
            EncoderMessage::Finish { stream } => {
                if let Some(mut ended) = state.close(stream) {
                    let generation = ended.generation;
                    if let Some(fragment) = ended.builder.finish() {
                        let _ = state.arguments.pool.cast(PoolMessage::Encoded { stream, generation, fragment });
                    }
                    let _ = state.arguments.pool.cast(PoolMessage::Finished { stream, generation });
                }
            }
            EncoderMessage::Close { stream } => {
                state.close(stream);
            }
        }
        Ok(())
    }
}

impl EncoderState {
    fn push(&mut self, id: StreamId, index: u64, frame: &Arc<Frame>) -> Result<(), CodecError> {
        // A stream that was closed: its take was discarded.
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        let encoded = self.arguments.watched.during(Call::Encode, || stream.encoder.encode(frame, index))?;
        stream.duration.record((encoded.decode + encoded.encode).as_secs_f64());
        let generation = stream.generation;
        if std::mem::take(&mut stream.new) {
            let _ = self.arguments.pool.cast(PoolMessage::Started { stream: id, generation, index });
        }
        for fragment in stream.builder.push(index, encoded) {
            let _ = self.arguments.pool.cast(PoolMessage::Encoded { stream: id, generation, fragment });
        }
        Ok(())
    }

    fn close(&mut self, id: StreamId) -> Option<Stream> {
        let closed = self.streams.remove(&id)?;
        self.log(&format!("{}: {} closed for {id:?}", closed.camera, closed.backend));
        Some(closed)
    }

    fn log(&self, line: &str) {
        if self.arguments.log_sessions {
            tracing::info!("{line}");
        }
    }
}
