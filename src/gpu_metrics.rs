//! The GPUs on `/metrics`, as NVIDIA's management library (NVML) sees them.
//!
//! Objective: nothing waits for it, nothing ends with it. A driver may hang or crash when it is asked, above all once a GPU
//! has fallen off the bus. So a child process asks, a thread of its own listens to the child, and the page shows what was
//! heard last. What was shown and is not known any more is NaN: a series cannot be taken back, and a GPU that is lost
//! must not look like an idle one.
//!
//! The label `gpu` counts as nvidia-smi does, by the PCI bus. `dataset.encoder.gpu_id` is CUDA's number, which may count
//! otherwise (the fastest first, or by `CUDA_VISIBLE_DEVICES`): where the two differ, the log says so.

use crate::child::{self, Talk};
use crate::codec::gpu::{GpuReport, blame};
use crate::metrics::*;
use crate::nvml::Nvml;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// How often the GPUs are looked at.
const EVERY: Duration = Duration::from_secs(2);
/// A child that has said nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(10);
/// When nothing could be read: until it is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// What a look at the GPUs gave; why nothing, in one line.
pub type Look = Result<Vec<Figures>, String>;

/// What is known of one GPU; what it does not tell is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// As nvidia-smi counts, from 0.
    pub gpu: u32,
    /// Such as "00000000:01:00.0".
    pub pci_bus_id: Option<String>,
    /// Why nothing is known of it, in one line.
    pub refusal: Option<String>,
    /// Share of the time in which it computes.
    pub utilization: Option<f64>,
    /// Share of the time in which its video encoders are busy.
    pub encoder_utilization: Option<f64>,
    pub memory_used_bytes: Option<u64>,
    pub memory_bytes: Option<u64>,
    pub temperature_celsius: Option<u32>,
    /// Of all programs.
    pub encoder_sessions: Option<u32>,
}

impl Figures {
    /// What is known, by the metric's name.
    pub fn gauges(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let all = [
            (GPU_UTILIZATION, self.utilization),
            (GPU_ENCODER_UTILIZATION, self.encoder_utilization),
            (GPU_MEMORY_USED, self.memory_used_bytes.map(|bytes| bytes as f64)),
            (GPU_MEMORY, self.memory_bytes.map(|bytes| bytes as f64)),
            (GPU_TEMPERATURE, self.temperature_celsius.map(f64::from)),
            (GPU_SESSIONS, self.encoder_sessions.map(f64::from)),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }
}

/// Shows the GPUs from now on, until the process ends. `found` is what CUDA found, and `gpu_id` its number of the one that
/// encodes.
pub fn start(found: &GpuReport, gpu_id: u32) {
    let mut page = Page::new(found, gpu_id);
    let watch = move || {
        loop {
            listen(Path::new(child::THIS_PROGRAM), PATIENCE, &mut page, &|said| said.log());
            std::thread::sleep(AGAIN);
        }
    };
    if let Err(error) = std::thread::Builder::new().name("gpu figures".into()).spawn(watch) {
        tracing::warn!("no figures of the GPUs on /metrics: {error}");
    }
}

/// Runs `PROGRAM encoders --watch-in-process`, and shows what it says until it says nothing more. `patience` is how long it
/// may be silent. Returns when the child is gone: one that hangs in the kernel is not joined by a second.
pub fn listen(program: &Path, patience: Duration, page: &mut Page, say: &dyn Fn(Said)) {
    let mut child = Talk::start(program, &["encoders", "--watch-in-process"]);
    loop {
        let heard = child.as_mut().map_err(|error| error.clone()).and_then(|child| child.next::<Look>(patience));
        let look = heard.unwrap_or_else(|no_answer| Err(blame(no_answer, "the reading of the GPUs' figures")));
        page.show(&look).into_iter().for_each(say);
        if gives_nothing(&look) {
            return;
        }
    }
}

/// The child's side: says what there is, until nobody listens, or there is nothing.
pub fn watch_for_parent() {
    child::end_with_parent();
    let nvml = Nvml::load();
    loop {
        let look: Look = match &nvml {
            Ok(nvml) => nvml.figures().map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let look = look.and_then(|gpus| if gpus.is_empty() { Err("there is no NVIDIA GPU".into()) } else { Ok(gpus) });
        let heard = std::io::stdout().write_all(child::answer(&look).as_bytes());
        if heard.is_err() || gives_nothing(&look) {
            return;
        }
        std::thread::sleep(EVERY);
    }
}

/// True where not one GPU gives anything: then the driver is started anew.
fn gives_nothing(look: &Look) -> bool {
    look.as_ref().map_or(true, |gpus| gpus.iter().all(|gpu| gpu.refusal.is_some()))
}

/// A line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub level: tracing::Level,
    pub text: String,
}

impl Said {
    fn log(self) {
        let text = self.text;
        match self.level {
            tracing::Level::WARN => tracing::warn!("{text}"),
            tracing::Level::INFO => tracing::info!("{text}"),
            _ => tracing::debug!("{text}"),
        }
    }
}

/// What of the GPUs stands on the page, and what was said about them.
#[derive(Debug)]
pub struct Page {
    /// There should be figures: that there are none is no news where there is no GPU.
    expected: bool,
    /// CUDA's number of the GPU that encodes, and its place on the PCI bus: until it is known which one of NVML's that is.
    encodes: Option<(u32, PciPlace)>,
    /// GPUs that were there at any time.
    known: BTreeSet<u32>,
    /// Gauges that show a number.
    shown: BTreeSet<(u32, &'static str)>,
    /// What gives nothing, as it was said: a GPU, or (`None`) all of it.
    missing: BTreeSet<Option<u32>>,
}

impl Page {
    /// As [`start`].
    pub fn new(found: &GpuReport, gpu_id: u32) -> Page {
        let encodes = found.devices.iter().find(|device| device.id == gpu_id);
        Page {
            expected: !found.devices.is_empty(),
            encodes: encodes.and_then(|device| Some((gpu_id, pci_place(device.pci_bus_id.as_deref()?)?))),
            known: BTreeSet::new(),
            shown: BTreeSet::new(),
            missing: BTreeSet::new(),
        }
    }

    /// Sets the gauges. What there is to say comes once, and once more when it is over.
    pub fn show(&mut self, look: &Look) -> Vec<Said> {
        let gpus = look.as_deref().unwrap_or_default();
        let mut shown = BTreeSet::new();
        for gpu in gpus {
            for (name, value) in gpu.gauges() {
                gauge(gpu.gpu, name).set(value);
                shown.insert((gpu.gpu, name));
            }
        }
        self.shown.difference(&shown).for_each(|(gpu, name)| gauge(*gpu, name).set(f64::NAN));
        self.shown = shown;
        self.known.extend(gpus.iter().map(|gpu| gpu.gpu));
        let missing: Vec<_> = match look {
            Err(reason) => vec![(None, reason.clone())],
            Ok(gpus) => {
                let refused = |id: u32| match gpus.iter().find(|gpu| gpu.gpu == id) {
                    Some(gpu) => gpu.refusal.clone(),
                    None => Some("it is not there any more".into()),
                };
                self.known.iter().filter_map(|id| Some((Some(*id), refused(*id)?))).collect()
            }
        };
        let mut said = self.differs(&missing);
        said.extend(self.counted_otherwise(gpus));
        said
    }

    /// Which GPU encodes, once that is known, if NVML has another number for it than CUDA.
    fn counted_otherwise(&mut self, gpus: &[Figures]) -> Option<Said> {
        let (gpu_id, place) = self.encodes?;
        let is_it = |gpu: &&Figures| gpu.pci_bus_id.as_deref().and_then(pci_place) == Some(place);
        let gpu = gpus.iter().find(is_it)?.gpu;
        self.encodes = None;
        let text = format!("GPU {gpu_id} (dataset.encoder.gpu_id) is gpu=\"{gpu}\" on /metrics, as nvidia-smi counts");
        (gpu != gpu_id).then_some(Said { level: tracing::Level::INFO, text })
    }

    /// What is to be said when this, and no more, is missing.
    fn differs(&mut self, missing: &[(Option<u32>, String)]) -> Vec<Said> {
        let is_news = self.expected || !self.known.is_empty();
        let level = if is_news { tracing::Level::WARN } else { tracing::Level::DEBUG };
        let gone = missing.iter().filter(|(what, _)| !self.missing.contains(what)).map(|(what, reason)| {
            let text = match what {
                None => format!("no figures of the GPUs on /metrics: {reason}"),
                Some(gpu) => format!("GPU {gpu} gives no figures: {reason}; it is NaN on /metrics"),
            };
            Said { level, text }
        });
        let mut said: Vec<Said> = gone.collect();
        let now: BTreeSet<_> = missing.iter().map(|(what, _)| *what).collect();
        // While all is silent, nothing is known of single ones.
        let back = self.missing.difference(&now).filter(|what| what.is_none() || !now.contains(&None));
        said.extend(back.map(|what| Said {
            level: tracing::Level::INFO,
            text: what.map_or("the GPUs give figures again".into(), |gpu| format!("GPU {gpu} gives figures again")),
        }));
        self.missing.retain(|_| now.contains(&None));
        self.missing.extend(now);
        said
    }
}

/// Domain, bus, device: CUDA and NVML write them with different numbers of digits.
type PciPlace = (u32, u32, u32);

fn pci_place(bus_id: &str) -> Option<PciPlace> {
    let number = |text| u32::from_str_radix(text, 16).ok();
    let mut parts = bus_id.split([':', '.']).map(number);
    Some((parts.next()??, parts.next()??, parts.next()??))
}

fn gauge(gpu: u32, name: &'static str) -> metrics::Gauge {
    metrics::gauge!(name, "gpu" => gpu.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::gpu::GpuDevice;
    use metrics_exporter_prometheus::PrometheusBuilder;

    fn gpu(gpu: u32, pci_bus_id: &str, temperature_celsius: Option<u32>) -> Figures {
        let encoder_sessions = Some(2);
        Figures {
            gpu,
            pci_bus_id: Some(pci_bus_id.into()),
            temperature_celsius,
            encoder_sessions,
            ..Figures::default()
        }
    }

    fn lost(gpu: u32) -> Figures {
        Figures { gpu, refusal: Some("lost".into()), ..Figures::default() }
    }

    fn found(bus_ids: &[&str]) -> GpuReport {
        let device = |(id, bus_id): (usize, &&str)| GpuDevice {
            id: id as u32,
            name: "Card".into(),
            pci_bus_id: Some(bus_id.to_string()),
            refusal: None,
            codecs: vec![],
        };
        GpuReport { devices: bus_ids.iter().enumerate().map(device).collect(), ..GpuReport::default() }
    }

    #[test]
    fn what_is_not_known_any_more_is_nan_and_said_once() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        let mut page = Page::new(&found(&["0000:01:00.0"]), 0);
        let (all, warm) = (gpu(0, "00000000:01:00.0", Some(40)), gpu(1, "00000000:02:00.0", Some(41)));
        let quiet = gpu(0, "00000000:01:00.0", None);
        // A look, what is said of it, and what the page shows of GPU 0 (temperature, sessions) and of GPU 1.
        for (look, expected, shown) in [
            (Ok(vec![all.clone(), warm.clone()]), &[][..], ["40 2", "41 2"]),
            // A question that has no answer any more.
            (Ok(vec![quiet.clone(), warm.clone()]), &[], ["NaN 2", "41 2"]),
            (
                Ok(vec![lost(0), warm.clone()]),
                &["GPU 0 gives no figures: lost; it is NaN on /metrics"],
                ["NaN NaN", "41 2"],
            ),
            (Ok(vec![lost(0), warm.clone()]), &[], ["NaN NaN", "41 2"]),
            (Err("hangs"), &["no figures of the GPUs on /metrics: hangs"], ["NaN NaN", "NaN NaN"]),
            (Err("crashed"), &[], ["NaN NaN", "NaN NaN"]),
            (Ok(vec![lost(0), warm.clone()]), &["the GPUs give figures again"], ["NaN NaN", "41 2"]),
            (
                Ok(vec![all.clone()]),
                &[
                    "GPU 1 gives no figures: it is not there any more; it is NaN on /metrics",
                    "GPU 0 gives figures again",
                ],
                ["40 2", "NaN NaN"],
            ),
            (Ok(vec![all, warm]), &["GPU 1 gives figures again"], ["40 2", "41 2"]),
        ] {
            let look: Look = look.map_err(String::from);
            let said = metrics::with_local_recorder(&recorder, || page.show(&look));
            let said: Vec<_> = said.into_iter().map(|said| said.text).collect();
            assert_eq!(said, expected, "{look:?}");
            let rendered = handle.render();
            let value = |name: &str, gpu: usize| -> String {
                let series = format!("{name}{{gpu=\"{gpu}\"}} ");
                rendered.lines().find_map(|line| line.strip_prefix(&series)).unwrap().to_string()
            };
            for (gpu, shown) in shown.iter().enumerate() {
                assert_eq!(format!("{} {}", value(GPU_TEMPERATURE, gpu), value(GPU_SESSIONS, gpu)), *shown, "{look:?}");
            }
            assert!(!rendered.contains(GPU_UTILIZATION), "never known, never shown");
        }
    }

    #[test]
    fn without_a_gpu_it_is_no_news_that_there_are_no_figures() {
        let level = |found: &GpuReport| Page::new(found, 0).show(&Err("no library".into()))[0].level;
        assert_eq!(level(&found(&["0000:01:00.0"])), tracing::Level::WARN);
        assert_eq!(level(&GpuReport::refused("no driver")), tracing::Level::DEBUG);
    }

    #[test]
    fn it_is_said_which_gpu_encodes_where_cuda_counts_otherwise() {
        let nvml = Ok(vec![gpu(0, "00000000:0A:00.0", None), gpu(1, "00010000:C1:00.0", None)]);
        let words = "GPU 0 (dataset.encoder.gpu_id) is gpu=\"1\" on /metrics, as nvidia-smi counts";
        for (cuda, expected) in [
            (&["0000:0a:00.0", "10000:c1:00.0"][..], None),
            (&["10000:c1:00.0", "0000:0a:00.0"], Some(words)),
            (&["10000:c1:00.0"], Some(words)),
            (&["0000:0b:00.0"], None),
            (&["?"], None),
            (&[], None),
        ] {
            let mut page = Page::new(&found(cuda), 0);
            let said = page.show(&nvml);
            assert_eq!(said.first().map(|said| said.text.as_str()), expected, "{cuda:?}");
            assert_eq!(page.show(&nvml), [], "{cuda:?}: said once");
        }
    }
}
