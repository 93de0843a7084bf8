//! Until when a run records: `run.until` and `run.max_hours`. Pure: times in, times out.
//!
//! Both count from the run's first start, so that a run that is continued after a crash ends when it would have ended.
//! `until` is a time of the wall clock and is compared with it; `max_hours` is a length of time and is measured on the
//! monotonic clock, which no correction of the wall clock moves.

use crate::clock::Stamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Error, Timestamp};
use std::str::FromStr;

/// The value of `run.until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// One instant.
    At(Timestamp),
    /// The next time that local clocks show this.
    TimeOfDay(Time),
}

impl FromStr for Until {
    type Err = Error;

    fn from_str(text: &str) -> Result<Until, Error> {
        match text.parse::<Timestamp>() {
            Ok(instant) => Ok(Until::At(instant)),
            // Strictly hours and minutes: what else a civil time may look like would only surprise.
            Err(_) => Time::strptime("%H:%M", text).map(Until::TimeOfDay),
        }
    }
}

impl Until {
    /// The instant that is meant by a run that began at `began`, in local time of `zone`. A time that a change of summer
    /// time skips is taken as much later as was skipped; of one that it repeats the first is meant.
    pub fn instant(self, began: Timestamp, zone: &TimeZone) -> Result<Timestamp, Error> {
        let time = match self {
            Until::At(instant) => return Ok(instant),
            Until::TimeOfDay(time) => time,
        };
        let mut day = zone.to_datetime(began).date();
        loop {
            let instant = zone.to_timestamp(day.to_datetime(time))?;
            if instant > began {
                return Ok(instant);
            }
            day = day.tomorrow()?;
        }
    }
}

/// When a run is over, whatever is left to record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    until_utc_ns: Option<u64>,
    longest_mono_ns: Option<u64>,
}

const HOUR_NS: f64 = 3.6e12;

impl Schedule {
    /// The schedule of a run that began at `began_utc_ns`, as seen by a process that starts at `now`.
    pub fn new(now: Stamp, began_utc_ns: u64, until_utc_ns: Option<u64>, max_hours: Option<f64>) -> Schedule {
        let gone = now.utc_ns.saturating_sub(began_utc_ns);
        let left = |hours: f64| ((hours * HOUR_NS) as u64).saturating_sub(gone);
        Schedule { until_utc_ns, longest_mono_ns: max_hours.map(|hours| now.mono_ns.saturating_add(left(hours))) }
    }

    /// Which key says that no episode begins at `at` any more.
    pub fn is_over(&self, at: Stamp) -> Option<&'static str> {
        if self.until_utc_ns.is_some_and(|end| at.utc_ns >= end) {
            Some("run.until")
        } else {
            self.longest_mono_ns.is_some_and(|end| at.mono_ns >= end).then_some("run.max_hours")
        }
    }

    /// Seconds until it is over.
    pub fn left_s(&self, at: Stamp) -> Option<f64> {
        let until = self.until_utc_ns.map(|end| end.saturating_sub(at.utc_ns));
        let longest = self.longest_mono_ns.map(|end| end.saturating_sub(at.mono_ns));
        until.into_iter().chain(longest).min().map(|ns| ns as f64 / 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Central European time by its rule: one hour is skipped on the last Sunday of March, one repeated on October's.
    fn zone() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    #[test]
    fn a_time_of_day_is_the_next_one_whatever_summer_time_does() {
        for (began, until, expected) in [
            ("2026-11-22T22:00:00+01:00", "06:30", "2026-11-23T06:30:00+01:00"),
            ("2026-11-23T05:00:00+01:00", "06:30", "2026-11-23T06:30:00+01:00"),
            ("2026-11-23T06:30:00+01:00", "06:30", "2026-11-24T06:30:00+01:00"),
            ("2026-12-31T23:59:00+01:00", "00:00", "2027-01-01T00:00:00+01:00"),
            // The night has 23 hours, then 25.
            ("2026-03-28T22:00:00+01:00", "06:30", "2026-03-29T06:30:00+02:00"),
            ("2026-10-24T22:00:00+02:00", "06:30", "2026-10-25T06:30:00+01:00"),
            // 02:30 is skipped, then there twice.
            ("2026-03-28T22:00:00+01:00", "02:30", "2026-03-29T03:30:00+02:00"),
            ("2026-10-24T22:00:00+02:00", "02:30", "2026-10-25T02:30:00+02:00"),
            ("2026-10-25T02:40:00+02:00", "02:30", "2026-10-26T02:30:00+01:00"),
            // An instant is what it is, also in the past.
            ("2026-11-22T22:00:00+01:00", "2026-11-20T06:30:00Z", "2026-11-20T06:30:00Z"),
            ("2026-11-22T22:00:00+01:00", "2026-11-23T06:30:00+09:00", "2026-11-23T06:30:00+09:00"),
        ] {
            let expected: Timestamp = expected.parse().unwrap();
            let found = until.parse::<Until>().unwrap().instant(began.parse().unwrap(), &zone()).unwrap();
            assert_eq!(found, expected, "{until} of a run that began at {began}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "6", "24:00", "06:60", "06:30:00", "half past six", "2026-11-23", "2026-11-23T06:30:00"] {
            assert!(text.parse::<Until>().is_err(), "{text:?} is taken");
        }
    }

    #[test]
    fn what_comes_first_ends_the_run() {
        let at = |seconds: u64| Stamp { mono_ns: seconds * 1_000_000_000, utc_ns: (1000 + seconds) * 1_000_000_000 };
        let check = |until: Option<u64>, hours: Option<f64>, ends: Option<(u64, &str)>| {
            // Continued at 100 s, 90 s after its first start.
            let schedule = Schedule::new(at(100), at(10).utc_ns, until.map(|s| at(s).utc_ns), hours);
            match ends {
                Some((end, key)) => {
                    assert_eq!(schedule.is_over(at(end - 1)), None, "{schedule:?}");
                    assert_eq!(schedule.is_over(at(end)), Some(key), "{schedule:?}");
                    assert_eq!(schedule.left_s(at(end - 1)), Some(1.0));
                }
                None => assert_eq!((schedule.is_over(at(1 << 30)), schedule.left_s(at(0))), (None, None)),
            }
        };
        check(None, None, None);
        check(Some(500), None, Some((500, "run.until")));
        check(None, Some(0.1), Some((370, "run.max_hours")));
        check(Some(360), Some(0.1), Some((360, "run.until")));
        check(Some(380), Some(0.1), Some((370, "run.max_hours")));
        // Over before it is continued.
        check(None, Some(0.01), Some((100, "run.max_hours")));
    }

    /// The wall clock is set while the run goes on.
    #[test]
    fn a_length_of_time_is_not_moved_by_the_wall_clock() {
        let start = Stamp { mono_ns: 0, utc_ns: 5_000_000_000_000 };
        let schedule = Schedule::new(start, start.utc_ns, None, Some(1.0));
        let set = |mono_ns, utc_ns| schedule.is_over(Stamp { mono_ns, utc_ns });
        assert_eq!(set(3_599_000_000_000, 90_000_000_000_000), None);
        assert_eq!(set(3_600_000_000_000, 0), Some("run.max_hours"));
    }
}
