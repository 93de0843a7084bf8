//! Frames that wait for an encoder on disk, in the order in which they came.
//!
//! A *temporary* spill takes what memory has no room for. Its file has no name: it vanishes with the process, and its
//! space is given back as soon as the last frame has left. A *durable* spill keeps the frames of a take that is encoded
//! later. Its file has a name and holds every frame until somebody deletes it: frames can be read again from any
//! row on ([`Spill::rewind`]), and after a restart ([`Spill::reopen`]).
//!
//! Both consist of records that say all of their frame and carry a checksum (`spill/record.rs`). A frame that several
//! rows show lies on disk once, and comes back as one `Arc` as long as somebody holds it: it is decoded once, too.

mod record;
mod tail;

use crate::budget::Credit;
use crate::frame::Frame;
use record::{HEADER_BYTES, Kind, MOST_BYTES, Record};
use rustix::fs::{Mode, OFlags};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

/// The disk did not take or give a frame.
#[derive(Debug, thiserror::Error)]
#[error("{}: frames that wait for an encoder cannot be {operation}: {source}; {}", path.display(), remedy(source))]
pub struct SpillError {
    path: PathBuf,
    operation: &'static str,
    source: Error,
}

fn remedy(source: &Error) -> &'static str {
    match source.kind() {
        ErrorKind::InvalidData | ErrorKind::UnexpectedEof => "what the disk gives is not what was written: replace it",
        _ => "free space there or use a faster disk",
    }
}

/// The end of a durable spill that cannot be read: the process was killed or the power failed while it was written, or
/// the disk lost it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {frames} frames are good, the {bytes} bytes after them are not: {reason}", path.display())]
pub struct Cut {
    pub path: PathBuf,
    /// Rows whose frames are whole, repeated ones among them.
    pub frames: u64,
    /// What is left out.
    pub bytes: u64,
    /// What is wrong with the first record of it.
    pub reason: String,
}

/// Where the frame of a row lies. Rows that show the same frame have the same place.
#[derive(Clone, Copy, Debug)]
struct Entry {
    index: u64,
    /// Of the record that has the picture.
    offset: u64,
    len: usize,
    kind: Kind,
}

/// The waiting frames of one stream. Rows are numbered as the caller likes, but upwards.
#[derive(Debug)]
pub struct Spill {
    /// The folder of a temporary one, the file of a durable one.
    path: PathBuf,
    durable: bool,
    file: Option<File>,
    end: u64,
    entries: VecDeque<Entry>,
    /// The entry that is popped next; always the first of a temporary one.
    next: usize,
    last: Option<(Entry, Record, Weak<Frame>)>,
    popped: Option<(Entry, Weak<Frame>)>,
    /// The file has bytes beyond `end`.
    cut: bool,
}

impl Spill {
    /// A spill that makes its file in `dir` when first needed.
    pub fn temporary(dir: PathBuf) -> Spill {
        Spill::new(dir, false)
    }

    /// A spill that makes the file `path` with its first frame; there must be none yet.
    pub fn durable(path: PathBuf) -> Spill {
        Spill::new(path, true)
    }

    fn new(path: PathBuf, durable: bool) -> Spill {
        let (entries, last, popped) = Default::default();
        Spill { path, durable, file: None, end: 0, entries, next: 0, last, popped, cut: false }
    }

    /// A durable spill as an earlier process left it, from its first frame on. Reads the whole file. A damaged or
    /// unfinished record ends it: what is left out is said. It stays in the file until a frame is pushed.
    pub fn reopen(path: PathBuf) -> Result<(Spill, Option<Cut>), SpillError> {
        Spill::reopen_below(path, u64::MAX)
    }

    /// Cuts the file of a durable spill, durably, to the frames of the rows below `rows`, and to those before any damage.
    pub fn cut_file(path: PathBuf, rows: u64) -> Result<(), SpillError> {
        let (spill, _) = Spill::reopen_below(path, rows)?;
        let Some(file) = &spill.file else { return Ok(()) };
        file.set_len(spill.end).and_then(|()| file.sync_all()).map_err(spill.error("cut"))
    }

    /// Stops in front of the first frame of a row from `rows` on.
    fn reopen_below(path: PathBuf, rows: u64) -> Result<(Spill, Option<Cut>), SpillError> {
        let mut spill = Spill::durable(path);
        let file = File::options().read(true).write(true).open(&spill.path).map_err(spill.error("read back"))?;
        let size = file.metadata().map_err(spill.error("read back"))?.len();
        let mut data = Vec::new();
        let mut damage = None;
        while spill.end < size && damage.is_none() {
            damage = match spill.scan(&file, size - spill.end, &mut data).map_err(spill.error("read back"))? {
                Ok(record) if record.index >= rows => break,
                Ok(record) => spill.place(&record).map(|entry| spill.enter(entry, record, Weak::new())).err(),
                Err(damage) => Some(damage),
            };
        }
        spill.file = Some(file);
        spill.cut = damage.is_some();
        let (path, frames, bytes) = (spill.path.clone(), spill.frames(), size - spill.end);
        let cut = damage.map(|reason| Cut { path, frames, bytes, reason: reason.into() });
        Ok((spill, cut))
    }

    /// Reads the record at the end, which may have so many bytes.
    fn scan(&self, file: &File, room: u64, data: &mut Vec<u8>) -> Result<Result<Record, record::Damage>, Error> {
        const SHORT: record::Damage = "the file ends in the middle of it";
        let mut header = [0; HEADER_BYTES];
        if room < HEADER_BYTES as u64 {
            return Ok(Err(SHORT));
        }
        file.read_exact_at(&mut header, self.end)?;
        let len = match Record::len(&header) {
            Ok(len) if (HEADER_BYTES + len) as u64 <= room => len,
            Ok(_) => return Ok(Err(SHORT)),
            Err(damage) => return Ok(Err(damage)),
        };
        data.resize(len, 0);
        file.read_exact_at(data, self.end + HEADER_BYTES as u64)?;
        Ok(Record::parse(&header, data))
    }

    /// Where the frame of a record at the end of the file lies.
    fn place(&self, record: &Record) -> Result<Entry, record::Damage> {
        match &self.last {
            Some((last, ..)) if last.index >= record.index => Err("it is out of order"),
            _ if record.kind == Kind::Frame => {
                Ok(Entry { index: record.index, offset: self.end, len: record.len, kind: record.kind })
            }
            Some((last, ..)) => Ok(Entry { index: record.index, kind: record.kind, ..*last }),
            None => Err("it repeats a frame that is not there"),
        }
    }

    /// Takes a record at the end of the file into the index.
    fn enter(&mut self, entry: Entry, record: Record, frame: Weak<Frame>) {
        if self.is_written(&record) {
            self.end += (HEADER_BYTES + record.len) as u64;
        }
        self.entries.push_back(entry);
        self.last = Some((entry, record, frame));
    }

    /// The index in memory is enough for a repeat where the file cannot outlive the process.
    fn is_written(&self, record: &Record) -> bool {
        self.durable || record.kind == Kind::Frame
    }

    /// Frames that wait to be popped.
    pub fn len(&self) -> usize {
        self.entries.len() - self.next
    }

    /// True when none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Frames that are held: of a durable spill all that were ever pushed.
    pub fn frames(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Rows from 0 on that have a frame, without a gap.
    pub fn rows(&self) -> u64 {
        self.entries.iter().zip(0..).take_while(|(entry, row)| entry.index == *row).count() as u64
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.end
    }

    /// Bytes that pushing a frame would add.
    pub fn needed(&self, frame: &Arc<Frame>) -> u64 {
        match (self.is_last(frame), self.durable) {
            (false, _) => (HEADER_BYTES + tail::bytes(frame)) as u64,
            (true, true) => HEADER_BYTES as u64,
            (true, false) => 0,
        }
    }

    /// Puts the frame of row `index` at the end. One that is the very frame pushed last is not written again.
    pub fn push(&mut self, index: u64, frame: &Arc<Frame>) -> Result<(), SpillError> {
        if self.is_last(frame) {
            return self.push_again(index, Kind::Repeat).map(|_| ());
        }
        let payload = tail::payload(frame);
        if payload.len() > MOST_BYTES {
            let source = Error::new(ErrorKind::FileTooLarge, format!("a frame of {} bytes", payload.len()));
            return Err(self.error("written")(source));
        }
        self.write(Record::new(index, frame), &payload, Arc::downgrade(frame)).map_err(self.error("written"))
    }

    /// Lets the frame pushed last stand in for that of row `index`, which is dropped. False when there is none.
    pub fn push_stand_in(&mut self, index: u64) -> Result<bool, SpillError> {
        self.push_again(index, Kind::StandIn)
    }

    fn push_again(&mut self, index: u64, kind: Kind) -> Result<bool, SpillError> {
        let Some((_, record, frame)) = &self.last else { return Ok(false) };
        let (record, frame) = (record.again(index, kind), frame.clone());
        self.write(record, &[], frame).map_err(self.error("written"))?;
        Ok(true)
    }

    /// Rows that are held and whose own frame was dropped.
    pub fn stand_ins(&self) -> impl Iterator<Item = u64> + '_ {
        self.entries.iter().filter(|entry| entry.kind == Kind::StandIn).map(|entry| entry.index)
    }

    fn is_last(&self, frame: &Arc<Frame>) -> bool {
        self.last.as_ref().is_some_and(|(.., last)| Weak::ptr_eq(last, &Arc::downgrade(frame)))
    }

    fn write(&mut self, record: Record, data: &[u8], frame: Weak<Frame>) -> Result<(), Error> {
        let entry = self.place(&record).map_err(|damage| Error::new(ErrorKind::InvalidInput, damage))?;
        if self.is_written(&record) {
            let end = self.end;
            let file = match &mut self.file {
                Some(file) => file,
                none => none.insert(if self.durable { named(&self.path) } else { unnamed(&self.path) }?),
            };
            if std::mem::take(&mut self.cut) {
                file.set_len(end)?;
            }
            let header = file.write_all_at(&record.header(data), end);
            let written = header.and_then(|()| file.write_all_at(data, end + HEADER_BYTES as u64));
            // Half a record is written over, or cut off when the file is read again.
            written.inspect_err(|_| self.cut = true)?;
        }
        self.enter(entry, record, frame);
        Ok(())
    }

    /// Makes durable what was pushed (`fdatasync`); nothing to do for a temporary spill.
    pub fn sync(&self) -> Result<(), SpillError> {
        match &self.file {
            Some(file) if self.durable => file.sync_data().map_err(self.error("made durable")),
            _ => Ok(()),
        }
    }

    /// Takes the next frame back into memory: its row, and the frame. None when no frame waits, or when it needs memory
    /// and `credit`, asked for its bytes, gives none. A frame that was popped before and is still held somewhere comes
    /// as the same `Arc`, and needs no credit.
    pub fn pop(
        &mut self,
        credit: impl FnOnce(usize) -> Option<Credit>,
    ) -> Result<Option<(u64, Arc<Frame>)>, SpillError> {
        let (Some(&entry), Some(file)) = (self.entries.get(self.next), &self.file) else { return Ok(None) };
        let held = self.popped.as_ref().filter(|(popped, _)| popped.offset == entry.offset);
        let frame = match held.and_then(|(_, frame)| frame.upgrade()) {
            Some(frame) => frame,
            None => {
                let Some(credit) = credit(entry.len) else { return Ok(None) };
                Arc::new(read(file, entry, credit).map_err(self.error("read back"))?)
            }
        };
        self.popped = Some((entry, Arc::downgrade(&frame)));
        if self.durable {
            self.next += 1;
        } else {
            self.entries.pop_front();
            if self.entries.is_empty() {
                *self = Spill::temporary(std::mem::take(&mut self.path));
            }
        }
        Ok(Some((entry.index, frame)))
    }

    /// Of a durable spill: goes back, or forward, so that the frame of row `index` is popped next. False when it is not
    /// there: then the first one after it is. A temporary spill has forgotten what it gave, and stays where it is.
    pub fn rewind(&mut self, index: u64) -> bool {
        if self.durable {
            self.next = self.entries.partition_point(|entry| entry.index < index);
        }
        self.entries.get(self.next).is_some_and(|entry| entry.index == index)
    }

    fn error(&self, operation: &'static str) -> impl FnOnce(Error) -> SpillError + use<> {
        let path = self.path.clone();
        move |source| SpillError { path, operation, source }
    }
}

fn read(file: &File, entry: Entry, credit: Credit) -> Result<Frame, Error> {
    let mut header = [0; HEADER_BYTES];
    let mut data = vec![0; entry.len];
    file.read_exact_at(&mut header, entry.offset)?;
    file.read_exact_at(&mut data, entry.offset + HEADER_BYTES as u64)?;
    let damaged = |damage| Error::new(ErrorKind::InvalidData, damage);
    Record::parse(&header, &data).map_err(damaged)?.frame(data, credit).map_err(damaged)
}

fn named(path: &Path) -> Result<File, Error> {
    File::options().read(true).write(true).create_new(true).open(path)
}

fn unnamed(dir: &Path) -> Result<File, Error> {
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
mod tests;
