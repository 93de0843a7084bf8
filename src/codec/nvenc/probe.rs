//! What of NVENC can be used on this machine, found out by using it.

use super::driver::{self, Driver, Versions};
use super::fault::Fault;
use super::opened::{Opened, Sizes};
use crate::codec::gpu::{GpuCodec, GpuDevice, GpuReport};
use crate::codec::nvenc::Encoder;
use crate::codec::stream::StreamParams;
use crate::codec::{CodecError, Preset};
use crate::config::schema::{Codec, ColorRange};
use std::time::Instant;

/// The size of the trial picture, where a codec allows one so small.
const TRIAL: (u32, u32) = (320, 240);

/// Asks the driver for its GPUs, and on each, for each codec, opens a session and encodes a picture. All of it happens in
/// this process, which a faulty driver may take along or keep waiting.
pub fn probe() -> GpuReport {
    let Versions { driver, api, fake } = driver::versions();
    let mut report = GpuReport { driver, api, fake, ..GpuReport::default() };
    match Driver::get().and_then(|driver| Ok((driver, driver.device_count()?))) {
        Err(fault) => report.refusal = Some(fault.line()),
        Ok((_, 0)) => report.refusal = Some("there is no NVIDIA GPU in this machine, or the container hides it".into()),
        Ok((driver, count)) => report.devices = (0..count).map(|id| device(driver, id)).collect(),
    }
    report
}

fn device(driver: &Driver, id: u32) -> GpuDevice {
    let name = driver.device_name(id).unwrap_or_else(|_| "an NVIDIA GPU without a name".into());
    let pci_bus_id = driver.pci_bus_id(id).ok();
    let (refusal, codecs) = match codecs(id) {
        Ok(codecs) => (None, codecs),
        Err(fault) => (Some(fault.line()), Vec::new()),
    };
    GpuDevice { id, name, pci_bus_id, refusal, codecs }
}

fn codecs(id: u32) -> Result<Vec<GpuCodec>, Fault> {
    let opened = Opened::open(id)?;
    let offered = opened.codecs()?;
    let sizes = |codec| offered.contains(&codec).then(|| opened.sizes(codec)).transpose();
    let sizes = [Codec::H264, Codec::Hevc, Codec::Av1].map(|codec| (codec, sizes(codec)));
    // Sessions are counted: this one must not be in the way of the trials.
    drop(opened);
    sizes.into_iter().map(|(codec, sizes)| Ok(try_codec(id, codec, sizes?))).collect()
}

/// Encodes one picture. `sizes` is none for a codec that the GPU does not have.
fn try_codec(id: u32, codec: Codec, sizes: Option<Sizes>) -> GpuCodec {
    let Some(Sizes { min, max }) = sizes else {
        let refusal = Some("this GPU has no encoder for it".into());
        return GpuCodec { codec, refusal, max_width: 0, max_height: 0, trial_ms: None };
    };
    let params = StreamParams {
        codec,
        quality: 23,
        gop: 2,
        width: TRIAL.0.max(min.0.next_multiple_of(2)),
        height: TRIAL.1.max(min.1.next_multiple_of(2)),
        fps: 30,
        color_range: ColorRange::Limited,
        bitrate: None,
        preset: Preset::P1,
        gpu_id: id,
        stats_stride: 1,
    };
    let start = Instant::now();
    // Opening encodes a picture.
    let opened = Encoder::open(&params);
    let trial_ms = start.elapsed().as_secs_f64() * 1e3;
    let refusal = opened.as_ref().err().map(|error| match error {
        CodecError::Nvenc(fault) => fault.line(),
        other => other.to_string(),
    });
    GpuCodec { codec, trial_ms: opened.is_ok().then_some(trial_ms), refusal, max_width: max.0, max_height: max.1 }
}
