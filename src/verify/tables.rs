//! Entries and rows of all episodes, side by side, each file from its first row to its last.

use super::entries::{Entries, Entry};
use super::report::{EpisodeReport, OK};
use super::rows::{self, Expected, RowStream, Run};
use super::statistics::Read;
use super::videos::Part;
use super::{Kept, Parts, Verifier, rules};
use crate::dataset::layout;
use crate::dataset::stats::FeatureStats;
use std::collections::{BTreeSet, VecDeque};

impl Verifier<'_> {
    /// Entries and rows, side by side.
    pub(super) fn tables(
        &mut self,
        data: VecDeque<String>,
        entry_files: VecDeque<String>,
        tasks: Option<&[String]>,
        cameras: &mut [Parts],
    ) -> Vec<Kept> {
        let facts = self.facts;
        // Tables that no entry names are read by LeRobot all the same.
        let mut unnamed: BTreeSet<String> = data.iter().cloned().collect();
        let mut entries = Entries::new(self.root, facts, entry_files);
        if self.facts.episodes != Some(0) && !self.snapshot.files.iter().any(|file| file.starts_with(layout::EPISODES))
        {
            self.report.add(&rules::MISSING_FILE, None, layout::EPISODES, "tables of the episodes", "none");
            entries.broken = true;
        }
        let mut rows = RowStream::new(self.root, facts, data);
        let mut waiting: Option<Run> = rows.next_run(facts, self.report);
        let mut total: Vec<Option<FeatureStats>> = facts.features.iter().map(|_| None).collect();
        let mut complete: Vec<bool> = vec![true; facts.features.len()];
        let mut kept: Vec<Kept> = Vec::new();
        let mut next_row = 0;
        while let Some(entry) = entries.next(self.report) {
            let position = kept.len() as u64;
            if entry.index < position && !entries.broken {
                let expected = format!("each episode once, {position} next");
                let found = format!("episode {} again", entry.index);
                self.report.add(&rules::EPISODE_INDEX, Some(entry.index), entry.file, expected, found);
                continue;
            }
            self.report.per_episode.push(EpisodeReport {
                episode: position,
                length: entry.length,
                seconds: entry.length as f64 / f64::from(facts.fps),
                cameras: facts.videos().map(|(key, _)| (key.to_owned(), OK)).collect(),
                ..EpisodeReport::default()
            });
            let place = entry.file.clone();
            if entry.index != position && !entries.broken {
                let expected = format!("episode {position} next");
                self.report.add(
                    &rules::EPISODE_INDEX,
                    Some(position),
                    &place,
                    expected,
                    format!("episode {}", entry.index),
                );
            }
            let range = (next_row, u64::saturating_add(next_row, entry.length));
            if (entry.from, entry.to) != range && !entries.broken {
                let expected = format!("rows {} to {}", range.0, range.1);
                let found = format!("{} to {}", entry.from, entry.to);
                self.report.add(&rules::DATASET_INDEX, Some(position), &place, expected, found);
            }
            let first_row = if entries.broken { entry.from } else { next_row };
            next_row = first_row.saturating_add(entry.length);
            if let Some(file) = &entry.data
                && !unnamed.remove(file)
                && !self.snapshot.files.contains(file)
            {
                self.report.add(&rules::MISSING_FILE, Some(position), file, "the episode's rows", "no such file");
            }
            for (parts, span) in cameras.iter_mut().zip(&entry.videos) {
                if let Some(span) = span {
                    let part = Part { episode: position, length: entry.length, from_s: span.from_s, to_s: span.to_s };
                    parts.entry(span.file.clone()).or_default().push(part);
                }
            }
            let run = self.matching(&entry, &mut waiting, &mut rows);
            let expected = Expected {
                episode: position,
                length: entry.length,
                first_row,
                fps: facts.fps,
                file: entry.data.as_deref(),
                tasks,
                entry_tasks: &entry.tasks,
            };
            if let Some(run) = &run {
                rows::check(run, &expected, &rows, self.report);
            } else if !entry
                .data
                .as_ref()
                .is_some_and(|file| rows.unreadable.contains(file) || !self.snapshot.files.contains(file))
            {
                let found = "none under its number";
                self.report.add(&rules::LENGTH, Some(position), &place, format!("{} rows", entry.length), found);
            }
            self.statistics(position, &entry, run.as_ref().zip(Some(&rows)));
            for (i, read) in entry.stats.iter().enumerate() {
                match read {
                    Some(Read { stats, quantiles }) => {
                        complete[i] &= *quantiles;
                        total[i] = Some(total[i].take().map_or_else(|| stats.clone(), |sum| sum.merged(stats)));
                    }
                    None => complete[i] = false,
                }
            }
            kept.push(Kept { length: entry.length, tasks: entry.tasks });
        }
        while let Some(run) = waiting.take() {
            if !unnamed.contains(&run.file) && !entries.broken {
                let found = format!("{} rows of episode {}", run.rows, run.episode);
                self.report.add(&rules::LENGTH, None, &run.file, "rows of the episodes that have an entry", found);
            }
            waiting = rows.next_run(facts, self.report);
        }
        if !entries.broken {
            for file in unnamed {
                self.report.add(
                    &rules::STRAY_TABLE,
                    None,
                    file,
                    "tables that an episode's entry names",
                    "one that none does",
                );
            }
        }
        self.totals(&kept, next_row, entries.broken);
        self.broken = entries.broken;
        self.data_set_statistics(&total, &complete, entries.broken);
        (self.report.episodes, self.report.frames) = (kept.len() as u64, next_row);
        kept
    }

    /// The rows of an entry's episode; what comes in front of them belongs to no entry.
    fn matching(&mut self, entry: &Entry, waiting: &mut Option<Run>, rows: &mut RowStream) -> Option<Run> {
        let number = entry.index as f64;
        while waiting.as_ref().is_some_and(|run| run.episode < number || run.episode.is_nan()) {
            if let Some(run) = waiting.take()
                && entry.data.as_ref().is_some_and(|file| *file >= run.file)
            {
                let found = format!("{} rows of episode {}", run.rows, run.episode);
                self.report.add(
                    &rules::LENGTH,
                    Some(entry.index),
                    &run.file,
                    "each episode's rows once, in order",
                    found,
                );
            }
            *waiting = rows.next_run(self.facts, self.report);
        }
        let run = waiting.take_if(|run| run.episode == number)?;
        *waiting = rows.next_run(self.facts, self.report);
        Some(run)
    }

    /// info.json's sums.
    fn totals(&mut self, kept: &[Kept], rows: u64, broken: bool) {
        if broken {
            return;
        }
        let found =
            [(self.facts.episodes, kept.len() as u64, "total_episodes"), (self.facts.frames, rows, "total_frames")];
        for (said, counted, key) in found {
            if let Some(said) = said.filter(|said| *said != counted) {
                let place = format!("{} {key}", layout::INFO);
                self.report.add(&rules::TOTALS, None, place, format!("{counted}, the entries' sum"), said.to_string());
            }
        }
    }
}
