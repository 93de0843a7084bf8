//! Frames onto the tick grid: for each tick and camera the newest frame captured at or before the tick. Pure.
//!
//! A frame reaches the recorder some time after it was captured, so the newest frame *of a tick* is known only when a
//! frame captured after the tick has arrived (frames of one camera arrive in order), or when `patience` has passed.
//! Rows therefore leave a little later than their tick; nothing else waits for them.
//!
//! What degrades: a camera that falls silent costs its rows `patience` each, then holds its last frame, flagged as
//! repeated. A frame that arrives after its tick's row has left serves a later tick if it is still the newest there,
//! else it is counted as late. Waiting frames are bounded by their memory credits, before the first tick by
//! `MOST_BEFORE`, waiting ticks by `MOST_WAITING_TICKS`.

use crate::clock::tick_ns;
use crate::frame::DropReason;
use std::collections::VecDeque;

/// What a camera sent, in the order of capture.
#[derive(Clone, Debug)]
enum Entry<F> {
    Frame {
        captured_ns: u64,
        frame: F,
        late: bool,
    },
    /// Captured, but without a picture to show for it.
    Dropped {
        captured_ns: u64,
        reason: DropReason,
    },
}

impl<F> Entry<F> {
    fn captured_ns(&self) -> u64 {
        match self {
            Entry::Frame { captured_ns, .. } | Entry::Dropped { captured_ns, .. } => *captured_ns,
        }
    }
}

/// One camera's part of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection<F> {
    pub frame: F,
    /// The row before showed the same frame.
    pub repeated: bool,
    /// Frames captured since the row before that no row shows.
    pub dropped: Vec<DropReason>,
    /// Repeated because the camera was away, as far as is known.
    pub lost: bool,
}

/// One tick with a frame of every camera.
#[derive(Clone, Debug, PartialEq)]
pub struct Row<F> {
    pub tick: u64,
    pub due_ns: u64,
    pub selections: Vec<Selection<F>>,
}

struct Camera<F> {
    waiting: VecDeque<Entry<F>>,
    /// The frame that the last row showed.
    current: Option<F>,
    /// Nothing captured at or before this will arrive any more, as far as is known.
    newest_ns: u64,
    /// Rows do not wait for this camera.
    lost: bool,
    /// When it captured its first picture after it was lost; 0 before.
    back_ns: u64,
}

/// Matches frames and ticks. `F` is cloned for each row that shows it.
pub struct Aligner<F> {
    cameras: Vec<Camera<F>>,
    ticks: VecDeque<(u64, u64)>,
    /// How long a row waits for a camera, in nanoseconds after its tick.
    patience_ns: Vec<u64>,
    now_ns: u64,
    emitted_ns: u64,
}

/// Frames of a camera that wait for the first tick, with a picture and without; older ones are of before the recording. One
/// is not enough: some may have been captured after the tick, and come here before it.
const MOST_BEFORE: usize = 3;

/// Ticks that wait for frames at most; beyond them rows leave with the frames there are.
const MOST_WAITING_TICKS: usize = 256;

impl<F: Clone> Aligner<F> {
    /// One camera for each entry of `patience_ns`.
    pub fn new(patience_ns: Vec<u64>) -> Aligner<F> {
        let camera = || Camera { waiting: VecDeque::new(), current: None, newest_ns: 0, lost: false, back_ns: 0 };
        Aligner {
            cameras: patience_ns.iter().map(|_| camera()).collect(),
            ticks: VecDeque::new(),
            patience_ns,
            now_ns: 0,
            emitted_ns: 0,
        }
    }

    /// A frame has arrived.
    pub fn frame(&mut self, camera: usize, captured_ns: u64, frame: F) {
        let late = captured_ns <= self.emitted_ns;
        self.enter(camera, Entry::Frame { captured_ns, frame, late });
    }

    /// A frame was captured and dropped on the way here.
    pub fn dropped(&mut self, camera: usize, captured_ns: u64, reason: DropReason) {
        self.enter(camera, Entry::Dropped { captured_ns, reason });
    }

    fn enter(&mut self, camera: usize, entry: Entry<F>) {
        let has_begun = self.emitted_ns > 0 || !self.ticks.is_empty();
        let Some(camera) = self.cameras.get_mut(camera) else { return };
        camera.newest_ns = camera.newest_ns.max(entry.captured_ns());
        if std::mem::take(&mut camera.lost) {
            camera.back_ns = entry.captured_ns();
        }
        camera.waiting.push_back(entry);
        if !has_begun {
            camera.forget_old();
        }
    }

    /// Rows stop waiting for a camera that is known to be away; its next frame brings it back.
    pub fn lost(&mut self, camera: usize) {
        if let Some(camera) = self.cameras.get_mut(camera) {
            camera.lost = true;
        }
    }

    /// True once every camera has sent a frame: only then can rows be made.
    pub fn is_ready(&self) -> bool {
        let has_frame =
            |c: &Camera<F>| c.current.is_some() || c.waiting.iter().any(|e| matches!(e, Entry::Frame { .. }));
        self.cameras.iter().all(has_frame)
    }

    /// A tick of the grid is due at `due_ns`; it is now `now_ns`. Ticks before the first frame of every camera have no row.
    pub fn tick(&mut self, tick: u64, due_ns: u64, now_ns: u64) {
        if self.is_ready() {
            self.ticks.push_back((tick, due_ns));
        }
        self.now_ns = self.now_ns.max(now_ns);
    }

    /// The next row, in the order of ticks, if it is known.
    pub fn next_row(&mut self) -> Option<Row<F>> {
        let (tick, due_ns) = *self.ticks.front()?;
        let crowded = self.ticks.len() > MOST_WAITING_TICKS;
        let decided = crowded
            || self.cameras.iter().zip(&self.patience_ns).all(|(camera, patience)| {
                camera.newest_ns > due_ns || camera.lost || self.now_ns > due_ns.saturating_add(*patience)
            });
        if !decided {
            return None;
        }
        self.ticks.pop_front();
        self.emitted_ns = self.emitted_ns.max(due_ns);
        let selections = self.cameras.iter_mut().map(|camera| camera.select(due_ns)).collect::<Option<Vec<_>>>()?;
        Some(Row { tick, due_ns, selections })
    }

    /// Ticks that wait for frames.
    pub fn waiting_ticks(&self) -> usize {
        self.ticks.len()
    }
}

/// Where in the period of `fps` the grid should tick, so that captures at `captured_ns` are furthest from a tick: the middle
/// of the largest gap between the cameras' phases. A capture that falls on a tick would, by its jitter, be shown twice
/// in one row and passed over in the next.
pub fn quietest_phase(captured_ns: &[u64], fps: u32) -> u64 {
    let period = tick_ns(1, fps);
    let mut phases: Vec<u64> = captured_ns.iter().map(|at| at % period).collect();
    phases.sort_unstable();
    let Some(first) = phases.first().copied() else { return 0 };
    let next = phases.iter().copied().skip(1).chain([first + period]);
    let gaps = phases.iter().zip(next).map(|(from, to)| (to - from, (from + (to - from) / 2) % period));
    // Of equal gaps the first, so that the answer is always the same.
    gaps.min_by_key(|(gap, _)| std::cmp::Reverse(*gap)).map_or(0, |(_, middle)| middle)
}

fn passed_over(late: bool) -> DropReason {
    if late { DropReason::Late } else { DropReason::Superseded }
}

impl<F: Clone> Camera<F> {
    /// Keeps the newest entries of each kind, so that they do not use up their credits while other devices are opened.
    fn forget_old(&mut self) {
        for is_frame in [true, false] {
            let is_one = |entry: &Entry<F>| matches!(entry, Entry::Frame { .. }) == is_frame;
            if self.waiting.iter().filter(|entry| is_one(entry)).count() > MOST_BEFORE
                && let Some(oldest) = self.waiting.iter().position(is_one)
            {
                self.waiting.remove(oldest);
            }
        }
    }

    /// The newest frame at or before `due_ns`; before the first one, the earliest there is.
    fn select(&mut self, due_ns: u64) -> Option<Selection<F>> {
        let mut dropped = Vec::new();
        let mut chosen: Option<(F, bool)> = None;
        while let Some(entry) = self.waiting.front() {
            let first_ever = self.current.is_none() && chosen.is_none();
            if entry.captured_ns() > due_ns && !first_ever {
                break;
            }
            match self.waiting.pop_front() {
                Some(Entry::Frame { frame, late, .. }) => {
                    if let Some((_, late)) = chosen.replace((frame, late)) {
                        dropped.push(passed_over(late));
                    }
                }
                Some(Entry::Dropped { reason, .. }) => dropped.push(reason),
                None => break,
            }
        }
        let repeated = chosen.is_none();
        if let Some((frame, _)) = chosen {
            self.current = Some(frame);
        }
        // It may be back by now, and still have been away at the tick.
        let lost = repeated && (due_ns < self.back_ns || (self.lost && self.waiting.is_empty()));
        Some(Selection { frame: self.current.clone()?, repeated, dropped, lost })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of a table: what happens, and the rows that leave.
    #[derive(Clone)]
    enum Event {
        Frame(usize, u64),
        Drop(usize, u64),
        Lost(usize),
        Tick(u64, u64),
    }
    use Event::*;

    /// What a row shows of one camera: captured, repeated, dropped.
    type Shown = (u64, bool, usize);

    /// `expected`: each row's tick and what it shows.
    fn check(name: &str, cameras: usize, events: &[Event], expected: &[(u64, &[Shown])]) {
        let mut aligner = Aligner::new(vec![50; cameras]);
        let mut rows = Vec::new();
        for event in events {
            match *event {
                Frame(camera, at) => aligner.frame(camera, at, at),
                Drop(camera, at) => aligner.dropped(camera, at, DropReason::Corrupt),
                Lost(camera) => aligner.lost(camera),
                Tick(due, now) => aligner.tick(due, due, now),
            }
            while let Some(row) = aligner.next_row() {
                let cameras: Vec<_> = row.selections.iter().map(|s| (s.frame, s.repeated, s.dropped.len())).collect();
                rows.push((row.due_ns, cameras));
            }
        }
        let expected: Vec<_> = expected.iter().map(|(due, cameras)| (*due, cameras.to_vec())).collect();
        assert_eq!(rows, expected, "{name}");
    }

    #[test]
    fn rows_hold_the_newest_frame_of_their_tick() {
        check(
            "a row leaves when a frame after its tick has arrived",
            1,
            &[Frame(0, 5), Tick(10, 10), Frame(0, 12), Tick(20, 20), Frame(0, 22)],
            &[(10, &[(5, false, 0)]), (20, &[(12, false, 0)])],
        );
        check(
            "frames of before the first tick give way to newer ones, and are no part of the recording",
            2,
            &[
                &(1..100).map(|at| Frame(0, at)).collect::<Vec<_>>()[..],
                &[Drop(1, 1), Drop(1, 2), Frame(1, 98), Tick(98, 100), Frame(0, 100), Frame(1, 120)],
            ]
            .concat(),
            &[(98, &[(98, false, 1), (98, false, 2)])],
        );
        check(
            "a frame captured exactly at the tick belongs to it",
            1,
            &[Frame(0, 5), Tick(10, 10), Frame(0, 10), Frame(0, 20)],
            &[(10, &[(10, false, 1)])],
        );
        check(
            "a frame that arrives after the tick but was captured before it is used",
            1,
            &[Frame(0, 1), Tick(10, 10), Frame(0, 9), Frame(0, 19)],
            &[(10, &[(9, false, 1)])],
        );
        check(
            "two cameras: the slower one decides when, each has its own frame",
            2,
            &[Frame(0, 5), Frame(1, 6), Tick(10, 10), Frame(0, 15), Frame(1, 9), Frame(1, 19)],
            &[(10, &[(5, false, 0), (9, false, 1)])],
        );
        check("no row before every camera has sent a frame", 2, &[Frame(0, 5), Tick(10, 10), Tick(200, 200)], &[]);
    }

    #[test]
    fn a_silent_camera_repeats_after_patience_and_comes_back() {
        check(
            "silence",
            1,
            &[
                Frame(0, 5),
                Tick(10, 10),
                Frame(0, 15),
                Tick(20, 20),
                Tick(30, 30),
                Tick(71, 71),
                Frame(0, 29),
                Frame(0, 72),
            ],
            // At 71 the row of 20 has waited longer than 50; the frame of 29 comes in time for 30.
            &[(10, &[(5, false, 0)]), (20, &[(15, false, 0)]), (30, &[(29, false, 0)]), (71, &[(29, true, 0)])],
        );
        check(
            "a camera known to be lost is not waited for",
            1,
            &[Frame(0, 5), Lost(0), Tick(10, 10), Tick(20, 20), Frame(0, 30), Tick(30, 30), Frame(0, 40)],
            &[(10, &[(5, false, 0)]), (20, &[(5, true, 0)]), (30, &[(30, false, 0)])],
        );
    }

    /// Rows that merely repeat are told apart from those that were recorded while the camera was away.
    #[test]
    fn rows_know_that_their_camera_was_away() {
        let mut aligner = Aligner::new(vec![50, 50]);
        let mut events = vec![Frame(0, 5), Frame(1, 5), Tick(10, 10), Tick(20, 20), Frame(0, 25), Frame(1, 25)];
        // Camera 0 is lost with 25 as its last picture; row 40 still waits for camera 1 when 0 is back.
        events.extend([Lost(0), Tick(30, 30), Frame(1, 31), Tick(40, 40), Frame(0, 43), Frame(1, 44), Tick(50, 50)]);
        events.extend([Frame(0, 53), Frame(1, 54)]);
        let mut flags = Vec::new();
        for event in events {
            match event {
                Frame(camera, at) => aligner.frame(camera, at, at),
                Lost(camera) => aligner.lost(camera),
                Tick(due, now) => aligner.tick(due, due, now),
                Drop(..) => unreachable!(),
            }
            while let Some(row) = aligner.next_row() {
                flags.push((row.due_ns, row.selections[0].repeated, row.selections[0].lost, row.selections[1].lost));
            }
        }
        let expected = [
            (10, false, false, false),
            (20, true, false, false),
            (30, false, false, false),
            (40, true, true, false),
            (50, false, false, false),
        ];
        assert_eq!(flags, expected);
    }

    #[test]
    fn the_grid_keeps_away_from_captures() {
        let ms = |n: u64| n * 1_000_000;
        for (captures, expected) in [
            (vec![], 0),
            (vec![ms(1000)], ms(5)),
            (vec![ms(1003)], ms(8)),
            (vec![ms(1002), ms(2004)], ms(8)),
            (vec![ms(1001), ms(2009)], ms(5)),
            (vec![ms(1000), ms(1005)], ms(2) + ms(1) / 2),
        ] {
            assert_eq!(quietest_phase(&captures, 100), expected, "{captures:?}");
        }
    }

    #[test]
    fn drops_are_counted_with_their_row() {
        check(
            "a corrupt frame: the one before stands in",
            1,
            &[Frame(0, 5), Tick(10, 10), Drop(0, 15), Tick(20, 20), Frame(0, 25), Tick(30, 30), Frame(0, 35)],
            &[(10, &[(5, false, 0)]), (20, &[(5, true, 1)]), (30, &[(25, false, 0)])],
        );
        check(
            "a camera of twice the rate: every second frame is superseded",
            1,
            &[Frame(0, 5), Tick(10, 10), Frame(0, 11), Frame(0, 16), Tick(20, 20), Frame(0, 21)],
            &[(10, &[(5, false, 0)]), (20, &[(16, false, 1)])],
        );
    }

    #[test]
    fn a_frame_that_missed_its_row_is_late_only_if_no_later_row_shows_it() {
        let mut aligner = Aligner::new(vec![50]);
        aligner.frame(0, 5, 5);
        aligner.tick(0, 10, 10);
        aligner.tick(1, 20, 70);
        assert_eq!(aligner.next_row().map(|r| r.due_ns), Some(10));
        aligner.frame(0, 8, 8);
        aligner.frame(0, 18, 18);
        aligner.frame(0, 28, 28);
        let row = aligner.next_row().unwrap();
        assert_eq!(
            row.selections[0],
            Selection { frame: 18, repeated: false, dropped: vec![DropReason::Late], lost: false }
        );
    }

    proptest::proptest! {
        /// Any interleaving: rows come in order, one for each tick, captured = shown + dropped + waiting from the first tick on.
        #[test]
        fn nothing_is_lost_or_doubled(events in proptest::collection::vec((0u8..4, 0usize..2, 1u64..40), 1..200)) {
            let mut aligner = Aligner::new(vec![30, 30]);
            let (mut now, mut tick, mut entered, mut shown, mut dropped) = (0, 0, 0usize, 0usize, 0usize);
            let mut last = [0u64; 2];
            let mut rows = Vec::new();
            for (kind, camera, step) in events {
                match kind {
                    0 | 1 => { last[camera] = last[camera].max(now) + step; aligner.frame(camera, last[camera], last[camera]); entered += 1; }
                    2 => { last[camera] = last[camera].max(now) + step; aligner.dropped(camera, last[camera], DropReason::Corrupt); entered += 1; }
                    _ => { now += step; aligner.tick(tick, now, now); tick += 1; }
                }
                if rows.is_empty() && aligner.waiting_ticks() == 0 {
                    entered = aligner.cameras.iter().map(|c| c.waiting.len()).sum();
                    proptest::prop_assert!(entered <= 2 * 2 * MOST_BEFORE);
                }
                while let Some(row) = aligner.next_row() {
                    for s in &row.selections {
                        shown += usize::from(!s.repeated);
                        dropped += s.dropped.len();
                    }
                    rows.push(row.tick);
                }
            }
            let waiting: usize = aligner.cameras.iter().map(|c| c.waiting.len()).sum();
            proptest::prop_assert_eq!(entered, shown + dropped + waiting);
            proptest::prop_assert!(rows.windows(2).all(|w| w[1] == w[0] + 1));
        }
    }
}
