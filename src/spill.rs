//! Frames that wait for an encoder on disk, once memory holds as many as it may.
//!
//! A spill is an unnamed file: it vanishes with the process, so a crash leaves nothing behind. Frames leave in the order
//! they came, and the space of a drained spill is given back at once.

use crate::budget::Credit;
use crate::clock::Stamp;
use crate::frame::{Frame, PixelFormat};
use rustix::fs::{Mode, OFlags};
use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The disk did not take or give a frame.
#[derive(Debug, thiserror::Error)]
#[error(
    "{path}: frames that wait for an encoder cannot be {operation}: {source}; free space there or use a faster disk"
)]
pub struct SpillError {
    path: PathBuf,
    operation: &'static str,
    source: std::io::Error,
}

/// All of a frame but its pixels.
#[derive(Clone, Copy, Debug)]
struct Header {
    camera: usize,
    sequence: u64,
    captured: Stamp,
    arrived: Stamp,
    format: PixelFormat,
    width: u32,
    height: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    index: u64,
    offset: u64,
    len: usize,
    header: Header,
}

/// The waiting frames of one stream.
#[derive(Debug)]
pub struct Spill {
    dir: PathBuf,
    file: Option<File>,
    end: u64,
    waiting: VecDeque<Entry>,
    last: Option<Entry>,
}

impl Spill {
    /// A spill that makes its file in `dir` when first needed.
    pub fn new(dir: PathBuf) -> Spill {
        Spill { dir, file: None, end: 0, waiting: VecDeque::new(), last: None }
    }

    /// Frames that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// True when none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.end
    }

    fn error(&self, operation: &'static str) -> impl FnOnce(std::io::Error) -> SpillError + use<> {
        let path = self.dir.clone();
        move |source| SpillError { path, operation, source }
    }

    /// Puts frame `index` at the end.
    pub fn push(&mut self, index: u64, frame: &Frame) -> Result<(), SpillError> {
        if self.file.is_none() {
            self.file = Some(unnamed(&self.dir).map_err(self.error("written"))?);
        }
        if let Some(file) = &self.file {
            file.write_all_at(&frame.data, self.end).map_err(self.error("written"))?;
        }
        let header = Header {
            camera: frame.camera,
            sequence: frame.sequence,
            captured: frame.captured,
            arrived: frame.arrived,
            format: frame.format,
            width: frame.width,
            height: frame.height,
        };
        let entry = Entry { index, offset: self.end, len: frame.data.len(), header };
        self.end += frame.data.len() as u64;
        self.waiting.push_back(entry);
        self.last = Some(entry);
        Ok(())
    }

    /// Lets the frame before stand in for frame `index`. False when there is none.
    pub fn push_repeat(&mut self, index: u64) -> bool {
        let Some(last) = self.last else { return false };
        self.waiting.push_back(Entry { index, ..last });
        true
    }

    /// Size of the frame that is next.
    pub fn next_len(&self) -> Option<usize> {
        self.waiting.front().map(|entry| entry.len)
    }

    /// Takes the first frame back into memory.
    pub fn pop(&mut self, credit: Credit) -> Result<Option<(u64, Frame)>, SpillError> {
        let (Some(entry), Some(file)) = (self.waiting.front().copied(), &self.file) else { return Ok(None) };
        let mut data = vec![0; entry.len];
        file.read_exact_at(&mut data, entry.offset).map_err(self.error("read back"))?;
        self.waiting.pop_front();
        if self.waiting.is_empty() {
            *self = Spill::new(std::mem::take(&mut self.dir));
        }
        let Header { camera, sequence, captured, arrived, format, width, height } = entry.header;
        let frame = Frame { camera, sequence, captured, arrived, format, width, height, data, credit };
        Ok(Some((entry.index, frame)))
    }
}

fn unnamed(dir: &Path) -> std::io::Result<File> {
    std::fs::create_dir_all(dir)?;
    match rustix::fs::open(dir, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR) {
        Ok(fd) => Ok(File::from(fd)),
        // A file system without unnamed files, such as NFS: a name that goes away at once.
        Err(_) => {
            let path = dir.join(format!("spill-{}-{:?}", std::process::id(), std::thread::current().id()));
            let file = File::options().read(true).write(true).create_new(true).open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;

    #[test]
    fn frames_come_back_in_order_with_all_their_facts_and_leave_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let budget = Budget::new(1 << 20, 10);
        let mut spill = Spill::new(dir.path().join("work"));
        assert!(!spill.push_repeat(0), "there is nothing to repeat yet");
        for index in 0..3u64 {
            let frame = Frame {
                camera: 1,
                sequence: 100 + index,
                captured: Stamp { mono_ns: index, utc_ns: 7 },
                arrived: Stamp::default(),
                format: PixelFormat::Mjpg,
                width: 4,
                height: 2,
                data: vec![index as u8; 10],
                credit: budget.try_acquire(10).unwrap(),
            };
            spill.push(index, &frame).unwrap();
        }
        assert!(spill.push_repeat(3));
        assert_eq!((spill.len(), spill.bytes(), budget.frames_in_use()), (4, 30, 0));
        for index in 0..4u64 {
            let (at, frame) = spill.pop(budget.try_acquire(10).unwrap()).unwrap().unwrap();
            assert_eq!((at, frame.sequence, frame.data[9]), (index, 100 + index.min(2), index.min(2) as u8));
        }
        assert!(spill.is_empty() && spill.bytes() == 0);
        assert_eq!(std::fs::read_dir(dir.path().join("work")).unwrap().count(), 0);
    }

    #[test]
    fn an_unwritable_place_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let budget = Budget::new(100, 1);
        let frame = Frame {
            camera: 0,
            sequence: 0,
            captured: Stamp::default(),
            arrived: Stamp::default(),
            format: PixelFormat::Mjpg,
            width: 2,
            height: 2,
            data: vec![1],
            credit: budget.try_acquire(1).unwrap(),
        };
        let error = Spill::new(file.clone()).push(0, &frame).unwrap_err().to_string();
        assert!(error.contains(&file.display().to_string()) && error.contains("written"), "{error}");
    }
}
