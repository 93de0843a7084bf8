//! How soon the kernel lets a thread run that has woken. Best effort everywhere: without it the thread is late, not wrong.
#![allow(unsafe_code)]

use std::num::NonZeroU64;

/// The kernel's `struct sched_attr`, first version; see sched_setattr(2).
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// A thread that asks for turns this short, in nanoseconds, may interrupt those with longer ones; the kernel's shortest.
const SHORTEST_TURN_NS: u64 = 100_000;

/// For the calling thread, which works for some microseconds at a time and must be on time: `nice` where that is allowed,
/// short turns (Linux 6.12 and later), and a timer without slack.
pub fn punctual(nice: i32) {
    let me = rustix::thread::gettid();
    // An ordinary user may not raise it.
    let _ = rustix::process::setpriority_process(Some(me), nice);
    // Else the kernel may wake the thread up to 50 us late to save power.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    // Else a thread that has woken waits for the end of another one's turn, some milliseconds, whatever their priorities.
    let nice = rustix::process::getpriority_process(Some(me)).unwrap_or(0);
    let attr = SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy: libc::SCHED_OTHER as u32,
        flags: 0,
        nice,
        priority: 0,
        runtime: SHORTEST_TURN_NS,
        deadline: 0,
        period: 0,
    };
    // SAFETY: the kernel reads as many bytes of the struct as it says that it has, for the calling thread (0).
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
}
