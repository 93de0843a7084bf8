//! What the figures were measured on: facts about the hardware, nothing that names the machine or its user.

use crate::codec::gpu::GpuReport;
use serde::Serialize;
use std::fs::read_to_string;

/// A machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Machine {
    /// The CPU's name of itself.
    pub cpu: String,
    /// Logical processors that this program may use.
    pub cores: usize,
    pub memory_mib: u64,
    /// Release of the Linux kernel.
    pub kernel: String,
    pub gpus: Vec<String>,
    pub driver: Option<String>,
    pub nvenc_api: Option<String>,
    /// The driver is test equipment.
    pub fake_driver: bool,
}

impl Machine {
    /// This one, with what was found of its GPUs.
    pub fn here(found: &GpuReport) -> Machine {
        let read = |path: &str| read_to_string(path).unwrap_or_default();
        let memory = field(&read("/proc/meminfo"), "MemTotal").and_then(|value| value.split(' ').next()?.parse().ok());
        Machine {
            cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| std::env::consts::ARCH.into()),
            cores: std::thread::available_parallelism().map_or(1, |n| n.get()),
            memory_mib: memory.map_or(0, |kib: u64| kib >> 10),
            kernel: read("/proc/sys/kernel/osrelease").trim().into(),
            gpus: found.devices.iter().map(|gpu| gpu.name.clone()).collect(),
            driver: found.driver.clone(),
            nvenc_api: found.api.clone(),
            fake_driver: found.fake,
        }
    }

    /// In one line.
    pub fn describe(&self) -> String {
        let gpus = if self.gpus.is_empty() { "no NVIDIA GPU".into() } else { self.gpus.join(", ") };
        let versions = self.driver.iter().cloned().chain(self.nvenc_api.iter().map(|api| format!("NVENC API {api}")));
        let fake = self.fake_driver.then(|| "fake driver".to_string());
        let parts = [self.cpu.clone(), format!("{} cores", self.cores), format!("Linux {}", self.kernel), gpus];
        parts.into_iter().chain(versions).chain(fake).collect::<Vec<_>>().join("; ")
    }
}

/// The value of the first `name : value` line.
fn field(text: &str, name: &str) -> Option<String> {
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "model\t\t: 85\nmodel name\t: A CPU: fast\nmodel name\t: B\nMemTotal:        32 kB\n";
        for (name, value) in [("model name", Some("A CPU: fast")), ("MemTotal", Some("32 kB")), ("Mem", None)] {
            assert_eq!(field(text, name).as_deref(), value);
        }
    }
}
