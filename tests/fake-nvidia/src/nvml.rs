//! `libnvidia-ml.so.1`: what each GPU says of itself, as the file says that `FAKE_NVML` names.
//!
//! The file is read anew at every call, so that a GPU can be lost, and come back, while somebody looks at it. Without it,
//! the GPUs of `FAKE_NVENC` idle.

#![allow(non_snake_case, reason = "the names are the driver's")]

use crate::faults::{crash, faults, number};
use crate::trace::trace;
use std::ffi::{CStr, c_char, c_uint, c_void};
use std::sync::atomic::{AtomicU32, Ordering};

const SUCCESS: u32 = 0;
const UNINITIALIZED: u32 = 1;
const INVALID_ARGUMENT: u32 = 2;
const NOT_SUPPORTED: u32 = 3;
const ARGUMENT_VERSION_MISMATCH: u32 = 25;

const IDLE: &str = "utilization=0 encoder=0 sessions=0 used=536870912 total=8589934592 temperature=40";
/// The sensor on the chip, the only one.
const ON_CHIP: c_uint = 0;
/// In microseconds.
const SAMPLING_PERIOD: c_uint = 167_000;

/// A GPU is its number, as a pointer that is never followed, and is not null.
type Device = *mut c_void;
const FIRST_DEVICE: usize = 0x1000;

/// `nvmlUtilization_t`.
#[repr(C)]
struct Utilization {
    gpu: c_uint,
    memory: c_uint,
}

/// `nvmlMemory_v2_t`.
#[repr(C)]
struct Memory {
    version: c_uint,
    total: u64,
    reserved: u64,
    free: u64,
    used: u64,
}

/// `nvmlPciInfo_t`.
#[repr(C)]
struct Pci {
    bus_id_legacy: [u8; 16],
    domain: c_uint,
    bus: c_uint,
    device: c_uint,
    device_id: c_uint,
    subsystem_id: c_uint,
    bus_id: [u8; 32],
}

/// How often it was initialised and not shut down.
static INITIALISED: AtomicU32 = AtomicU32::new(0);

/// What the file says.
#[derive(Debug, Default, PartialEq)]
struct Told {
    /// What `nvmlInit_v2` does.
    init: Option<Fault>,
    gpus: Vec<Gpu>,
}

/// One GPU; what it does not say is not supported.
#[derive(Debug, Default, PartialEq)]
struct Gpu {
    fault: Option<Fault>,
    bus: u32,
    utilization: Option<u32>,
    encoder: Option<u32>,
    sessions: Option<u32>,
    used: Option<u64>,
    total: Option<u64>,
    temperature: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// Answers this.
    Status(u32),
    /// Never answers.
    Hang,
    /// Takes the process along.
    Crash,
}

fn told() -> Told {
    let text = match std::env::var_os("FAKE_NVML") {
        None => [IDLE, "\n"].concat().repeat(faults().devices as usize),
        Some(path) => std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("fake driver: FAKE_NVML={}: {error}", path.display())),
    };
    // A test that asks for what does not exist must not go on without it.
    parse(&text).unwrap_or_else(|words| panic!("fake driver: FAKE_NVML: {words}"))
}

fn parse(text: &str) -> Result<Told, String> {
    let mut told = Told::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(fault) = line.strip_prefix("init=") {
            told.init = Some(Fault::of(fault)?);
            continue;
        }
        let mut gpu = Gpu { bus: told.gpus.len() as u32 + 1, ..Gpu::default() };
        for item in line.split(' ') {
            let (name, value) = item.split_once('=').ok_or_else(|| format!("{item}: expected name=value"))?;
            match name {
                "all" => gpu.fault = Some(Fault::of(value)?),
                "bus" => gpu.bus = number(value)?,
                "utilization" => gpu.utilization = Some(number(value)?),
                "encoder" => gpu.encoder = Some(number(value)?),
                "sessions" => gpu.sessions = Some(number(value)?),
                "used" => gpu.used = Some(number(value)?),
                "total" => gpu.total = Some(number(value)?),
                "temperature" => gpu.temperature = Some(number(value)?),
                _ => return Err(format!("{name}: no such figure")),
            }
        }
        told.gpus.push(gpu);
    }
    Ok(told)
}

impl Fault {
    fn of(text: &str) -> Result<Fault, String> {
        match text {
            "hang" => Ok(Fault::Hang),
            "crash" => Ok(Fault::Crash),
            status => number(status).map(Fault::Status),
        }
    }

    fn happen(self, call: &str) -> u32 {
        match self {
            Fault::Status(status) => status,
            Fault::Crash => crash(),
            Fault::Hang => {
                trace!("hang call={call}");
                loop {
                    std::thread::park();
                }
            }
        }
    }
}

/// Asks a GPU.
fn ask<T>(call: &str, device: Device, figure: impl FnOnce(Gpu) -> Option<T>) -> Result<T, u32> {
    if INITIALISED.load(Ordering::SeqCst) == 0 {
        return Err(UNINITIALIZED);
    }
    let number = device.addr().checked_sub(FIRST_DEVICE).ok_or(INVALID_ARGUMENT)?;
    let mut gpus = told().gpus;
    if number >= gpus.len() {
        return Err(INVALID_ARGUMENT);
    }
    let gpu = gpus.swap_remove(number);
    match gpu.fault.map_or(SUCCESS, |fault| fault.happen(call)) {
        SUCCESS => figure(gpu).ok_or(NOT_SUPPORTED),
        status => Err(status),
    }
}

/// Writes results where the caller wants them.
///
/// # Safety
/// Each place is null or may be written.
unsafe fn give<const N: usize>(places: [*mut c_uint; N], answer: Result<[c_uint; N], u32>) -> u32 {
    match answer {
        _ if places.iter().any(|place| place.is_null()) => INVALID_ARGUMENT,
        Err(status) => status,
        Ok(values) => {
            for (place, value) in places.into_iter().zip(values) {
                // SAFETY: not null, and the caller's to be written.
                unsafe { place.write(value) };
            }
            SUCCESS
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn nvmlInit_v2() -> u32 {
    let status = told().init.map_or(SUCCESS, |fault| fault.happen("nvmlInit_v2"));
    if status == SUCCESS {
        INITIALISED.fetch_add(1, Ordering::SeqCst);
    }
    status
}

/// What NVIDIA's own bindings for Python call.
#[unsafe(no_mangle)]
extern "C" fn nvmlInitWithFlags(_flags: c_uint) -> u32 {
    nvmlInit_v2()
}

#[unsafe(no_mangle)]
extern "C" fn nvmlShutdown() -> u32 {
    let less = INITIALISED.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |times| times.checked_sub(1));
    if less.is_ok() { SUCCESS } else { UNINITIALIZED }
}

#[unsafe(no_mangle)]
extern "C" fn nvmlErrorString(status: u32) -> *const c_char {
    let words: &CStr = match status {
        SUCCESS => c"The operation was successful",
        UNINITIALIZED => c"Uninitialized",
        INVALID_ARGUMENT => c"Invalid Argument",
        NOT_SUPPORTED => c"Not Supported",
        9 => c"Driver Not Loaded",
        13 => c"Function Not Found",
        15 => c"GPU is lost",
        18 => c"Driver/library version mismatch",
        ARGUMENT_VERSION_MISMATCH => c"Argument version mismatch",
        _ => c"Unknown Error",
    };
    words.as_ptr()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetCount_v2(count: *mut c_uint) -> u32 {
    let initialised = INITIALISED.load(Ordering::SeqCst) > 0;
    let answer = if initialised { Ok([told().gpus.len() as c_uint]) } else { Err(UNINITIALIZED) };
    // SAFETY: the caller's pointer.
    unsafe { give([count], answer) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, device: *mut Device) -> u32 {
    let handle = std::ptr::without_provenance_mut(FIRST_DEVICE + index as usize);
    match ask("nvmlDeviceGetHandleByIndex_v2", handle, |_| Some(())) {
        _ if device.is_null() => INVALID_ARGUMENT,
        Err(status) => status,
        Ok(()) => {
            // SAFETY: the caller's pointer, not null.
            unsafe { device.write(handle) };
            SUCCESS
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetUtilizationRates(device: Device, to: *mut Utilization) -> u32 {
    let answer = ask("nvmlDeviceGetUtilizationRates", device, |gpu| gpu.utilization);
    match answer {
        _ if to.is_null() => INVALID_ARGUMENT,
        Err(status) => status,
        Ok(gpu) => {
            // SAFETY: the caller's structure, not null.
            unsafe { to.write(Utilization { gpu, memory: 0 }) };
            SUCCESS
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetEncoderUtilization(device: Device, to: *mut c_uint, period: *mut c_uint) -> u32 {
    let answer = ask("nvmlDeviceGetEncoderUtilization", device, |gpu| gpu.encoder);
    // SAFETY: the caller's pointers.
    unsafe { give([to, period], answer.map(|encoder| [encoder, SAMPLING_PERIOD])) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetEncoderStats(
    device: Device,
    sessions: *mut c_uint,
    fps: *mut c_uint,
    latency: *mut c_uint,
) -> u32 {
    let answer = ask("nvmlDeviceGetEncoderStats", device, |gpu| gpu.sessions);
    // SAFETY: the caller's pointers.
    unsafe { give([sessions, fps, latency], answer.map(|sessions| [sessions, 0, 0])) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetTemperature(device: Device, sensor: c_uint, to: *mut c_uint) -> u32 {
    let answer = ask("nvmlDeviceGetTemperature", device, |gpu| gpu.temperature);
    let answer = if sensor == ON_CHIP { answer } else { Err(INVALID_ARGUMENT) };
    // SAFETY: the caller's pointer.
    unsafe { give([to], answer.map(|celsius| [celsius])) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetMemoryInfo_v2(device: Device, to: *mut Memory) -> u32 {
    let answer = ask("nvmlDeviceGetMemoryInfo_v2", device, |gpu| gpu.used.zip(gpu.total));
    if to.is_null() {
        return INVALID_ARGUMENT;
    }
    // SAFETY: the caller's structure, not null, which begins with its version.
    let version = unsafe { (&raw const (*to).version).read() };
    match answer {
        Err(status) => status,
        Ok(_) if version != size_of::<Memory>() as c_uint | 2 << 24 => ARGUMENT_VERSION_MISMATCH,
        Ok((used, total)) => {
            // SAFETY: as above, and as large as the version says.
            unsafe { to.write(Memory { version, total, reserved: 0, free: total.saturating_sub(used), used }) };
            SUCCESS
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetPciInfo_v3(device: Device, to: *mut Pci) -> u32 {
    let answer = ask("nvmlDeviceGetPciInfo_v3", device, |gpu| Some(gpu.bus));
    match answer {
        _ if to.is_null() => INVALID_ARGUMENT,
        Err(status) => status,
        Ok(bus) => {
            let pci = Pci {
                bus_id_legacy: padded(&format!("0000:{bus:02X}:00.0")),
                domain: 0,
                bus,
                device: 0,
                device_id: 0,
                subsystem_id: 0,
                bus_id: padded(&format!("00000000:{bus:02X}:00.0")),
            };
            // SAFETY: the caller's structure, not null.
            unsafe { to.write(pci) };
            SUCCESS
        }
    }
}

/// The text, and zeroes behind it.
fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    bytes[..text.len().min(N - 1)].copy_from_slice(&text.as_bytes()[..text.len().min(N - 1)]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_file_leaves_out_is_not_supported() {
        let told = parse("init=9\nutilization=42 temperature=61\n\nall=15\nall=hang bus=7").unwrap();
        let gpus = [
            Gpu { bus: 1, utilization: Some(42), temperature: Some(61), ..Gpu::default() },
            Gpu { bus: 2, fault: Some(Fault::Status(15)), ..Gpu::default() },
            Gpu { bus: 7, fault: Some(Fault::Hang), ..Gpu::default() },
        ];
        assert_eq!(told, Told { init: Some(Fault::Status(9)), gpus: gpus.into() });
        for wrong in ["utilisation=4", "temperature", "sessions=many"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
