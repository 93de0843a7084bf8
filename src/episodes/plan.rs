//! What becomes of every file when episodes are deleted or get another value in a column: pure, no I/O.

use super::catalogue::{Catalogue, Episode};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What is to become of each episode.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// In words.
    pub what: String,
    /// By number so far: where it stands then; none for one that goes.
    pub places: Vec<Option<NewPlace>>,
    /// By number so far: its value of the feature `success`, where the data set is to have it.
    pub success: Option<Vec<i64>>,
}

/// An episode's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewPlace {
    pub index: u64,
    /// Global index of its first row.
    pub first_row: u64,
}

/// What becomes of the files, paths being from the data set's root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Tables of rows that are written anew, with their episodes.
    pub data: Vec<(PathBuf, Vec<usize>)>,
    /// Tables of episodes that are written anew, with their episodes.
    pub tables: Vec<(PathBuf, Vec<usize>)>,
    /// Tables of episodes that stay as they are.
    pub same_tables: Vec<PathBuf>,
    /// Tables and videos that no episode needs any more.
    pub removed: Vec<PathBuf>,
    /// Videos that stay as they are although an episode of theirs goes: another one needs them.
    pub kept_videos: Vec<PathBuf>,
}

impl Change {
    /// Deletes episodes: those after them move up.
    pub fn delete(catalogue: &Catalogue, numbers: &BTreeSet<u64>) -> Change {
        let (mut index, mut first_row) = (0, 0);
        let place = |episode: &Episode| {
            if numbers.contains(&episode.index) {
                return None;
            }
            let place = NewPlace { index, first_row };
            (index, first_row) = (index + 1, first_row + episode.length);
            Some(place)
        };
        let places = catalogue.episodes.iter().map(place).collect();
        let list: Vec<String> = numbers.iter().map(u64::to_string).collect();
        let what = format!("{} {} deleted", if numbers.len() == 1 { "episode" } else { "episodes" }, list.join(", "));
        Change { what, places, success: None }
    }

    /// Gives every episode a value of the feature `success`.
    pub fn success(catalogue: &Catalogue, values: Vec<i64>) -> Change {
        let places = catalogue.episodes.iter().map(|e| Some(NewPlace { index: e.index, first_row: e.first_row }));
        Change { what: "labels put into a column".into(), places: places.collect(), success: Some(values) }
    }

    /// Episodes that stay, and their rows.
    pub fn totals(&self, catalogue: &Catalogue) -> (u64, u64) {
        let stay = catalogue.episodes.iter().zip(&self.places).filter(|(_, place)| place.is_some());
        stay.fold((0, 0), |(episodes, rows), (episode, _)| (episodes + 1, rows + episode.length))
    }

    /// The row of a table that says something about this episode changes.
    fn concerns(&self, episode: &Episode, place: &Option<NewPlace>) -> bool {
        let same = Some(NewPlace { index: episode.index, first_row: episode.first_row });
        self.success.is_some() || *place != same
    }

    /// What becomes of the files.
    pub fn plan(&self, catalogue: &Catalogue) -> Plan {
        let mut plan = Plan::default();
        for (path, episodes) in grouped(catalogue, |episode| &episode.data) {
            match self.fate(catalogue, &episodes) {
                Fate::Gone => plan.removed.push(path),
                Fate::Changed => plan.data.push((path, episodes)),
                Fate::Same => {}
            }
        }
        for (path, episodes) in grouped(catalogue, |episode| &episode.table) {
            match self.fate(catalogue, &episodes) {
                Fate::Gone => plan.removed.push(path),
                Fate::Changed => plan.tables.push((path, episodes)),
                Fate::Same => plan.same_tables.push(path),
            }
        }
        for camera in 0..catalogue.cameras.len() {
            for (path, episodes) in grouped(catalogue, |episode| &episode.videos[camera].path) {
                let staying = episodes.iter().filter(|number| self.places[**number].is_some()).count();
                if staying == 0 {
                    plan.removed.push(path);
                } else if staying < episodes.len() {
                    plan.kept_videos.push(path);
                }
            }
        }
        plan
    }

    fn fate(&self, catalogue: &Catalogue, episodes: &[usize]) -> Fate {
        if episodes.iter().all(|number| self.places[*number].is_none()) {
            Fate::Gone
        } else if episodes.iter().any(|number| self.concerns(&catalogue.episodes[*number], &self.places[*number])) {
            Fate::Changed
        } else {
            Fate::Same
        }
    }

    /// The bounds of a split such as `0:12`, by how many episodes before them stay; none for one that is something else.
    pub fn split(&self, bounds: &str) -> Option<String> {
        let (from, to) = bounds.split_once(':')?;
        let moved = |bound: &str| {
            let bound: usize = bound.parse().ok()?;
            Some(self.places.iter().take(bound).filter(|place| place.is_some()).count())
        };
        Some(format!("{}:{}", moved(from)?, moved(to)?))
    }
}

enum Fate {
    Gone,
    Changed,
    Same,
}

/// Positions of the episodes by a file of theirs, in the order of files.
fn grouped<'a>(catalogue: &'a Catalogue, file: impl Fn(&'a Episode) -> &'a PathBuf) -> Vec<(PathBuf, Vec<usize>)> {
    let mut groups: BTreeMap<&Path, Vec<usize>> = BTreeMap::new();
    for (number, episode) in catalogue.episodes.iter().enumerate() {
        groups.entry(file(episode)).or_default().push(number);
    }
    groups.into_iter().map(|(path, episodes)| (path.to_owned(), episodes)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::Span;
    use super::*;

    /// Three episodes of 10 rows: the first two share all files.
    fn catalogue() -> Catalogue {
        let episode = |index: u64, file: u64| Episode {
            index,
            length: 10,
            first_row: index * 10,
            data: format!("data/{file}").into(),
            table: format!("meta/{file}").into(),
            videos: vec![Span { path: format!("videos/{file}").into(), ..Span::default() }],
            ..Episode::default()
        };
        let episodes = vec![episode(0, 0), episode(1, 0), episode(2, 1)];
        Catalogue { cameras: vec!["front".into()], episodes, ..Catalogue::default() }
    }

    #[test]
    fn files_are_written_anew_only_where_something_in_them_changes() {
        let files = |paths: &[(PathBuf, Vec<usize>)]| {
            paths.iter().map(|(p, _)| p.display().to_string()).collect::<Vec<_>>().join(" ")
        };
        let names = |paths: &[PathBuf]| paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(" ");
        for (deleted, data, same, removed, kept) in [
            (&[2][..], "", "meta/0", "data/1 meta/1 videos/1", ""),
            (&[1], "data/0 data/1", "", "", "videos/0"),
            (&[0, 1], "data/1", "", "data/0 meta/0 videos/0", ""),
            (&[0, 2], "data/0", "", "data/1 meta/1 videos/1", "videos/0"),
        ] {
            let catalogue = catalogue();
            let plan = Change::delete(&catalogue, &deleted.iter().copied().collect()).plan(&catalogue);
            assert_eq!(files(&plan.data), data, "{deleted:?}");
            assert_eq!(files(&plan.tables), data.replace("data", "meta"), "{deleted:?}");
            assert_eq!(
                (names(&plan.same_tables).as_str(), names(&plan.removed).as_str()),
                (same, removed),
                "{deleted:?}"
            );
            assert_eq!(names(&plan.kept_videos), kept, "{deleted:?}");
        }
    }

    #[test]
    fn later_episodes_move_up() {
        let catalogue = catalogue();
        let change = Change::delete(&catalogue, &BTreeSet::from([1]));
        let place = |index, first_row| Some(NewPlace { index, first_row });
        assert_eq!(change.places, [place(0, 0), None, place(1, 10)]);
        assert_eq!((change.totals(&catalogue), change.what.as_str()), ((2, 20), "episode 1 deleted"));
        for (split, moved) in [("0:3", Some("0:2")), ("0:1", Some("0:1")), ("1:3", Some("1:2")), ("all", None)] {
            assert_eq!(change.split(split).as_deref(), moved);
        }
    }
}
