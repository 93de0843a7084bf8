//! Arms without a recording: the follower follows its leader, or plays an episode of a data set. No camera is opened,
//! nothing is written.
//!
//! One loop, on the caller's thread, at `dataset.fps`: the follower is read, and the leader at the same time; its values
//! are sent on; then one motor is asked how it is. An arm that is lost ends it: torque-off is tried on every motor that can
//! still be reached, and a person begins anew. To reopen it and go on would move an arm that nobody may expect to move.

mod meters;
mod playback;
pub mod table;

pub use meters::{Doing, Joint, Meters, Talk, Torque};

use crate::arm::replay::Replay;
use crate::arm::{self, ArmError, FIRST_ANSWER, LEADER_SILENT_NS, LONGEST_SILENCE, Reading, Robot, tick_deadline};
use crate::beside::Beside;
use crate::clock::{Clock, Hold, Rank, tick_ns};
use crate::config::arms::followers;
use crate::config::schema::{Teleop, TeleopKind};
use crate::config::validate::problems;
use crate::config::{Config, ConfigError};
use crate::devices::Devices;
use playback::Playback;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Where there is no terminal a line is logged this often.
pub const LINE: Duration = Duration::from_secs(1);

/// Why it could not begin, or go on.
#[derive(Debug, thiserror::Error)]
pub enum TeleoperateError {
    #[error("{0}: expected an arm and what it follows, found none; set robot.type and teleop.type")]
    NoArm(&'static str),
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The episode, on this robot.
    #[error(transparent)]
    Motion(ArmError),
    #[error("no thread for the leader can be started: {0}")]
    Thread(#[from] std::io::Error),
    /// Before anything moved.
    #[error("the {arm} cannot be used: {error}")]
    Unusable { arm: &'static str, error: Box<ArmError> },
    #[error("the {arm} is lost, torque-off was tried on every motor: {error}")]
    Lost { arm: &'static str, error: Box<ArmError> },
}

impl TeleoperateError {
    /// See `cli`.
    pub fn exit_code(&self) -> u8 {
        match self {
            TeleoperateError::NoArm(_) | TeleoperateError::Config(_) => 2,
            TeleoperateError::Motion(_) => 4,
            TeleoperateError::Thread(_) | TeleoperateError::Unusable { .. } | TeleoperateError::Lost { .. } => 3,
        }
    }
}

/// What the robot follows.
pub enum Source {
    /// The leader of the configuration.
    Leader,
    /// A motion, from its first pose to its last one.
    Motion(Replay),
}

/// An episode of a data set on the configuration's robot, whatever it follows otherwise. Moves nothing, and says what will not
/// be as one might expect.
pub fn motion(config: &Config, root: &Path, episode: u64) -> Result<Source, TeleoperateError> {
    let Teleop { max_speed, ramp_s, .. } = config.teleop.clone();
    let (kind, path, episode) = (TeleopKind::Replay, Some(root.to_owned()), Some(episode));
    let teleop = Teleop { kind, path, episode, max_speed, ramp_s, ..Teleop::default() };
    let mut config = Config { teleop, ..config.clone() };
    let problems = problems(&config);
    if !problems.is_empty() {
        return Err(ConfigError::Invalid { path: "recorder replay".into(), problems }.into());
    }
    // It is played as a whole.
    config.dataset.num_episodes = 1;
    config.dataset.episode_time_s = f64::MAX;
    let replay = Replay::load(&config).map_err(TeleoperateError::Motion)?;
    tracing::info!("{}", replay.describe());
    replay.warnings(&config).iter().for_each(|warning| tracing::warn!("{warning}"));
    Ok(Source::Motion(replay))
}

/// Follows until `watch` has seen enough, the clock is stopped, or the motion is over. `watch` sees every tick, and answers
/// whether to go on. However it ends, the arms are let go of as configured, and what cannot be is logged. Answers with what
/// was seen last.
pub fn run(
    config: &Config,
    devices: &Devices,
    clock: &Arc<dyn Clock>,
    source: Source,
    watch: &mut dyn FnMut(&Meters) -> bool,
) -> Result<Meters, TeleoperateError> {
    // Time stands still while arms are opened.
    let opening = clock.hold();
    let unusable = |arm| move |error| TeleoperateError::Unusable { arm, error: Box::new(error) };
    // The leader first: it is limp, and the follower has torque from the moment it is open.
    let leader = match &source {
        Source::Leader => Some((devices.teleop)(&config.teleop, clock).map_err(unusable("leader"))?),
        Source::Motion(_) => None,
    };
    let mut robot = (devices.robot)(&config.robot, clock)
        .map_err(unusable("follower"))?
        .ok_or(TeleoperateError::NoArm("robot.type"))?;
    let first = robot.observe(Instant::now() + FIRST_ANSWER).map_err(unusable("follower"))?;
    let (leader, playback): (Box<dyn arm::Teleop>, _) = match (source, leader.flatten()) {
        (Source::Motion(replay), _) => (Box::new(replay.start(&first.values)), Some(Playback::new(replay))),
        (Source::Leader, Some(leader)) => (leader, None),
        (Source::Leader, None) => return Err(TeleoperateError::NoArm("teleop.type")),
    };
    let meters = Meters::new(&robot.features(), config.dataset.fps, clock.now().mono_ns);
    let beside = Beside::start("leader")?;
    let leader = Arc::new(Mutex::new(leader));
    let approach = Approach::new(if playback.is_some() { 0.0 } else { config.teleop.ramp_s });
    let mut session = Session { config, clock, robot, leader, beside, playback, approach, meters };
    let ended = session.follow(first, watch, opening);
    session.let_go();
    ended.map(|()| session.meters)
}

struct Session<'a> {
    config: &'a Config,
    clock: &'a Arc<dyn Clock>,
    robot: Box<dyn Robot>,
    /// Read on a thread of its own.
    leader: Arc<Mutex<Box<dyn arm::Teleop>>>,
    beside: Beside,
    playback: Option<Playback>,
    approach: Approach,
    meters: Meters,
}

/// When the follower's goals are to approach its leader: at first, and when that was silent.
struct Approach {
    /// The way takes at least so long; a motion has a ramp of its own.
    seconds: f64,
    due: bool,
    silent_since_ns: Option<u64>,
}

impl Approach {
    fn new(seconds: f64) -> Approach {
        Approach { seconds, due: true, silent_since_ns: None }
    }

    /// The leader has spoken or not; how long the next goals' way is to take, where they are to approach it.
    fn hear(&mut self, spoke: bool, now_ns: u64) -> Option<f64> {
        if spoke {
            self.silent_since_ns = None;
            return std::mem::take(&mut self.due).then_some(self.seconds);
        }
        let since = *self.silent_since_ns.get_or_insert(now_ns);
        self.due |= now_ns.saturating_sub(since) >= LEADER_SILENT_NS;
        None
    }
}

impl Session<'_> {
    fn follow(
        &mut self,
        first: Reading,
        watch: &mut dyn FnMut(&Meters) -> bool,
        opening: Hold,
    ) -> Result<(), TeleoperateError> {
        let fps = self.config.dataset.fps;
        let mut sleeper = self.clock.join(Rank::TICKER);
        drop(opening);
        let start_ns = self.clock.now().mono_ns;
        let mut state = Latest::new("follower", first);
        let mut action = Latest::new("leader", Reading::default());
        let mut tick = 0;
        loop {
            tick = self.meters.next_tick(tick, self.clock.now().mono_ns.saturating_sub(start_ns));
            if !sleeper.sleep_until(start_ns + tick_ns(tick, fps)) {
                return Ok(());
            }
            self.tick(tick, &mut state, &mut action)?;
            let now_ns = self.clock.now().mono_ns;
            self.meters.ticked(now_ns, self.playback.as_ref().map_or(Doing::Following, Playback::doing));
            let over = self.playback.as_ref().is_some_and(Playback::is_over);
            if !watch(&self.meters) || over {
                return Ok(());
            }
        }
    }

    /// Reads both arms, sends the leader's values on, and notes what there was.
    fn tick(&mut self, tick: u64, state: &mut Latest, action: &mut Latest) -> Result<(), TeleoperateError> {
        let deadline = tick_deadline(self.clock.as_ref(), self.config.dataset.fps);
        if let Some(playback) = &mut self.playback {
            playback.cue(tick);
        }
        let leader = self.leader.clone();
        let (observed, led) = self
            .beside
            .both(|| timed(|| self.robot.observe(deadline)), move || timed(|| lock(&leader).action_at(tick, deadline)));
        self.meters.talked(Talk::Follower, observed.1);
        self.meters.talked(Talk::Leader, led.1);
        let fresh = led.0.is_ok();
        state.update(observed.0, &mut self.meters)?;
        action.update(led.0, &mut self.meters)?;
        if let Some(seconds) = self.approach.hear(fresh, self.clock.now().mono_ns) {
            self.robot.approach(seconds);
        }
        // Without a word from the leader the follower holds its goal.
        if fresh {
            match self.robot.send(&action.reading.values, deadline) {
                Ok(_) => {}
                Err(error) if error.is_fatal() => {
                    return Err(TeleoperateError::Lost { arm: "follower", error: Box::new(error) });
                }
                Err(error) => self.meters.failed("follower", &error),
            }
            if let Some(playback) = &mut self.playback {
                playback.moved(&action.reading.values);
            }
        }
        self.robot.look_after(deadline);
        let leader = self.leader.clone();
        let mut leader = lock(&leader);
        leader.look_after(deadline);
        self.robot.take_faults().iter().for_each(|fault| self.meters.failed("follower", fault));
        leader.take_faults().iter().for_each(|fault| self.meters.failed("leader", fault));
        self.meters.show(&state.reading, &action.reading, &self.robot.health());
        Ok(())
    }

    fn let_go(&mut self) {
        let wanted = followers(&self.config.robot).iter().all(|(_, arm)| arm.disable_torque_on_disconnect);
        self.meters.torque = match (report("follower", self.robot.shutdown()), wanted) {
            (0, true) => Torque::Off,
            (0, false) => Torque::On,
            _ => Torque::InDoubt,
        };
        report("leader", lock(&self.leader).shutdown());
    }
}

/// The last reading of one arm, and since when it is the last.
struct Latest {
    arm: &'static str,
    reading: Reading,
    answered: Instant,
}

impl Latest {
    fn new(arm: &'static str, reading: Reading) -> Latest {
        Latest { arm, reading, answered: Instant::now() }
    }

    /// Takes a new reading; without one the old one stands, marked. A lost arm is an error.
    fn update(&mut self, read: Result<Reading, ArmError>, meters: &mut Meters) -> Result<(), TeleoperateError> {
        match read {
            Ok(reading) => {
                self.reading = reading;
                self.answered = Instant::now();
            }
            Err(error) if error.is_fatal() || self.answered.elapsed() > LONGEST_SILENCE => {
                return Err(TeleoperateError::Lost { arm: self.arm, error: Box::new(error) });
            }
            Err(error) => {
                meters.failed(self.arm, &error);
                self.reading.reused = (0..self.reading.values.len()).collect();
            }
        }
        Ok(())
    }
}

fn lock(leader: &Mutex<Box<dyn arm::Teleop>>) -> std::sync::MutexGuard<'_, Box<dyn arm::Teleop>> {
    // A leader whose talk has panicked is still to be let go of.
    leader.lock().unwrap_or_else(PoisonError::into_inner)
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let done = work();
    (done, start.elapsed())
}

/// Says what could not be let go of: how many motors.
fn report(arm: &str, errors: Vec<ArmError>) -> usize {
    errors.iter().for_each(|error| tracing::error!("while letting go of the {arm}: {error}"));
    errors.len()
}
