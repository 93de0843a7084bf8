//! `recorder calibrate` and `recorder setup-motors`: arms made ready, once, by a person at a terminal.
//!
//! What is decided is pure (`sweep`, `view`); what is done to servos and file goes through the [`keeper`], so that
//! whoever leaves, at any point, leaves them as they were.

pub mod keeper;
pub mod person;
pub mod save;
pub mod session;
pub mod setup;
pub mod sweep;
pub mod view;

use crate::arm::ArmError;
use crate::arm::calibration::{Calibration, CalibrationError};
use crate::arm::so101::{self, MOTORS, Servos, Settings};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::config::arms::{Side, followers, leaders};
use crate::config::schema::{Robot, Teleop};
use crate::console::screen;
use keeper::{Failure, Keeper};
use person::{Person, Press, Terminal, ask};
use save::Saved;
use session::{Known, Outcome, Session};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use view::View;

/// Calibrate an arm by hand, as LeRobot does, or give its motors a calibration file
///
/// Torque goes off: hold the arm. The motors keep the calibration without power, read back; the file goes where LeRobot looks for
/// it, and one that stood there is kept beside it. Ctrl-C leaves motors and file as they were.
/// Exit code 0: done; 1: the file cannot be written; 2: the command line, the configuration or FILE is wrong; 3: the arm cannot
/// be used; 130: left.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct Arguments {
    /// Which arm of the configuration: follower or leader; of a pair left_follower, right_follower, left_leader or right_leader
    #[arg(long, value_name = "ARM")]
    pub arm: Option<String>,
    /// Give the motors this calibration, without a question
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
}

/// Give ids and baud rate to new motors, one by one, from the gripper to the shoulder
///
/// Exit code 0: done; 2: the command line or the configuration is wrong; 3: the arm cannot be used; 130: left.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct SetupArguments {
    /// Which arm of the configuration: follower or leader; of a pair left_follower, right_follower, left_leader or right_leader
    #[arg(long, value_name = "ARM")]
    pub arm: Option<String>,
}

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    #[error("{0}")]
    Usage(String),
    #[error("--from: {0}")]
    From(CalibrationError),
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl From<ArmError> for CalibrateError {
    fn from(error: ArmError) -> CalibrateError {
        CalibrateError::Failed(error.into())
    }
}

impl CalibrateError {
    pub fn exit_code(&self) -> u8 {
        match self {
            CalibrateError::Usage(_) | CalibrateError::From(_) => 2,
            CalibrateError::Failed(Failure::Save(_)) => 1,
            CalibrateError::Failed(Failure::Left(code)) => *code,
            CalibrateError::Failed(_) => 3,
        }
    }
}

/// What has been done, in words, and the exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub text: String,
    pub code: u8,
}

/// What a person does: keys and signals, and where keys are to be sent.
pub struct Presses {
    pub receiver: Receiver<Press>,
    pub sender: Sender<Press>,
}

/// An arm of the configuration.
struct Target<'a> {
    /// `follower` or `leader`, of a pair with its side: `left_follower`.
    name: String,
    settings: Settings<'a>,
}

impl Target<'_> {
    /// For people: `follower 'f1'`.
    fn title(&self) -> String {
        self.settings.id.map_or(self.name.clone(), |id| format!("{} '{id}'", self.name))
    }
}

/// The arms of a configuration, each as a table of one.
type Arms = (Vec<(Side, Robot)>, Vec<(Side, Teleop)>);

fn arms(config: &Config) -> Arms {
    (followers(&config.robot), leaders(&config.teleop))
}

/// The arms of a configuration that have motors.
fn targets((followers, leaders): &Arms) -> Vec<Target<'_>> {
    let followers = followers.iter().map(|(side, arm)| Target {
        name: format!("{}follower", side.prefix()),
        settings: so101::follower_settings(arm),
    });
    let leaders = leaders
        .iter()
        .map(|(side, arm)| Target { name: format!("{}leader", side.prefix()), settings: so101::leader_settings(arm) });
    followers.chain(leaders).collect()
}

/// `recorder calibrate`.
pub fn calibrate(arguments: &Arguments, config: &Config, presses: &Presses) -> Result<Report, CalibrateError> {
    let arms = arms(config);
    let targets = targets(&arms);
    let named = named(&targets, arguments.arm.as_deref())?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    if let Some(file) = &arguments.from {
        return install(named.ok_or_else(|| unnamed(&targets))?, file, &clock, presses);
    }
    let remedy = "`recorder calibrate --from FILE` writes an existing calibration without one";
    let mut terminal = terminal(presses, remedy)?;
    let target = match named.map_or_else(|| choose(&targets, &mut terminal), Ok) {
        Ok(target) => target,
        Err(code) => return Ok(Report { text: String::new(), code }),
    };
    let (path, known) = look(target)?;
    let servos = open(target, &clock)?;
    let mut keeper = Keeper::new(servos, path)?;
    let session = Session { keeper: &mut keeper, person: &mut terminal, arm: target.title() };
    let outcome = session.run(&known);
    drop(terminal);
    Ok(report(target, outcome?))
}

/// `recorder setup-motors`.
pub fn setup_motors(arguments: &SetupArguments, config: &Config, presses: &Presses) -> Result<Report, CalibrateError> {
    let arms = arms(config);
    let targets = targets(&arms);
    let target = named(&targets, arguments.arm.as_deref())?.ok_or_else(|| unnamed(&targets))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let port = port(target)?;
    let mut terminal = terminal(presses, "motors are connected one by one, which takes a person")?;
    let check = || Servos::open(&target.settings, &clock).map(drop);
    let ended = setup::Setup::new(port, target.title(), &mut terminal).run(&check);
    drop(terminal);
    ended
}

/// The arm of that name, or the only one; none where there are two to choose from.
fn named<'a, 'b>(targets: &'b [Target<'a>], name: Option<&str>) -> Result<Option<&'b Target<'a>>, CalibrateError> {
    let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
    match (name, targets) {
        (_, []) => Err(CalibrateError::Usage(
            "the configuration has no arm with motors: set robot.type, or teleop.type, and the port".into(),
        )),
        (Some(name), _) => targets
            .iter()
            .find(|target| target.name == name)
            .map(Some)
            .ok_or_else(|| CalibrateError::Usage(format!("--arm: expected {}, found {name}", names.join(" or ")))),
        (None, [only]) => Ok(Some(only)),
        (None, _) => Ok(None),
    }
}

fn unnamed(targets: &[Target]) -> CalibrateError {
    let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
    CalibrateError::Usage(format!(
        "the configuration has several arms: say which with --arm {}",
        names.join(" or --arm ")
    ))
}

/// Asks which arm; the exit code when the person leaves.
fn choose<'a, 'b>(targets: &'b [Target<'a>], person: &mut dyn Person) -> Result<&'b Target<'a>, u8> {
    let keys = (1..).zip(targets).map(|(number, target)| format!("{number}: {}", target.name));
    let view = View {
        title: "  Calibrate which arm?".into(),
        table: targets.iter().map(|t| format!("{:<16} {}", t.title(), t.settings.port.unwrap_or("no port"))).collect(),
        keys: keys.chain(["Ctrl-C: leave".into()]).collect::<Vec<_>>().join("   "),
        ..View::default()
    };
    loop {
        match ask(person, &view) {
            Press::Leave(code) => return Err(code),
            Press::Char(char) => {
                let number = char.to_digit(10).and_then(|number| (number as usize).checked_sub(1));
                if let Some(target) = number.and_then(|number| targets.get(number)) {
                    return Ok(target);
                }
            }
            Press::Enter => {}
        }
    }
}

fn terminal<'a>(presses: &'a Presses, remedy: &str) -> Result<Terminal<'a>, CalibrateError> {
    let refused = |why: String| CalibrateError::Usage(format!("{why}; {remedy}"));
    if !screen::is_interactive() {
        let expected = "expected a terminal with a person at it: standard input, standard error and TERM tell of none";
        return Err(refused(expected.into()));
    }
    match Terminal::start(&presses.receiver, presses.sender.clone()) {
        Ok(Some(terminal)) => Ok(terminal),
        Ok(None) => Err(refused("the terminal cannot take keys".into())),
        Err(error) => Err(refused(format!("the terminal cannot be read: {error}"))),
    }
}

/// The port of an arm that is not simulated.
fn port<'a>(target: &Target<'a>) -> Result<&'a str, CalibrateError> {
    let table = target.settings.place.table;
    match target.settings.port()? {
        so101::SIM => Err(CalibrateError::Usage(format!(
            "{table}.port is \"sim\": that arm is calibrated and ends with the program; set the port of a real arm, as /dev/serial/by-id names it"
        ))),
        port => Ok(port),
    }
}

fn open(target: &Target, clock: &Arc<dyn Clock>) -> Result<Servos, CalibrateError> {
    port(target)?;
    Ok(Servos::open(&target.settings, clock)?)
}

/// Where LeRobot looks for the arm's file, and what is there, or where older ones kept it.
fn look(target: &Target) -> Result<(PathBuf, Known), CalibrateError> {
    let Settings { place, id, calibration_dir, .. } = target.settings;
    let known = match place.load(id, calibration_dir, &MOTORS) {
        Ok((calibration, path)) => Known::File(calibration, path),
        Err(CalibrationError::Absent { .. }) => Known::Nothing,
        Err(error @ (CalibrationError::NoId { .. } | CalibrationError::BadId { .. })) => {
            return Err(CalibrateError::Usage(error.to_string()));
        }
        Err(error) => Known::Unusable(error),
    };
    let paths = place.paths(id.unwrap_or_default(), calibration_dir, |name| std::env::var(name).ok());
    let first = paths.into_iter().next().unwrap_or_default();
    Ok((first, known))
}

/// `--from FILE`.
fn install(target: &Target, file: &Path, clock: &Arc<dyn Clock>, presses: &Presses) -> Result<Report, CalibrateError> {
    let calibration = std::fs::read_to_string(file)
        .map_err(|source| CalibrationError::Unreadable { path: file.into(), source })
        .and_then(|text| Calibration::parse(&text, file, &MOTORS))
        .map_err(CalibrateError::From)?;
    let (path, _) = look(target)?;
    let mut keeper = Keeper::new(open(target, clock)?, path)?;
    let left = || match presses.receiver.try_recv() {
        Ok(Press::Leave(code)) => Some(code),
        _ => None,
    };
    match keeper.keep(&calibration, left).map_err(|cause| keeper.restore(cause)) {
        Ok(saved) => Ok(report(target, Outcome::Calibrated(saved))),
        Err(Failure::Left(code)) => Ok(report(target, Outcome::Left(code))),
        Err(failure) => Err(failure.into()),
    }
}

/// An outcome in words.
fn report(target: &Target, outcome: Outcome) -> Report {
    let arm = target.title();
    let (text, code) = match outcome {
        Outcome::Calibrated(Saved { path, unchanged, backup }) => {
            let file = match (unchanged, backup) {
                (true, _) => format!("{} holds it already", path.display()),
                (false, None) => format!("saved to {}", path.display()),
                (false, Some(old)) => format!("saved to {}; the old file is kept as {}", path.display(), old.display()),
            };
            (format!("{arm}: the motors hold the calibration, read back; {file}\n"), 0)
        }
        Outcome::Written(path) => {
            (format!("{arm}: the motors hold the calibration of {}, read back\n", path.display()), 0)
        }
        Outcome::Kept(path) => {
            (format!("{arm}: the motors hold the calibration of {}, as before\n", path.display()), 0)
        }
        Outcome::Left(code) => (format!("{arm}: not calibrated; motors and file hold what they held before\n"), code),
    };
    Report { text, code }
}
