//! `list`: a line for each episode.

use super::catalogue::{Catalogue, Episode};
use super::labels::{self, Labels};
use super::{EpisodesError, cautions, summary};
use crate::dataset::DatasetError;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

/// What is told of every episode. What only the recorder knows is null for episodes that something else recorded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    pub index: u64,
    /// Rows.
    pub length: u64,
    pub seconds: f64,
    pub tasks: Vec<String>,
    pub label: Option<String>,
    /// The first tick, since 1970.
    pub recorded_utc_ns: Option<u64>,
    /// Features.
    pub cameras: Vec<String>,
    /// Captured pictures that are in no video, and such that the driver lost; of all cameras.
    pub dropped: Option<u64>,
    /// Encoders that finished its videos.
    pub encoders: Option<Vec<String>>,
}

impl Entry {
    pub(super) fn new(catalogue: &Catalogue, episode: &Episode, labels: &Labels) -> Result<Entry, DatasetError> {
        let summary = summary(&catalogue.root, episode.index)?;
        let cameras = || summary["cameras"].as_object().into_iter().flatten().map(|(_, camera)| camera);
        let known = summary.is_object();
        let lost = |camera: &Value| {
            let dropped = camera["dropped"].as_object().into_iter().flatten().filter_map(|(_, n)| n.as_u64());
            dropped.sum::<u64>() + camera["sequence_gaps"].as_u64().unwrap_or_default()
        };
        let encoders: BTreeSet<&str> = cameras().filter_map(|camera| camera["encoder"].as_str()).collect();
        Ok(Entry {
            index: episode.index,
            length: episode.length,
            seconds: catalogue.seconds(episode),
            tasks: episode.tasks.clone(),
            label: labels.get(&episode.index).cloned(),
            recorded_utc_ns: summary["start_utc_ns"].as_u64(),
            cameras: catalogue.cameras.clone(),
            dropped: known.then(|| cameras().map(lost).sum()),
            encoders: known.then(|| encoders.into_iter().filter(|name| !name.is_empty()).map(str::to_owned).collect()),
        })
    }
}

/// All episodes, for a person or as JSON.
pub fn list(root: &Path, json: bool) -> Result<String, EpisodesError> {
    let catalogue = Catalogue::read(root)?;
    let labels = labels::read(root)?;
    let entry = |episode| Entry::new(&catalogue, episode, &labels);
    let entries: Vec<Entry> = catalogue.episodes.iter().map(entry).collect::<Result<_, _>>()?;
    if json {
        return Ok(format!("{:#}\n", serde_json::json!(entries)));
    }
    let mut text = cautions(&catalogue).iter().fold(String::new(), |text, line| text + "note: " + line + "\n");
    let unknown = || "-".to_string();
    let header =
        ["episode", "rows", "seconds", "label", "recorded (UTC)", "dropped", "encoder", "task"].map(String::from);
    let mut lines = vec![header];
    lines.extend(entries.iter().map(|entry| {
        [
            entry.index.to_string(),
            entry.length.to_string(),
            format!("{:.2}", entry.seconds),
            entry.label.clone().unwrap_or_else(unknown),
            entry.recorded_utc_ns.map_or_else(unknown, utc),
            entry.dropped.map_or_else(unknown, |n| n.to_string()),
            entry.encoders.as_ref().map_or_else(unknown, |names| names.join(", ")),
            entry.tasks.join(", "),
        ]
    }));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; 8] = std::array::from_fn(width);
    for line in &lines {
        let cells = line.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column {
            0..=2 | 5 => format!("{cell:>width$}"),
            7 => cell.clone(),
            _ => format!("{cell:<width$}"),
        });
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  "));
    }
    let (count, rows) = (entries.len(), entries.iter().map(|entry| entry.length).sum::<u64>());
    let seconds: f64 = entries.iter().map(|entry| entry.seconds).sum();
    let cameras = if catalogue.cameras.is_empty() { "none".into() } else { catalogue.cameras.join(", ") };
    let _ = writeln!(
        text,
        "{count} episodes, {rows} rows, {seconds:.1} s at {} rows a second; cameras: {cameras}",
        catalogue.fps
    );
    Ok(text)
}

/// Nanoseconds since 1970 as a date and a time.
pub(super) fn utc(ns: u64) -> String {
    let seconds = ns / 1_000_000_000;
    let (days, second) = ((seconds / 86_400) as i64, seconds % 86_400);
    // Days from 0000-03-01 in eras of 400 years, whose last day is a leap day: Hinnant's `civil_from_days`.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = (
        year + era * 400 + i64::from(month >= 10),
        if month < 10 { month + 3 } else { month - 9 },
        day - (153 * month + 2) / 5 + 1,
    );
    format!("{:04}-{:02}-{:02} {:02}:{:02}:{:02}", date.0, date.1, date.2, second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_700_000_001, "2023-11-14 22:13:21"),
            (1_735_689_599, "2024-12-31 23:59:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ] {
            assert_eq!(utc(seconds * 1_000_000_000), expected);
        }
    }
}
