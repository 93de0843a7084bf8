//! Whether the whole is well, and telling systemd so (`sd_notify`).
//!
//! Objective: `WATCHDOG=1` is sent only while every part that a run cannot do without does its work. The parts say so
//! themselves, each time they have handled a message: ticks that the coordinator has put on the grid, the encoder pool,
//! the writer; the last two also hear their own timers. A part that hangs, in a system call or in a loop, says nothing,
//! whatever the other threads do. Cameras, arms and encoders are not among them: they are replaced while the run goes on.

use crate::clock::Clock;
use crate::disk_space::Room;
use crate::events::Event;
use crate::metrics;
use crate::status::{Phase, SharedStatus, Status};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A part that the run cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The tick thread and the coordinator: ticks come and are put on the grid.
    Ticks,
    EncoderPool,
    Writer,
}

impl Part {
    pub const ALL: [Part; 3] = [Part::Ticks, Part::EncoderPool, Part::Writer];

    pub fn name(self) -> &'static str {
        match self {
            Part::Ticks => "ticks",
            Part::EncoderPool => "encoder_pool",
            Part::Writer => "writer",
        }
    }
}

/// What the parts of a run have done so far; counted, not timed, so that no part needs a clock for it.
#[derive(Debug, Default)]
pub struct Health {
    beats: [AtomicU64; Part::ALL.len()],
    /// Simulated time stands still while others work: then ticks need not come.
    simulated: bool,
}

impl Health {
    pub fn new(simulated: bool) -> Health {
        Health { simulated, ..Health::default() }
    }

    /// The part has done something.
    pub fn beat(&self, part: Part) {
        self.beats[part as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn beats(&self, part: Part) -> u64 {
        self.beats[part as usize].load(Ordering::Relaxed)
    }
}

/// A part that does nothing for this long is stuck. A disk may be busy with one fsync for some seconds.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// systemd hears of the run this often, and more often where its watchdog wants it.
const STEP: Duration = Duration::from_secs(1);

/// Looks at a run from time to time, and tells systemd what it sees.
pub struct Supervisor {
    health: Arc<Health>,
    notifier: Option<Arc<Notifier>>,
    patience: Duration,
    /// Of each part: its beats as last seen, and when they last changed.
    seen: [(u64, Instant); Part::ALL.len()],
    stuck: Vec<&'static str>,
    told: Option<(Instant, String)>,
}

impl Supervisor {
    pub fn new(health: Arc<Health>, notifier: Option<Arc<Notifier>>, patience: Duration, now: Instant) -> Supervisor {
        let seen = [(0, now); Part::ALL.len()];
        Supervisor { health, notifier, patience, seen, stuck: Vec::new(), told: None }
    }

    /// How often to [`Supervisor::step`].
    pub fn interval(&self) -> Duration {
        let watchdog = self.notifier.as_ref().and_then(|notifier| notifier.watchdog);
        watchdog.map_or(STEP, |every| (every / 4).clamp(Duration::from_millis(10), STEP))
    }

    /// Parts that are stuck at `now`.
    pub fn stuck(&self) -> &[&'static str] {
        &self.stuck
    }

    /// Looks at all parts, and tells systemd: `READY=1` once the grid ticks, `WATCHDOG=1` while no part is stuck, and a
    /// new line of status at most once a second. Answers with what is new, in words too.
    pub fn step(&mut self, now: Instant, status: &Status) -> Vec<(Event, String)> {
        // Devices may take their time to be opened; from the first tick on everything must go on.
        let ready = self.health.beats(Part::Ticks) > 0;
        let mut stuck = Vec::new();
        for (part, (beats, since)) in Part::ALL.into_iter().zip(&mut self.seen) {
            let beats_now = self.health.beats(part);
            if beats_now != *beats || !ready || (part == Part::Ticks && self.health.simulated) {
                (*beats, *since) = (beats_now, now);
            } else if now.duration_since(*since) >= self.patience {
                stuck.push(part.name());
            }
        }
        let news = self.news(&stuck);
        self.stuck = stuck;
        let Some(notifier) = &self.notifier else { return news };
        if ready {
            notifier.ready();
        }
        if ready && self.stuck.is_empty() && notifier.watchdog.is_some() {
            notifier.say("WATCHDOG=1");
        }
        let line = if self.stuck.is_empty() { line(status) } else { format!("stuck: {}", self.stuck.join(", ")) };
        let due = self.told.as_ref().is_none_or(|(at, told)| now.duration_since(*at) >= STEP && *told != line);
        if due {
            notifier.say(&format!("STATUS={line}"));
            self.told = Some((now, line));
        }
        news
    }

    fn news(&self, stuck: &[&'static str]) -> Vec<(Event, String)> {
        let mut news = Vec::new();
        for part in Part::ALL.map(Part::name) {
            match (self.stuck.contains(&part), stuck.contains(&part)) {
                (false, true) => {
                    let text = format!("{part}: nothing done for {:?}: the recorder is stuck", self.patience);
                    news.push((Event::PartStuck { part }, text));
                }
                (true, false) => news.push((Event::PartGoesOn { part }, format!("{part}: goes on"))),
                _ => {}
            }
            ::metrics::gauge!(metrics::STUCK, "part" => part).set(f64::from(u8::from(stuck.contains(&part))));
        }
        news
    }
}

/// Supervises a run until it is dropped; what is stuck is in the status, and told.
pub async fn supervise(mut supervisor: Supervisor, status: SharedStatus, clock: Arc<dyn Clock>) {
    let mut interval = tokio::time::interval(supervisor.interval());
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let snapshot = status.borrow().clone();
        for (event, text) in supervisor.step(Instant::now(), &snapshot) {
            status.tell(clock.now(), event, text);
        }
        status.send_if_modified(|s| {
            let changed = s.stuck != supervisor.stuck();
            s.stuck = supervisor.stuck().to_vec();
            changed
        });
    }
}

/// The run in one line: `episode 12 of 50, 30.0 fps, 3 h 20 min of disk left`.
pub fn line(status: &Status) -> String {
    let episode = format!("episode {} of {}", status.episode, status.episodes);
    let doing = match status.phase {
        Phase::Starting => return "opening cameras and arm".into(),
        Phase::Recording if status.held && status.room == Room::None => format!("{episode} waits for room on the disk"),
        Phase::Recording if status.held => format!("{episode} waits for encoders"),
        Phase::Recording => episode,
        Phase::Resetting => format!("reset after {episode}"),
        Phase::Finishing => format!("saving {episode}"),
        Phase::Done => format!("done, {} saved", status.saved),
    };
    let mut parts = vec![doing];
    // The slowest camera tells most.
    parts.extend(status.cameras.iter().map(|c| c.rate).reduce(f64::min).map(|rate| format!("{rate:.1} fps")));
    parts.extend(status.recordable_s.map(|seconds| format!("{} of disk left", duration(seconds))));
    parts.join(", ")
}

/// A length of time as people say it: `3 h 20 min`.
pub fn duration(seconds: f64) -> String {
    let minutes = (seconds / 60.0) as u64;
    match minutes / 60 {
        0 if minutes < 2 => format!("{seconds:.0} s"),
        0 => format!("{minutes} min"),
        hours if hours < 24 => format!("{hours} h {} min", minutes % 60),
        hours => format!("{hours} h"),
    }
}

/// Where systemd, or whoever starts this program in its way, wants to hear of it.
#[derive(Debug)]
pub struct Notifier {
    socket: UnixDatagram,
    address: SocketAddr,
    /// `WATCHDOG=1` must come at least this often.
    watchdog: Option<Duration>,
    is_ready: AtomicBool,
}

impl Notifier {
    /// Reads `NOTIFY_SOCKET` and the watchdog's variables; `None` where nobody wants to hear. `env` gives an environment
    /// variable.
    pub fn from_env(env: &impl Fn(&str) -> Option<OsString>) -> io::Result<Option<Notifier>> {
        let Some(name) = env("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return Ok(None) };
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
        };
        let socket = UnixDatagram::unbound()?;
        // Nothing waits for systemd.
        socket.set_nonblocking(true)?;
        let number = |name: &str| env(name)?.to_str()?.parse::<u64>().ok();
        let ours = number("WATCHDOG_PID").is_none_or(|process| process == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|every| ours && *every > 0).map(Duration::from_micros);
        Ok(Some(Notifier { socket, address, watchdog, is_ready: AtomicBool::new(false) }))
    }

    /// Says `READY=1`, once.
    pub fn ready(&self) {
        if !self.is_ready.swap(true, Ordering::Relaxed) {
            self.say("READY=1");
        }
    }

    /// Says that the program ends, as it should if it ends `well`; systemd takes one for failed that was never ready.
    pub fn stopping(&self, well: bool) {
        if well {
            self.ready();
        }
        self.say("STOPPING=1");
    }

    /// Sends a state, such as `READY=1`. That nobody hears it is no error.
    pub fn say(&self, state: &str) {
        let _ = self.socket.send_to_addr(state.as_bytes(), &self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::CameraStatus;

    /// A socket that stands for systemd's, and the notifier that talks to it.
    fn systemd(name: &str, address: &SocketAddr) -> (UnixDatagram, Arc<Notifier>) {
        let socket = UnixDatagram::bind_addr(address).unwrap();
        socket.set_nonblocking(true).unwrap();
        let name = name.to_string();
        let env = move |key: &str| match key {
            "NOTIFY_SOCKET" => Some(OsString::from(name.clone())),
            "WATCHDOG_USEC" => Some("2000000".into()),
            _ => None,
        };
        (socket, Arc::new(Notifier::from_env(&env).unwrap().unwrap()))
    }

    fn heard(socket: &UnixDatagram) -> Vec<String> {
        let mut buffer = [0; 512];
        let mut words = Vec::new();
        while let Ok(length) = socket.recv(&mut buffer) {
            words.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
        }
        words
    }

    #[test]
    fn a_hung_part_is_not_hidden() {
        for hung in Part::ALL {
            let name = format!("recorder-test-{}-{}", std::process::id(), hung.name());
            let (socket, notifier) =
                systemd(&format!("@{name}"), &SocketAddr::from_abstract_name(name.as_bytes()).unwrap());
            let (health, start) = (Arc::new(Health::new(false)), Instant::now());
            let mut supervisor = Supervisor::new(health.clone(), Some(notifier), Duration::from_secs(10), start);
            let mut told = Vec::new();
            let mut step = |second: u64, beating: &[Part]| {
                beating.iter().for_each(|part| health.beat(*part));
                let news = supervisor.step(start + Duration::from_secs(second), &Status::default());
                told.extend(news.into_iter().map(|(event, _)| (second, event)));
                let mut words = heard(&socket);
                words.retain(|word| !word.starts_with("STATUS="));
                (words, supervisor.stuck().to_vec())
            };
            // Devices take a minute to be opened.
            assert_eq!(step(60, &[Part::Writer, Part::EncoderPool]), (vec![], vec![]));
            assert_eq!(step(61, &Part::ALL), (vec!["READY=1".into(), "WATCHDOG=1".into()], vec![]));
            let others: Vec<Part> = Part::ALL.into_iter().filter(|part| *part != hung).collect();
            for second in 62..71 {
                assert_eq!(step(second, &others), (vec!["WATCHDOG=1".to_string()], vec![]), "{second}");
            }
            for second in 71..80 {
                assert_eq!(step(second, &others), (vec![], vec![hung.name()]), "{second}");
            }
            assert_eq!(step(80, &Part::ALL), (vec!["WATCHDOG=1".into()], vec![]));
            let part = hung.name();
            assert_eq!(told, [(71, Event::PartStuck { part }), (80, Event::PartGoesOn { part })]);
        }
    }

    #[test]
    fn the_status_is_told_once_a_second_at_most_and_when_it_is_new() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let (socket, notifier) = systemd(path.to_str().unwrap(), &SocketAddr::from_pathname(&path).unwrap());
        let (health, start) = (Arc::new(Health::new(true)), Instant::now());
        let mut supervisor = Supervisor::new(health, Some(notifier), PATIENCE, start);
        assert_eq!(supervisor.interval(), Duration::from_millis(500));
        let mut told = Vec::new();
        for step in 0..8u64 {
            let episode = if step < 4 { 1 } else { step };
            let status = Status { phase: Phase::Recording, episode, episodes: 9, ..Status::default() };
            supervisor.step(start + Duration::from_millis(500 * step), &status);
            told.extend(heard(&socket).into_iter().map(|word| (step, word)));
        }
        let status = |episode: u64| format!("STATUS=episode {episode} of 9");
        assert_eq!(told, [(0, status(1)), (4, status(4)), (6, status(6))]);
    }

    #[test]
    fn the_line_says_what_matters() {
        let camera = |rate| CameraStatus { rate, ..CameraStatus::default() };
        let mut status = Status {
            phase: Phase::Recording,
            episode: 12,
            episodes: 50,
            recordable_s: Some(12_010.0),
            cameras: vec![camera(30.04), camera(29.97)],
            ..Status::default()
        };
        assert_eq!(line(&status), "episode 12 of 50, 30.0 fps, 3 h 20 min of disk left");
        (status.held, status.room, status.recordable_s) = (true, Room::None, Some(59.0));
        assert_eq!(line(&status), "episode 12 of 50 waits for room on the disk, 30.0 fps, 59 s of disk left");
    }

    #[test]
    fn a_watchdog_of_another_process_is_not_ours() {
        let env = |key: &str| {
            let value = match key {
                "NOTIFY_SOCKET" => "/nowhere",
                "WATCHDOG_USEC" => "1000000",
                _ => "1",
            };
            Some(OsString::from(value))
        };
        let notifier = Notifier::from_env(&env).unwrap().unwrap();
        assert_eq!(notifier.watchdog, None);
        // Nobody is there, which is no reason to fail.
        notifier.say("READY=1");
        assert!(Notifier::from_env(&|_| None).unwrap().is_none());
    }
}
