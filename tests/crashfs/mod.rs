//! The shim between the recorder and its files (`crashfs.c`), and what it wrote down.
#![allow(dead_code)] // each test binary uses its part

pub mod disk;
pub mod judge;
pub mod starved;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What the recorder logs when an episode is saved, with the episode's index behind it.
pub const SAVED: &str = "saved as the data set's episode ";

/// One operation, in the order in which they were done. Paths are relative to the watched folder.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// CLOCK_MONOTONIC, in nanoseconds.
    pub at_ns: u64,
    pub inode: u64,
    pub op: Op,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    Create(PathBuf),
    Mkdir(PathBuf),
    Write {
        offset: u64,
        data: Vec<u8>,
    },
    Truncate {
        size: u64,
    },
    Fsync,
    Rename(PathBuf, PathBuf),
    Link(PathBuf, PathBuf),
    /// A file or a folder is taken away.
    Remove(PathBuf),
    /// The recorder said that it saved this episode.
    Saved {
        episode: u64,
    },
    /// An operation that was made to fail, and its path.
    Fault {
        operation: String,
        path: PathBuf,
    },
}

impl Op {
    /// One that [`Shim::watch`]'s faults count.
    pub fn counts(&self) -> bool {
        !matches!(self, Op::Saved { .. } | Op::Fault { .. })
    }
}

/// The number behind a marker in a line of the recorder's log.
pub fn saved_episode(line: &str) -> Option<u64> {
    line.split_once(SAVED)?.1.split(':').next()?.parse().ok()
}

/// The compiled shim.
pub struct Shim(PathBuf);

impl Shim {
    /// Compiled once for each test program.
    pub fn get() -> &'static Shim {
        static SHIM: OnceLock<Shim> = OnceLock::new();
        SHIM.get_or_init(|| {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crashfs/crashfs.c");
            let built = PathBuf::from(format!("{}/crashfs-{}.so", env!("CARGO_TARGET_TMPDIR"), std::process::id()));
            let mut cc = Command::new("cc");
            cc.args(["-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]).arg(&built).arg(&source);
            let output = cc.output().unwrap_or_else(|e| panic!("cannot run cc: {e}; install a C compiler"));
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Shim(built)
        })
    }

    /// Has `command` write down in `log` what it does below `root`, which must be there; with a fault, such as
    /// `12:enospc:sticky`.
    pub fn watch(&self, command: &mut Command, root: &Path, log: &Path, fault: Option<&str>) {
        command.env("LD_PRELOAD", &self.0).env("CRASHFS_ROOT", root).env("CRASHFS_LOG", log).env("CRASHFS_ACK", SAVED);
        if let Some(fault) = fault {
            command.env("CRASHFS_FAULT", fault);
        }
    }
}

/// Everything in a log.
pub fn read_log(path: &Path) -> Vec<Event> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut events = Vec::new();
    let mut rest = bytes.as_slice();
    while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
        let line = std::str::from_utf8(&rest[..end]).unwrap();
        let (event, length) = parse(line).unwrap_or_else(|| panic!("not a line of crashfs: {line}"));
        rest = &rest[end + 1..];
        let mut event = event;
        if let Op::Write { data, .. } = &mut event.op {
            *data = rest[..length].to_vec();
        }
        rest = &rest[length..];
        events.push(event);
    }
    assert!(rest.is_empty(), "the log ends in the middle of a line");
    events
}

/// A line, and the bytes of data behind it.
fn parse(line: &str) -> Option<(Event, usize)> {
    let mut parts = line.split('\t');
    let mut words = parts.next()?.split(' ');
    let (at_ns, op, inode) = (words.next()?.parse().ok()?, words.next()?, words.next()?.parse().ok()?);
    let (number, length): (u64, usize) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let (path, path2) = (PathBuf::from(parts.next()?), PathBuf::from(parts.next()?));
    let op = match op {
        "create" => Op::Create(path),
        "mkdir" => Op::Mkdir(path),
        "write" => Op::Write { offset: number, data: Vec::new() },
        "truncate" => Op::Truncate { size: number },
        "fsync" => Op::Fsync,
        "rename" => Op::Rename(path, path2),
        "link" => Op::Link(path, path2),
        "unlink" | "rmdir" => Op::Remove(path),
        "ack" => Op::Saved { episode: saved_episode(path.to_str()?)? },
        "fault" => Op::Fault { operation: path.to_str()?.to_owned(), path: path2 },
        _ => return None,
    };
    Some((Event { at_ns, inode, op }, length))
}

/// Numbers that are the same for the same seed (SplitMix64).
#[derive(Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// From 0 to below 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The seed of a test: RECORDER_TEST_SEED, or one of this moment. Print it.
pub fn seed() -> u64 {
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    std::env::var("RECORDER_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(now)
}

/// A folder on a file system without a disk where there is one: the tests' own files need not survive.
pub fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}
