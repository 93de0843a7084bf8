//! What is known of NVIDIA GPUs, and how it is found out: a child process asks the driver, so that a driver that crashes
//! or hangs cannot take the recorder along.

use super::backend::codec_name;
use crate::child::{self, NoAnswer};
use crate::config::schema::Codec;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A driver that has not answered after this long is taken for one that never will. A cold start of a healthy one, with
/// several GPUs to wake, takes up to some seconds.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// What was found of NVIDIA GPUs and their encoders. The default is none, without a reason.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GpuReport {
    /// What the driver says of itself, such as "CUDA 12.2".
    pub driver: Option<String>,
    /// The newest NVENC API that the driver speaks, such as "12.1".
    pub api: Option<String>,
    /// The driver says of itself that it is test equipment (symbol `recorder_fake_driver` in libcuda.so.1).
    pub fake: bool,
    /// Why no GPU can be used at all, in one line.
    pub refusal: Option<String>,
    pub devices: Vec<GpuDevice>,
}

/// One GPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GpuDevice {
    /// What `gpu_id` selects it by: the driver's number, from 0.
    pub id: u32,
    /// The driver's name of it, such as "NVIDIA GeForce RTX 4090".
    pub name: String,
    /// Its place on the PCI bus, such as "0000:01:00.0", if the driver tells it: numbers depend on who counts.
    pub pci_bus_id: Option<String>,
    /// Why it cannot be used at all, in one line.
    pub refusal: Option<String>,
    /// H.264, H.265, AV1, usable or not; empty if the device cannot be used.
    pub codecs: Vec<GpuCodec>,
}

/// One codec on one GPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GpuCodec {
    pub codec: Codec,
    /// Why it cannot be used, in one line; `None`: a session was opened, and a picture encoded.
    pub refusal: Option<String>,
    /// Largest picture in pixels; 0 if it is not known.
    pub max_width: u32,
    /// Largest picture in pixels; 0 if it is not known.
    pub max_height: u32,
    /// Milliseconds from opening a session to the first encoded picture.
    pub trial_ms: Option<f64>,
}

impl GpuReport {
    /// A report of no GPU, and why.
    pub fn refused(reason: impl Into<String>) -> GpuReport {
        GpuReport { refusal: Some(reason.into()), ..GpuReport::default() }
    }

    /// Whether `codec` can be encoded on GPU `id`; why not, in one line.
    pub fn can_encode(&self, id: u32, codec: Codec) -> Result<(), String> {
        let refused = |reason: &Option<String>| reason.clone().map_or(Ok(()), Err);
        refused(&self.refusal)?;
        let device = self.devices.iter().find(|device| device.id == id);
        let device = device.ok_or_else(|| match self.devices.len() {
            0 => "there is no NVIDIA GPU".to_string(),
            1 => format!("there is no GPU {id}, only GPU {}", self.devices[0].id),
            _ => {
                let ids: Vec<String> = self.devices.iter().map(|device| device.id.to_string()).collect();
                format!("there is no GPU {id}, only GPUs {}", ids.join(", "))
            }
        })?;
        refused(&device.refusal)?;
        match device.codecs.iter().find(|found| found.codec == codec) {
            Some(found) => refused(&found.refusal),
            None => Err(format!("GPU {id} ({}) has no encoder for {}", device.name, codec_name(codec))),
        }
    }
}

/// Finds out about the GPUs; blocks, at the longest for little more than [`PROBE_TIMEOUT`].
pub type Prober = Arc<dyn Fn() -> GpuReport + Send + Sync>;

/// Asks in a child process that runs this program's own file.
pub fn prober() -> Prober {
    Arc::new(|| probe_in_child(Path::new(child::THIS_PROGRAM), PROBE_TIMEOUT))
}

/// Asks the driver in this process: in the recorder itself only its child should. Slow, and may crash.
pub fn probe_in_process() -> GpuReport {
    super::nvenc::probe()
}

/// What the child prints: see [`probe_in_child`].
pub fn probe_for_parent() -> String {
    child::end_with_parent();
    child::answer(&probe_in_process())
}

/// Runs `PROGRAM encoders --probe-in-process` and reads its report. Whatever goes wrong with it is the report's refusal.
pub fn probe_in_child(program: &Path, timeout: Duration) -> GpuReport {
    child::ask(program, &["encoders", "--probe-in-process"], timeout)
        .unwrap_or_else(|no_answer| GpuReport::refused(blame(no_answer, "the search for NVIDIA GPUs")))
}

/// Why a child that asks the driver gave no answer, in one line: `what` it did, or else the driver.
pub fn blame(no_answer: NoAnswer, what: &str) -> String {
    match no_answer {
        NoAnswer::Crashed(signal) => format!("the NVIDIA driver crashed when asked (signal {signal})"),
        NoAnswer::Silent(timeout) => format!("the NVIDIA driver did not answer within {} s", timeout.as_secs_f64()),
        other => format!("{what} {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_codec_is_refused_for_the_broadest_reason() {
        let codec = |codec, refusal: Option<&str>| GpuCodec {
            codec,
            refusal: refusal.map(str::to_string),
            max_width: 4096,
            max_height: 4096,
            trial_ms: None,
        };
        let device = |id, refusal: Option<&str>, codecs| GpuDevice {
            id,
            name: "Card".into(),
            pci_bus_id: None,
            refusal: refusal.map(str::to_string),
            codecs,
        };
        let codecs = vec![codec(Codec::H264, None), codec(Codec::Av1, Some("too old for AV1"))];
        let found = GpuReport {
            devices: vec![device(0, None, codecs), device(2, Some("no encoder"), vec![])],
            ..GpuReport::default()
        };
        for (report, id, wanted, expected) in [
            (&found, 0, Codec::H264, Ok(())),
            (&found, 0, Codec::Av1, Err("too old for AV1")),
            (&found, 0, Codec::Hevc, Err("GPU 0 (Card) has no encoder for hevc")),
            (&found, 1, Codec::H264, Err("there is no GPU 1, only GPUs 0, 2")),
            (&found, 2, Codec::H264, Err("no encoder")),
            (&GpuReport::default(), 0, Codec::H264, Err("there is no NVIDIA GPU")),
            (&GpuReport::refused("no driver"), 0, Codec::H264, Err("no driver")),
        ] {
            assert_eq!(report.can_encode(id, wanted), expected.map_err(str::to_string), "{id} {wanted:?}");
        }
    }
}
