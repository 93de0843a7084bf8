//! The journal of a take: all that the videos in its folder do not say, written as it comes, so that a take that is
//! interrupted can be made an episode.
//!
//! ```text
//! rows.journal   record record record …
//! record         length of the content (4 bytes) | CRC-32 of length and content (4) | content: JSON of a `Record`
//! ```
//!
//! Integers are little-endian. Each record is one write at a known place: what a write that failed has left there is
//! written over, or cut off. The first record is the [`Head`]. Reading stops at the first record that is torn, damaged or
//! makes no sense, and says where; what comes before it is good.
//!
//! A fragment of a video has a record too: where its frames lie in the mp4 file, and a checksum of them. Recovery
//! therefore needs nothing of the mp4's own structure, whether it is growing, finished, or torn between the two.

use super::disk;
use super::episode::MAX_ROWS;
use super::error::DatasetError;
use super::info::Info;
use super::rows::Row;
use super::summary::EncoderSwitch;
use crate::account::{Losses, TakeReport};
use crate::codec::{Fragment, PixelHistogram, SampleFormat};
use crate::config::schema::ColorRange;
use crate::frame::DropReason;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, DatasetError>;

/// The version of the format.
pub const VERSION: u32 = 1;
/// Bytes in front of a record's content.
const HEADER_BYTES: usize = 8;
/// Longest content: a fragment's has some 10 KB. A longer one is refused, and taken for damage when read.
pub const MAX_RECORD_BYTES: usize = 1 << 20;
/// Longest journal that is read: [`MAX_ROWS`] rows of 16 cameras and an arm have a third of it.
const MAX_BYTES: u64 = 1 << 30;
/// Numbers of a pixel histogram: pictures, then three channels of 256 values.
const PIXEL_NUMBERS: usize = 1 + 3 * 256;
/// Most that one of them can be, many times over; the sums of a whole take then fit.
const MAX_PIXELS: u64 = 1 << 40;

/// What the take is, known when it begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    pub version: u32,
    pub take: u64,
    pub task: String,
    /// What the data set was to be: rate, robot and features.
    pub info: Info,
    /// In the order of the rows'.
    pub cameras: Vec<HeadCamera>,
}

/// A camera of the take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadCamera {
    /// Its feature, which names its files.
    pub key: String,
    pub color_range: ColorRange,
}

/// A fragment as it lies in its camera's mp4 file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FragmentRecord {
    /// In the order of [`Head::cameras`].
    pub camera: usize,
    pub first_frame: u64,
    /// Where its frames lie in the file, one behind the other.
    pub offset: u64,
    /// Bytes of each frame.
    pub sizes: Vec<u32>,
    /// Key frames, counted from the first of the fragment.
    pub key_frames: Vec<usize>,
    /// Of all bytes of its frames.
    pub crc32: u32,
    /// Of the camera's first fragment, whose format stands for the whole file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<SampleFormat>,
    /// Frames in whose place another picture stands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub substituted: Vec<(u64, DropReason)>,
    /// Frames that are stored as the camera has encoded them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stored: Vec<u64>,
    /// Pictures sampled and the counts of their values; empty when none was sampled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pixels: Vec<u64>,
}

impl FragmentRecord {
    /// Of a fragment whose frames were written at `offset`; the camera's first one says its format.
    pub fn new(camera: usize, fragment: &Fragment, offset: u64) -> FragmentRecord {
        let mut crc = crc32fast::Hasher::new();
        fragment.samples.iter().for_each(|sample| crc.update(&sample.data));
        let sizes = fragment.samples.iter().map(|sample| sample.data.len() as u32).collect();
        let keys = fragment.samples.iter().enumerate().filter(|(_, sample)| sample.sync).map(|(i, _)| i);
        let counts = fragment.pixels.counts.iter().flatten().copied();
        let pixels = std::iter::once(fragment.pixels.pictures).chain(counts);
        FragmentRecord {
            camera,
            first_frame: fragment.first_frame,
            offset,
            sizes,
            key_frames: keys.collect(),
            crc32: crc.finalize(),
            format: (fragment.first_frame == 0).then(|| (*fragment.format).clone()),
            substituted: fragment.substituted.clone(),
            stored: fragment.stored.clone(),
            pixels: if fragment.pixels.pictures == 0 { Vec::new() } else { pixels.collect() },
        }
    }

    /// The frame after its last one.
    pub fn end(&self) -> u64 {
        self.first_frame + self.sizes.len() as u64
    }

    /// Bytes of all its frames.
    pub fn bytes(&self) -> u64 {
        self.sizes.iter().copied().map(u64::from).sum()
    }

    /// The statistics of its pictures.
    pub fn pixels(&self) -> PixelHistogram {
        let mut histogram = PixelHistogram::default();
        if let Some((pictures, counts)) = self.pixels.split_first() {
            histogram.pictures = *pictures;
            histogram.counts.iter_mut().flatten().zip(counts).for_each(|(to, from)| *to = *from);
        }
        histogram
    }
}

/// One thing that is known of a take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum Record<'a> {
    Head(Cow<'a, Head>),
    /// The next row, and what was lost since the row before.
    Row(Cow<'a, Row>, Cow<'a, Losses>),
    Fragment(Cow<'a, FragmentRecord>),
    /// What finished a camera's video.
    Encoder {
        camera: usize,
        name: Cow<'a, str>,
    },
    /// Another encoder goes on with a camera's video.
    Switch {
        camera: usize,
        switch: Cow<'a, EncoderSwitch>,
    },
    /// The take has all its rows.
    Report(Cow<'a, TakeReport>),
}

impl Record<'_> {
    /// The record as it is written.
    fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; HEADER_BYTES];
        serde_json::to_writer(&mut bytes, self).map_err(DatasetError::encode("a record of the journal"))?;
        let length = bytes.len() - HEADER_BYTES;
        if length > MAX_RECORD_BYTES {
            let error = format!("{length} bytes, at most {MAX_RECORD_BYTES} expected");
            return Err(DatasetError::encode("a record of the journal")(error));
        }
        bytes[..4].copy_from_slice(&(length as u32).to_le_bytes());
        let crc = checksum(&bytes[..4], &bytes[HEADER_BYTES..]);
        bytes[4..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
        Ok(bytes)
    }
}

fn checksum(length: &[u8], content: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(length);
    crc.update(content);
    crc.finalize()
}

/// A journal that is being written.
#[derive(Debug)]
pub struct JournalWriter {
    path: PathBuf,
    file: File,
    /// Where the next record goes.
    end: u64,
    /// A write failed: there are bytes beyond `end`.
    cut: bool,
}

impl JournalWriter {
    /// Begins a journal; it is durable after [`JournalWriter::sync`], once its folder is.
    pub fn create(path: &Path, head: &Head) -> Result<JournalWriter> {
        let file = File::create(path).map_err(DatasetError::io("create", path))?;
        let mut journal = JournalWriter { path: path.to_owned(), file, end: 0, cut: false };
        journal.append(&Record::Head(Cow::Borrowed(head)))?;
        Ok(journal)
    }

    /// Writes a record. After an error the journal is as it was, for whoever writes on or reads.
    pub fn append(&mut self, record: &Record<'_>) -> Result<()> {
        let bytes = record.to_bytes()?;
        if std::mem::take(&mut self.cut) {
            self.file.set_len(self.end).map_err(DatasetError::io("truncate", &self.path))?;
        }
        self.file
            .write_all_at(&bytes, self.end)
            .inspect_err(|_| self.cut = true)
            .map_err(DatasetError::io("write", &self.path))?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Makes durable what was written (`fdatasync`).
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(DatasetError::io("fsync", &self.path))
    }
}

/// Where a journal stops making sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {at} of {bytes}: {reason}")]
pub struct Damage {
    pub at: u64,
    /// Of the whole journal.
    pub bytes: u64,
    pub reason: String,
}

/// What a journal says.
#[derive(Clone, Debug, PartialEq)]
pub struct Journal {
    pub head: Head,
    pub rows: Vec<(Row, Losses)>,
    /// By camera, each without a gap from frame 0 on.
    pub fragments: Vec<Vec<FragmentRecord>>,
    /// By camera.
    pub encoders: BTreeMap<usize, String>,
    pub switches: Vec<(usize, EncoderSwitch)>,
    /// Known once the take has ended.
    pub report: Option<TakeReport>,
    /// What the journal holds beyond this could not be read.
    pub damage: Option<Damage>,
}

impl Journal {
    /// Reads the file; none when there is none, or an empty one.
    pub fn read(path: &Path) -> Result<Option<std::result::Result<Journal, Damage>>> {
        let bytes = match std::fs::metadata(path) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            other => other.map_err(DatasetError::io("read", path))?.len(),
        };
        if bytes > MAX_BYTES {
            let reason = format!("expected at most {MAX_BYTES}");
            return Ok(Some(Err(Damage { at: 0, bytes, reason })));
        }
        Ok(if bytes == 0 { None } else { Some(Journal::parse(&disk::read(path)?)) })
    }

    /// Reads a journal, up to its first damaged record; refuses one whose head cannot be read.
    pub fn parse(bytes: &[u8]) -> std::result::Result<Journal, Damage> {
        let mut at = 0;
        let damage = |at: usize, reason| Damage { at: at as u64, bytes: bytes.len() as u64, reason };
        let content = content(bytes).map_err(|reason| damage(0, reason))?;
        let head = head(content).map_err(|reason| damage(0, reason))?;
        at += HEADER_BYTES + content.len();
        let mut journal = Journal {
            rows: Vec::new(),
            fragments: vec![Vec::new(); head.cameras.len()],
            encoders: BTreeMap::new(),
            switches: Vec::new(),
            report: None,
            damage: None,
            head,
        };
        while at < bytes.len() && journal.damage.is_none() {
            let next = self::content(&bytes[at..]).and_then(|content| {
                let record = serde_json::from_slice(content).map_err(|e| format!("not a record: {e}"))?;
                journal.add(record).map(|()| HEADER_BYTES + content.len())
            });
            match next {
                Ok(length) => at += length,
                Err(reason) => journal.damage = Some(damage(at, reason)),
            }
        }
        Ok(journal)
    }

    /// Adds a record that makes sense after those before it; else says why not.
    fn add(&mut self, record: Record<'_>) -> std::result::Result<(), String> {
        let cameras = self.head.cameras.len();
        let known = |camera: usize| {
            if camera < cameras { Ok(()) } else { Err(format!("camera number {camera} of {cameras}")) }
        };
        match record {
            Record::Head(_) => return Err("a second head".into()),
            Record::Row(row, losses) => {
                if self.report.is_some() || self.rows.len() as u64 >= MAX_ROWS {
                    return Err(format!("a row more than the {} that a take can have", self.rows.len()));
                }
                if row.cameras.len() != cameras {
                    return Err(format!("a row of {} cameras, not {cameras}", row.cameras.len()));
                }
                losses.cameras().try_for_each(known)?;
                self.rows.push((row.into_owned(), losses.into_owned()));
            }
            Record::Fragment(fragment) => {
                known(fragment.camera)?;
                let before = &mut self.fragments[fragment.camera];
                let expected = before.last().map_or(0, FragmentRecord::end);
                let (found, frames) = (fragment.first_frame, fragment.sizes.len());
                if found != expected {
                    return Err(format!("a fragment from frame {found} on, not from {expected}"));
                }
                if frames == 0 || expected + frames as u64 > MAX_ROWS {
                    return Err(format!("a fragment of {frames} frames from frame {found} on"));
                }
                if fragment.key_frames.iter().any(|key| *key >= frames) {
                    return Err("a key frame outside of its fragment".into());
                }
                if fragment.format.is_some() != before.is_empty() {
                    return Err("a format that is not with the first fragment alone".into());
                }
                let counts = fragment.pixels.iter().all(|count| *count <= MAX_PIXELS);
                if ![0, PIXEL_NUMBERS].contains(&fragment.pixels.len()) || !counts {
                    return Err("numbers that are no pixel histogram".into());
                }
                before.push(fragment.into_owned());
            }
            Record::Encoder { camera, name } => {
                known(camera)?;
                self.encoders.insert(camera, name.into_owned());
            }
            Record::Switch { camera, switch } => {
                known(camera)?;
                self.switches.push((camera, switch.into_owned()));
            }
            Record::Report(report) => {
                let (rows, known) = (self.rows.len() as u64, report.cameras.len());
                if (report.take, report.rows, known) != (self.head.take, rows, cameras) {
                    return Err(format!(
                        "a report of take {} with {} rows and {known} cameras, not of take {} with {rows} and {cameras}",
                        report.take, report.rows, self.head.take
                    ));
                }
                self.report = Some(report.into_owned());
            }
        }
        Ok(())
    }
}

/// The content of the record that `bytes` begin with, held against its checksum.
fn content(bytes: &[u8]) -> std::result::Result<&[u8], String> {
    let torn = || "the journal ends in the middle of a record".to_string();
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or_else(torn)?;
    let number = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| header[at + i]));
    let length = number(0) as usize;
    if length == 0 || length > MAX_RECORD_BYTES {
        return Err(format!("a record of {length} bytes"));
    }
    let content = rest.get(..length).ok_or_else(torn)?;
    if checksum(&header[..4], content) != number(4) {
        return Err("its checksum is not that of its bytes".into());
    }
    Ok(content)
}

/// The first record.
fn head(content: &[u8]) -> std::result::Result<Head, String> {
    let value: serde_json::Value = serde_json::from_slice(content).map_err(|e| format!("not a head: {e}"))?;
    match value["head"]["version"].as_u64() {
        Some(version) if version == u64::from(VERSION) => {}
        Some(version) => return Err(format!("format version {version}, known is {VERSION}")),
        None => return Err("not a head".into()),
    }
    match serde_json::from_value(value) {
        Ok(Record::Head(head)) => Ok(head.into_owned()),
        Ok(_) => Err("not a head".into()),
        Err(error) => Err(format!("not a head: {error}")),
    }
}

#[cfg(test)]
mod tests;
