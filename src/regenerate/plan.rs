//! Which files are to be encoded anew: pure, no I/O.

use super::RegenerateError;
use super::options::Selection;
use super::source::{Camera, Source};
use crate::codec::backend::codec_name;
use crate::config::schema::Codec;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// One video file of the data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoFile {
    /// Index in [`Source::cameras`].
    pub camera: usize,
    /// From the data set's root.
    pub path: PathBuf,
    /// Whose frames lie in it.
    pub episodes: Vec<u64>,
    /// Frames that the episodes need.
    pub frames: u64,
    /// Of the episodes that were asked for.
    pub selected: bool,
}

/// All files of the cameras that can be encoded anew, in the order of cameras and files.
pub fn files(source: &Source) -> Vec<VideoFile> {
    let mut files = BTreeMap::new();
    for episode in &source.episodes {
        for (camera, span) in episode.videos.iter().enumerate() {
            if source.cameras[camera].left_alone().is_some() {
                continue;
            }
            let file = files.entry((camera, span.place)).or_insert_with(|| VideoFile {
                camera,
                path: span.path.clone(),
                episodes: Vec::new(),
                frames: 0,
                selected: false,
            });
            let first = (span.from_s * f64::from(source.fps)).round().max(0.0) as u64;
            file.episodes.push(episode.index);
            file.frames = file.frames.max(first + episode.length);
        }
    }
    files.into_values().collect()
}

/// Marks what was asked for. Refused: episodes that are not there, and another codec for only a part of a camera's
/// files, since codecs are never mixed inside a data set.
pub fn select(
    files: &mut [VideoFile],
    source: &Source,
    selection: Option<&Selection>,
    codec: Codec,
) -> Result<(), RegenerateError> {
    let wrong = |words: String| Err(RegenerateError::Usage(words));
    let Some(selection) = selection else {
        files.iter_mut().for_each(|file| file.selected = true);
        return Ok(());
    };
    let count = source.episodes.len() as u64;
    if let Some(missing) = selection.beyond(count) {
        return wrong(format!("--episodes: expected numbers below {count}, the data set's episodes, found {missing}"));
    }
    for file in files.iter_mut() {
        file.selected = file.episodes.iter().any(|episode| selection.contains(*episode));
    }
    for (index, Camera { key, codec: present, .. }) in source.cameras.iter().enumerate() {
        let mut of_camera = files.iter().filter(|file| file.camera == index);
        let present = present.as_deref().unwrap_or("an unknown codec");
        if present != codec_name(codec) && of_camera.any(|file| !file.selected) {
            return wrong(format!(
                "--episodes with --codec {}: {key} holds {present}, and codecs are not mixed inside a data set; leave \
                 --episodes out",
                codec_name(codec)
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::source::{Episode, Span};
    use super::*;

    /// A camera of two files; the first holds two episodes.
    fn source(codec: &str) -> Source {
        let camera = Camera { key: "a".into(), codec: Some(codec.into()), ..Camera::default() };
        let episode = |index, length, file: u64, from_s| {
            let span = Span { place: (0, file), path: format!("videos/a/{file}").into(), from_s };
            Episode { index, length, videos: vec![span] }
        };
        let episodes = vec![episode(0, 30, 0, 0.0), episode(1, 12, 0, 1.0), episode(2, 5, 1, 0.0)];
        Source { fps: 30, cameras: vec![camera], episodes }
    }

    #[test]
    fn episodes_that_share_a_file_are_one() {
        let files = files(&source("av1"));
        let found: Vec<_> = files.iter().map(|f| (f.path.to_str().unwrap(), &f.episodes[..], f.frames)).collect();
        assert_eq!(found, [("videos/a/0", &[0, 1][..], 42), ("videos/a/1", &[2], 5)]);
    }

    #[test]
    fn depth_maps_and_sound_are_left_alone() {
        for camera in [Camera { depth: true, ..Camera::default() }, Camera { audio: true, ..Camera::default() }] {
            assert!(files(&Source { cameras: vec![camera], ..source("av1") }).is_empty());
        }
    }

    #[test]
    fn codecs_are_never_mixed() {
        let selected = |codec, list: &[u64]| {
            let source = source(codec);
            let mut files = files(&source);
            let selection = Selection(list.iter().map(|n| *n..=*n).collect());
            let result = select(&mut files, &source, Some(&selection), Codec::H264);
            result.map(|()| files.iter().map(|f| f.selected).collect::<Vec<_>>()).map_err(|error| error.to_string())
        };
        assert_eq!(selected("h264", &[1]), Ok(vec![true, false]));
        assert_eq!(selected("h264", &[2]), Ok(vec![false, true]));
        assert_eq!(selected("av1", &[0, 2]), Ok(vec![true, true]), "every file is covered");
        let refused = selected("av1", &[1]).unwrap_err();
        assert!(refused.contains("a holds av1") && refused.contains("leave --episodes out"), "{refused}");
        assert!(selected("h264", &[3]).unwrap_err().contains("below 3, the data set's episodes, found 3"));
    }
}
