//! The table of all metrics for people, made from their declarations.

use super::{ALL, Kind, Metric, Values, values};
use std::fmt::Write as _;

/// What the crate `metrics-process` tells of this process, as its page has it: name, kind, help.
const PROCESS: [(&str, &str, &str); 8] = [
    ("process_cpu_seconds_total", "counter", "Time on the CPU, user and system, of all threads; whole seconds."),
    ("process_resident_memory_bytes", "gauge", "Memory that the process holds."),
    ("process_virtual_memory_bytes", "gauge", "Address space that the process has."),
    ("process_virtual_memory_max_bytes", "gauge", "Address space that the process may have."),
    ("process_open_fds", "gauge", "Open files, sockets and devices."),
    ("process_max_fds", "gauge", "Open files that the process may have."),
    ("process_threads", "gauge", "Threads."),
    ("process_start_time_seconds", "gauge", "When the process started, in Unix time, on the machine's clock."),
];

/// What stands in front of the table in `docs/metrics.md`.
const INTRODUCTION: &str = include_str!("introduction.md");

impl Kind {
    /// As Prometheus calls it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        }
    }
}

impl Metric {
    /// What it counts in, by its name: names follow Prometheus' conventions.
    pub fn unit(&self) -> &'static str {
        let name = self.name.trim_end_matches("_total");
        let units = ["seconds", "bytes", "frames", "episodes", "rows", "ratio", "celsius", "hertz"];
        units.into_iter().find(|unit| name.rsplit('_').next() == Some(unit)).unwrap_or("")
    }

    fn labels(&self) -> String {
        let label = |label: &&str| match values(self, label) {
            Some(Values::OneOf(names)) => format!("`{label}`: {}", names.join(", ")),
            Some(Values::SetUp(words)) => format!("`{label}`: {words}"),
            None => format!("`{label}`"),
        };
        self.labels.iter().map(label).collect::<Vec<_>>().join("; ")
    }
}

/// `docs/metrics.md`; a test holds the file against it.
pub fn markdown() -> String {
    let mut text = String::from(INTRODUCTION);
    text.push_str("\n## The recorder's metrics\n\n| metric | type | unit | labels | |\n|---|---|---|---|---|\n");
    for metric in ALL {
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} |",
            metric.name,
            metric.kind.name(),
            metric.unit(),
            metric.labels(),
            metric.help
        );
    }
    text.push_str("\n## The process's metrics\n\n| metric | type | |\n|---|---|---|\n");
    for (name, kind, help) in PROCESS {
        let _ = writeln!(text, "| `{name}` | {kind} | {help} |");
    }
    text.push_str("\n## Bounds of the histograms\n\n| metric | in seconds |\n|---|---|\n");
    for metric in ALL {
        if let Kind::Histogram(buckets) = metric.kind {
            let bounds: Vec<String> = buckets.iter().map(f64::to_string).collect();
            let _ = writeln!(text, "| `{}` | {} |", metric.name, bounds.join(", "));
        }
    }
    text
}

/// The same for a terminal: name and labels, type, help; one metric a line.
pub fn text() -> String {
    let named = |metric: &Metric| match metric.labels {
        [] => metric.name.to_string(),
        labels => format!("{}{{{}}}", metric.name, labels.join(",")),
    };
    let own = ALL.iter().map(|metric| (named(metric), metric.kind.name(), metric.help));
    let all: Vec<_> = own.chain(PROCESS.map(|(name, kind, help)| (name.to_string(), kind, help))).collect();
    let width = all.iter().map(|(name, ..)| name.len()).max().unwrap_or_default();
    all.iter().fold(String::new(), |mut text, (name, kind, help)| {
        let _ = writeln!(text, "{name:width$}  {kind:9}  {help}");
        text
    })
}
