//! `libcuda.so.1`: devices and contexts, as far as an encoder needs them.
//!
//! Contexts are numbers that are never followed. All else that ffmpeg insists on finding in the library is there and
//! answers CUDA_ERROR_NOT_SUPPORTED.

#![allow(non_snake_case, reason = "the names are the driver's")]

use crate::faults::faults;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::{LazyLock, Mutex};

const SUCCESS: c_int = 0;
const INVALID_VALUE: c_int = 1;
const NOT_INITIALIZED: c_int = 3;
const NO_DEVICE: c_int = 100;
const INVALID_DEVICE: c_int = 101;
const INVALID_CONTEXT: c_int = 201;
const NOT_SUPPORTED: c_int = 801;

/// CUDA 12.2, of the 535 series of drivers.
const DRIVER_VERSION: c_int = 12020;
/// An invented Ada, which is the first generation with all three codecs.
const COMPUTE_CAPABILITY: (c_int, c_int) = (8, 9);
const MAXIMUM_THREADS_PER_BLOCK: c_int = 1;
const COMPUTE_CAPABILITY_MAJOR: c_int = 75;
const COMPUTE_CAPABILITY_MINOR: c_int = 76;

type Context = *mut c_void;

#[derive(Debug, Default)]
struct Contexts {
    initialised: bool,
    opened: usize,
    /// Which device a context is of.
    alive: HashMap<usize, c_int>,
    /// The primary context of a device, and how often it is retained.
    primary: HashMap<c_int, (usize, usize)>,
}

static CONTEXTS: LazyLock<Mutex<Contexts>> = LazyLock::new(Mutex::default);

thread_local! {
    static CURRENT: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

impl Contexts {
    fn create(&mut self, device: c_int) -> usize {
        self.opened += 1;
        let context = 0xc0de_0000 + self.opened * 16;
        self.alive.insert(context, device);
        context
    }

    fn device_of(&self, context: usize) -> Option<c_int> {
        self.alive.get(&context).copied()
    }
}

/// The device of a living context.
pub fn device_of(context: *mut c_void) -> Option<i32> {
    with(|contexts| contexts.device_of(context.addr()))
}

fn with<T>(work: impl FnOnce(&mut Contexts) -> T) -> T {
    work(&mut CONTEXTS.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
}

fn check_device(device: c_int) -> Result<c_int, c_int> {
    if !with(|contexts| contexts.initialised) {
        return Err(NOT_INITIALIZED);
    }
    let exists = u32::try_from(device).is_ok_and(|device| device < faults().devices);
    if exists { Ok(device) } else { Err(INVALID_DEVICE) }
}

/// Writes a result where the caller wants it.
///
/// # Safety
/// `to` is null or may be written.
unsafe fn give<T>(to: *mut T, value: Result<T, c_int>) -> c_int {
    match value {
        _ if to.is_null() => INVALID_VALUE,
        Err(error) => error,
        Ok(value) => {
            // SAFETY: not null, and the caller's to be written.
            unsafe { to.write(value) };
            SUCCESS
        }
    }
}

/// A mark by which the recorder knows that this is no real driver.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "the name is what is looked up")]
pub static recorder_fake_driver: c_int = 1;

#[unsafe(no_mangle)]
pub extern "C" fn cuInit(_flags: c_uint) -> c_int {
    match faults().cuinit {
        0 if faults().devices == 0 => NO_DEVICE,
        0 => {
            with(|contexts| contexts.initialised = true);
            SUCCESS
        }
        error => error as c_int,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDriverGetVersion(version: *mut c_int) -> c_int {
    // SAFETY: the caller's pointer.
    unsafe { give(version, Ok(DRIVER_VERSION)) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetCount(count: *mut c_int) -> c_int {
    let initialised = with(|contexts| contexts.initialised);
    // SAFETY: the caller's pointer.
    unsafe { give(count, if initialised { Ok(faults().devices as c_int) } else { Err(NOT_INITIALIZED) }) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGet(device: *mut c_int, ordinal: c_int) -> c_int {
    // SAFETY: the caller's pointer.
    unsafe { give(device, check_device(ordinal)) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetName(name: *mut c_char, length: c_int, device: c_int) -> c_int {
    let words = check_device(device).map(|device| format!("Fake GPU {device} (test equipment)"));
    // SAFETY: the caller's.
    unsafe { give_text(name, length, words) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetPCIBusId(name: *mut c_char, length: c_int, device: c_int) -> c_int {
    let words = check_device(device).map(|device| format!("0000:{:02X}:00.0", device + 1));
    // SAFETY: the caller's.
    unsafe { give_text(name, length, words) }
}

/// Writes as much of a text as there is room for.
///
/// # Safety
/// `name` is null, or `length` bytes may be written there.
unsafe fn give_text(name: *mut c_char, length: c_int, words: Result<String, c_int>) -> c_int {
    let words = match words {
        Ok(words) => words,
        Err(error) => return error,
    };
    let Some(room) = usize::try_from(length).ok().and_then(|length| length.checked_sub(1)) else {
        return INVALID_VALUE;
    };
    if name.is_null() {
        return INVALID_VALUE;
    }
    let bytes = &words.as_bytes()[..words.len().min(room)];
    // SAFETY: the caller gives `length` bytes, of which at most `length - 1` and a zero are written.
    unsafe {
        name.cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        name.add(bytes.len()).write(0);
    }
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetAttribute(value: *mut c_int, attribute: c_int, device: c_int) -> c_int {
    let answer = check_device(device).and(match attribute {
        MAXIMUM_THREADS_PER_BLOCK => Ok(1024),
        COMPUTE_CAPABILITY_MAJOR => Ok(COMPUTE_CAPABILITY.0),
        COMPUTE_CAPABILITY_MINOR => Ok(COMPUTE_CAPABILITY.1),
        _ => Err(NOT_SUPPORTED),
    });
    // SAFETY: the caller's pointer.
    unsafe { give(value, answer) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceComputeCapability(major: *mut c_int, minor: *mut c_int, device: c_int) -> c_int {
    let known = check_device(device);
    // SAFETY: the caller's pointers.
    unsafe {
        match give(major, known.map(|_| COMPUTE_CAPABILITY.0)) {
            SUCCESS => give(minor, known.map(|_| COMPUTE_CAPABILITY.1)),
            error => error,
        }
    }
}

/// Creates a context, and makes it current.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxCreate_v2(context: *mut Context, _flags: c_uint, device: c_int) -> c_int {
    let created = check_device(device).map(|device| with(|contexts| contexts.create(device)));
    if let Ok(created) = created {
        CURRENT.with_borrow_mut(|current| current.push(created));
    }
    // SAFETY: the caller's pointer.
    unsafe { give(context, created.map(std::ptr::without_provenance_mut)) }
}

#[unsafe(no_mangle)]
pub extern "C" fn cuCtxDestroy_v2(context: Context) -> c_int {
    let was_alive = with(|contexts| contexts.alive.remove(&context.addr())).is_some();
    CURRENT.with_borrow_mut(|current| current.retain(|other| *other != context.addr()));
    if was_alive { SUCCESS } else { INVALID_CONTEXT }
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxPushCurrent_v2(context: Context) -> c_int {
    if device_of(context).is_none() {
        return INVALID_CONTEXT;
    }
    CURRENT.with_borrow_mut(|current| current.push(context.addr()));
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuCtxPopCurrent_v2(context: *mut Context) -> c_int {
    match CURRENT.with_borrow_mut(Vec::pop) {
        None => INVALID_CONTEXT,
        Some(_) if context.is_null() => SUCCESS,
        // SAFETY: the caller's pointer, not null.
        Some(popped) => unsafe { give(context, Ok(std::ptr::without_provenance_mut(popped))) },
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSetCurrent(context: Context) -> c_int {
    if !context.is_null() && device_of(context).is_none() {
        return INVALID_CONTEXT;
    }
    CURRENT.with_borrow_mut(|current| {
        current.pop();
        if !context.is_null() {
            current.push(context.addr());
        }
    });
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuCtxGetCurrent(context: *mut Context) -> c_int {
    let current = CURRENT.with_borrow(|current| current.last().copied().unwrap_or(0));
    // SAFETY: the caller's pointer.
    unsafe { give(context, Ok(std::ptr::without_provenance_mut(current))) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuCtxGetDevice(device: *mut c_int) -> c_int {
    let current = CURRENT.with_borrow(|current| current.last().copied());
    let of = current.and_then(|context| with(|contexts| contexts.device_of(context)));
    // SAFETY: the caller's pointer.
    unsafe { give(device, of.ok_or(INVALID_CONTEXT)) }
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSynchronize() -> c_int {
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDevicePrimaryCtxRetain(context: *mut Context, device: c_int) -> c_int {
    let retained = check_device(device).map(|device| {
        with(|contexts| {
            let known = contexts.primary.get(&device).copied();
            let (primary, times) = known.unwrap_or_else(|| (contexts.create(device), 0));
            contexts.primary.insert(device, (primary, times + 1));
            std::ptr::without_provenance_mut(primary)
        })
    });
    // SAFETY: the caller's pointer.
    unsafe { give(context, retained) }
}

#[unsafe(no_mangle)]
extern "C" fn cuDevicePrimaryCtxRelease_v2(device: c_int) -> c_int {
    with(|contexts| match contexts.primary.remove(&device) {
        None => INVALID_CONTEXT,
        Some((primary, 1)) => {
            contexts.alive.remove(&primary);
            SUCCESS
        }
        Some((primary, times)) => {
            contexts.primary.insert(device, (primary, times - 1));
            SUCCESS
        }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDevicePrimaryCtxRelease(device: c_int) -> c_int {
    cuDevicePrimaryCtxRelease_v2(device)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuGetErrorName(error: c_int, name: *mut *const c_char) -> c_int {
    // SAFETY: the caller's pointer.
    unsafe { give(name, words_of(error).map(|(name, _)| name.as_ptr())) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuGetErrorString(error: c_int, words: *mut *const c_char) -> c_int {
    // SAFETY: the caller's pointer.
    unsafe { give(words, words_of(error).map(|(_, words)| words.as_ptr())) }
}

fn words_of(error: c_int) -> Result<(&'static CStr, &'static CStr), c_int> {
    Ok(match error {
        SUCCESS => (c"CUDA_SUCCESS", c"no error"),
        INVALID_VALUE => (c"CUDA_ERROR_INVALID_VALUE", c"invalid argument"),
        2 => (c"CUDA_ERROR_OUT_OF_MEMORY", c"out of memory"),
        NOT_INITIALIZED => (c"CUDA_ERROR_NOT_INITIALIZED", c"initialization error"),
        NO_DEVICE => (c"CUDA_ERROR_NO_DEVICE", c"no CUDA-capable device is detected"),
        INVALID_DEVICE => (c"CUDA_ERROR_INVALID_DEVICE", c"invalid device ordinal"),
        INVALID_CONTEXT => (c"CUDA_ERROR_INVALID_CONTEXT", c"invalid device context"),
        NOT_SUPPORTED => (c"CUDA_ERROR_NOT_SUPPORTED", c"operation not supported"),
        803 => {
            (c"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", c"system has unsupported display driver / cuda driver combination")
        }
        999 => (c"CUDA_ERROR_UNKNOWN", c"unknown error"),
        _ => return Err(INVALID_VALUE),
    })
}

/// Functions that callers look up when they load the library, and that encoding from input buffers never calls.
macro_rules! not_supported {
    ($($name:ident)*) => { $(
        #[unsafe(no_mangle)]
        extern "C" fn $name() -> c_int {
            NOT_SUPPORTED
        }
    )* };
}

not_supported! {
    cuCtxSetLimit cuDevicePrimaryCtxSetFlags cuDevicePrimaryCtxGetState cuDevicePrimaryCtxReset
    cuMemAlloc_v2 cuMemAllocPitch_v2 cuMemAllocManaged cuMemsetD8Async cuMemFree_v2 cuMemcpy cuMemcpyAsync cuMemcpy2D_v2
    cuMemcpy2DAsync_v2 cuMemcpyHtoD_v2 cuMemcpyHtoDAsync_v2 cuMemcpyDtoH_v2 cuMemcpyDtoHAsync_v2 cuMemcpyDtoD_v2
    cuMemcpyDtoDAsync_v2
    cuStreamCreate cuStreamQuery cuStreamSynchronize cuStreamDestroy_v2 cuStreamAddCallback
    cuEventCreate cuEventDestroy_v2 cuEventSynchronize cuEventQuery cuEventRecord
    cuLaunchKernel cuLinkCreate cuLinkAddData cuLinkComplete cuLinkDestroy cuModuleLoadData cuModuleUnload
    cuModuleGetFunction cuModuleGetGlobal cuTexObjectCreate cuTexObjectDestroy
    cuGLGetDevices_v2 cuGraphicsGLRegisterImage cuGraphicsUnregisterResource cuGraphicsMapResources
    cuGraphicsUnmapResources cuGraphicsSubResourceGetMappedArray cuGraphicsResourceGetMappedPointer_v2
    cuArray3DCreate_v2 cuArrayDestroy
}
