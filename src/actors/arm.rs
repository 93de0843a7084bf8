//! The robot arm: a thread for the follower's bus and one for the leader's, each blocking on its port.
//!
//! At a tick both read; the leader's value goes to the follower's thread, which sends it on as the goal. The two buses
//! talk at the same time, and a silent leader does not keep the follower from being observed.

use super::coordinator::CoordinatorMessage;
use super::recorder::RecorderMessage;
use super::ticker::Tick;
use super::worker::{Lost, Worker, or_panic};
use crate::arm::replay::Replay;
use crate::arm::{ArmError, LONGEST_SILENCE, Reading, Robot, Teleop};
use crate::clock::{Clock, Hold, Stamp, period};
use crate::config::Config;
use crate::devices::Devices;
use crate::metrics;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A tick for a thread that talks to an arm. Simulated time stands still until `hold` is dropped.
#[derive(Debug)]
pub struct ArmTick {
    pub tick: Tick,
    pub hold: Hold,
}

/// What was read from, and sent to, the arm at one tick.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    pub tick: u64,
    /// When the state was read.
    pub sampled: Stamp,
    pub state: Vec<f32>,
    pub action: Vec<f32>,
    /// The goal really sent, after limits; empty when none was.
    pub goal_sent: Vec<f32>,
    /// The state is the last one: the follower did not answer in time.
    pub state_reused: bool,
    /// The action is the last one: the leader did not answer in time.
    pub action_reused: bool,
    /// Kinds of the failed talks of this tick.
    pub errors: Vec<&'static str>,
    /// What servos say of themselves, in words, by kind.
    pub faults: BTreeMap<&'static str, String>,
}

/// What the arm hears, all of it from its own threads.
#[derive(Debug)]
pub enum ArmMessage {
    /// An arm cannot be opened or is lost: its thread has ended.
    Ended(Lost),
}

/// Where the ticker reaches the threads that run now; they change when the arm is restarted.
#[derive(Clone, Debug, Default)]
pub struct ArmTicks(Arc<Mutex<Vec<SyncSender<ArmTick>>>>);

impl ArmTicks {
    /// Tells every thread; one that is still busy with the last tick misses this one, and the row says so.
    pub fn send(&self, tick: Tick, clock: &dyn Clock) {
        let senders = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for sender in senders.iter() {
            let _ = sender.try_send(ArmTick { tick, hold: clock.hold() });
        }
    }

    fn replace(&self, senders: Vec<SyncSender<ArmTick>>) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = senders;
    }
}

/// What the arm is born with.
#[derive(Clone)]
pub struct ArmArguments {
    pub config: Arc<Config>,
    pub devices: Devices,
    /// Moves the arm instead of a leader.
    pub replay: Option<Replay>,
    pub clock: Arc<dyn Clock>,
    pub ticks: ArmTicks,
    pub coordinator: ActorRef<CoordinatorMessage>,
    pub recorder: ActorRef<RecorderMessage>,
}

/// The actor; see [`ArmMessage`].
pub struct ArmActor;

/// How often a thread looks whether it should stop.
const POLL: Duration = Duration::from_millis(100);
/// The first answer of an arm that is connected and has to do nothing else may take so long.
const FIRST_ANSWER: Duration = Duration::from_secs(5);
/// What of a tick's period the talk with an arm may take.
const SHARE_OF_PERIOD: f64 = 0.9;
/// In simulated time nothing is missed, and a loaded machine must not change the result.
const SIMULATED_DEADLINE: Duration = Duration::from_secs(60);

impl Actor for ArmActor {
    type Msg = ArmMessage;
    type State = Vec<Worker>;
    type Arguments = ArmArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<ArmMessage>,
        arguments: ArmArguments,
    ) -> Result<Vec<Worker>, ActorProcessingErr> {
        // The ports are opened on the threads: what fails here would not reach the supervisor as a failure.
        let (leader_ticks, leader_rx) = sync_channel(1);
        let (follower_ticks, follower_rx) = sync_channel(1);
        // One action for each tick; the follower passes over those it missed, so a few are enough.
        let (actions, actions_rx) = sync_channel(4);
        // A replay starts from where the follower is.
        let (present, present_rx) = sync_channel(1);
        arguments.ticks.replace(vec![leader_ticks, follower_ticks]);
        let (a, b) = (arguments.clone(), arguments);
        let (me, myself) = (myself.clone(), myself);
        let leader = Worker::spawn("leader", move |stop| {
            let panicked = |words| Lost::new(ArmError::Panicked { arm: "leader", words }, a.clock.as_ref());
            if let Err(lost) = or_panic(|| lead(&a, stop, &leader_rx, &actions, &present_rx), panicked) {
                let _ = me.cast(ArmMessage::Ended(lost));
            }
        })?;
        let follower = Worker::spawn("follower", move |stop| {
            let panicked = |words| Lost::new(ArmError::Panicked { arm: "follower", words }, b.clock.as_ref());
            if let Err(lost) = or_panic(|| follow(&b, stop, &follower_rx, &actions_rx, &present), panicked) {
                let _ = myself.cast(ArmMessage::Ended(lost));
            }
        })?;
        Ok(vec![leader, follower])
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<ArmMessage>,
        workers: &mut Vec<Worker>,
    ) -> Result<(), ActorProcessingErr> {
        for worker in workers {
            worker.stop().await;
        }
        Ok(())
    }

    async fn handle(
        &self,
        _myself: ActorRef<ArmMessage>,
        message: ArmMessage,
        workers: &mut Vec<Worker>,
    ) -> Result<(), ActorProcessingErr> {
        let ArmMessage::Ended(lost) = message;
        for worker in workers {
            worker.stop().await;
        }
        Err(Box::new(lost))
    }
}

/// The action of one tick, from the leader's thread to the follower's.
struct Action {
    tick: u64,
    read: Result<Vec<f32>, &'static str>,
    /// Some of the values are older than this tick.
    reused: bool,
}

/// The last value of one arm, and since when it is the last.
struct Latest {
    arm: &'static str,
    values: Vec<f32>,
    /// Some of the values are older than the last reading.
    reused: bool,
    answered: Instant,
}

impl Latest {
    fn new(arm: &'static str, first: Reading) -> Latest {
        Latest { arm, values: first.values, reused: false, answered: Instant::now() }
    }

    /// Takes a new value, or answers with the kind of the failure: the old one is used again. A lost arm is an error.
    fn update(&mut self, read: Result<Reading, ArmError>) -> Result<Option<&'static str>, ArmError> {
        self.reused = !read.as_ref().is_ok_and(|reading| reading.reused.is_empty());
        match read {
            Ok(reading) => {
                self.values = reading.values;
                self.answered = Instant::now();
                Ok(None)
            }
            Err(error) if error.is_fatal() || self.answered.elapsed() > LONGEST_SILENCE => Err(error),
            Err(error) => Ok(Some(count(self.arm, &error))),
        }
    }
}

/// An arm is gone, or cannot be had: counted as all that goes wrong with it.
fn lost(arguments: &ArmArguments, arm: &'static str, error: ArmError) -> Lost {
    count(arm, &error);
    Lost::new(error, arguments.clock.as_ref())
}

fn count(arm: &'static str, error: &ArmError) -> &'static str {
    tracing::debug!("{arm}: {error}");
    ::metrics::counter!(metrics::ARM_ERRORS, "arm" => arm, "kind" => error.kind()).increment(1);
    error.kind()
}

fn deadline(arguments: &ArmArguments) -> Instant {
    let time = if arguments.clock.is_simulated() {
        SIMULATED_DEADLINE
    } else {
        period(arguments.config.dataset.fps).mul_f64(SHARE_OF_PERIOD)
    };
    Instant::now() + time
}

/// The next tick, or whatever comes; `None` when the thread should end.
fn next<T>(receiver: &Receiver<T>, stop: &AtomicBool) -> Option<T> {
    while !stop.load(Ordering::Relaxed) {
        match receiver.recv_timeout(POLL) {
            Ok(next) => return Some(next),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
    None
}

fn lead(
    arguments: &ArmArguments,
    stop: &AtomicBool,
    ticks: &Receiver<ArmTick>,
    actions: &SyncSender<Action>,
    present: &Receiver<Vec<f32>>,
) -> Result<(), Lost> {
    let opened = match &arguments.replay {
        Some(replay) => next(present, stop).map(|present| Box::new(replay.start(&present)) as Box<dyn Teleop>),
        None => (arguments.devices.teleop)(&arguments.config.teleop, &arguments.clock)
            .map_err(|error| lost(arguments, "leader", error))?,
    };
    let Some(mut leader) = opened else { return Ok(()) };
    let result = lead_until_stopped(arguments, stop, ticks, actions, leader.as_mut());
    let errors = leader.shutdown();
    report("leader", errors, leader.take_faults());
    result
}

fn lead_until_stopped(
    arguments: &ArmArguments,
    stop: &AtomicBool,
    ticks: &Receiver<ArmTick>,
    actions: &SyncSender<Action>,
    leader: &mut dyn Teleop,
) -> Result<(), Lost> {
    let lost = |error| lost(arguments, "leader", error);
    let first = leader.action(Instant::now() + FIRST_ANSWER).map_err(lost)?;
    let _ = arguments.recorder.cast(RecorderMessage::ArmReady);
    let mut latest = Latest::new("leader", first);
    let duration = ::metrics::histogram!(metrics::ARM_TRANSACTION, "arm" => "leader");
    while let Some(ArmTick { tick, hold }) = next(ticks, stop) {
        let start = Instant::now();
        let failed = latest.update(leader.action_at(tick.number, deadline(arguments))).map_err(lost)?;
        let read = failed.map_or_else(|| Ok(latest.values.clone()), Err);
        let _ = actions.try_send(Action { tick: tick.number, read, reused: latest.reused });
        duration.record(start.elapsed().as_secs_f64());
        for fault in leader.take_faults() {
            count("leader", &fault);
        }
        drop(hold);
    }
    Ok(())
}

fn follow(
    arguments: &ArmArguments,
    stop: &AtomicBool,
    ticks: &Receiver<ArmTick>,
    actions: &Receiver<Action>,
    present: &SyncSender<Vec<f32>>,
) -> Result<(), Lost> {
    let opened = (arguments.devices.robot)(&arguments.config.robot, &arguments.clock)
        .map_err(|error| lost(arguments, "follower", error))?;
    let Some(mut robot) = opened else { return Ok(()) };
    let result = follow_until_stopped(arguments, stop, ticks, (actions, present), robot.as_mut());
    let errors = robot.shutdown();
    report("follower", errors, robot.take_faults());
    result
}

fn follow_until_stopped(
    arguments: &ArmArguments,
    stop: &AtomicBool,
    ticks: &Receiver<ArmTick>,
    (actions, present): (&Receiver<Action>, &SyncSender<Vec<f32>>),
    robot: &mut dyn Robot,
) -> Result<(), Lost> {
    let lost = |error| lost(arguments, "follower", error);
    let first = robot.observe(Instant::now() + FIRST_ANSWER).map_err(lost)?;
    let _ = present.try_send(first.values.clone());
    let _ = arguments.recorder.cast(RecorderMessage::ArmReady);
    let mut state = Latest::new("follower", first);
    let mut action: Option<Vec<f32>> = None;
    let duration = ::metrics::histogram!(metrics::ARM_TRANSACTION, "arm" => "follower");
    while let Some(ArmTick { tick, hold }) = next(ticks, stop) {
        let start = Instant::now();
        let deadline = deadline(arguments);
        let mut errors: Vec<&'static str> = state.update(robot.observe(deadline)).map_err(lost)?.into_iter().collect();
        let state_reused = state.reused;
        let sampled = arguments.clock.now();
        let mut goal_sent = Vec::new();
        let action_reused;
        match next_action(actions, tick.number, deadline) {
            Some(Action { read: Ok(values), reused, .. }) => {
                action_reused = reused;
                match robot.send(&values, deadline) {
                    Ok(sent) => goal_sent = sent,
                    Err(error) if error.is_fatal() => return Err(lost(error)),
                    Err(error) => errors.push(count("follower", &error)),
                }
                action = Some(values);
            }
            // Without a word from the leader the follower holds its goal, and the row says so.
            silent => {
                action_reused = true;
                errors.extend(silent.and_then(|action| action.read.err()));
            }
        }
        duration.record(start.elapsed().as_secs_f64());
        let failed = robot.take_faults();
        errors.extend(failed.iter().map(|fault| count("follower", fault)));
        let faults = failed.iter().filter(|fault| matches!(fault, ArmError::Servo { .. }));
        let faults = faults.map(|fault| (fault.kind(), fault.to_string())).collect();
        // Before the leader's first word there is no action, and no row can be made.
        if let Some(action) = &action {
            let (state, action) = (state.values.clone(), action.clone());
            let tick = tick.number;
            let sample =
                Sample { tick, sampled, state, action, goal_sent, state_reused, action_reused, errors, faults };
            let _ = arguments.coordinator.cast(CoordinatorMessage::Sample(sample));
        }
        drop(hold);
    }
    Ok(())
}

/// The leader's action of this tick, waiting for it until the deadline; an older one is passed over.
fn next_action(actions: &Receiver<Action>, tick: u64, deadline: Instant) -> Option<Action> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match actions.recv_timeout(left) {
            Ok(action) if action.tick >= tick => return Some(action),
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}

/// What went wrong at the very end, and what was not taken before.
fn report(arm: &'static str, errors: Vec<ArmError>, faults: Vec<ArmError>) {
    for error in &errors {
        tracing::error!("while letting go of the arm: {error}");
    }
    for error in errors.iter().chain(&faults) {
        count(arm, error);
    }
}
