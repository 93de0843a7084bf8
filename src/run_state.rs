//! A run that outlives its process: `recorder/run.json` says what the run wants and where the data set stood when it
//! began, so that the same command, started again after a crash, goes on where it stood.
//!
//! The file is there from before the first take until the run is over: everything recorded, its time up, or ended by the
//! operator. Whatever else ends the process (a kill, a power loss, SIGTERM, SIGHUP, a failure) leaves it. How far the run
//! has come is not in it: the data set itself says so, and cannot disagree with itself.

use crate::config::schema::{Config, OnRestart, RobotKind, TeleopKind};
use crate::dataset::{Dataset, DatasetError};
use crate::run;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// The version of the file's format.
const VERSION: u32 = 1;

/// The content of `recorder/run.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunState {
    version: u32,
    /// When the run was started first.
    pub began_utc_ns: u64,
    /// What `run.until` meant then.
    pub until_utc_ns: Option<u64>,
    /// Episodes of the data set when the run began, those among them that waited to be encoded.
    pub episodes_before: u64,
    /// What makes it this run: see [`command`].
    command: BTreeMap<String, String>,
}

/// The keys that make two starts the same run, with their values. Other keys may change in between: a port that has
/// got another name, a limit, the encoder.
pub fn command(config: &Config) -> BTreeMap<String, String> {
    let Config { robot, teleop, dataset, run, .. } = config;
    let cameras: Vec<String> =
        robot.cameras.iter().map(|(name, camera)| format!("{name} {}x{}", camera.width, camera.height)).collect();
    let optional = |value: Option<String>| value.unwrap_or_else(|| "left out".into());
    [
        ("robot.type", if robot.kind == RobotKind::None { "none".into() } else { format!("{:?}", robot.kind) }),
        ("teleop.type", if teleop.kind == TeleopKind::None { "none".into() } else { format!("{:?}", teleop.kind) }),
        ("robot.cameras", cameras.join(", ")),
        ("dataset.repo_id", dataset.repo_id.clone()),
        ("dataset.single_task", dataset.single_task.clone()),
        ("dataset.fps", dataset.fps.to_string()),
        ("dataset.episode_time_s", dataset.episode_time_s.to_string()),
        ("dataset.num_episodes", dataset.num_episodes.to_string()),
        ("run.until", optional(run.until.clone())),
        ("run.max_hours", optional(run.max_hours.map(|hours| hours.to_string()))),
    ]
    .map(|(key, value)| (key.to_string(), value))
    .into()
}

impl RunState {
    /// A run that begins now, in a data set with so many episodes.
    pub fn new(config: &Config, began_utc_ns: u64, until_utc_ns: Option<u64>, episodes_before: u64) -> RunState {
        RunState { version: VERSION, began_utc_ns, until_utc_ns, episodes_before, command: command(config) }
    }

    /// The bytes of the file.
    pub fn to_json(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    fn parse(bytes: &[u8]) -> Result<RunState, String> {
        let state: RunState = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match state.version {
            VERSION => Ok(state),
            version => Err(format!("format version {version}, known is {VERSION}")),
        }
    }

    /// In which keys a configuration is of another run, in words.
    pub fn differences(&self, config: &Config) -> Vec<String> {
        let now = command(config);
        let keys = now.keys().chain(self.command.keys().filter(|key| !now.contains_key(*key)));
        let value = |values: &BTreeMap<String, String>, key| values.get(key).cloned().unwrap_or_default();
        keys.filter(|key| self.command.get(*key) != now.get(*key))
            .map(|key| format!("{key} was {}, is {}", value(&self.command, key), value(&now, key)))
            .collect()
    }

    /// Episodes of this run in a data set that has so many now.
    pub fn recorded(&self, episodes_now: u64) -> u64 {
        episodes_now.saturating_sub(self.episodes_before)
    }

    /// When the run was started first, for people.
    pub fn began(&self) -> String {
        // To the second.
        Timestamp::from_second((self.began_utc_ns / 1_000_000_000) as i64).map(|at| at.to_string()).unwrap_or_default()
    }
}

/// What an earlier process left of its run.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Left {
    /// No run was interrupted here.
    Nothing,
    /// This one was.
    Same(RunState),
    /// Another one was; what differs.
    Other(Vec<String>),
    /// Something that cannot be read, with the reason.
    Unreadable(String),
}

/// Looks what an earlier process left of its run in the data set's folder. Changes nothing.
fn left(root: &Path, config: &Config) -> Result<Left, DatasetError> {
    let Some(bytes) = Dataset::run_state(root)? else { return Ok(Left::Nothing) };
    Ok(match RunState::parse(&bytes) {
        Err(reason) => Left::Unreadable(reason),
        Ok(state) => match state.differences(config) {
            differences if differences.is_empty() => Left::Same(state),
            differences => Left::Other(differences),
        },
    })
}

/// The run that the next start goes on with, if there is one; else what is to be said of the one that was interrupted.
pub fn find(config: &Config) -> Result<(Option<RunState>, Option<String>), DatasetError> {
    let continues = config.run.on_restart == OnRestart::Continue;
    Ok(match left(&run::root(config), config)? {
        Left::Same(state) if continues => (Some(state), None),
        Left::Other(differences) if continues => {
            let differences = differences.join("; ");
            let line = format!("a run was interrupted here, and this is another one: {differences}; a new run begins");
            (None, Some(line))
        }
        Left::Unreadable(reason) => {
            let line = format!("recorder/run.json of an interrupted run cannot be read ({reason}); a new run begins");
            (None, Some(line))
        }
        Left::Nothing | Left::Same(_) | Left::Other(_) => (None, None),
    })
}

/// A data set opened for a run that begins or goes on.
#[derive(Debug)]
pub struct Opened {
    pub dataset: Dataset,
    pub state: RunState,
    /// Episodes that the run has already.
    pub recorded: u64,
    /// An earlier process began the run.
    pub goes_on: bool,
}

impl Opened {
    /// For a run that goes on: where it stands, in words.
    pub fn describe(&self) -> Option<String> {
        let (recorded, wanted) = (self.recorded, self.state.command.get("dataset.num_episodes")?);
        self.goes_on.then(|| {
            format!(
                "goes on with the run of {} that was interrupted: {recorded} of {wanted} episodes are recorded (run.on_restart = \"new\" begins another)",
                self.state.began()
            )
        })
    }
}

/// Opens the data set for the run that was found ([`find`]), else for a new one, and makes its state durable.
/// `until_utc_ns` is what `run.until` means for a run that begins at `now_utc_ns`.
pub fn open(
    config: &Config,
    begun: Option<RunState>,
    now_utc_ns: u64,
    until_utc_ns: Option<u64>,
) -> Result<Opened, DatasetError> {
    let mut dataset = match &begun {
        None => run::open_dataset(config)?,
        Some(_) => run::reopen_dataset(config)?,
    };
    let episodes = dataset.episodes() + dataset.waiting().len() as u64;
    let goes_on = begun.is_some();
    let state = begun.unwrap_or_else(|| RunState::new(config, now_utc_ns, until_utc_ns, episodes));
    let recorded = state.recorded(episodes);
    if !goes_on {
        dataset.write_run_state(&state.to_json())?;
    }
    Ok(Opened { dataset, state, recorded, goes_on })
}

/// Whether a run is over when its parts have stopped, or is to be continued by the next start.
#[derive(Debug, Default)]
pub struct Ending {
    /// Everything was recorded, or the operator or the schedule ended it.
    over: AtomicBool,
    /// A signal of the system ended the process.
    interrupted: AtomicBool,
    /// An earlier process began the run: that nothing could be opened now does not end it.
    pub goes_on: AtomicBool,
}

impl Ending {
    /// The process ends by a signal that does not end the run: SIGTERM, SIGHUP.
    pub fn interrupt(&self) {
        self.interrupted.store(true, Ordering::SeqCst);
    }

    /// The operator has ended the run.
    pub fn end(&self) {
        self.interrupted.store(false, Ordering::SeqCst);
        self.over.store(true, Ordering::SeqCst);
    }

    /// The process ends as it should; that is the run's end too, unless a signal is the reason.
    pub fn end_unless_interrupted(&self) {
        if !self.interrupted.load(Ordering::SeqCst) {
            self.end();
        }
    }

    /// No device could be opened: a run that had not begun before never did.
    pub fn end_unless_begun(&self) {
        if !self.goes_on.load(Ordering::SeqCst) {
            self.end();
        }
    }

    /// The next start has nothing to go on with.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const TEXT: &str = "[robot.cameras.front]\ntype = \"synthetic\"\nwidth = 64\nheight = 48\n[dataset]\nrepo_id = \"lab/set\"\nsingle_task = \"Pick\"\nnum_episodes = 5\n";

    fn with(root: &Path, overrides: &[(&str, &str)]) -> Config {
        let root = root.display().to_string();
        let all = [&[("dataset.root", root.as_str())], overrides].concat();
        let all: Vec<_> = all
            .iter()
            .map(|(key, value)| config::Override { key: key.to_string(), value: value.to_string() })
            .collect();
        config::parse("test", TEXT, &all).unwrap()
    }

    #[test]
    fn the_same_run_is_told_by_the_keys_that_make_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = RunState::new(&with(dir.path(), &[]), 1, None, 3);
        assert_eq!(RunState::parse(&state.to_json()), Ok(state.clone()));
        for (key, value, same) in [
            ("dataset.resume", "true", true),
            ("dataset.encoder.quality", "30", true),
            ("dataset.reset_time_s", "1", true),
            ("limits.min_free_gib", "2", true),
            ("run.on_low_disk", "pause", true),
            ("robot.cameras.front.type", "file", true),
            ("dataset.num_episodes", "6", false),
            ("dataset.single_task", "Place", false),
            ("dataset.episode_time_s", "30", false),
            ("run.until", "06:30", false),
            ("run.max_hours", "8", false),
            ("robot.cameras.front.width", "128", false),
        ] {
            let more = [(key, value), ("robot.cameras.front.index_or_path", "a.mjpeg")];
            let differences = state.differences(&with(dir.path(), &more));
            assert_eq!(differences.is_empty(), same, "{key}: {differences:?}");
        }
        let differences = state.differences(&with(dir.path(), &[("dataset.num_episodes", "20")]));
        assert_eq!(differences, ["dataset.num_episodes was 5, is 20"]);
        assert_eq!((state.recorded(3), state.recorded(5), state.recorded(1)), (0, 2, 0));
    }

    #[test]
    fn what_was_left_is_gone_on_with_or_said() {
        let dir = tempfile::tempdir().unwrap();
        let at = |overrides: &[(&str, &str)], now: u64, until| {
            let config = with(dir.path(), overrides);
            let (begun, said) = find(&config).unwrap();
            (open(&config, begun, now * 1_000_000_000, until).unwrap(), said.unwrap_or_default())
        };
        let (first, said) = at(&[], 1, Some(9));
        assert!(!first.goes_on && said.is_empty() && first.describe().is_none() && first.recorded == 0, "{first:?}");
        drop(first);
        let (again, said) = at(&[("dataset.resume", "true")], 2, None);
        assert!(again.goes_on && said.is_empty() && again.describe().unwrap().contains("0 of 5 episodes"), "{again:?}");
        assert_eq!((again.state.began_utc_ns, again.state.until_utc_ns), (1_000_000_000, Some(9)));
        assert_eq!(again.state.began(), "1970-01-01T00:00:01Z");
        drop(again);
        let (other, said) = at(&[("dataset.num_episodes", "6")], 3, None);
        assert!(!other.goes_on && said.contains("num_episodes was 5, is 6"), "{said}");
        drop(other);
        let (new, said) = at(&[("dataset.num_episodes", "6"), ("run.on_restart", "new")], 4, None);
        assert!(!new.goes_on && said.is_empty() && new.state.began_utc_ns == 4_000_000_000, "{new:?}");
        drop(new);
        for bytes in ["", "{", "{\"version\": 2}", "[]"] {
            std::fs::write(dir.path().join("recorder/run.json"), bytes).unwrap();
            let (found, said) = at(&[], 5, None);
            assert!(!found.goes_on && said.contains("cannot be read"), "{bytes}: {said}");
        }
        let mut last = at(&[], 6, None).0.dataset;
        last.remove_run_state().unwrap();
        last.close();
        let left = |path: &str| std::fs::read_dir(dir.path().join(path)).unwrap().count();
        assert_eq!((left(""), left("recorder")), (1, 0), "the folder was there before");
    }

    #[test]
    fn what_ends_a_run_and_what_only_its_process() {
        let check = |steps: &[fn(&Ending)], over: bool| {
            let ending = Ending::default();
            steps.iter().for_each(|step| step(&ending));
            assert_eq!(ending.is_over(), over);
        };
        check(&[], false);
        check(&[Ending::end_unless_interrupted], true);
        check(&[Ending::interrupt, Ending::end_unless_interrupted], false);
        check(&[Ending::end, Ending::end_unless_interrupted], true);
        // All is recorded all the same: see the coordinator.
        check(&[Ending::interrupt, Ending::end], true);
        check(&[Ending::end_unless_begun], true);
        check(&[|e| e.goes_on.store(true, Ordering::SeqCst), Ending::end_unless_begun], false);
    }
}
