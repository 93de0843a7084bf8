//! What this process and this machine have used of CPU and memory, as the kernel tells it.

use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

/// The kernel tells processes' times in hundredths of a second, whatever its own clock.
const KERNEL_TICK: Duration = Duration::from_millis(10);
/// File systems that are memory, by the number that the kernel knows them by: tmpfs and ramfs.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// Cores that a program of this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get())
}

/// User and system time of this process, all its threads included.
pub fn process_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// User and system time of this process, and of all its children that have ended.
pub fn own_times() -> io::Result<[Duration; 2]> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The second field is the program's name in parentheses, and may hold anything.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: Vec<u32> = fields.split_whitespace().skip(11).map_while(|field| field.parse().ok()).take(4).collect();
    match ticks[..] {
        [user, system, children_user, children_system] => {
            Ok([KERNEL_TICK * (user + system), KERNEL_TICK * (children_user + children_system)])
        }
        _ => Err(io::Error::other("/proc/self/stat without times")),
    }
}

/// CPU time that all other programs have used since the machine started.
pub fn others_time() -> io::Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    let ticks: Vec<u32> = stat.split_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
    let [user, nice, system, _idle, _waiting, interrupts, soft_interrupts, ..] = ticks[..] else {
        return Err(io::Error::other("/proc/stat without times"));
    };
    let all = KERNEL_TICK * (user + nice + system + interrupts + soft_interrupts);
    Ok(own_times()?.into_iter().fold(all, Duration::saturating_sub))
}

/// A field of a process's `/proc/PID/status`, in KiB.
pub fn kib(status: &str, field: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(field))?.split_whitespace().next()?.parse().ok()
}

/// Largest resident memory of this process since [`forget_peak`], in KiB.
pub fn peak_kib() -> Option<u64> {
    kib(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// Lets [`peak_kib`] begin anew. Where the kernel does not allow it, the peak stays that of the whole process.
pub fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// True when what is written at `path` goes to no disk.
pub fn is_in_memory(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| IN_MEMORY.contains(&(found.f_type as u64)))
}
