//! Reads the index of an mp4 file that LeRobot, ffmpeg or this recorder made: plain, fragmented, or still growing.
//!
//! Only the index is held in memory, and every number in it is checked before it is believed: a truncated or corrupt
//! file gives an error that says what and where, never a panic, and never more memory than its size warrants.

use super::error::DatasetError;
use super::mp4_track::{self as track, Damage, FileBox, Track};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, DatasetError>;

/// Longest `moov` or `moof` that is read: what an hour of video needs, a hundred times over.
const MAX_INDEX_BYTES: u64 = 64 << 20;

/// One frame as it lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleInfo {
    /// When it is shown, in units of the track; the edit list is taken into account.
    pub time: i64,
    /// How long, in units of the track.
    pub duration: u32,
    /// Bytes.
    pub size: u32,
    /// Where in the file.
    pub offset: u64,
    /// A key frame: decoding can start here.
    pub sync: bool,
}

/// What an mp4 file holds of its first video track.
#[derive(Clone, Debug, PartialEq)]
pub struct Mp4Index {
    path: PathBuf,
    /// FFmpeg's name: `h264`, `hevc`, `av1` or `mjpeg`; of another codec its four-character code.
    pub codec: String,
    /// Pixels.
    pub width: u16,
    /// Pixels.
    pub height: u16,
    /// Units in a second.
    pub timescale: u32,
    /// Where on the track's own time line the edit list starts, in units, which is 0 on that of the samples; none
    /// without an edit list. One that leaves frames out is refused.
    pub edit_start: Option<i64>,
    /// In the order of decoding, which with B-frames is not that of showing.
    pub samples: Vec<SampleInfo>,
}

impl Mp4Index {
    /// Reads the index. A growing file has the frames of its whole fragments.
    ///
    /// # Errors
    /// [`DatasetError::Io`], and [`DatasetError::Invalid`] for a file that is cut off, corrupt, or none of this kind.
    pub fn read(path: &Path) -> Result<Mp4Index> {
        let file = File::open(path).map_err(DatasetError::io("open", path))?;
        let length = file.metadata().map_err(DatasetError::io("read", path))?.len();
        let mut track: Option<Track> = None;
        let mut at = 0;
        while at < length {
            let mut start = [0; 16];
            let start = &mut start[..(length - at).min(16) as usize];
            file.read_exact_at(start, at).map_err(DatasetError::io("read", path))?;
            if let Some(kind) = start.get(4..8).filter(|kind| at == 0 && *kind != b"ftyp") {
                let found = format!("`{}`", kind.escape_ascii());
                return Err(invalid(path)(Damage {
                    at,
                    expected: "an mp4 file, which starts with `ftyp`".into(),
                    found,
                }));
            }
            let header = track::header(start, length - at, at).map_err(invalid(path))?;
            if matches!(&header.kind, b"moov" | b"moof") {
                if header.size > MAX_INDEX_BYTES {
                    let found = format!("`{}` of {}", header.kind.escape_ascii(), header.size);
                    let expected = format!("an index of at most {MAX_INDEX_BYTES} bytes");
                    return Err(invalid(path)(Damage { at, expected, found }));
                }
                let mut bytes = vec![0; header.size as usize];
                file.read_exact_at(&mut bytes, at).map_err(DatasetError::io("read", path))?;
                let index = FileBox::whole(&bytes, header, at);
                let added = match (&mut track, &header.kind) {
                    (none @ None, b"moov") => Track::read(&index, length).map(|read| *none = Some(read)),
                    (Some(track), b"moof") => track.add_fragment(&index, length),
                    (None, _) => Err(index.damage("`moov` in front of all fragments", "a fragment")),
                    (Some(_), _) => Err(index.damage("one `moov`", "a second one")),
                };
                added.map_err(invalid(path))?;
            }
            at += header.size;
        }
        let missing =
            || Damage { at: length, expected: "an index (`moov`)".into(), found: "the end of the file".into() };
        let track = track.ok_or_else(missing).and_then(Track::finish).map_err(invalid(path))?;
        let Track { codec, width, height, timescale, edit_start, samples, .. } = track;
        Ok(Mp4Index { path: path.to_owned(), codec, width, height, timescale, edit_start, samples })
    }

    /// When each frame is shown, in seconds, in the order of showing.
    pub fn frame_times(&self) -> Vec<f64> {
        let mut times: Vec<i64> = self.samples.iter().map(|sample| sample.time).collect();
        times.sort_unstable();
        times.into_iter().map(|time| time as f64 / f64::from(self.timescale)).collect()
    }

    /// The bytes of sample `i`, in the order of decoding.
    ///
    /// # Errors
    /// [`DatasetError::Io`] also when the file has become shorter since.
    ///
    /// # Panics
    /// If there is no sample `i`.
    pub fn read_sample(&self, file: &File, i: usize) -> Result<Vec<u8>> {
        let SampleInfo { size, offset, .. } = self.samples[i];
        let mut bytes = vec![0; size as usize];
        file.read_exact_at(&mut bytes, offset).map_err(DatasetError::io("read", &self.path))?;
        Ok(bytes)
    }
}

fn invalid(path: &Path) -> impl FnOnce(Damage) -> DatasetError {
    let path = path.to_owned();
    move |Damage { at, expected, found }| DatasetError::Invalid {
        path,
        expected,
        found: format!("{found} at byte {at}"),
        remedy: "the video is damaged or of another kind: restore it from a copy, or leave its episodes out",
    }
}
