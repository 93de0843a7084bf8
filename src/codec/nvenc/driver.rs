//! The NVIDIA driver's two libraries, loaded when first asked for, and the functions of them that are used.
//!
//! Every function is declared as giving a plain number: a newer driver may answer what the bindings' enums do not know,
//! and such a value in an enum is undefined behaviour.
#![allow(unsafe_code)]

use super::fault::{Fault, Reason, Stage};
use cudarc::driver::sys::{CUcontext, CUdevice, culib, is_culib_present};
use libloading::Library;
use nvidia_video_codec_sdk::sys::nvEncodeAPI::*;
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::mem::{MaybeUninit, transmute};
use std::ptr::null_mut;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The library of CUDA.
const CUDA: &str = "libcuda.so.1";
/// The library of NVENC.
const LIBRARY: &str = "libnvidia-encode.so.1";
/// The oldest NVIDIA driver that speaks the version of NVENC that the bindings are made for.
const OLDEST_DRIVER: &str = "530.41.03";

/// A function of NVENC that takes a session and one argument.
pub(super) type OnSession<T> = unsafe extern "C" fn(*mut c_void, T) -> u32;

/// The functions of NVENC that are used, as in its `NV_ENCODE_API_FUNCTION_LIST`.
pub(super) struct Nvenc {
    pub open_session: unsafe extern "C" fn(*mut NV_ENC_OPEN_ENCODE_SESSION_EX_PARAMS, *mut *mut c_void) -> u32,
    pub codec_count: OnSession<*mut u32>,
    pub codecs: unsafe extern "C" fn(*mut c_void, *mut GUID, u32, *mut u32) -> u32,
    pub capability: unsafe extern "C" fn(*mut c_void, GUID, *mut NV_ENC_CAPS_PARAM, *mut c_int) -> u32,
    pub preset_config:
        unsafe extern "C" fn(*mut c_void, GUID, GUID, NV_ENC_TUNING_INFO, *mut NV_ENC_PRESET_CONFIG) -> u32,
    pub initialize: OnSession<*mut NV_ENC_INITIALIZE_PARAMS>,
    pub create_input: OnSession<*mut NV_ENC_CREATE_INPUT_BUFFER>,
    pub destroy_input: OnSession<NV_ENC_INPUT_PTR>,
    pub create_output: OnSession<*mut NV_ENC_CREATE_BITSTREAM_BUFFER>,
    pub destroy_output: OnSession<NV_ENC_OUTPUT_PTR>,
    pub lock_input: OnSession<*mut NV_ENC_LOCK_INPUT_BUFFER>,
    pub unlock_input: OnSession<NV_ENC_INPUT_PTR>,
    pub encode: OnSession<*mut NV_ENC_PIC_PARAMS>,
    pub lock_output: OnSession<*mut NV_ENC_LOCK_BITSTREAM>,
    pub unlock_output: OnSession<NV_ENC_OUTPUT_PTR>,
    pub destroy_session: unsafe extern "C" fn(*mut c_void) -> u32,
    pub last_error: unsafe extern "C" fn(*mut c_void) -> *const c_char,
}

/// A function of CUDA that writes a text about a device.
type TextOfDevice = unsafe extern "C" fn(*mut c_char, c_int, CUdevice) -> u32;

/// The functions of CUDA that are used.
struct Cuda {
    device_count: unsafe extern "C" fn(*mut c_int) -> u32,
    device: unsafe extern "C" fn(*mut CUdevice, c_int) -> u32,
    device_name: TextOfDevice,
    device_pci_bus_id: TextOfDevice,
    retain_context: unsafe extern "C" fn(*mut CUcontext, CUdevice) -> u32,
    release_context: unsafe extern "C" fn(CUdevice) -> u32,
    make_current: unsafe extern "C" fn(CUcontext) -> u32,
}

/// The driver of this machine, loaded and started; it stays until the process ends.
pub struct Driver {
    cuda: Cuda,
    pub(super) nvenc: Nvenc,
    /// Keeps the functions where they are.
    _encode: Library,
}

/// What the driver says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// Such as "CUDA 12.2".
    pub driver: Option<String>,
    /// The newest version of NVENC that it speaks, such as "12.1".
    pub api: Option<String>,
    /// It is test equipment.
    pub fake: bool,
}

impl Driver {
    /// The driver of this machine, or why there is none. A refusal is not remembered: it is found again at the next call.
    pub fn get() -> Result<&'static Driver, Fault> {
        static DRIVER: OnceLock<Driver> = OnceLock::new();
        if let Some(driver) = DRIVER.get() {
            return Ok(driver);
        }
        let driver = Driver::load()?;
        Ok(DRIVER.get_or_init(|| driver))
    }

    fn load() -> Result<Driver, Fault> {
        let library = cuda_library()?;
        // SAFETY: the types are those of cuda.h, with the status as the number that it is.
        let (init, cuda) = unsafe {
            let init: unsafe extern "C" fn(c_uint) -> u32 = function(library, CUDA, "cuInit")?;
            let cuda = Cuda {
                device_count: function(library, CUDA, "cuDeviceGetCount")?,
                device: function(library, CUDA, "cuDeviceGet")?,
                device_name: function(library, CUDA, "cuDeviceGetName")?,
                device_pci_bus_id: function(library, CUDA, "cuDeviceGetPCIBusId")?,
                retain_context: function(library, CUDA, "cuDevicePrimaryCtxRetain")?,
                release_context: function(library, CUDA, "cuDevicePrimaryCtxRelease_v2")?,
                make_current: function(library, CUDA, "cuCtxSetCurrent")?,
            };
            (init, cuda)
        };
        // SAFETY: a plain call; 0 is the only flag there is.
        cuda_ok("cuInit", unsafe { init(0) }, Stage::Open)?;
        let encode = encode_library()?;
        let (ours, theirs) = ((NVENCAPI_MAJOR_VERSION, NVENCAPI_MINOR_VERSION), newest_api(&encode)?);
        if theirs < ours {
            let words = format!(
                "the NVIDIA driver speaks NVENC {}.{}, this program needs {}.{}: install driver {OLDEST_DRIVER} or later",
                theirs.0, theirs.1, ours.0, ours.1
            );
            return Err(Fault::new("loading the driver", Reason::Refused, words));
        }
        let nvenc = functions(&encode)?;
        Ok(Driver { cuda, nvenc, _encode: encode })
    }

    /// How many GPUs there are; those that a container hides are not among them.
    pub fn device_count(&self) -> Result<u32, Fault> {
        let mut count = 0;
        // SAFETY: the function writes one number.
        cuda_ok("cuDeviceGetCount", unsafe { (self.cuda.device_count)(&mut count) }, Stage::Open)?;
        Ok(u32::try_from(count).unwrap_or(0))
    }

    /// The driver's name of a GPU, such as "NVIDIA GeForce RTX 4090".
    pub fn device_name(&self, gpu_id: u32) -> Result<String, Fault> {
        self.text("cuDeviceGetName", self.cuda.device_name, gpu_id)
    }

    /// The place of a GPU on the PCI bus, such as "0000:01:00.0".
    pub fn pci_bus_id(&self, gpu_id: u32) -> Result<String, Fault> {
        self.text("cuDeviceGetPCIBusId", self.cuda.device_pci_bus_id, gpu_id)
    }

    fn text(&self, name: &'static str, function: TextOfDevice, gpu_id: u32) -> Result<String, Fault> {
        let device = self.device(gpu_id)?;
        let mut text = [0u8; 256];
        // SAFETY: the function writes at most as many bytes as it is told, the last of them zero.
        let status = unsafe { function(text.as_mut_ptr().cast(), text.len() as c_int, device) };
        cuda_ok(name, status, Stage::Open)?;
        Ok(CStr::from_bytes_until_nul(&text).unwrap_or_default().to_string_lossy().into_owned())
    }

    fn device(&self, gpu_id: u32) -> Result<CUdevice, Fault> {
        let count = self.device_count()?;
        if gpu_id >= count {
            let there = match count {
                0 => "there is no NVIDIA GPU".to_string(),
                1 => "there is one NVIDIA GPU, number 0".to_string(),
                _ => format!("there are {count} NVIDIA GPUs, numbers 0 to {}", count - 1),
            };
            let words = format!("GPU {gpu_id} was asked for, and {there}: set dataset.encoder.gpu_id");
            return Err(Fault::new("choosing the GPU", Reason::Refused, words));
        }
        let mut device = 0;
        // SAFETY: the function writes one number.
        cuda_ok("cuDeviceGet", unsafe { (self.cuda.device)(&mut device, gpu_id as c_int) }, Stage::Open)?;
        Ok(device)
    }
}

/// The primary CUDA context of a GPU. It is made once and kept for later sessions, since making one takes long.
pub struct Context {
    driver: &'static Driver,
    device: CUdevice,
    raw: CUcontext,
}

// SAFETY: a CUDA context may be used from every thread, and from several at once.
unsafe impl Send for Context {}
// SAFETY: see above.
unsafe impl Sync for Context {}

/// The contexts that are kept, by GPU.
static KEPT: Mutex<BTreeMap<u32, Arc<Context>>> = Mutex::new(BTreeMap::new());

impl Context {
    /// The context of a GPU.
    pub fn of(driver: &'static Driver, gpu_id: u32) -> Result<Arc<Context>, Fault> {
        let kept = || KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(context) = kept().get(&gpu_id) {
            return Ok(context.clone());
        }
        // Not under the lock: where the driver hangs, only this thread waits.
        let device = driver.device(gpu_id)?;
        let mut raw = null_mut();
        // SAFETY: the function writes one pointer.
        let status = unsafe { (driver.cuda.retain_context)(&mut raw, device) };
        cuda_ok("cuDevicePrimaryCtxRetain", status, Stage::Open)?;
        let context = Arc::new(Context { driver, device, raw });
        // Where another thread was faster, its context is taken, and this one given back behind the lock.
        let first = kept().entry(gpu_id).or_insert_with(|| context.clone()).clone();
        Ok(first)
    }

    /// Makes this the context of the calling thread. One that was good and is so no longer is lost, and forgotten.
    pub fn make_current(self: &Arc<Context>) -> Result<(), Fault> {
        // SAFETY: the context lives as long as `self`.
        let status = unsafe { (self.driver.cuda.make_current)(self.raw) };
        cuda_ok("cuCtxSetCurrent", status, Stage::Encode).inspect_err(|_| self.forget())
    }

    /// Keeps this context no longer: it ends with its last session, and what is opened next makes another.
    pub fn forget(self: &Arc<Context>) {
        // The caller's hold on it keeps the driver out of the lock.
        KEPT.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, other| !Arc::ptr_eq(other, self));
    }

    /// What NVENC takes as its device.
    pub(super) fn as_device(&self) -> *mut c_void {
        self.raw.cast()
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: gives back what `of` took, once.
        let status = unsafe { (self.driver.cuda.release_context)(self.device) };
        if status != 0 {
            tracing::debug!(status, "cuDevicePrimaryCtxRelease");
        }
    }
}

/// What the driver says of itself, as far as it is there.
pub fn versions() -> Versions {
    let Ok(cuda) = cuda_library() else { return Versions::default() };
    let mut version = 0;
    // SAFETY: the type is that of cuda.h, and the function writes one number.
    let status = unsafe {
        function::<unsafe extern "C" fn(*mut c_int) -> u32>(cuda, CUDA, "cuDriverGetVersion")
            .map(|driver_version| driver_version(&mut version))
    };
    let driver = matches!(status, Ok(0)).then(|| format!("CUDA {}.{}", version / 1000, version % 1000 / 10));
    let api = encode_library().and_then(|encode| newest_api(&encode));
    // SAFETY: the symbol is looked for, and neither read nor called.
    let fake = unsafe { cuda.get::<*const c_void>("recorder_fake_driver") }.is_ok();
    Versions { driver, api: api.ok().map(|(major, minor)| format!("{major}.{minor}")), fake }
}

fn cuda_library() -> Result<&'static Library, Fault> {
    // SAFETY: NVIDIA's driver is made to be loaded; what its initialisation does is its own.
    if unsafe { !is_culib_present() } {
        let words = format!("no NVIDIA driver on this machine: {CUDA} is not there");
        return Err(Fault::new("loading the driver", Reason::Refused, words));
    }
    // SAFETY: as above; it does not panic, since the library was found.
    Ok(unsafe { culib() })
}

fn encode_library() -> Result<Library, Fault> {
    // SAFETY: NVIDIA's driver is made to be loaded; what its initialisation does is its own.
    unsafe { Library::new(LIBRARY) }.map_err(|error| {
        let words = format!(
            "the NVIDIA driver's {LIBRARY} cannot be loaded ({error}); \
             in a container it needs the driver capability \"video\""
        );
        Fault::new("loading the driver", Reason::Refused, words)
    })
}

/// A function of a library.
///
/// # Safety
/// `T` must be a pointer to a function of that name's type.
unsafe fn function<T: Copy>(library: &Library, file: &str, name: &'static str) -> Result<T, Fault> {
    // SAFETY: by the caller's promise.
    let symbol = unsafe { library.get::<T>(name) };
    symbol.map(|symbol| *symbol).map_err(|_| {
        Fault::new(
            "loading the driver",
            Reason::Refused,
            format!("{file} has no {name}: another NVIDIA driver is needed"),
        )
    })
}

/// The newest version of NVENC that the driver speaks.
fn newest_api(encode: &Library) -> Result<(u32, u32), Fault> {
    const NAME: &str = "NvEncodeAPIGetMaxSupportedVersion";
    let mut packed = 0;
    // SAFETY: the type is that of nvEncodeAPI.h, with the status as a number; the function writes one number.
    let status = unsafe { function::<unsafe extern "C" fn(*mut u32) -> u32>(encode, LIBRARY, NAME)?(&mut packed) };
    nvenc_ok(NAME, status)?;
    Ok((packed >> 4, packed & 0xf))
}

/// The table of NVENC's functions.
fn functions(encode: &Library) -> Result<Nvenc, Fault> {
    const NAME: &str = "NvEncodeAPICreateInstance";
    let mut list = MaybeUninit::<NV_ENCODE_API_FUNCTION_LIST>::zeroed();
    // SAFETY: the type is that of nvEncodeAPI.h, with the status as a number; all zeros, with its version, is what the
    // function wants, and it fills the list in. Every field of it may be zero.
    let (status, list) = unsafe {
        let create: unsafe extern "C" fn(*mut NV_ENCODE_API_FUNCTION_LIST) -> u32 = function(encode, LIBRARY, NAME)?;
        (*list.as_mut_ptr()).version = NV_ENCODE_API_FUNCTION_LIST_VER;
        (create(list.as_mut_ptr()), list.assume_init())
    };
    nvenc_ok(NAME, status)?;
    /// The entry with its status as a number.
    macro_rules! entry {
        ($name:ident) => {{
            let missing = || {
                let words =
                    concat!(stringify!($name), " is not in the driver's table: another NVIDIA driver is needed");
                Fault::new(NAME, Reason::Refused, words)
            };
            // SAFETY: the two types differ in the status alone, an enum that is represented as `u32`.
            unsafe { transmute(list.$name.ok_or_else(missing)?) }
        }};
    }
    // The transmuted types are those of the fields; one answers no status, and stays as it is.
    #[allow(clippy::missing_transmute_annotations, clippy::useless_transmute)]
    Ok(Nvenc {
        open_session: entry!(nvEncOpenEncodeSessionEx),
        codec_count: entry!(nvEncGetEncodeGUIDCount),
        codecs: entry!(nvEncGetEncodeGUIDs),
        capability: entry!(nvEncGetEncodeCaps),
        preset_config: entry!(nvEncGetEncodePresetConfigEx),
        initialize: entry!(nvEncInitializeEncoder),
        create_input: entry!(nvEncCreateInputBuffer),
        destroy_input: entry!(nvEncDestroyInputBuffer),
        create_output: entry!(nvEncCreateBitstreamBuffer),
        destroy_output: entry!(nvEncDestroyBitstreamBuffer),
        lock_input: entry!(nvEncLockInputBuffer),
        unlock_input: entry!(nvEncUnlockInputBuffer),
        encode: entry!(nvEncEncodePicture),
        lock_output: entry!(nvEncLockBitstream),
        unlock_output: entry!(nvEncUnlockBitstream),
        destroy_session: entry!(nvEncDestroyEncoder),
        last_error: entry!(nvEncGetLastErrorString),
    })
}

fn cuda_ok(operation: &'static str, status: u32, stage: Stage) -> Result<(), Fault> {
    if status == 0 { Ok(()) } else { Err(Fault::cuda(operation, status, stage)) }
}

fn nvenc_ok(operation: &'static str, status: u32) -> Result<(), Fault> {
    if status == 0 { Ok(()) } else { Err(Fault::nvenc(operation, status, Stage::Open, "")) }
}
