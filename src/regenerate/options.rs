//! What `recorder regenerate` is asked for: the command line, and what it comes to.

use super::RegenerateError;
use crate::codec::Preset;
use crate::codec::backend::codec_name;
use crate::codec::openh264::MIN_QP;
use crate::config::schema::Codec;
use clap::Args;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// Encode the videos of a data set anew: any LeRobot v3.0 data set, recorded by whomever
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Arguments {
    /// The data set's folder
    pub root: PathBuf,
    /// Encode on the GPU, or not at all [default: on the GPU where it encodes, else on the CPU]
    #[arg(long, conflicts_with = "cpu")]
    pub gpu: bool,
    /// Encode on the CPU
    #[arg(long)]
    pub cpu: bool,
    /// Frames a second; only the data set's own, to which rows and videos are bound
    #[arg(long, value_name = "N")]
    pub fps: Option<u32>,
    /// auto, nvenc (as --gpu) or software (as --cpu)
    #[arg(long, value_name = "NAME", default_value = "auto", value_parser = encoder_type)]
    pub encoder_type: Target,
    /// h264, hevc, av1, or copy: the cameras' JPEGs as they are
    #[arg(long, value_name = "NAME", default_value = "h264", value_parser = codec)]
    pub codec: Codec,
    /// fast, medium, slow, hq, or p1 to p7: speed against size, for encoders that have presets
    #[arg(long, value_name = "NAME", default_value = "fast", value_parser = preset)]
    pub preset: String,
    /// Constant quality, lower is better: 0 to 51, for av1 to 63
    #[arg(long, value_name = "N", default_value_t = 23)]
    pub quality: u32,
    /// Frames from one key frame to the next
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub gop: u32,
    /// Cap of the bit rate in bits a second, for NVENC
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub bitrate: Option<u64>,
    /// Which NVIDIA GPU encodes
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub gpu_id: u32,
    /// Only these episodes, such as 0,3-5; every episode that shares a file with them goes along
    #[arg(long, value_name = "LIST", value_parser = selection)]
    pub episodes: Option<Selection>,
    /// Videos that are encoded at the same time [default: as many as the machine has cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub workers: Option<u32>,
    /// Say what would be done, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
}

/// On what is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The GPU if it can, else the CPU.
    Auto,
    Gpu,
    Cpu,
}

/// Episodes by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection(pub Vec<RangeInclusive<u64>>);

impl Selection {
    /// True for an episode that was named.
    pub fn contains(&self, episode: u64) -> bool {
        self.0.iter().any(|range| range.contains(&episode))
    }

    /// The first that was named and is not among `episodes` episodes.
    pub fn beyond(&self, episodes: u64) -> Option<u64> {
        self.0.iter().map(|range| *range.end()).find(|last| *last >= episodes)
    }
}

impl Arguments {
    /// Refuses what contradicts itself or no encoder can do; the target that is meant.
    pub fn target(&self) -> Result<Target, RegenerateError> {
        let wrong = |words: String| Err(RegenerateError::Usage(words));
        let target = match (self.gpu, self.cpu, self.encoder_type) {
            (false, false, target) => target,
            (true, _, Target::Auto | Target::Gpu) => Target::Gpu,
            (_, true, Target::Auto | Target::Cpu) => Target::Cpu,
            (true, ..) => return wrong("--gpu contradicts --encoder-type software: give one of them".into()),
            _ => return wrong("--cpu contradicts --encoder-type nvenc: give one of them".into()),
        };
        let (coarsest, name) = if self.codec == Codec::Av1 { (63, "av1") } else { (51, "h264 and hevc") };
        if self.quality > coarsest {
            return wrong(format!("--quality: expected 0 to {coarsest} for {name}, found {}", self.quality));
        }
        if target == Target::Cpu && matches!(self.codec, Codec::Hevc | Codec::Av1) {
            let codec = codec_name(self.codec);
            return wrong(format!("--codec {codec}: the CPU encodes h264 only; choose that, or leave --cpu out"));
        }
        if target == Target::Cpu && self.bitrate.is_some() {
            return wrong(
                "--bitrate: the CPU encodes at constant quality, only NVENC takes a cap; set --quality alone".into(),
            );
        }
        Ok(target)
    }

    /// The quality that the CPU's encoder really uses.
    pub fn cpu_quality(&self) -> u32 {
        self.quality.max(MIN_QP)
    }
}

fn encoder_type(text: &str) -> Result<Target, String> {
    match text {
        "auto" => Ok(Target::Auto),
        "nvenc" => Ok(Target::Gpu),
        "software" => Ok(Target::Cpu),
        "qsv" | "vce" | "amf" | "vaapi" | "videotoolbox" => {
            Err(format!("{text} is not built in; here are nvenc, software, and auto, which takes what encodes"))
        }
        _ => Err("expected auto, nvenc or software".into()),
    }
}

fn codec(text: &str) -> Result<Codec, String> {
    match text {
        "h264" => Ok(Codec::H264),
        "hevc" | "h265" => Ok(Codec::Hevc),
        "av1" => Ok(Codec::Av1),
        "copy" => Ok(Codec::Copy),
        _ => Err("expected h264, hevc, av1 or copy".into()),
    }
}

fn preset(text: &str) -> Result<String, String> {
    match Preset::named(text) {
        Some(_) => Ok(text.into()),
        None => Err(format!("expected one of {}", Preset::NAMES.map(|(name, _)| name).join(", "))),
    }
}

fn selection(text: &str) -> Result<Selection, String> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let range = |part: &str| match part.split_once('-') {
        None => number(part).map(|n| n..=n),
        Some((first, last)) => Some(number(first)?..=number(last)?).filter(|range| !range.is_empty()),
    };
    let ranges = text.split(',').map(|part| {
        range(part).ok_or_else(|| format!("expected numbers and ranges such as 0,3-5, found `{}`", part.trim()))
    });
    Ok(Selection(ranges.collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn episodes_are_numbers_and_ranges() {
        for (text, expected) in [("0", vec![0..=0]), ("0,3-5", vec![0..=0, 3..=5]), (" 7 , 9 - 9", vec![7..=7, 9..=9])]
        {
            assert_eq!(selection(text), Ok(Selection(expected)), "{text}");
        }
        for text in ["", "a", "1,,2", "5-3", "-1", "1-", "0x1"] {
            assert!(selection(text).unwrap_err().contains("such as 0,3-5"), "{text}");
        }
        let some = selection("1,4-6").unwrap();
        assert_eq!((0..8).filter(|n| some.contains(*n)).collect::<Vec<_>>(), [1, 4, 5, 6]);
        assert_eq!((some.beyond(7), some.beyond(6), some.beyond(1)), (None, Some(6), Some(1)));
    }
}
