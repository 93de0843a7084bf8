//! The log as a file of bounded size, for months.
//!
//! Objective: whoever logs never waits, and a disk that is full or hangs does not keep a take from being saved. Lines go
//! through a bounded queue to a thread of their own; what does not fit, or cannot be written, is counted and said: when
//! it begins on the terminal, when it is over in the file too.

use crate::config::schema::{Log, LogFormat};
use crate::console::screen::{self, LogWriter};
use crate::log_format::{self, JsonLine};
use crate::metrics;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Lines that may wait for the disk; further ones are lost and counted.
const QUEUE: usize = 4096;
/// At the end of the program the last lines are waited for this long: the disk may hang.
const FAREWELL: Duration = Duration::from_secs(2);

/// A log file that is begun anew when it has reached its size; older ones keep their lines for a while.
#[derive(Debug)]
pub struct RotatingFile {
    path: PathBuf,
    max_bytes: u64,
    /// Older files beside the current one.
    keep: u32,
    /// There while it can be written.
    file: Option<(File, u64)>,
}

impl RotatingFile {
    /// Goes on with the file at `path`, or begins it, with the folders above it.
    pub fn open(path: &Path, max_bytes: u64, keep: u32) -> io::Result<RotatingFile> {
        let mut rotating = RotatingFile { path: path.to_owned(), max_bytes, keep, file: None };
        rotating.file = Some(rotating.append()?);
        Ok(rotating)
    }

    /// Appends a whole line. After an error the line, or its end, is missing; the next one starts on a line of its own.
    pub fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let (mut file, mut bytes) = match self.file.take() {
            Some(open) => open,
            None => self.append()?,
        };
        if bytes > 0 && bytes + line.len() as u64 > self.max_bytes {
            drop(file);
            self.rotate()?;
            (file, bytes) = self.append()?;
        }
        file.write_all(line)?;
        self.file = Some((file, bytes + line.len() as u64));
        Ok(())
    }

    fn append(&self) -> io::Result<(File, u64)> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(&self.path)?;
        let bytes = file.metadata()?.len();
        if bytes > 0 && !ends_a_line(&file, bytes)? {
            file.write_all(b"\n")?;
        }
        Ok((file, bytes))
    }

    /// `log` becomes `log.1`, `log.1` becomes `log.2`, and so on; the last one is gone.
    fn rotate(&self) -> io::Result<()> {
        let nth = |n: u32| match n {
            0 => self.path.clone(),
            n => PathBuf::from(
                [self.path.as_os_str(), &OsString::from(format!(".{n}"))].into_iter().collect::<OsString>(),
            ),
        };
        if self.keep == 0 {
            return std::fs::remove_file(&self.path);
        }
        for n in (0..self.keep).rev().filter(|n| nth(*n).exists()) {
            std::fs::rename(nth(n), nth(n + 1))?;
        }
        Ok(())
    }
}

fn ends_a_line(file: &File, bytes: u64) -> io::Result<bool> {
    use std::os::unix::fs::FileExt;
    let mut last = [0];
    file.read_exact_at(&mut last, bytes - 1)?;
    Ok(last == *b"\n")
}

/// Where whoever logs puts lines: it never waits.
#[derive(Clone)]
struct Queue {
    lines: SyncSender<Vec<u8>>,
    lost: Arc<AtomicU64>,
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Queue;

    fn make_writer(&'a self) -> Queue {
        self.clone()
    }
}

impl Write for Queue {
    /// A whole line at a time.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lines.try_send(line.to_vec()).is_err() {
            lose(&self.lost);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lose(lost: &AtomicU64) {
    lost.fetch_add(1, Ordering::Relaxed);
    ::metrics::counter!(metrics::LOG_LINES_LOST).increment(1);
}

/// Writes lines as they come; an empty one ends it. What it has to say itself goes the way of every line.
fn write_lines(lines: &Receiver<Vec<u8>>, lost: &AtomicU64, file: &mut RotatingFile) {
    let mut failing = false;
    for line in lines.iter().take_while(|line| !line.is_empty()) {
        if let Err(error) = file.write(&line) {
            lose(lost);
            if !failing {
                tracing::warn!("{}: the log cannot be written: {error}; recording goes on", file.path.display());
            }
            failing = true;
            continue;
        }
        failing = false;
        let missing = lost.swap(0, Ordering::Relaxed);
        if missing > 0 {
            tracing::warn!("{}: {missing} lines of the log are missing before here", file.path.display());
        }
    }
}

/// The log from now on; dropped, it writes what is left.
#[must_use]
pub struct Logging {
    queue: Option<(SyncSender<Vec<u8>>, Receiver<()>)>,
}

impl Drop for Logging {
    fn drop(&mut self) {
        screen::flush();
        if let Some((lines, written)) = self.queue.take() {
            // No room in the queue: the disk hangs, or is far behind. What is logged after this is lost.
            if lines.try_send(Vec::new()).is_ok() {
                let _ = written.recv_timeout(FAREWELL);
            }
        }
    }
}

/// The log file cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("log.file: expected a file that can be written, found {path}: {source}; choose another path, or leave it out")]
pub struct LogFileError {
    path: String,
    source: io::Error,
}

/// Starts logging for this process: on the terminal, and into the file that is configured. `RUST_LOG` says what.
pub fn start(config: Option<&Log>) -> Result<Logging, LogFileError> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("recorder=info,warn"));
    let terminal = log_format::text().with_ansi(screen::is_coloured()).with_writer(LogWriter);
    let registry = tracing_subscriber::registry().with(filter).with(terminal);
    let Some((config, path)) = config.and_then(|config| Some((config, config.file.as_deref()?))) else {
        registry.init();
        return Ok(Logging { queue: None });
    };
    let error = |source| LogFileError { path: path.display().to_string(), source };
    let mut file = RotatingFile::open(path, u64::from(config.max_mib) << 20, config.keep).map_err(error)?;
    let (lines, received) = sync_channel(QUEUE);
    let (done, written) = sync_channel(1);
    let lost = Arc::new(AtomicU64::new(0));
    let queue = Queue { lines: lines.clone(), lost: lost.clone() };
    let layer = log_format::text().with_ansi(false).with_writer(queue);
    registry
        .with(match config.format {
            LogFormat::Text => layer.boxed(),
            LogFormat::Json => layer.event_format(JsonLine).boxed(),
        })
        .init();
    let thread = std::thread::Builder::new().name("log".into()).spawn(move || {
        write_lines(&received, &lost, &mut file);
        let _ = done.send(());
    });
    thread.map_err(error)?;
    Ok(Logging { queue: Some((lines, written)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dir: &Path) -> Vec<(String, String)> {
        let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap()).collect();
        files.sort_by_key(|entry| entry.file_name());
        let text = |path: PathBuf| std::fs::read_to_string(path).unwrap();
        files.into_iter().map(|entry| (entry.file_name().into_string().unwrap(), text(entry.path()))).collect()
    }

    fn names_and_texts(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect()
    }

    #[test]
    fn size_and_number_of_files_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let mut file = RotatingFile::open(&path, 10, 2).unwrap();
        for line in ["11111\n", "222\n", "3\n", "44444444\n", "5\n", "6666666666666\n", "7\n"] {
            file.write(line.as_bytes()).unwrap();
        }
        let expected = [("a.log", "7\n"), ("a.log.1", "6666666666666\n"), ("a.log.2", "5\n")];
        // Lines are whole, a line that is too long has a file of its own, and the oldest files are gone.
        assert_eq!(read(dir.path()), names_and_texts(&expected));
        // A later process goes on with the file, also where the last line was torn.
        std::fs::write(&path, "torn").unwrap();
        let mut file = RotatingFile::open(&path, 100, 0).unwrap();
        file.write(b"next\n").unwrap();
        assert_eq!(read(dir.path())[0].1, "torn\nnext\n");
        file.write(&[b'x'; 100]).unwrap();
        assert_eq!(read(dir.path())[0].1, "x".repeat(100), "nothing is kept with `keep = 0`");
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_writing_goes_on_later() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log/a.log");
        let mut file = RotatingFile::open(&path, 8, 1).unwrap();
        let (lines, received) = sync_channel(8);
        let lost = AtomicU64::new(0);
        let mut write = |batch: &[&str]| {
            batch.iter().for_each(|line| lines.send(line.as_bytes().to_vec()).unwrap());
            lines.send(Vec::new()).unwrap();
            write_lines(&received, &lost, &mut file);
            lost.load(Ordering::Relaxed)
        };
        assert_eq!(write(&["1\n"]), 0);
        // The next rotation fails: a folder that is not empty stands where the older file is to be.
        std::fs::create_dir_all(dir.path().join("log/a.log.1/x")).unwrap();
        assert_eq!(write(&["22222222\n", "3\n", "44444444\n"]), 1, "what fits is written, and the first loss said");
        std::fs::remove_dir_all(dir.path().join("log/a.log.1")).unwrap();
        assert_eq!(write(&["55555555\n"]), 0, "said, and counted anew");
        assert_eq!(read(&dir.path().join("log"))[0].1, "55555555\n");
    }

    #[test]
    fn a_queue_that_is_full_holds_up_nobody() {
        let (lines, received) = sync_channel(2);
        let lost = Arc::new(AtomicU64::new(0));
        let mut queue = Queue { lines, lost: lost.clone() };
        for line in ["1\n", "2\n", "3\n", "4\n"] {
            queue.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!((lost.load(Ordering::Relaxed), received.try_iter().count()), (2, 2));
    }
}
