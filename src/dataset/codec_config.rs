//! The decoder configurations `hvcC` (ISO/IEC 14496-15) and `av1C` (AV1 in ISOBMFF), from what an encoder's stream says
//! of itself. Pure; anything that is no parameter set gives none.

use crate::codec::bits::{Bits, without_emulation_prevention};
use crate::codec::bitstream::obu_payload;
use shiguredo_mp4::Uint;
use shiguredo_mp4::boxes::{Av1cBox, HvccBox, HvccNalUintArray};

/// NAL unit types of H.265's parameter sets.
const VPS: u8 = 32;
const SPS: u8 = 33;
const PPS: u8 = 34;

/// The configuration of H.265: profile, tier, level and format from the SPS, and all parameter sets.
pub fn hvcc(vps: &[u8], sps: &[u8], pps: &[u8]) -> Option<HvccBox> {
    let content = without_emulation_prevention(sps.get(2..)?);
    let mut bits = Bits::new(&content);
    bits.skip(4)?; // sps_video_parameter_set_id
    let max_sub_layers_minus1 = bits.take(3)? as u8;
    let temporal_id_nested = bits.take(1)? as u8;
    let [profile_space, tier_flag, profile_idc] = [bits.take(2)? as u8, bits.take(1)? as u8, bits.take(5)? as u8];
    let compatibility_flags = bits.take(32)? as u32;
    let constraint_flags = bits.take(48)?;
    let level_idc = bits.take(8)? as u8;
    if max_sub_layers_minus1 > 0 {
        // For each sub-layer whether it has a profile and a level of its own, padded to eight; then those.
        let present = bits.take(16)?;
        for sub_layer in 0..u32::from(max_sub_layers_minus1) {
            let flags = present >> (14 - 2 * sub_layer) & 3;
            bits.skip(if flags & 2 != 0 { 88 } else { 0 })?;
            bits.skip(if flags & 1 != 0 { 8 } else { 0 })?;
        }
    }
    bits.exp_golomb()?; // sps_seq_parameter_set_id
    let chroma_format_idc = small(bits.exp_golomb()?, 3)?;
    if chroma_format_idc == 3 {
        bits.skip(1)?; // separate_colour_plane_flag
    }
    bits.exp_golomb()?; // width
    bits.exp_golomb()?; // height
    if bits.flag()? {
        for _edge in 0..4 {
            bits.exp_golomb()?; // conformance window
        }
    }
    let [luma, chroma] = [small(bits.exp_golomb()?, 7)?, small(bits.exp_golomb()?, 7)?];
    let array = |kind, nal: &[u8]| HvccNalUintArray {
        array_completeness: Uint::new(1),
        nal_unit_type: Uint::new(kind),
        nalus: vec![nal.to_vec()],
    };
    Some(HvccBox {
        general_profile_space: Uint::new(profile_space),
        general_tier_flag: Uint::new(tier_flag),
        general_profile_idc: Uint::new(profile_idc),
        general_profile_compatibility_flags: compatibility_flags,
        general_constraint_indicator_flags: Uint::new(constraint_flags),
        general_level_idc: level_idc,
        // 0 in these four: unknown.
        min_spatial_segmentation_idc: Uint::new(0),
        parallelism_type: Uint::new(0),
        avg_frame_rate: 0,
        constant_frame_rate: Uint::new(0),
        chroma_format_idc: Uint::new(chroma_format_idc),
        bit_depth_luma_minus8: Uint::new(luma),
        bit_depth_chroma_minus8: Uint::new(chroma),
        num_temporal_layers: Uint::new(max_sub_layers_minus1 + 1),
        temporal_id_nested: Uint::new(temporal_id_nested),
        length_size_minus_one: Uint::new(3),
        nalu_arrays: vec![array(VPS, vps), array(SPS, sps), array(PPS, pps)],
    })
}

/// The configuration of AV1, from a sequence header OBU with its size.
pub fn av1c(sequence_header: &[u8]) -> Option<Av1cBox> {
    let mut bits = Bits::new(obu_payload(sequence_header)?);
    let profile = small(bits.take(3)?, 2)?;
    bits.skip(1)?; // still_picture
    let reduced = bits.flag()?;
    let (level, tier) = if reduced { (bits.take(5)? as u8, 0) } else { operating_points(&mut bits)? };
    let [width_bits, height_bits] = [bits.take(4)? + 1, bits.take(4)? + 1];
    bits.skip(width_bits + height_bits)?;
    if !reduced && bits.flag()? {
        bits.skip(7)?; // lengths of frame ids
    }
    bits.skip(3)?; // use_128x128_superblock, enable_filter_intra, enable_intra_edge_filter
    if !reduced {
        coding_tools(&mut bits)?;
    }
    bits.skip(3)?; // enable_superres, enable_cdef, enable_restoration
    let mut config = color_config(&mut bits, profile)?;
    (config.seq_level_idx_0, config.seq_tier_0) = (Uint::new(level), Uint::new(tier));
    config.config_obus = sequence_header.to_vec();
    Some(config)
}

/// Level and tier of the first operating point.
fn operating_points(bits: &mut Bits) -> Option<(u8, u8)> {
    let mut delay_bits = None;
    if bits.flag()? {
        bits.skip(64)?; // num_units_in_display_tick, time_scale
        if bits.flag()? {
            bits.exp_golomb()?; // num_ticks_per_picture_minus_1, in the same code
        }
        if bits.flag()? {
            delay_bits = Some(bits.take(5)? + 1);
            bits.skip(32 + 5 + 5)?; // num_units_in_decoding_tick, two lengths
        }
    }
    let initial_display_delay_present = bits.flag()?;
    let mut first = None;
    for _point in 0..=bits.take(5)? {
        bits.skip(12)?; // operating_point_idc
        let level = bits.take(5)? as u8;
        let tier = if level > 7 { bits.take(1)? as u8 } else { 0 };
        if let Some(delay_bits) = delay_bits
            && bits.flag()?
        {
            bits.skip(2 * delay_bits + 1)?;
        }
        if initial_display_delay_present && bits.flag()? {
            bits.skip(4)?;
        }
        first.get_or_insert((level, tier));
    }
    first
}

/// The flags that a reduced header lacks.
fn coding_tools(bits: &mut Bits) -> Option<()> {
    bits.skip(4)?; // enable_interintra_compound, _masked_compound, _warped_motion, _dual_filter
    let order_hint = bits.flag()?;
    bits.skip(if order_hint { 2 } else { 0 })?; // enable_jnt_comp, enable_ref_frame_mvs
    let choose_screen_content_tools = bits.flag()?;
    let screen_content_tools = choose_screen_content_tools || bits.flag()?;
    if screen_content_tools && !bits.flag()? {
        bits.skip(1)?; // seq_force_integer_mv
    }
    bits.skip(if order_hint { 3 } else { 0 }) // order_hint_bits_minus_1
}

/// The format of the pictures; level and tier are left 0.
fn color_config(bits: &mut Bits, profile: u8) -> Option<Av1cBox> {
    /// Code points of BT.709 primaries, the sRGB curve and no matrix: RGB itself, never subsampled.
    const RGB: u64 = 0x01_0d_00;
    let high_bitdepth = bits.flag()?;
    let twelve_bit = profile == 2 && high_bitdepth && bits.flag()?;
    let monochrome = profile != 1 && bits.flag()?;
    let description = if bits.flag()? { bits.take(24)? } else { 0 };
    let (mut x, mut y, mut position) = (true, true, 0);
    if !monochrome && description == RGB {
        (x, y) = (false, false);
    } else {
        bits.skip(1)?; // color_range
        if !monochrome {
            (x, y) = match profile {
                0 => (true, true),
                1 => (false, false),
                _ if !twelve_bit => (true, false),
                _ => {
                    let x = bits.flag()?;
                    (x, x && bits.flag()?)
                }
            };
            position = if x && y { bits.take(2)? as u8 } else { 0 };
        }
    }
    Some(Av1cBox {
        seq_profile: Uint::new(profile),
        seq_level_idx_0: Uint::new(0),
        seq_tier_0: Uint::new(0),
        high_bitdepth: Uint::new(high_bitdepth.into()),
        twelve_bit: Uint::new(twelve_bit.into()),
        monochrome: Uint::new(monochrome.into()),
        chroma_subsampling_x: Uint::new(x.into()),
        chroma_subsampling_y: Uint::new(y.into()),
        chroma_sample_position: Uint::new(position),
        initial_presentation_delay_minus_one: None,
        config_obus: Vec::new(),
    })
}

fn small(value: u64, most: u8) -> Option<u8> {
    u8::try_from(value).ok().filter(|value| *value <= most)
}
