//! The robot arm and the leader that it follows: an actor each, with a thread that blocks on its bus.
//!
//! At a tick both read; the leader's value goes to the follower's thread, which sends it on as the goal. The two buses
//! talk at the same time. Each of the two is lost and opened again without the other: without its leader the follower
//! holds its goal, with torque on, and is observed as ever.

mod follower;
mod leader;
mod link;
mod motors;

pub use link::Link;

use super::coordinator::CoordinatorMessage;
use super::recorder::RecorderMessage;
use super::ticker::Tick;
use super::worker::{Lost, Worker, or_panic};
use crate::arm::let_go::Connected;
use crate::arm::replay::Replay;
use crate::arm::{ArmError, FIRST_ANSWER, LONGEST_SILENCE, Reading, tick_deadline};
use crate::clock::{Clock, Hold, Stamp};
use crate::config::Config;
use crate::devices::Devices;
use crate::events::Event;
use crate::metrics;
use crate::restart::Device;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Which of the two arms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The robot: observed, and moved to goals.
    Follower,
    /// What it follows.
    Leader,
}

impl Role {
    pub const BOTH: [Role; 2] = [Role::Follower, Role::Leader];

    /// In metrics and errors.
    pub fn name(self) -> &'static str {
        match self {
            Role::Follower => "follower",
            Role::Leader => "leader",
        }
    }

    /// What is restarted when it is lost.
    pub fn device(self) -> Device {
        match self {
            Role::Follower => Device::Arm,
            Role::Leader => Device::Leader,
        }
    }
}

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
    /// The action is the last one: the leader did not answer in time, or is away.
    pub action_reused: bool,
    /// Why the leader is away, if it is.
    pub leader_away: Option<Arc<str>>,
    /// Kinds of the failed talks of this tick.
    pub errors: Vec<&'static str>,
}

/// What an arm hears, all of it from its own thread.
#[derive(Debug)]
pub enum ArmMessage {
    /// It cannot be opened or is lost: its thread has ended.
    Ended(Lost),
}

/// Where the ticker reaches the threads that run now; they change when an arm is restarted.
#[derive(Clone, Debug, Default)]
pub struct ArmTicks(Arc<Mutex<[Option<SyncSender<ArmTick>>; 2]>>);

impl ArmTicks {
    /// Tells both threads; one that is still busy with the last tick misses this one, and the row says so.
    pub fn send(&self, tick: Tick, clock: &dyn Clock) {
        let senders = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for sender in senders.iter().flatten() {
            let _ = sender.try_send(ArmTick { tick, hold: clock.hold() });
        }
    }

    fn replace(&self, role: Role, sender: SyncSender<ArmTick>) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)[role as usize] = Some(sender);
    }
}

/// What both arms are born with.
#[derive(Clone)]
pub struct ArmArguments {
    pub config: Arc<Config>,
    pub devices: Devices,
    /// Moves the arm instead of a leader.
    pub replay: Option<Replay>,
    pub clock: Arc<dyn Clock>,
    pub ticks: ArmTicks,
    /// Between the two.
    pub link: Arc<Link>,
    pub coordinator: ActorRef<CoordinatorMessage>,
    pub recorder: ActorRef<RecorderMessage>,
}

/// The actor; see [`ArmMessage`].
pub struct ArmActor;

/// How often a thread looks whether it should stop.
const POLL: Duration = Duration::from_millis(100);

impl Actor for ArmActor {
    type Msg = ArmMessage;
    type State = Worker;
    type Arguments = (Role, ArmArguments);

    async fn pre_start(
        &self,
        myself: ActorRef<ArmMessage>,
        (role, arguments): (Role, ArmArguments),
    ) -> Result<Worker, ActorProcessingErr> {
        // The port is opened on the thread: what fails here would not reach the supervisor as a failure.
        let (sender, ticks) = sync_channel(1);
        arguments.ticks.replace(role, sender);
        Ok(Worker::spawn(role.name(), move |stop| {
            // The process does not end before the arm is let go of.
            let _connected = Connected::new();
            let panicked = |words| Lost::new(ArmError::Panicked { arm: role.name(), words }, arguments.clock.as_ref());
            let ended = or_panic(
                || match role {
                    Role::Follower => follower::run(&arguments, stop, &ticks),
                    Role::Leader => leader::run(&arguments, stop, &ticks),
                },
                panicked,
            );
            let reason = ended.as_ref().err().map_or("stopped", |lost| &lost.reason);
            match role {
                Role::Follower => arguments.link.follower_left(),
                Role::Leader => arguments.link.leader_left(reason),
            }
            if let Err(lost) = ended {
                let _ = myself.cast(ArmMessage::Ended(lost));
            }
        })?)
    }

    async fn post_stop(&self, _myself: ActorRef<ArmMessage>, worker: &mut Worker) -> Result<(), ActorProcessingErr> {
        worker.stop().await;
        Ok(())
    }

    async fn handle(
        &self,
        _myself: ActorRef<ArmMessage>,
        message: ArmMessage,
        worker: &mut Worker,
    ) -> Result<(), ActorProcessingErr> {
        let ArmMessage::Ended(lost) = message;
        worker.stop().await;
        Err(Box::new(lost))
    }
}

/// The last value of one arm, and since when it is the last.
struct Latest {
    role: Role,
    values: Vec<f32>,
    /// Some of the values are older than the last reading.
    reused: bool,
    answered: Instant,
}

impl Latest {
    fn new(role: Role, first: Reading) -> Latest {
        Latest { role, values: first.values, reused: false, answered: Instant::now() }
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
            Err(error) => Ok(Some(count(self.role, &error))),
        }
    }
}

/// An arm is gone, or cannot be had: counted as all that goes wrong with it.
fn lost(arguments: &ArmArguments, role: Role, error: ArmError) -> Lost {
    count(role, &error);
    Lost::new(error, arguments.clock.as_ref())
}

fn count(role: Role, error: &ArmError) -> &'static str {
    let (arm, kind) = (role.name(), error.kind());
    tracing::debug!("{arm}: {error}");
    ::metrics::counter!(metrics::ARM_ERRORS, "arm" => arm, "kind" => kind).increment(1);
    if let Some(motor) = error.motor() {
        ::metrics::counter!(metrics::ARM_MOTOR_ERRORS, "arm" => arm, "motor" => motor.name, "kind" => kind)
            .increment(1);
    }
    kind
}

fn deadline(arguments: &ArmArguments) -> Instant {
    tick_deadline(arguments.clock.as_ref(), arguments.config.dataset.fps)
}

/// The next tick, or whatever comes; `None` when the thread should end.
fn next(ticks: &Receiver<ArmTick>, stop: &AtomicBool) -> Option<ArmTick> {
    while !stop.load(Ordering::Relaxed) && !Connected::must_end() {
        match ticks.recv_timeout(POLL) {
            Ok(next) => return Some(next),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
    None
}

/// What went wrong at the very end, and what was not taken before.
fn report(role: Role, errors: Vec<ArmError>, faults: Vec<ArmError>) {
    for error in &errors {
        tracing::error!("while letting go of the {}: {error}", role.name());
    }
    for error in errors.iter().chain(&faults) {
        count(role, error);
    }
}

/// Has the coordinator tell an event; the log may be slow.
fn tell(arguments: &ArmArguments, event: Event, text: String) {
    let at = arguments.clock.now();
    let _ = arguments.coordinator.cast(CoordinatorMessage::Told { at, event: Box::new(event), text });
}
