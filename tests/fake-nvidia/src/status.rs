//! What a call of NVENC answers.

/// NVENC's status words, as far as the fake gives them (`NVENCSTATUS`, without the prefix).
///
/// Plain numbers, not the binding's enum: a fault may ask for a status that is not in it.
pub const SUCCESS: u32 = 0;
pub const INVALID_ENCODERDEVICE: u32 = 3;
pub const INVALID_DEVICE: u32 = 4;
pub const INVALID_PTR: u32 = 6;
pub const INVALID_PARAM: u32 = 8;
pub const INVALID_CALL: u32 = 9;
pub const OUT_OF_MEMORY: u32 = 10;
pub const ENCODER_NOT_INITIALIZED: u32 = 11;
pub const UNSUPPORTED_PARAM: u32 = 12;
pub const LOCK_BUSY: u32 = 13;
pub const NOT_ENOUGH_BUFFER: u32 = 14;
pub const INVALID_VERSION: u32 = 15;
pub const ENCODER_BUSY: u32 = 18;
pub const GENERIC: u32 = 20;
pub const UNIMPLEMENTED: u32 = 22;

/// Why a call is refused: the status for the caller, and words for `NvEncGetLastErrorString` and the trace.
#[derive(Debug)]
pub struct Refusal {
    pub status: u32,
    pub words: String,
}

/// A call's result before it becomes a status.
pub type Answer<T> = Result<T, Refusal>;

/// Refuses with `status`.
pub fn refuse<T>(status: u32, words: impl Into<String>) -> Answer<T> {
    Err(Refusal { status, words: words.into() })
}

/// Refuses with INVALID_PARAM unless `holds`.
pub fn require(holds: bool, words: impl FnOnce() -> String) -> Answer<()> {
    if holds { Ok(()) } else { refuse(INVALID_PARAM, words()) }
}
