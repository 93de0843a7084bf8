//! What an H.264 stream says of its pictures: the sequence parameter set (ITU-T H.264, 7.3.2.1 and annex E). Pure.

use super::bits::{Bits, without_emulation_prevention};
use crate::config::schema::ColorRange;

/// The pictures of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sps {
    /// Pixels that are shown.
    pub width: u32,
    /// Pixels that are shown.
    pub height: u32,
    /// Limited unless the stream says otherwise.
    pub range: ColorRange,
    /// 8 bits a value, 4:2:0, and no fields: what can be decoded here, and by everybody.
    pub plain: bool,
}

/// Profiles whose parameter sets say more of the pictures.
const HIGH: [u64; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
/// The aspect ratio that stands in the stream itself.
const OTHER_ASPECT_RATIO: u64 = 255;

impl Sps {
    /// Reads a NAL unit of type 7, without its start code.
    pub fn parse(nal: &[u8]) -> Option<Sps> {
        let content = without_emulation_prevention(nal.get(1..)?);
        let mut bits = Bits::new(&content);
        let profile = bits.take(8)?;
        bits.skip(16)?; // constraints, level
        bits.exp_golomb()?; // seq_parameter_set_id
        let (mut chroma, mut depths) = (1, 0);
        if HIGH.contains(&profile) {
            chroma = bits.exp_golomb()?;
            if chroma == 3 {
                bits.skip(1)?; // separate_colour_plane_flag
            }
            depths = bits.exp_golomb()? + bits.exp_golomb()?;
            bits.skip(1)?; // qpprime_y_zero_transform_bypass_flag
            if bits.flag()? {
                scaling_lists(&mut bits, chroma)?;
            }
        }
        bits.exp_golomb()?; // log2_max_frame_num_minus4
        match bits.exp_golomb()? {
            0 => {
                bits.exp_golomb()?; // log2_max_pic_order_cnt_lsb_minus4
            }
            1 => {
                bits.skip(1)?; // delta_pic_order_always_zero_flag
                bits.signed_exp_golomb()?;
                bits.signed_exp_golomb()?;
                for _frame in 0..bits.exp_golomb()?.min(255) {
                    bits.signed_exp_golomb()?;
                }
            }
            _ => {}
        }
        bits.exp_golomb()?; // max_num_ref_frames
        bits.skip(1)?; // gaps_in_frame_num_value_allowed_flag
        let (columns, rows) = (bits.exp_golomb()? + 1, bits.exp_golomb()? + 1);
        let frames_only = bits.flag()?;
        if !frames_only {
            bits.skip(1)?; // mb_adaptive_frame_field_flag
        }
        bits.skip(1)?; // direct_8x8_inference_flag
        let mut crop = [0; 4];
        if bits.flag()? {
            for edge in &mut crop {
                *edge = bits.exp_golomb()?;
            }
        }
        // Edges are counted in samples of chroma, and rows in pairs where there are fields.
        let (across, down) = (if matches!(chroma, 1 | 2) { 2 } else { 1 }, if chroma == 1 { 2 } else { 1 });
        let fields = if frames_only { 1 } else { 2 };
        let size = |blocks: u64, edges: u64, unit: u64| {
            u32::try_from((blocks * 16).checked_sub(edges.checked_mul(unit)?)?).ok().filter(|size| *size > 0)
        };
        let [left, right, top, bottom] = crop;
        let width = size(columns, left + right, across)?;
        let height = size(rows * fields, top + bottom, down * fields)?;
        let full = bits.flag()? && full_range(&mut bits)?;
        let range = if full { ColorRange::Full } else { ColorRange::Limited };
        Some(Sps { width, height, range, plain: chroma == 1 && depths == 0 && frames_only })
    }
}

fn scaling_lists(bits: &mut Bits, chroma: u64) -> Option<()> {
    for list in 0..if chroma == 3 { 12 } else { 8 } {
        if !bits.flag()? {
            continue;
        }
        let (mut last, mut next) = (8, 8);
        for _value in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                next = (last + bits.signed_exp_golomb()?).rem_euclid(256);
            }
            last = if next == 0 { last } else { next };
        }
    }
    Some(())
}

/// Of the usability information only what precedes the range is read.
fn full_range(bits: &mut Bits) -> Option<bool> {
    if bits.flag()? && bits.take(8)? == OTHER_ASPECT_RATIO {
        bits.skip(32)?;
    }
    if bits.flag()? {
        bits.skip(1)?; // overscan_appropriate_flag
    }
    if !bits.flag()? {
        return Some(false);
    }
    bits.skip(3)?; // video_format
    bits.flag()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::SampleFormat;
    use crate::codec::backend::PictureEncoder;
    use crate::codec::openh264::Encoder;

    #[test]
    fn our_own_parameter_sets_say_what_was_asked() {
        for (width, height) in [(1280, 720), (1270, 718), (162, 122), (16, 16)] {
            for range in [ColorRange::Limited, ColorRange::Full] {
                let encoder = Encoder::open(width, height, 30, 23, range).unwrap();
                let SampleFormat::H264 { sps, .. } = &**encoder.format() else { panic!() };
                assert_eq!(Sps::parse(sps), Some(Sps { width, height, range, plain: true }));
                for cut in 0..6 {
                    assert_eq!(Sps::parse(&sps[..cut]), None);
                }
            }
        }
    }

    /// Sets as x264 writes them (FFmpeg 5.1, `-c:v libx264 -profile:v high`, 1920x1080 at 30/s, `-color_range tv` and `pc`).
    #[test]
    fn high_profiles_are_read() {
        let limited = [
            0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03, 0x00, 0x04,
            0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc6, 0x58,
        ];
        let full = [
            0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x5b, 0x20, 0x00, 0x00, 0x03, 0x00,
            0x20, 0x00, 0x00, 0x07, 0x81, 0xe3, 0x06, 0x32, 0xc0,
        ];
        for (nal, range) in [(limited, ColorRange::Limited), (full, ColorRange::Full)] {
            assert_eq!(Sps::parse(&nal), Some(Sps { width: 1920, height: 1080, range, plain: true }));
        }
    }
}
