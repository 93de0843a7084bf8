//! What is known of NVIDIA GPUs, and how it is found out: a child process asks the driver, so that a driver that crashes
//! or hangs cannot take the recorder along.

use crate::config::schema::Codec;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A driver that has not answered after this long is taken for one that never will. A cold start of a healthy one, with
/// several GPUs to wake, takes up to some seconds.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
/// A killed child that is not gone after this long hangs in the kernel: it is left to itself.
const LAST_RESPECTS: Duration = Duration::from_secs(1);
/// More than any report; what a child says beyond is not read.
const LONGEST_REPORT: u64 = 1 << 20;

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
            None => Err(format!("GPU {id} ({}) has no encoder for {codec:?}", device.name)),
        }
    }
}

/// Finds out about the GPUs; blocks, at the longest for little more than [`PROBE_TIMEOUT`].
pub type Prober = Arc<dyn Fn() -> GpuReport + Send + Sync>;

/// Asks in a child process that runs this program's own file.
pub fn prober() -> Prober {
    // The name that holds even when the file was replaced meanwhile.
    Arc::new(|| probe_in_child(Path::new("/proc/self/exe"), PROBE_TIMEOUT))
}

/// Asks the driver in this process: in the recorder itself only its child should. Slow, and may crash.
pub fn probe_in_process() -> GpuReport {
    GpuReport::refused("this build cannot look for NVIDIA GPUs")
}

/// What `recorder encoders --probe-in-process` prints: the report as one line of JSON. Ends with its parent.
pub fn probe_for_parent() -> String {
    // Only tidiness is lost if that cannot be had.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    format!("{}\n", serde_json::json!(probe_in_process()))
}

/// Runs `PROGRAM encoders --probe-in-process` and reads its report. Whatever goes wrong with it is the report's refusal.
pub fn probe_in_child(program: &Path, timeout: Duration) -> GpuReport {
    ask(program, timeout).unwrap_or_else(GpuReport::refused)
}

fn ask(program: &Path, timeout: Duration) -> Result<GpuReport, String> {
    let mut child = Command::new(program)
        .args(["encoders", "--probe-in-process"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("the search for NVIDIA GPUs cannot be started ({}: {error})", program.display()))?;
    let said = child.stdout.take().map(read_all);
    let complaint = child.stderr.take().map(read_all);
    let in_time = ended_within(&child, timeout);
    // Also what it may have started itself, which would hold the pipes open.
    let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
    if !in_time {
        if ended_within(&child, LAST_RESPECTS) {
            let _ = child.wait();
        } else {
            std::thread::spawn(move || child.wait());
        }
        return Err(format!("the NVIDIA driver did not answer within {} s", timeout.as_secs_f64()));
    }
    let status = child.wait().map_err(|error| format!("the search for NVIDIA GPUs was lost ({error})"))?;
    let [said, complaint] = [said, complaint].map(|reader| reader.and_then(|r| r.join().ok()).unwrap_or_default());
    if !status.success() {
        return Err(describe(status, last_line(&complaint)));
    }
    // A driver may print lines of its own.
    let line = last_line(&said);
    serde_json::from_str(line).map_err(|error| {
        let beginning: String = line.chars().take(60).collect();
        format!("the search for NVIDIA GPUs gave no report: expected JSON, found {beginning:?} ({error})")
    })
}

/// How a child ended that did not succeed.
fn describe(status: ExitStatus, complaint: &str) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("the NVIDIA driver crashed when asked (signal {signal})"),
        (None, code) => {
            let code = code.map_or("unknown".into(), |code| code.to_string());
            let complaint = if complaint.is_empty() { String::new() } else { format!(": {complaint}") };
            format!("the search for NVIDIA GPUs failed (exit code {code}{complaint})")
        }
    }
}

/// Waits for the end of a child, and leaves it to be reaped.
fn ended_within(child: &Child, timeout: Duration) -> bool {
    let Ok(handle) = pidfd_open(Pid::from_child(child), PidfdFlags::empty()) else { return false };
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&left)) {
            Err(rustix::io::Errno::INTR) => {}
            ready => return ready.is_ok_and(|count| count > 0),
        }
    }
}

/// Reads a pipe to its end on a thread of its own, so that the child never waits for a reader.
fn read_all(pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.take(LONGEST_REPORT).read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn last_line(text: &str) -> &str {
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default()
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
            (&found, 0, Codec::Hevc, Err("GPU 0 (Card) has no encoder for Hevc")),
            (&found, 1, Codec::H264, Err("there is no GPU 1, only GPUs 0, 2")),
            (&found, 2, Codec::H264, Err("no encoder")),
            (&GpuReport::default(), 0, Codec::H264, Err("there is no NVIDIA GPU")),
            (&GpuReport::refused("no driver"), 0, Codec::H264, Err("no driver")),
        ] {
            assert_eq!(report.can_encode(id, wanted), expected.map_err(str::to_string), "{id} {wanted:?}");
        }
    }
}
