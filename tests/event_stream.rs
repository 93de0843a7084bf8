//! Events on their way out: `/events` over a real socket, and the JSON log of the program.

mod program;
mod sse;

use program::{Lab, Running, Signal};
use recorder::clock::Stamp;
use recorder::config::schema::Metrics;
use recorder::console::http;
use recorder::events::{Event, RING};
use recorder::metrics;
use recorder::status::{self, SharedStatus};
use serde_json::Value;
use sse::{Follower, Message, ask, get};
use std::io::Read;
use std::path::Path;
use std::time::Instant;

/// A server of this process, and what it serves.
async fn serve() -> (String, SharedStatus) {
    let status = status::shared();
    let local = Metrics { listen: "127.0.0.1:0".into(), ..Metrics::default() };
    let address = http::serve(&local, metrics::install().unwrap(), status.clone()).await.unwrap();
    (address.to_string(), status)
}

fn tell(status: &SharedStatus, words: &str) {
    status.tell(Stamp::default(), Event::GpuBack, words);
}

fn end(status: &SharedStatus) {
    status.tell(Stamp::default(), Event::RunEnded { saved: 0, discarded: 0, failed: 0, error: None }, "over");
}

fn objects(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Where a run serves its pages.
fn address(running: &mut Running) -> String {
    let line = running.wait_for("metrics at http://");
    line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_string()
}

/// The JSON log has a line for each event with the same event as the stream, and so for each episode with its summary.
#[test]
fn stream_log_status_and_files_tell_the_same() {
    let lab = Lab::new();
    let mut running = lab.start(&[
        "--metrics.listen=127.0.0.1:0",
        "--dataset.num_episodes=3",
        "--dataset.reset_time_s=0.5",
        "--log.file=log.json",
        "--log.format=json",
    ]);
    let address = address(&mut running);
    // One that never reads holds nobody up.
    let _silent = ask(&address, "GET", "/events?after=0", "");
    let mut follower = Follower::connect(&address, "/events?after=0", None);
    let mut messages: Vec<Message> = follower.by_ref().take_while(|message| message.event != "episode_saved").collect();
    let (code, text) = get(&address, "/status");
    let shown: Value = serde_json::from_str(&text).unwrap();
    // The connection is lost, and the message that was under way with it.
    drop(follower);
    let last = messages.last().unwrap().id;
    messages.extend(Follower::connect(&address, "/events?after=0", last));
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.text);

    let numbers: Vec<u64> = messages.iter().map(|message| message.id.unwrap()).collect();
    assert_eq!(numbers, (1..=messages.len() as u64).collect::<Vec<_>>(), "nothing is lost or doubled");
    let names: Vec<&str> = messages.iter().map(|message| message.event.as_str()).collect();
    assert_eq!((names[0], *names.last().unwrap()), ("run_started", "run_ended"));
    for Message { id, event, data } in &messages {
        assert_eq!((&data["number"], &data["event"]), (&id.unwrap().into(), &event.as_str().into()));
    }

    let lines = objects(&lab.path("log.json"));
    let logged: Vec<&Value> = lines.iter().filter(|line| line.get("event").is_some()).collect();
    assert_eq!(logged.len(), messages.len());
    for (line, message) in logged.iter().zip(&messages) {
        assert_eq!(line["message"], message.data["text"]);
        for (key, value) in line["event"].as_object().unwrap() {
            assert_eq!(&message.data[key], value, "{key}");
        }
    }
    let episodes: Vec<&Value> = logged.iter().map(|line| &line["event"]["summary"]).filter(|s| s.is_object()).collect();
    assert_eq!(episodes.len(), 3);
    for (n, logged) in episodes.into_iter().enumerate() {
        let file = lab.root().join(format!("recorder/episodes/chunk-000/file-{n:03}.json"));
        assert_eq!(&serde_json::from_slice::<Value>(&std::fs::read(file).unwrap()).unwrap(), logged);
        if n == 0 {
            assert_eq!((code, &shown["last_episode"]), (200, logged));
        }
    }
    assert!(
        shown["newest_event"].as_u64().unwrap()
            > messages.iter().position(|m| m.event == "episode_saved").unwrap() as u64
    );
    assert_eq!((&shown["version"], &shown["revision"]), (&recorder::VERSION.into(), &recorder::REVISION.into()));
    assert!(shown["started_utc_ns"].as_u64().unwrap() <= messages[0].data["utc_ns"].as_u64().unwrap());
    // For people the words are enough.
    assert!(ended.text.contains("saved as the data set's episode 2: ") && !ended.text.contains("sequence_gaps"));
}

/// What a crash has left is told, too.
#[test]
fn a_recovered_take_is_told() {
    let lab = Lab::new();
    let mut running = lab.start(&["--dataset.episode_time_s=1000", "--metrics.listen=127.0.0.1:0"]);
    let address = address(&mut running);
    let deadline = Instant::now() + program::PATIENCE;
    let recorded = || serde_json::from_str::<Value>(&get(&address, "/status").1).unwrap()["elapsed_s"].as_f64();
    while recorded() < Some(1.5) {
        assert!(Instant::now() < deadline, "nothing is recorded");
    }
    running.signal(Signal::KILL);
    running.wait();
    let ended =
        lab.record(&["--run.on_restart=new", "--dataset.resume=true", "--log.file=log.json", "--log.format=json"]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    let recovered: Vec<Value> =
        objects(&lab.path("log.json")).into_iter().filter(|line| line["event"]["event"] == "recovered").collect();
    assert!(recovered.len() == 1 && recovered[0]["event"]["lost"].is_boolean(), "{recovered:?}");
    assert!(recovered[0]["message"].as_str().unwrap().contains("was interrupted"), "{recovered:?}");
}

/// Every event is heard once, however often the connection is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_comes_back_loses_and_doubles_nothing() {
    let (address, status) = serve().await;
    let (mut last, mut heard) = (None, Vec::new());
    for round in 0..10 {
        let mut follower = Follower::connect(&address, "/events", last.or(Some(0)));
        (0..5).for_each(|_| tell(&status, "x"));
        for message in follower.by_ref().take(1 + round % 7) {
            last = message.id;
            heard.extend(message.id);
        }
    }
    end(&status);
    heard.extend(Follower::connect(&address, "/events", last).filter_map(|message| message.id));
    assert_eq!(heard, (1..=51).collect::<Vec<_>>());
}

/// Nobody waits for a reader that does not read; it learns how much it has missed, and what is kept for it is bounded.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_costs_nothing() {
    const EVENTS: u64 = 20_000;
    let (address, status) = serve().await;
    let slow = Follower::connect(&address, "/events?after=0", None);
    let words = "x".repeat(10_000);
    (0..EVENTS).for_each(|_| tell(&status, &words));
    end(&status);
    let (mut heard, mut missed, mut before) = (0, 0, 0);
    for message in slow {
        if message.event == "missed" {
            missed += message.data["missed"].as_u64().unwrap();
            assert_eq!(message.data.as_object().unwrap().len(), 1);
        } else {
            assert_eq!(message.id, Some(heard + missed + 1));
            heard += 1;
            before += u64::from(missed == 0);
        }
    }
    assert_eq!(heard + missed, EVENTS + 1);
    // What is told is 200 MB. A connection on one machine takes up to some 10 MB in the kernel.
    assert!(
        before * 10_000 < 40_000_000 && missed > EVENTS / 2,
        "{before} of {heard} events before {missed} were missed"
    );
    assert!(heard - before >= RING as u64, "{heard}, {before}");
}

/// Readers are few enough that pages are still served; one more is told so, and has its turn when one goes.
#[tokio::test(flavor = "multi_thread")]
async fn readers_leave_connections_for_pages() {
    let (address, status) = serve().await;
    let mut readers = Vec::new();
    let refusal = loop {
        match ask(&address, "GET", "/events", "") {
            (200, answer) => readers.push(answer),
            refused => break refused,
        }
    };
    let mut text = String::new();
    let (code, mut answer) = refusal;
    answer.read_to_string(&mut text).unwrap();
    assert!(code == 503 && readers.len() == 16 && text.starts_with("16 others follow the events"), "{text}");
    assert_eq!(get(&address, "/metrics").0, 200);
    assert_eq!(ask(&address, "HEAD", "/events", "").0, 200);
    readers.pop();
    let deadline = Instant::now() + program::PATIENCE;
    while ask(&address, "GET", "/events", "").0 != 200 {
        assert!(Instant::now() < deadline, "a reader has gone, and no other may come");
    }
    end(&status);
    for mut reader in readers {
        text.clear();
        reader.read_to_string(&mut text).unwrap();
        assert!(text.contains("event: run_ended\n"), "{text}");
    }
}
