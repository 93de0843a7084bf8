//! Any bytes as an mp4 file: an index whose every frame lies in the file, or a message that names the file.
//!
//! `cargo fuzz run mp4 fuzz/corpus/mp4 tests/data/lerobot-v3-sample/videos/observation.images.front/chunk-000` starts
//! from a whole file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use recorder::dataset::Mp4Index;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::LazyLock;

static PATH: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("recorder-fuzz-{}.mp4", std::process::id())));

fuzz_target!(|input: &[u8]| {
    fs::write(&*PATH, input).expect("the temporary folder can be written in");
    match Mp4Index::read(&PATH) {
        Ok(index) => {
            let file = File::open(&*PATH).expect("it was written");
            let mut bytes = 0;
            for i in 0..index.samples.len().min(1000) {
                bytes += index.read_sample(&file, i).expect("every frame lies in the file").len();
                // Frames may lie on top of each other; reading them all is not the point.
                if bytes > 1 << 20 {
                    break;
                }
            }
            assert_eq!(index.frame_times().len(), index.samples.len());
        }
        Err(error) => assert!(error.to_string().contains("recorder-fuzz-")),
    }
});
