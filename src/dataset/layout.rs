//! Where everything lies in a data set: pure names, no I/O. All paths are relative to the data set's root.
//!
//! ```text
//! data/chunk-000/file-000.parquet            one for each episode
//! meta/info.json stats.json tasks.parquet
//! meta/episodes/chunk-000/file-000.parquet   one for each episode
//! videos/KEY/chunk-000/file-000.mp4          one for each camera and episode
//! recorder/rows/chunk-000/file-000.parquet   what LeRobot has no place for, by episode index
//! recorder/episodes/chunk-000/file-000.json
//! recorder/lock                              held by the process that writes
//! .partial/episode_000003-take_000004/       a take that is being recorded, waits to be encoded, or is being saved
//! .partial/orphan-…/                         a take that cannot be made an episode, kept aside
//! .partial/removed-…/                        a take that is not needed any more, being removed
//! .partial/edit/                             a change of saved episodes under way
//! recorder/labels.json                       what the operator says of episodes, by episode index
//! ```

use std::path::{Path, PathBuf};

pub const INFO: &str = "meta/info.json";
pub const STATS: &str = "meta/stats.json";
pub const TASKS: &str = "meta/tasks.parquet";
pub const DATA: &str = "data";
pub const EPISODES: &str = "meta/episodes";
pub const VIDEOS: &str = "videos";
pub const RECORDER: &str = "recorder";
pub const RECORDER_ROWS: &str = "recorder/rows";
pub const RECORDER_EPISODES: &str = "recorder/episodes";
pub const LOCK: &str = "recorder/lock";
pub const LABELS: &str = "recorder/labels.json";
pub const PARTIAL: &str = ".partial";
/// Takes that cannot be made episodes, in [`PARTIAL`].
pub const ORPHAN_PREFIX: &str = "orphan-";
/// The folder of a change of saved episodes, in [`PARTIAL`].
pub const EDIT: &str = "edit";
/// Takes that are being removed, in [`PARTIAL`].
pub const REMOVED_PREFIX: &str = "removed-";

/// In a take's folder: it is recorded and waits to be encoded.
pub const WAITING: &str = "waiting.json";
/// In a take's folder: its rows and all else that the videos do not say, as they came.
pub const JOURNAL: &str = "rows.journal";

/// LeRobot's templates, as `info.json` names them.
pub const DATA_TEMPLATE: &str = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet";
pub const VIDEO_TEMPLATE: &str = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4";

/// Files in one chunk folder; a file beyond it starts the next folder.
pub const CHUNK_SIZE: u64 = 1000;

/// A file's place in a series such as `data/`: `chunk-000/file-000`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileIndex {
    pub chunk: u64,
    pub file: u64,
}

impl FileIndex {
    /// The place of the n-th file of a series that holds one file for each episode.
    pub fn nth(n: u64) -> FileIndex {
        FileIndex { chunk: n / CHUNK_SIZE, file: n % CHUNK_SIZE }
    }

    /// The place after this one.
    pub fn next(self) -> FileIndex {
        if self.file + 1 >= CHUNK_SIZE {
            FileIndex { chunk: self.chunk + 1, file: 0 }
        } else {
            FileIndex { file: self.file + 1, ..self }
        }
    }

    /// The file's path in a series' folder.
    pub fn path(self, series: &str, extension: &str) -> PathBuf {
        Path::new(series).join(format!("chunk-{:03}/file-{:03}.{extension}", self.chunk, self.file))
    }
}

/// The folder of a camera's videos.
pub fn videos(key: &str) -> String {
    format!("{VIDEOS}/{key}")
}

/// Reads `<prefix><number><suffix>`, such as `file-012.parquet`.
pub fn number(name: &str, prefix: &str, suffix: &str) -> Option<u64> {
    name.strip_prefix(prefix)?.strip_suffix(suffix)?.parse().ok()
}

/// The folder of a take in progress. The episode index is the one it would get if no other take were saved before it.
pub fn take(episode: u64, take: u64) -> PathBuf {
    Path::new(PARTIAL).join(format!("episode_{episode:06}-take_{take:06}"))
}

/// True for the folder of a change of saved episodes.
pub fn is_edit(dir: &Path) -> bool {
    dir.file_name().is_some_and(|name| name == EDIT)
}

/// The frames of a camera that waits to be encoded, in a take's folder.
pub fn frames(key: &str) -> String {
    format!("{key}.frames")
}

/// A camera's video, in a take's folder.
pub fn video(key: &str) -> String {
    format!("{key}.mp4")
}

/// What an interrupted take's video is cut to, in its folder. No camera's name begins with a dot.
pub fn recovered_video(key: &str) -> String {
    format!(".recovered-{key}.mp4")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_by_chunks_of_a_thousand() {
        for (n, path) in [
            (0, "data/chunk-000/file-000.parquet"),
            (999, "data/chunk-000/file-999.parquet"),
            (1000, "data/chunk-001/file-000.parquet"),
            (4_999_999, "data/chunk-4999/file-999.parquet"),
        ] {
            assert_eq!(FileIndex::nth(n).path(DATA, "parquet"), Path::new(path));
            assert_eq!(FileIndex::nth(n).next(), FileIndex::nth(n + 1));
        }
        assert_eq!(number("file-012.mp4", "file-", ".mp4"), Some(12));
        assert_eq!(number("file-012.mp4.tmp", "file-", ".mp4"), None);
    }
}
