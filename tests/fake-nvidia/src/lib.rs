//! Test equipment: stands in for NVIDIA's driver where there is no GPU.
//!
//! One library under three names, `libcuda.so.1` (`cuda`), `libnvidia-encode.so.1` (`api`) and `libnvidia-ml.so.1` (`nvml`,
//! which stands for itself). It holds what it is called with against NVENC's rules, encodes for real on the CPU, fails as it is told to (`faults`) and writes down
//! what was asked of it (`trace`). The README says what it checks and what it does not.
//!
//! Unsafe code is where the C interface makes it unavoidable: `cuda`, `api`, `nvml`, `queries` and `settings` read and write the
//! caller's memory, `faults` crashes on purpose. Sessions and encoders are safe code.

mod api;
mod child;
mod coder;
mod cuda;
mod faults;
mod h264;
mod nvml;
mod picture;
mod queries;
mod session;
mod settings;
mod status;
#[cfg(test)]
mod tests;
mod trace;
mod versions;
