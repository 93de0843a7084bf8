//! What encoders give, made into samples: by hand-made bytes, by real streams, and by any bytes at all.

use proptest::collection::vec;
use proptest::prelude::*;
use recorder::codec::SampleFormat;
use recorder::codec::bitstream::{
    av1_format, av1_sample, h264_format, hevc_format, length_prefixed, nal_units, obu_payload,
};
use std::process::Command;

#[test]
fn start_codes_become_lengths() {
    let check = |annex_b: &[u8], expected: &[&[u8]]| {
        let sample = length_prefixed(annex_b);
        assert_eq!(nal_units(&sample).collect::<Vec<_>>(), expected, "{annex_b:x?}");
        assert_eq!(sample.len(), expected.iter().map(|nal| nal.len() + 4).sum::<usize>(), "{annex_b:x?}");
    };
    check(&[], &[]);
    check(&[0x65, 1, 2], &[]);
    check(&[0, 0, 1], &[]);
    check(&[0, 0, 1, 0x65, 1, 2], &[&[0x65, 1, 2]]);
    check(&[0, 0, 0, 1, 0x65, 1, 2], &[&[0x65, 1, 2]]);
    check(&[0, 0, 0, 0, 0, 1, 0x65, 1, 2, 0, 0, 0], &[&[0x65, 1, 2]]);
    check(
        &[0, 0, 1, 0x67, 9, 0, 0, 0, 1, 0x68, 8, 0, 0, 1, 0x65, 0, 0, 3, 7],
        &[&[0x67, 9], &[0x68, 8], &[0x65, 0, 0, 3, 7]],
    );
    check(&[0, 0, 1, 0, 0, 1, 0x65, 1], &[&[0x65, 1]]);
    // H.264: a delimiter, a slice, filler.
    check(&[0, 0, 0, 1, 9, 0x10, 0, 0, 1, 0x41, 5, 0, 0, 1, 0x0c, 0xff, 0xff, 0x80], &[&[0x41, 5]]);
    // H.265: a delimiter, a slice, filler, and a leading picture whose header is that of H.264's filler.
    check(
        &[0, 0, 0, 1, 0x46, 1, 0x10, 0, 0, 1, 0x26, 1, 5, 0, 0, 1, 0x4c, 1, 0xff, 0x80, 0, 0, 1, 0x0c, 1, 6],
        &[&[0x26, 1, 5], &[0x0c, 1, 6]],
    );
}

#[test]
fn parameter_sets_are_found_or_none() {
    let stream = |nals: &[&[u8]]| nals.iter().flat_map(|nal| [&[0, 0, 1], *nal].concat()).collect::<Vec<u8>>();
    let (sps, pps, idr) = (&[0x67, 66, 0, 30][..], &[0x68, 0xce][..], &[0x65, 1][..]);
    let both = SampleFormat::H264 { sps: sps.into(), pps: pps.into() };
    assert_eq!(h264_format(&stream(&[sps, pps, idr])), Some(both.clone()));
    assert_eq!(h264_format(&stream(&[&[9, 16], pps, sps, idr, &[0x67, 100, 0, 31]])), Some(both));
    assert_eq!(h264_format(&stream(&[sps, idr])), None);
    assert_eq!(h264_format(&stream(&[pps, idr])), None);

    let (vps, sps, pps, idr) = (&[0x40, 1, 12][..], &[0x42, 1, 1][..], &[0x44, 1, 0xc1][..], &[0x26, 1, 5][..]);
    let all = SampleFormat::Hevc { vps: vps.into(), sps: sps.into(), pps: pps.into() };
    assert_eq!(hevc_format(&stream(&[&[0x46, 1, 16], vps, sps, pps, idr])), Some(all.clone()));
    let of_another_layer = &[0x42, 9, 1][..];
    assert_eq!(hevc_format(&stream(&[vps, of_another_layer, sps, pps])), Some(all));
    for left in [[sps, pps], [vps, pps], [vps, sps]] {
        assert_eq!(hevc_format(&stream(&left)), None);
    }
}

#[test]
fn obus_get_sizes_and_lose_what_does_not_belong() {
    let check = |unit: &[u8], expected: &[u8]| assert_eq!(av1_sample(unit), expected, "{unit:x?}");
    check(&[], &[]);
    // A temporal delimiter, a sequence header and a frame with sizes.
    check(&[0x12, 0, 0x0a, 2, 7, 8, 0x32, 1, 9], &[0x0a, 2, 7, 8, 0x32, 1, 9]);
    // The last without a size.
    check(&[0x12, 0, 0x0a, 1, 7, 0x30, 9, 9, 9], &[0x0a, 1, 7, 0x32, 3, 9, 9, 9]);
    // With an extension; a size in more bytes than it needs; padding, a tile list and a redundant frame header.
    check(&[0x36, 0x08, 0x81, 0, 5], &[0x36, 0x08, 1, 5]);
    check(&[0x7a, 1, 0x80, 0x42, 0, 0x3a, 1, 3, 0x32, 0], &[0x32, 0]);
    // Cut off, and forbidden.
    check(&[0x0a, 1, 7, 0x32, 5, 9], &[0x0a, 1, 7]);
    check(&[0x0a, 1, 7, 0x32, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0], &[0x0a, 1, 7]);
    check(&[0x0a, 1, 7, 0xb2, 1, 9], &[0x0a, 1, 7]);
    // A size of two bytes.
    let long = [&[0x30][..], &[1; 300]].concat();
    check(&long, &[&[0x32, 0xac, 0x02][..], &[1; 300]].concat());

    let expected = SampleFormat::Av1 { sequence_header: vec![0x0a, 2, 7, 8] };
    assert_eq!(av1_format(&[0x12, 0, 0x0a, 2, 7, 8, 0x32, 1, 9]), Some(expected.clone()));
    assert_eq!(av1_format(&[0x08, 7, 8]), Some(expected));
    assert_eq!(av1_format(&[0x12, 0, 0x32, 1, 9]), None);
    assert_eq!(obu_payload(&[0x0a, 2, 7, 8]), Some(&[7, 8][..]));
}

/// What ffmpeg gives of a second of a test picture.
fn ffmpeg(arguments: &str) -> Vec<u8> {
    let source = ["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=128x96:rate=10", "-t", "1", "-pix_fmt", "yuv420p"];
    let output = Command::new("ffmpeg").args(source).args(arguments.split(' ')).arg("-").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn real_streams_keep_every_unit_but_delimiters() {
    let kinds = |sample: &[u8], kind: fn(u8) -> u8| nal_units(sample).map(|nal| kind(nal[0])).collect::<Vec<u8>>();
    let h264 = ffmpeg(
        "-c:v libx264 -g 5 -bf 0 -x264-params aud=1:repeat-headers=1:sliced-threads=0:slices=1:scenecut=0 -f h264",
    );
    assert!(matches!(h264_format(&h264), Some(SampleFormat::H264 { sps, .. }) if sps.len() > 8));
    let found = kinds(&length_prefixed(&h264), |byte| byte & 0x1f);
    assert_eq!(found, [7, 8, 6, 5, 1, 1, 1, 1, 7, 8, 5, 1, 1, 1, 1]);

    let hevc = ffmpeg(
        "-c:v libx265 -g 5 -bf 0 -x265-params aud=1:repeat-headers=1:log-level=error:scenecut=0:open-gop=0 -f hevc",
    );
    assert!(matches!(hevc_format(&hevc), Some(SampleFormat::Hevc { sps, .. }) if sps.len() > 20));
    let found = kinds(&length_prefixed(&hevc), |byte| byte >> 1);
    assert_eq!(found.iter().filter(|kind| [32, 33, 34].contains(*kind)).count(), 6, "{found:?}");
    assert_eq!(found.iter().filter(|kind| **kind < 32).count(), 10, "{found:?}");
    assert!(!found.contains(&35) && hevc.windows(5).any(|w| w == [0, 0, 1, 0x46, 1]), "{found:?}");

    let av1 = ffmpeg("-c:v libaom-av1 -cpu-used 8 -g 5 -lag-in-frames 0 -f obu");
    let Some(SampleFormat::Av1 { sequence_header }) = av1_format(&av1) else { panic!() };
    let sample = av1_sample(&av1);
    assert!(sample.starts_with(&sequence_header), "{sequence_header:x?}");
    assert_eq!(sample.len(), av1.len() - 2 * 10, "all but ten temporal delimiters");
}

proptest! {
    #[test]
    fn any_bytes_are_taken(bytes in vec(prop_oneof![3 => Just(0u8), 2 => Just(1u8), 5 => any::<u8>()], 0..400)) {
        let sample = length_prefixed(&bytes);
        prop_assert_eq!(nal_units(&sample).map(|nal| nal.len() + 4).sum::<usize>(), sample.len());
        prop_assert!(nal_units(&bytes).all(|nal| nal.len() <= bytes.len()));
        let _ = (h264_format(&bytes), hevc_format(&bytes), obu_payload(&bytes));
        let sample = av1_sample(&bytes);
        prop_assert_eq!(av1_sample(&sample), sample, "what was made once stays");
        if let Some(SampleFormat::Av1 { sequence_header }) = av1_format(&bytes) {
            prop_assert!(obu_payload(&sequence_header).is_some());
        }
    }

    #[test]
    fn units_survive_the_way_there(nals in vec(vec(2u8..=255, 1..50), 0..8), long in any::<bool>()) {
        let nals: Vec<Vec<u8>> = nals.into_iter().map(|nal| [vec![0x41], nal].concat()).collect();
        let start: &[u8] = if long { &[0, 0, 0, 1] } else { &[0, 0, 1] };
        let stream: Vec<u8> = nals.iter().flat_map(|nal| [start, nal].concat()).collect();
        prop_assert_eq!(nal_units(&length_prefixed(&stream)).map(<[u8]>::to_vec).collect::<Vec<_>>(), nals);
    }
}
