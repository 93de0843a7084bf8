//! The faults that `FAKE_NVENC` asks for: a comma-separated list of `name=value`, any of them several times.
//!
//! Pictures are counted from 0 over all sessions of the process, so a fault at one picture happens once.

use crate::settings::Codec;
use crate::status::ENCODER_BUSY;
use crate::trace::trace;
use crate::versions::Api;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

/// What the environment asks for.
#[derive(Debug)]
pub struct Faults {
    /// The number of GPUs.
    pub devices: u32,
    /// What `cuInit` answers.
    pub cuinit: u32,
    /// The highest API that the driver says it supports.
    pub api: Api,
    /// What opening a session answers, if it fails.
    pub open: Option<u32>,
    /// What initialising a session answers, if it fails.
    pub init: Option<u32>,
    /// How many sessions this process may have open.
    pub sessions: Option<usize>,
    /// The codecs on offer.
    pub codecs: Vec<Codec>,
    at: Vec<(u64, Fault)>,
    every: Vec<(u64, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Fail(u32),
    Hang(Duration),
    Crash,
    /// This many calls are answered with ENCODER_BUSY before the picture is taken.
    Busy(u64),
}

/// How the count of pictures goes on.
#[derive(Debug, Default)]
struct Count {
    picture: u64,
    /// How often the current picture was answered with ENCODER_BUSY.
    busy: u64,
}

static FAULTS: LazyLock<Faults> = LazyLock::new(|| {
    let text = std::env::var("FAKE_NVENC").unwrap_or_default();
    // A test that asks for what does not exist must not go on without it.
    parse(&text).unwrap_or_else(|words| panic!("fake driver: FAKE_NVENC={text}: {words}"))
});
static COUNT: Mutex<Count> = Mutex::new(Count { picture: 0, busy: 0 });

/// The faults of this process.
pub fn faults() -> &'static Faults {
    &FAULTS
}

/// Takes the next picture of the process: its number, or the status of the fault that befalls it. May hang or crash.
pub fn next_picture() -> Result<u64, u32> {
    let (picture, fault) = COUNT.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).next(faults())?;
    match fault {
        None | Some(Fault::Busy(_)) => Ok(picture),
        Some(Fault::Fail(status)) => Err(status),
        Some(Fault::Hang(time)) => {
            trace!("hang picture={picture} ms={}", time.as_millis());
            std::thread::sleep(time);
            Ok(picture)
        }
        Some(Fault::Crash) => {
            trace!("crash picture={picture}");
            crash()
        }
    }
}

impl Count {
    /// The next picture and its fault, or ENCODER_BUSY, which leaves the picture the next one.
    fn next(&mut self, faults: &Faults) -> Result<(u64, Option<Fault>), u32> {
        let picture = self.picture;
        let fault = faults.at(picture);
        if let Some(Fault::Busy(times)) = fault
            && self.busy < times
        {
            self.busy += 1;
            return Err(ENCODER_BUSY);
        }
        *self = Count { picture: picture + 1, busy: 0 };
        Ok((picture, fault))
    }
}

/// Dies of a segmentation fault, as a driver does. A signal that is only raised would be survived: the runtime's
/// handler takes it for a real access and returns, to let the access fault again.
pub fn crash() -> ! {
    // SAFETY: nothing is ever mapped into the first page, so that the write ends the process, which is what it is for.
    unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(0) };
    std::process::abort()
}

impl Faults {
    fn at(&self, picture: u64) -> Option<Fault> {
        let once = self.at.iter().find(|(at, _)| *at == picture).map(|(_, fault)| *fault);
        let each = || self.every.iter().find(|(every, _)| (picture + 1).is_multiple_of(*every));
        once.or_else(|| each().map(|(_, status)| Fault::Fail(*status)))
    }
}

fn parse(text: &str) -> Result<Faults, String> {
    let mut faults = Faults {
        devices: 1,
        cuinit: 0,
        api: Api { major: 12, minor: 1 },
        open: None,
        init: None,
        sessions: None,
        codecs: vec![Codec::H264, Codec::Hevc, Codec::Av1],
        at: Vec::new(),
        every: Vec::new(),
    };
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let (name, value) = item.split_once('=').ok_or_else(|| format!("{item}: expected name=value"))?;
        let pair = || value.split_once(':').ok_or_else(|| format!("{item}: expected {name}=A:B"));
        match name {
            "devices" => faults.devices = number(value)?,
            "cuinit" => faults.cuinit = number(value)?,
            "open" => faults.open = Some(number(value)?),
            "init" => faults.init = Some(number(value)?),
            "sessions" => faults.sessions = Some(number(value)?),
            "api" => {
                let (major, minor) = value.split_once('.').ok_or_else(|| format!("{item}: expected MAJOR.MINOR"))?;
                faults.api = Api { major: number(major)?, minor: number(minor)? };
            }
            "codecs" => faults.codecs = value.split('+').map(Codec::of_name).collect::<Result<_, _>>()?,
            "fail" => faults.at.push((number(pair()?.0)?, Fault::Fail(number(pair()?.1)?))),
            "hang" => faults.at.push((number(pair()?.0)?, Fault::Hang(Duration::from_millis(number(pair()?.1)?)))),
            "busy" => faults.at.push((number(pair()?.0)?, Fault::Busy(number(pair()?.1)?))),
            "crash" => faults.at.push((number(value)?, Fault::Crash)),
            "fail_every" => match (number(pair()?.0)?, number(pair()?.1)?) {
                (0, _) => return Err(format!("{item}: expected each 1st picture or more")),
                every => faults.every.push(every),
            },
            _ => return Err(format!("{name}: no such fault")),
        }
    }
    Ok(faults)
}

pub fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text}: expected a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_once_and_at_their_pictures() {
        let faults = parse("fail=1:20,busy=2:2,fail_every=4:8,crash=5,hang=6:70").unwrap();
        let mut count = Count::default();
        let taken: Vec<_> = std::iter::repeat_with(|| count.next(&faults)).take(10).collect();
        let hang = Fault::Hang(Duration::from_millis(70));
        assert_eq!(
            taken,
            [
                Ok((0, None)),
                Ok((1, Some(Fault::Fail(20)))),
                Err(ENCODER_BUSY),
                Err(ENCODER_BUSY),
                Ok((2, Some(Fault::Busy(2)))),
                Ok((3, Some(Fault::Fail(8)))),
                Ok((4, None)),
                Ok((5, Some(Fault::Crash))),
                Ok((6, Some(hang))),
                Ok((7, Some(Fault::Fail(8)))),
            ]
        );
    }
}
