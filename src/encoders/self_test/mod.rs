//! `recorder encoders --self-test`: everything that can be measured of a machine's encoders, once, in one report. It is how
//! figures of hardware that we do not have come to us.

pub mod death;
mod judge;
mod machine;
mod markdown;
mod recorded;
pub mod recording;
pub mod scratch;
pub mod sessions;

use super::part::Part;
use super::trial::{FPS, Figures, Trial};
use crate::codec::backend::{self, Device};
use crate::codec::gpu::GpuReport;
use crate::codec::{Preset, backend::codec_name};
use crate::config::schema::Codec;
use crate::disk_space;
use death::Death;
use machine::Machine;
use recording::{Recording, RecordingFigures};
use serde::Serialize;
use sessions::{SessionFigures, Sessions};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Video of a trial, at the longest.
const TRIAL_SECONDS: u32 = 10;
/// No driver's limit for consumer cards is near; a card without one would take hundreds.
const MOST_SESSIONS: u32 = 32;
const SESSION_PICTURES: u32 = 90;
/// A recording in which a session dies, at the longest.
const DEATH_SECONDS: u32 = 10;
/// Every preset, from the fastest.
const PRESETS: [Preset; 7] = [Preset::P1, Preset::P2, Preset::P3, Preset::P4, Preset::P5, Preset::P6, Preset::P7];

/// What a self-test is run with.
#[derive(Clone, Debug)]
pub struct SelfTest {
    /// What child processes run: this program.
    pub program: PathBuf,
    /// Length of each of the two long recordings; nothing takes longer.
    pub seconds: u32,
    /// Folder for what is recorded and thrown away again.
    pub folder: PathBuf,
}

/// Everything that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Of the recorder.
    pub version: String,
    pub revision: String,
    /// Seconds since 1970.
    pub measured_at_unix_s: u64,
    pub machine: Machine,
    pub encoders: Vec<Tried<Encoder, Figures>>,
    pub sessions: Vec<Tried<Sessions, SessionFigures>>,
    pub recordings: Vec<Tried<Recording, RecordingFigures>>,
    /// What could not be tested, and why.
    pub not_tested: Vec<String>,
    /// What went wrong; empty if all is well.
    pub failures: Vec<String>,
    /// All of it as people read it.
    pub markdown: String,
}

/// One encoder of the trials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Encoder {
    /// `openh264`, `nvenc` or `copy`.
    pub encoder: String,
    pub codec: Codec,
    pub gpu_id: Option<u32>,
    /// Nothing for encoders without presets.
    pub preset: Option<Preset>,
}

/// What was tried, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tried<Q, A> {
    pub tried: Q,
    pub figures: Option<A>,
    /// Why there are no figures.
    pub failure: Option<String>,
}

impl<Q, A> Tried<Q, A> {
    fn new(tried: Q, result: Result<A, String>) -> Tried<Q, A> {
        match result {
            Ok(figures) => Tried { tried, figures: Some(figures), failure: None },
            Err(failure) => Tried { tried, figures: None, failure: Some(failure) },
        }
    }
}

impl SelfTest {
    /// Runs all of it, part by part in child processes; `say` is told what comes next.
    pub fn run(&self, found: &GpuReport, say: &dyn Fn(&str)) -> Report {
        let measured_at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut report = Report {
            version: crate::VERSION.into(),
            revision: crate::REVISION.into(),
            measured_at_unix_s: measured_at.as_secs(),
            machine: Machine::here(found),
            encoders: Vec::new(),
            sessions: Vec::new(),
            recordings: Vec::new(),
            not_tested: not_tested(found),
            failures: Vec::new(),
            markdown: String::new(),
        };
        for encoder in encoders(found) {
            say(&encoder.describe());
            let result = encoder.trial(self.seconds).run_in_child(&self.program);
            report.encoders.push(Tried::new(encoder, result));
        }
        for sessions in sessions(found) {
            say(&format!("sessions of {} at once on GPU {}", codec_name(sessions.codec), sessions.gpu_id));
            let result = Part::Sessions(sessions).run_in_child(&self.program, Duration::from_secs(300));
            report.sessions.push(Tried::new(sessions, result));
        }
        for recording in self.recordings(found) {
            say(&recording.describe());
            let result = self.record(&recording, &report);
            report.recordings.push(Tried::new(recording, result));
        }
        report.judge();
        report.markdown = report.to_markdown();
        report
    }

    fn recordings(&self, found: &GpuReport) -> Vec<Recording> {
        let gpu = usable(found).find(|(_, codec)| *codec == Codec::H264).map(|(id, _)| id);
        let recording = |device, seconds, death| Recording {
            device,
            gpu_id: gpu.unwrap_or_default(),
            seconds,
            death,
            stand_in: device == Device::Gpu && gpu.is_none(),
        };
        let deaths = [Death::Error, Death::Hang]
            .map(|death| recording(Device::Gpu, self.seconds.min(DEATH_SECONDS), Some(death)));
        let long = gpu.map(|_| Device::Gpu).into_iter().chain([Device::Cpu]);
        deaths.into_iter().chain(long.map(|device| recording(device, self.seconds, None))).collect()
    }

    /// Records into a folder that is gone afterwards.
    fn record(&self, recording: &Recording, so_far: &Report) -> Result<RecordingFigures, String> {
        let root = self.folder.join("recording");
        let largest = so_far.encoders.iter().filter(|tried| tried.tried.codec == Codec::H264);
        let largest = largest.filter_map(|tried| Some(tried.figures.as_ref()?.bits_per_second)).max().unwrap_or(0);
        // Two cameras, and as much again for the free space that the recorder asks for.
        let bytes = largest / 8 * 2 * u64::from(recording.seconds) + (2 << 30);
        disk_space::require(&self.folder, bytes).map_err(|error| error.to_string())?;
        // Recording takes its time, decoding up to three times as much on a slow machine.
        let timeout = Duration::from_secs(120 + 4 * u64::from(recording.seconds));
        let result = Part::Recording(*recording, root.clone()).run_in_child(&self.program, timeout);
        match std::fs::remove_dir_all(&root) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                result.and(Err(format!("{} cannot be removed: {error}", root.display())))
            }
            _ => result,
        }
    }
}

/// GPUs and codecs that a picture was encoded with.
fn usable(found: &GpuReport) -> impl Iterator<Item = (u32, Codec)> {
    let devices = found.devices.iter().filter(|gpu| found.refusal.is_none() && gpu.refusal.is_none());
    let codecs = devices.flat_map(|gpu| gpu.codecs.iter().map(|codec| (gpu.id, codec)));
    codecs.filter(|(_, codec)| codec.refusal.is_none()).map(|(id, codec)| (id, codec.codec))
}

fn encoders(found: &GpuReport) -> Vec<Encoder> {
    let cpu = [Codec::H264, Codec::Copy].map(|codec| Encoder {
        encoder: backend::name(codec, Device::Cpu).into(),
        codec,
        gpu_id: None,
        preset: None,
    });
    let gpu = usable(found).flat_map(|(id, codec)| {
        PRESETS.map(|preset| Encoder {
            encoder: backend::name(codec, Device::Gpu).into(),
            codec,
            gpu_id: Some(id),
            preset: Some(preset),
        })
    });
    cpu.into_iter().chain(gpu).collect()
}

/// On each GPU with its first codec: the limit is one of sessions, whatever they encode.
fn sessions(found: &GpuReport) -> Vec<Sessions> {
    let mut all: Vec<Sessions> = Vec::new();
    for (gpu_id, codec) in usable(found) {
        if all.iter().all(|sessions| sessions.gpu_id != gpu_id) {
            let (at_most, pictures) = (MOST_SESSIONS, SESSION_PICTURES);
            all.push(Sessions { codec, device: Device::Gpu, gpu_id, at_most, pictures });
        }
    }
    all
}

/// What cannot be tested with what was found.
fn not_tested(found: &GpuReport) -> Vec<String> {
    let mut lines = Vec::new();
    if found.devices.is_empty() {
        lines.push(format!("NVENC: {}", found.refusal.as_deref().unwrap_or("there is no NVIDIA GPU")));
    }
    for gpu in &found.devices {
        let whole = gpu.refusal.iter().map(|reason| format!("GPU {} ({}): {reason}", gpu.id, gpu.name));
        let codecs = gpu.codecs.iter().filter_map(|codec| {
            Some(format!("GPU {} ({}), {}: {}", gpu.id, gpu.name, codec_name(codec.codec), codec.refusal.as_ref()?))
        });
        lines.extend(whole.chain(codecs));
    }
    if !usable(found).any(|(_, codec)| codec == Codec::H264) {
        lines.push("recording on a GPU".into());
        lines.push("the death of a GPU's session: the CPU's encoder stood in for it".into());
    }
    lines
}

impl Encoder {
    fn trial(&self, seconds: u32) -> Trial {
        let device = if self.gpu_id.is_some() { Device::Gpu } else { Device::Cpu };
        Trial {
            preset: self.preset.unwrap_or_default(),
            pictures: seconds.min(TRIAL_SECONDS) * FPS,
            decode: true,
            ..Trial::new(self.codec, device, self.gpu_id.unwrap_or_default())
        }
    }

    fn describe(&self) -> String {
        let gpu = self.gpu_id.map_or(String::new(), |id| format!(" on GPU {id}"));
        let preset = self.preset.map_or(String::new(), |preset| format!(", preset {}", name(preset)));
        format!("{} {}{preset}{gpu}", self.encoder, codec_name(self.codec))
    }
}

/// A preset's own name.
fn name(preset: Preset) -> String {
    format!("{preset:?}").to_lowercase()
}

impl Recording {
    /// In a few words.
    pub fn describe(&self) -> String {
        let encoder = match (self.device, self.stand_in) {
            (Device::Cpu, _) => "on the CPU".into(),
            (Device::Gpu, true) => "on a stand-in for a GPU".into(),
            (Device::Gpu, false) => format!("on GPU {}", self.gpu_id),
        };
        let death = match self.death {
            Some(Death::Error) => ", a session fails",
            Some(Death::Hang) => ", a session hangs",
            None => "",
        };
        format!("recording 2 cameras {encoder} for {} s{death}", self.seconds)
    }
}

#[cfg(test)]
mod tests;
