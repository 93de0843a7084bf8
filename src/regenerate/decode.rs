//! From a video file to pictures: MJPEG by our own decoder, everything else by the `ffmpeg` program, which decodes all
//! that LeRobot writes.

use super::FileError;
use super::video::{self, Probe};
use crate::codec::jpeg;
use crate::codec::yuv::I420;
use crate::config::schema::ColorRange;
use crate::dataset::Mp4Index;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

/// What a file's pictures are, before the first is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// The range that decoded pictures have, and should be encoded in.
    pub color_range: ColorRange,
    pub frames: u64,
}

/// The pictures of one file, in the order of showing.
pub struct Pictures {
    format: Format,
    next: u64,
    kind: Kind,
}

enum Kind {
    Jpegs { file: File, index: Mp4Index, decoder: Box<jpeg::Decoder> },
    Ffmpeg(Ffmpeg),
}

impl Pictures {
    /// Opens a file, and refuses one whose frames are not shown at k / fps seconds.
    pub fn open(path: &Path, fps: u32) -> Result<Pictures, FileError> {
        let pictures = match Mp4Index::read(path) {
            Ok(index) if index.codec == "mjpeg" => Pictures::jpegs(path, index, fps),
            Ok(_) => Pictures::ffmpeg(path, video::probe(path)?, fps),
            // What our own reader does not know, ffmpeg may; if not, the first words are the clearer ones.
            Err(error) => match video::probe(path) {
                Ok(probe) => Pictures::ffmpeg(path, probe, fps),
                Err(_) => Err(error.into()),
            },
        }?;
        if pictures.format.frames == 0 {
            return Err(FileError::Unreadable("no video frame in the file".into()));
        }
        Ok(pictures)
    }

    fn jpegs(path: &Path, index: Mp4Index, fps: u32) -> Result<Pictures, FileError> {
        video::require_grid(&index.frame_times(), fps)?;
        let file = File::open(path).map_err(FileError::io("open"))?;
        let decode = |error: jpeg::JpegError| FileError::Decode { frame: 0, words: error.to_string() };
        if index.samples.is_empty() {
            return Err(FileError::Unreadable("no video frame in the file".into()));
        }
        let structure = jpeg::parse(&index.read_sample(&file, 0)?).map_err(decode)?;
        let decoder = Box::new(jpeg::Decoder::new().map_err(decode)?);
        let format = Format {
            width: structure.width,
            height: structure.height,
            // As when the same JPEGs are encoded while they are recorded.
            color_range: ColorRange::Limited,
            frames: index.samples.len() as u64,
        };
        Ok(Pictures { format, next: 0, kind: Kind::Jpegs { file, index, decoder } })
    }

    fn ffmpeg(path: &Path, probe: Probe, fps: u32) -> Result<Pictures, FileError> {
        video::require_grid(&probe.times_s, fps)?;
        let Probe { width, height, color_range, .. } = probe;
        let format = Format { width, height, color_range, frames: probe.times_s.len() as u64 };
        Ok(Pictures { format, next: 0, kind: Kind::Ffmpeg(Ffmpeg::start(path, &probe)?) })
    }

    /// What the pictures are.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Decodes the next picture into `into`, which has the format's size and range; false after the last one.
    pub fn next(&mut self, into: &mut I420) -> Result<bool, FileError> {
        let frame = self.next;
        match &mut self.kind {
            Kind::Jpegs { .. } if frame == self.format.frames => return Ok(false),
            Kind::Jpegs { file, index, decoder } => {
                let jpeg = index.read_sample(file, frame as usize)?;
                decoder.decode(&jpeg, into).map_err(|error| FileError::Decode { frame, words: error.to_string() })?;
            }
            Kind::Ffmpeg(ffmpeg) => {
                if !ffmpeg.read(into, frame)? {
                    let expected = self.format.frames;
                    return if frame == expected {
                        Ok(false)
                    } else {
                        Err(FileError::Frames { expected, found: frame })
                    };
                }
            }
        }
        self.next += 1;
        Ok(true)
    }
}

/// A child process that writes raw pictures.
struct Ffmpeg {
    child: Child,
    pictures: BufReader<ChildStdout>,
    /// Collects what it complains of.
    complaints: Option<JoinHandle<String>>,
}

/// Bytes of complaints that are kept.
const COMPLAINTS: usize = 2000;

impl Ffmpeg {
    fn start(path: &Path, probe: &Probe) -> Result<Ffmpeg, FileError> {
        // `yuvj420p` is FFmpeg's name of full range: with the other, values would be squeezed.
        let (pix_fmt, range) = match probe.color_range {
            ColorRange::Full => ("yuvj420p", "full"),
            ColorRange::Limited => ("yuv420p", "limited"),
        };
        let mut command = Command::new("ffmpeg");
        command.args(["-nostdin", "-v", "error", "-noautorotate", "-i"]).arg(path);
        command.args(["-map", "0:v:0", "-fps_mode", "passthrough"]);
        if let Some(matrix) = &probe.foreign_matrix {
            // Ours are BT.601, as LeRobot's readers take every video to be.
            let filter = format!(
                "scale=in_color_matrix={matrix}:out_color_matrix=bt601:in_range={range}:out_range={range}:\
                 flags=accurate_rnd+full_chroma_int"
            );
            command.args(["-vf", &filter]);
        }
        command.args(["-pix_fmt", pix_fmt, "-f", "rawvideo", "-"]);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(FileError::io("run ffmpeg on"))?;
        let (Some(stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(FileError::Unreadable("ffmpeg's output cannot be read".into()));
        };
        // Read to the end, or it would wait for us.
        let complaints = std::thread::spawn(move || {
            let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
            while let Ok(n @ 1..) = stderr.read(&mut buffer) {
                kept.extend_from_slice(&buffer[..n.min(COMPLAINTS.saturating_sub(kept.len()))]);
            }
            String::from_utf8_lossy(&kept).into_owned()
        });
        let pictures = BufReader::with_capacity(1 << 16, stdout);
        Ok(Ffmpeg { child, pictures, complaints: Some(complaints) })
    }

    /// The next picture; false at a clean end. Anything that ffmpeg complains of is an error: it conceals damage.
    fn read(&mut self, into: &mut I420, frame: u64) -> Result<bool, FileError> {
        match self.pictures.read_exact(into.data_mut()) {
            Ok(()) => return Ok(true),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(FileError::io("read from ffmpeg")(error)),
        }
        let status = self.child.wait().map_err(FileError::io("run ffmpeg on"))?;
        let complaints = self.complaints.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        // Without the decoder's name and address in front.
        let words = complaints.lines().next().unwrap_or_default();
        let words = words.rsplit_once("] ").map_or(words, |(_, words)| words).trim();
        if !words.is_empty() {
            return Err(FileError::Decode { frame, words: words.into() });
        }
        if !status.success() {
            return Err(FileError::Decode { frame, words: format!("ffmpeg ended with {status}") });
        }
        Ok(false)
    }
}

impl Drop for Ffmpeg {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
