//! Grouping of encoded frames into what is written and acknowledged together.

use super::stream::Encoded;
use super::{Fragment, PixelHistogram, SampleFormat};
use std::sync::Arc;

/// Frames of the longest fragment of a stream with a key frame every `gop` frames, at `fps` frames a second: a GOP's or
/// half a second's, whichever are fewer. What is not in a fragment yet is lost in a crash.
pub fn longest(gop: u32, fps: u32) -> usize {
    gop.min(fps.div_ceil(2)).max(1) as usize
}

/// Collects consecutive encoded frames of one stream into [`Fragment`]s. A fragment ends before a key frame (of MJPEG,
/// where all are, it does not), or when it is as long as can be ([`longest`]).
#[derive(Debug)]
pub struct FragmentBuilder {
    format: Arc<SampleFormat>,
    /// Most frames in a fragment.
    longest: usize,
    open: Option<Fragment>,
}

impl FragmentBuilder {
    /// A builder for a stream of `format` with a key frame every `gop` frames, at `fps` frames a second.
    pub fn new(format: Arc<SampleFormat>, gop: u32, fps: u32) -> FragmentBuilder {
        FragmentBuilder { format, longest: longest(gop, fps), open: None }
    }

    /// Adds frame `index`; answers with a fragment that this completes. When a forced key frame cuts a GOP short, what
    /// was open is completed, and so is the new frame's fragment when the longest fragment has one frame only: two at most.
    pub fn push(&mut self, index: u64, encoded: Encoded) -> impl Iterator<Item = Fragment> + use<> {
        let starts_gop = encoded.sample.sync && *self.format != SampleFormat::Mjpeg;
        let cut = if starts_gop { self.open.take() } else { None };
        let open = self.open.get_or_insert_with(|| Fragment {
            first_frame: index,
            samples: Vec::with_capacity(self.longest),
            format: self.format.clone(),
            substituted: Vec::new(),
            stored: Vec::new(),
            pixels: PixelHistogram::default(),
        });
        open.samples.push(encoded.sample);
        open.substituted.extend(encoded.substituted.map(|reason| (index, reason)));
        open.stored.extend(encoded.stored.then_some(index));
        if let Some(histogram) = &encoded.histogram {
            open.pixels.merge(histogram);
        }
        let full = if open.samples.len() >= self.longest { self.open.take() } else { None };
        cut.into_iter().chain(full)
    }

    /// What is left at the end of the stream.
    pub fn finish(&mut self) -> Option<Fragment> {
        self.open.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Sample;
    use crate::frame::DropReason;

    /// Frames (`k` a key frame, `p` not, `x` a substituted one) to the lengths of the fragments.
    fn check(format: SampleFormat, gop: u32, fps: u32, frames: &str, expected: &[usize]) {
        let mut builder = FragmentBuilder::new(Arc::new(format), gop, fps);
        let mut fragments = Vec::new();
        for (index, kind) in frames.chars().enumerate() {
            let encoded = Encoded {
                sample: Sample { data: vec![index as u8].into(), sync: kind == 'k' },
                substituted: (kind == 'x').then_some(DropReason::Corrupt),
                stored: kind == 'k',
                decode: Default::default(),
                encode: Default::default(),
                histogram: Some(PixelHistogram { pictures: 1, ..Default::default() }),
            };
            fragments.extend(builder.push(index as u64, encoded));
        }
        fragments.extend(builder.finish());
        let lengths: Vec<usize> = fragments.iter().map(|fragment| fragment.samples.len()).collect();
        assert_eq!(lengths, expected, "{frames}");
        let mut index = 0;
        for fragment in fragments {
            assert_eq!(fragment.first_frame, index as u64);
            assert_eq!(fragment.pixels.pictures, fragment.samples.len() as u64);
            for sample in &fragment.samples {
                assert_eq!(sample.data[..], [index as u8], "every frame once, in order");
                let replaced = fragment.substituted.contains(&(index as u64, DropReason::Corrupt));
                assert_eq!(replaced, frames.as_bytes()[index] == b'x');
                assert_eq!(fragment.stored.contains(&(index as u64)), sample.sync);
                index += 1;
            }
        }
        assert_eq!(index, frames.len());
    }

    #[test]
    fn a_fragment_is_a_gop_or_half_a_second() {
        let h264 = || SampleFormat::H264 { sps: vec![], pps: vec![] };
        check(h264(), 3, 30, "kpxkppkpp", &[3, 3, 3]);
        check(h264(), 3, 30, "kppkp", &[3, 2]);
        check(h264(), 9, 8, "kppppppppkp", &[4, 4, 1, 2]);
        check(h264(), 9, 7, "kppppppppkp", &[4, 4, 1, 2]);
        check(h264(), 9, 1, "kpp", &[1, 1, 1]);
        check(h264(), 9, 30, "kppkpppppx", &[3, 7]);
        check(h264(), 1, 30, "kkk", &[1, 1, 1]);
        check(h264(), 1, 30, "", &[]);
        check(SampleFormat::Mjpeg, 3, 30, "kkkkkkkk", &[3, 3, 2]);
    }
}
