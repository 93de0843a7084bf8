//! Which events are told, and what is told together. Pure.

use crate::events::{Event, Severity, Told};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;

/// Events that are told together at most; of more, those that matter least are only counted.
pub const MOST_TOLD: usize = 8;
/// Characters of a text in the environment.
const LONGEST_TEXT: usize = 1000;

/// What `notify.on` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All that matter so much, or more.
    Severity(Severity),
    /// Those of this name.
    Event(&'static str),
}

impl Wanted {
    /// Names of severities, beside [`Event::NAMES`].
    pub const SEVERITIES: [&str; 3] = ["info", "warning", "critical"];

    /// What a name stands for.
    pub fn of(name: &str) -> Option<Wanted> {
        [Severity::Info, Severity::Warning, Severity::Critical]
            .into_iter()
            .find(|severity| severity.name() == name)
            .map(Wanted::Severity)
            .or_else(|| Event::NAMES.iter().copied().find(|known| *known == name).map(Wanted::Event))
    }

    /// Whether an event is meant.
    pub fn includes(self, told: &Told) -> bool {
        match self {
            Wanted::Severity(severity) => told.severity >= severity,
            Wanted::Event(name) => told.event.name() == name,
        }
    }
}

/// Events that nobody was told of yet.
#[derive(Debug, Default)]
pub struct Pending {
    events: Vec<Arc<Told>>,
    skipped: u64,
}

impl Pending {
    /// Adds an event; where there are too many the one that matters least is only counted.
    pub fn add(&mut self, told: Arc<Told>) {
        self.events.push(told);
        if self.events.len() > MOST_TOLD
            && let Some(least) = (0..self.events.len()).min_by_key(|i| weight(&self.events[*i]))
        {
            self.events.remove(least);
            self.skipped += 1;
        }
    }

    /// Counts events that are lost.
    pub fn skip(&mut self, events: u64) {
        self.skipped += events;
    }

    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// What is to be told now, if there is anything; then nothing is pending any more.
    pub fn take(&mut self) -> Option<Batch> {
        let most = (0..self.events.len()).max_by_key(|i| weight(&self.events[*i]))?;
        let Pending { mut events, skipped } = std::mem::take(self);
        let first = events.remove(most);
        Some(Batch { first, also: events, skipped })
    }
}

/// What matters more is greater: the run's end, then the severity, then what is newer.
fn weight(told: &Told) -> (bool, Severity, u64) {
    (matches!(told.event, Event::RunEnded { .. }), told.severity, told.number)
}

/// What one run of the command tells.
#[derive(Debug, PartialEq)]
pub struct Batch {
    /// What matters most.
    pub first: Arc<Told>,
    /// What else happened since the command ran last, in its order.
    pub also: Vec<Arc<Told>>,
    /// So many events more happened that are told nowhere.
    pub skipped: u64,
}

impl Batch {
    /// A single event.
    pub fn of(told: Told) -> Batch {
        Batch { first: Arc::new(told), also: Vec::new(), skipped: 0 }
    }

    /// For the command's standard input: the first event's fields, and beside them `root`, `host`, `also`, `skipped`.
    pub fn json(&self, root: &str, host: &str) -> Vec<u8> {
        let of = |told: &Told| serde_json::to_value(told).unwrap_or_default();
        let mut whole = of(&self.first);
        if let Value::Object(fields) = &mut whole {
            fields.insert("root".into(), root.into());
            fields.insert("host".into(), host.into());
            fields.insert("also".into(), self.also.iter().map(|told| of(told)).collect());
            fields.insert("skipped".into(), json!(self.skipped));
        }
        format!("{whole}\n").into_bytes()
    }

    /// For the command's environment.
    pub fn environment(&self, root: &str, host: &str) -> Vec<(&'static str, String)> {
        let Batch { first, also, skipped } = self;
        let also: Vec<String> = also.iter().map(|told| line(&told.text)).collect();
        let seconds = i64::try_from(first.utc_ns / 1_000_000_000).unwrap_or_default();
        let time = Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default();
        vec![
            ("RECORDER_EVENT", first.event.name().into()),
            ("RECORDER_SEVERITY", first.severity.name().into()),
            ("RECORDER_TEXT", line(&first.text)),
            ("RECORDER_TIME", time),
            ("RECORDER_ALSO", also.join("\n")),
            ("RECORDER_SKIPPED", skipped.to_string()),
            ("RECORDER_ROOT", line(root)),
            ("RECORDER_HOST", line(host)),
        ]
    }
}

/// One line of bounded length: it may become a header or a subject.
fn line(text: &str) -> String {
    text.chars().take(LONGEST_TEXT).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Stamp;
    use crate::config::schema::OnLoss;
    use crate::events::Events;

    fn lost(device: &str) -> Event {
        Event::DeviceLost { device: device.into(), reason: "unplugged".into(), on_loss: OnLoss::Hold }
    }

    fn ended() -> Event {
        Event::RunEnded { saved: 3, discarded: 0, failed: 0, error: None }
    }

    fn told(events: impl IntoIterator<Item = Event>) -> Vec<Arc<Told>> {
        let ring = Arc::new(Events::default());
        let tell = |event: Event| {
            let text = format!("{} happened", event.name());
            ring.tell(Stamp { mono_ns: 1, utc_ns: 1_700_000_000_000_000_000 }, text, event)
        };
        events.into_iter().map(tell).collect()
    }

    fn batch(events: impl IntoIterator<Item = Event>) -> Batch {
        let mut pending = Pending::default();
        told(events).into_iter().for_each(|told| pending.add(told));
        let batch = pending.take().unwrap();
        assert!(pending.is_empty() && pending.take().is_none());
        batch
    }

    #[test]
    fn names_stand_for_severities_and_events() {
        let [info, warning, critical] = [
            Event::DeviceBack { device: "the arm".into() },
            lost("the arm"),
            Event::DeviceFailing { device: "the arm".into() },
        ]
        .map(|event| told([event]).remove(0));
        for (name, expected) in [
            ("info", [true, true, true]),
            ("warning", [false, true, true]),
            ("critical", [false, false, true]),
            ("device_back", [true, false, false]),
            ("device_failing", [false, false, true]),
            ("run_ended", [false, false, false]),
        ] {
            let wanted = Wanted::of(name).unwrap();
            assert_eq!([&info, &warning, &critical].map(|told| wanted.includes(told)), expected, "{name}");
        }
        for name in ["", "Warning", "device", "error"] {
            assert_eq!(Wanted::of(name), None, "{name}");
        }
        assert_eq!(Wanted::SEVERITIES.map(|name| Wanted::of(name).is_some()), [true; 3]);
    }

    #[test]
    fn what_matters_most_is_told_first_and_the_rest_beside_it() {
        let names = |batch: &Batch| {
            let also: Vec<u64> = batch.also.iter().map(|told| told.number).collect();
            (batch.first.number, also, batch.skipped)
        };
        let failing = || Event::DeviceFailing { device: "the arm".into() };
        assert_eq!(names(&batch([lost("a")])), (1, vec![], 0));
        assert_eq!(names(&batch([lost("a"), failing(), lost("b")])), (2, vec![1, 3], 0));
        assert_eq!(names(&batch([lost("a"), failing(), ended()])), (3, vec![1, 2], 0), "the end is told in any case");
        let storm = (0..100).map(|n| if n == 3 { failing() } else { lost("a") });
        assert_eq!(names(&batch(storm.chain([ended()]))), (101, vec![4, 95, 96, 97, 98, 99, 100], 93));
    }

    #[test]
    fn the_command_gets_the_event_and_the_essentials() {
        let text = |told: Arc<Told>, text: String| Arc::new(Told { text, ..(*told).clone() });
        let [first, second] = <[_; 2]>::try_from(told([lost("camera front"), lost("the arm")])).unwrap();
        let long = format!("{}\0\n", "é".repeat(2000));
        let batch = Batch { first: text(first, long), also: vec![second], skipped: 2 };
        let environment = batch.environment("data/set", "cell-3");
        let value = |name| environment.iter().find(|(known, _)| *known == name).unwrap().1.as_str();
        assert_eq!((value("RECORDER_EVENT"), value("RECORDER_SEVERITY")), ("device_lost", "warning"));
        assert_eq!((value("RECORDER_ALSO"), value("RECORDER_SKIPPED")), ("device_lost happened", "2"));
        assert_eq!((value("RECORDER_ROOT"), value("RECORDER_HOST")), ("data/set", "cell-3"));
        assert_eq!(value("RECORDER_TIME"), "2023-11-14T22:13:20Z");
        assert_eq!(value("RECORDER_TEXT").chars().count(), LONGEST_TEXT);
        assert_eq!(line("a\nb\0c"), "a b c");
        let json: Value = serde_json::from_slice(&batch.json("data/set", "cell-3")).unwrap();
        assert_eq!((&json["event"], &json["device"]), (&json!("device_lost"), &json!("camera front")));
        assert_eq!((&json["also"][0]["device"], &json["skipped"]), (&json!("the arm"), &json!(2)));
        assert_eq!((&json["root"], &json["host"]), (&json!("data/set"), &json!("cell-3")));
    }
}
