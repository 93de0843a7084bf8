//! NVIDIA's management library (NVML), loaded when first asked for: what each GPU says of itself.
//!
//! Functions are declared as in `codec::nvenc`: a status is a plain number, since a newer driver may answer what an enum
//! does not know. A driver that lacks a function is taken for one whose GPUs do not support the question.
#![allow(unsafe_code)]

use crate::gpu_metrics::Figures;
use libloading::Library;
use std::ffi::{CStr, c_char, c_uint, c_void};
use std::ptr::null_mut;

const LIBRARY: &str = "libnvidia-ml.so.1";
/// `NVML_ERROR_FUNCTION_NOT_FOUND`.
const NO_SUCH_FUNCTION: u32 = 13;
/// `NVML_TEMPERATURE_GPU`: the sensor on the chip.
const ON_CHIP: c_uint = 0;

/// Why NVML does not answer.
#[derive(Debug, thiserror::Error)]
pub enum NvmlError {
    #[error(
        "the NVIDIA driver's {LIBRARY} cannot be loaded ({0}); in a container it needs the driver capability \"utility\""
    )]
    NoLibrary(libloading::Error),
    #[error("{words} ({call}: {status})")]
    Refused { call: &'static str, status: u32, words: String },
}

/// A GPU, to NVML.
type Device = *mut c_void;

/// `nvmlUtilization_t`, in per cent.
#[repr(C)]
#[derive(Default)]
struct Utilization {
    gpu: c_uint,
    memory: c_uint,
}

/// `nvmlMemory_v2_t`, in bytes. In the first version of it, what the driver reserves counted as used.
#[repr(C)]
#[derive(Default)]
struct Memory {
    version: c_uint,
    total: u64,
    reserved: u64,
    free: u64,
    used: u64,
}

/// `nvmlPciInfo_t`.
#[repr(C)]
#[derive(Default)]
struct Pci {
    bus_id_legacy: [u8; 16],
    domain: c_uint,
    bus: c_uint,
    device: c_uint,
    device_id: c_uint,
    subsystem_id: c_uint,
    bus_id: [u8; 32],
}

/// The library, loaded and started.
pub struct Nvml {
    library: Library,
}

impl Nvml {
    pub fn load() -> Result<Nvml, NvmlError> {
        // SAFETY: NVIDIA's driver is made to be loaded; what its initialisation does is its own.
        let library = unsafe { Library::new(LIBRARY) }.map_err(NvmlError::NoLibrary)?;
        let nvml = Nvml { library };
        // SAFETY: the type is that of nvml.h.
        unsafe { nvml.call("nvmlInit_v2", |init: unsafe extern "C" fn() -> u32| init()) }?;
        Ok(nvml)
    }

    /// What each GPU says now, in the order in which nvidia-smi counts them.
    pub fn figures(&self) -> Result<Vec<Figures>, NvmlError> {
        type Count = unsafe extern "C" fn(*mut c_uint) -> u32;
        let mut count = 0;
        // SAFETY: the type is that of nvml.h, and the function writes one number.
        unsafe { self.call("nvmlDeviceGetCount_v2", |get: Count| get(&mut count)) }?;
        Ok((0..count).map(|gpu| self.figures_of(gpu)).collect())
    }

    fn figures_of(&self, gpu: u32) -> Figures {
        let device = match self.device(gpu) {
            Ok(device) => device,
            Err(error) => return Figures { gpu, refusal: Some(error.to_string()), ..Figures::default() },
        };
        let mut refusal = None;
        let utilization = known(self.utilization(device), &mut refusal);
        let encoder_utilization = known(self.encoder_utilization(device), &mut refusal);
        let memory = known(self.memory(device), &mut refusal);
        let temperature_celsius = known(self.temperature(device), &mut refusal);
        let encoder_sessions = known(self.encoder_sessions(device), &mut refusal);
        let figures = Figures {
            gpu,
            pci_bus_id: self.pci_bus_id(device).ok(),
            refusal: None,
            utilization: utilization.map(ratio),
            encoder_utilization: encoder_utilization.map(ratio),
            memory_used_bytes: memory.as_ref().map(|memory| memory.used),
            memory_bytes: memory.as_ref().map(|memory| memory.total),
            temperature_celsius,
            encoder_sessions,
        };
        // A GPU may have no answer to one question or another; one without any answer is lost.
        Figures { refusal: refusal.filter(|_| figures.gauges().next().is_none()), ..figures }
    }

    fn device(&self, gpu: u32) -> Result<Device, NvmlError> {
        type Get = unsafe extern "C" fn(c_uint, *mut Device) -> u32;
        let mut device = null_mut();
        // SAFETY: the type is that of nvml.h, and the function writes one pointer.
        unsafe { self.call("nvmlDeviceGetHandleByIndex_v2", |get: Get| get(gpu, &mut device)) }?;
        Ok(device)
    }

    fn utilization(&self, device: Device) -> Result<u32, NvmlError> {
        type Get = unsafe extern "C" fn(Device, *mut Utilization) -> u32;
        let mut utilization = Utilization::default();
        // SAFETY: the types are those of nvml.h, and the device is NVML's.
        unsafe { self.call("nvmlDeviceGetUtilizationRates", |get: Get| get(device, &mut utilization)) }?;
        Ok(utilization.gpu)
    }

    fn encoder_utilization(&self, device: Device) -> Result<u32, NvmlError> {
        type Get = unsafe extern "C" fn(Device, *mut c_uint, *mut c_uint) -> u32;
        let (mut utilization, mut period_us) = (0, 0);
        let get = |get: Get| {
            // SAFETY: the type is that of nvml.h, the device is NVML's, and two numbers are written.
            unsafe { get(device, &mut utilization, &mut period_us) }
        };
        // SAFETY: as above.
        unsafe { self.call("nvmlDeviceGetEncoderUtilization", get) }?;
        Ok(utilization)
    }

    fn encoder_sessions(&self, device: Device) -> Result<u32, NvmlError> {
        type Get = unsafe extern "C" fn(Device, *mut c_uint, *mut c_uint, *mut c_uint) -> u32;
        let (mut sessions, mut fps, mut latency_us) = (0, 0, 0);
        let get = |get: Get| {
            // SAFETY: the type is that of nvml.h, the device is NVML's, and three numbers are written.
            unsafe { get(device, &mut sessions, &mut fps, &mut latency_us) }
        };
        // SAFETY: as above.
        unsafe { self.call("nvmlDeviceGetEncoderStats", get) }?;
        Ok(sessions)
    }

    fn memory(&self, device: Device) -> Result<Memory, NvmlError> {
        type Get = unsafe extern "C" fn(Device, *mut Memory) -> u32;
        let mut memory = Memory { version: size_of::<Memory>() as c_uint | 2 << 24, ..Memory::default() };
        // SAFETY: the types are those of nvml.h, the version says so, and the device is NVML's.
        unsafe { self.call("nvmlDeviceGetMemoryInfo_v2", |get: Get| get(device, &mut memory)) }?;
        Ok(memory)
    }

    fn temperature(&self, device: Device) -> Result<u32, NvmlError> {
        type Get = unsafe extern "C" fn(Device, c_uint, *mut c_uint) -> u32;
        let mut celsius = 0;
        // SAFETY: the type is that of nvml.h, the device is NVML's, and one number is written.
        unsafe { self.call("nvmlDeviceGetTemperature", |get: Get| get(device, ON_CHIP, &mut celsius)) }?;
        Ok(celsius)
    }

    fn pci_bus_id(&self, device: Device) -> Result<String, NvmlError> {
        type Get = unsafe extern "C" fn(Device, *mut Pci) -> u32;
        let mut pci = Pci::default();
        // SAFETY: the types are those of nvml.h, and the device is NVML's.
        unsafe { self.call("nvmlDeviceGetPciInfo_v3", |get: Get| get(device, &mut pci)) }?;
        Ok(CStr::from_bytes_until_nul(&pci.bus_id).unwrap_or_default().to_string_lossy().into_owned())
    }

    /// Calls a function.
    ///
    /// # Safety
    /// `F` must be a pointer to a function of that name's type, and `with` must call it as nvml.h allows.
    unsafe fn call<F: Copy>(&self, name: &'static str, with: impl FnOnce(F) -> u32) -> Result<(), NvmlError> {
        // SAFETY: by the caller's promise.
        let status = unsafe { self.library.get::<F>(name) }.map_or(NO_SUCH_FUNCTION, |function| with(*function));
        if status == 0 { Ok(()) } else { Err(NvmlError::Refused { call: name, status, words: self.words(status) }) }
    }

    /// What the driver calls a status.
    fn words(&self, status: u32) -> String {
        type Words = unsafe extern "C" fn(u32) -> *const c_char;
        // SAFETY: the type is that of nvml.h; the words are NVML's own, and stay.
        let words = unsafe {
            let words = self.library.get::<Words>("nvmlErrorString").map_or(std::ptr::null(), |words| words(status));
            (!words.is_null()).then(|| CStr::from_ptr(words).to_string_lossy().into_owned())
        };
        words.unwrap_or_else(|| "unknown error".into())
    }
}

impl Drop for Nvml {
    fn drop(&mut self) {
        // SAFETY: the type is that of nvml.h; nothing of NVML's is used afterwards. What it answers changes nothing.
        let _ = unsafe { self.call("nvmlShutdown", |shutdown: unsafe extern "C" fn() -> u32| shutdown()) };
    }
}

/// An answer, if there is one; the first refusal is kept.
fn known<T>(answer: Result<T, NvmlError>, refusal: &mut Option<String>) -> Option<T> {
    answer.map_err(|error| refusal.get_or_insert(error.to_string())).ok()
}

fn ratio(percent: u32) -> f64 {
    f64::from(percent) / 100.0
}
