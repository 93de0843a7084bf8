//! Cells of the program itself, whose fault comes from outside.

use super::{Cell, Scenario};
use crate::fake_driver;
use crate::program::{Lab, PATIENCE, Signal};
use recorder::arm::sim::{Fault, SimBus, SimKind};
use recorder::clock::SystemClock;
use recorder::spill::Spill;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Nothing goes wrong.
pub fn healthy(scenario: &Scenario) -> Cell {
    let lab = Lab::new();
    let command = Cell::program(&lab, &[]);
    Cell::new(scenario, lab, command, |_| {})
}

/// Encodes on the fake NVIDIA driver, which has a GPU to be watched, too.
pub fn gpu(scenario: &Scenario) -> Cell {
    let lab = Lab::new();
    let mut command = Cell::program(&lab, &["--dataset.gpu_video_encoding=true"]);
    command.env("LD_LIBRARY_PATH", fake_driver::folder()).env("FAKE_NVENC", "codecs=h264");
    Cell::new(scenario, lab, command, |_| {})
}

/// The operator ends the run for the day.
pub fn ended(scenario: &Scenario) -> Cell {
    let lab = Lab::new();
    let command = Cell::program(&lab, &[]);
    Cell::new(scenario, lab, command, |cell| cell.signal(Signal::INT))
}

/// The process is killed: the machine has crashed, or lost its power.
pub fn down(scenario: &Scenario) -> Cell {
    let lab = Lab::new();
    let command = Cell::program(&lab, &[]);
    Cell::new(scenario, lab, command, |cell| cell.signal(Signal::KILL))
}

/// The process dies again and again, and systemd starts it again.
pub fn dies_often(scenario: &Scenario) -> Cell {
    let lab = Lab::new();
    let command = Cell::program(&lab, &[]);
    Cell::new(scenario, lab, command, |cell| {
        for _ in 0..3 {
            cell.start_again(&[]);
            cell.running.as_mut().unwrap().wait_for("saved as the data set's episode");
        }
    })
}

/// A target that was never there: its name is misspelt, or the cell is not in use.
pub fn never_there(scenario: &Scenario) -> Cell {
    // Nothing listens on tcpmux's port.
    Cell { name: scenario.name, lab: Lab::new(), running: None, address: "127.0.0.1:1".into(), fault: None }
}

/// From the fault on files cannot grow beyond so many bytes, which fails as a full disk does.
fn with_small_files(scenario: &Scenario, lab: Lab, overrides: &[&str], bytes: u64) -> Cell {
    let program = Cell::program(&lab, overrides);
    // The program is told by an error, as by a full disk, and not by a signal that ends it.
    let mut command = lab.command("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(program.get_program()).args(program.get_args());
    Cell::new(scenario, lab, command, move |cell| {
        let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
        prlimit(Pid::from_raw(cell.running.as_ref().unwrap().id() as i32), Resource::Fsize, limit).unwrap();
    })
}

/// The disk of the log is full; that of the data set is not.
pub fn full_log(scenario: &Scenario) -> Cell {
    const BYTES: usize = 4 << 20;
    let lab = Lab::new();
    lab.write("recorder.log", &"earlier\n".repeat(BYTES / 8));
    with_small_files(scenario, lab, &["--log.file=recorder.log"], BYTES as u64)
}

/// The disk is full all at once: neither the take that is being recorded can be saved nor another one.
pub fn failed_episode(scenario: &Scenario) -> Cell {
    with_small_files(scenario, Lab::new(), &[], 1024)
}

/// The camera is unplugged, and is not plugged in again.
pub fn silent_camera(scenario: &Scenario) -> Cell {
    let lab = Lab::new();
    let image = turbojpeg::Image {
        pixels: &[90u8; 64 * 48 * 3][..],
        width: 64,
        pitch: 64 * 3,
        height: 48,
        format: turbojpeg::PixelFormat::RGB,
    };
    let picture = turbojpeg::compress(image, 80, turbojpeg::Subsamp::Sub2x1).unwrap();
    let clip = lab.path("clip.mjpeg");
    std::fs::write(&clip, picture.repeat(20)).unwrap();
    let path = format!("--robot.cameras.wrist.index_or_path={}", clip.display());
    let command = Cell::program(&lab, &["--robot.cameras.wrist.type=file", &path]);
    Cell::new(scenario, lab, command, move |_| {
        std::fs::File::options().write(true).open(&clip).unwrap().set_len(0).unwrap();
    })
}

/// A cell with a simulated follower on a bus of the test's.
fn with_follower(scenario: &Scenario, overrides: &[&str], fault: impl FnOnce(SimBus) + 'static) -> Cell {
    let lab = Lab::new();
    let sim = SimBus::start(SimKind::Follower, Arc::new(SystemClock::default())).unwrap();
    let calibration = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/arm/calib/robots/so_follower");
    let follower = [
        format!("--robot.port={}", sim.path()),
        "--robot.id=f1".into(),
        format!("--robot.calibration_dir={}", calibration.display()),
    ];
    let follower = follower.each_ref().map(String::as_str);
    let command = Cell::program(&lab, &[&follower[..], overrides].concat());
    Cell::new(scenario, lab, command, |_| fault(sim))
}

/// From the fault on a servo reports an error with everything that it says.
fn with_error_bits(scenario: &Scenario, bits: u8) -> Cell {
    with_follower(scenario, &[], move |sim| {
        sim.inject(Fault::ErrorBits(bits), Some(3), usize::MAX);
        // The bus goes on for as long as the cell.
        std::mem::forget(sim);
    })
}

pub fn overload(scenario: &Scenario) -> Cell {
    with_error_bits(scenario, 0x20)
}

pub fn overheat(scenario: &Scenario) -> Cell {
    with_error_bits(scenario, 0x04)
}

pub fn voltage(scenario: &Scenario) -> Cell {
    with_error_bits(scenario, 0x01)
}

/// The arm is unplugged, and the run goes on with what it said last.
pub fn silent_arm(scenario: &Scenario) -> Cell {
    with_follower(scenario, &[], drop)
}

/// The arm is unplugged, and the run waits for it.
pub fn nothing_saved(scenario: &Scenario) -> Cell {
    let short = ["--robot.on_loss=pause", "--dataset.episode_time_s=1", "--dataset.reset_time_s=0.2"];
    with_follower(scenario, &short, drop)
}

/// Pictures that wait on disk to be encoded have lost their end, as on a disk that loses writes: the video that is made of
/// them has fewer frames than there are rows. A recorder on a disk that works makes no such video.
pub fn rows_without_frames(scenario: &Scenario) -> Cell {
    let lab = Lab::new();
    let command = Cell::program(&lab, &["--dataset.streaming_encoding=false"]);
    Cell::new(scenario, lab, command, |cell| {
        let deadline = Instant::now() + PATIENCE;
        while !lose_the_end(&cell.lab.root().join(".partial")) {
            assert!(Instant::now() < deadline, "no take is being recorded");
            std::thread::sleep(Duration::from_millis(20));
        }
    })
}

/// Puts a file with the first pictures only in the place of the one that is being written. False where there is none, or
/// the take has just ended.
fn lose_the_end(partial: &Path) -> bool {
    let takes = std::fs::read_dir(partial).into_iter().flatten().flatten().map(|take| take.path());
    let frames = |take: &Path| take.join("observation.images.wrist.frames");
    let waits = |take: &Path| take.join("waiting.json").exists();
    let Some(take) = takes.filter(|take| frames(take).exists() && !waits(take)).max() else { return false };
    let copy = take.join("copy");
    let lost = std::fs::copy(frames(&take), &copy).is_ok()
        && Spill::cut_file(copy.clone(), 2).is_ok()
        && std::fs::metadata(&copy).is_ok_and(|copy| copy.len() > 0)
        && std::fs::rename(copy, frames(&take)).is_ok();
    lost && !waits(&take)
}
