//! `recorder regenerate`: the videos of a data set encoded anew, file by file, whoever recorded it.
//!
//! LeRobot puts several episodes into one mp4: a file is decoded whole, and every frame encoded with the same number and
//! time, so that all metadata stays true. The new file is written beside the old one, verified (frame count, times,
//! decodes to its end), made durable, and renamed over it; on any failure the old file is untouched. Statistics stay:
//! they describe the pictures that were captured. info.json follows once all files of a camera are encoded anew.
//!
//! A run that is killed can be started again: every new file says of itself how it was encoded (`tag.rs`), so that what
//! is done is known from the files alone.

pub(crate) mod decode;
pub mod options;
mod plan;
mod progress;
pub(crate) mod source;
mod summary;
mod tag;
mod transcode;
pub(crate) mod video;
mod waiting;

pub use options::Arguments;
pub use progress::Progress;
pub use summary::{FileReport, State, Summary};

use crate::codec::CodecError;
use crate::codec::backend::{Device, codec_name};
use crate::codec::gpu::Prober;
use crate::config::schema::Codec;
use crate::dataset::claim::Claim;
use crate::dataset::{DatasetError, Mp4Index, checksums, commit, layout};
use options::Target;
use plan::VideoFile;
use source::{Encoding, Source};
use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;
use tag::Tag;

/// Why nothing was encoded at all.
#[derive(Debug, thiserror::Error)]
pub enum RegenerateError {
    /// Options that contradict each other, or the data set.
    #[error("{0}")]
    Usage(String),
    /// Not a data set, or one that is in use.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// There are, or are to be, videos that only ffmpeg decodes.
    #[error(
        "{reason}: expected the programs ffmpeg and ffprobe to decode that, found none; install them (Debian: apt-get install ffmpeg)"
    )]
    NoFfmpeg { reason: String },
    /// What was recorded and not encoded yet could not be encoded; it waits as before.
    #[error("recorded episodes wait to be encoded, and could not be: {0}; they are safe on disk")]
    Waiting(String),
}

impl RegenerateError {
    /// The program's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            RegenerateError::Usage(_) => 2,
            RegenerateError::Dataset(_) => 4,
            RegenerateError::NoFfmpeg { .. } | RegenerateError::Waiting(_) => 1,
        }
    }
}

/// Why one file was not encoded anew. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    #[error("cannot {operation} the video: {source}")]
    Io { operation: &'static str, source: std::io::Error },
    #[error("expected a video, found {0}; restore it from a copy")]
    Unreadable(String),
    #[error("frame {frame} cannot be decoded ({words}): restore the video from a copy")]
    Decode { frame: u64, words: String },
    #[error("expected {expected} frames, found {found}: the video is cut off; restore it from a copy")]
    Frames { expected: u64, found: u64 },
    #[error("expected frame {frame} at {expected:.4} s, found it at {found:.4} s: rows would lose their pictures")]
    Time { frame: u64, expected: f64, found: f64 },
    #[error(transparent)]
    Encode(#[from] CodecError),
    #[error("the new video is not as it must be ({0}): this is a defect of the recorder, please report it")]
    Verify(String),
    #[error("the run was stopped")]
    Interrupted,
}

impl FileError {
    fn io(operation: &'static str) -> impl FnOnce(std::io::Error) -> FileError {
        move |source| FileError::Io { operation, source }
    }
}

/// Encodes the videos of a data set anew, then what was recorded and not encoded yet. When `cancelled` becomes true,
/// what is in work is given up and the rest is left as it is.
pub fn run(
    arguments: &Arguments,
    prober: &Prober,
    progress: &Progress,
    cancelled: &AtomicBool,
) -> Result<Summary, RegenerateError> {
    let start = Instant::now();
    let target = arguments.target()?;
    let waiting = waiting::count(&arguments.root)?;
    let episodes = arguments.root.join(layout::INFO).exists();
    let mut summary = if episodes || waiting == 0 {
        encode_anew(arguments, prober, progress, cancelled)?
    } else {
        Summary::new(arguments)
    };
    if waiting == 0 {
        return Ok(summary.finished(start));
    }
    let what = if waiting == 1 { "1 recorded episode".into() } else { format!("{waiting} recorded episodes") };
    if arguments.dry_run {
        summary.notes.push(format!("{what} would be encoded and added"));
    } else if arguments.episodes.is_some() {
        summary.notes.push(format!("{what} wait to be encoded: run this again without --episodes"));
    } else if summary.files.iter().any(|file| file.state == State::Failed) || cancelled.load(Ordering::Relaxed) {
        summary.notes.push(format!("{what} wait to be encoded still: run this again once all videos are alike"));
    } else {
        let device = device(arguments, target, prober, &mut summary)?;
        summary.added = waiting::finish(arguments, device, prober, cancelled)?;
        summary.notes.push(format!("{} of {what} encoded and added", summary.added));
    }
    Ok(summary.finished(start))
}

/// Encodes the videos of the episodes that the data set has.
fn encode_anew(
    arguments: &Arguments,
    prober: &Prober,
    progress: &Progress,
    cancelled: &AtomicBool,
) -> Result<Summary, RegenerateError> {
    let start = Instant::now();
    let root = arguments.root.as_path();
    let target = arguments.target()?;
    let begun = root.join(layout::INFO).exists() || commit::find(root)?.is_empty();
    if begun || arguments.dry_run {
        // What cannot be is refused before anything is touched.
        plan(arguments)?;
    }
    // From here on no other process writes there. What claiming made is taken away again.
    let _claim = if arguments.dry_run { None } else { Some(Claim::new(root)?) };
    let mut summary = Summary::new(arguments);
    if !arguments.dry_run {
        // Before info.json is changed: an interrupted save would bring the old one back.
        for episode in commit::complete_saves(root)? {
            summary.notes.push(format!("episode {episode}: its save, which was interrupted, is completed"));
        }
    }
    let (source, files) = plan(arguments)?;
    for camera in &source.cameras {
        if let Some(what) = camera.left_alone() {
            summary.notes.push(format!("{} is left as it is: {what}", camera.key));
        }
    }
    let mut work = Vec::new();
    for file in files.iter().filter(|file| file.selected) {
        let codec = Mp4Index::read(&root.join(&file.path)).ok().map(|index| index.codec);
        if is_current(root, file, codec.as_deref(), &source, arguments, target) {
            summary.files.push(FileReport::new(&source, file, State::UpToDate));
            if !arguments.dry_run {
                // A run that was killed may not have got to it.
                for episode in &file.episodes {
                    checksums::settle_as_found(root, *episode, &file.path)?;
                }
            }
        } else {
            work.push((file, codec));
        }
    }
    if arguments.codec == Codec::Copy {
        return copy(summary, &work);
    }
    let device = if work.is_empty() { Device::Cpu } else { device(arguments, target, prober, &mut summary)? };
    let foreign = work.iter().find(|(_, codec)| codec.as_ref().is_some_and(|codec| codec != "mjpeg"));
    let codec = codec_name(arguments.codec);
    let reason = match foreign {
        Some((file, codec)) => Some(format!("{} holds {}", file.path.display(), codec.as_deref().unwrap_or_default())),
        None if arguments.codec != Codec::H264 && !work.is_empty() => Some(format!("new videos are to hold {codec}")),
        None => None,
    };
    if let Some(reason) = reason.filter(|_| !video::has_ffmpeg()) {
        return Err(RegenerateError::NoFfmpeg { reason });
    }
    if device == Device::Cpu && arguments.quality < arguments.cpu_quality() && !work.is_empty() {
        let finest = arguments.cpu_quality();
        summary.notes.push(format!("the CPU encodes at a quality from {finest} on: {finest} is used"));
    }
    let work: Vec<&VideoFile> = work.into_iter().map(|(file, _)| file).collect();
    if arguments.dry_run {
        summary.files.extend(work.iter().map(|file| FileReport::new(&source, file, State::Planned)));
        return Ok(summary.finished(start));
    }
    for file in &files {
        // Left by a run that was killed.
        let _ = std::fs::remove_file(transcode::temporary(&root.join(&file.path)));
    }
    let gpu = AtomicBool::new(device == Device::Gpu);
    let crew = Crew { arguments, source: &source, target, progress, cancelled, gpu };
    summary.files.extend(crew.work(&work));
    summary.files.sort_by_key(|report| files.iter().position(|file| file.path.as_path() == Path::new(&report.path)));
    update_info(&source, &files, arguments, target, &mut summary)?;
    Ok(summary.finished(start))
}

fn plan(arguments: &Arguments) -> Result<(Source, Vec<VideoFile>), RegenerateError> {
    let source = Source::read(&arguments.root)?;
    let root = arguments.root.display();
    if source.cameras.is_empty() {
        return Err(RegenerateError::Dataset(DatasetError::Invalid {
            path: arguments.root.clone(),
            expected: "a data set with videos".into(),
            found: "no camera in meta/info.json".into(),
            remedy: "there is nothing to encode in it",
        }));
    }
    if let Some(fps) = arguments.fps.filter(|fps| *fps != source.fps) {
        return Err(RegenerateError::Usage(format!(
            "--fps: {root} has {} rows a second and a frame for each, found {fps}; leave --fps out: another rate needs \
             another recording",
            source.fps
        )));
    }
    let mut files = plan::files(&source);
    plan::select(&mut files, &source, arguments.episodes.as_ref(), arguments.codec)?;
    Ok((source, files))
}

/// True for a file that needs no work. One that does not say how it was encoded is what info.json says.
fn is_current(
    root: &Path,
    file: &VideoFile,
    codec: Option<&str>,
    source: &Source,
    arguments: &Arguments,
    target: Target,
) -> bool {
    let wanted = codec_name(arguments.codec);
    if codec != Some(wanted) {
        return false;
    }
    match Tag::read(&root.join(&file.path)) {
        Some(tag) => tag.satisfies(arguments, target),
        None if arguments.codec == Codec::Copy => true,
        None => {
            let camera = &source.cameras[file.camera];
            let described = (camera.codec.as_deref(), camera.gop, camera.quality);
            let asked = (Some(wanted), Some(arguments.gop), Some(arguments.quality));
            target != Target::Gpu && described == asked
        }
    }
}

/// There is nothing to copy from but JPEGs, and those are there already.
fn copy(summary: Summary, work: &[(&VideoFile, Option<String>)]) -> Result<Summary, RegenerateError> {
    match work.first() {
        None => Ok(summary.finished(Instant::now())),
        Some((file, codec)) => Err(RegenerateError::Usage(format!(
            "--codec copy keeps the JPEGs of the cameras, and {} holds {}: they are gone; choose h264, or leave the \
             data set as it is",
            file.path.display(),
            codec.as_deref().unwrap_or("something else")
        ))),
    }
}

/// Asks for the GPU where it may be used.
fn device(
    arguments: &Arguments,
    target: Target,
    prober: &Prober,
    summary: &mut Summary,
) -> Result<Device, RegenerateError> {
    if target == Target::Cpu || arguments.codec == Codec::Copy {
        return Ok(Device::Cpu);
    }
    let Err(why) = prober().can_encode(arguments.gpu_id, arguments.codec) else { return Ok(Device::Gpu) };
    let wrong = |words: String| Err(RegenerateError::Usage(words));
    let codec = codec_name(arguments.codec);
    if arguments.codec != Codec::H264 {
        return wrong(format!(
            "--codec {codec}: the GPU does not encode it ({why}); choose h264, which the CPU encodes"
        ));
    }
    if target == Target::Gpu {
        return wrong(format!("the GPU does not encode {codec} ({why}); leave --gpu out to use the CPU"));
    }
    if arguments.bitrate.is_some() {
        return wrong(format!("--bitrate is for NVENC only, and the GPU does not encode ({why}); set --quality alone"));
    }
    summary.notes.push(format!("encoded on the CPU, since the GPU does not encode: {why}"));
    Ok(Device::Cpu)
}

/// Everything that the threads share.
struct Crew<'a> {
    arguments: &'a Arguments,
    source: &'a Source,
    target: Target,
    progress: &'a Progress,
    cancelled: &'a AtomicBool,
    /// The GPU is used, until it fails.
    gpu: AtomicBool,
}

impl Crew<'_> {
    /// Encodes the files, several at a time.
    fn work(&self, files: &[&VideoFile]) -> Vec<FileReport> {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        let workers = self.arguments.workers.map_or(cores, |n| n as usize).clamp(1, files.len().max(1));
        let (next, reports) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed))
                        && !self.cancelled.load(Ordering::Relaxed)
                    {
                        let report = self.encode(file);
                        reports.lock().unwrap_or_else(PoisonError::into_inner).push(report);
                    }
                });
            }
        });
        reports.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn encode(&self, file: &VideoFile) -> FileReport {
        let progress = self.progress;
        let (start, name) = (Instant::now(), file.path.display().to_string());
        let path = self.arguments.root.join(&file.path);
        let mut report = FileReport::new(self.source, file, State::Failed);
        report.bytes_before = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        progress.begin(&name);
        let transcode = |device| {
            let (fps, needed, cancelled) = (self.source.fps, file.frames, self.cancelled);
            let (root, arguments) = (self.arguments.root.as_path(), self.arguments);
            let (place, episodes) = (file.path.as_path(), &file.episodes[..]);
            let job = transcode::Job { root, place, path: &path, episodes, fps, needed, device, arguments, cancelled };
            transcode::transcode(&job, &|done, of| progress.advance(&name, done, of))
        };
        let device = if self.gpu.load(Ordering::Relaxed) { Device::Gpu } else { Device::Cpu };
        let result = match transcode(device) {
            _ if self.cancelled.load(Ordering::Relaxed) => Err(FileError::Interrupted),
            Err(FileError::Encode(error))
                if device == Device::Gpu && self.target == Target::Auto && self.arguments.codec == Codec::H264 =>
            {
                self.gpu.store(false, Ordering::Relaxed);
                progress.end("", &format!("{name}: the GPU failed ({error}); going on with the CPU"));
                transcode(Device::Cpu)
            }
            result => result,
        };
        report.seconds = start.elapsed().as_secs_f64();
        match result {
            Ok(done) => {
                (report.state, report.frames, report.bytes_after) = (State::Encoded, done.frames, done.sum.bytes);
                report.encoder = Some(done.tag.encoder);
            }
            Err(error) => report.error = Some(error.to_string()),
        }
        progress.end(&name, &report.line());
        report
    }
}

/// Lets info.json say how each camera's videos are encoded, where that is the same for all of them.
fn update_info(
    source: &Source,
    files: &[VideoFile],
    arguments: &Arguments,
    target: Target,
    summary: &mut Summary,
) -> Result<(), RegenerateError> {
    let mut encodings = Vec::new();
    for (index, camera) in source.cameras.iter().enumerate() {
        let of_camera: Vec<&VideoFile> = files.iter().filter(|file| file.camera == index).collect();
        let tags = of_camera.iter().map(|file| Tag::read(&arguments.root.join(&file.path)));
        let tags: Option<Vec<Tag>> = tags.map(|tag| tag.filter(|tag| tag.satisfies(arguments, target))).collect();
        let failed = summary.files.iter().any(|report| report.camera == camera.key && report.state == State::Failed);
        match tags.as_deref() {
            Some([Tag { quality, gop, preset, color_range, .. }, ..]) => encodings.push((
                camera.key.clone(),
                Encoding {
                    codec: codec_name(arguments.codec),
                    color_range: *color_range,
                    gop: *gop,
                    quality: *quality,
                    preset: preset.clone(),
                },
            )),
            _ if failed && camera.codec.as_deref() != Some(codec_name(arguments.codec)) => {
                let (present, codec) =
                    (camera.codec.as_deref().unwrap_or("another codec"), codec_name(arguments.codec));
                summary.notes.push(format!(
                    "{}: some of its videos are {present} still, and so says info.json; restore what is damaged and run \
                     this again until all are {codec}",
                    camera.key
                ));
            }
            _ => {}
        }
    }
    summary.info_updated = source::write_encodings(&arguments.root, &encodings)?;
    Ok(())
}
