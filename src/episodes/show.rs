//! `show`: everything about one episode.

use super::catalogue::Catalogue;
use super::list::{Entry, utc};
use super::{EpisodesError, cautions, labels, summary};
use crate::dataset::layout::{self, FileIndex};
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// An episode with its files.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    entry: Entry,
    /// Global index of its first row, and of the one after its last.
    rows: (u64, u64),
    files: Vec<FileShown>,
    /// The recorder's summary; null where it did not record the episode.
    summary: Value,
}

#[derive(Debug, Serialize)]
struct FileShown {
    /// From the data set's root.
    path: PathBuf,
    /// None where the file is missing.
    bytes: Option<u64>,
    /// Of a video: where the episode begins and ends in it, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    span_s: Option<(f64, f64)>,
    /// Other episodes lie in it.
    shared: bool,
}

/// One episode, for a person or as JSON.
pub fn show(root: &Path, number: u64, json: bool) -> Result<String, EpisodesError> {
    let catalogue = Catalogue::read(root)?;
    let episode = catalogue.episode(number)?;
    let entry = Entry::new(&catalogue, episode, &labels::read(root)?)?;
    let others = || catalogue.episodes.iter().filter(|other| other.index != number);
    let file = |path: PathBuf, span_s, shared| {
        let bytes = root.join(&path).metadata().ok().map(|metadata| metadata.len());
        FileShown { path, bytes, span_s, shared }
    };
    let mut files = vec![
        file(episode.data.clone(), None, others().any(|other| other.data == episode.data)),
        file(episode.table.clone(), None, others().any(|other| other.table == episode.table)),
    ];
    for (camera, span) in episode.videos.iter().enumerate() {
        let shared = others().any(|other| other.videos[camera].path == span.path);
        files.push(file(span.path.clone(), Some((span.from_s, span.to_s)), shared));
    }
    let own = [(layout::RECORDER_ROWS, "parquet"), (layout::RECORDER_EPISODES, "json")];
    let own = own.map(|(series, extension)| FileIndex::nth(number).path(series, extension));
    files.extend(own.into_iter().filter(|path| root.join(path).exists()).map(|path| file(path, None, false)));
    let rows = (episode.first_row, episode.first_row + episode.length);
    let shown = Shown { entry, rows, files, summary: summary(root, number)? };
    if json {
        return Ok(format!("{:#}\n", serde_json::json!(shown)));
    }
    let mut text = cautions(&catalogue).iter().fold(String::new(), |text, line| text + "note: " + line + "\n");
    let Shown { entry, rows, files, summary } = &shown;
    let _ = writeln!(text, "episode {number} of {} in {}", catalogue.episodes.len(), root.display());
    let _ = writeln!(
        text,
        "  {} rows, {:.2} s; rows {} to {} of the data set",
        entry.length, entry.seconds, rows.0, rows.1
    );
    let _ = writeln!(text, "  task: {}", entry.tasks.join(", "));
    let _ = writeln!(text, "  label: {}", entry.label.as_deref().unwrap_or("none"));
    if let Some(recorded) = entry.recorded_utc_ns {
        let _ = writeln!(text, "  recorded: {} UTC", utc(recorded));
    }
    for FileShown { path, bytes, span_s, shared } in files {
        let size = bytes.map_or("MISSING".into(), |bytes| format!("{bytes} bytes"));
        let span = span_s.map(|(from, to)| format!(", {from:.3} s to {to:.3} s of it")).unwrap_or_default();
        let shared = if *shared { ", shared with other episodes" } else { "" };
        let _ = writeln!(text, "  {}: {size}{span}{shared}", path.display());
    }
    if summary.is_object() {
        let _ = writeln!(text, "summary: {summary:#}");
    }
    Ok(text)
}
