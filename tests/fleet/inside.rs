//! Cells whose fault is inside: a camera, an encoder, the disk. Put together as the program does it.

use super::LAB;
use crate::run_support::{self, Gate, failure, no_gpu, stand_in_gpu, tampered};
use recorder::camera::{self, Camera, CameraError, Mode, Picture};
use recorder::clock::{Clock, SystemClock};
use recorder::codec::backend::{self, OpenEncoder};
use recorder::console::http;
use recorder::devices::Devices;
use recorder::disk_space::FreeSpace;
use recorder::run::{self, Gpu, Parts, Stage};
use recorder::supervision::{PATIENCE, Supervisor, supervise};
use recorder::{log_file, metrics, status};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// The environment variable that tells a process which cell it is.
pub const NAME: &str = "RECORDER_FLEET_CELL";
/// A cell that nobody has ended by then ends itself.
const LONGEST: Duration = Duration::from_secs(900);
const GIB: u64 = 1 << 30;

/// Whether the fault is on.
#[derive(Clone, Default)]
struct Fault(Arc<AtomicBool>);

impl Fault {
    fn is_on(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// What a cell is made of, beside its configuration.
struct Inside {
    overrides: Vec<(&'static str, &'static str)>,
    open: OpenEncoder,
    gpu: Option<Gpu>,
    devices: Devices,
    free_space: FreeSpace,
    on_saved: Box<dyn Fn() + Send>,
}

impl Default for Inside {
    fn default() -> Inside {
        Inside {
            overrides: Vec::new(),
            open: backend::standard(),
            gpu: None,
            devices: Devices::default(),
            free_space: Stage::default().free_space,
            on_saved: Box::new(|| {}),
        }
    }
}

/// The cell of a name, until it is killed.
pub async fn run(name: &str) {
    let _logging = log_file::start(None).unwrap();
    let fault = Fault::default();
    let mut asked = signal(SignalKind::user_defined1()).unwrap();
    let comes = fault.clone();
    tokio::spawn(async move {
        while asked.recv().await.is_some() {
            comes.0.store(true, Ordering::SeqCst);
        }
    });
    let lab = std::env::current_dir().unwrap();
    let _ = tokio::time::timeout(LONGEST, serve(&lab, of(name, fault))).await;
}

fn of(name: &str, fault: Fault) -> Inside {
    match name {
        // The camera's exposure is twice as long in the dark.
        "slow camera" => {
            Inside { devices: wrist(move |inner| Tampered::boxed(inner, &fault, How::Slow)), ..Inside::default() }
        }
        // Packets are lost on the bus: every third picture is cut off.
        "dropped frames" => {
            Inside { devices: wrist(move |inner| Tampered::boxed(inner, &fault, How::CutOff)), ..Inside::default() }
        }
        // A loose cable.
        "restart loop" => {
            Inside { devices: wrist(move |inner| Tampered::boxed(inner, &fault, How::Loose)), ..Inside::default() }
        }
        "encoder fallback" => Inside {
            overrides: vec![("dataset.gpu_video_encoding", "true"), ("limits.gpu_watchdog_ms", "60000")],
            open: stand_in_gpu(|| Ok(()), move |_| if fault.is_on() { Err(failure()) } else { Ok(()) }),
            gpu: Some(Gpu { works: true, prober: no_gpu() }),
            ..Inside::default()
        },
        "full queue" => Inside {
            overrides: vec![("dataset.video_encoding_queue_size", "5")],
            open: tampered({
                let gate = Gate::default();
                move |_| {
                    if fault.is_on() {
                        gate.pass();
                    }
                    Ok(())
                }
            }),
            ..Inside::default()
        },
        // Room for some minutes of these small pictures.
        "little disk" => Inside {
            free_space: Arc::new(move |_| Ok(if fault.is_on() { 4 << 20 } else { 1024 * GIB })),
            ..Inside::default()
        },
        "full disk" => Inside {
            overrides: vec![("limits.min_free_gib", "1"), ("run.on_low_disk", "pause")],
            free_space: Arc::new(move |_| Ok(if fault.is_on() { GIB / 2 } else { 1024 * GIB })),
            ..Inside::default()
        },
        // The writer hangs, as in a system call that does not return.
        "stuck part" => Inside {
            on_saved: Box::new({
                let gate = Gate::default();
                move || {
                    if fault.is_on() {
                        gate.pass();
                    }
                }
            }),
            ..Inside::default()
        },
        _ => panic!("no cell is called {name}"),
    }
}

async fn serve(lab: &Path, inside: Inside) {
    let Inside { overrides, open, gpu, devices, free_space, on_saved } = inside;
    let handle = metrics::install().unwrap();
    tokio::spawn(http::upkeep(handle));
    let config = run_support::config(LAB, &lab.join("data/set"), &overrides);
    let status = status::shared();
    let address = http::serve(&config.metrics, handle, status.clone()).await.unwrap();
    eprintln!("metrics at http://{address}/metrics");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let parts = Parts {
        clock: clock.clone(),
        open_encoder: open,
        gpu,
        status: status.clone(),
        on_saved: Box::new(move |_, _| on_saved()),
    };
    let dataset = run::open_dataset(&config).unwrap();
    let stage = Stage { free_space, ..Stage::default() };
    let running = run::start_from(&config, dataset, parts, devices, stage).await.unwrap();
    let supervisor = Supervisor::new(running.health(), None, PATIENCE, Instant::now());
    tokio::spawn(supervise(supervisor, status.clone(), clock));
    let ended = running.wait().await;
    eprintln!("the run has ended: {ended:?}");
    // Its pages are read until it is killed.
    std::future::pending().await
}

/// The run's own devices, with something between the wrist camera and the run.
fn wrist(tamper: impl Fn(Box<dyn Camera>) -> Box<dyn Camera> + Send + Sync + 'static) -> Devices {
    let camera: recorder::devices::OpenCamera = Arc::new(move |name, config, clock, rank| {
        let inner = camera::open(name, config, clock, rank)?;
        Ok(if name == "wrist" { tamper(inner) } else { inner })
    });
    Devices { camera, ..Devices::default() }
}

enum How {
    /// Half the pictures, as a camera delivers them that is slow: the driver misses none.
    Slow,
    CutOff,
    /// Lost again after a few pictures.
    Loose,
}

struct Tampered {
    inner: Box<dyn Camera>,
    fault: Fault,
    how: How,
    /// Pictures since the fault, or since the camera was opened, and the number of the first.
    n: u64,
    first: Option<u64>,
}

impl Tampered {
    fn boxed(inner: Box<dyn Camera>, fault: &Fault, how: How) -> Box<dyn Camera> {
        Box::new(Tampered { inner, fault: fault.clone(), how, n: 0, first: None })
    }
}

impl Camera for Tampered {
    fn mode(&self) -> &Mode {
        self.inner.mode()
    }

    fn next(&mut self, timeout: Duration) -> Result<Picture<'_>, CameraError> {
        if !self.fault.is_on() {
            return self.inner.next(timeout);
        }
        if matches!(self.how, How::Slow) && self.n.is_multiple_of(2) {
            self.inner.next(timeout)?;
            self.n += 1;
        }
        let Picture { sequence, captured, data } = self.inner.next(timeout)?;
        self.n += 1;
        let first = *self.first.get_or_insert(sequence);
        match self.how {
            How::Slow => Ok(Picture { sequence: first + (sequence - first) / 2, captured, data }),
            How::CutOff if self.n.is_multiple_of(3) => {
                Ok(Picture { sequence, captured, data: &data[..data.len() / 2] })
            }
            How::CutOff => Ok(Picture { sequence, captured, data }),
            How::Loose if self.n > 1 => {
                let words = "the test's cable is loose".into();
                Err(CameraError::Lost { camera: "wrist".into(), path: "/dev/test".into(), words })
            }
            How::Loose => Ok(Picture { sequence, captured, data }),
        }
    }
}
