//! `recorder/run.json`: what a run keeps in its data set's folder, so that a later process can go on with it. What is in
//! it is the run's own matter.

use super::{Dataset, Result, disk, layout};
use std::path::Path;

impl Dataset {
    /// The bytes that were kept last in the folder of a data set, if there are any.
    pub fn run_state(root: &Path) -> Result<Option<Vec<u8>>> {
        let path = root.join(layout::RUN);
        if path.exists() { disk::read(&path).map(Some) } else { Ok(None) }
    }

    /// Keeps bytes durably, in place of those that were there.
    pub fn write_run_state(&mut self, bytes: &[u8]) -> Result<()> {
        disk::write_durably(&self.root.join(layout::RUN), bytes)
    }

    /// Forgets them, durably.
    pub fn remove_run_state(&mut self) -> Result<()> {
        disk::remove_durably(&self.root.join(layout::RUN_UNFINISHED))?;
        disk::remove_durably(&self.root.join(layout::RUN))
    }
}
