//! NVENC's version words: which API, and which revision of a structure in it.

use crate::status::{Answer, INVALID_VERSION, refuse};

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
    pub fn word(self) -> u32 {
        self.major | self.minor << 24
    }

    /// The word that a structure of this API begins with.
    pub fn word_of(self, structure: Structure) -> u32 {
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
