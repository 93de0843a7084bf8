//! Taking back the episode that was saved last, within the run that saved it.

use super::edit::{Edit, Failed};
use super::error::DatasetError;
use super::info::{self, Info};
use super::stats::FeatureStats;
use super::{Dataset, NextFiles, layout, tasks};
use std::path::PathBuf;

/// A data set as it was before its last save, and what that added.
#[derive(Debug)]
pub(super) struct LastSave {
    pub take: u64,
    /// There was an info.json.
    pub begun: bool,
    pub info: Info,
    pub stats: Vec<(String, FeatureStats)>,
    pub tasks: Vec<String>,
    pub next: NextFiles,
    /// The episode's own files.
    pub files: Vec<PathBuf>,
}

impl Dataset {
    /// Takes the last episode back, if `take` became it in this run; true if so. The data set is what it was before the
    /// save, on disk too, and the next save gives the same bytes as if that one had never been. Only the last save
    /// can be taken back, once. A crash in between gives the one data set or the other.
    pub fn undo(&mut self, take: u64) -> Result<bool, DatasetError> {
        let Some(last) = self.last_save.take_if(|last| last.take == take) else { return Ok(false) };
        if let Some(episode) = self.interrupted {
            return Err(DatasetError::Interrupted { root: self.root.clone(), episode });
        }
        match self.take_back(&last) {
            Ok(()) => {
                (self.info, self.stats, self.tasks, self.next) = (last.info, last.stats, last.tasks, last.next);
                Ok(true)
            }
            Err(Failed::Early(error)) => {
                self.last_save = Some(last);
                Err(error)
            }
            Err(Failed::Late(error)) => {
                self.interrupted = Some(last.info.total_episodes);
                Err(error)
            }
        }
    }

    fn take_back(&self, last: &LastSave) -> Result<(), Failed> {
        let stage = || {
            let mut edit = Edit::begin(&self.root, format!("episode {} taken back", last.info.total_episodes))?;
            last.files.iter().for_each(|file| edit.remove(file));
            if last.info.total_episodes == 0 {
                // Before the first episode nothing else is in `meta/`.
                [layout::TASKS, layout::STATS].into_iter().for_each(|file| edit.remove(file));
            } else {
                if last.tasks != self.tasks {
                    edit.write(layout::TASKS, &tasks::to_parquet(&last.tasks)?)?;
                }
                let stats = last.stats.iter().map(|(key, stats)| (key.clone(), stats.to_json()));
                let stats: serde_json::Map<_, _> = stats.collect();
                edit.write(layout::STATS, &info::to_json_bytes(&stats, "stats.json")?)?;
            }
            if last.begun {
                edit.write(layout::INFO, &last.info.to_bytes()?)?;
            } else {
                edit.remove(layout::INFO);
            }
            Ok(edit)
        };
        stage().map_err(Failed::Early)?.commit()
    }
}
