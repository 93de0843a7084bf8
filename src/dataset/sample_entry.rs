//! How an mp4 track's samples are to be decoded: the sample entry of each codec. Pure.
//!
//! It holds the parameter sets of the file's first encoder. Those of every encoder also lie in front of its key frames,
//! so that a file can go on with another one: readers take what comes with the pictures.

use super::codec_config::{av1c, hvcc};
use super::mp4::VideoTrack;
use crate::codec::SampleFormat;
use crate::config::schema::ColorRange;
use shiguredo_mp4::boxes::{
    Av01Box, Avc1Box, AvccBox, EsdsBox, Hvc1Box, SampleEntry, UnknownBox, VisualSampleEntryFields,
};
use shiguredo_mp4::descriptors::{DecoderConfigDescriptor, EsDescriptor, SlConfigDescriptor};
use shiguredo_mp4::{BoxSize, BoxType, Encode, Error, ErrorKind, Result, Uint};

/// ISO/IEC 14496-1: JPEG pictures (ISO/IEC 10918-1), in a visual stream.
const OBJECT_TYPE_JPEG: u8 = 0x6C;
const STREAM_TYPE_VISUAL: u8 = 0x04;
/// ISO/IEC 23091-2 code points of BT.601 (SMPTE 170M) for primaries, transfer and matrix.
const BT601: u16 = 6;

/// The sample entry of a track.
pub fn sample_entry(track: &VideoTrack, format: &SampleFormat) -> Result<SampleEntry> {
    let visual = VisualSampleEntryFields {
        data_reference_index: VisualSampleEntryFields::DEFAULT_DATA_REFERENCE_INDEX,
        width: track.width,
        height: track.height,
        horizresolution: VisualSampleEntryFields::DEFAULT_HORIZRESOLUTION,
        vertresolution: VisualSampleEntryFields::DEFAULT_VERTRESOLUTION,
        frame_count: VisualSampleEntryFields::DEFAULT_FRAME_COUNT,
        compressorname: VisualSampleEntryFields::NULL_COMPRESSORNAME,
        depth: VisualSampleEntryFields::DEFAULT_DEPTH,
    };
    let color = color(track.color_range);
    let invalid = |reason| Error::with_reason(ErrorKind::InvalidInput, reason);
    match format {
        SampleFormat::H264 { sps, pps } => {
            let avcc_box = avcc(sps, pps).ok_or_else(|| invalid("an H.264 SPS of at least 4 bytes expected"))?;
            Ok(SampleEntry::Avc1(Avc1Box { visual, avcc_box, unknown_boxes: vec![color] }))
        }
        SampleFormat::Hevc { vps, sps, pps } => {
            let hvcc_box = hvcc(vps, sps, pps).ok_or_else(|| invalid("an H.265 SPS expected"))?;
            Ok(SampleEntry::Hvc1(Hvc1Box { visual, hvcc_box, unknown_boxes: vec![color] }))
        }
        SampleFormat::Av1 { sequence_header } => {
            let av1c_box = av1c(sequence_header).ok_or_else(|| invalid("an AV1 sequence header expected"))?;
            Ok(SampleEntry::Av01(Av01Box { visual, av1c_box, unknown_boxes: vec![color] }))
        }
        SampleFormat::Mjpeg => {
            let mut payload = visual.encode_to_vec()?;
            payload.extend(jpeg_esds().encode_to_vec()?);
            payload.extend(color.encode_to_vec()?);
            Ok(SampleEntry::Unknown(own_box(*b"mp4v", payload)))
        }
    }
}

fn avcc(sps: &[u8], pps: &[u8]) -> Option<AvccBox> {
    let &[_, profile, compatibility, level, ..] = sps else { return None };
    Some(AvccBox {
        avc_profile_indication: profile,
        profile_compatibility: compatibility,
        avc_level_indication: level,
        length_size_minus_one: Uint::new(3),
        sps_list: vec![sps.to_vec()],
        pps_list: vec![pps.to_vec()],
        // Only written for the High profiles: every encoder here is fed 8-bit 4:2:0.
        chroma_format: Some(Uint::new(1)),
        bit_depth_luma_minus8: Some(Uint::new(0)),
        bit_depth_chroma_minus8: Some(Uint::new(0)),
        sps_ext_list: Vec::new(),
    })
}

fn jpeg_esds() -> EsdsBox {
    let es = EsDescriptor {
        es_id: EsDescriptor::MIN_ES_ID,
        stream_priority: EsDescriptor::LOWEST_STREAM_PRIORITY,
        depends_on_es_id: None,
        url_string: None,
        ocr_es_id: None,
        dec_config_descr: DecoderConfigDescriptor {
            object_type_indication: OBJECT_TYPE_JPEG,
            stream_type: Uint::new(STREAM_TYPE_VISUAL),
            up_stream: DecoderConfigDescriptor::UP_STREAM_FALSE,
            buffer_size_db: Uint::new(0),
            max_bitrate: 0,
            avg_bitrate: 0,
            dec_specific_info: None,
        },
        sl_config_descr: SlConfigDescriptor,
    };
    EsdsBox { es }
}

fn color(range: ColorRange) -> UnknownBox {
    let mut payload = b"nclx".to_vec();
    for _ in 0..3 {
        payload.extend(BT601.to_be_bytes());
    }
    payload.push(if range == ColorRange::Full { 0x80 } else { 0 });
    own_box(*b"colr", payload)
}

/// A box that the crate does not know.
fn own_box(name: [u8; 4], payload: Vec<u8>) -> UnknownBox {
    let box_type = BoxType::Normal(name);
    UnknownBox { box_type, box_size: BoxSize::with_payload_size(box_type, payload.len() as u64), payload }
}
