//! What a line of the log looks like: as text for people, as a JSON object for programs.
//!
//! The line of an event ([`crate::status::Shared::tell`]) has a field `event` with the event as JSON. In a JSON log it is
//! an object like any other; as text it is left out, since the message says the same.

use serde_json::{Map, Value};
use std::fmt;
use tracing::Event;
use tracing::field::{Field, Visit};
use tracing::subscriber::Subscriber;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, Layer};
use tracing_subscriber::registry::LookupSpan;

/// The field that holds an event as JSON.
const EVENT: &str = "event";
const MESSAGE: &str = "message";

/// Lines of text.
pub fn text<S: Subscriber + for<'a> LookupSpan<'a>>() -> Layer<S, TextFields> {
    tracing_subscriber::fmt::layer().with_target(false).fmt_fields(TextFields)
}

/// The fields of a line of text.
pub struct TextFields;

impl<'w> FormatFields<'w> for TextFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut visitor = TextVisitor { writer, separator: "", result: Ok(()) };
        fields.record(&mut visitor);
        visitor.result
    }
}

struct TextVisitor<'w> {
    writer: Writer<'w>,
    separator: &'static str,
    result: fmt::Result,
}

impl Visit for TextVisitor<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.result.is_err() || field.name() == EVENT {
            return;
        }
        let separator = std::mem::replace(&mut self.separator, " ");
        self.result = match field.name() {
            MESSAGE => write!(self.writer, "{separator}{value:?}"),
            name => write!(self.writer, "{separator}{name}={value:?}"),
        };
    }
}

/// A line as one JSON object: `timestamp` (RFC 3339), `level`, `target` (the part of the program), `message`, and further
/// fields, of which `event` is an object.
pub struct JsonLine;

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = Map::new();
        line.insert("timestamp".into(), format!("{:.6}", jiff::Timestamp::now()).into());
        line.insert("level".into(), event.metadata().level().as_str().into());
        line.insert("target".into(), event.metadata().target().into());
        event.record(&mut JsonVisitor(&mut line));
        writeln!(writer, "{}", Value::Object(line))
    }
}

struct JsonVisitor<'a>(&'a mut Map<String, Value>);

impl JsonVisitor<'_> {
    fn insert(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_string(), value.into());
    }
}

impl Visit for JsonVisitor<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let nested = if field.name() == EVENT { serde_json::from_str(value).ok() } else { None };
        self.insert(field, nested.unwrap_or_else(|| Value::from(value)));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::layer::SubscriberExt;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Buffer {
        type Writer = Buffer;

        fn make_writer(&self) -> Buffer {
            self.clone()
        }
    }

    #[test]
    fn an_event_is_an_object_in_json_and_only_its_words_in_text() {
        let (text, json) = (Buffer::default(), Buffer::default());
        let subscriber = tracing_subscriber::registry()
            .with(super::text().without_time().with_ansi(false).with_writer(text.clone()))
            .with(super::text().event_format(JsonLine).with_writer(json.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(event = r#"{"event":"disk","free_bytes":18446744073709551615}"#, "the \"disk\"\nis full");
            tracing::info!(event = "no JSON", number = -1, part = "x", "y");
        });
        let read = |buffer: &Buffer| String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        assert_eq!(read(&text), " WARN the \"disk\"\nis full\n INFO y number=-1 part=\"x\"\n");
        let lines: Vec<Value> = read(&json).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        let keys: Vec<_> = lines[0].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["timestamp", "level", "target", "message", "event"]);
        assert!(lines[0]["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{}", lines[0]);
        assert_eq!((&lines[0]["level"], &lines[0]["message"]), (&"WARN".into(), &"the \"disk\"\nis full".into()));
        assert_eq!(lines[0]["event"]["free_bytes"], u64::MAX);
        assert_eq!(
            (&lines[1]["event"], &lines[1]["number"], &lines[1]["part"]),
            (&"no JSON".into(), &(-1).into(), &"x".into())
        );
    }
}
