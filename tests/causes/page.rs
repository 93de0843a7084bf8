//! The metrics' page, read as Prometheus reads it.
#![allow(dead_code)] // each test binary uses its part

use recorder::clock::Stamp;
use recorder::metrics;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Label and value pairs that a sample must have.
pub type Labels = &'static [(&'static str, &'static str)];

/// Samples by name and labels.
#[derive(Clone, Debug)]
pub struct Page(BTreeMap<String, f64>);

impl Page {
    pub fn at(now: Stamp) -> Page {
        let text = metrics::render(metrics::install().unwrap(), now);
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_string(), value.parse().unwrap())
        };
        Page(text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(sample).collect())
    }

    pub fn now() -> Page {
        Page::at(Stamp::default())
    }

    /// The sum of a metric's samples with these labels, of a histogram that of its counts; `None` without any.
    pub fn get(&self, metric: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let count = format!("{metric}_count");
        let wanted: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let is_meant = |series: &str| {
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            (name == metric || name == count) && wanted.iter().all(|pair| labels.contains(pair.as_str()))
        };
        let samples: Vec<f64> = self.0.iter().filter(|(series, _)| is_meant(series)).map(|(_, value)| *value).collect();
        (!samples.is_empty()).then(|| samples.iter().sum())
    }

    /// All series, as the page has them.
    pub fn series(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// Pages that were looked at in the middle of a run.
#[derive(Clone, Default)]
pub struct Looks(Arc<Mutex<Vec<Page>>>);

impl Looks {
    pub fn look(&self) {
        self.look_at(Stamp::default());
    }

    pub fn look_at(&self, now: Stamp) {
        let page = Page::at(now);
        self.0.lock().unwrap().push(page);
    }

    pub fn pages(&self) -> Vec<Page> {
        self.0.lock().unwrap().clone()
    }
}
