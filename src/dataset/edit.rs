//! Changing saved episodes so that after a crash the data set is the old one or the new one: `commit.rs` says how.

use super::commit::{self, EditGuard, Marker};
use super::disk;
use super::error::DatasetError;
use super::layout;
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, DatasetError>;

/// A change under way: what is new is written in a folder of its own, what goes is listed. Nothing of the data set is
/// touched before [`Edit::commit`]; one that is dropped before leaves nothing behind. Whoever makes it holds the data
/// set's [`super::claim::Claim`], and has completed what an earlier run left ([`commit::complete_saves`]).
#[derive(Debug)]
pub struct Edit {
    root: PathBuf,
    dir: PathBuf,
    marker: Marker,
    /// Staged files that are to be made durable.
    written: Vec<PathBuf>,
    /// Past its point of no return, or of no concern any more.
    over: bool,
}

impl Edit {
    /// Makes the change's folder, durably: folders of earlier changes and saves do not come back after this.
    pub fn begin(root: &Path, what: String) -> Result<Edit> {
        let partial = root.join(layout::PARTIAL);
        let dir = partial.join(layout::EDIT);
        if dir.exists() {
            // One that did not get as far as its marker: an error may have kept it from being removed.
            disk::remove_dir_all(&dir)?;
        }
        let guard = EditGuard { what, before: commit::info_checksum(root)?, after: None };
        disk::create_dir_all(&dir)?;
        let marker = Marker { edit: Some(EditGuard { after: guard.before, ..guard }), ..Marker::default() };
        let edit = Edit { root: root.to_owned(), dir, marker, written: Vec::new(), over: false };
        disk::sync_all(&[edit.dir.clone(), partial, root.to_owned()])?;
        Ok(edit)
    }

    /// A place for a new file that becomes `target`, to be filled by the caller; it is made durable by [`Edit::commit`].
    pub fn file(&mut self, target: impl Into<PathBuf>) -> PathBuf {
        let path = self.name(target.into());
        self.written.push(path.clone());
        path
    }

    fn name(&mut self, target: PathBuf) -> PathBuf {
        let name = format!("{:06}", self.marker.renames.len());
        let path = self.dir.join(&name);
        self.marker.renames.push((name, target));
        path
    }

    /// A whole new file. That of info.json is what makes the change count.
    pub fn write(&mut self, target: impl Into<PathBuf>, bytes: &[u8]) -> Result<()> {
        let target = target.into();
        if target == Path::new(layout::INFO)
            && let Some(guard) = &mut self.marker.edit
        {
            guard.after = Some(crc32fast::hash(bytes));
        }
        let path = self.file(target);
        disk::write(&path, bytes)
    }

    /// A file of the data set under another name; the old name stays unless it is removed or overwritten.
    pub fn link(&mut self, from: &Path, target: impl Into<PathBuf>) -> Result<()> {
        let path = self.name(target.into());
        if disk::link(&self.root.join(from), &path)? {
            self.written.push(path);
        }
        Ok(())
    }

    /// A file that goes; one that is not there is fine.
    pub fn remove(&mut self, path: impl Into<PathBuf>) {
        let path = path.into();
        if path == Path::new(layout::INFO)
            && let Some(guard) = &mut self.marker.edit
        {
            guard.after = None;
        }
        self.marker.removals.push(path);
    }

    /// Makes the change. An error before the point of no return leaves the data set as it was; after it ([`Failed::Late`])
    /// the next start completes the change.
    pub fn commit(mut self) -> std::result::Result<(), Failed> {
        self.prepare().map_err(Failed::Early)?;
        self.over = true;
        commit::seal(&self.dir).and_then(|()| commit::apply(&self.root, &self.dir, &self.marker)).map_err(Failed::Late)
    }

    fn prepare(&mut self) -> Result<()> {
        commit::prepare_files(&self.dir, &self.marker, std::mem::take(&mut self.written))
    }

    /// What [`Edit::commit`] does up to and with the point of no return: for tests of what follows a crash.
    #[cfg(test)]
    pub fn seal(mut self) -> Result<(PathBuf, Marker)> {
        self.prepare()?;
        self.over = true;
        commit::seal(&self.dir)?;
        Ok((self.dir.clone(), self.marker.clone()))
    }
}

impl Drop for Edit {
    fn drop(&mut self) {
        if !self.over {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
        // Stays where something else is in it.
        let _ = std::fs::remove_dir(self.root.join(layout::PARTIAL));
    }
}

/// How far a change got that failed.
#[derive(Debug)]
pub enum Failed {
    /// The data set is as it was.
    Early(DatasetError),
    /// The next start completes it.
    Late(DatasetError),
}
