//! A recorded camera, over and over at the configured rate: concatenated JPEGs, an AVI or MP4 that holds MJPEG, or H.264 as
//! a byte stream.

use super::container::{self, IndexError, Span};
use super::pace::Pacer;
use super::{Camera, CameraError, Mode, Picture, configured_path, own_mode};
use crate::clock::{Clock, Rank};
use crate::codec::h264::{self, H264Error};
use crate::codec::jpeg;
use crate::config::schema;
use crate::frame::PixelFormat;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const EXPECTED_JPEG: &str = "JPEG pictures: concatenated, or MJPEG in an AVI or (not fragmented) MP4";
const EXPECTED_H264: &str = "H.264 as a byte stream (Annex B) that begins with a key frame, without B frames";

/// How many JPEGs are looked at for a whole one that tells the size.
const PROBED: usize = 30;

/// See the module's text. In memory are the places of all pictures (16 bytes each) and one picture.
pub struct FileCamera {
    name: Box<str>,
    path: PathBuf,
    mode: Mode,
    file: File,
    spans: Vec<Span>,
    pacer: Pacer,
    data: Vec<u8>,
}

impl FileCamera {
    /// Reads through the file once to find its pictures, which must have the configured size.
    pub fn open(
        name: &str,
        config: &schema::Camera,
        clock: &Arc<dyn Clock>,
        rank: Rank,
    ) -> Result<FileCamera, CameraError> {
        let mode = own_mode(name, config, &[PixelFormat::Mjpg, PixelFormat::H264])?;
        let format = mode.format;
        let path = configured_path(name, config)?;
        let camera = || Box::from(name);
        let io_error = |action, source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => {
                let here = std::env::current_dir().unwrap_or_default();
                let present = format!("Relative paths start at {}", here.display());
                CameraError::Absent { camera: camera(), path: path.clone(), present }
            }
            _ => CameraError::Io { camera: camera(), path: path.clone(), action, source },
        };
        let content = |found: String, expected: String, remedy: String| CameraError::Content {
            camera: camera(),
            path: path.clone(),
            found,
            expected,
            remedy,
        };
        let file = File::open(&path).map_err(|error| io_error("opening", error))?;
        let (expected, convert) = match format {
            PixelFormat::H264 => (EXPECTED_H264, "libx264 -bf 0 -f h264 clip.h264"),
            _ => (EXPECTED_JPEG, "mjpeg -q:v 3 clip.avi"),
        };
        let remedy = format!("convert it with `ffmpeg -i {} -an -c:v {convert}`", path.display());
        let spans = container::index(&file, format).map_err(|error| match error {
            IndexError::Io(error) => io_error("reading", error),
            IndexError::Content(found) => content(found, expected.into(), remedy.clone()),
        })?;
        let mut camera = FileCamera {
            name: name.into(),
            path: path.clone(),
            mode,
            file,
            spans,
            pacer: Pacer::new(clock, rank, config.fps),
            data: Vec::new(),
        };
        let Mode { width, height, .. } = camera.mode;
        match camera.probe().map_err(|error| io_error("reading", error))? {
            Ok(found) if found == (width, height) => Ok(camera),
            Ok((found_width, found_height)) => {
                let turned = config.rotation.is_sideways();
                let (set_width, set_height) =
                    if turned { (found_height, found_width) } else { (found_width, found_height) };
                Err(content(
                    format!("pictures of {found_width}x{found_height}"),
                    format!("{width}x{height}{}", if turned { " before they are turned" } else { "" }),
                    format!("set width = {set_width} and height = {set_height}"),
                ))
            }
            Err(found) => Err(content(found, expected.into(), format!("record the clip again, or {remedy}"))),
        }
    }

    /// The size of the pictures, or what is wrong with them.
    fn probe(&mut self) -> io::Result<Result<(u32, u32), String>> {
        let Mode { format, width, height, .. } = self.mode;
        if format == PixelFormat::H264 {
            self.read(0)?;
            let mut decoder = h264::Decoder::open(width, height);
            return Ok(match decoder.as_mut().map_err(|error| error.clone()).and_then(|d| d.decode(0, &self.data)) {
                Ok(_) => Ok((width, height)),
                Err(H264Error::WrongSize { found_width, found_height, .. }) => Ok((found_width, found_height)),
                Err(error) => Err(error.to_string()),
            });
        }
        let probed = self.spans.len().min(PROBED);
        for i in 0..probed {
            self.read(i)?;
            if let Ok(structure) = jpeg::parse(&self.data) {
                return Ok(Ok((structure.width, structure.height)));
            }
        }
        Ok(Err(format!("no whole picture among its first {probed}")))
    }

    fn read(&mut self, i: usize) -> io::Result<()> {
        let span = self.spans[i];
        self.data.resize(span.length as usize, 0);
        self.file.read_exact_at(&mut self.data, span.offset)
    }
}

impl Camera for FileCamera {
    fn mode(&self) -> &Mode {
        &self.mode
    }

    fn next(&mut self, timeout: Duration) -> Result<Picture<'_>, CameraError> {
        let (sequence, captured) = self.pacer.wait(timeout)?;
        let i = (sequence % self.spans.len() as u64) as usize;
        self.read(i).map_err(|source| CameraError::Io {
            camera: self.name.clone(),
            path: self.path.clone(),
            action: "reading",
            source,
        })?;
        Ok(Picture { sequence, captured, data: &self.data })
    }
}
