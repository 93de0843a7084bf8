//! A camera: a thread that blocks on the device and sends what it sees. It waits for nothing else.

mod source;

use super::coordinator::CoordinatorMessage;
use super::recorder::RecorderMessage;
use super::worker::{Lost, Worker, or_panic};
use crate::budget::Budget;
use crate::camera::controls::Change;
use crate::camera::rate::{self, Verdict};
use crate::camera::{Camera, CameraError, FIRST_PICTURE, Mode};
use crate::clock::{Clock, Rank, Stamp};
use crate::config::schema;
use crate::devices::OpenCamera;
use crate::events::Event;
use crate::frame::{CameraIndex, DropReason};
use crate::metrics;
use crate::scheduling;
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
    /// It was lost in the middle of a run.
    pub reopened: bool,
    pub open: OpenCamera,
    pub clock: Arc<dyn Clock>,
    pub budget: Budget,
    pub coordinator: ActorRef<CoordinatorMessage>,
    pub recorder: ActorRef<RecorderMessage>,
}

/// The actor; see [`CameraMessage`].
pub struct CameraActor;

/// A camera without a picture for so long is taken for lost, and opened anew: two seconds after its last picture everybody
/// knows of it.
pub const LONGEST_SILENCE: Duration = Duration::from_millis(1900);
/// A picture that is there goes before encoding those that came earlier, and behind the tick.
const NICE: i32 = -5;
/// How often its controls are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
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
    scheduling::punctual(NICE);
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
    let opened = clock.now();
    // In the middle of a run rows wait for its pictures: one that is a little too dark shows more than one that is old.
    let warm_up = if arguments.reopened { Duration::ZERO } else { arguments.config.warm_up() };
    let warm_ns = opened.mono_ns + warm_up.as_nanos() as u64;
    let (mut heard_ns, mut patience) = (opened.mono_ns, FIRST_PICTURE);
    let mut sized_ns = opened.mono_ns;
    let (mut last, mut passed_over) = (None, 0_u64);
    let mut watch = Watch::new(arguments, &mode, opened);
    let interval = ::metrics::histogram!(metrics::CAPTURE_INTERVAL, "camera" => name.clone());
    let newest = ::metrics::gauge!(metrics::LAST_FRAME, "camera" => name.clone());
    while !stop.load(Ordering::Relaxed) {
        let silent = Duration::from_nanos(clock.now().mono_ns.saturating_sub(heard_ns));
        if silent >= patience {
            return Err(CameraError::Silent { camera: name.as_str().into(), seconds: silent.as_secs_f64() });
        }
        let picture = match camera.next(POLL.min(patience - silent)) {
            Ok(picture) => picture,
            Err(CameraError::Timeout) => continue,
            Err(CameraError::Stopped) => return Ok(()),
            Err(error) => return Err(error),
        };
        let (arrived, captured, sequence) = (clock.now(), picture.captured, picture.sequence);
        (heard_ns, patience) = (arrived.mono_ns, LONGEST_SILENCE);
        let message = match source.frame(arguments, &picture, arrived) {
            Ok(frame) => CoordinatorMessage::Frame(Arc::new(frame)),
            Err(reason) => CoordinatorMessage::FrameDropped { camera: arguments.index, sequence, captured, reason },
        };
        if !matches!(message, CoordinatorMessage::FrameDropped { reason: DropReason::WrongSize, .. }) {
            sized_ns = arrived.mono_ns;
        } else if arrived.mono_ns - sized_ns >= LONGEST_SILENCE.as_nanos() as u64 {
            let (camera, width, height) = (name.as_str().into(), mode.width, mode.height);
            return Err(CameraError::FormatLost { camera, width, height });
        }
        if captured.mono_ns < warm_ns {
            passed_over += 1;
        } else {
            if passed_over > 0 {
                tracing::debug!("camera {name}: {passed_over} pictures were passed over while it found its exposure");
                passed_over = 0;
            }
            if let Some(last) = last.replace(captured.mono_ns) {
                interval.record(captured.mono_ns.saturating_sub(last) as f64 / 1e9);
            }
            newest.set(captured.utc_ns as f64 / 1e9);
            if !delivered {
                delivered = true;
                announce(arguments, myself, &mode, captured);
            }
            if arguments.coordinator.cast(message).is_err() {
                return Ok(());
            }
        }
        // Behind the picture: a look at the controls takes transfers on the USB.
        watch.picture(camera, sequence, captured, arrived);
    }
    Ok(())
}

/// What is noticed of a camera beside its pictures: its rate, and its controls.
struct Watch<'a> {
    arguments: &'a CameraArguments,
    rate: rate::Monitor,
    looked_ns: u64,
}

impl Watch<'_> {
    fn new<'a>(arguments: &'a CameraArguments, mode: &Mode, opened: Stamp) -> Watch<'a> {
        Watch { arguments, rate: rate::Monitor::new(mode.fps), looked_ns: opened.mono_ns }
    }

    /// Between two pictures; what comes meanwhile waits in the driver.
    fn picture(&mut self, camera: &mut dyn Camera, sequence: u64, captured: Stamp, arrived: Stamp) {
        let name = &self.arguments.name;
        let target_hertz = self.rate.declared_hertz();
        match self.rate.picture(sequence, captured.mono_ns) {
            None => {}
            Some(Verdict::Slow { hertz, lost, counted }) => {
                let cause = slow_words(lost, counted, camera.slow_causes());
                let text =
                    format!("camera {name} delivers {hertz:.1} frames a second instead of {target_hertz:.1}: {cause}");
                self.tell(arrived, Event::CameraSlow { camera: name.clone(), hertz, target_hertz, cause }, text);
            }
            Some(Verdict::Over { hertz }) => {
                let text = format!("camera {name} delivers {hertz:.1} frames a second again");
                self.tell(arrived, Event::CameraSlowOver { camera: name.clone(), hertz, target_hertz }, text);
            }
        }
        if arrived.mono_ns.saturating_sub(self.looked_ns) < LOOK_EVERY.as_nanos() as u64 {
            return;
        }
        self.looked_ns = arrived.mono_ns;
        for Change { control, set, found, set_back, words } in camera.look_after() {
            let event = Event::ControlChanged { camera: name.clone(), control, set, found, set_back };
            self.tell(arrived, event, format!("camera {name}: {words}"));
        }
    }

    fn tell(&self, at: Stamp, event: Event, text: String) {
        let _ = self.arguments.coordinator.cast(CoordinatorMessage::Told { at, event: Box::new(event), text });
    }
}

/// Why a camera is slow, as far as is known.
fn slow_words(lost: u64, counted: u64, by_device: Vec<String>) -> String {
    let on_the_way = (lost > 0).then(|| {
        format!(
            "{lost} of its last {counted} pictures were lost on the way here: a cable, a hub or a USB bus that is full"
        )
    });
    let known: Vec<String> = on_the_way.into_iter().chain(by_device).collect();
    match known.is_empty() {
        true => "mostly too little light with an automatic exposure, or a USB bus that others use too".into(),
        false => known.join("; "),
    }
}

fn announce(arguments: &CameraArguments, myself: &ActorRef<CameraMessage>, mode: &Mode, captured: Stamp) {
    let _ = myself.cast(CameraMessage::Delivering(mode.clone()));
    let _ =
        arguments.recorder.cast(RecorderMessage::CameraReady { camera: arguments.index, mode: mode.clone(), captured });
}
