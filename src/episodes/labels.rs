//! What the operator says of episodes: `recorder/labels.json`, by episode index.

use super::{EpisodesError, damaged};
use crate::dataset::table::UNLABELLED;
use crate::dataset::{DatasetError, disk, info, layout};
use std::collections::BTreeMap;
use std::path::Path;

/// Labels by episode index.
pub type Labels = BTreeMap<u64, String>;

pub const SUCCESS: &str = "success";
pub const FAILURE: &str = "failure";
/// A label is a remark, not a document; a longer one is refused.
const MOST_CHARACTERS: usize = 1000;

/// Reads the file; none where nothing was said yet.
pub fn read(root: &Path) -> Result<Labels, DatasetError> {
    let path = root.join(layout::LABELS);
    if !path.exists() {
        return Ok(Labels::new());
    }
    serde_json::from_slice(&disk::read(&path)?)
        .map_err(|error| damaged(&path, "words by episode number, as JSON", error.to_string()))
}

/// The file's content.
pub fn to_bytes(labels: &Labels) -> Result<Vec<u8>, DatasetError> {
    info::to_json_bytes(labels, layout::LABELS)
}

/// Writes the file durably; without labels there is none.
pub fn write(root: &Path, labels: &Labels) -> Result<(), DatasetError> {
    let path = root.join(layout::LABELS);
    if labels.is_empty() {
        return disk::remove_durably(&path);
    }
    disk::create_dir_all_durably(&root.join(layout::RECORDER))?;
    disk::write_durably(&path, &to_bytes(labels)?)
}

/// Refuses what is no label.
pub fn require(label: &str) -> Result<(), EpisodesError> {
    let found = if label.trim().is_empty() {
        "an empty one".into()
    } else if label.chars().any(char::is_control) {
        "control characters".into()
    } else if label.chars().count() > MOST_CHARACTERS {
        format!("{} characters", label.chars().count())
    } else {
        return Ok(());
    };
    Err(EpisodesError::Usage(format!(
        "label: expected `{SUCCESS}`, `{FAILURE}` or words, one line of at most {MOST_CHARACTERS} characters, found {found}; --clear takes a label away"
    )))
}

/// The value of the feature `success`: words tell neither success nor failure.
pub fn value(label: Option<&String>) -> i64 {
    match label.map(String::as_str) {
        Some(SUCCESS) => 1,
        Some(FAILURE) => 0,
        _ => UNLABELLED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_back_and_one_line() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(read(root.path()).unwrap(), Labels::new());
        let labels = Labels::from([(2, SUCCESS.to_string()), (11, "dropped ✋".to_string())]);
        write(root.path(), &labels).unwrap();
        assert_eq!(read(root.path()).unwrap(), labels);
        write(root.path(), &Labels::new()).unwrap();
        assert!(!root.path().join(layout::LABELS).exists());
        for (label, good) in [("success", true), ("it slipped", true), ("", false), (" ", false), ("a\nb", false)] {
            assert_eq!(require(label).is_ok(), good, "{label:?}");
        }
        assert_eq!(
            [Some("success"), Some("failure"), Some("so so"), None].map(|l| value(l.map(str::to_string).as_ref())),
            [1, 0, -1, -1]
        );
    }
}
