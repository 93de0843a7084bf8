//! The video track that an mp4 file's index describes: pure, from the bytes of `moov` and of each `moof`. Boxes that do
//! not matter here are stepped over, whatever they hold.

use super::mp4_reader::SampleInfo;
use shiguredo_mp4::boxes::{
    Co64Box, CttsBox, ElstBox, EsdsBox, HdlrBox, MdhdBox, MvhdBox, StcoBox, StscBox, StssBox, StszBox, SttsBox,
    TfdtBox, TfhdBox, TkhdBox, TrexBox, TrunBox,
};
use shiguredo_mp4::{Decode, SampleFlags};

/// Most frames of a file: a day at 30 frames a second has 2.6 million. A number beyond is taken for damage.
const MAX_SAMPLES: u64 = 1 << 22;

/// What is wrong in a file, and where.
#[derive(Debug)]
pub struct Damage {
    /// Byte of the file.
    pub at: u64,
    pub expected: String,
    pub found: String,
}

type Result<T> = std::result::Result<T, Damage>;

/// The start of a box.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    pub kind: [u8; 4],
    /// Bytes of the header itself.
    length: usize,
    /// Bytes of the whole box, never fewer than the header's and never more than there are.
    pub size: u64,
}

/// Reads the header of the box at byte `at` of the file, of which `available` bytes follow there.
pub fn header(start: &[u8], available: u64, at: u64) -> Result<Header> {
    let [Some(size), Some(kind)] = [start.first_chunk::<4>(), start.get(4..).and_then(|rest| rest.first_chunk())]
    else {
        return Err(Damage { at, expected: "a box".into(), found: format!("{available} bytes up to the end") });
    };
    let (length, size) = match (u32::from_be_bytes(*size), start.get(8..16)) {
        (0, _) => (8, available),
        (1, Some(large)) => (16, large.iter().fold(0, |size, byte| size << 8 | u64::from(*byte))),
        (size, _) => (8, u64::from(size)),
    };
    if size < length as u64 || size > available {
        let (expected, found) =
            (format!("`{}` of {size} bytes", kind.escape_ascii()), format!("{available} up to the end"));
        return Err(Damage { at, expected, found });
    }
    Ok(Header { kind: *kind, length, size })
}

/// A box in memory.
#[derive(Clone, Copy, Debug)]
pub struct FileBox<'a> {
    kind: [u8; 4],
    /// Where it starts in the file.
    at: u64,
    /// With its header.
    bytes: &'a [u8],
    header: usize,
}

impl<'a> FileBox<'a> {
    /// A box of the file's top level, in whole.
    pub fn whole(bytes: &'a [u8], header: Header, at: u64) -> FileBox<'a> {
        FileBox { kind: header.kind, at, bytes, header: header.length }
    }

    pub fn damage(&self, expected: &str, found: impl Into<String>) -> Damage {
        Damage { at: self.at, expected: expected.into(), found: found.into() }
    }

    fn payload(&self) -> &'a [u8] {
        &self.bytes[self.header..]
    }

    /// The boxes that lie in this one, behind `skip` bytes of its own.
    fn children(&self, skip: usize) -> Result<Vec<FileBox<'a>>> {
        let mut children = Vec::new();
        let mut rest = self.payload().get(skip..).unwrap_or_default();
        // QuickTime ends some lists with four zeros.
        while rest.len() >= 8 {
            let at = self.at + (self.bytes.len() - rest.len()) as u64;
            let header = header(rest, rest.len() as u64, at)?;
            let (bytes, next) = rest.split_at(header.size as usize);
            children.push(FileBox::whole(bytes, header, at));
            rest = next;
        }
        Ok(children)
    }

    fn find(&self, kind: &[u8; 4]) -> Result<Option<FileBox<'a>>> {
        Ok(self.children(0)?.into_iter().find(|child| child.kind == *kind))
    }

    fn get(&self, kind: &[u8; 4]) -> Result<FileBox<'a>> {
        let missing = || self.damage(&format!("`{}` in `{}`", kind.escape_ascii(), self.kind.escape_ascii()), "none");
        self.find(kind)?.ok_or_else(missing)
    }

    fn decode<T: Decode>(&self) -> Result<T> {
        let wrong = |error: shiguredo_mp4::Error| {
            let reason = if error.reason.is_empty() { format!("{:?}", error.kind) } else { error.reason };
            self.damage(&format!("a valid `{}`", self.kind.escape_ascii()), reason)
        };
        T::decode(self.bytes).map(|(decoded, _)| decoded).map_err(wrong)
    }
}

/// The first video track of a file.
#[derive(Debug)]
pub struct Track {
    id: u32,
    defaults: Option<TrexBox>,
    /// Where the next fragment starts on the track's time line, unless it says otherwise.
    next_time: i64,
    edit: Option<Edit>,
    pub codec: String,
    pub width: u16,
    pub height: u16,
    pub timescale: u32,
    pub edit_start: Option<i64>,
    pub samples: Vec<SampleInfo>,
}

/// An edit list that shows the track once.
#[derive(Clone, Copy, Debug)]
struct Edit {
    at: u64,
    /// The unit of the track that is at 0 on the presentation's time line.
    start: i64,
    /// The first unit of the track that is shown; later than `start` when a pause precedes it.
    first: i64,
    /// The first that is not shown any more; none when the track is shown to its end.
    end: Option<i64>,
}

impl Track {
    /// Reads `moov` of a file of `length` bytes.
    pub fn read(moov: &FileBox, length: u64) -> Result<Track> {
        let mut video = None;
        for trak in moov.children(0)?.into_iter().filter(|child| child.kind == *b"trak") {
            let mdia = trak.get(b"mdia")?;
            if mdia.get(b"hdlr")?.decode::<HdlrBox>()?.handler_type == HdlrBox::HANDLER_TYPE_VIDE {
                video = Some((trak, mdia));
                break;
            }
        }
        let (trak, mdia) = video.ok_or_else(|| moov.damage("a video track", "none"))?;
        let id = trak.get(b"tkhd")?.decode::<TkhdBox>()?.track_id;
        let timescale = mdia.get(b"mdhd")?.decode::<MdhdBox>()?.timescale.get();
        let stbl = mdia.get(b"minf")?.get(b"stbl")?;
        let (codec, width, height) = sample_entry(&stbl.get(b"stsd")?)?;
        let (samples, next_time) = sample_table(&stbl, length)?;
        let mut defaults = None;
        if let Some(mvex) = moov.find(b"mvex")? {
            for trex in mvex.children(0)?.iter().filter(|child| child.kind == *b"trex") {
                defaults = Some(trex.decode::<TrexBox>()?).filter(|trex| trex.track_id == id).or(defaults);
            }
        }
        let edit = edit(moov, &trak, timescale)?;
        Ok(Track { id, defaults, next_time, edit, codec, width, height, timescale, edit_start: None, samples })
    }

    /// Adds the samples of `moof` in a file of `length` bytes.
    pub fn add_fragment(&mut self, moof: &FileBox, length: u64) -> Result<()> {
        for (i, traf) in moof.children(0)?.into_iter().filter(|child| child.kind == *b"traf").enumerate() {
            let tfhd_box = traf.get(b"tfhd")?;
            let tfhd: TfhdBox = tfhd_box.decode()?;
            if tfhd.track_id != self.id {
                continue;
            }
            if tfhd.base_data_offset.is_none() && !tfhd.default_base_is_moof && i > 0 {
                return Err(tfhd_box.damage("offsets from the start of the fragment or of the file", "others"));
            }
            let base = tfhd.base_data_offset.unwrap_or(moof.at);
            if let Some(tfdt) = traf.find(b"tfdt")? {
                let time = tfdt.decode::<TfdtBox>()?.base_media_decode_time;
                // A quarter of what fits: nothing that is added overflows.
                self.next_time = i64::try_from(time)
                    .ok()
                    .filter(|time| *time <= i64::MAX / 4)
                    .ok_or_else(|| tfdt.damage("a time of decoding below 2^61", time.to_string()))?;
            }
            let mut offset = base;
            for trun in traf.children(0)?.into_iter().filter(|child| child.kind == *b"trun") {
                offset = self.add_run(&trun, &tfhd, base, offset, length)?;
            }
        }
        Ok(())
    }

    /// Adds one run of samples, and answers with where its data end. It starts at `next` unless it says otherwise.
    fn add_run(&mut self, trun_box: &FileBox, tfhd: &TfhdBox, base: u64, next: u64, length: u64) -> Result<u64> {
        // A run whose samples are all alike says no more than their number: few bytes, any memory.
        let count =
            trun_box.payload().get(4..).and_then(|rest| rest.first_chunk()).map_or(0, |n| u32::from_be_bytes(*n));
        if count as usize > trun_box.bytes.len() {
            return Err(trun_box.damage("a size for each sample", format!("{count} samples without")));
        }
        let trun: TrunBox = trun_box.decode()?;
        require_count(trun_box, self.samples.len() as u64 + trun.samples.len() as u64, length)?;
        let outside = || trun_box.damage("data in the file", "an offset outside of it");
        let mut offset = match trun.data_offset {
            Some(relative) => base.checked_add_signed(relative.into()).ok_or_else(outside)?,
            None => next,
        };
        let defaults = self.defaults.as_ref();
        for (i, sample) in trun.samples.iter().enumerate() {
            let first_flags = trun.first_sample_flags.filter(|_| i == 0).or(sample.flags).or(tfhd.default_sample_flags);
            let flags = first_flags.or(defaults.map(|trex| trex.default_sample_flags)).unwrap_or(SampleFlags::empty());
            let duration = sample.duration.or(tfhd.default_sample_duration);
            let duration = duration.or(defaults.map(|trex| trex.default_sample_duration)).unwrap_or(0);
            let size = sample.size.or(tfhd.default_sample_size);
            let size = size.or(defaults.map(|trex| trex.default_sample_size)).unwrap_or(0);
            let shift = i64::from(sample.composition_time_offset.unwrap_or(0));
            let sync = !flags.sample_is_non_sync_sample();
            self.samples.push(SampleInfo { time: self.next_time.saturating_add(shift), duration, size, offset, sync });
            self.next_time = self.next_time.saturating_add(duration.into());
            offset = end_of_sample(trun_box, self.samples.len() - 1, offset, size, length)?;
        }
        Ok(offset)
    }

    /// Counts times from where the edit list starts; refuses one that leaves frames out.
    pub fn finish(mut self) -> Result<Track> {
        let Some(Edit { at, start, first, end }) = self.edit else { return Ok(self) };
        let shown = |time: i64| time >= first && end.is_none_or(|end| time < end);
        let hidden = self.samples.iter().filter(|sample| !shown(sample.time)).count();
        if hidden > 0 {
            let found = format!("one that leaves out {hidden} of {}", self.samples.len());
            return Err(Damage { at, expected: "an edit list that shows every frame".into(), found });
        }
        self.samples.iter_mut().for_each(|sample| sample.time -= start);
        self.edit_start = Some(start);
        Ok(self)
    }
}

/// Codec, width and height.
fn sample_entry(stsd: &FileBox) -> Result<(String, u16, u16)> {
    // Version, flags and the number of entries stand in front.
    let entries = stsd.children(8)?;
    let entry = entries.first().ok_or_else(|| stsd.damage("a sample entry", "none"))?;
    if let Some(other) = entries.iter().find(|other| other.kind != entry.kind) {
        return Err(other.damage("one codec in a file", format!("`{}` too", other.kind.escape_ascii())));
    }
    let number = |at: usize| {
        let bytes = entry.payload().get(at..).and_then(|rest| rest.first_chunk());
        bytes.map(|bytes| u16::from_be_bytes(*bytes)).ok_or_else(|| entry.damage("a visual sample entry", "its start"))
    };
    let codec = match &entry.kind {
        b"avc1" | b"avc3" => "h264".into(),
        b"hvc1" | b"hev1" => "hevc".into(),
        b"av01" => "av1".into(),
        b"jpeg" | b"mjpa" => "mjpeg".into(),
        b"mp4v" if is_jpeg(entry)? => "mjpeg".into(),
        other => other.escape_ascii().to_string(),
    };
    Ok((codec, number(24)?, number(26)?))
}

/// MPEG-4's way to name JPEG pictures (ISO/IEC 14496-1, object type 0x6c).
fn is_jpeg(mp4v: &FileBox) -> Result<bool> {
    // The fields of every visual sample entry stand in front.
    let children = mp4v.children(78)?;
    let Some(esds) = children.iter().find(|child| child.kind == *b"esds") else { return Ok(false) };
    Ok(esds.decode::<EsdsBox>()?.es.dec_config_descr.object_type_indication == 0x6c)
}

/// The samples of a plain file, and where they end on the time line. Their times are those of the track itself.
fn sample_table(stbl: &FileBox, length: u64) -> Result<(Vec<SampleInfo>, i64)> {
    let stsz = stbl.get(b"stsz")?;
    let sizes = match stsz.decode()? {
        StszBox::Fixed { sample_size, sample_count } => {
            require_count(&stsz, sample_count.into(), length / u64::from(sample_size.get()))?;
            vec![sample_size.get(); sample_count as usize]
        }
        StszBox::Variable { entry_sizes } => entry_sizes,
    };
    require_count(&stsz, sizes.len() as u64, u64::MAX)?;
    let count = sizes.len();

    let stts_box = stbl.get(b"stts")?;
    let stts = stts_box.decode::<SttsBox>()?.entries;
    require_covered(&stts_box, stts.iter().map(|entry| entry.sample_count), count)?;
    let durations = stts.iter().flat_map(|entry| std::iter::repeat_n(entry.sample_delta, entry.sample_count as usize));
    let shifts = match stbl.find(b"ctts")? {
        None => Vec::new(),
        Some(ctts_box) => {
            let entries = ctts_box.decode::<CttsBox>()?.entries;
            require_covered(&ctts_box, entries.iter().map(|entry| entry.sample_count), count)?;
            entries
        }
    };
    let shifts = shifts.iter().flat_map(|entry| std::iter::repeat_n(entry.sample_offset, entry.sample_count as usize));
    let shifts = shifts.chain(std::iter::repeat(0));

    let mut samples = Vec::with_capacity(count);
    let mut time = 0;
    for (((&size, duration), shift), offset) in
        sizes.iter().zip(durations).zip(shifts).zip(offsets(stbl, &sizes, length)?)
    {
        samples.push(SampleInfo { time: time + shift, duration, size, offset, sync: false });
        time += i64::from(duration);
    }
    match stbl.find(b"stss")? {
        None => samples.iter_mut().for_each(|sample| sample.sync = true),
        Some(stss) => {
            for number in stss.decode::<StssBox>()?.sample_numbers {
                let sample = samples.get_mut(number.get() as usize - 1);
                sample.ok_or_else(|| stss.damage(&format!("{count} samples"), format!("number {number}")))?.sync = true;
            }
        }
    }
    Ok((samples, time))
}

/// Where each sample lies: chunk by chunk, one behind the other.
fn offsets(stbl: &FileBox, sizes: &[u32], length: u64) -> Result<Vec<u64>> {
    let chunks: Vec<u64> = match stbl.find(b"co64")? {
        Some(co64) => co64.decode::<Co64Box>()?.chunk_offsets,
        None => stbl.get(b"stco")?.decode::<StcoBox>()?.chunk_offsets.into_iter().map(u64::from).collect(),
    };
    let stsc_box = stbl.get(b"stsc")?;
    let stsc = stsc_box.decode::<StscBox>()?.entries;
    let mut runs = stsc.iter().peekable();
    let mut samples_in_chunk = 0;
    let mut offsets = Vec::with_capacity(sizes.len());
    for (number, &chunk) in (1u32..).zip(&chunks) {
        while let Some(run) = runs.next_if(|run| run.first_chunk.get() <= number) {
            samples_in_chunk = run.sample_per_chunk as usize;
        }
        let mut offset = chunk;
        for &size in sizes[offsets.len()..].iter().take(samples_in_chunk) {
            offsets.push(offset);
            offset = end_of_sample(&stsc_box, offsets.len() - 1, offset, size, length)?;
        }
    }
    if offsets.len() < sizes.len() {
        let expected = format!("chunks of {} samples", sizes.len());
        return Err(stsc_box.damage(&expected, format!("{} of {}", chunks.len(), offsets.len())));
    }
    Ok(offsets)
}

/// The edit list, in units of the track.
fn edit(moov: &FileBox, trak: &FileBox, timescale: u32) -> Result<Option<Edit>> {
    let Some(edts) = trak.find(b"edts")? else { return Ok(None) };
    let Some(elst) = edts.find(b"elst")? else { return Ok(None) };
    let movie_timescale = moov.get(b"mvhd")?.decode::<MvhdBox>()?.timescale.get();
    let units = |movie_units: u64| i128::from(movie_units) * i128::from(timescale) / i128::from(movie_timescale);
    let entries = elst.decode::<ElstBox>()?.entries;
    let pauses = entries.iter().take_while(|entry| entry.media_time == -1).count();
    let pause: i128 = entries[..pauses].iter().map(|entry| units(entry.edit_duration)).sum();
    let wrong = |found: String| elst.damage("an edit list that shows the track once, from one start", found);
    let shown = match &entries[pauses..] {
        [] if pauses == 0 => return Ok(None),
        [shown] => shown,
        more => return Err(wrong(format!("one of {} parts", more.len()))),
    };
    // Times fit 61 bits, so that sums and differences fit 64.
    let small = |time: i128| i64::try_from(time).ok().filter(|time| time.unsigned_abs() <= 1 << 61);
    let far = || wrong("a time beyond 2^61".into());
    let first = small(shown.media_time.into()).filter(|first| *first >= 0).ok_or_else(far)?;
    let start = small(i128::from(first) - pause).ok_or_else(far)?;
    // Durations are rounded to the movie's units, which may be coarse.
    let end = i128::from(first) + units(shown.edit_duration.saturating_add(1));
    let end = if shown.edit_duration == 0 { None } else { Some(small(end).ok_or_else(far)?) };
    Ok(Some(Edit { at: elst.at, start, first, end }))
}

/// Refuses a number of samples that no file of `most` bytes of pictures has.
fn require_count(of: &FileBox, count: u64, most: u64) -> Result<()> {
    let most = most.min(MAX_SAMPLES);
    if count > most { Err(of.damage(&format!("at most {most} samples"), count.to_string())) } else { Ok(()) }
}

/// Refuses a table in runs that is not about `count` samples.
fn require_covered(of: &FileBox, runs: impl Iterator<Item = u32>, count: usize) -> Result<()> {
    let covered: u64 = runs.map(u64::from).sum();
    if covered == count as u64 {
        return Ok(());
    }
    Err(of.damage(&format!("entries for {count} samples"), covered.to_string()))
}

/// Where sample `i` ends, if that is within the file.
fn end_of_sample(of: &FileBox, i: usize, offset: u64, size: u32, length: u64) -> Result<u64> {
    let end = offset.checked_add(size.into()).filter(|end| *end <= length);
    end.ok_or_else(|| {
        of.damage(&format!("frame {i} within the file's {length} bytes"), format!("{size} bytes from {offset}"))
    })
}
