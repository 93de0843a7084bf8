//! What can go wrong with a data set on disk. Every message names the place, what was expected and found, and the remedy.

use std::io;
use std::path::{Path, PathBuf};

/// Why a data set cannot be opened, or an episode not be saved.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The operating system refused an operation.
    #[error("{}: cannot {operation}: {source}{}", path.display(), io_remedy(source))]
    Io {
        /// The operation in words, such as `write`.
        operation: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// A new data set was asked for where one is.
    #[error("{}: a data set with {episodes} episodes is here already{}; set dataset.resume = true to add to it, or choose another dataset.root", root.display(), of_which(recovery))]
    Exists {
        root: PathBuf,
        episodes: u64,
        /// What an interrupted run had left and became of it, in words.
        recovery: Vec<String>,
    },
    /// A new data set was asked for where other files are.
    #[error("{}: expected an empty or absent folder for a new data set, found `{found}`; choose another dataset.root", root.display())]
    ForeignFiles { root: PathBuf, found: String },
    /// Adding was asked for where nothing is.
    #[error("{}: expected a LeRobot v3.0 data set to add to, found no meta/info.json; set dataset.resume = false to start a new one, or correct dataset.root", root.display())]
    NotADataset { root: PathBuf },
    /// The data set was recorded with another set-up.
    #[error("{}: the data set there was recorded with another set-up: {}; change the configuration to match, or choose another dataset.root", root.display(), join(differences))]
    Differs { root: PathBuf, differences: Vec<Difference> },
    /// A file of the data set is not as it must be.
    #[error("{}: expected {expected}, found {found}; {remedy}", path.display())]
    Invalid { path: PathBuf, expected: String, found: String, remedy: &'static str },
    /// A take that waits to be encoded was recorded with another set-up.
    #[error("{}: a take waits there to be encoded that was recorded with another set-up: {}; change the configuration to match and let it be finished, choose another dataset.root, or move the folder away", dir.display(), join(differences))]
    WaitingDiffers { dir: PathBuf, differences: Vec<Difference> },
    /// Another process writes there.
    #[error("{}: another recorder is writing this data set; stop it, or choose another dataset.root", root.display())]
    Locked { root: PathBuf },
    /// A specification that no data set can have.
    #[error("{field}: expected {expected}, found {found}; correct the configuration")]
    Spec { field: String, expected: &'static str, found: String },
    /// A row that does not fit the data set.
    #[error("row {row}, {field}: expected {expected}, found {found}; the row was not recorded")]
    Row { row: u64, field: String, expected: String, found: String },
    /// A take that reached the longest length.
    #[error(
        "take {take}: expected at most {limit} rows ({} s), found one more; end the episode earlier (dataset.episode_time_s)",
        super::episode::MAX_SECONDS
    )]
    TooLong { take: u64, limit: u64 },
    /// Video frames are missing, or there are too many.
    #[error("take {take}, camera {camera}: expected {expected} video frames, one for each row, found {found}; the episode was not saved, its files are kept in {}", kept.display())]
    FrameCount { take: u64, camera: String, expected: u64, found: u64, kept: PathBuf },
    /// Fragments came out of order.
    #[error("{}: expected a fragment that starts at frame {expected}, found one at {found}; it was not written", path.display())]
    NotContiguous { path: PathBuf, expected: u64, found: u64 },
    /// A fragment that cannot be part of this video.
    #[error("{}: expected {expected}, found {found}; the fragment was not written", path.display())]
    Fragment { path: PathBuf, expected: &'static str, found: String },
    /// A call for a camera that the data set does not have, or whose video is finished.
    #[error("camera number {camera}: expected {expected}, found {found}")]
    Camera { camera: usize, expected: &'static str, found: String },
    /// A take that cannot be an episode.
    #[error("take {take}: expected {expected}, found {found}; discard the take")]
    Take { take: u64, expected: &'static str, found: String },
    /// Frames that wait for an encoder.
    #[error(transparent)]
    Frames(#[from] crate::spill::SpillError),
    /// An earlier save failed after its point of no return.
    #[error("{}: the save of episode {episode} was interrupted by an error and is completed at the next start; start again with dataset.resume = true", root.display())]
    Interrupted { root: PathBuf, episode: u64 },
    /// A table or a video's index could not be built.
    #[error("{what}: {source}; this is a defect of the recorder, please report it")]
    Encode { what: String, source: Box<dyn std::error::Error + Send + Sync> },
}

impl DatasetError {
    /// True when the disk, or the user's share of it, is full: recording should stop, what is saved is safe.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, DatasetError::Io { source, .. }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }

    /// For `map_err` after an operation of the file system.
    pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DatasetError {
        let path = path.to_owned();
        move |source| DatasetError::Io { operation, path, source }
    }

    /// For `map_err` after building a table or boxes.
    pub(crate) fn encode<E>(what: impl Into<String>) -> impl FnOnce(E) -> DatasetError
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let what = what.into();
        move |source| DatasetError::Encode { what, source: source.into() }
    }
}

/// One way in which a data set on disk differs from the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Such as `fps`, or `features.action.names`.
    pub what: String,
    /// What the configuration asks for.
    pub expected: String,
    /// What the data set has.
    pub found: String,
}

fn join(differences: &[Difference]) -> String {
    let all: Vec<String> =
        differences.iter().map(|d| format!("{} (expected {}, found {})", d.what, d.expected, d.found)).collect();
    all.join(", ")
}

fn of_which(recovery: &[String]) -> String {
    if recovery.is_empty() { String::new() } else { format!(" ({})", recovery.join("; ")) }
}

fn io_remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; free some space, what is saved is safe",
        io::ErrorKind::PermissionDenied => "; check the folder's owner and rights",
        io::ErrorKind::ReadOnlyFilesystem => "; the disk is mounted read-only, see `dmesg`",
        _ => "",
    }
}
