//! A camera: a thread that blocks on the device and sends what it sees. It waits for nothing else.

mod source;

use super::coordinator::CoordinatorMessage;
use super::recorder::RecorderMessage;
use super::worker::{Lost, Worker, or_panic};
use crate::budget::Budget;
use crate::camera::{Camera, CameraError, Mode};
use crate::clock::{Clock, Rank, Stamp};
use crate::config::schema;
use crate::devices::OpenCamera;
use crate::frame::CameraIndex;
use crate::metrics;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use source::Source;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What a camera hears, all of it from its own thread.
#[derive(Debug)]
pub enum CameraMessage {
    /// The device is open and has delivered a picture.
    Delivering(Mode),
    /// The device is gone, or silent: the thread has ended.
    Ended(Lost),
}

/// What a camera is born with.
#[derive(Clone)]
pub struct CameraArguments {
    pub index: CameraIndex,
    pub name: String,
    pub config: schema::Camera,
    pub open: OpenCamera,
    pub clock: Arc<dyn Clock>,
    pub budget: Budget,
    pub coordinator: ActorRef<CoordinatorMessage>,
    pub recorder: ActorRef<RecorderMessage>,
}

/// The actor; see [`CameraMessage`].
pub struct CameraActor;

/// A camera without a picture for so long is taken for lost, and opened anew.
pub const LONGEST_SILENCE: Duration = Duration::from_secs(2);
/// How often the thread looks whether it should stop.
const POLL: Duration = Duration::from_millis(200);

impl Actor for CameraActor {
    type Msg = CameraMessage;
    type State = Worker;
    type Arguments = CameraArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<CameraMessage>,
        arguments: CameraArguments,
    ) -> Result<Worker, ActorProcessingErr> {
        // The device is opened on the thread: what fails here would not reach the supervisor as a failure.
        let name = format!("camera-{}", arguments.name);
        Ok(Worker::spawn(&name, move |stop| {
            let panicked = |words| {
                let camera = arguments.name.as_str().into();
                Lost::new(CameraError::Panicked { camera, words }, arguments.clock.as_ref())
            };
            if let Err(lost) = or_panic(|| capture(&arguments, &myself, stop), panicked) {
                let _ = myself.cast(CameraMessage::Ended(lost));
            }
        })?)
    }

    async fn post_stop(&self, _myself: ActorRef<CameraMessage>, worker: &mut Worker) -> Result<(), ActorProcessingErr> {
        worker.stop().await;
        Ok(())
    }

    async fn handle(
        &self,
        _myself: ActorRef<CameraMessage>,
        message: CameraMessage,
        worker: &mut Worker,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            CameraMessage::Delivering(mode) => {
                tracing::debug!("delivers {mode:?}");
                Ok(())
            }
            CameraMessage::Ended(lost) => {
                worker.stop().await;
                Err(Box::new(lost))
            }
        }
    }
}

/// The thread: from opening the device to losing it, or to being told to stop.
fn capture(arguments: &CameraArguments, myself: &ActorRef<CameraMessage>, stop: &AtomicBool) -> Result<(), Lost> {
    let CameraArguments { index, name, config, clock, .. } = arguments;
    let lost = |error| Lost::new(error, clock.as_ref());
    let mut camera = (arguments.open)(name, config, clock, Rank(*index as u32)).map_err(lost)?;
    // The loss holds simulated time before the camera lets go of it.
    deliver(arguments, myself, stop, camera.as_mut()).map_err(lost)
}

fn deliver(
    arguments: &CameraArguments,
    myself: &ActorRef<CameraMessage>,
    stop: &AtomicBool,
    camera: &mut dyn Camera,
) -> Result<(), CameraError> {
    let CameraArguments { name, clock, .. } = arguments;
    let mode = camera.mode().clone();
    let mut source = Source::open(arguments, &mode)?;
    // Simulated time starts only when every camera has joined it, so there the first picture cannot be waited for.
    let mut delivered = clock.is_simulated();
    if delivered {
        announce(arguments, myself, &mode, clock.now());
    }
    let mut last = clock.now();
    let interval = ::metrics::histogram!(metrics::CAPTURE_INTERVAL, "camera" => name.clone());
    let newest = ::metrics::gauge!(metrics::LAST_FRAME, "camera" => name.clone());
    while !stop.load(Ordering::Relaxed) {
        let picture = match camera.next(POLL) {
            Ok(picture) => picture,
            Err(CameraError::Timeout) => {
                let silent = Duration::from_nanos(clock.now().mono_ns.saturating_sub(last.mono_ns));
                if silent > LONGEST_SILENCE {
                    return Err(CameraError::Silent { camera: name.as_str().into(), seconds: silent.as_secs_f64() });
                }
                continue;
            }
            Err(CameraError::Stopped) => return Ok(()),
            Err(error) => return Err(error),
        };
        let arrived = clock.now();
        if delivered {
            interval.record(picture.captured.mono_ns.saturating_sub(last.mono_ns) as f64 / 1e9);
        }
        last = picture.captured;
        newest.set(picture.captured.utc_ns as f64 / 1e9);
        let (sequence, captured) = (picture.sequence, picture.captured);
        let message = match source.frame(arguments, &picture, arrived) {
            Ok(frame) => CoordinatorMessage::Frame(Arc::new(frame)),
            Err(reason) => CoordinatorMessage::FrameDropped { camera: arguments.index, sequence, captured, reason },
        };
        if !delivered {
            delivered = true;
            announce(arguments, myself, &mode, captured);
        }
        if arguments.coordinator.cast(message).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn announce(arguments: &CameraArguments, myself: &ActorRef<CameraMessage>, mode: &Mode, captured: Stamp) {
    let _ = myself.cast(CameraMessage::Delivering(mode.clone()));
    let _ =
        arguments.recorder.cast(RecorderMessage::CameraReady { camera: arguments.index, mode: mode.clone(), captured });
}
