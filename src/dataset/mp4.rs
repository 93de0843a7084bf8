//! A video file that survives a crash at any moment: hybrid mp4.
//!
//! While it grows it is a fragmented mp4: every fragment that reached the disk can be played, whatever happens later.
//! When it is finished it becomes a plain mp4 that every reader seeks in: the index (`moov`) is appended and made
//! durable, and only then 16 bytes at the front turn all fragments into the payload of one `mdat`.
//!
//! ```text
//! growing   ftyp free moov(no samples) moof mdat moof mdat …
//! finished  ftyp mdat[ moov            moof mdat moof mdat … ] moov(all samples)
//! ```

use super::error::DatasetError;
use super::mp4_boxes::{self as boxes, SampleIndex};
use super::sample_entry::sample_entry;
use crate::codec::bitstream::nal_units;
use crate::codec::sps::Sps;
use crate::codec::{Fragment, SampleFormat, jpeg};
use crate::config::schema::ColorRange;
use shiguredo_mp4::boxes::SampleEntry;
use std::fs::{File, OpenOptions};
use std::num::NonZeroU32;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, DatasetError>;

/// What the file says of its one video track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoTrack {
    /// Pixels, at most 32767.
    pub width: u16,
    /// Pixels, at most 32767.
    pub height: u16,
    /// Frames a second; frame k is shown at k / fps seconds.
    pub fps: u32,
    /// Range of the values, BT.601 in both cases.
    pub color_range: ColorRange,
}

/// Writes one hybrid mp4; see the module's text. A writer that is dropped leaves the growing file behind.
#[derive(Debug)]
pub struct Mp4Writer {
    path: PathBuf,
    file: File,
    track: VideoTrack,
    /// Known from the first fragment on; it then stands for the whole file: a stream that changes to another encoder
    /// carries its new parameter sets in front of each key frame.
    entry: Option<SampleEntry>,
    /// The codec's name, from the first fragment on.
    codec: Option<&'static str>,
    /// See [`Finished::pix_fmt`].
    pix_fmt: Option<&'static str>,
    index: SampleIndex,
    /// Where the placeholder lies, and the next fragment goes: a write that failed is written over.
    placeholder: u64,
    end: u64,
    /// Checksums of what lies before the placeholder and behind it.
    crc: [crc32fast::Hasher; 2],
}

/// A finished video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    pub frames: u64,
    pub bytes: u64,
    /// Of the whole file.
    pub crc32: u32,
    /// FFmpeg's name of how the first picture's pixels are stored, where only the picture tells.
    pub pix_fmt: Option<&'static str>,
}

impl Mp4Writer {
    /// Opens a new file, or empties an old one.
    pub fn create(path: &Path, track: VideoTrack) -> Result<Mp4Writer> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .map_err(DatasetError::io("create", path))?;
        Ok(Mp4Writer {
            path: path.to_owned(),
            file,
            track,
            entry: None,
            codec: None,
            pix_fmt: None,
            index: SampleIndex::default(),
            placeholder: 0,
            end: 0,
            crc: Default::default(),
        })
    }

    /// Frames written so far.
    pub fn frames(&self) -> u64 {
        self.index.sizes.len() as u64
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a fragment, which must start at frame [`Mp4Writer::frames`], the file's first one with a key frame; a GOP that
    /// is longer than a fragment goes on in the next. Nothing has changed after an error.
    pub fn append(&mut self, fragment: &Fragment) -> Result<()> {
        let first_frame = self.frames();
        if fragment.first_frame != first_frame {
            let (path, found) = (self.path.clone(), fragment.first_frame);
            return Err(DatasetError::NotContiguous { path, expected: first_frame, found });
        }
        self.check(fragment)?;
        let mut bytes = Vec::new();
        let mut header = None;
        let full_range = self.entry.is_none() && is_full_range(fragment);
        if self.entry.is_none() {
            // A camera that has encoded its video itself has chosen the range.
            let color_range = if full_range { ColorRange::Full } else { self.track.color_range };
            let entry =
                sample_entry(&VideoTrack { color_range, ..self.track }, &fragment.format).map_err(self.defect())?;
            bytes.extend(boxes::file_type(&fragment.format).map_err(self.defect())?);
            let placeholder = bytes.len() as u64;
            bytes.extend(boxes::placeholder());
            bytes.extend(boxes::growing_moov(&self.track, &entry).map_err(self.defect())?);
            header = Some((entry, placeholder));
        }
        let samples: Vec<(u32, bool)> =
            fragment.samples.iter().map(|s| (u32::try_from(s.data.len()).unwrap_or(u32::MAX), s.sync)).collect();
        let sequence = self.index.chunks.len() as u32 + 1;
        bytes.extend(boxes::fragment_header(sequence, first_frame, &samples).map_err(self.defect())?);
        let payload = self.end + bytes.len() as u64;
        bytes.reserve_exact(fragment.samples.iter().map(|s| s.data.len()).sum());
        fragment.samples.iter().for_each(|s| bytes.extend_from_slice(&s.data));
        self.file.write_all_at(&bytes, self.end).map_err(DatasetError::io("write", &self.path))?;

        let mut body = &bytes[..];
        if let Some((entry, placeholder)) = header {
            let (head, rest) = bytes.split_at(placeholder as usize);
            self.crc[0].update(head);
            body = rest.get(boxes::LARGE_HEADER..).unwrap_or_default();
            self.entry = Some(entry);
            self.codec = Some(fragment.format.name());
            self.pix_fmt = match (&*fragment.format, fragment.samples.first()) {
                (SampleFormat::Mjpeg, Some(first)) => {
                    jpeg::parse(&first.data).ok().and_then(|jpeg| jpeg.pixel_format())
                }
                (SampleFormat::H264 { .. }, _) if full_range => Some("yuvj420p"),
                _ => None,
            };
            self.placeholder = placeholder;
        }
        self.crc[1].update(body);
        self.end += bytes.len() as u64;
        self.index.chunks.push((payload, samples.len() as u32));
        for (size, key) in samples {
            self.index.sizes.push(size);
            if key {
                self.index.key_frames.extend(NonZeroU32::new(self.index.sizes.len() as u32));
            }
        }
        Ok(())
    }

    /// Where the samples of the last fragment lie in the file, one behind the other; they stay there when it is finished.
    pub(super) fn last_payload(&self) -> Option<u64> {
        self.index.chunks.last().map(|&(offset, _)| offset)
    }

    /// Makes durable what was appended (`fdatasync`).
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(DatasetError::io("fsync", &self.path))
    }

    /// Turns the file into a plain mp4 and returns its frames: see [`Mp4Writer::finish_summed`].
    pub fn finish(self) -> Result<u64> {
        Ok(self.finish_summed()?.frames)
    }

    /// Turns the file into a plain mp4; its checksum is that of what was written, not of what is read back. The last 16 bytes are not durable yet: the caller syncs
    /// the file together with others. A file without frames stays empty.
    pub fn finish_summed(mut self) -> Result<Finished> {
        let Some(entry) = &self.entry else { return Ok(Finished { frames: 0, bytes: 0, crc32: 0, pix_fmt: None }) };
        let moov = boxes::finished_moov(&self.track, entry, &self.index).map_err(self.defect())?;
        self.file.write_all_at(&moov, self.end).map_err(DatasetError::io("write", &self.path))?;
        // A fragment whose write failed may have left bytes beyond.
        self.file.set_len(self.end + moov.len() as u64).map_err(DatasetError::io("truncate", &self.path))?;
        self.sync()?;
        let header = boxes::large_mdat_header(self.end - self.placeholder);
        self.file.write_all_at(&header, self.placeholder).map_err(DatasetError::io("write", &self.path))?;
        let (frames, bytes) = (self.frames(), self.end + moov.len() as u64);
        let [mut crc, mut body] = std::mem::take(&mut self.crc);
        body.update(&moov);
        crc.update(&header);
        crc.combine(&body);
        Ok(Finished { frames, bytes, crc32: crc.finalize(), pix_fmt: self.pix_fmt })
    }

    fn check(&self, fragment: &Fragment) -> Result<()> {
        let wrong = |expected, found: String| Err(DatasetError::Fragment { path: self.path.clone(), expected, found });
        match fragment.samples.first() {
            None => return wrong("at least one frame", "none".into()),
            Some(first) if !first.sync && self.entry.is_none() => {
                return wrong("a key frame first", "another kind of frame".into());
            }
            Some(_) => {}
        }
        let found = fragment.format.name();
        if let Some(codec) = self.codec.filter(|codec| *codec != found) {
            return wrong("one codec in a file", format!("{found} after {codec}"));
        }
        Ok(())
    }

    fn defect(&self) -> impl FnOnce(shiguredo_mp4::Error) -> DatasetError + use<> {
        DatasetError::encode(format!("{}: cannot build the mp4 boxes", self.path.display()))
    }
}

/// H.264 that says itself that it uses all values.
fn is_full_range(fragment: &Fragment) -> bool {
    let first = fragment.samples.first().filter(|_| matches!(*fragment.format, SampleFormat::H264 { .. }));
    let sps = first.and_then(|first| nal_units(&first.data).find(|nal| nal[0] & 0x1f == 7).and_then(Sps::parse));
    sps.is_some_and(|sps| sps.range == ColorRange::Full)
}
