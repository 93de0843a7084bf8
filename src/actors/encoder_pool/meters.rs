//! What metrics show of each camera's streams.

use super::{PoolState, StreamId};
use crate::codec::backend::{self, Device};
use crate::config::schema::Codec;
use crate::episode::TakeId;
use crate::metrics;
use ::metrics::{Gauge, gauge};

/// Of one camera.
pub(super) struct Meters {
    pub queue: Gauge,
    fallback: Gauge,
    /// The newest take with a stream.
    take: TakeId,
    /// What makes its video.
    backend: &'static str,
}

impl PoolState {
    /// As a run begins.
    pub(super) fn meters(&self) -> Vec<Meters> {
        let gpu = self.is_to_use_gpu() && self.health.usable();
        let meters = |camera: &super::PoolCamera| Meters {
            queue: gauge!(metrics::QUEUE_FRAMES, "camera" => camera.name.clone()),
            fallback: gauge!(metrics::ENCODER_FALLBACK, "camera" => camera.name.clone()),
            take: 0,
            backend: metrics::first_backend(camera.params.codec, gpu),
        };
        self.arguments.cameras.iter().map(meters).collect()
    }

    fn is_to_use_gpu(&self) -> bool {
        self.arguments.gpu.is_some()
    }

    /// Shows where a stream is encoded now, if it is its camera's newest; `None`: it waits on disk for an encoder.
    pub(super) fn placed(&mut self, id: StreamId, device: Option<Device>) {
        let (gpu, camera) = (self.is_to_use_gpu(), &self.arguments.cameras[id.camera]);
        let (codec, meters) = (camera.params.codec, &mut self.meters[id.camera]);
        if id.take < meters.take {
            return;
        }
        meters.take = id.take;
        let falls_back = gpu && codec != Codec::Copy && device != Some(Device::Gpu);
        meters.fallback.set(f64::from(u8::from(falls_back)));
        let now = device.map_or(metrics::ON_DISK, |device| backend::name(codec, device));
        let before = std::mem::replace(&mut meters.backend, now);
        if before != now {
            metrics::encoder_changed(&camera.name, backend::codec_name(codec), before, now);
        }
    }
}
