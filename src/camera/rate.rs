//! Whether a camera delivers as many pictures as it said it would. Pure.
//!
//! Objective: a lasting lack is said within 3 s, with no word about a start, a stall, or a picture lost now and then. So
//! the rate is measured over a window, and both halves of it must be low: what happens once is in one of them only.

use std::collections::VecDeque;

/// Pictures of so long are judged.
const WINDOW_NS: u64 = 2_400_000_000;
/// Below this share of its rate a camera is slow.
const SLOW: f64 = 0.95;
/// From this share on it is not slow any more.
const FAST_ENOUGH: f64 = 0.965;

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// It has become slow: said once, until it is over. Of the `counted` pictures of the window the driver lost `lost`.
    Slow { hertz: f64, lost: u64, counted: u64 },
    /// It is not slow any more.
    Over { hertz: f64 },
}

/// Watches a camera from its opening to its closing.
#[derive(Debug)]
pub struct Monitor {
    declared_hertz: f64,
    /// Capture time, and pictures that are missing in front of it, by the driver's numbers.
    captures: VecDeque<(u64, u64)>,
    sequence: Option<u64>,
    slow: bool,
}

impl Monitor {
    /// Of a camera that has declared frames a second as a fraction.
    pub fn new((frames, seconds): (u32, u32)) -> Monitor {
        let declared_hertz = f64::from(frames.max(1)) / f64::from(seconds.max(1));
        Monitor { declared_hertz, captures: VecDeque::new(), sequence: None, slow: false }
    }

    /// Frames a second that the camera has declared.
    pub fn declared_hertz(&self) -> f64 {
        self.declared_hertz
    }

    /// A picture has come. Pictures are given in the order of capture.
    pub fn picture(&mut self, sequence: u64, captured_ns: u64) -> Option<Verdict> {
        let missing = self.sequence.replace(sequence).map_or(0, |last| sequence.saturating_sub(last + 1));
        self.captures.push_back((captured_ns, missing));
        // The oldest stays behind the window: what is measured is never shorter.
        while self.captures.get(1).is_some_and(|(second, _)| second + WINDOW_NS <= captured_ns) {
            self.captures.pop_front();
        }
        let (oldest, _) = *self.captures.front()?;
        if captured_ns.saturating_sub(oldest) < WINDOW_NS {
            return None;
        }
        let middle = self.captures.partition_point(|(at, _)| at + WINDOW_NS / 2 < captured_ns);
        let last = self.captures.len() - 1;
        let (older, newer) = (self.hertz(0, middle)?, self.hertz(middle, last)?);
        let hertz = self.hertz(0, last)?;
        if !self.slow && older.max(newer) < SLOW * self.declared_hertz {
            self.slow = true;
            let lost = self.captures.iter().skip(1).map(|(_, missing)| missing).sum();
            return Some(Verdict::Slow { hertz, lost, counted: last as u64 + lost });
        }
        if self.slow && older.min(newer) >= FAST_ENOUGH * self.declared_hertz {
            self.slow = false;
            return Some(Verdict::Over { hertz });
        }
        None
    }

    /// From one picture of the window to another.
    fn hertz(&self, from: usize, to: usize) -> Option<f64> {
        let ((start, _), (end, _)) = (self.captures.get(from)?, self.captures.get(to)?);
        (end > start).then(|| (to - from) as f64 * 1e9 / (end - start) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A camera's pictures: number and time, in seconds.
    #[derive(Default)]
    struct Pictures(Vec<(u64, f64)>);

    impl Pictures {
        /// So many seconds at a rate, behind what there is.
        fn at(mut self, hertz: f64, seconds: f64) -> Pictures {
            let (mut number, start) = self.0.last().map_or((0, 0.0), |(number, at)| (number + 1, at + 1.0 / hertz));
            let count = (seconds * hertz).round() as u64;
            for k in 0..count {
                self.0.push((number, start + k as f64 / hertz));
                number += 1;
            }
            self
        }

        /// Without those whose place among all is wanted gone.
        fn without(self, gone: impl Fn(usize) -> bool) -> Pictures {
            Pictures(self.0.into_iter().enumerate().filter(|(k, _)| !gone(*k)).map(|(_, picture)| picture).collect())
        }

        /// Numbered without a gap, as drivers do that do not notice what is missing.
        fn renumbered(self) -> Pictures {
            Pictures(self.0.into_iter().zip(0..).map(|((_, at), number)| (number, at)).collect())
        }

        /// Nothing for so long, from the place on.
        fn stall(mut self, place: usize, seconds: f64) -> Pictures {
            self.0.iter_mut().skip(place).for_each(|(_, at)| *at += seconds);
            self
        }

        /// Times that are off by up to so much, to and fro.
        fn jitter(mut self, seconds: f64) -> Pictures {
            for (k, (_, at)) in self.0.iter_mut().enumerate() {
                *at += seconds * ((k * 7919 % 101) as f64 / 50.5 - 1.0) + seconds;
            }
            self
        }

        /// What is said, with the second in which it is.
        fn judged(&self, declared: (u32, u32)) -> Vec<(f64, Verdict)> {
            let mut monitor = Monitor::new(declared);
            let judge =
                |&(number, at): &(u64, f64)| Some((at, monitor.picture(number, 5_000_000_000 + (at * 1e9) as u64)?));
            self.0.iter().filter_map(judge).collect()
        }
    }

    fn at(hertz: f64, seconds: f64) -> Pictures {
        Pictures::default().at(hertz, seconds)
    }

    #[test]
    fn a_slow_camera_is_said_once_within_three_seconds() {
        for (declared, delivered) in
            [(30, 15.0), (30, 28.3), (30, 24.0), (60, 30.0), (120, 100.0), (15, 7.5), (10, 9.0), (5, 4.0)]
        {
            let name = format!("{delivered} instead of {declared}");
            // From the start on.
            let said = at(delivered, 60.0).jitter(0.002).judged((declared, 1));
            let [(seconds, Verdict::Slow { hertz, lost: 0, .. })] = said[..] else { panic!("{name}: {said:?}") };
            assert!(seconds < 3.0 && (hertz - delivered).abs() < 0.2, "{name}: {seconds} {hertz}");
            // In the middle.
            let said = at(f64::from(declared), 20.0).at(delivered, 60.0).jitter(0.002).judged((declared, 1));
            let [(seconds, Verdict::Slow { .. })] = said[..] else { panic!("{name}: {said:?}") };
            assert!((20.0..23.0).contains(&seconds), "{name}: {seconds}");
        }
    }

    #[test]
    fn what_passes_is_not_said() {
        let ntsc = (30_000, 1001);
        for (name, pictures, declared) in [
            ("as declared", at(30.0, 60.0).jitter(0.005), (30, 1)),
            ("29.97 Hz", at(29.97, 60.0).jitter(0.005), ntsc),
            ("3 % slow", at(29.1, 600.0).jitter(0.004), (30, 1)),
            ("faster", at(40.0, 60.0), (30, 1)),
            ("a late second picture", at(30.0, 60.0).stall(1, 1.0), (30, 1)),
            ("slow at first", at(5.0, 0.4).at(30.0, 60.0), (30, 1)),
            ("a stall", at(30.0, 60.0).stall(600, 1.5), (30, 1)),
            ("a lost picture", at(30.0, 60.0).without(|k| k == 600), (30, 1)),
            ("a lost picture that is not noticed", at(10.0, 60.0).without(|k| k == 300).renumbered(), (10, 1)),
            ("a lost picture of a slow camera", at(2.0, 60.0).without(|k| k == 60), (2, 1)),
            ("a slow camera that is uneven", at(2.0, 600.0).jitter(0.06), (2, 1)),
            ("some lost at once", at(30.0, 60.0).without(|k| (600..610).contains(&k)), (30, 1)),
            ("one lost in each second", at(30.0, 60.0).without(|k| k % 30 == 7), (30, 1)),
            ("none", at(30.0, 0.0), (30, 1)),
        ] {
            assert_eq!(pictures.judged(declared), [], "{name}");
        }
    }

    #[test]
    fn what_was_lost_on_the_way_is_told_apart() {
        let every_tenth = at(30.0, 10.0).without(|k| k % 10 == 9);
        let said = every_tenth.judged((30, 1));
        let [(_, Verdict::Slow { hertz, lost, counted })] = said[..] else { panic!("{said:?}") };
        assert!((hertz - 27.0).abs() < 0.6 && (6..=8).contains(&lost) && (70..=75).contains(&counted), "{said:?}");
        let said = every_tenth.renumbered().judged((30, 1));
        assert!(matches!(said[..], [(_, Verdict::Slow { lost: 0, .. })]), "{said:?}");
    }

    #[test]
    fn each_spell_is_said_when_it_begins_and_when_it_is_over() {
        // In between at the edge, where it is neither.
        let pictures = at(30.0, 10.0).at(20.0, 10.0).at(28.7, 10.0).at(28.0, 10.0).at(30.0, 10.0).at(20.0, 10.0);
        let said = pictures.judged((30, 1));
        let words: Vec<_> = said.iter().map(|(_, verdict)| matches!(verdict, Verdict::Slow { .. })).collect();
        assert_eq!(words, [true, false, true], "{said:?}");
        assert!((40.0..43.0).contains(&said[1].0), "{said:?}");
    }
}
