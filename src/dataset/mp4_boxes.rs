//! The boxes of our mp4 files, as bytes: pure, no I/O. One video track, no edit list, decoding order = display order.
//!
//! Time: the track's scale is 512 × fps and every sample lasts 512 units, as in the files LeRobot writes (15360 at
//! 30 fps); another scale is silently corrupted when LeRobot merges data sets.

use super::mp4::VideoTrack;
use crate::codec::SampleFormat;
use shiguredo_mp4::boxes::{
    Brand, Co64Box, DinfBox, FtypBox, HdlrBox, MdhdBox, MdiaBox, MfhdBox, MinfBox, MoofBox, MoovBox, MvexBox, MvhdBox,
    SampleEntry, StblBox, StcoBox, StscBox, StscEntry, StsdBox, StssBox, StszBox, SttsBox, SttsEntry, TfdtBox, TfhdBox,
    TkhdBox, TrafBox, TrakBox, TrexBox, TrunBox, TrunSample, VmhdBox,
};
use shiguredo_mp4::{Either, Encode, Error, ErrorKind, FixedPointNumber, Mp4FileTime, Result, SampleFlags};
use std::num::NonZeroU32;

/// Units that one frame lasts.
pub const FRAME_UNITS: u32 = 512;
const TRACK_ID: u32 = 1;
/// An mdat header with a 64-bit size; a `free` box of this size keeps its place while a file grows.
pub const LARGE_HEADER: usize = 16;
/// What a finished file's index says of its samples.
#[derive(Debug, Default)]
pub struct SampleIndex {
    /// Bytes of each sample.
    pub sizes: Vec<u32>,
    /// One-based numbers of the key frames.
    pub key_frames: Vec<NonZeroU32>,
    /// Where each fragment's samples start in the file, and how many they are.
    pub chunks: Vec<(u64, u32)>,
}

/// The file type box, right for both the growing (fragmented) and the finished (plain) file.
pub fn file_type(format: &SampleFormat) -> Result<Vec<u8>> {
    let codec = match format {
        SampleFormat::H264 { .. } | SampleFormat::Mjpeg => Brand::AVC1,
        SampleFormat::Hevc { .. } => Brand::HVC1,
        SampleFormat::Av1 { .. } => Brand::AV01,
    };
    let compatible_brands = vec![Brand::ISOM, Brand::ISO2, Brand::ISO5, codec, Brand::MP41];
    FtypBox { major_brand: Brand::ISOM, minor_version: 512, compatible_brands }.encode_to_vec()
}

/// A `free` box of [`LARGE_HEADER`] bytes.
pub fn placeholder() -> [u8; LARGE_HEADER] {
    let mut bytes = [0; LARGE_HEADER];
    bytes[..4].copy_from_slice(&(LARGE_HEADER as u32).to_be_bytes());
    bytes[4..8].copy_from_slice(b"free");
    bytes
}

/// The header that turns everything from the placeholder on, `size` bytes with itself, into one `mdat`.
pub fn large_mdat_header(size: u64) -> [u8; LARGE_HEADER] {
    let mut bytes = [0; LARGE_HEADER];
    bytes[..4].copy_from_slice(&1u32.to_be_bytes());
    bytes[4..8].copy_from_slice(b"mdat");
    bytes[8..].copy_from_slice(&size.to_be_bytes());
    bytes
}

/// `moov` of the growing file: the track without samples, which follow in fragments.
pub fn growing_moov(track: &VideoTrack, entry: &SampleEntry) -> Result<Vec<u8>> {
    let tables = sample_tables(entry, &SampleIndex::default())?;
    let trex = TrexBox {
        track_id: TRACK_ID,
        default_sample_description_index: 1,
        default_sample_duration: FRAME_UNITS,
        default_sample_size: 0,
        default_sample_flags: SampleFlags::empty(),
    };
    let mvex = MvexBox { mehd_box: None, trex_boxes: vec![trex], unknown_boxes: Vec::new() };
    movie(track, 0, tables, Some(mvex)).encode_to_vec()
}

/// `moov` of the finished file, with the index of all samples.
pub fn finished_moov(track: &VideoTrack, entry: &SampleEntry, index: &SampleIndex) -> Result<Vec<u8>> {
    let duration = index.sizes.len() as u64 * u64::from(FRAME_UNITS);
    movie(track, duration, sample_tables(entry, index)?, None).encode_to_vec()
}

/// `moof` and the header of the `mdat` that follows it, for samples of (bytes, key frame).
pub fn fragment_header(sequence: u32, first_frame: u64, samples: &[(u32, bool)]) -> Result<Vec<u8>> {
    let payload: u64 = samples.iter().map(|&(size, _)| u64::from(size)).sum();
    let mdat_size = u32::try_from(payload + 8)
        .map_err(|_| Error::with_reason(ErrorKind::InvalidInput, "a fragment of at most 4 GiB expected"))?;
    let mut moof = MoofBox {
        mfhd_box: MfhdBox { sequence_number: sequence },
        traf_boxes: vec![TrafBox {
            tfhd_box: TfhdBox {
                track_id: TRACK_ID,
                base_data_offset: None,
                sample_description_index: None,
                default_sample_duration: Some(FRAME_UNITS),
                default_sample_size: None,
                default_sample_flags: None,
                duration_is_empty: false,
                default_base_is_moof: true,
            },
            tfdt_box: Some(TfdtBox { version: 1, base_media_decode_time: first_frame * u64::from(FRAME_UNITS) }),
            trun_boxes: vec![TrunBox {
                data_offset: Some(0),
                first_sample_flags: None,
                samples: samples
                    .iter()
                    .map(|&(size, key)| TrunSample {
                        duration: None,
                        size: Some(size),
                        flags: Some(sample_flags(key)),
                        composition_time_offset: None,
                    })
                    .collect(),
            }],
            unknown_boxes: Vec::new(),
        }],
        unknown_boxes: Vec::new(),
    };
    // The offset counts from the start of moof to behind mdat's header; its own size is the same for every value.
    let data_offset = moof.encode_to_vec()?.len() + 8;
    moof.traf_boxes[0].trun_boxes[0].data_offset = i32::try_from(data_offset).ok();
    let mut bytes = moof.encode_to_vec()?;
    bytes.extend(mdat_size.to_be_bytes());
    bytes.extend(b"mdat");
    Ok(bytes)
}

fn sample_flags(key: bool) -> SampleFlags {
    // depends on no other sample (2) or on others (1); not a key frame
    if key {
        SampleFlags::from_fields(0, 2, 0, 0, 0, false, 0)
    } else {
        SampleFlags::from_fields(0, 1, 0, 0, 0, true, 0)
    }
}

fn sample_tables(entry: &SampleEntry, index: &SampleIndex) -> Result<StblBox> {
    let count = u32::try_from(index.sizes.len())
        .map_err(|_| Error::with_reason(ErrorKind::InvalidInput, "at most 2^32 samples expected"))?;
    let stts = if count == 0 { Vec::new() } else { vec![SttsEntry { sample_count: count, sample_delta: FRAME_UNITS }] };
    let mut stsc: Vec<StscEntry> = Vec::new();
    for (number, &(_, samples)) in (1u32..).zip(&index.chunks) {
        if stsc.last().is_none_or(|last| last.sample_per_chunk != samples) {
            let first_chunk = NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
            stsc.push(StscEntry { first_chunk, sample_per_chunk: samples, sample_description_index: NonZeroU32::MIN });
        }
    }
    let offsets = index.chunks.iter().map(|&(offset, _)| offset);
    let offsets = match offsets.clone().map(u32::try_from).collect::<std::result::Result<Vec<u32>, _>>() {
        Ok(chunk_offsets) => Either::A(StcoBox { chunk_offsets }),
        Err(_) => Either::B(Co64Box { chunk_offsets: offsets.collect() }),
    };
    // A track without this box consists of key frames only.
    let all_key_frames = index.key_frames.len() == index.sizes.len();
    let stss = StssBox { sample_numbers: index.key_frames.clone() };
    Ok(StblBox {
        stsd_box: StsdBox { entries: vec![entry.clone()] },
        stts_box: SttsBox { entries: stts },
        ctts_box: None,
        cslg_box: None,
        stsc_box: StscBox { entries: stsc },
        stsz_box: StszBox::Variable { entry_sizes: index.sizes.clone() },
        stco_or_co64_box: offsets,
        stss_box: if all_key_frames { None } else { Some(stss) },
        sdtp_box: None,
        unknown_boxes: Vec::new(),
    })
}

/// The movie around the track. Creation times are zero: the same recording gives the same bytes.
fn movie(track: &VideoTrack, duration: u64, stbl_box: StblBox, mvex_box: Option<MvexBox>) -> MoovBox {
    let time = Mp4FileTime::from_secs(0);
    let timescale = NonZeroU32::new(track.fps * FRAME_UNITS).unwrap_or(NonZeroU32::MIN);
    let trak = TrakBox {
        tkhd_box: TkhdBox {
            flag_track_enabled: true,
            flag_track_in_movie: true,
            flag_track_in_preview: false,
            flag_track_size_is_aspect_ratio: false,
            creation_time: time,
            modification_time: time,
            track_id: TRACK_ID,
            duration,
            layer: TkhdBox::DEFAULT_LAYER,
            alternate_group: TkhdBox::DEFAULT_ALTERNATE_GROUP,
            volume: TkhdBox::DEFAULT_VIDEO_VOLUME,
            matrix: TkhdBox::DEFAULT_MATRIX,
            width: FixedPointNumber::new(track.width as i16, 0),
            height: FixedPointNumber::new(track.height as i16, 0),
        },
        edts_box: None,
        mdia_box: MdiaBox {
            mdhd_box: MdhdBox {
                creation_time: time,
                modification_time: time,
                timescale,
                duration,
                language: MdhdBox::LANGUAGE_UNDEFINED,
            },
            hdlr_box: HdlrBox { handler_type: HdlrBox::HANDLER_TYPE_VIDE, name: b"VideoHandler\0".to_vec() },
            minf_box: MinfBox {
                smhd_or_vmhd_box: Some(Either::B(VmhdBox {
                    graphicsmode: VmhdBox::DEFAULT_GRAPHICSMODE,
                    opcolor: VmhdBox::DEFAULT_OPCOLOR,
                })),
                dinf_box: DinfBox::LOCAL_FILE,
                stbl_box,
                unknown_boxes: Vec::new(),
            },
            unknown_boxes: Vec::new(),
        },
        unknown_boxes: Vec::new(),
    };
    MoovBox {
        mvhd_box: MvhdBox {
            creation_time: time,
            modification_time: time,
            timescale,
            duration,
            rate: MvhdBox::DEFAULT_RATE,
            volume: MvhdBox::DEFAULT_VOLUME,
            matrix: MvhdBox::DEFAULT_MATRIX,
            next_track_id: TRACK_ID + 1,
        },
        trak_boxes: vec![trak],
        mvex_box,
        unknown_boxes: Vec::new(),
    }
}
