//! Streams whose frames are kept in the take's folder and encoded later: after the take, or once the GPU is back.

use super::super::writer::WriterMessage;
use super::{Home, PoolMessage, PoolState, StreamId};
use crate::codec::backend::Device;
use crate::episode::TakeId;
use crate::spill::Spill;
use ractor::{ActorProcessingErr, ActorRef};
use std::path::PathBuf;

impl PoolState {
    /// No frame of the take will be kept any more.
    pub(super) fn end_keeping(&mut self, take: TakeId) {
        if self.keeping.remove(&take) {
            let _ = self.arguments.writer.cast(WriterMessage::KeptAll { take });
        }
    }

    /// A stream that is to be encoded from its file, from frame `first` on.
    pub(super) fn add_kept(&mut self, id: StreamId, file: PathBuf, first: u64, frames: u64) {
        match Spill::reopen(file) {
            // The writer keeps only takes of which every frame is there.
            Ok((_, Some(cut))) => self.damaged(id.take, cut.to_string()),
            Ok((mut spill, None)) => {
                spill.rewind(first);
                let mut stream = self.stream(id.camera, frames, spill);
                (stream.kept, stream.finishing, stream.next_frame) = (true, true, first);
                stream.replaced = stream.spill.stand_ins().filter(|index| *index >= first).collect();
                self.streams.insert(id, stream);
            }
            Err(error) => self.fail(id.take, &error.to_string()),
        }
    }

    /// What was kept of a take cannot be read to its end.
    fn damaged(&mut self, take: TakeId, reason: String) {
        for id in self.ids(take) {
            self.close(id);
        }
        let _ = self.arguments.writer.cast(WriterMessage::KeptDamaged { take, reason });
    }

    /// Starts kept streams, oldest take first, as many at a time as there are workers.
    pub(super) async fn start_kept(&mut self, myself: &ActorRef<PoolMessage>) -> Result<(), ActorProcessingErr> {
        let kept = || self.streams.iter().filter(|(_, s)| s.kept);
        let waiting: Vec<StreamId> =
            kept().filter(|(_, s)| matches!(s.home, Home::Waiting)).map(|(id, _)| *id).collect();
        let busy = kept().count() - waiting.len();
        for id in waiting.into_iter().take(self.workers.len().saturating_sub(busy)) {
            let codec = self.arguments.cameras[id.camera].params.codec;
            let device = self.device_for(codec);
            self.placed(id, device);
            let Some(device) = device else {
                let _ = self.arguments.writer.cast(WriterMessage::NoEncoder { take: id.take });
                continue;
            };
            let home = match device {
                Device::Cpu => Home::Worker(self.idlest_worker()),
                Device::Gpu => self.home(myself, device, id.camera).await?,
            };
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            stream.home = home;
            let stream = &self.streams[&id];
            self.send_open(id, stream);
            if stream.spill.is_empty() {
                self.send_finish(id);
            }
            self.refill(id.camera);
        }
        self.show();
        Ok(())
    }

    fn idlest_worker(&self) -> usize {
        let streams = |slot: usize| {
            let here = |home: &Home| matches!(home, Home::Worker(s) if *s == slot);
            self.streams.values().filter(|s| here(&s.home)).count()
        };
        let working = (0..self.workers.len()).filter(|slot| !self.workers[*slot].given_up);
        working.min_by_key(|slot| streams(*slot)).unwrap_or_default()
    }
}
