//! The statistics that a data set carries: of each episode against its rows, of all against the episodes'.

use super::entries::Entry;
use super::rows::{self, RowStream, Run};
use super::statistics::{self, Read};
use super::{Verifier, info, quality, rules};
use crate::dataset::layout;
use crate::dataset::stats::FeatureStats;

impl Verifier<'_> {
    /// An episode's statistics against its rows.
    pub(super) fn statistics(&mut self, episode: u64, entry: &Entry, run: Option<(&Run, &RowStream)>) {
        let facts = self.facts;
        let mut computed = Vec::new();
        for (i, (feature, read)) in facts.features.iter().zip(&entry.stats).enumerate() {
            let place = format!("{} stats/{}", entry.file, feature.key);
            let from_rows = run.and_then(|(run, rows)| {
                let at = rows.columns.iter().position(|column| column.key == feature.key)?;
                rows::statistics(run, at, feature)
            });
            if let Some(stats) = &from_rows {
                computed.push((i, stats.clone()));
            }
            let Some(Read { stats, quantiles }) = read else { continue };
            let number = Some(episode);
            if !quantiles {
                self.report.add(&rules::QUANTILES, number, &place, "quantiles q01 to q99", "none");
            }
            let colours = feature.is_camera() && !matches!(&feature.kind, info::Kind::Video(video) if video.depth);
            if let Some((expected, found)) = statistics::implausible(stats, colours) {
                self.report.add(&rules::STATS, number, &place, expected, found);
            } else if let Some(expected) = from_rows {
                self.compare(number, &place, &expected, stats, true, &feature.key);
            } else if feature.is_camera() {
                if !(1..=entry.length.max(1)).contains(&stats.count) {
                    let expected = format!("statistics of 1 to {} pictures", entry.length);
                    self.report.add(&rules::STATS, number, &place, expected, stats.count.to_string());
                } else if colours {
                    quality::colours(episode, &feature.key, stats, &entry.file, self.report);
                }
            }
        }
        let place = entry.data.clone().unwrap_or_default();
        quality::motion(episode, entry.length, facts, &computed, &place, self.report);
    }

    fn compare(
        &mut self,
        episode: Option<u64>,
        place: &str,
        expected: &FeatureStats,
        found: &FeatureStats,
        anew: bool,
        key: &str,
    ) {
        for (quantile, name, expected, found) in statistics::differences(expected, found, anew) {
            let rule = match key {
                _ if quantile => &rules::QUANTILES,
                // They change when episodes are deleted or data sets merged.
                "index" | "episode_index" | "task_index" if name != "count" => &rules::STATS_INDEX,
                _ => &rules::STATS,
            };
            self.report.add(rule, episode, format!("{place}/{name}"), expected.to_string(), found.to_string());
        }
    }

    /// stats.json against the sum of the episodes.
    pub(super) fn data_set_statistics(&mut self, total: &[Option<FeatureStats>], complete: &[bool], broken: bool) {
        let place = layout::STATS;
        let stats = match &self.snapshot.stats {
            Ok(stats) => stats,
            Err(found) => {
                // An empty data set has none.
                if self.facts.episodes != Some(0) {
                    self.report.add(&rules::STATS_MISSING, None, place, "statistics of every feature", found);
                }
                return;
            }
        };
        // What a save in progress has put there counts one episode more.
        let newer = self.snapshot.saving.contains(place);
        for (i, feature) in self.facts.features.iter().enumerate() {
            let Some(expected) = &total[i] else { continue };
            let place = format!("{place} {}", feature.key);
            let found = match stats.get(&feature.key) {
                None => Err("none".to_owned()),
                Some(found) => statistics::of_json(found, expected.min.len(), feature.is_camera()),
            };
            match found {
                Err(found) => {
                    self.report.add(&rules::STATS_MISSING, None, place, "statistics as of the episodes", found)
                }
                Ok(_) if broken || newer => {}
                Ok(mut found) => {
                    if !found.quantiles {
                        self.report.add(&rules::QUANTILES, None, &place, "quantiles q01 to q99", "none");
                    }
                    if !complete[i] {
                        found.stats.quantiles = Default::default();
                    }
                    self.compare(None, &place, expected, &found.stats, false, &feature.key);
                }
            }
        }
    }
}
