//! What exists from a run's start, so that a rate or an increase over it is 0 and not absent.

use super::*;
use metrics::{counter, gauge, histogram};

/// What a run is, as far as metrics show it.
#[derive(Clone, Debug)]
pub struct Setup<'a> {
    /// Each with the frames a second that it is asked for.
    pub cameras: Vec<(&'a str, u32)>,
    /// Rows a second.
    pub fps: u32,
    pub codec: Codec,
    /// It was to use the GPU, which works or does not.
    pub gpu: Option<bool>,
    /// The motors of the follower, and of the leader; none without an arm.
    pub motors: Vec<String>,
    /// It opens its devices; else it only finishes what waits.
    pub records: bool,
    /// Frames of a camera that may wait for an encoder in memory.
    pub queue_capacity: usize,
    pub frame_memory_bytes: usize,
    pub spill_bytes: u64,
    pub episodes: u64,
    /// Time for an episode and the reset after it, in seconds.
    pub cycle_s: f64,
    /// When it starts, on its clock.
    pub now: Stamp,
}

/// Registers all that can be known when a run starts. What is absent until it is known: the newest frame's time, and how
/// long there is room for.
pub fn register(setup: &Setup) {
    phase(Phase::Starting);
    for (camera, fps) in &setup.cameras {
        register_camera(camera, *fps, setup);
    }
    gauge!(FRAME_BUDGET).set(1.0 / f64::from(setup.fps));
    gauge!(FRAME_MEMORY).set(0.0);
    gauge!(FRAME_MEMORY_LIMIT).set(setup.frame_memory_bytes as f64);
    gauge!(SPILL_BYTES).set(0.0);
    gauge!(SPILL_LIMIT).set(setup.spill_bytes as f64);
    gauge!(RUN_EPISODES).set(setup.episodes as f64);
    gauge!(EPISODE_CYCLE).set(setup.cycle_s);
    gauge!(LAST_SAVE).set(seconds(setup.now));
    gauge!(ENCODER_SESSIONS).set(0.0);
    gauge!(WAITING_EPISODES).set(0.0);
    gauge!(WAITING_BYTES).set(0.0);
    gauge!(ROOM).set(2.0);
    gauge!(SCHEDULE_LEFT).set(f64::INFINITY);
    for name in [CAMERA_SKEW, TICK_JITTER, SAVE_DURATION] {
        drop(histogram!(name));
    }
    for name in [ROWS, ARM_MISSES, LOG_LINES_LOST] {
        counter!(name).increment(0);
    }
    for outcome in TAKE_OUTCOMES {
        counter!(EPISODES, "outcome" => outcome).increment(0);
    }
    for part in Part::ALL {
        gauge!(STUCK, "part" => part.name()).set(0.0);
    }
    for reason in Failure::KINDS {
        counter!(ACTOR_RESTARTS, "actor" => "encoder", "reason" => reason).increment(0);
    }
    for (from, to) in fallbacks(setup.codec, setup.gpu.is_some()) {
        for reason in Failure::KINDS {
            counter!(ENCODER_FALLBACKS, "from" => from, "to" => to, "reason" => reason).increment(0);
        }
        if to != ON_DISK {
            drop(histogram!(ENCODER_SWITCH, "from" => from, "to" => to));
        }
    }
    if !setup.motors.is_empty() {
        gauge!(LEADER_SILENT).set(0.0);
        for (actor, device) in [("arm", "the arm"), ("leader", "the leader")] {
            counter!(ACTOR_RESTARTS, "actor" => actor, "reason" => LOST).increment(0);
            register_device(device);
        }
        for arm in ARMS {
            setup.motors.iter().for_each(|motor| register_motor(arm, motor));
            drop(histogram!(ARM_TRANSACTION, "arm" => arm));
            for kind in ArmError::KINDS {
                counter!(ARM_ERRORS, "arm" => arm, "kind" => kind).increment(0);
            }
        }
    }
    if setup.records && !setup.cameras.is_empty() {
        counter!(ACTOR_RESTARTS, "actor" => "camera", "reason" => LOST).increment(0);
    }
}

fn register_camera(name: &str, fps: u32, setup: &Setup) {
    let camera = || name.to_string();
    for counted in [FRAMES_CAPTURED, FRAMES_WRITTEN, FRAMES_DUPLICATED, FRAMES_MISSED, VIDEO_FRAMES, FRAME_MISMATCHES] {
        counter!(counted, "camera" => camera()).increment(0);
    }
    for reason in DropReason::ALL {
        dropped(name, reason, 0);
    }
    for timed in [CAPTURE_INTERVAL, ENCODE_LAG, WRITE_DURATION] {
        drop(histogram!(timed, "camera" => camera()));
    }
    for device in [Device::Cpu, Device::Gpu] {
        if device == Device::Gpu && setup.gpu.is_none() || device == Device::Cpu && !is_made_on_cpu(setup.codec) {
            continue;
        }
        let backend = backend::name(setup.codec, device);
        drop(histogram!(ENCODE_DURATION, "camera" => camera(), "backend" => backend));
    }
    let backend = first_backend(setup.codec, setup.gpu == Some(true));
    let codec = backend::codec_name(setup.codec);
    gauge!(ENCODER_INFO, "camera" => camera(), "backend" => backend, "codec" => codec).set(1.0);
    gauge!(ENCODER_FALLBACK, "camera" => camera()).set(0.0);
    gauge!(CAMERA_TARGET, "camera" => camera()).set(f64::from(fps));
    gauge!(QUEUE_FRAMES, "camera" => camera()).set(0.0);
    gauge!(QUEUE_CAPACITY, "camera" => camera()).set(setup.queue_capacity as f64);
    if setup.records {
        register_device(&format!("camera {name}"));
    }
}

fn register_motor(arm: &'static str, motor: &str) {
    let motor = || motor.to_string();
    gauge!(ARM_MOTOR_HELD, "arm" => arm, "motor" => motor()).set(0.0);
    for kind in ArmError::MOTOR_KINDS {
        counter!(ARM_MOTOR_ERRORS, "arm" => arm, "motor" => motor(), "kind" => kind).increment(0);
    }
}

/// `device` is its name for people.
fn register_device(device: &str) {
    gauge!(DEVICE_AWAY, "device" => device.to_string()).set(0.0);
    counter!(RESTART_LOOPS, "device" => device.to_string()).increment(0);
}

/// Encoders, and what goes on in their place when they fail.
fn fallbacks(codec: Codec, gpu: bool) -> Vec<(&'static str, &'static str)> {
    let [on_cpu, on_gpu] = [Device::Cpu, Device::Gpu].map(|device| backend::name(codec, device));
    match is_made_on_cpu(codec) {
        true if gpu && on_gpu != on_cpu => vec![(on_cpu, on_cpu), (on_gpu, on_cpu)],
        true => vec![(on_cpu, on_cpu)],
        false => vec![(on_gpu, ON_DISK)],
    }
}
