//! A recorded camera: concatenated JPEGs, or an AVI or MP4 that holds MJPEG, over and over at the configured rate.

use super::container::{self, IndexError, Span};
use super::pace::Pacer;
use super::{Camera, CameraError, Mode, Picture, configured_path, jpeg_mode};
use crate::clock::{Clock, Rank};
use crate::codec::jpeg;
use crate::config::schema;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How many pictures are looked at for a whole one that tells the size.
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
        let mode = jpeg_mode(name, config)?;
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
        let spans = container::index(&file).map_err(|error| match error {
            IndexError::Io(error) => io_error("reading", error),
            IndexError::Content(found) => content(
                found,
                "JPEG pictures: concatenated, or MJPEG in an AVI or (not fragmented) MP4".into(),
                format!("convert it with `ffmpeg -i {} -an -c:v mjpeg -q:v 3 clip.avi`", path.display()),
            ),
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
        let mut size = None;
        for i in 0..camera.spans.len().min(PROBED) {
            camera.read(i).map_err(|error| io_error("reading", error))?;
            if let Ok(structure) = jpeg::parse(&camera.data) {
                size = Some((structure.width, structure.height));
                break;
            }
        }
        let Mode { width, height, .. } = camera.mode;
        match size {
            Some(found) if found == (width, height) => Ok(camera),
            Some((found_width, found_height)) => {
                let turned = config.rotation.is_sideways();
                let (set_width, set_height) =
                    if turned { (found_height, found_width) } else { (found_width, found_height) };
                Err(content(
                    format!("pictures of {found_width}x{found_height}"),
                    format!("{width}x{height}{}", if turned { " before they are turned" } else { "" }),
                    format!("set width = {set_width} and height = {set_height}"),
                ))
            }
            None => Err(content(
                format!("no whole picture among its first {}", camera.spans.len().min(PROBED)),
                "JPEG pictures".into(),
                "record the clip again".into(),
            )),
        }
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
