//! NVENC's version words: which API, and which revision of a structure in it.

use crate::status::{Answer, INVALID_VERSION, refuse};
use nvidia_video_codec_sdk::sys::nvEncodeAPI as nv;

/// A version of NVENC's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Api {
    pub major: u32,
    pub minor: u32,
}

/// The versions whose headers were compared with the 12.1 types that this library is written in: what it reads and
/// writes of their structures lies at the same places. `NV_ENC_PIC_PARAMS` and `NV_ENC_LOCK_BITSTREAM` grew at their
/// ends with 12.1, so they are only ever touched field by field.
const KNOWN: [Api; 3] = [Api { major: 11, minor: 1 }, Api { major: 12, minor: 0 }, Api { major: 12, minor: 1 }];

const _: () = {
    /// The words of the binding, which takes them from the 12.1 header.
    const HEADER: [(Structure, u32); 14] = [
        (Structure::FunctionList, nv::NV_ENCODE_API_FUNCTION_LIST_VER),
        (Structure::OpenSession, nv::NV_ENC_OPEN_ENCODE_SESSION_EX_PARAMS_VER),
        (Structure::Caps, nv::NV_ENC_CAPS_PARAM_VER),
        (Structure::Initialize, nv::NV_ENC_INITIALIZE_PARAMS_VER),
        (Structure::Config, nv::NV_ENC_CONFIG_VER),
        (Structure::RateControl, nv::NV_ENC_RC_PARAMS_VER),
        (Structure::PresetConfig, nv::NV_ENC_PRESET_CONFIG_VER),
        (Structure::Reconfigure, nv::NV_ENC_RECONFIGURE_PARAMS_VER),
        (Structure::CreateInput, nv::NV_ENC_CREATE_INPUT_BUFFER_VER),
        (Structure::CreateBitstream, nv::NV_ENC_CREATE_BITSTREAM_BUFFER_VER),
        (Structure::LockInput, nv::NV_ENC_LOCK_INPUT_BUFFER_VER),
        (Structure::LockBitstream, nv::NV_ENC_LOCK_BITSTREAM_VER),
        (Structure::Picture, nv::NV_ENC_PIC_PARAMS_VER),
        (Structure::SequenceParams, nv::NV_ENC_SEQUENCE_PARAM_PAYLOAD_VER),
    ];
    let mut i = 0;
    while i < HEADER.len() {
        assert!(KNOWN[2].word_of(HEADER[i].0) == HEADER[i].1);
        i += 1;
    }
};

/// The structures that carry a version word and that the fake takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structure {
    FunctionList,
    OpenSession,
    Caps,
    Initialize,
    Config,
    PresetConfig,
    Reconfigure,
    CreateInput,
    CreateBitstream,
    LockInput,
    LockBitstream,
    Picture,
    SequenceParams,
    RateControl,
}

impl Api {
    /// The API of a word as in `NVENCAPI_VERSION` or of a structure's; nothing if it is none that the fake knows.
    pub fn of_word(word: u32) -> Option<Api> {
        let api = Api { major: word & 0xff, minor: (word >> 24) & 0xf };
        KNOWN.contains(&api).then_some(api)
    }

    /// `NVENCAPI_VERSION`.
    pub const fn word(self) -> u32 {
        self.major | self.minor << 24
    }

    /// The word that a structure of this API begins with.
    pub const fn word_of(self, structure: Structure) -> u32 {
        const EXTENDED: u32 = 1 << 31;
        let v12 = self.major >= 12;
        let v12_1 = v12 && self.minor >= 1;
        let (revision, flag) = match structure {
            Structure::FunctionList => (2, 0),
            Structure::OpenSession | Structure::Caps | Structure::SequenceParams | Structure::RateControl => (1, 0),
            Structure::CreateInput | Structure::CreateBitstream | Structure::LockInput => (1, 0),
            Structure::Initialize => (if v12_1 { 6 } else { 5 }, EXTENDED),
            Structure::Config => (if v12 { 8 } else { 7 }, EXTENDED),
            Structure::PresetConfig => (4, EXTENDED),
            Structure::Reconfigure => (1, EXTENDED),
            Structure::Picture => (if v12 { 6 } else { 4 }, EXTENDED),
            Structure::LockBitstream if v12_1 => (1, EXTENDED),
            Structure::LockBitstream => (if v12 { 2 } else { 1 }, 0),
        };
        self.word() | revision << 16 | 0x7 << 28 | flag
    }

    /// Refuses a structure that does not begin with this API's word for it.
    pub fn check(self, structure: Structure, word: u32) -> Answer<()> {
        let expected = self.word_of(structure);
        if word == expected {
            return Ok(());
        }
        refuse(INVALID_VERSION, format!("{structure:?}: version word {word:#010x}, not {expected:#010x} of {self}"))
    }
}

impl std::fmt::Display for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}
