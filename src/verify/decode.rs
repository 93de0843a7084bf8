//! Every frame of a video, decoded: whether all of them can be, and whether they change.

use super::info::Video;
use super::quality::FROZEN_S;
use super::report::Report;
use super::rules;
use super::videos::{File, Part};
use crate::codec::yuv::I420;
use crate::dataset::Mp4Index;
use crate::regenerate::decode::Pictures;
use crate::regenerate::{FileError, video};
use std::path::Path;

/// Mean difference of luma, of 255 levels, up to which an encoder was given the same picture twice; a camera's noise gives
/// more. Measured on one picture, encoded again and again: 0 for most frames, up to 0.002 for others.
const SAME: f64 = 0.02;
/// What quantising the same picture anew may change. Measured: 1.7 (x264) and 2.1 (SVT-AV1) at key frames, 0.6 between
/// them (x265).
const REQUANTISED: f64 = 2.5;
/// How many frames of a run may be quantised anew: so many, and this share.
const ANEW: (u64, f64) = (2, 0.2);
/// Mean of luma: below it black, above it white.
const BLACK: f64 = 24.0;
const WHITE: f64 = 228.0;

/// Whether videos other than MJPEG can be decoded here; asked once.
pub struct Decoder {
    ffmpeg: bool,
    /// Videos that were not decoded.
    skipped: u64,
}

impl Decoder {
    pub fn new() -> Decoder {
        Decoder { ffmpeg: video::has_ffmpeg(), skipped: 0 }
    }

    /// Decodes a file that [`super::videos::check`] found sound.
    pub fn check(&mut self, root: &Path, file: &File, report: &mut Report) {
        let path = root.join(file.path);
        let Ok(index) = Mp4Index::read(&path) else { return };
        if index.codec != "mjpeg" && !self.ffmpeg {
            self.skipped += 1;
            return;
        }
        let mut watch = Watch::new(file, &index);
        let first = file.parts.first().map(|part| part.episode);
        match decode(&path, file, &mut |picture| watch.picture(picture)) {
            Err(error) => {
                // The episode of the frame that could not be decoded, where it is known.
                let at = if let FileError::Decode { frame, .. } = &error { watch.episode(*frame) } else { first };
                report.add(&rules::DECODE, at.or(first), file.path, "frames that can be decoded", error.to_string());
                file.parts.iter().for_each(|part| report.mark(part.episode, file.key, "damaged"));
            }
            Ok(frames) if frames != index.samples.len() as u64 => {
                let expected = format!("{} frames, as its index says", index.samples.len());
                report.add(&rules::FRAME_COUNT, first, file.path, expected, format!("{frames} when decoded"));
            }
            Ok(_) => watch.tell(report),
        }
    }

    /// Says what was not decoded.
    pub fn tell(&self, report: &mut Report) {
        if self.skipped > 0 {
            report.notes.push(format!(
                "NOT DECODED: {} videos, since there are no programs ffmpeg and ffprobe here (Debian: apt-get install ffmpeg); \
                 their indexes and checksums were checked, their pictures were not",
                self.skipped
            ));
        }
    }
}

/// Gives every picture in the order of showing; how many there are.
fn decode(path: &Path, file: &File, each: &mut dyn FnMut(&I420)) -> Result<u64, FileError> {
    let mut pictures = Pictures::open(path, file.fps)?;
    let format = pictures.format();
    let Video { width, height, .. } = file.video;
    let (found_width, found_height) = (u64::from(format.width), u64::from(format.height));
    if (found_width, found_height) != (*width, *height) {
        return Err(FileError::Unreadable(format!("pictures of {found_width}x{found_height}")));
    }
    let mut picture = I420::grey(format.width, format.height, format.color_range);
    let mut frames = 0;
    while pictures.next(&mut picture)? {
        each(&picture);
        frames += 1;
    }
    Ok(frames)
}

/// Looks at pictures one after the other.
struct Watch<'a> {
    file: &'a File<'a>,
    /// Every frame stands for itself: a repeated picture has not one bit changed.
    jpegs: bool,
    luma: Vec<u8>,
    frame: u64,
    /// The episode that is being shown, and its first frame.
    part: usize,
    part_from: u64,
    /// Pictures that are alike up to now; the longest run of each episode: how many, from which of its frames on.
    run: u64,
    anew: u64,
    frozen: Vec<(u64, u64)>,
    /// Sum of the pictures' means, by episode.
    light: Vec<f64>,
}

impl<'a> Watch<'a> {
    fn new(file: &'a File<'a>, index: &Mp4Index) -> Watch<'a> {
        let parts = file.parts.len();
        let mut watch = Watch {
            file,
            jpegs: index.codec == "mjpeg",
            luma: Vec::new(),
            frame: 0,
            part: 0,
            part_from: 0,
            run: 0,
            anew: 0,
            frozen: vec![(0, 0); parts],
            light: vec![0.0; parts],
        };
        watch.part_from = watch.first_frame(0);
        watch
    }

    fn picture(&mut self, picture: &I420) {
        while self.file.parts.get(self.part).is_some_and(|part| self.frame >= self.part_from + part.length) {
            self.part += 1;
            self.part_from = self.first_frame(self.part);
            (self.run, self.anew) = (0, 0);
        }
        if self.frame < self.part_from {
            // Of an episode that was deleted.
            self.frame += 1;
            return;
        }
        let [luma, ..] = picture.planes();
        let Some(light) = self.light.get_mut(self.part) else { return };
        let count = luma.len().max(1) as f64;
        *light += luma.iter().map(|&value| u64::from(value)).sum::<u64>() as f64 / count;
        let difference: u64 = luma.iter().zip(&self.luma).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        let difference = difference as f64 / count;
        let anew = difference > SAME && difference <= REQUANTISED && !self.jpegs;
        self.anew += u64::from(anew);
        let same = if self.jpegs { difference == 0.0 } else { difference <= REQUANTISED };
        if same && self.run > 0 && self.anew <= ANEW.0 + (ANEW.1 * self.run as f64) as u64 {
            self.run += 1;
        } else {
            (self.run, self.anew) = (1, 0);
        }
        if self.run > self.frozen[self.part].0 {
            self.frozen[self.part] = (self.run, self.frame + 1 - self.run - self.part_from);
        }
        self.luma.clear();
        self.luma.extend_from_slice(luma);
        self.frame += 1;
    }

    /// Of an episode in the file. Where not all episodes are known, as if those that are lay one behind the other.
    fn first_frame(&self, part: usize) -> u64 {
        let parts = &self.file.parts[..part.min(self.file.parts.len())];
        match self.file.parts.get(part) {
            Some(part) if !self.file.partial => part.first_frame(self.file.fps),
            _ => parts.iter().map(|part| part.length).sum(),
        }
    }

    fn episode(&self, frame: u64) -> Option<u64> {
        let within = |(i, part): &(usize, &Part)| {
            let first = self.first_frame(*i);
            (first..first + part.length).contains(&frame)
        };
        self.file.parts.iter().enumerate().find(within).map(|(_, part)| part.episode)
    }

    fn tell(&self, report: &mut Report) {
        let File { path, key, fps, parts, .. } = *self.file;
        for (part, ((run, from), light)) in parts.iter().zip(self.frozen.iter().zip(&self.light)) {
            let episode = Some(part.episode);
            let seconds = *run as f64 / f64::from(fps);
            if seconds >= FROZEN_S {
                let found = format!("the same picture for {seconds:.1} s from row {from} on");
                report.add(&rules::FROZEN, episode, path, "pictures that change", found);
                report.mark(part.episode, key, "frozen");
            }
            let mean = light / part.length.max(1) as f64;
            let dark = if mean < BLACK { Some((&rules::BLACK, "black")) } else { None };
            if let Some((rule, state)) = dark.or((mean > WHITE).then_some((&rules::WHITE, "white"))) {
                report.add(rule, episode, path, "pictures", format!("a mean luma of {mean:.0} of 255"));
                report.mark(part.episode, key, state);
            }
        }
    }
}
