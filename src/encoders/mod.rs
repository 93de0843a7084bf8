//! `recorder encoders`: what this machine can encode with, how fast, and why the rest is not usable.

pub mod decode;
pub mod part;
pub mod self_test;
pub mod trial;

use crate::codec::backend::Device;
use crate::codec::gpu::{GpuDevice, GpuReport};
use crate::codec::{backend, openh264};
use crate::config::schema::Codec;
use serde::Serialize;
use std::path::Path;
use trial::{Figures, Trial};

/// Encoders that people know from elsewhere.
const NOT_SUPPORTED: [(&str, &str); 2] = [("qsv", "Intel Quick Sync"), ("vce", "AMD VCE")];

/// Everything that `recorder encoders` says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listing {
    /// Of the recorder.
    pub version: String,
    pub revision: String,
    /// What the NVIDIA driver says of itself.
    pub driver: Option<String>,
    pub nvenc_api: Option<String>,
    /// The driver is test equipment: nothing here was measured on a GPU.
    pub fake_driver: bool,
    pub encoders: Vec<Listed>,
}

/// One encoder with one codec, or one that cannot be used at all.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listed {
    pub encoder: String,
    pub codec: Option<Codec>,
    /// `cpu` or `gpu`; nothing for what is not supported at all.
    pub device: Option<Device>,
    /// What `dataset.encoder.gpu_id` selects it by.
    pub gpu_id: Option<u32>,
    /// The GPU's name; how the CPU's encoder is built.
    pub description: String,
    /// Largest picture in pixels; nothing where there is no limit, or none is known.
    pub max_width: Option<u32>,
    pub max_height: Option<u32>,
    /// Why it cannot be used, in one line; nothing if it can.
    pub refusal: Option<String>,
    /// Milliseconds in which the search for GPUs opened a session and encoded its first picture.
    pub first_picture_ms: Option<f64>,
    pub trial: Option<Figures>,
}

impl Listing {
    /// Tries every encoder: each in a child process that runs `program`, so that none can take the rest along.
    pub fn measure(program: &Path, found: &GpuReport) -> Listing {
        let mut encoders = listed(found);
        for listed in &mut encoders {
            let (None, Some(codec), Some(device)) = (&listed.refusal, listed.codec, listed.device) else { continue };
            let trial = Trial::new(codec, device, listed.gpu_id.unwrap_or_default());
            match trial.run_in_child(program) {
                Ok(figures) => listed.trial = Some(figures),
                Err(reason) => listed.refusal = Some(reason),
            }
        }
        Listing {
            version: crate::VERSION.into(),
            revision: crate::REVISION.into(),
            driver: found.driver.clone(),
            nvenc_api: found.api.clone(),
            fake_driver: found.fake,
            encoders,
        }
    }

    /// As people read it.
    pub fn table(&self) -> String {
        let header = ["ENCODER", "CODEC", "WHERE", "UP TO", "STATE"].map(String::from);
        let rows: Vec<[String; 5]> =
            std::iter::once(header).chain(self.encoders.iter().map(|e| e.row(self.fake_driver))).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let widths: [usize; 4] = std::array::from_fn(width);
        let mut text = String::new();
        for row in &rows {
            for (cell, width) in row.iter().zip(widths) {
                text += &format!("{cell:width$}  ");
            }
            text += &row[4];
            text.push('\n');
        }
        text + &self.driver_line()
    }

    fn driver_line(&self) -> String {
        let Some(driver) = &self.driver else { return String::new() };
        let api = self.nvenc_api.as_ref().map_or("no NVENC".into(), |api| format!("NVENC API {api}"));
        format!("\nNVIDIA driver: {driver}, {api}{}\n", fake(self.fake_driver))
    }
}

/// To be said wherever a figure of a fake stands.
pub fn fake(is_fake: bool) -> &'static str {
    if is_fake { " (fake driver)" } else { "" }
}

impl Listed {
    fn row(&self, is_fake: bool) -> [String; 5] {
        let dash = || "-".to_string();
        let place = match (self.device, self.gpu_id) {
            (Some(Device::Cpu), _) => format!("CPU{}", prefixed(", ", &self.description)),
            (Some(Device::Gpu), Some(id)) => format!("GPU {id}{}{}", prefixed(", ", &self.description), fake(is_fake)),
            _ => self.description.clone(),
        };
        let up_to =
            self.max_width.zip(self.max_height).map_or_else(dash, |(width, height)| format!("{width}x{height}"));
        let state = match (&self.refusal, &self.trial) {
            (Some(reason), _) => format!("not usable: {reason}"),
            (None, Some(trial)) => format!(
                "{}x{}: {:.2} ms a picture (p99 {:.2}), after {:.2} ms for its JPEG",
                trial.width, trial.height, trial.encode_ms.p50, trial.encode_ms.p99, trial.decode_ms.p50
            ),
            (None, None) => "not tried".into(),
        };
        let codec = self.codec.map_or_else(dash, |codec| backend::codec_name(codec).to_string());
        [self.encoder.clone(), codec, place, up_to, state]
    }
}

fn prefixed(prefix: &str, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{prefix}{text}") }
}

/// What there is, not yet tried.
fn listed(found: &GpuReport) -> Vec<Listed> {
    let mut all = vec![
        Listed {
            max_width: Some(openh264::MAX_SIZE.0),
            max_height: Some(openh264::MAX_SIZE.1),
            ..cpu(Codec::H264, openh264_build())
        },
        cpu(Codec::Copy, "JPEGs as they come".into()),
    ];
    all.extend(found.devices.iter().flat_map(on_gpu));
    if found.devices.is_empty() {
        let reason = found.refusal.clone().unwrap_or_else(|| "there is no NVIDIA GPU".into());
        all.push(unusable("nvenc", "NVIDIA", reason));
    }
    let reason = "not supported by this recorder: encoder_type = \"auto\" takes NVENC or the CPU";
    all.extend(NOT_SUPPORTED.map(|(name, maker)| unusable(name, maker, reason.into())));
    all
}

fn cpu(codec: Codec, description: String) -> Listed {
    let encoder = backend::name(codec, Device::Cpu);
    Listed {
        codec: Some(codec),
        device: Some(Device::Cpu),
        refusal: None,
        ..unusable(encoder, &description, String::new())
    }
}

fn unusable(encoder: &str, description: &str, reason: String) -> Listed {
    Listed {
        encoder: encoder.into(),
        codec: None,
        device: None,
        gpu_id: None,
        description: description.into(),
        max_width: None,
        max_height: None,
        refusal: Some(reason),
        first_picture_ms: None,
        trial: None,
    }
}

fn on_gpu(gpu: &GpuDevice) -> Vec<Listed> {
    let here = |reason: Option<String>| Listed {
        device: Some(Device::Gpu),
        gpu_id: Some(gpu.id),
        refusal: reason,
        ..unusable("nvenc", &gpu.name, String::new())
    };
    if gpu.refusal.is_some() || gpu.codecs.is_empty() {
        return vec![here(Some(gpu.refusal.clone().unwrap_or_else(|| "it has no encoder".into())))];
    }
    let known = |pixels: u32| (pixels > 0).then_some(pixels);
    let codecs = gpu.codecs.iter().map(|found| Listed {
        codec: Some(found.codec),
        max_width: known(found.max_width),
        max_height: known(found.max_height),
        first_picture_ms: found.trial_ms,
        ..here(found.refusal.clone())
    });
    codecs.collect()
}

/// How fast openh264 is on this processor.
fn openh264_build() -> String {
    let built = env!("RECORDER_ASSEMBLER");
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    if built.contains("AVX2") && !std::arch::is_x86_feature_detected!("avx2") {
        return format!("{built}, which this CPU lacks");
    }
    built.into()
}

#[cfg(test)]
mod tests;
