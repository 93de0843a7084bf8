use super::*;
use crate::clock::Stamp;
use crate::codec::Sample;
use crate::dataset::{DatasetSpec, RowFrame};
use std::sync::Arc;

fn head() -> Head {
    let spec =
        DatasetSpec { fps: 30, robot_type: None, state_names: vec!["a".into()], action_names: vec![], cameras: vec![] };
    let cameras = ["front", "wrist"].map(|key| HeadCamera { key: key.into(), color_range: ColorRange::Full });
    Head { version: VERSION, take: 7, task: "Pick".into(), info: Info::new(&spec), cameras: cameras.to_vec() }
}

fn row(k: u64) -> Row {
    let tick = Stamp { mono_ns: k, utc_ns: 2 * k };
    Row { tick, state: vec![0.1 * k as f32], cameras: vec![RowFrame::default(); 2], ..Row::default() }
}

fn losses() -> Losses {
    Losses {
        dropped: vec![(1, DropReason::Superseded)],
        before_capture: vec![(0, 3)],
        arm_errors: vec!["timeout".into()],
    }
}

fn fragment(camera: usize, first_frame: u64, frames: usize) -> FragmentRecord {
    let mut fragment = Fragment {
        first_frame,
        samples: (0..frames).map(|i| Sample { data: vec![i as u8; 5 + i].into(), sync: i == 0 }).collect(),
        format: Arc::new(SampleFormat::H264 { sps: vec![1, 2], pps: vec![3] }),
        substituted: vec![(first_frame, DropReason::Corrupt)],
        stored: vec![first_frame + 1],
        pixels: PixelHistogram { pictures: frames as u64, ..Default::default() },
    };
    fragment.pixels.counts[2][255] = 9;
    FragmentRecord::new(camera, &fragment, 100)
}

fn report(rows: u64) -> TakeReport {
    TakeReport { take: 7, rows, cameras: vec![Default::default(); 2], ..Default::default() }
}

fn owned<T: Clone>(value: T) -> Cow<'static, T> {
    Cow::Owned(value)
}

/// Everything that a take can have.
fn records() -> Vec<Record<'static>> {
    let switch = EncoderSwitch { frame: 1, from: "nvenc".into(), to: "openh264".into(), reason: "gone".into() };
    vec![
        Record::Head(owned(head())),
        Record::Row(owned(row(0)), owned(Losses::default())),
        Record::Row(owned(row(1)), owned(losses())),
        Record::Fragment(owned(fragment(1, 0, 2))),
        Record::Switch { camera: 1, switch: owned(switch) },
        Record::Row(owned(row(2)), owned(Losses::default())),
        Record::Fragment(owned(fragment(0, 0, 2))),
        Record::Fragment(owned(fragment(1, 2, 1))),
        Record::Encoder { camera: 1, name: "openh264".into() },
        Record::Report(owned(report(3))),
    ]
}

/// The journal's bytes, and where each record ends.
fn written(records: &[Record<'_>]) -> (Vec<u8>, Vec<usize>) {
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    for record in records {
        bytes.extend(record.to_bytes().unwrap());
        ends.push(bytes.len());
    }
    (bytes, ends)
}

#[test]
fn what_is_written_is_read() {
    let (bytes, _) = written(&records());
    let journal = Journal::parse(&bytes).unwrap();
    assert_eq!((&journal.head, &journal.damage), (&head(), &None));
    let rows = [(row(0), Losses::default()), (row(1), losses()), (row(2), Losses::default())];
    assert_eq!(journal.rows, rows);
    assert_eq!(journal.fragments, [vec![fragment(0, 0, 2)], vec![fragment(1, 0, 2), fragment(1, 2, 1)]]);
    assert_eq!(journal.encoders, BTreeMap::from([(1, "openh264".to_string())]));
    assert_eq!((journal.switches.len(), journal.report), (1, Some(report(3))));
    let fragment = &journal.fragments[1][0];
    assert_eq!((fragment.end(), fragment.bytes(), fragment.pixels().counts[2][255]), (2, 11, 9));
    assert_eq!(fragment.crc32, crc32fast::hash(&[0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]));
    assert!(fragment.format.is_some() && journal.fragments[1][1].format.is_none());
}

#[test]
fn a_torn_or_damaged_record_ends_the_journal_and_is_named() {
    let (bytes, ends) = written(&records());
    let whole = Journal::parse(&bytes).unwrap();
    for length in 0..bytes.len() {
        let before = ends.iter().filter(|end| **end <= length).count();
        match Journal::parse(&bytes[..length]) {
            Err(damage) => assert_eq!((before, damage.at), (0, 0)),
            Ok(journal) => {
                let torn = !ends.contains(&length);
                assert_eq!(journal.damage.as_ref().map(|damage| damage.at), torn.then(|| ends[before - 1] as u64));
                assert!(whole.rows.starts_with(&journal.rows), "{length}");
                assert_eq!(journal.report.is_some(), before == ends.len());
            }
        }
        let mut damaged = bytes.clone();
        damaged[length] ^= 0x10;
        match Journal::parse(&damaged) {
            Err(damage) => assert_eq!((before, damage.at), (0, 0)),
            Ok(journal) => {
                let damage = journal.damage.unwrap();
                assert_eq!((damage.at, damage.bytes), (ends[before - 1] as u64, bytes.len() as u64));
                assert!(whole.rows.starts_with(&journal.rows));
            }
        }
    }
}

#[test]
fn what_makes_no_sense_is_not_taken_in() {
    let row_of = |cameras: usize| Row { cameras: vec![RowFrame::default(); cameras], ..row(0) };
    let with = |change: fn(&mut FragmentRecord)| {
        let mut fragment = fragment(1, 0, 2);
        change(&mut fragment);
        Record::Fragment(owned(fragment))
    };
    let row = |losses| Record::Row(owned(row(0)), owned(losses));
    for (record, expected) in [
        (Record::Head(owned(head())), "a second head"),
        (Record::Row(owned(row_of(1)), owned(Losses::default())), "a row of 1 cameras, not 2"),
        (row(Losses { dropped: vec![(2, DropReason::Corrupt)], ..Losses::default() }), "camera number 2 of 2"),
        (row(Losses { before_capture: vec![(9, 1)], ..Losses::default() }), "camera number 9 of 2"),
        (with(|f| f.camera = 2), "camera number 2 of 2"),
        (with(|f| f.first_frame = 1), "a fragment from frame 1 on, not from 0"),
        (with(|f| f.sizes.clear()), "a fragment of 0 frames"),
        (with(|f| f.key_frames.push(2)), "a key frame outside of its fragment"),
        (with(|f| f.format = None), "a format that is not with the first fragment alone"),
        (with(|f| f.pixels.truncate(700)), "numbers that are no pixel histogram"),
        (with(|f| f.pixels[5] = u64::MAX), "numbers that are no pixel histogram"),
        (Record::Encoder { camera: 2, name: "x".into() }, "camera number 2 of 2"),
        (Record::Report(owned(report(1))), "a report of take 7 with 1 rows and 2 cameras, not of take 7 with 0 and 2"),
    ] {
        let (bytes, ends) = written(&[Record::Head(owned(head())), record]);
        let damage = Journal::parse(&bytes).unwrap().damage.unwrap_or_else(|| panic!("{expected}"));
        assert!(damage.reason.contains(expected) && damage.at == ends[0] as u64, "{damage}: {expected}");
    }
    let (bytes, _) = written(&[records(), vec![row(Losses::default())]].concat());
    assert!(Journal::parse(&bytes).unwrap().damage.unwrap().reason.contains("a row more than the 3"));
}

#[test]
fn another_version_is_named() {
    let mut later = head();
    later.version = 2;
    let (bytes, _) = written(&[Record::Head(owned(later))]);
    assert_eq!(Journal::parse(&bytes).unwrap_err().reason, "format version 2, known is 1");
    let (bytes, _) = written(&records()[1..]);
    assert_eq!(Journal::parse(&bytes).unwrap_err().to_string(), format!("byte 0 of {}: not a head", bytes.len()));
}

#[test]
fn a_failed_write_is_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let mut journal = JournalWriter::create(&path, &head()).unwrap();
    let rows: Vec<_> = records().into_iter().filter(|record| matches!(record, Record::Row(..))).collect();
    journal.append(&rows[0]).unwrap();
    // A write that broke off, of a record that is longer than the next.
    let file = std::mem::replace(&mut journal.file, File::open(&path).unwrap());
    let error = journal.append(&rows[1]).unwrap_err().to_string();
    assert!(error.contains("journal: cannot write"), "{error}");
    journal.file = file;
    journal.file.write_all_at(&[1; 5000], journal.end).unwrap();
    assert_eq!(Journal::read(&path).unwrap().unwrap().unwrap().rows.len(), 1, "what was written before is good");
    journal.append(&rows[2]).unwrap();
    let read = Journal::read(&path).unwrap().unwrap().unwrap();
    assert_eq!((read.rows.len(), read.damage), (2, None));
    journal.sync().unwrap();
    assert!(Journal::read(&dir.path().join("none")).unwrap().is_none());
}
