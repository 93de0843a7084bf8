//! A command of the user's, run once: with something to read, for a bounded time, and without anything of ours.

use crate::child;
use crate::config::Problem;
use crate::config::schema::Words;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::MemfdFlags;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::fs::File;
use std::io::{self, PipeReader, Read, Seek, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that are kept of what a command says; the rest is read and forgotten.
const MOST_SAID: usize = 1000;
/// A killed command that is not gone after this long hangs in the kernel: it is left to itself.
const LAST_RESPECTS: Duration = Duration::from_secs(1);
/// How often a kernel without handles of processes is asked whether one has ended.
const LOOK: Duration = Duration::from_millis(10);

/// How a run of the command failed. What it said is one line of bounded length.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("{program} cannot be started ({words})")]
    Unstartable { program: String, words: String },
    #[error("it did not end within {} s and was killed", .0.as_secs_f64())]
    TimedOut(Duration),
    #[error("it was ended by signal {signal}{said}")]
    Killed { signal: i32, said: String },
    #[error("exit code {code}{said}")]
    Failed { code: i32, said: String },
    #[error("it was not started: nobody waits for it any more")]
    Abandoned,
}

/// The command that is running now, so that it can be killed from elsewhere.
#[derive(Debug, Default)]
pub struct Group(Mutex<Running>);

#[derive(Debug, Default)]
enum Running {
    #[default]
    Nothing,
    /// The leader of the command's process group.
    Command(Pid),
    /// Nothing runs, and nothing is to be started.
    Abandoned,
}

impl Group {
    /// Kills the command that is running, with all that it started; from now on none is started.
    pub fn abandon(&self) {
        if let Running::Command(group) = std::mem::replace(&mut *self.lock(), Running::Abandoned) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    /// Starts a command. It is known from its first moment on: whoever abandons it waits until it can be killed.
    fn start(&self, start: impl FnOnce() -> Result<Child, Failure>) -> Result<Child, Failure> {
        let mut running = self.lock();
        if let Running::Abandoned = *running {
            return Err(Failure::Abandoned);
        }
        let child = start()?;
        *running = Running::Command(Pid::from_child(&child));
        Ok(child)
    }

    /// Kills what is left of a command, before it is reaped: afterwards its number may become another one's.
    fn end(&self, child: &Child) {
        let mut running = self.lock();
        let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
        if let Running::Command(_) = *running {
            *running = Running::Nothing;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The program of a command with its arguments: a single text is a line for the shell.
fn program(words: &Words) -> Option<(&str, Vec<&str>)> {
    match words {
        Words::One(line) => Some(("sh", vec!["-c", line])),
        Words::Many(all) => {
            let (program, arguments) = all.split_first()?;
            Some((program, arguments.iter().map(String::as_str).collect()))
        }
    }
}

/// Looks whether a command can be run, without running it: whether its program is there, and whether the shell can read it.
pub fn look(words: &Words) -> Result<(), Problem> {
    let problem =
        |found: String, remedy: &str| Problem::new("notify.command", "a command that can be run", found, remedy);
    let ask = |arguments: &[&str]| Command::new("sh").args(arguments).stdin(Stdio::null()).output();
    let no_shell =
        |error: io::Error| problem(format!("no shell ({error})"), "install sh, or give a program and arguments");
    let program = match words {
        Words::One(line) => {
            // Reads it, and executes nothing.
            let output = ask(&["-n", "-c", line]).map_err(no_shell)?;
            if !output.status.success() {
                let complaint = String::from_utf8_lossy(&output.stderr);
                return Err(problem(one_line(&complaint), "correct the line as for a shell"));
            }
            line.split_whitespace().next().unwrap_or_default()
        }
        Words::Many(all) => all.first().map_or("", String::as_str),
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./+".contains(c);
    if matches!(words, Words::One(_)) && !program.chars().all(is_plain) {
        // The shell makes something else of it.
        return Ok(());
    }
    let output = ask(&["-c", "command -v -- \"$1\"", "sh", program]).map_err(no_shell)?;
    if output.status.success() {
        return Ok(());
    }
    Err(problem(
        format!("no program \"{program}\" that may be executed"),
        "install it, correct its name, or give its whole path",
    ))
}

/// Runs a command with `input` on its standard input. However it ends, what it started is gone afterwards, unless it has
/// left the command's process group.
pub fn run(
    words: &Words,
    environment: &[(&str, String)],
    input: &[u8],
    timeout: Duration,
    group: &Group,
) -> Result<(), Failure> {
    let Some((program, arguments)) = program(words) else { return Ok(()) };
    let unstartable = |error: io::Error| Failure::Unstartable { program: program.into(), words: error.to_string() };
    let (mut output, writer) = io::pipe().map_err(unstartable)?;
    rustix::io::ioctl_fionbio(&output, true).map_err(|error| unstartable(error.into()))?;
    child::close_on_exec();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        // Whoever watches over the recorder is not to hear from others.
        .env_remove("NOTIFY_SOCKET")
        .stdin(file_of(input).map_err(unstartable)?)
        .stdout(writer.try_clone().map_err(unstartable)?)
        .stderr(writer)
        .process_group(0);
    let mut child = group.start(|| command.spawn().map_err(unstartable))?;
    // It holds the writing end of the pipe, whose end is the command's silence.
    drop(command);
    let mut said = Vec::new();
    let in_time = wait(&child, &mut output, &mut said, Instant::now() + timeout);
    group.end(&child);
    if !in_time && !wait(&child, &mut output, &mut said, Instant::now() + LAST_RESPECTS) {
        std::thread::spawn(move || child.wait());
        return Err(Failure::TimedOut(timeout));
    }
    let status = child.wait().map_err(unstartable)?;
    hear(&mut output, &mut said);
    let said = one_line(&String::from_utf8_lossy(&said));
    let said = if said.is_empty() { said } else { format!(": {said}") };
    match (in_time, status.code(), status.signal()) {
        (false, ..) => Err(Failure::TimedOut(timeout)),
        (true, Some(0), _) => Ok(()),
        (true, _, Some(signal)) => Err(Failure::Killed { signal, said }),
        (true, code, None) => Err(Failure::Failed { code: code.unwrap_or_default(), said }),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A file in memory that is read from its beginning: nobody needs to feed a command that reads nothing.
fn file_of(bytes: &[u8]) -> io::Result<Stdio> {
    let mut file = File::from(rustix::fs::memfd_create("event", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}

/// Waits for the end of a child, and leaves it to be reaped; hears meanwhile what it says.
fn wait(child: &Child, output: &mut PipeReader, said: &mut Vec<u8>, deadline: Instant) -> bool {
    let handle = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).ok();
    let mut speaks = true;
    loop {
        speaks = speaks && hear(output, said);
        if child::has_ended(child) {
            return true;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let step = if handle.is_some() { left } else { left.min(LOOK) };
        let step = Timespec { tv_sec: step.as_secs() as i64, tv_nsec: step.subsec_nanos().into() };
        let ended = handle.iter().map(|handle| PollFd::new(handle, PollFlags::IN));
        let mut watched: Vec<PollFd> = ended.collect();
        if speaks {
            watched.push(PollFd::new(output, PollFlags::IN));
        }
        // An error means only that it is looked at again at once.
        let _ = poll(&mut watched, Some(&step));
    }
}

/// Reads once what was said, and keeps the beginning of it; false when nothing will come any more.
fn hear(output: &mut PipeReader, said: &mut Vec<u8>) -> bool {
    // As much as a pipe holds.
    let mut bytes = [0; 1 << 16];
    match output.read(&mut bytes) {
        Ok(0) => false,
        Ok(length) => {
            said.extend_from_slice(&bytes[..length.min(MOST_SAID - said.len())]);
            true
        }
        Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, Mode, mkfifoat};
    use std::os::fd::AsRawFd;

    const LONG: Duration = Duration::from_secs(60);

    fn shell(line: &str, timeout: Duration) -> Result<(), String> {
        let environment = [("RECORDER_EVENT", "run_ended".to_string())];
        let words = Words::One(line.into());
        run(&words, &environment, b"{\"event\":1}\n", timeout, &Group::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn every_end_is_told() {
        for (line, expected) in [
            ("true", Ok(())),
            ("read line; test \"$line\" = '{\"event\":1}' && ! read more", Ok(())),
            ("test $RECORDER_EVENT = run_ended -a -z \"$NOTIFY_SOCKET\"", Ok(())),
            ("sleep 1000 & exit 0", Ok(())),
            ("exit 3", Err("exit code 3")),
            ("echo one; echo two >&2; exit 1", Err("exit code 1: one two")),
            ("kill -9 $$", Err("it was ended by signal 9")),
        ] {
            assert_eq!(shell(line, LONG), expected.map_err(String::from), "{line}");
        }
        // How it says so is the shell's own.
        assert!(shell("no-such-program", LONG).unwrap_err().starts_with("exit code 127: "));
        let words = Words::Many(vec!["no-such-program".into(), "-x".into()]);
        let failure = run(&words, &[], b"", LONG, &Group::default()).unwrap_err();
        assert!(matches!(failure, Failure::Unstartable { program, .. } if program == "no-such-program"));
    }

    #[test]
    fn what_takes_too_long_or_says_too_much_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let short = Duration::from_millis(300);
        let line = format!("sleep 1000 & echo $! > {}; wait", file.display());
        assert_eq!(shell(&line, short), Err("it did not end within 0.3 s and was killed".into()));
        let child: i32 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        // Killed with its group; whoever inherits it reaps it soon.
        let gone = || !std::fs::read_to_string(format!("/proc/{child}/stat")).is_ok_and(|stat| !stat.contains(") Z"));
        let start = Instant::now();
        while !gone() {
            assert!(start.elapsed() < LONG, "{child} goes on");
            std::thread::yield_now();
        }
        assert_eq!(shell("yes", short), Err("it did not end within 0.3 s and was killed".into()));
        let failure = shell("yes | head -c 1000000; exit 1", LONG).unwrap_err();
        assert!(failure.len() < MOST_SAID + 50 && failure.starts_with("exit code 1: y y"), "{failure}");
        // Deaf to a full pipe, it ends all the same.
        assert_eq!(shell("exec >&- 2>&-; sleep 0.1", LONG), Ok(()));
    }

    /// As the video driver's library opens cameras.
    #[test]
    fn no_open_file_of_ours_is_inherited() {
        use rustix::fs::{OFlags, open};
        let device = open("/dev/zero", OFlags::RDONLY, Mode::empty()).unwrap();
        let line = format!("test ! -e /proc/self/fd/{}", device.as_raw_fd());
        assert_eq!(shell(&line, LONG), Ok(()));
    }

    /// From its first moment on: many times, since only chance has the one who kills it find nothing.
    #[test]
    fn it_can_be_abandoned_from_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let begun = dir.path().join("begun");
        mkfifoat(CWD, &begun, Mode::RUSR | Mode::WUSR).unwrap();
        let words = Words::One(format!("echo > {}; sleep 1000", begun.display()));
        for round in 0..100 {
            let group = Group::default();
            let failure = std::thread::scope(|scope| {
                let run = scope.spawn(|| run(&words, &[], b"", LONG, &group));
                std::fs::read(&begun).unwrap();
                group.abandon();
                run.join().unwrap()
            });
            assert!(matches!(failure, Err(Failure::Killed { signal: 9, .. })), "round {round}: {failure:?}");
            assert_eq!(run(&words, &[], b"", LONG, &group), Err(Failure::Abandoned));
        }
    }
}
