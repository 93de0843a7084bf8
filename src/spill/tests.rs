use super::*;
use crate::budget::Budget;
use crate::clock::Stamp;
use crate::codec::view::View;
use crate::frame::PixelFormat;
use std::fs;

const BYTES: usize = 10;
const RECORD: u64 = (HEADER_BYTES + BYTES) as u64;

fn frame(budget: &Budget, k: u64) -> Arc<Frame> {
    let stamp = |mono_ns| Stamp { mono_ns, utc_ns: 1_700_000_000_000_000_000 + mono_ns };
    Arc::new(Frame {
        camera: 1,
        sequence: 100 + k,
        captured: stamp(k),
        arrived: stamp(k + 5),
        format: if k.is_multiple_of(2) { PixelFormat::Mjpg } else { PixelFormat::Yuyv },
        width: 4,
        height: 2,
        view: View::default(),
        data: vec![k as u8; BYTES].into(),
        coded: None,
        credit: budget.try_acquire(BYTES).unwrap(),
    })
}

fn facts(frame: &Frame) -> (usize, u64, Stamp, Stamp, PixelFormat, u32, u32, Vec<u8>) {
    let Frame { camera, sequence, captured, arrived, format, width, height, ref data, .. } = *frame;
    (camera, sequence, captured, arrived, format, width, height, data.to_vec())
}

/// Pops everything, checking rows and facts: `frames[i]` is the frame that row `i + first` shows.
fn pops(spill: &mut Spill, first: u64, frames: &[u64]) {
    let budget = Budget::new(1 << 20, 10);
    for (index, &k) in (first..).zip(frames) {
        let (at, popped) = spill.pop(|len| budget.try_acquire(len).ok()).unwrap().unwrap();
        assert_eq!((at, facts(&popped)), (index, facts(&frame(&budget, k))));
        drop(popped);
        assert_eq!(budget.frames_in_use(), 0);
    }
    assert!(spill.is_empty() && spill.pop(|_| panic!("nothing is there to pay for")).unwrap().is_none());
}

/// A durable spill whose rows 0 to 4 show the frames 0, 1, 1, 1, 2.
fn five(path: &Path) -> Spill {
    let budget = Budget::new(1 << 20, 10);
    let mut spill = Spill::durable(path.to_owned());
    let one = frame(&budget, 1);
    spill.push(0, &frame(&budget, 0)).unwrap();
    (1..4).for_each(|index| spill.push(index, &one).unwrap());
    spill.push(4, &frame(&budget, 2)).unwrap();
    spill.sync().unwrap();
    spill
}

#[test]
fn frames_come_back_in_order_with_all_their_facts_and_leave_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let budget = Budget::new(1 << 20, 10);
    let mut spill = Spill::temporary(dir.path().join("work"));
    for _ in 0..2 {
        assert!(!spill.push_stand_in(0).unwrap(), "there is nothing to repeat yet");
        for index in 0..3 {
            let frame = frame(&budget, index);
            assert_eq!(spill.needed(&frame), RECORD);
            spill.push(index, &frame).unwrap();
            assert_eq!(spill.needed(&frame), 0, "it is there already");
        }
        assert!(spill.push_stand_in(3).unwrap());
        assert_eq!((spill.len(), spill.bytes(), budget.frames_in_use()), (4, 3 * RECORD, 0));
        assert_eq!(fs::read_dir(dir.path().join("work")).unwrap().count(), 0);
        pops(&mut spill, 0, &[0, 1, 2, 2]);
        assert_eq!((spill.len(), spill.bytes()), (0, 0), "a drained spill gives its space back");
    }
}

#[test]
fn a_frame_that_is_shown_again_is_written_and_read_once() {
    let dir = tempfile::tempdir().unwrap();
    let budget = Budget::new(1 << 20, 1);
    let mut spill = five(&dir.path().join("a.frames"));
    assert_eq!(spill.bytes(), 3 * RECORD + 2 * HEADER_BYTES as u64);
    assert_eq!(fs::metadata(dir.path().join("a.frames")).unwrap().len(), spill.bytes());
    let mut pop = || spill.pop(|len| budget.try_acquire(len).ok()).unwrap();
    drop(pop().unwrap());
    let held = pop().unwrap();
    for index in 2..4 {
        let (at, again) = pop().unwrap();
        assert!(at == index && Arc::ptr_eq(&again, &held.1), "the same frame, without a credit of its own");
    }
    assert!(pop().is_none(), "the next frame has no credit yet");
    drop(held);
    assert_eq!(pop().unwrap().0, 4);
}

#[test]
fn a_durable_spill_gives_its_frames_again_from_any_row_on() {
    let dir = tempfile::tempdir().unwrap();
    let shown = [0, 1, 1, 1, 2];
    let mut spill = five(&dir.path().join("a.frames"));
    for first in [0, 2, 4, 3] {
        assert!(spill.rewind(first));
        assert_eq!((spill.len(), spill.frames()), (5 - first as usize, 5));
        pops(&mut spill, first, &shown[first as usize..]);
    }
    assert!(!spill.rewind(5) && spill.is_empty());
    spill.push(5, &frame(&Budget::new(100, 1), 7)).unwrap();
    pops(&mut spill, 5, &[7]);
    let before = fs::read(dir.path().join("a.frames")).unwrap();
    drop(spill);
    assert_eq!(fs::read(dir.path().join("a.frames")).unwrap(), before);
    assert!(Spill::durable(dir.path().join("a.frames")).push(0, &frame(&Budget::new(100, 1), 7)).is_err());
}

#[test]
fn after_a_restart_the_frames_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.frames");
    drop(five(&path));
    let (mut spill, cut) = Spill::reopen(path.clone()).unwrap();
    assert_eq!((cut, spill.frames(), spill.len()), (None, 5, 5));
    pops(&mut spill, 0, &[0, 1, 1, 1, 2]);
    assert_eq!(spill.stand_ins().count(), 0, "a frame that is shown again stands in for no other");
    assert!(spill.push_stand_in(5).unwrap(), "the frame may lie before the restart");
    drop(spill);
    let (mut spill, _) = Spill::reopen(path).unwrap();
    assert_eq!(spill.stand_ins().collect::<Vec<_>>(), [5]);
    assert!(spill.rewind(4));
    pops(&mut spill, 4, &[2, 2]);
    let missing = Spill::reopen(dir.path().join("b.frames")).unwrap_err().to_string();
    assert!(missing.contains("b.frames") && missing.contains("read back"), "{missing}");
}

/// Cut off anywhere, or with any byte changed, the records before are good, and nothing else is believed.
#[test]
fn a_damaged_end_is_left_out_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.frames");
    drop(five(&path));
    let whole = fs::read(&path).unwrap();
    let header = HEADER_BYTES as u64;
    let ends = [RECORD, 2 * RECORD, 2 * RECORD + header, 2 * RECORD + 2 * header, 3 * RECORD + 2 * header];
    for at in 0..whole.len() {
        let good = ends.iter().filter(|end| **end <= at as u64).count() as u64;
        let cut_at = if good == 0 { 0 } else { ends[good as usize - 1] };
        let mut changed = whole.clone();
        changed[at] ^= 0x80;
        for (damaged, what) in [(&whole[..at], "shorter"), (&changed[..], "changed")] {
            fs::write(&path, damaged).unwrap();
            let (mut spill, cut) = Spill::reopen(path.clone()).unwrap();
            assert_eq!(spill.frames(), good, "{what} at byte {at}");
            match cut {
                None => assert_eq!((what, cut_at), ("shorter", at as u64)),
                Some(cut) => {
                    assert_eq!((cut.frames, cut.bytes), (good, damaged.len() as u64 - cut_at), "{what} at byte {at}");
                    let said = format!("a.frames: {good} frames are good, the {} bytes after them are not", cut.bytes);
                    assert!(cut.to_string().contains(&said), "{cut}");
                }
            }
            assert_eq!(fs::read(&path).unwrap(), damaged, "looking changes nothing");
            // What is pushed now stands where the damage was, whatever lay behind.
            spill.push(9, &frame(&Budget::new(100, 1), 9)).unwrap();
            drop(spill);
            let (spill, cut) = Spill::reopen(path.clone()).unwrap();
            assert_eq!((cut, spill.frames()), (None, good + 1));
        }
    }
}

#[test]
fn hostile_records_end_the_spill() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.frames");
    let record = Record::new(7, &frame(&Budget::new(100, 1), 0));
    let bytes = |record: Record, data: &[u8]| [&record.header(data)[..], data].concat();
    let first = bytes(record, &[0; BYTES]);
    let mut long = first.clone();
    long[20..24].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut longer = first.clone();
    longer[20] += 1;
    for (next, reason) in [
        (long, "its length is none that a frame can have"),
        (longer, "the file ends in the middle of it"),
        (first.clone(), "it is out of order"),
        (b"x".repeat(200), "no record begins there"),
    ] {
        fs::write(&path, [&first[..], &next[..]].concat()).unwrap();
        let (spill, cut) = Spill::reopen(path.clone()).unwrap();
        assert_eq!((spill.frames(), cut.unwrap().reason.as_str()), (1, reason));
    }
    fs::write(&path, bytes(record.again(0, Kind::Repeat), &[])).unwrap();
    let cut = Spill::reopen(path.clone()).unwrap().1.unwrap();
    assert_eq!(cut.reason, "it repeats a frame that is not there");
    fs::write(&path, "").unwrap();
    assert_eq!(Spill::reopen(path).unwrap().1, None, "an empty file has nothing wrong");
}

#[test]
fn what_cannot_be_written_or_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let budget = Budget::new(100, 4);
    let error = Spill::temporary(file.clone()).push(0, &frame(&budget, 0)).unwrap_err().to_string();
    assert!(error.contains(&file.display().to_string()) && error.contains("written"), "{error}");

    let path = dir.path().join("a.frames");
    let mut spill = five(&path);
    let error = spill.push(4, &frame(&budget, 5)).unwrap_err().to_string();
    assert!(error.contains("it is out of order"), "{error}");
    assert_eq!(fs::metadata(&path).unwrap().len(), spill.bytes(), "nothing was written");
    let mut bytes = fs::read(&path).unwrap();
    bytes[HEADER_BYTES] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = spill.pop(|len| budget.try_acquire(len).ok()).unwrap_err().to_string();
    assert!(error.contains("a.frames") && error.contains("checksum"), "{error}");
    assert_eq!(budget.frames_in_use(), 0);
}

#[test]
fn what_is_more_than_a_picture_comes_back_with_it() {
    use crate::config::schema::{Crop, Rotation};
    use crate::frame::Coded;
    let dir = tempfile::tempdir().unwrap();
    let budget = Budget::new(1 << 20, 10);
    let crop = Crop { left: 2, top: 4, width: 600, height: 70_000 };
    let views = [
        View { rotation: Rotation::By90, crop: None },
        View { rotation: Rotation::None, crop: Some(crop) },
        View { rotation: Rotation::By270, crop: Some(crop) },
        View::default(),
    ];
    let path = dir.path().join("frames");
    let mut spill = Spill::durable(path.clone());
    let coded = |number: u64| {
        (number > 0).then(|| Coded { data: vec![9; number as usize], session: 1 << 40, number, key: number == 2 })
    };
    for (index, view) in (0..).zip(views) {
        let frame = Arc::new(Frame { view, coded: coded(index), ..Arc::into_inner(frame(&budget, index)).unwrap() });
        let before = spill.bytes();
        let needed = spill.needed(&frame);
        spill.push(index, &frame).unwrap();
        assert_eq!(spill.bytes() - before, needed, "{view:?}");
        spill.push(index, &frame).expect_err("upwards");
    }
    drop(spill);
    let (mut spill, cut) = Spill::reopen(path).unwrap();
    assert_eq!(cut, None);
    for (index, view) in (0..).zip(views) {
        let (at, popped) = spill.pop(|len| budget.try_acquire(len).ok()).unwrap().unwrap();
        assert_eq!((at, popped.view, &popped.data[..]), (index, view, &[index as u8; BYTES][..]));
        assert_eq!(popped.coded, coded(index));
    }
}
