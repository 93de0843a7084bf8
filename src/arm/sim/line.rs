//! The wire: a pseudo terminal, its speed, and the time that bytes take.

use super::Shared;
use crate::arm::ArmError;
use crate::arm::feetech::packet::{Decoder, MAX_PARAMS};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::termios::ioctl_tiocnxcl;
use serialport::{SerialPort, TTYPort};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A request whose rest has not come after this long is forgotten.
const REQUEST_GAP: Duration = Duration::from_millis(20);
/// With nothing to do the bus looks around this often.
const IDLE: Duration = Duration::from_secs(1);
/// A client that takes no bytes for this long loses them, as on a wire.
const LONGEST_WRITE: Duration = Duration::from_millis(100);
/// Sleeping ends this much late on a quiet machine; the rest of a wait is spent awake.
const WAKING: Duration = Duration::from_micros(120);
/// Start bit, eight data bits, stop bit.
const BITS: u32 = 10;

/// An open terminal, and the thread that listens on it; dropping it is what pulling the plug is for a real one.
pub struct Terminal {
    /// Held open, so that the terminal outlives its clients: without any client it reports an error for ever.
    slave: TTYPort,
    pub path: String,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Terminal {
    pub fn open(name: String, shared: &Arc<Shared>) -> Result<Terminal, ArmError> {
        let (master, slave) = TTYPort::pair().map_err(|e| ArmError::Simulator(e.into()))?;
        let path = slave.name().ok_or_else(|| ArmError::Simulator(io::ErrorKind::NotFound.into()))?;
        let stop = Arc::new(AtomicBool::new(false));
        let port = open(&path).map_err(ArmError::Simulator)?;
        let (shared, outbox) = (shared.clone(), Outbox::default());
        let mut line = Line { master, port, path: path.clone(), shared, stop: stop.clone(), outbox };
        let run = move || line.run().unwrap_or_else(|error| tracing::debug!("the simulated bus ends: {error}"));
        let thread = std::thread::Builder::new().name(name).spawn(run).map_err(ArmError::Simulator)?;
        Ok(Terminal { slave, path, stop, thread: Some(thread) })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // The thread waits for bytes; one of them wakes it.
        let _ = self.slave.write_all(&[0]);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The clients' side of the terminal, and nothing done to it.
fn open(path: &str) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK).open(path)
}

/// The servos' side of the terminal.
struct Line {
    master: TTYPort,
    /// The clients' side.
    port: File,
    path: String,
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
    outbox: Outbox,
}

impl Line {
    /// Until stopped, or until the terminal breaks.
    fn run(&mut self) -> io::Result<()> {
        let mut decoder = Decoder::default();
        let mut bytes = [0; 1024];
        let mut heard = Instant::now();
        // The time until which the bytes so far are on the wire.
        let mut busy = heard;
        while !self.stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            let due = self.outbox.take_due(now);
            self.send(&due)?;
            if heard.elapsed() >= IDLE {
                self.forget_dead_clients();
            }
            let gap = if decoder.is_empty() { IDLE } else { REQUEST_GAP };
            self.master.set_timeout(self.outbox.wait(now).map_or(gap, |wait| wait.min(gap)))?;
            match self.master.read(&mut bytes) {
                Ok(n) => {
                    decoder.push(&bytes[..n]);
                    heard = Instant::now();
                }
                Err(e) if e.kind() == io::ErrorKind::TimedOut && heard.elapsed() >= REQUEST_GAP => decoder.clear(),
                Err(e) if matches!(e.kind(), io::ErrorKind::TimedOut | io::ErrorKind::Interrupted) => continue,
                Err(e) => return Err(e),
            }
            while let Some(next) = decoder.next(MAX_PARAMS) {
                // A servo does not answer what it does not understand.
                let Ok(request) = next else { continue };
                // The terminal has the speed that its client has set.
                let baud = self.master.baud_rate()?;
                let mut state = self.shared.lock();
                let byte =
                    if state.wire_time { Duration::from_secs(BITS.into()) / baud.max(1) } else { Duration::ZERO };
                let length = |bytes: &[u8]| byte * bytes.len() as u32;
                busy = busy.max(heard) + length(&request.encode());
                for reply in state.hear(&request, baud, self.shared.clock.now().mono_ns) {
                    let pause = if state.wire_time { reply.pause } else { Duration::ZERO };
                    let due = busy + pause + length(&reply.bytes);
                    if reply.late.is_zero() {
                        busy = due;
                    }
                    self.outbox.put(due + reply.late + state.delay, reply.bytes);
                }
            }
        }
        Ok(())
    }

    /// A client that was killed still has the terminal to itself: real ports forget that when they are closed, which this
    /// one never is. Clients that live hold a lock, too.
    fn forget_dead_clients(&self) {
        let is_busy = open(&self.path).is_err_and(|e| Errno::from_io_error(&e) == Some(Errno::BUSY));
        if is_busy && flock(&self.port, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = ioctl_tiocnxcl(&self.port);
            let _ = flock(&self.port, FlockOperation::Unlock);
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.master.set_timeout(LONGEST_WRITE)?;
        match self.master.write_all(bytes) {
            Err(e) if e.kind() == io::ErrorKind::TimedOut => Ok(()),
            result => result,
        }
    }
}

/// Bytes on their way to the client, by the time when they have arrived.
#[derive(Default)]
struct Outbox(Vec<(Instant, Vec<u8>)>);

impl Outbox {
    /// Behind those that are due at the same time.
    fn put(&mut self, due: Instant, bytes: Vec<u8>) {
        let place = self.0.partition_point(|(other, _)| *other <= due);
        self.0.insert(place, (due, bytes));
    }

    fn take_due(&mut self, now: Instant) -> Vec<u8> {
        let due = self.0.partition_point(|(due, _)| *due <= now);
        self.0.drain(..due).flat_map(|(_, bytes)| bytes).collect()
    }

    /// How long the thread may sleep for the next bytes' sake.
    fn wait(&self, now: Instant) -> Option<Duration> {
        self.0.first().map(|(due, _)| due.saturating_duration_since(now).saturating_sub(WAKING))
    }
}
