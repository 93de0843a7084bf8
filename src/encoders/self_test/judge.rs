//! What of a report is a failure, and what was not tested. Pure.

use super::recording::{Recording, RecordingFigures};
use super::{Report, Tried};
use crate::encoders::decode::Verdict;

/// The longest that a switch to the CPU may take, in milliseconds.
const LONGEST_SWITCH_MS: f64 = 1000.0;

/// The lists, and the thing that is judged.
struct Findings<'a> {
    what: String,
    failures: &'a mut Vec<String>,
    not_tested: &'a mut Vec<String>,
}

impl Findings<'_> {
    fn failed(&mut self, reasons: impl IntoIterator<Item = String>) {
        self.failures.extend(reasons.into_iter().map(|reason| format!("{}: {reason}", self.what)));
    }

    fn decoded(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Exact { .. } => {}
            Verdict::Wrong { .. } => self.failed([verdict.describe()]),
            Verdict::NotChecked { why } => self.not_tested.push(format!("decoding {}: {why}", self.what)),
        }
    }
}

impl Report {
    /// Fills the lists of what failed and of what was not tested.
    pub(super) fn judge(&mut self) {
        let Report { encoders, sessions, recordings, not_tested, failures, .. } = self;
        let mut findings = Findings { what: String::new(), failures, not_tested };
        for Tried { tried, figures, failure } in encoders {
            findings.what = tried.describe();
            findings.failed(failure.clone());
            figures.iter().filter_map(|figures| figures.decoded.as_ref()).for_each(|verdict| findings.decoded(verdict));
        }
        for Tried { tried, figures, failure } in sessions {
            findings.what = format!("sessions on GPU {}", tried.gpu_id);
            findings.failed(failure.clone());
            match figures {
                Some(none) if none.opened == 0 => {
                    findings.failed([format!("not one: {}", none.refusal.as_deref().unwrap_or_default())]);
                }
                some => some.iter().for_each(|figures| findings.decoded(&figures.decoded)),
            }
        }
        for Tried { tried, figures, failure } in recordings {
            findings.what = tried.describe();
            findings.failed(failure.clone());
            findings.failed(figures.iter().flat_map(|figures| figures.faults(tried)));
        }
    }
}

impl RecordingFigures {
    /// What is wrong with a recording.
    pub(super) fn faults(&self, recording: &Recording) -> Vec<String> {
        let mut faults = Vec::new();
        if !self.decoded.is_exact() {
            faults.push(self.decoded.describe());
        }
        let Self { captured, written, dropped, .. } = self;
        if *captured != written + dropped {
            faults.push(format!("frames were lost: captured {captured}, written {written} and dropped {dropped}"));
        }
        let expected = usize::from(recording.death.is_some());
        if self.switches.len() != expected {
            let found = self.switches.iter().map(|[from, to, why]| format!("{from} to {to}: {why}"));
            let found = found.collect::<Vec<_>>().join("; ");
            let number = self.switches.len();
            faults.push(format!("expected {expected} changes of encoder, found {number}: {found}"));
        }
        match (recording.death, self.switch_ms) {
            (Some(_), None) => faults.push("nobody took over from the session that died".into()),
            (Some(_), Some(ms)) if ms > LONGEST_SWITCH_MS => {
                faults.push(format!("the switch took {ms:.0} ms, expected at most {LONGEST_SWITCH_MS:.0} ms"));
            }
            _ => {}
        }
        faults
    }
}
