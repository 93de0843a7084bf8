//! The tick: a thread that wakes on absolute deadlines and does nothing but say so.

use super::arm::ArmTicks;
use super::coordinator::CoordinatorMessage;
use crate::clock::{Clock, Rank, Stamp, tick_ns};
use crate::metrics;
use crate::scheduling;
use ractor::ActorRef;
use std::sync::Arc;
use std::thread::JoinHandle;

/// The tick goes before everything else.
const NICE: i32 = -10;

/// One tick of the grid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tick {
    pub number: u64,
    /// When it should be, on the monotonic clock.
    pub due: Stamp,
    /// When the thread woke.
    pub woke: Stamp,
}

/// Starts the grid after one period, at the next time that is `phase_ns` into a period. The thread ends when the clock is
/// stopped.
pub fn start(
    clock: Arc<dyn Clock>,
    fps: u32,
    phase_ns: u64,
    arms: ArmTicks,
    coordinator: ActorRef<CoordinatorMessage>,
) -> std::io::Result<JoinHandle<()>> {
    let mut sleeper = clock.join(Rank::TICKER);
    std::thread::Builder::new().name("tick".into()).spawn(move || {
        scheduling::punctual(NICE);
        let (now, period) = (clock.now().mono_ns, tick_ns(1, fps));
        let start = now - now % period + 2 * period + phase_ns;
        let jitter = ::metrics::histogram!(metrics::TICK_JITTER);
        for number in 0.. {
            let due = start + tick_ns(number, fps);
            if !sleeper.sleep_until(due) {
                return;
            }
            let woke = clock.now();
            jitter.record(woke.mono_ns.saturating_sub(due) as f64 / 1e9);
            let tick = Tick { number, due: clock.stamp(due), woke };
            // The coordinator first: a tick's sample never comes before the tick, so which row is a run's first does not
            // depend on whose thread is faster.
            if coordinator.cast(CoordinatorMessage::Tick { tick, hold: clock.hold() }).is_err() {
                return;
            }
            arms.send(tick, clock.as_ref());
        }
    })
}
