//! Questions that a child process answers, since looking for the answer may crash or hang: this program runs itself with
//! other arguments, and reads one line of JSON, or one after the other.

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, set_parent_process_death_signal,
    waitid,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::RawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The running program's own file, even if it was replaced meanwhile.
pub const THIS_PROGRAM: &str = "/proc/self/exe";
/// A killed child that is not gone after this long hangs in the kernel: it is left to itself.
const LAST_RESPECTS: Duration = Duration::from_secs(1);
/// More than any answer; what a child says beyond is not read.
const LONGEST_ANSWER: u64 = 1 << 20;

/// How a child ended that gave no answer. The texts follow on what was done: "the search …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    #[error("cannot be started ({0})")]
    Unstartable(String),
    #[error("did not end within {} s", .0.as_secs_f64())]
    Silent(Duration),
    #[error("crashed (signal {0})")]
    Crashed(i32),
    /// The complaint is the last line on its standard error, or empty.
    #[error("failed (exit code {code}{}{complaint})", if complaint.is_empty() { "" } else { ": " })]
    Failed { code: i32, complaint: String },
    #[error("gave no answer: expected JSON, found {found:?} ({words})")]
    Unreadable { found: String, words: String },
}

/// Runs `PROGRAM ARGUMENTS` for at most `timeout`, and reads the last line of its standard output. However it ends, the
/// child and what it started are gone afterwards.
pub fn ask<T: DeserializeOwned>(program: &Path, arguments: &[&str], timeout: Duration) -> Result<T, NoAnswer> {
    let mut child = spawn(program, arguments, Stdio::piped())?;
    let said = child.stdout.take().map(read_all);
    let complaint = child.stderr.take().map(read_all);
    let in_time = ended_within(&child, timeout);
    // Also what it may have started itself, which would hold the pipes open.
    let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
    if !in_time && !ended_within(&child, LAST_RESPECTS) {
        std::thread::spawn(move || child.wait());
        return Err(NoAnswer::Silent(timeout));
    }
    let status = child.wait().map_err(|error| NoAnswer::Unstartable(error.to_string()))?;
    if !in_time {
        return Err(NoAnswer::Silent(timeout));
    }
    let [said, complaint] = [said, complaint].map(|reader| reader.and_then(|r| r.join().ok()).unwrap_or_default());
    if !status.success() {
        return Err(failure(status, last_line(&complaint)));
    }
    // Drivers and libraries may print lines of their own.
    let line = last_line(&said);
    serde_json::from_str(line)
        .map_err(|error| NoAnswer::Unreadable { found: line.chars().take(60).collect(), words: error.to_string() })
}

/// A child that gives one answer after the other. It, and what it started, are gone once this is dropped, which waits for
/// that as long as it takes. It also goes with the thread that started it.
pub struct Talk {
    child: Child,
    /// How it ended, once it was waited for: from then on its number may be another's.
    ended: Option<ExitStatus>,
    lines: Receiver<String>,
}

impl Talk {
    /// Runs `PROGRAM ARGUMENTS`.
    pub fn start(program: &Path, arguments: &[&str]) -> Result<Talk, NoAnswer> {
        let mut child = spawn(program, arguments, Stdio::null())?;
        let (sender, lines) = sync_channel(1);
        let said = child.stdout.take().map(BufReader::new);
        // Ends with the child, or with the talk.
        std::thread::spawn(move || {
            said.into_iter().flat_map(BufRead::lines).map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Ok(Talk { child, ended: None, lines })
    }

    /// Waits for the next answer, for at most `timeout`.
    pub fn next<T: DeserializeOwned>(&mut self, timeout: Duration) -> Result<T, NoAnswer> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                // Drivers and libraries may print lines of their own.
                Ok(line) => {
                    if let Ok(answer) = serde_json::from_str(&line) {
                        return Ok(answer);
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Err(NoAnswer::Silent(timeout)),
                Err(RecvTimeoutError::Disconnected) => {
                    // It says nothing more since it ends, unless something is wrong with it.
                    ended_within(&self.child, LAST_RESPECTS);
                    let status = self.end().map_err(|error| NoAnswer::Unstartable(error.to_string()))?;
                    return Err(failure(status, ""));
                }
            }
        }
    }

    fn end(&mut self) -> std::io::Result<ExitStatus> {
        if let Some(status) = self.ended {
            return Ok(status);
        }
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let status = self.child.wait()?;
        self.ended = Some(status);
        Ok(status)
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

fn spawn(program: &Path, arguments: &[&str], complaints: Stdio) -> Result<Child, NoAnswer> {
    close_on_exec();
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(complaints)
        .process_group(0)
        .spawn()
        .map_err(|error| NoAnswer::Unstartable(format!("{}: {error}", program.display())))
}

/// The child's side: its answer as it is printed.
pub fn answer(value: &impl Serialize) -> String {
    format!("{}\n", serde_json::json!(value))
}

/// The child's side: end when the parent does. To be called first.
pub fn end_with_parent() {
    // Only tidiness is lost if that cannot be had.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
}

/// Keeps all open files of this process from its children. Not every library opens devices so that they are not inherited;
/// a camera that a child holds cannot be opened again.
pub fn close_on_exec() {
    let files = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers = files.filter_map(|file| file.file_name().to_str()?.parse::<RawFd>().ok());
    for number in numbers.filter(|number| *number > 2) {
        // It may have been closed since.
        let _ = fcntl(number, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
    }
}

fn failure(status: ExitStatus, complaint: &str) -> NoAnswer {
    match status.signal() {
        Some(signal) => NoAnswer::Crashed(signal),
        None => NoAnswer::Failed { code: status.code().unwrap_or_default(), complaint: complaint.into() },
    }
}

/// Waits for the end of a child, and leaves it to be reaped.
fn ended_within(child: &Child, timeout: Duration) -> bool {
    let Ok(handle) = pidfd_open(Pid::from_child(child), PidfdFlags::empty()) else {
        return ended_when_asked(child, timeout);
    };
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&left)) {
            Err(rustix::io::Errno::INTR) => {}
            ready => return ready.is_ok_and(|count| count > 0),
        }
    }
}

/// As [`ended_within`], for kernels before 5.3, and containers that refuse handles of processes.
fn ended_when_asked(child: &Child, timeout: Duration) -> bool {
    let deadline = Instant::now() + timeout;
    while !has_ended(child) {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// Whether a child has ended; it is left to be reaped.
pub fn has_ended(child: &Child) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(waitid(WaitId::Pid(Pid::from_child(child)), options), Ok(Some(_)))
}

/// Reads a pipe to its end on a thread of its own, so that the child never waits for a reader.
fn read_all(pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.take(LONGEST_ANSWER).read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn last_line(text: &str) -> &str {
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_waiting_see_the_end_and_leave_it_to_be_reaped() {
        for wait in [ended_within, ended_when_asked] {
            let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
            assert!(!wait(&child, Duration::from_millis(50)));
            child.kill().unwrap();
            assert!(wait(&child, Duration::from_secs(60)));
            assert_eq!(child.wait().unwrap().signal(), Some(9));
        }
    }
}
