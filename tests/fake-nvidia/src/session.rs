//! Encode sessions: their buffers, what may be called when, and where the key frames are. Safe code.

use crate::coder::{self, Coder};
use crate::faults::{faults, next_picture};
use crate::picture::{InputBuffer, Layout};
use crate::settings::Settings;
use crate::status::*;
use crate::trace::trace;
use crate::versions::Api;
use std::collections::HashMap;
use std::ffi::CString;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

/// `NV_ENC_PIC_FLAGS`.
const FORCE_INTRA: u32 = 1;
const FORCE_IDR: u32 = 2;
const OUTPUT_HEADERS: u32 = 4;
const END_OF_STREAM: u32 = 8;

/// One open session. Its buffers are numbers to the caller, as is it itself: a wrong one is refused, not followed.
pub struct Session {
    pub api: Api,
    /// What the call that was refused last was refused for.
    pub error: CString,
    id: usize,
    stream: Option<Stream>,
    handles: usize,
    inputs: HashMap<usize, InputBuffer>,
    outputs: HashMap<usize, Output>,
}

/// What there is once a session is initialised.
struct Stream {
    settings: Settings,
    coder: Box<dyn Coder>,
    /// Pictures encoded.
    pictures: u64,
    /// Pictures since the last key frame, with it; nothing if the next one must be a key frame.
    since_key: Option<u64>,
}

/// A bitstream buffer.
enum Output {
    Empty,
    Ready(Encoded),
    Locked(Encoded),
}

/// An encoded picture, as `nvEncLockBitstream` shows it.
pub struct Encoded {
    pub data: Vec<u8>,
    pub key: bool,
    pub time_stamp: u64,
    pub duration: u64,
    /// The picture's place in its session.
    pub index: u64,
}

/// What `nvEncEncodePicture` is given.
pub struct Submission {
    pub flags: u32,
    pub input: usize,
    pub output: usize,
    pub width: u32,
    pub height: u32,
    pub layout: Option<Layout>,
    pub picture_struct: u32,
    pub time_stamp: u64,
    pub duration: u64,
}

/// The sessions of the process, by their handles.
#[derive(Default)]
struct Sessions {
    opened: usize,
    open: HashMap<usize, Arc<Mutex<Session>>>,
}

static SESSIONS: LazyLock<Mutex<Sessions>> = LazyLock::new(Mutex::default);
const FIRST_HANDLE: usize = 0x5e55_0000;

fn sessions() -> MutexGuard<'static, Sessions> {
    SESSIONS.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Opens a session and gives its handle.
pub fn open(api: Api, device: i32) -> Answer<usize> {
    let mut sessions = sessions();
    if let Some(status) = faults().open {
        return refuse(status, "FAKE_NVENC says that opening fails");
    }
    let open = sessions.open.len();
    if faults().sessions.is_some_and(|limit| open >= limit) {
        return refuse(OUT_OF_MEMORY, format!("{open} sessions are open, which is the limit"));
    }
    sessions.opened += 1;
    let id = sessions.opened;
    let handle = FIRST_HANDLE + id * 16;
    let session = Session {
        api,
        error: CString::default(),
        id,
        stream: None,
        handles: 0,
        inputs: HashMap::new(),
        outputs: HashMap::new(),
    };
    sessions.open.insert(handle, Arc::new(Mutex::new(session)));
    trace!("open session={id} device={device} api={api}");
    Ok(handle)
}

/// The session of a handle. Others go on while one of them is held, hangs for instance.
pub fn find(handle: usize) -> Option<Arc<Mutex<Session>>> {
    sessions().open.get(&handle).cloned()
}

/// Closes a session; true if there was one. Does not wait for a picture that hangs in it.
pub fn close(handle: usize) -> bool {
    let was_open = sessions().open.remove(&handle).is_some();
    if was_open {
        trace!("destroy session={}", (handle - FIRST_HANDLE) / 16);
    }
    was_open
}

impl Session {
    pub fn initialize(&mut self, settings: Settings) -> Answer<()> {
        trace!("initialize session={} {}", self.id, settings.words);
        if self.stream.is_some() {
            return refuse(INVALID_CALL, "the session is initialised already");
        }
        if let Some(status) = faults().init {
            return refuse(status, "FAKE_NVENC says that initialising fails");
        }
        let coder = coder::open(&settings).or_else(|words| refuse(UNSUPPORTED_PARAM, words))?;
        self.stream = Some(Stream { settings, coder, pictures: 0, since_key: None });
        Ok(())
    }

    /// Goes on with other settings of rate and key frames.
    pub fn reconfigure(&mut self, settings: Settings, reset: bool, force_key: bool) -> Answer<()> {
        trace!(
            "reconfigure session={} reset={} force_idr={} {}",
            self.id, reset as u8, force_key as u8, settings.words
        );
        let stream = self.stream()?;
        let shape = |settings: &Settings| (settings.codec, settings.width, settings.height);
        if shape(&settings) != shape(&stream.settings) {
            return refuse(UNSUPPORTED_PARAM, "another codec or size than before");
        }
        stream.coder = coder::open(&settings).or_else(|words| refuse(UNSUPPORTED_PARAM, words))?;
        stream.settings = settings;
        // A new encoder of any kind begins with a key frame.
        stream.since_key = None;
        Ok(())
    }

    fn stream(&mut self) -> Answer<&mut Stream> {
        self.stream.as_mut().map_or_else(|| refuse(ENCODER_NOT_INITIALIZED, "the session is not initialised"), Ok)
    }

    /// Parameter sets as they stand in the stream.
    pub fn headers(&mut self) -> Answer<&[u8]> {
        Ok(self.stream()?.coder.headers())
    }

    fn handle(&mut self) -> usize {
        self.handles += 1;
        FIRST_HANDLE * 16 + self.handles * 16
    }

    pub fn create_input(&mut self, layout: Layout, width: usize, height: usize) -> Answer<usize> {
        let settings = &self.stream()?.settings;
        let wanted = (settings.width, settings.height);
        require((width, height) == wanted, || {
            format!("an input buffer of {width}x{height} for pictures of {}x{}", wanted.0, wanted.1)
        })?;
        let handle = self.handle();
        self.inputs.insert(handle, InputBuffer::new(layout, width, height));
        Ok(handle)
    }

    pub fn destroy_input(&mut self, handle: usize) -> Answer<()> {
        require(self.inputs.remove(&handle).is_some(), || "no such input buffer".into())
    }

    /// Memory to write a picture to, and its pitch.
    pub fn lock_input(&mut self, handle: usize) -> Answer<(*mut u8, usize)> {
        let Some(buffer) = self.inputs.get_mut(&handle) else { return refuse(INVALID_PARAM, "no such input buffer") };
        if buffer.locked {
            return refuse(LOCK_BUSY, "the input buffer is locked already");
        }
        buffer.locked = true;
        Ok((buffer.data.as_mut_ptr(), buffer.pitch()))
    }

    pub fn unlock_input(&mut self, handle: usize) -> Answer<()> {
        let buffer = self.inputs.get_mut(&handle).filter(|buffer| buffer.locked);
        let Some(buffer) = buffer else { return refuse(INVALID_PARAM, "no input buffer that is locked") };
        buffer.locked = false;
        Ok(())
    }

    pub fn create_output(&mut self) -> Answer<usize> {
        self.stream()?;
        let handle = self.handle();
        self.outputs.insert(handle, Output::Empty);
        Ok(handle)
    }

    pub fn destroy_output(&mut self, handle: usize) -> Answer<()> {
        require(self.outputs.remove(&handle).is_some(), || "no such bitstream buffer".into())
    }

    /// Encodes a picture into a bitstream buffer, at once.
    pub fn encode(&mut self, given: &Submission) -> Answer<()> {
        let id = self.id;
        if given.flags & END_OF_STREAM != 0 {
            trace!("end_of_stream session={id}");
            // What follows is another stream.
            self.stream()?.since_key = None;
            return Ok(());
        }
        let input = self.check(given)?;
        let picture = input.picture();
        let number = match next_picture() {
            Ok(number) => number,
            Err(status) => {
                trace!("encode session={id} flags={:#x} status={status}", given.flags);
                return refuse(status, "FAKE_NVENC says that this picture fails");
            }
        };
        let stream = self.stream()?;
        let settings = &stream.settings;
        let due = match (stream.since_key, settings.key_interval) {
            (None, _) => true,
            (Some(since), Some(interval)) => since >= interval,
            (Some(_), None) => false,
        };
        let key = due || given.flags & (FORCE_INTRA | FORCE_IDR) != 0 || stream.coder.is_intra_only();
        let in_stream = !settings.disable_headers && key && (settings.repeat_headers || stream.pictures == 0);
        let headers = in_stream || given.flags & OUTPUT_HEADERS != 0;
        let coded = stream.coder.encode(&picture, key, headers).or_else(|words| refuse(GENERIC, words))?;
        let index = stream.pictures;
        stream.pictures += 1;
        stream.since_key = if coded.key { Some(1) } else { stream.since_key.map(|since| since + 1) };
        trace!(
            "encode session={id} picture={number} index={index} flags={:#x} type={} headers={} bytes={}",
            given.flags,
            if coded.key { "idr" } else { "p" },
            headers as u8,
            coded.data.len()
        );
        let (time_stamp, duration) = (given.time_stamp, given.duration);
        let encoded = Encoded { data: coded.data, key: coded.key, time_stamp, duration, index };
        self.outputs.insert(given.output, Output::Ready(encoded));
        Ok(())
    }

    /// The input buffer of a picture that may be encoded.
    fn check(&mut self, given: &Submission) -> Answer<&InputBuffer> {
        const FRAME: u32 = 1;
        let settings = &self.stream()?.settings;
        let size = (settings.width, settings.height);
        require((given.width as usize, given.height as usize) == size, || {
            format!("a picture of {}x{} in a stream of {}x{}", given.width, given.height, size.0, size.1)
        })?;
        require(given.picture_struct == FRAME, || format!("pictureStruct {} is not FRAME (1)", given.picture_struct))?;
        let Some(output) = self.outputs.get(&given.output) else {
            return refuse(INVALID_PARAM, "no such bitstream buffer");
        };
        require(matches!(output, Output::Empty), || "the bitstream buffer still holds a picture".into())?;
        let Some(input) = self.inputs.get(&given.input) else {
            return refuse(INVALID_PARAM, "no such input buffer");
        };
        require(!input.locked, || "the input buffer is still locked".into())?;
        require(Some(input.layout) == given.layout, || "bufferFmt is not the input buffer's".into())?;
        Ok(input)
    }

    pub fn lock_output(&mut self, handle: usize) -> Answer<&Encoded> {
        let Some(output) = self.outputs.get_mut(&handle) else {
            return refuse(INVALID_PARAM, "no such bitstream buffer");
        };
        *output = match std::mem::replace(output, Output::Empty) {
            Output::Ready(encoded) => Output::Locked(encoded),
            Output::Empty => return refuse(INVALID_PARAM, "nothing was encoded into the bitstream buffer"),
            locked @ Output::Locked(_) => {
                *output = locked;
                return refuse(LOCK_BUSY, "the bitstream buffer is locked already");
            }
        };
        match output {
            Output::Locked(encoded) => Ok(encoded),
            Output::Empty | Output::Ready(_) => refuse(GENERIC, "not locked"),
        }
    }

    pub fn unlock_output(&mut self, handle: usize) -> Answer<()> {
        let output = self.outputs.get_mut(&handle).filter(|output| matches!(output, Output::Locked(_)));
        let Some(output) = output else { return refuse(INVALID_PARAM, "no bitstream buffer that is locked") };
        *output = Output::Empty;
        Ok(())
    }
}
