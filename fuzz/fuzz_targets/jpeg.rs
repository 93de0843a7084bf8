//! Any bytes as a camera's picture: what their structure says lies within them; decoded they give a picture or an error,
//! and the next good picture is as it should be. The decoder's own code (C) is not instrumented.
//!
//! `cargo fuzz run jpeg fuzz/corpus/jpeg tests/data/jpeg` starts from pictures of each kind.
#![no_main]

use libfuzzer_sys::fuzz_target;
use recorder::codec::jpeg::{self, Decoder};
use recorder::codec::yuv::I420;
use recorder::config::schema::ColorRange;
use std::cell::RefCell;
use std::sync::LazyLock;

const GOOD: &[u8] = include_bytes!("../../tests/data/jpeg/422-webcam.jpg");
/// Of the corpus.
const SIZE: (u32, u32) = (98, 58);
/// Larger ones take long, and nothing else.
const LARGEST: u32 = 512;

static EXPECTED: LazyLock<I420> = LazyLock::new(|| {
    let mut picture = grey(SIZE);
    Decoder::new().and_then(|mut decoder| decoder.decode(GOOD, &mut picture)).expect("a good picture");
    picture
});

thread_local! {
    static DECODER: RefCell<Decoder> = RefCell::new(Decoder::new().expect("a decoder"));
}

fuzz_target!(|input: &[u8]| {
    let parsed = jpeg::parse(input);
    let mut size = SIZE;
    if let Ok(found) = &parsed {
        assert!(input[..found.end].ends_with(&[0xff, 0xd9]));
        assert_eq!(jpeg::parse(&input[..found.end]).as_ref(), Ok(found), "what is behind the end mark says nothing");
        if found.width.max(found.height) <= LARGEST && found.width.min(found.height) > 0 {
            size = (found.width, found.height);
        }
    }
    DECODER.with_borrow_mut(|decoder| {
        let mut picture = grey(size);
        match decoder.decode(input, &mut picture) {
            Ok(()) => assert!(parsed.is_ok()),
            Err(error) => {
                assert!(picture == grey(size), "the picture before is kept");
                assert!(!error.to_string().is_empty());
            }
        }
        let mut picture = grey(SIZE);
        decoder.decode(GOOD, &mut picture).expect("a good picture after any other");
        assert!(picture == *EXPECTED);
    });
});

fn grey((width, height): (u32, u32)) -> I420 {
    I420::grey(width, height, ColorRange::Limited)
}
