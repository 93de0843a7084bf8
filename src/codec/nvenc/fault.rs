//! What CUDA and NVENC answer when they refuse or fail, and what it means to a user.

use nvidia_video_codec_sdk::sys::nvEncodeAPI::NVENCSTATUS;

/// Why an encoder failed, as a label of metrics and as what a supervisor decides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No encoder can be had in this process, or on this GPU.
    Refused,
    /// Too many sessions are open, or the GPU's memory is full: a later stream may try again.
    Sessions,
    /// The GPU went away: what is opened anew may work.
    Lost,
    /// The encoder stayed busy for longer than it is waited for.
    Busy,
    /// This encoder does not take these parameters.
    Unsupported,
    /// Anything else.
    Error,
}

impl Reason {
    /// Every reason, for metrics that exist from the start.
    pub const ALL: [Reason; 6] =
        [Reason::Refused, Reason::Sessions, Reason::Lost, Reason::Busy, Reason::Unsupported, Reason::Error];

    /// One word, from a bounded set.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Refused => "refused",
            Reason::Sessions => "sessions",
            Reason::Lost => "lost",
            Reason::Busy => "busy",
            Reason::Unsupported => "unsupported",
            Reason::Error => "error",
        }
    }
}

/// When a call was made: the same status means different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// While a session is opened, up to its first picture.
    Open,
    /// In the middle of a stream.
    Encode,
}

/// A failure of NVENC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The library's function, or what was done with its answer.
    pub operation: &'static str,
    /// The answer's number and name.
    pub status: Option<(u32, &'static str)>,
    pub reason: Reason,
    /// What it means, and what can be done.
    pub words: String,
    /// The frame of the stream that was encoded.
    pub frame: Option<u64>,
}

impl Fault {
    /// A failure that is no answer of a library.
    pub fn new(operation: &'static str, reason: Reason, words: impl Into<String>) -> Fault {
        Fault { operation, status: None, reason, words: words.into(), frame: None }
    }

    /// An answer of NVENC other than success. `detail` is what the driver says of it, if it says anything.
    pub fn nvenc(operation: &'static str, status: u32, stage: Stage, detail: &str) -> Fault {
        let (reason, meaning) = nvenc_meaning(status, stage);
        let detail = detail.trim();
        let words = if detail.is_empty() { meaning.into() } else { format!("{meaning}; the driver says: {detail}") };
        Fault { operation, status: Some((status, nvenc_name(status))), reason, words, frame: None }
    }

    /// An answer of CUDA other than success.
    pub fn cuda(operation: &'static str, status: u32, stage: Stage) -> Fault {
        let (name, reason, meaning) = cuda_meaning(status, stage);
        Fault { operation, status: Some((status, name)), reason, words: meaning.into(), frame: None }
    }

    /// What it means, and the answer that says so.
    pub fn line(&self) -> String {
        let Fault { words, operation, .. } = self;
        match self.status {
            Some((number, name)) => format!("{words} ({operation} answered {number}, {name})"),
            None => words.clone(),
        }
    }

    /// The same, while frame `index` was encoded.
    pub fn at(self, index: u64) -> Fault {
        Fault { frame: Some(index), ..self }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.frame {
            Some(index) => write!(f, "NVENC at frame {index} of the stream: {}", self.line()),
            None => write!(f, "NVENC: {}", self.line()),
        }
    }
}

impl std::error::Error for Fault {}

fn nvenc_meaning(status: u32, stage: Stage) -> (Reason, &'static str) {
    match (status, stage) {
        (1..=4, _) => (
            Reason::Refused,
            "this GPU has no encoder, or the container hides it (start the container with the driver capability \"video\")",
        ),
        (5, _) => (Reason::Lost, "the GPU is gone: it was reset or unplugged, or its driver was replaced"),
        (8 | 12, _) => (Reason::Unsupported, "this GPU or its driver does not take a setting of this stream"),
        (10 | 21, Stage::Open) => {
            (Reason::Sessions, "too many encoding sessions are open on this machine, or the GPU's memory is full")
        }
        (10, Stage::Encode) => (Reason::Error, "the GPU's memory is full"),
        (13 | 18, _) => (Reason::Busy, "the encoder stayed busy"),
        (15, _) => (
            Reason::Refused,
            "the driver speaks another version of NVENC than this program: install a newer NVIDIA driver",
        ),
        (17, _) => (Reason::Error, "the encoder keeps pictures back, although every picture must come out at once"),
        _ => (Reason::Error, "the encoder failed"),
    }
}

/// NVIDIA's name of a status, without the prefix that all share.
fn nvenc_name(status: u32) -> &'static str {
    use NVENCSTATUS::*;
    const NAMES: [(NVENCSTATUS, &str); 26] = [
        (NV_ENC_ERR_NO_ENCODE_DEVICE, "NO_ENCODE_DEVICE"),
        (NV_ENC_ERR_UNSUPPORTED_DEVICE, "UNSUPPORTED_DEVICE"),
        (NV_ENC_ERR_INVALID_ENCODERDEVICE, "INVALID_ENCODERDEVICE"),
        (NV_ENC_ERR_INVALID_DEVICE, "INVALID_DEVICE"),
        (NV_ENC_ERR_DEVICE_NOT_EXIST, "DEVICE_NOT_EXIST"),
        (NV_ENC_ERR_INVALID_PTR, "INVALID_PTR"),
        (NV_ENC_ERR_INVALID_EVENT, "INVALID_EVENT"),
        (NV_ENC_ERR_INVALID_PARAM, "INVALID_PARAM"),
        (NV_ENC_ERR_INVALID_CALL, "INVALID_CALL"),
        (NV_ENC_ERR_OUT_OF_MEMORY, "OUT_OF_MEMORY"),
        (NV_ENC_ERR_ENCODER_NOT_INITIALIZED, "ENCODER_NOT_INITIALIZED"),
        (NV_ENC_ERR_UNSUPPORTED_PARAM, "UNSUPPORTED_PARAM"),
        (NV_ENC_ERR_LOCK_BUSY, "LOCK_BUSY"),
        (NV_ENC_ERR_NOT_ENOUGH_BUFFER, "NOT_ENOUGH_BUFFER"),
        (NV_ENC_ERR_INVALID_VERSION, "INVALID_VERSION"),
        (NV_ENC_ERR_MAP_FAILED, "MAP_FAILED"),
        (NV_ENC_ERR_NEED_MORE_INPUT, "NEED_MORE_INPUT"),
        (NV_ENC_ERR_ENCODER_BUSY, "ENCODER_BUSY"),
        (NV_ENC_ERR_EVENT_NOT_REGISTERD, "EVENT_NOT_REGISTERED"),
        (NV_ENC_ERR_GENERIC, "GENERIC"),
        (NV_ENC_ERR_INCOMPATIBLE_CLIENT_KEY, "INCOMPATIBLE_CLIENT_KEY"),
        (NV_ENC_ERR_UNIMPLEMENTED, "UNIMPLEMENTED"),
        (NV_ENC_ERR_RESOURCE_REGISTER_FAILED, "RESOURCE_REGISTER_FAILED"),
        (NV_ENC_ERR_RESOURCE_NOT_REGISTERED, "RESOURCE_NOT_REGISTERED"),
        (NV_ENC_ERR_RESOURCE_NOT_MAPPED, "RESOURCE_NOT_MAPPED"),
        (NV_ENC_ERR_NEED_MORE_OUTPUT, "NEED_MORE_OUTPUT"),
    ];
    NAMES.iter().find(|(known, _)| *known as u32 == status).map_or("a status of a newer driver", |(_, name)| *name)
}

fn cuda_meaning(status: u32, stage: Stage) -> (&'static str, Reason, &'static str) {
    match (status, stage) {
        (2, Stage::Open) => ("OUT_OF_MEMORY", Reason::Sessions, "the GPU's memory is full"),
        (34, _) => {
            ("STUB_LIBRARY", Reason::Refused, "the CUDA toolkit's stub stands in front of the NVIDIA driver's libcuda")
        }
        (46, _) => ("DEVICES_UNAVAILABLE", Reason::Refused, "another program has the GPU for itself"),
        (100, _) => ("NO_DEVICE", Reason::Refused, "no NVIDIA GPU is in this machine, or the container hides it"),
        (803, _) => (
            "SYSTEM_DRIVER_MISMATCH",
            Reason::Refused,
            "the NVIDIA driver and its libraries are of different versions: restart the machine",
        ),
        (999, Stage::Open) => (
            "UNKNOWN",
            Reason::Refused,
            "the NVIDIA driver is in a bad state: restarting the machine mends it most often",
        ),
        (_, Stage::Open) => ("see CUresult in CUDA's documentation", Reason::Refused, "CUDA cannot use the GPU"),
        (_, Stage::Encode) => ("see CUresult in CUDA's documentation", Reason::Lost, "the GPU is gone"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_meaning() {
        let of = |status, stage| Fault::nvenc("nvEncX", status, stage, "").reason;
        for (status, open, encode) in [
            (1, Reason::Refused, Reason::Refused),
            (2, Reason::Refused, Reason::Refused),
            (4, Reason::Refused, Reason::Refused),
            (5, Reason::Lost, Reason::Lost),
            (8, Reason::Unsupported, Reason::Unsupported),
            (10, Reason::Sessions, Reason::Error),
            (12, Reason::Unsupported, Reason::Unsupported),
            (13, Reason::Busy, Reason::Busy),
            (15, Reason::Refused, Reason::Refused),
            (17, Reason::Error, Reason::Error),
            (18, Reason::Busy, Reason::Busy),
            (20, Reason::Error, Reason::Error),
            (21, Reason::Sessions, Reason::Error),
            (12_345, Reason::Error, Reason::Error),
        ] {
            assert_eq!((of(status, Stage::Open), of(status, Stage::Encode)), (open, encode), "status {status}");
        }
        for status in 1..=26 {
            assert!(nvenc_name(status).chars().all(|c| c.is_ascii_uppercase() || c == '_'), "status {status}");
        }
    }

    #[test]
    fn a_fault_reads_as_a_sentence() {
        let fault = Fault::nvenc("nvEncEncodePicture", 5, Stage::Encode, "").at(17);
        let words = "NVENC at frame 17 of the stream: the GPU is gone: it was reset or unplugged, or its driver was \
                     replaced (nvEncEncodePicture answered 5, DEVICE_NOT_EXIST)";
        assert_eq!(fault.to_string(), words);
        let fault = Fault::nvenc("nvEncX", 99, Stage::Open, " oh \n");
        let words = "NVENC: the encoder failed; the driver says: oh (nvEncX answered 99, a status of a newer driver)";
        assert_eq!(fault.to_string(), words);
        assert_eq!(Fault::new("a", Reason::Error, "b").to_string(), "NVENC: b");
    }
}
