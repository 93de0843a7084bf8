//! What became of what a crash left, for people and programs. Pure.

use serde::Serialize;
use std::path::PathBuf;

/// What was found and done when a data set was opened or recovered.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Recovery {
    /// Episodes whose interrupted save was completed.
    pub completed: Vec<u64>,
    /// Interrupted changes of saved episodes that were completed, in words.
    pub edited: Vec<String>,
    /// Takes that were interrupted and could be read.
    pub takes: Vec<RecoveredTake>,
    /// Folders that no episode can be made of, moved aside.
    pub orphans: Vec<Orphan>,
    /// Takes that are recorded and wait to be encoded.
    pub waiting: Vec<u64>,
}

/// A take that was interrupted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RecoveredTake {
    pub take: u64,
    /// Rows that were whole, from the first one on.
    pub rows: u64,
    /// The same as time.
    pub seconds: f64,
    /// Rows after them that are known to have been recorded.
    pub rows_lost: u64,
    /// The same as time.
    pub seconds_lost: f64,
    /// What ended the part that is whole, where more had been recorded.
    pub reason: Option<String>,
    /// The take had all its rows, and was to be saved.
    pub ended: bool,
    pub fate: Fate,
}

/// What became of a take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    Episode(u64),
    /// It waits to be encoded.
    Waiting,
    /// Removed, since `on_crash = "discard"`.
    Discarded,
    /// Removed: it was shorter than a second, and no row had the frames of all cameras.
    Nothing,
}

/// A folder that is kept aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Orphan {
    pub path: PathBuf,
    /// Why no episode can be made of it.
    pub reason: String,
}

impl Recovery {
    /// True when something that was recorded is in no episode and does not wait to be in one.
    pub fn has_lost(&self) -> bool {
        !self.orphans.is_empty() || self.takes.iter().any(RecoveredTake::has_lost)
    }

    /// In words, a line each; right before and after it is done.
    pub fn describe(&self) -> Vec<String> {
        let completed = self.completed.iter().map(|episode| {
            format!("episode {episode} was being saved when the last run was interrupted: its save is completed")
        });
        let edited = self.edited.iter().map(|what| format!("a change was interrupted ({what}): it is completed"));
        let takes = self.takes.iter().map(RecoveredTake::describe);
        let orphans = self.orphans.iter().map(|Orphan { path, reason }| {
            format!(
                "a take was interrupted and cannot be made an episode: {reason}; it is kept aside in {}",
                path.display()
            )
        });
        let recovered = |take: &u64| self.takes.iter().any(|t| t.take == *take && t.fate == Fate::Waiting);
        let waiting = self.waiting.iter().filter(|take| !recovered(take));
        let waiting = waiting.map(|take| format!("take {take} was recorded by an earlier run and waits to be encoded"));
        completed.chain(edited).chain(takes).chain(orphans).chain(waiting).collect()
    }
}

impl RecoveredTake {
    fn has_lost(&self) -> bool {
        let removed = matches!(self.fate, Fate::Discarded | Fate::Nothing) && self.rows > 0;
        removed || self.rows_lost > 0 || self.reason.is_some()
    }

    fn describe(&self) -> String {
        let RecoveredTake { take, rows, seconds, rows_lost, seconds_lost, ended, .. } = self;
        let kept = format!("{rows} rows ({seconds:.1} s)");
        let interrupted = if *ended { "had ended and was not saved yet" } else { "was interrupted" };
        let mut text = format!("take {take} {interrupted}: ");
        text += &match self.fate {
            Fate::Episode(episode) => format!("its {kept} become episode {episode}"),
            Fate::Waiting => format!("its {kept} wait to be encoded"),
            Fate::Discarded => format!("its {kept} are removed (on_crash = \"discard\")"),
            Fate::Nothing => "it is removed, since no row has the frames of all cameras".into(),
        };
        if *rows_lost > 0 {
            let last = rows + rows_lost - 1;
            text += &format!("; rows {rows} to {last} ({seconds_lost:.1} s) are lost");
        } else if self.reason.is_some() {
            text += "; what came after is lost";
        }
        if let Some(reason) = &self.reason {
            text += &format!(": {reason}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_said() {
        let take = RecoveredTake {
            take: 3,
            rows: 45,
            seconds: 1.5,
            rows_lost: 0,
            seconds_lost: 0.0,
            reason: None,
            ended: true,
            fate: Fate::Episode(7),
        };
        let lost = |rows_lost, seconds_lost| RecoveredTake {
            rows_lost,
            seconds_lost,
            reason: Some("why".into()),
            ended: false,
            ..take.clone()
        };
        for (take, expected, has_lost) in [
            (take.clone(), "take 3 had ended and was not saved yet: its 45 rows (1.5 s) become episode 7", false),
            (
                RecoveredTake { ended: false, fate: Fate::Waiting, ..take.clone() },
                "take 3 was interrupted: its 45 rows (1.5 s) wait to be encoded",
                false,
            ),
            (
                lost(5, 0.17),
                "take 3 was interrupted: its 45 rows (1.5 s) become episode 7; rows 45 to 49 (0.2 s) are lost: why",
                true,
            ),
            (
                lost(0, 0.0),
                "take 3 was interrupted: its 45 rows (1.5 s) become episode 7; what came after is lost: why",
                true,
            ),
            (
                RecoveredTake { fate: Fate::Discarded, ..take },
                "take 3 had ended and was not saved yet: its 45 rows (1.5 s) are removed (on_crash = \"discard\")",
                true,
            ),
        ] {
            let recovery = Recovery { takes: vec![take], ..Recovery::default() };
            assert_eq!(recovery.describe(), [expected]);
            assert_eq!(recovery.has_lost(), has_lost);
        }
        let orphan = Orphan { path: "x".into(), reason: "why".into() };
        let recovery = Recovery { orphans: vec![orphan], completed: vec![1], waiting: vec![2], ..Recovery::default() };
        assert!(recovery.has_lost());
        assert_eq!(recovery.describe().len(), 3);
        assert!(!Recovery { completed: vec![1], waiting: vec![2], ..Recovery::default() }.has_lost());
    }
}
