//! What a data set says of its episodes: info.json and the episodes' tables, of any LeRobot v3.0 data set.

use super::rewrite::{self, flatten, words};
use super::{EpisodesError, damaged};
use crate::dataset::{DatasetError, disk, layout};
use crate::regenerate::source::read_info;
use arrow_array::{Array, RecordBatch};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// All episodes of a data set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalogue {
    pub root: PathBuf,
    pub info: Value,
    /// Rows a second.
    pub fps: f64,
    /// Features of the cameras.
    pub cameras: Vec<String>,
    /// In the order in which LeRobot reads them.
    pub episodes: Vec<Episode>,
    /// The episodes' tables, from the data set's root, and how many episodes each holds.
    pub tables: Vec<(PathBuf, usize)>,
}

/// One episode.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Episode {
    pub index: u64,
    /// Rows.
    pub length: u64,
    pub tasks: Vec<String>,
    /// Global index of the first row.
    pub first_row: u64,
    /// The table of its rows, from the data set's root.
    pub data: PathBuf,
    /// The table of its entry, from the data set's root.
    pub table: PathBuf,
    /// By camera.
    pub videos: Vec<Span>,
}

/// An episode's part of a video.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Span {
    /// From the data set's root.
    pub path: PathBuf,
    pub from_s: f64,
    pub to_s: f64,
}

impl Catalogue {
    /// Reads info.json and the tables; says nothing yet of whether they agree.
    pub fn read(root: &Path) -> Result<Catalogue, EpisodesError> {
        let info = read_info(root).map_err(EpisodesError::NoDataset)?;
        let path = root.join(layout::INFO);
        let text = |key: &str| {
            info[key].as_str().ok_or_else(|| damaged(&path, &format!("a template in `{key}`"), info[key].to_string()))
        };
        let fps = info["fps"].as_f64().filter(|fps| *fps > 0.0);
        let fps = fps.ok_or_else(|| damaged(&path, "frames a second in `fps`", info["fps"].to_string()))?;
        let features = info["features"].as_object().ok_or_else(|| damaged(&path, "`features`", "none".into()))?;
        let cameras: Vec<String> =
            features.iter().filter(|(_, feature)| feature["dtype"] == "video").map(|(key, _)| key.clone()).collect();
        let templates = (text("data_path")?, if cameras.is_empty() { "" } else { text("video_path")? });
        let mut catalogue = Catalogue { root: root.to_owned(), fps, cameras, ..Catalogue::default() };
        for table in tables(root)? {
            let before = catalogue.episodes.len();
            catalogue.read_table(&table, templates)?;
            catalogue.tables.push((table, catalogue.episodes.len() - before));
        }
        catalogue.info = info;
        Ok(catalogue)
    }

    fn read_table(&mut self, table: &Path, (data, video): (&str, &str)) -> Result<(), DatasetError> {
        let path = self.root.join(table);
        let wrong = |found: String| damaged(&path, "a table of episodes", found);
        // Statistics are most of the table.
        for batch in rewrite::open(&path, "a table of episodes", |name| !name.starts_with("stats/"))? {
            let batch = batch.map_err(wrong)?;
            for row in 0..batch.num_rows() {
                let number = |name: &str| number(&batch, name, row).map_err(&wrong);
                let file = |prefix: &str, template: &str, key: &str| {
                    let place = (
                        number(&format!("{prefix}/chunk_index"))? as u64,
                        number(&format!("{prefix}/file_index"))? as u64,
                    );
                    layout::from_template(template, key, place).map_err(&wrong)
                };
                let mut videos = Vec::new();
                for key in &self.cameras {
                    let prefix = format!("videos/{key}");
                    videos.push(Span {
                        path: file(&prefix, video, key)?,
                        from_s: number(&format!("{prefix}/from_timestamp"))?,
                        to_s: number(&format!("{prefix}/to_timestamp"))?,
                    });
                }
                self.episodes.push(Episode {
                    index: number("episode_index")? as u64,
                    length: number("length")? as u64,
                    tasks: batch.column_by_name("tasks").map(|tasks| words(tasks, row)).unwrap_or_default(),
                    first_row: number("dataset_from_index")? as u64,
                    data: file("data", data, "")?,
                    table: table.to_owned(),
                    videos,
                });
            }
        }
        Ok(())
    }

    /// Refuses a data set whose episodes are not numbered 0, 1, … with rows one after the other, as info.json counts them:
    /// changing it would make it worse.
    pub fn require_whole(&self) -> Result<(), DatasetError> {
        let path = self.root.join(layout::INFO);
        let mut rows = 0;
        for (index, episode) in self.episodes.iter().enumerate() {
            let expected = (index as u64, rows);
            let found = (episode.index, episode.first_row);
            if found != expected {
                let words = |(index, row)| format!("episode {index} from row {row} on");
                return Err(damaged(&self.root.join(&episode.table), &words(expected), words(found)));
            }
            rows += episode.length;
        }
        let found = (self.info["total_episodes"].as_u64(), self.info["total_frames"].as_u64());
        if found != (Some(self.episodes.len() as u64), Some(rows)) {
            let expected = format!("{} episodes and {rows} rows, as the tables say", self.episodes.len());
            return Err(damaged(
                &path,
                &expected,
                format!("{} and {}", self.info["total_episodes"], self.info["total_frames"]),
            ));
        }
        Ok(())
    }

    /// The episode of a number.
    pub fn episode(&self, number: u64) -> Result<&Episode, EpisodesError> {
        self.episodes.iter().find(|episode| episode.index == number).ok_or_else(|| {
            let (root, last) = (self.root.display(), self.episodes.len().saturating_sub(1));
            EpisodesError::Usage(match self.episodes.len() {
                0 => format!("episode {number}: {root} has no episodes"),
                n => format!("episode {number}: expected 0 to {last}, the {n} episodes of {root}"),
            })
        })
    }

    /// How long an episode is.
    pub fn seconds(&self, episode: &Episode) -> f64 {
        episode.length as f64 / self.fps
    }
}

/// The episodes' tables in LeRobot's order, from the data set's root.
fn tables(root: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let mut found = Vec::new();
    for chunk in disk::names(&root.join(layout::EPISODES))? {
        let chunk = Path::new(layout::EPISODES).join(chunk);
        for name in if root.join(&chunk).is_dir() { disk::names(&root.join(&chunk))? } else { Vec::new() } {
            if name.ends_with(".parquet") {
                found.push(chunk.join(name));
            }
        }
    }
    Ok(found)
}

/// A value of a numeric column, at least 0.
fn number(batch: &RecordBatch, name: &str, row: usize) -> Result<f64, String> {
    let column = batch.column_by_name(name).ok_or_else(|| format!("no column `{name}`"))?;
    let value = flatten(&column.slice(row, 1)).ok().and_then(|values| values.first().copied());
    value.filter(|v| v.is_finite() && *v >= 0.0).ok_or_else(|| format!("no number in row {row} of column `{name}`"))
}
