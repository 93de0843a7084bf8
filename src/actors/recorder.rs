//! The root supervisor: starts everything in order, brings lost devices back, and stops everything in order.

use super::arm::{ArmActor, ArmArguments, ArmTicks, Role};
use super::camera::{CameraActor, CameraArguments};
use super::coordinator::{Coordinator, CoordinatorArguments, CoordinatorMessage};
use super::encoder_pool::{EncoderPool, PoolArguments, PoolMessage};
use super::ticker;
use super::worker::Lost;
use super::writer::{Writer, WriterArguments, WriterMessage};
use crate::align::quietest_phase;
use crate::camera::Mode;
use crate::clock::{Clock, Hold, Rank, Stamp};
use crate::config::schema::OnLoss;
use crate::episode::Key;
use crate::events::Event;
use crate::frame::CameraIndex;
use crate::losses::Loss;
use crate::metrics;
use crate::restart::{Decision, Device, KEEPS_FAILING, Policy, Restarts};
use crate::run_state::Ending;
use crate::status::{Phase, SharedStatus};
use ractor::thread_local::{ThreadLocalActor, ThreadLocalActorSpawner};
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// What the recorder hears.
#[derive(Debug)]
pub enum RecorderMessage {
    /// From a camera's thread: the first picture is there, captured at `captured`.
    CameraReady { camera: CameraIndex, mode: Mode, captured: Stamp },
    /// From an arm's thread: it answers.
    ArmReady(Role),
    /// From itself: what a dead child had said before is heard first.
    ChildDied { child: ActorId, reason: String, hold: Option<Hold> },
    /// From itself, after a delay: open a device again.
    Restart { device: Device, hold: Hold },
    /// From the coordinator: all that was to be recorded is recorded and saved, or the run cannot go on.
    RunEnded { failure: Option<RunError> },
    /// From the console or a signal.
    Key(Key),
    /// From the second signal: stop now, whatever is not saved yet. The arm is let go of all the same.
    Abort,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// A device could not be opened at the start: nothing was recorded.
    #[error("{0}")]
    Device(String),
    /// The run could not go on. Episodes that were saved are safe.
    #[error("the run ended early: {0}; episodes saved before are complete")]
    Failed(String),
    /// A device was lost that the run is not to go on without. All that was recorded is saved.
    #[error("the run ended early: {0}; everything recorded up to then is saved")]
    Lost(String),
}

/// All that a run is made of.
pub struct RecorderArguments {
    pub clock: Arc<dyn Clock>,
    pub fps: u32,
    /// Whether the run is over when its parts have stopped.
    pub ending: Arc<Ending>,
    pub writer: WriterArguments,
    pub introduce_coordinator: oneshot::Sender<ActorRef<CoordinatorMessage>>,
    pub pool: Box<dyn FnOnce(ActorRef<WriterMessage>) -> PoolArguments + Send>,
    pub coordinator: Box<dyn FnOnce(Upstream) -> CoordinatorArguments + Send>,
    pub cameras: Box<dyn FnOnce(Downstream) -> Vec<CameraArguments> + Send>,
    pub arm: Box<dyn FnOnce(Downstream, ArmTicks) -> Option<ArmArguments> + Send>,
    pub status: SharedStatus,
    /// Episodes of the run that an earlier process recorded.
    pub recorded: u64,
    pub outcome: oneshot::Sender<Result<(), RunError>>,
}

/// Whom the coordinator talks to.
pub struct Upstream {
    pub pool: ActorRef<PoolMessage>,
    pub writer: ActorRef<WriterMessage>,
    pub recorder: ActorRef<RecorderMessage>,
}

/// Whom devices talk to.
pub struct Downstream {
    pub coordinator: ActorRef<CoordinatorMessage>,
    pub recorder: ActorRef<RecorderMessage>,
}

/// The actor; see [`RecorderMessage`].
pub struct Recorder;

/// See [`Recorder`].
pub struct RecorderState {
    clock: Arc<dyn Clock>,
    fps: u32,
    ending: Arc<Ending>,
    writer: ActorRef<WriterMessage>,
    writer_thread: Option<ractor::concurrency::JoinHandle<()>>,
    pool: ActorRef<PoolMessage>,
    coordinator: ActorRef<CoordinatorMessage>,
    cameras: Vec<CameraArguments>,
    arm: Option<ArmArguments>,
    ticks: ArmTicks,
    ticker: Option<JoinHandle<()>>,
    /// Devices that run, by actor.
    devices: BTreeMap<ActorId, (Device, ActorCell)>,
    restarts: BTreeMap<Device, Restarts>,
    /// Devices that were lost and do not answer yet: why, and what keeps simulated time still while one is being opened.
    away: BTreeMap<Device, (String, Option<Hold>)>,
    /// When each camera captured the first picture that is known of.
    captured: Vec<Option<u64>>,
    /// Arms that have not answered yet.
    arms_to_come: BTreeSet<Role>,
    /// Simulated time stands still until everything is open.
    hold: Option<Hold>,
    status: SharedStatus,
    recorded: u64,
    outcome: Option<oneshot::Sender<Result<(), RunError>>>,
    ended_well: bool,
}

impl Actor for Recorder {
    type Msg = RecorderMessage;
    type State = RecorderState;
    type Arguments = RecorderArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<RecorderMessage>,
        arguments: RecorderArguments,
    ) -> Result<RecorderState, ActorProcessingErr> {
        let RecorderArguments {
            clock,
            fps,
            ending,
            writer,
            introduce_coordinator,
            pool,
            coordinator,
            cameras,
            arm,
            status,
            recorded,
            outcome,
        } = arguments;
        let hold = clock.hold();
        // Downstream first: whoever starts finds those it sends to.
        let me = myself.get_cell();
        let (writer, writer_thread) =
            Writer::spawn_linked(None, writer, me.clone(), ThreadLocalActorSpawner::new()).await?;
        let pool = pool(writer.clone());
        let (pool, _) = EncoderPool::spawn_linked(None, pool, me.clone(), ThreadLocalActorSpawner::new()).await?;
        let upstream = Upstream { pool: pool.clone(), writer: writer.clone(), recorder: myself.clone() };
        let (coordinator, _) = Coordinator::spawn_linked(None, Coordinator, coordinator(upstream), me).await?;
        let _ = introduce_coordinator.send(coordinator.clone());
        let downstream = || Downstream { coordinator: coordinator.clone(), recorder: myself.clone() };
        let ticks = ArmTicks::default();
        let cameras = cameras(downstream());
        let arm = arm(downstream(), ticks.clone());
        let captured = vec![None; cameras.len()];
        let (outcome, hold) = (Some(outcome), Some(hold));
        let (ticker, devices, restarts, away) = Default::default();
        let mut state = RecorderState {
            clock,
            fps,
            ending,
            writer,
            writer_thread: Some(writer_thread),
            pool,
            coordinator,
            cameras,
            arm,
            ticks,
            ticker,
            devices,
            restarts,
            away,
            captured,
            arms_to_come: BTreeSet::new(),
            hold,
            status,
            recorded,
            outcome,
            ended_well: false,
        };
        for camera in 0..state.cameras.len() {
            state.start(&myself, Device::Camera(camera)).await?;
        }
        if state.arm.is_some() {
            for role in Role::BOTH {
                state.arms_to_come.insert(role);
                state.start(&myself, role.device()).await?;
            }
        }
        state.start_ticking(&myself);
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<RecorderMessage>,
        message: RecorderMessage,
        state: &mut RecorderState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            RecorderMessage::CameraReady { camera, mode, captured } => {
                if state.ticker.is_some() {
                    state.back(Device::Camera(camera));
                } else {
                    let (n, d) = mode.fps;
                    let name = &state.cameras[camera].name;
                    tracing::info!("camera {name}: {}x{} at {n}/{d} frames a second", mode.width, mode.height);
                }
                state.captured[camera] = Some(captured.mono_ns);
                state.start_ticking(&myself);
            }
            RecorderMessage::ArmReady(role) => {
                if state.ticker.is_some() {
                    state.back(role.device());
                }
                state.arms_to_come.remove(&role);
                state.start_ticking(&myself);
            }
            RecorderMessage::ChildDied { child, reason, hold } => state.died(&myself, child, reason, hold),
            RecorderMessage::Restart { device, hold } => {
                if state.outcome.is_none() {
                    return Ok(());
                }
                match state.start(&myself, device).await {
                    Ok(()) => {
                        state.away.entry(device).and_modify(|(_, opening)| *opening = Some(hold));
                    }
                    // Its thread cannot be started, for want of memory perhaps: no reason to end the others.
                    Err(error) => {
                        tracing::warn!("{} cannot be opened again: {error}", state.describe(device).0);
                        restart_after(&myself, &state.clock, device, Policy::DEVICE.longest_delay);
                    }
                }
            }
            RecorderMessage::RunEnded { failure } => state.end(&myself, failure.map_or(Ok(()), Err)),
            RecorderMessage::Abort => {
                state.end(&myself, Err(RunError::Failed("stopped at once".into())));
            }
            RecorderMessage::Key(key) => {
                if state.ticker.is_some() {
                    let _ = state.coordinator.cast(CoordinatorMessage::Key(key));
                } else if matches!(key, Key::Stop | Key::StopDiscarding) {
                    state.end(&myself, Ok(()));
                }
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<RecorderMessage>,
        event: SupervisionEvent,
        _state: &mut RecorderState,
    ) -> Result<(), ActorProcessingErr> {
        // Supervision events overtake messages: the death is put at the end of the queue, behind what the dead child said.
        let died = match event {
            SupervisionEvent::ActorFailed(who, error) => Some(match error.downcast::<Lost>() {
                Ok(lost) => (who.get_id(), lost.reason, Some(lost.hold)),
                Err(error) => (who.get_id(), error.to_string(), None),
            }),
            SupervisionEvent::ActorTerminated(who, _, reason) => Some((who.get_id(), reason.unwrap_or_default(), None)),
            _ => None,
        };
        if let Some((child, reason, hold)) = died {
            let _ = myself.cast(RecorderMessage::ChildDied { child, reason, hold });
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        myself: ActorRef<RecorderMessage>,
        state: &mut RecorderState,
    ) -> Result<(), ActorProcessingErr> {
        // Upstream first, so that what has been captured is heard to the end: sources, then the grid, then each that is
        // sent to, drained.
        state.clock.stop();
        // The arm first: torque goes off, however long cameras take.
        let mut devices: Vec<_> = state.devices.values().collect();
        devices.sort_by_key(|(device, _)| (matches!(device, Device::Camera(_)), *device));
        for (_, cell) in devices {
            let _ = cell.stop_and_wait(None, None).await;
        }
        if let Some(ticker) = state.ticker.take() {
            let _ = tokio::task::spawn_blocking(move || ticker.join()).await;
        }
        let _ = state.coordinator.drain_and_wait(None).await;
        let _ = state.pool.drain_and_wait(None).await;
        let _ = state.writer.drain_and_wait(None).await;
        if let Some(thread) = state.writer_thread.take() {
            // Only now the data set is closed and its lock free for the next run.
            let _ = thread.await;
        }
        myself.get_cell().stop_children_and_wait(None, None).await;
        if state.ended_well {
            metrics::phase(Phase::Done);
        }
        if let Some(outcome) = state.outcome.take() {
            let _ = outcome.send(Err(RunError::Failed("the recorder was stopped".into())));
        }
        Ok(())
    }
}

impl RecorderState {
    async fn start(&mut self, myself: &ActorRef<RecorderMessage>, device: Device) -> Result<(), ActorProcessingErr> {
        let me = myself.get_cell();
        let cell = match device {
            Device::Camera(camera) => {
                let mut arguments = self.cameras[camera].clone();
                arguments.reopened = self.ticker.is_some();
                CameraActor::spawn_linked(None, CameraActor, arguments, me).await?.0.get_cell()
            }
            Device::Arm | Device::Leader => {
                let Some(arguments) = self.arm.clone() else { return Ok(()) };
                let role = if device == Device::Arm { Role::Follower } else { Role::Leader };
                ArmActor::spawn_linked(None, ArmActor, (role, arguments), me).await?.0.get_cell()
            }
        };
        self.devices.insert(cell.get_id(), (device, cell));
        Ok(())
    }

    /// Starts the grid once every device has answered.
    fn start_ticking(&mut self, myself: &ActorRef<RecorderMessage>) {
        let captured: Option<Vec<u64>> = self.captured.iter().copied().collect();
        let Some(captured) = captured.filter(|_| self.ticker.is_none() && self.arms_to_come.is_empty()) else { return };
        let phase = quietest_phase(&captured, self.fps);
        match ticker::start(self.clock.clone(), self.fps, phase, self.ticks.clone(), self.coordinator.clone()) {
            Ok(ticker) => {
                self.ticker = Some(ticker);
                self.tell_start();
                self.hold = None;
            }
            Err(error) => self.end(myself, Err(RunError::Failed(format!("no thread for the tick: {error}")))),
        }
    }

    /// `hold` keeps simulated time still until all that follows from the death is under way.
    fn died(&mut self, myself: &ActorRef<RecorderMessage>, child: ActorId, reason: String, hold: Option<Hold>) {
        let Some((device, _)) = self.devices.remove(&child) else {
            // The coordinator, the pool or the writer: without them there is no run.
            return self.end(myself, Err(RunError::Failed(format!("an internal part failed: {reason}"))));
        };
        if self.ticker.is_none() {
            return self.end(myself, Err(RunError::Device(reason)));
        }
        let (name, on_loss, label) = self.describe(device);
        let now_ns = self.clock.now().mono_ns;
        let restarts = self.restarts.entry(device).or_insert_with(|| Restarts::new(Policy::DEVICE));
        let before = self.away.insert(device, (reason.clone(), None));
        let begins_to_fail = before.is_none() && restarts.lost(now_ns);
        let keeps_failing = restarts.keeps_failing();
        let Decision::RestartAfter(delay) = restarts.failed(now_ns) else {
            return self.end(myself, Err(RunError::Failed(format!("{name}: {reason}"))));
        };
        match &before {
            None => {
                let text = format!("lost {name}: {reason}; {}; tried again in {delay:?}", consequence(on_loss));
                self.tell(Event::DeviceLost { device: name.clone(), reason: reason.clone(), on_loss }, text);
            }
            Some((known, _)) if *known == reason => tracing::debug!("{name}: {reason}; tried again in {delay:?}"),
            Some(_) => tracing::warn!("{name} is still away: {reason}; tried again in {delay:?}"),
        }
        if begins_to_fail {
            let text = format!(
                "{name} was lost {KEEPS_FAILING} times within a minute: usually a loose or damaged cable, or a USB hub that cannot supply all that hangs on it: change the cable, use a hub with a power supply of its own, or another port"
            );
            self.tell(Event::DeviceFailing { device: name.clone() }, text);
            ::metrics::counter!(metrics::RESTART_LOOPS, "device" => name.clone()).increment(1);
        }
        ::metrics::counter!(metrics::ACTOR_RESTARTS, "actor" => label, "reason" => metrics::LOST).increment(1);
        restart_after(myself, &self.clock, device, delay);
        if before.is_none() {
            ::metrics::gauge!(metrics::DEVICE_AWAY, "device" => name.clone()).set(1.0);
            let loss = Loss { device, name, on_loss, reason, keeps_failing };
            let _ = self.coordinator.cast(CoordinatorMessage::DeviceLost { loss, hold: self.clock.hold() });
        }
        drop(hold);
    }

    /// A device that was lost answers again.
    fn back(&mut self, device: Device) {
        if let Some((_, opening)) = self.away.remove(&device) {
            let (name, ..) = self.describe(device);
            self.tell(Event::DeviceBack { device: name.clone() }, format!("{name} is back"));
            ::metrics::gauge!(metrics::DEVICE_AWAY, "device" => name).set(0.0);
            let hold = opening.unwrap_or_else(|| self.clock.hold());
            let _ = self.coordinator.cast(CoordinatorMessage::DeviceBack { device, hold });
        }
    }

    fn tell_start(&self) {
        let (root, episodes, encoder) = {
            let status = self.status.borrow();
            (status.root.clone(), status.episodes, status.encoder.clone())
        };
        let recorded = self.recorded;
        let text =
            format!("the run has begun: {recorded} of {episodes} episodes are recorded; encoder {encoder}, {root}");
        self.tell(Event::RunStarted { root, episodes, recorded, encoder }, text);
    }

    fn tell(&self, event: Event, text: String) {
        self.status.tell(self.clock.now(), event, text);
    }

    /// Its name for people, what follows when it is lost, and its label in metrics.
    fn describe(&self, device: Device) -> (String, OnLoss, &'static str) {
        match device {
            Device::Camera(camera) => {
                let CameraArguments { name, config, .. } = &self.cameras[camera];
                (format!("camera {name}"), config.on_loss, "camera")
            }
            Device::Arm | Device::Leader => {
                let on_loss = self.arm.as_ref().map_or(OnLoss::Hold, |arm| arm.config.robot.on_loss);
                let (name, label) = if device == Device::Arm { ("the arm", "arm") } else { ("the leader", "leader") };
                (name.into(), on_loss, label)
            }
        }
    }

    /// Says how the run ended, once, and stops.
    fn end(&mut self, myself: &ActorRef<RecorderMessage>, outcome: Result<(), RunError>) {
        if let Some(sender) = self.outcome.take() {
            match &outcome {
                Ok(()) => self.ending.end_unless_interrupted(),
                Err(RunError::Device(_)) => self.ending.end_unless_begun(),
                // The next start goes on with it.
                Err(RunError::Failed(_) | RunError::Lost(_)) => {}
            }
            self.ended_well = outcome.is_ok();
            let _ = sender.send(outcome);
            myself.stop(None);
        }
    }
}

fn consequence(on_loss: OnLoss) -> &'static str {
    match on_loss {
        OnLoss::Hold => "its last value is held and marked",
        OnLoss::Pause => "the episode is ended and kept, and the next one begins when it is back",
        OnLoss::Discard => "the episode is thrown away, and recorded again when it is back",
        OnLoss::Stop => "the episode is ended and kept, and the run ends",
    }
}

/// Opens the device again after a delay, which is simulated where time is.
fn restart_after(myself: &ActorRef<RecorderMessage>, clock: &Arc<dyn Clock>, device: Device, delay: Duration) {
    // Takes part in simulated time from here on, which so cannot run past the delay.
    let mut sleeper = clock.join(Rank::RESTART);
    let due_ns = clock.now().mono_ns.saturating_add(delay.as_nanos() as u64);
    let (myself, clock) = (myself.clone(), clock.clone());
    tokio::task::spawn_blocking(move || {
        if sleeper.sleep_until(due_ns) {
            let _ = myself.cast(RecorderMessage::Restart { device, hold: clock.hold() });
        }
    });
}
