//! File cameras: the same pictures from each kind of file, over and over, on an exact grid.

mod media;

use media::textured;
use recorder::camera::{self, Camera, CameraError};
use recorder::clock::{Clock, Rank, SimulatedClock, Stamp, tick_ns};
use recorder::config::schema::CameraKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

const W: u32 = 160;
const H: u32 = 120;
const SECOND: Duration = Duration::from_secs(1);

fn clock() -> Arc<dyn Clock> {
    Arc::new(SimulatedClock::new(Stamp { mono_ns: 77, utc_ns: 1_000 }))
}

fn open(path: &Path, width: u32, height: u32) -> Result<Box<dyn Camera>, CameraError> {
    camera::open("wrist", &media::camera(CameraKind::File, Some(path), width, height), &clock(), Rank(3))
}

fn pictures(n: usize) -> Vec<Vec<u8>> {
    (0..n).map(|k| textured(W as usize, H as usize, k)).collect()
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn ffmpeg(arguments: &[&str]) {
    let output = Command::new("ffmpeg").args(["-v", "error", "-y"]).args(arguments).output();
    let output = output.expect("ffmpeg is installed: apt-get install ffmpeg");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn all_kinds_of_files_loop_on_an_exact_grid() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = pictures(7);
    let plain = write(folder.path(), "clip.mjpeg", &pictures.concat());
    let source = plain.to_str().unwrap();
    for name in ["clip.mjpeg", "clip.avi", "clip.mp4", "clip.mov"] {
        let path = folder.path().join(name);
        if path != plain {
            let target = path.to_str().unwrap();
            ffmpeg(&["-f", "mjpeg", "-framerate", "30", "-i", source, "-c", "copy", target]);
        }
        let mut camera = open(&path, W, H).unwrap();
        for number in 0..20 {
            let picture = camera.next(SECOND).unwrap();
            assert_eq!(picture.sequence, number, "{name}: counts on over loops");
            assert_eq!(picture.captured.mono_ns, 77 + tick_ns(number, 30));
            assert!(picture.data == pictures[number as usize % 7], "{name}, picture {number}");
        }
    }
}

#[test]
fn damaged_pictures_are_delivered_in_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = pictures(3);
    let cut = &pictures[1][..pictures[1].len() / 2];
    let path = write(folder.path(), "clip.mjpeg", &[&pictures[0], cut, &pictures[2]].concat());
    let mut camera = open(&path, W, H).unwrap();
    for expected in [&pictures[0][..], cut, &pictures[2], &pictures[0]] {
        assert!(camera.next(SECOND).unwrap().data == expected);
    }
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "clip.mjpeg", &pictures(3).concat());
    let mut camera = open(&path, W, H).unwrap();
    camera.next(SECOND).unwrap();
    std::fs::write(&path, b"").unwrap();
    assert!(matches!(camera.next(SECOND), Err(CameraError::Io { .. })));
}

#[test]
fn files_without_usable_pictures_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let clip = write(folder.path(), "clip.mjpeg", &pictures(2).concat());
    let check = |path: &Path, width: u32, words: &[&str]| {
        let error = open(path, width, H).err().expect("refused").to_string();
        for word in words.iter().chain(&["wrist"]) {
            assert!(error.contains(word), "{word:?} is not in: {error}");
        }
    };
    check(&clip, 640, &["160x120", "expected 640x120", "width = 160"]);
    check(&folder.path().join("absent.avi"), W, &["absent.avi does not exist"]);
    check(folder.path(), W, &["reading"]);
    check(&write(folder.path(), "empty", b""), W, &["empty"]);
    check(&write(folder.path(), "text", b"not a video at all"), W, &["something else", "ffmpeg"]);
    check(&write(folder.path(), "cut.mjpeg", &pictures(1)[0][..300]), W, &["no whole picture"]);

    let target = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let source = clip.to_str().unwrap();
    let input = ["-f", "mjpeg", "-i", source];
    for (name, codec) in [("h264.mp4", &["-c:v", "libx264"][..]), ("h264.avi", &["-c:v", "libx264"])] {
        ffmpeg(&[&input[..], codec, &[&target(name)]].concat());
        check(Path::new(&target(name)), W, &["264", "expected JPEG pictures", "-c:v mjpeg"]);
    }
    let fragmented = target("fragmented.mp4");
    ffmpeg(&[&input[..], &["-c", "copy", "-movflags", "frag_keyframe+empty_moov", &fragmented]].concat());
    check(Path::new(&fragmented), W, &["not fragmented"]);

    let nothing = media::camera(CameraKind::File, None, W, H);
    let error = camera::open("wrist", &nothing, &clock(), Rank(0)).err().expect("refused").to_string();
    assert!(error.contains("index_or_path is not set"), "{error}");
}

/// Mutated containers are read or refused; nothing panics, and no picture lies outside of the file.
#[test]
fn mutated_containers_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let plain = write(folder.path(), "clip.mjpeg", &pictures(3).concat());
    let source = plain.to_str().unwrap().to_owned();
    let mut state = 0x1234_5678_9abc_def0u64;
    let mut random = move |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % n as u64) as usize
    };
    for name in ["clip.avi", "clip.mp4", "clip.mjpeg"] {
        let path = folder.path().join(name);
        if path != plain {
            ffmpeg(&["-f", "mjpeg", "-framerate", "30", "-i", &source, "-c", "copy", path.to_str().unwrap()]);
        }
        let whole = std::fs::read(&path).unwrap();
        for _ in 0..300 {
            let mut bytes = whole.clone();
            for _ in 0..1 + random(6) {
                // Indices lie at both ends of a file.
                let at = match random(3) {
                    0 => random(bytes.len().min(600)),
                    1 => bytes.len() - 1 - random(bytes.len().min(900)),
                    _ => random(bytes.len()),
                };
                bytes[at] = random(256) as u8;
            }
            bytes.truncate(bytes.len() - random(2) * random(bytes.len()));
            let mutated = write(folder.path(), "mutated", &bytes);
            if let Ok(mut camera) = open(&mutated, W, H) {
                for _ in 0..4 {
                    camera.next(SECOND).unwrap();
                }
            }
        }
    }
}
