//! What the pool does when an encoder fails: another one goes on where it stopped.
//!
//! A GPU session that fails, panics, hangs, or is refused, is replaced by the CPU with the same codec, for the rest of the
//! stream. What only the GPU makes waits on disk for it, or ends the run, as configured.

use super::super::encoder::{Encoder, EncoderArguments, EncoderMessage};
use super::super::writer::WriterMessage;
use super::{Failure, Home, PoolMessage, PoolState, StreamId, Switch, is_made_on_cpu};
use crate::codec::backend::Device;
use crate::codec::nvenc::Reason;
use crate::config::schema::OnGpuFailure;
use crate::events::Event;
use crate::frame::CameraIndex;
use crate::metrics;
use crate::restart::Decision;
use crate::watchdog::{Call, Watched};
use ractor::thread_local::{ThreadLocalActor, ThreadLocalActorSpawner};
use ractor::{ActorId, ActorProcessingErr, ActorRef};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A driver may take this long to open a session: it sets up its device first.
const LONGEST_OPEN: Duration = Duration::from_secs(5);

impl PoolState {
    pub(super) async fn spawn(
        &self,
        myself: &ActorRef<PoolMessage>,
        device: Device,
    ) -> Result<(ActorRef<EncoderMessage>, Arc<Watched>), ActorProcessingErr> {
        // Each spawner is a thread of its own: an encoder that blocks holds up nobody else.
        let spawner = ThreadLocalActorSpawner::new();
        let watched = Arc::new(Watched::default());
        let arguments = EncoderArguments {
            pool: myself.clone(),
            open: self.arguments.open.clone(),
            device,
            watched: watched.clone(),
            log_sessions: self.arguments.log_sessions,
        };
        let (actor, _) = Encoder::spawn_linked(None, arguments, myself.get_cell(), spawner).await?;
        Ok((actor, watched))
    }

    /// An encoder for a stream: a session of its own on the GPU, a shared worker on the CPU.
    pub(super) async fn home(
        &self,
        myself: &ActorRef<PoolMessage>,
        device: Device,
        camera: CameraIndex,
    ) -> Result<Home, ActorProcessingErr> {
        Ok(match device {
            Device::Cpu => Home::Worker(camera % self.workers.len()),
            Device::Gpu => {
                let (actor, watched) = self.spawn(myself, device).await?;
                Home::Session { actor, watched }
            }
        })
    }

    /// An encoder is dead: its streams go on elsewhere, from the first frame that never came back.
    pub(super) async fn replace(
        &mut self,
        myself: &ActorRef<PoolMessage>,
        encoder: ActorId,
        failure: &Failure,
    ) -> Result<(), ActorProcessingErr> {
        let of_session = |home: &Home| matches!(home, Home::Session { actor, .. } if actor.get_id() == encoder);
        if let Some(id) = self.streams.iter().find(|(_, s)| of_session(&s.home)).map(|(id, _)| *id) {
            return self.session_failed(myself, id, failure, Instant::now()).await;
        }
        match self.workers.iter().position(|worker| worker.actor.get_id() == encoder) {
            Some(slot) => self.worker_failed(myself, slot, failure).await,
            // A session that was stopped because its stream had ended.
            None => Ok(()),
        }
    }

    async fn worker_failed(
        &mut self,
        myself: &ActorRef<PoolMessage>,
        slot: usize,
        failure: &Failure,
    ) -> Result<(), ActorProcessingErr> {
        let here = |home: &Home| matches!(home, Home::Worker(s) if *s == slot);
        let hit: Vec<StreamId> = self.streams.iter().filter(|(_, s)| here(&s.home)).map(|(id, _)| *id).collect();
        let Failure { kind, words } = failure;
        if self.workers[slot].restarts.failed(self.arguments.clock.now().mono_ns) == Decision::GiveUp {
            tracing::error!("encoder {slot} failed too often, the last time with: {words}; its takes cannot be saved");
            self.workers[slot].given_up = true;
            for take in hit.iter().map(|id| id.take).collect::<BTreeSet<_>>() {
                self.fail(take, words);
            }
            return Ok(());
        }
        tracing::warn!("encoder {slot} failed: {words}; a new one goes on with {} videos", hit.len());
        ::metrics::counter!(metrics::ACTOR_RESTARTS, "actor" => "encoder", "reason" => *kind).increment(1);
        (self.workers[slot].actor, _) = self.spawn(myself, Device::Cpu).await?;
        for id in hit {
            self.go_on(id, Home::Worker(slot), failure, Instant::now());
        }
        Ok(())
    }

    /// A GPU session is of no use any more, since `since`.
    async fn session_failed(
        &mut self,
        myself: &ActorRef<PoolMessage>,
        id: StreamId,
        failure: &Failure,
        since: Instant,
    ) -> Result<(), ActorProcessingErr> {
        ::metrics::counter!(metrics::ACTOR_RESTARTS, "actor" => "encoder", "reason" => failure.kind).increment(1);
        // Too many sessions at a time say nothing of the next one.
        let counts = failure.kind != Reason::Sessions.name();
        let too_often = counts && self.health.failed(self.arguments.clock.now().mono_ns);
        self.leave_gpu(id, failure, since);
        if too_often {
            self.tell(
                Event::GpuGivenUp,
                "the GPU failed too often: all videos are encoded without it until it works again",
            );
            let others = self.streams.iter().filter(|(_, s)| s.home.device() == Some(Device::Gpu));
            let others: Vec<StreamId> = others.map(|(id, _)| *id).collect();
            for id in others {
                self.abandon_session(myself, id);
                self.leave_gpu(id, failure, since);
            }
        }
        Ok(())
    }

    /// A stream whose GPU session is gone goes on by other means.
    fn leave_gpu(&mut self, id: StreamId, failure: &Failure, since: Instant) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let (codec, camera) = (stream.params.codec, &self.arguments.cameras[id.camera].name);
        let words = &failure.words;
        if is_made_on_cpu(codec) {
            let slot = id.camera % self.workers.len();
            tracing::warn!(
                "camera {camera}: the GPU encoder failed at frame {}: {words}; the CPU goes on",
                stream.next_frame
            );
            if self.workers[slot].given_up {
                return self.fail(id.take, words);
            }
            return self.go_on(id, Home::Worker(slot), failure, since);
        }
        ::metrics::counter!(metrics::ENCODER_FALLBACKS,
            "from" => stream.backend(), "to" => metrics::ON_DISK, "reason" => failure.kind)
        .increment(1);
        if self.arguments.gpu.as_ref().is_some_and(|gpu| gpu.on_failure == OnGpuFailure::Stop) {
            return self.fail(id.take, &format!("the GPU encoder failed: {words}; on_gpu_failure = \"stop\""));
        }
        let text =
            format!("camera {camera}: the GPU encoder failed: {words}; its pictures wait on disk until it works again");
        let (from, to) = (stream.backend().into(), metrics::ON_DISK.into());
        let event = Event::EncoderReplaced { camera: camera.clone(), from, to, reason: words.clone() };
        self.arguments.status.tell(self.arguments.clock.now(), event, text);
        if stream.kept {
            stream.home = Home::Waiting;
            stream.generation += 1;
            stream.tail.clear();
            stream.spill.rewind(stream.next_frame);
            self.placed(id, None);
        } else {
            self.placed(id, None);
            self.close(id);
            let _ = self.arguments.writer.cast(WriterMessage::EncodeLater { stream: id });
        }
    }

    /// A stream goes on with another encoder: a new generation, and its tail again.
    fn go_on(&mut self, id: StreamId, home: Home, failure: &Failure, since: Instant) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let from = stream.backend();
        stream.generation += 1;
        stream.home = home;
        let to = stream.backend();
        // One that fails before it has encoded a frame belongs to the same change.
        stream.switch.get_or_insert_with(|| Switch { from, failure: failure.clone(), since });
        ::metrics::counter!(metrics::ENCODER_FALLBACKS, "from" => from, "to" => to, "reason" => failure.kind)
            .increment(1);
        let device = stream.home.device();
        self.placed(id, device);
        let stream = &self.streams[&id];
        let Some(actor) = self.actor(&stream.home) else { return };
        self.send_open(id, stream);
        for (index, frame) in &stream.tail {
            let frame = Arc::downgrade(frame);
            let _ = actor.cast(EncoderMessage::Push { stream: id, index: *index, frame });
        }
        if stream.finishing && stream.spill.is_empty() {
            let _ = actor.cast(EncoderMessage::Finish { stream: id });
        }
        self.show();
    }

    /// An encoder has encoded its first frame of a stream: a change, if there was one, is over.
    pub(super) fn started(&mut self, id: StreamId, generation: u32, index: u64) {
        let Some(stream) = self.streams.get_mut(&id).filter(|s| s.generation == generation) else { return };
        let Some(Switch { from, failure, since }) = stream.switch.take() else { return };
        let (to, seconds) = (stream.backend(), since.elapsed().as_secs_f64());
        ::metrics::histogram!(metrics::ENCODER_SWITCH, "from" => from, "to" => to).record(seconds);
        let (camera, reason) = (self.arguments.cameras[id.camera].name.clone(), failure.words);
        let text = format!("camera {camera}: {to} goes on for {from} at frame {index}, after {:.0} ms", seconds * 1e3);
        let event = Event::EncoderReplaced { camera, from: from.into(), to: to.into(), reason: reason.clone() };
        self.tell(event, text);
        self.arguments.status.send_modify(|s| s.encoder_switches += 1);
        let _ =
            self.arguments.writer.cast(WriterMessage::EncoderReplaced { stream: id, frame: index, from, to, reason });
    }

    /// Looks for GPU sessions that hang.
    pub(super) async fn watch(&mut self, myself: &ActorRef<PoolMessage>) -> Result<(), ActorProcessingErr> {
        let Some(longest) = self.arguments.gpu.as_ref().map(|gpu| gpu.watchdog) else { return Ok(()) };
        let hanging = |home: &Home| {
            let Home::Session { watched, .. } = home else { return None };
            let (call, time) = watched.inside()?;
            let limit = if call == Call::Open { longest.max(LONGEST_OPEN) } else { longest };
            (time > limit).then_some((call, time))
        };
        let hung: Vec<_> = self.streams.iter().filter_map(|(id, s)| Some((*id, hanging(&s.home)?))).collect();
        for (id, (call, time)) in hung {
            let what = if call == Call::Open { "opening a session" } else { "encoding a frame" };
            let words = format!("hangs since {} ms in {what}", time.as_millis());
            self.abandon_session(myself, id);
            let since = Instant::now().checked_sub(time).unwrap_or_else(Instant::now);
            self.session_failed(myself, id, &Failure { kind: Failure::HANG, words }, since).await?;
        }
        Ok(())
    }

    /// Leaves a session to itself: a thread that hangs in the driver cannot be ended. It holds no frame but the one in its
    /// hands, and nobody listens to what it may still say.
    fn abandon_session(&self, myself: &ActorRef<PoolMessage>, id: StreamId) {
        if let Some(Home::Session { actor, .. }) = self.streams.get(&id).map(|stream| &stream.home) {
            actor.get_cell().unlink(myself.get_cell());
            actor.kill();
        }
    }

    /// Between episodes, once the GPU has rested: looks whether it works again, on a thread of its own.
    pub(super) fn probe_gpu_if_due(&mut self, myself: &ActorRef<PoolMessage>) {
        let now = self.arguments.clock.now().mono_ns;
        let Some(gpu) = &self.arguments.gpu else { return };
        if self.health.probe_is_due(now) {
            self.probing = Some(self.arguments.clock.hold());
            let (prober, pool) = (gpu.prober.clone(), myself.clone());
            let cameras: Vec<_> = self.arguments.cameras.iter().map(|c| (c.params.gpu_id, c.params.codec)).collect();
            tokio::task::spawn_blocking(move || {
                let report = prober();
                let usable = cameras.iter().all(|(gpu, codec)| report.can_encode(*gpu, *codec).is_ok());
                let _ = pool.cast(PoolMessage::GpuProbed { usable });
            });
        }
    }

    pub(super) fn gpu_probed(&mut self, usable: bool) {
        self.health.probed(usable, self.arguments.clock.now().mono_ns);
        self.probing = None;
        if usable {
            self.tell(Event::GpuBack, "the GPU encodes again, from the next episode on");
        } else {
            tracing::info!("the GPU does not encode yet");
        }
    }
}
