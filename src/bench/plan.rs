//! What is measured: the set-ups of `recorder bench`, and the questions of the interactive one.

use crate::actors::encoder_pool::is_made_on_cpu;
use crate::codec::backend::Device;
use crate::codec::gpu::GpuReport;
use crate::config::arms::simulate;
use crate::config::schema::{Codec, Config, EncoderType};
use crate::config::{Override, Problem};
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, BufRead, Write};
use std::str::FromStr;

/// Episodes, and their length in seconds, where nothing else is said.
pub const EPISODES: u32 = 3;
pub const SECONDS: f64 = 20.0;

/// A set-up by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// One encoding thread, a queue of 50 frames
    Conservative,
    /// Two encoding threads, a queue of 100 frames
    Aggressive,
    /// Asks for both, for the encoder, and for the length
    Interactive,
}

/// What a [`Mode`] decides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SetUp {
    /// Encoding threads on the CPU.
    pub workers: u32,
    /// Frames of a camera that may wait in memory.
    pub queue: u32,
    /// `auto`: whatever there is, one after the other.
    pub encoder: EncoderType,
    /// Of an episode.
    pub seconds: f64,
}

pub const CONSERVATIVE: SetUp = SetUp { workers: 1, queue: 50, encoder: EncoderType::Auto, seconds: SECONDS };
pub const AGGRESSIVE: SetUp = SetUp { workers: 2, queue: 100, ..CONSERVATIVE };

impl SetUp {
    /// As a configuration: two cameras of 1280×720 at 30 frames a second, and an arm, none of them real.
    pub fn toml(&self) -> String {
        let SetUp { workers, queue, encoder, seconds } = self;
        let mut text = String::new();
        for camera in ["front", "wrist"] {
            text += &format!(
                "[robot.cameras.{camera}]\ntype = \"synthetic\"\nwidth = 1280\nheight = 720\nfps = 30\nfourcc = \"MJPG\"\n"
            );
        }
        text +=
            "[robot]\ntype = \"so101_follower\"\nport = \"sim\"\n[teleop]\ntype = \"so101_leader\"\nport = \"sim\"\n";
        text += &format!(
            "[dataset]\nrepo_id = \"local/bench\"\nsingle_task = \"Follow the leader\"\nfps = 30\n\
             episode_time_s = {seconds:?}\nnum_episodes = {EPISODES}\nvideo_encoding_workers = {workers}\n\
             video_encoding_queue_size = {queue}\ngpu_video_encoding = true\n\
             [dataset.encoder]\nencoder_type = \"{}\"\n",
            encoder_name(*encoder)
        );
        text
    }
}

/// The options of the command line as keys of the configuration; what is left out keeps `seconds` and [`EPISODES`].
pub fn overrides(seconds: Option<f64>, episodes: Option<u32>, default_seconds: f64) -> [Override; 2] {
    let set = |key: &str, value: String| Override { key: key.into(), value };
    [
        set("dataset.episode_time_s", format!("{:?}", seconds.unwrap_or(default_seconds))),
        set("dataset.num_episodes", episodes.unwrap_or(EPISODES).to_string()),
    ]
}

/// Makes of a configuration one that can be measured: in real time, an episode right after the other, and without moving
/// a real arm.
pub fn prepare(config: &mut Config) -> Result<(), Problem> {
    if config.robot.cameras.is_empty() {
        return Err(Problem::new("robot.cameras", "a camera to measure", "none", "add a table [robot.cameras.front]"));
    }
    for camera in config.robot.cameras.values_mut() {
        camera.realtime = true;
    }
    simulate(config);
    config.dataset.reset_time_s = 0.0;
    config.dataset.resume = false;
    Ok(())
}

/// When videos are encoded, and how hard encoders are kept at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// While episodes are recorded.
    Streaming,
    /// As `streaming`, and every encoding thread is given more work than it can do: idle pictures, thrown away.
    Saturated,
    /// After each episode; the next one waits. Encoders are idle while an episode is recorded.
    Deferred,
    /// After each episode, while the next ones are recorded.
    DeferredAsync,
}

impl Encoding {
    pub const ALL: [Encoding; 4] =
        [Encoding::Streaming, Encoding::Saturated, Encoding::Deferred, Encoding::DeferredAsync];

    /// That of a configuration.
    pub fn of(config: &Config) -> Encoding {
        match (config.dataset.streaming_encoding, config.dataset.async_video_encoding) {
            (true, _) => Encoding::Streaming,
            (false, false) => Encoding::Deferred,
            (false, true) => Encoding::DeferredAsync,
        }
    }

    /// Puts it into a configuration.
    pub fn apply(self, config: &mut Config) {
        config.dataset.streaming_encoding = matches!(self, Encoding::Streaming | Encoding::Saturated);
        config.dataset.async_video_encoding = self == Encoding::DeferredAsync;
    }

    /// As people read it.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Streaming => "streaming",
            Encoding::Saturated => "streaming, saturated",
            Encoding::Deferred => "deferred",
            Encoding::DeferredAsync => "deferred, async",
        }
    }
}

/// Where the videos of a configuration can be encoded here, and why nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Devices {
    pub devices: Vec<Device>,
    /// Why the GPU is not measured.
    pub no_gpu: Option<String>,
    /// Why the CPU is not measured.
    pub no_cpu: Option<String>,
}

/// Chooses from what was found.
pub fn devices(config: &Config, found: &GpuReport) -> Devices {
    let encoder = &config.dataset.encoder;
    let no_cpu = if encoder.encoder_type == EncoderType::Nvenc {
        Some("encoder_type = \"nvenc\"".to_string())
    } else if !is_made_on_cpu(encoder.codec) {
        Some(format!("it does not make {:?}", encoder.codec).to_lowercase())
    } else {
        None
    };
    let no_gpu = if !wants_gpu(config) {
        Some(match encoder.codec {
            Codec::Copy => "codec = \"copy\" encodes nothing".to_string(),
            _ => "encoder_type = \"software\"".to_string(),
        })
    } else {
        found.can_encode(encoder.gpu_id, encoder.codec).err()
    };
    let here = [(Device::Cpu, &no_cpu), (Device::Gpu, &no_gpu)];
    let devices = here.into_iter().filter(|(_, refusal)| refusal.is_none()).map(|(device, _)| device).collect();
    Devices { devices, no_gpu, no_cpu }
}

/// True when a GPU would be measured. `gpu_video_encoding` does not matter: both are compared.
pub fn wants_gpu(config: &Config) -> bool {
    let encoder = &config.dataset.encoder;
    encoder.encoder_type != EncoderType::Software && encoder.codec != Codec::Copy
}

/// Puts a device into a configuration.
pub fn encode_on(device: Device, config: &mut Config) {
    config.dataset.gpu_video_encoding = device == Device::Gpu;
    if device == Device::Cpu {
        config.dataset.encoder.encoder_type = EncoderType::Software;
        config.dataset.encoder.bitrate = None;
    }
}

/// Asks for a set-up; Enter takes what stands in brackets, the conservative one.
pub fn ask(input: &mut dyn BufRead, output: &mut dyn Write) -> io::Result<SetUp> {
    let SetUp { workers, queue, encoder, seconds } = CONSERVATIVE;
    Ok(SetUp {
        workers: question(input, output, "Encoding threads on the CPU", workers, |text| between(text, 1, 64))?,
        queue: question(input, output, "Frames of a camera that may wait in memory", queue, |text| {
            between(text, 1, 10_000)
        })?,
        encoder: question(input, output, "Encoder: auto (all there are), nvenc, software", Named(encoder), |text| {
            encoder_named(text).map(Named)
        })?
        .0,
        seconds: question(input, output, "Seconds of an episode", seconds, |text| between(text, 0.1, 1000.0))?,
    })
}

fn question<T: Copy + Display>(
    input: &mut dyn BufRead,
    output: &mut dyn Write,
    what: &str,
    default: T,
    read: impl Fn(&str) -> Result<T, String>,
) -> io::Result<T> {
    loop {
        write!(output, "{what} [{default}]: ")?;
        output.flush()?;
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("no answer to \"{what}\"")));
        }
        match line.trim() {
            "" => return Ok(default),
            answer => match read(answer) {
                Ok(value) => return Ok(value),
                Err(expected) => writeln!(output, "expected {expected}, found {answer}")?,
            },
        }
    }
}

fn between<T: FromStr + PartialOrd + Display>(text: &str, least: T, most: T) -> Result<T, String> {
    let fits = |value: &T| least <= *value && *value <= most;
    text.parse().ok().filter(fits).ok_or_else(|| format!("{least} to {most}"))
}

/// An encoder's name as it is written.
#[derive(Clone, Copy)]
struct Named(EncoderType);

impl Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(encoder_name(self.0))
    }
}

const ENCODERS: [EncoderType; 3] = [EncoderType::Auto, EncoderType::Nvenc, EncoderType::Software];

fn encoder_name(encoder: EncoderType) -> &'static str {
    match encoder {
        EncoderType::Auto => "auto",
        EncoderType::Nvenc => "nvenc",
        EncoderType::Software => "software",
    }
}

fn encoder_named(text: &str) -> Result<EncoderType, String> {
    let found = ENCODERS.into_iter().find(|encoder| encoder_name(*encoder) == text);
    found.ok_or_else(|| ENCODERS.map(encoder_name).join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn asked(answers: &str) -> (io::Result<SetUp>, String) {
        let mut output = Vec::new();
        let set_up = ask(&mut answers.as_bytes(), &mut output);
        (set_up, String::from_utf8(output).unwrap())
    }

    #[test]
    fn enter_takes_the_default_and_nonsense_is_asked_again() {
        assert_eq!(asked("\n\n\n\n").0.unwrap(), CONSERVATIVE);
        let chosen = SetUp { workers: 4, queue: 7, encoder: EncoderType::Software, seconds: 2.5 };
        assert_eq!(asked("4\n7\nsoftware\n2.5\n").0.unwrap(), chosen);
        let (set_up, said) = asked("none\n0\n4\n7\nqsv\nsoftware\nNaN\n2.5\n");
        assert_eq!(set_up.unwrap(), chosen);
        for words in
            ["expected 1 to 64, found none", "found 0", "expected auto, nvenc, software, found qsv", "found NaN"]
        {
            assert!(said.contains(words), "{words}: {said}");
        }
        assert!(asked("4\n").0.unwrap_err().to_string().contains("Frames of a camera"));
    }

    #[test]
    fn set_ups_are_configurations() {
        let odd = SetUp { workers: 3, queue: 9, encoder: EncoderType::Nvenc, seconds: 7.0 };
        for (set_up, encoder) in
            [(CONSERVATIVE, EncoderType::Auto), (AGGRESSIVE, EncoderType::Auto), (odd, EncoderType::Nvenc)]
        {
            let options = overrides(None, Some(1), set_up.seconds);
            let mut config = config::parse("bench", &set_up.toml(), &options).unwrap();
            prepare(&mut config).unwrap();
            let dataset = &config.dataset;
            assert_eq!(dataset.video_encoding_workers, Some(set_up.workers));
            assert_eq!((dataset.video_encoding_queue_size, dataset.num_episodes), (set_up.queue, 1));
            assert_eq!((dataset.episode_time_s, dataset.encoder.encoder_type), (set_up.seconds, encoder));
            assert_eq!((config.robot.cameras.len(), Encoding::of(&config)), (2, Encoding::Streaming));
            for encoding in Encoding::ALL {
                encoding.apply(&mut config);
                let expected = if encoding == Encoding::Saturated { Encoding::Streaming } else { encoding };
                assert_eq!(Encoding::of(&config), expected);
            }
        }
    }

    #[test]
    fn a_real_arm_is_not_moved() {
        let text = SetUp::toml(&CONSERVATIVE).replace("\"sim\"", "\"/dev/ttyACM0\"");
        let text = text.replacen("/dev/ttyACM0", "/dev/ttyACM1", 1);
        let mut config = config::parse("bench", &text, &[]).unwrap();
        prepare(&mut config).unwrap();
        assert_eq!((config.robot.port.as_deref(), config.teleop.port.as_deref()), (Some("sim"), Some("sim")));
    }

    #[test]
    fn what_is_not_measured_has_its_reason() {
        let no_gpu = GpuReport::refused("no driver");
        for (lines, devices_here, no_cpu, why_no_gpu) in [
            ("", &[Device::Cpu][..], None, Some("no driver")),
            ("codec = \"copy\"", &[Device::Cpu], None, Some("encodes nothing")),
            ("codec = \"hevc\"", &[], Some("it does not make hevc"), Some("no driver")),
        ] {
            let text = format!("{}{lines}\n", CONSERVATIVE.toml());
            let found = devices(&config::parse("bench", &text, &[]).unwrap(), &no_gpu);
            assert_eq!((&found.devices[..], found.no_cpu.as_deref()), (devices_here, no_cpu), "{lines}");
            assert!(found.no_gpu.as_deref().unwrap().contains(why_no_gpu.unwrap()), "{found:?}");
        }
    }
}
