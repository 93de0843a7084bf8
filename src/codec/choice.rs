//! Which encoder a run uses: what was asked for against what is there. Pure.
//!
//! What opens decides, not what is listed: see [`GpuReport`]. With `encoder_type = "auto"` something always encodes, and
//! what was chosen instead is said; with `nvenc` a codec that the GPU lacks is an error.

use super::backend::{self, Device};
use super::gpu::GpuReport;
use crate::config::schema::{Codec, Config, EncoderType, OnGpuFailure};
use crate::config::{Problem, validate};

/// What encodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub codec: Codec,
    pub device: Device,
    /// The GPU encodes from the start; else it is tried again between episodes.
    pub gpu_works: bool,
    /// What the user should know: what was chosen instead of what was asked for, and why.
    pub warnings: Vec<String>,
}

/// True when the GPU is to be looked for.
pub fn wants_gpu(config: &Config) -> bool {
    let dataset = &config.dataset;
    dataset.gpu_video_encoding
        && dataset.encoder.encoder_type != EncoderType::Software
        && dataset.encoder.codec != Codec::Copy
}

/// Chooses, from what was found if [`wants_gpu`].
pub fn choose(config: &Config, found: &GpuReport) -> Result<Choice, Problem> {
    let encoder = &config.dataset.encoder;
    let cpu = |codec, warnings| Choice { codec, device: Device::Cpu, gpu_works: false, warnings };
    let gpu = |codec, gpu_works, warnings| Choice { codec, device: Device::Gpu, gpu_works, warnings };
    if !wants_gpu(config) {
        return Ok(cpu(encoder.codec, Vec::new()));
    }
    let Err(refusal) = found.can_encode(encoder.gpu_id, encoder.codec) else {
        return Ok(gpu(encoder.codec, true, Vec::new()));
    };
    if !found.devices.is_empty() && !found.devices.iter().any(|device| device.id == encoder.gpu_id) {
        let ids: Vec<String> = found.devices.iter().map(|d| format!("{} ({})", d.id, d.name)).collect();
        return Err(Problem::new(
            "dataset.encoder.gpu_id",
            format!("one of {}", ids.join(", ")),
            encoder.gpu_id.to_string(),
            "`recorder encoders` lists the GPUs",
        ));
    }
    let name = backend::codec_name(encoder.codec);
    if encoder.codec == Codec::H264 {
        let warning = format!("the GPU is not used: {refusal}; h264 is encoded on the CPU");
        let warnings = vec![warning];
        // A GPU that is there may work later.
        return Ok(if found.devices.is_empty() {
            cpu(Codec::H264, warnings)
        } else {
            gpu(Codec::H264, false, warnings)
        });
    }
    let h264_works = found.can_encode(encoder.gpu_id, Codec::H264).is_ok();
    let instead = |why: &str| {
        let warning = format!("no {name} from the GPU: {refusal}; {why}");
        if h264_works { gpu(Codec::H264, true, vec![warning]) } else { cpu(Codec::H264, vec![warning]) }
    };
    let by_name = encoder.encoder_type == EncoderType::Nvenc;
    if by_name && h264_works {
        return Err(Problem::new(
            "dataset.encoder.codec",
            format!("one that GPU {} encodes: {}", encoder.gpu_id, codecs(found, encoder.gpu_id)),
            format!("{name} ({refusal})"),
            "choose another codec, or encoder_type = \"auto\"",
        ));
    }
    match encoder.on_gpu_failure {
        // A data set keeps its codec.
        _ if config.dataset.resume && encoder.on_gpu_failure != OnGpuFailure::Stop => {}
        OnGpuFailure::Stop => {
            return Err(Problem::new(
                "dataset.encoder.codec",
                "h264, which the CPU encodes too, where on_gpu_failure = \"stop\"",
                format!("{name}, and no GPU: {refusal}"),
                "mend the GPU, or set codec = \"h264\"",
            ));
        }
        OnGpuFailure::Spool if by_name => {}
        OnGpuFailure::Spool | OnGpuFailure::H264 => return Ok(instead("h264 is recorded instead")),
    }
    let warning = format!(
        "no {name} from the GPU: {refusal}; episodes wait on disk, up to {} MiB of them, until it works, or until `recorder regenerate` encodes them",
        config.limits.spill_mib
    );
    Ok(gpu(encoder.codec, false, vec![warning]))
}

fn codecs(found: &GpuReport, gpu: u32) -> String {
    let works = |codec: &Codec| found.can_encode(gpu, *codec).is_ok();
    let names: Vec<_> =
        [Codec::H264, Codec::Hevc, Codec::Av1].into_iter().filter(works).map(backend::codec_name).collect();
    names.join(", ")
}

impl Choice {
    /// The configuration with what was chosen.
    pub fn apply(&self, config: &mut Config) {
        let encoder = &mut config.dataset.encoder;
        encoder.codec = self.codec;
        // A quality of AV1 that h264 does not know.
        encoder.quality = encoder.quality.min(validate::worst_quality(self.codec));
    }

    /// In one line.
    pub fn describe(&self) -> String {
        // The GPU may come back; until then it is the CPU, where that can.
        let idle = !self.gpu_works && self.codec == Codec::H264;
        let name = backend::name(self.codec, if idle { Device::Cpu } else { self.device });
        match self.codec {
            Codec::Copy => "copy: the cameras' JPEGs as they come".into(),
            codec => format!("{name}, {}", backend::codec_name(codec)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::gpu::{GpuCodec, GpuDevice};
    use crate::config;

    /// A GPU 0 with these codecs; without any: no driver.
    fn found(codecs: &[Codec]) -> GpuReport {
        if codecs.is_empty() {
            return GpuReport::refused("no NVIDIA driver");
        }
        let codec = |codec: Codec| GpuCodec {
            codec,
            refusal: (!codecs.contains(&codec)).then(|| "not on this GPU".into()),
            max_width: 4096,
            max_height: 4096,
            trial_ms: None,
        };
        let codecs = [Codec::H264, Codec::Hevc, Codec::Av1].map(codec).to_vec();
        let device = GpuDevice { id: 0, name: "a GPU".into(), pci_bus_id: None, refusal: None, codecs };
        GpuReport { devices: vec![device], ..GpuReport::default() }
    }

    fn config(lines: &str) -> Config {
        let (dataset, encoder) = lines.split_once('/').unwrap_or(("", lines));
        let text = format!(
            "[robot.cameras.front]\ntype = \"synthetic\"\n[dataset]\nrepo_id = \"a/b\"\nsingle_task = \"t\"\ngpu_video_encoding = true\n{dataset}\n[dataset.encoder]\n{encoder}\n"
        );
        config::parse("test", &text, &[]).unwrap()
    }

    #[test]
    fn what_is_asked_for_and_there_is_used_and_the_rest_is_said() {
        use Codec::{Av1, H264, Hevc};
        use Device::{Cpu, Gpu};
        let (av1, hevc, nvenc) = ("codec = \"av1\"", "codec = \"hevc\"", "encoder_type = \"nvenc\"");
        for (lines, gpu, expected) in [
            (String::new(), &[H264][..], Some((H264, Gpu, true, ""))),
            (String::new(), &[], Some((H264, Cpu, false, "no NVIDIA driver; h264 is encoded on the CPU"))),
            (String::new(), &[Av1], Some((H264, Gpu, false, "not on this GPU; h264 is encoded on the CPU"))),
            ("encoder_type = \"software\"".into(), &[H264], Some((H264, Cpu, false, ""))),
            ("codec = \"copy\"".into(), &[H264], Some((Codec::Copy, Cpu, false, ""))),
            (av1.into(), &[H264, Hevc, Av1], Some((Av1, Gpu, true, ""))),
            (
                av1.into(),
                &[H264, Hevc],
                Some((H264, Gpu, true, "no av1 from the GPU: not on this GPU; h264 is recorded")),
            ),
            (av1.into(), &[], Some((H264, Cpu, false, "no NVIDIA driver; h264 is recorded instead"))),
            (format!("{av1}\n{nvenc}"), &[H264, Hevc], None),
            (format!("{hevc}\n{nvenc}"), &[], Some((Hevc, Gpu, false, "episodes wait on disk"))),
            (format!("{hevc}\n{nvenc}\non_gpu_failure = \"h264\""), &[], Some((H264, Cpu, false, "h264 is recorded"))),
            (format!("{hevc}\non_gpu_failure = \"stop\""), &[], None),
            (format!("resume = true/{hevc}"), &[], Some((Hevc, Gpu, false, "episodes wait on disk"))),
            (format!("resume = true/{hevc}\non_gpu_failure = \"h264\""), &[], Some((Hevc, Gpu, false, "wait on disk"))),
            ("gpu_id = 1".into(), &[H264], None),
            ("gpu_id = 1".into(), &[], Some((H264, Cpu, false, "no NVIDIA driver"))),
        ] {
            let choice = choose(&config(&lines), &found(gpu));
            match (expected, choice) {
                (Some((codec, device, works, warning)), Ok(choice)) => {
                    let is = (choice.codec, choice.device, choice.gpu_works);
                    assert_eq!(is, (codec, device, works), "{lines} on {gpu:?}");
                    let said = choice.warnings.join("\n");
                    assert!(said.contains(warning) && said.is_empty() == warning.is_empty(), "{lines}: {said}");
                }
                (None, Err(problem)) => assert!(!problem.remedy.is_empty()),
                (_, choice) => panic!("{lines} on {gpu:?}: {choice:?}"),
            }
        }
    }

    #[test]
    fn without_the_flag_the_gpu_is_not_looked_for() {
        let mut config = config("");
        config.dataset.gpu_video_encoding = false;
        assert!(!wants_gpu(&config));
        assert_eq!(choose(&config, &GpuReport::default()).unwrap().device, Device::Cpu);
    }

    #[test]
    fn a_quality_that_the_chosen_codec_lacks_is_its_worst() {
        let mut config = config("codec = \"av1\"\nquality = 60");
        let choice = choose(&config, &found(&[])).unwrap();
        choice.apply(&mut config);
        assert_eq!((config.dataset.encoder.codec, config.dataset.encoder.quality), (Codec::H264, 51));
    }
}
