//! What a child process is asked to do: everything that touches a GPU, so that a driver's crash or hang is one line of a
//! report.

use super::self_test::recording::Recording;
use super::self_test::sessions::Sessions;
use super::trial::Trial;
use crate::child;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One part of what `recorder encoders` does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Trial(Trial),
    Sessions(Sessions),
    /// Into this folder.
    Recording(Recording, PathBuf),
}

impl Part {
    /// Runs `PROGRAM encoders --part-in-process …` and waits for its figures; why there are none, in one line.
    pub fn run_in_child<T: DeserializeOwned>(&self, program: &Path, timeout: Duration) -> Result<T, String> {
        let question = serde_json::json!(self).to_string();
        let answer = child::ask(program, &["encoders", "--part-in-process", &question], timeout);
        answer.unwrap_or_else(|no_answer| Err(format!("the process that tried it {no_answer}")))
    }
}

/// The child's side: what it prints.
pub fn run_for_parent(question: &str) -> serde_json::Result<String> {
    child::end_with_parent();
    Ok(match serde_json::from_str(question)? {
        Part::Trial(trial) => child::answer(&trial.run()),
        Part::Sessions(sessions) => child::answer(&sessions.run()),
        Part::Recording(recording, root) => child::answer(&recording.run(&root)),
    })
}
