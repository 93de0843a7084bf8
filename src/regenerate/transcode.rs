//! One video file: decoded whole, every frame encoded into a temporary file beside it, verified, renamed over it. On
//! any failure the old file stays as it was.

use super::decode::{Format, Pictures};
use super::options::Arguments;
use super::tag::Tag;
use super::{FileError, video};
use crate::codec::backend::{self, Device};
use crate::codec::bitstream::nal_units;
use crate::codec::stream::StreamParams;
use crate::codec::yuv::I420;
use crate::codec::{Fragment, PixelHistogram, Preset};
use crate::config::schema::Codec;
use crate::dataset::checksums::{self, FileSum};
use crate::dataset::{Mp4Index, Mp4Writer, VideoTrack, disk};
use ::openh264::decoder::Decoder;
use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Pictures between decoder and encoder.
const AHEAD: usize = 4;

/// What is to be done with a file.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The data set.
    pub root: &'a Path,
    /// From the root.
    pub place: &'a Path,
    pub path: &'a Path,
    /// Whose frames lie in the file.
    pub episodes: &'a [u64],
    pub fps: u32,
    /// Frames that the episodes need; a file with fewer is cut off.
    pub needed: u64,
    pub device: Device,
    pub arguments: &'a Arguments,
    /// Set when the run is to end.
    pub cancelled: &'a AtomicBool,
}

/// What was done with it.
#[derive(Clone, Debug)]
pub struct Done {
    pub frames: u64,
    pub sum: FileSum,
    pub tag: Tag,
}

/// Where a file is written before it takes the place of the old one.
pub fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.regenerating"))
}

/// Encodes a file anew. `on_frame` is told how many frames are done, and how many there are.
pub fn transcode(job: &Job, on_frame: &dyn Fn(u64, u64)) -> Result<Done, FileError> {
    let temporary = temporary(job.path);
    let done = encode(job, &temporary, on_frame).and_then(|done| {
        // From here on either file is as the episodes' summaries say.
        job.episodes.iter().try_for_each(|episode| checksums::expect(job.root, *episode, &done.sum))?;
        disk::rename(&temporary, job.path)?;
        Ok(done)
    });
    if done.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    let done = done?;
    disk::sync(job.path.parent().unwrap_or(Path::new(".")))?;
    for episode in job.episodes {
        // The new file is there, and is accepted: what is left to do waits for the next run, if need be.
        let _ = checksums::settle(job.root, *episode, &done.sum);
    }
    Ok(done)
}

/// Writes the temporary file, verified and durable.
fn encode(job: &Job, temporary: &Path, on_frame: &dyn Fn(u64, u64)) -> Result<Done, FileError> {
    let pictures = Pictures::open(job.path, job.fps)?;
    let format = pictures.format();
    if format.frames < job.needed {
        return Err(FileError::Frames { expected: job.needed, found: format.frames });
    }
    let frames = write(job, temporary, pictures, on_frame)?;
    let tag = Tag::new(job.arguments, job.device, format.color_range);
    tag.append(temporary)?;
    verify(temporary, job, frames)?;
    let permissions = fs::metadata(job.path).map_err(FileError::io("read"))?.permissions();
    fs::set_permissions(temporary, permissions).map_err(FileError::io("set the rights of"))?;
    disk::sync(temporary)?;
    Ok(Done { frames, sum: FileSum::of_file(temporary, job.place)?, tag })
}

/// Decodes on a thread of its own, encodes on this one; the number of frames.
fn write(job: &Job, path: &Path, pictures: Pictures, on_frame: &dyn Fn(u64, u64)) -> Result<u64, FileError> {
    let Format { width, height, color_range, frames } = pictures.format();
    let Arguments { codec, quality, gop, bitrate, gpu_id, ref preset, .. } = *job.arguments;
    let params = StreamParams {
        codec,
        quality: if job.device == Device::Cpu { job.arguments.cpu_quality() } else { quality },
        gop,
        width,
        height,
        fps: job.fps,
        color_range,
        bitrate,
        preset: Preset::named(preset).unwrap_or_default(),
        gpu_id,
        stats_stride: 1,
    };
    let mut encoder = backend::open_pictures(&params, job.device)?;
    // The encoder has taken the size, which is far below the track's bound.
    let track = VideoTrack { width: width as u16, height: height as u16, fps: job.fps, color_range };
    let mut writer = Mp4Writer::create(path, track)?;
    std::thread::scope(|scope| {
        let (sender, decoded) = sync_channel(AHEAD);
        let (give_back, returned) = sync_channel(AHEAD + 2);
        scope.spawn(move || decode(pictures, &sender, &returned));
        let mut group: Option<Fragment> = None;
        let mut count = 0;
        // Ends when the decoder has; on an error here the channels close, and the decoder ends.
        for picture in decoded {
            let picture: I420 = picture?;
            if job.cancelled.load(Ordering::Relaxed) {
                return Err(FileError::Interrupted);
            }
            let sample = encoder.encode(&picture, count, count.is_multiple_of(u64::from(gop)))?;
            let _ = give_back.try_send(picture);
            if sample.sync
                && let Some(whole) = group.take()
            {
                writer.append(&whole)?;
            }
            let open = group.get_or_insert_with(|| Fragment {
                first_frame: count,
                samples: Vec::new(),
                format: Arc::clone(encoder.format()),
                substituted: Vec::new(),
                stored: Vec::new(),
                pixels: PixelHistogram::default(),
            });
            open.samples.push(sample);
            count += 1;
            on_frame(count, frames);
        }
        if let Some(rest) = group {
            writer.append(&rest)?;
        }
        Ok(writer.finish()?)
    })
}

fn decode(mut pictures: Pictures, out: &SyncSender<Result<I420, FileError>>, returned: &Receiver<I420>) {
    let Format { width, height, color_range, .. } = pictures.format();
    loop {
        let mut picture = returned.try_recv().unwrap_or_else(|_| I420::grey(width, height, color_range));
        let result = match pictures.next(&mut picture) {
            Ok(true) => Ok(picture),
            Ok(false) => return,
            Err(error) => Err(error),
        };
        let failed = result.is_err();
        if out.send(result).is_err() || failed {
            return;
        }
    }
}

/// Reads the file back: as many frames as there were, each at its time, and every one of them decodes.
fn verify(path: &Path, job: &Job, frames: u64) -> Result<(), FileError> {
    let wrong = |words: String| Err(FileError::Verify(words));
    let index = Mp4Index::read(path)?;
    video::require_grid(&index.frame_times(), job.fps)?;
    if index.samples.len() as u64 != frames || !index.samples.first().is_some_and(|first| first.sync) {
        return wrong(format!("expected {frames} frames, a key frame first, found {}", index.samples.len()));
    }
    let decoded = if job.arguments.codec == Codec::H264 {
        count_h264(path, &index, job.cancelled)?
    } else {
        let mut pictures = Pictures::open(path, job.fps)?;
        let Format { width, height, color_range, .. } = pictures.format();
        let mut picture = I420::grey(width, height, color_range);
        let mut count = 0;
        while pictures.next(&mut picture)? {
            count += 1;
        }
        count
    };
    if decoded == frames { Ok(()) } else { wrong(format!("{decoded} of {frames} frames can be decoded")) }
}

/// Decodes a whole H.264 file, in parts that each start with a key frame; the number of pictures.
fn count_h264(path: &Path, index: &Mp4Index, cancelled: &AtomicBool) -> Result<u64, FileError> {
    let parts = std::thread::available_parallelism().map_or(1, |n| n.get());
    let samples = &index.samples;
    let starts = (0..parts).map(|part| {
        let from = samples.len() * part / parts;
        samples[from..].iter().position(|sample| sample.sync).map_or(samples.len(), |n| from + n)
    });
    let mut starts: Vec<usize> = starts.chain([samples.len()]).collect();
    starts.dedup();
    std::thread::scope(|scope| {
        let part = |pair: &[usize]| {
            let range = pair[0]..pair[1];
            scope.spawn(move || count_part(path, index, range, cancelled))
        };
        let parts: Vec<_> = starts.windows(2).map(part).collect();
        parts.into_iter().map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).sum()
    })
}

/// Decodes consecutive samples; the number of pictures.
fn count_part(path: &Path, index: &Mp4Index, range: Range<usize>, cancelled: &AtomicBool) -> Result<u64, FileError> {
    let failed = |frame: usize| {
        move |error: ::openh264::Error| FileError::Verify(format!("frame {frame} cannot be decoded: {error}"))
    };
    let file = File::open(path).map_err(FileError::io("open"))?;
    let mut decoder = Decoder::new().map_err(failed(range.start))?;
    let (mut annex_b, mut count, end) = (Vec::new(), 0, range.end);
    for number in range {
        if cancelled.load(Ordering::Relaxed) {
            return Err(FileError::Interrupted);
        }
        annex_b.clear();
        for nal in nal_units(&index.read_sample(&file, number)?) {
            annex_b.extend_from_slice(&[0, 0, 0, 1]);
            annex_b.extend_from_slice(nal);
        }
        count += u64::from(decoder.decode(&annex_b).map_err(failed(number))?.is_some());
    }
    Ok(count + decoder.flush_remaining().map_err(failed(end))?.len() as u64)
}
