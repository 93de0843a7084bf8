//! A reader of `/events`, as simple as the standard allows.
#![allow(dead_code)] // each test binary uses its part

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Whatever is waited for comes long before this, or never.
const PATIENCE: Duration = Duration::from_secs(60);

/// One message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    pub id: Option<u64>,
    pub event: String,
    pub data: Value,
}

/// A connection that follows the events.
pub struct Follower(BufReader<TcpStream>);

/// Sends a request; the code of the answer, and the connection behind its head.
pub fn ask(address: &str, method: &str, path: &str, header: &str) -> (u16, BufReader<TcpStream>) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // With version 1.0 a body ends with its connection, and is not cut into chunks.
    write!(stream, "{method} {path} HTTP/1.0\r\n{header}\r\n").unwrap();
    let mut answer = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(answer.read_line(&mut head).unwrap() > 0, "the head ended early: {head}");
    }
    (head.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

/// A whole answer.
pub fn get(address: &str, path: &str) -> (u16, String) {
    let (code, mut answer) = ask(address, "GET", path, "");
    let mut text = String::new();
    answer.read_to_string(&mut text).unwrap();
    (code, text)
}

impl Follower {
    pub fn connect(address: &str, path: &str, last: Option<u64>) -> Follower {
        let header = last.map_or(String::new(), |last| format!("Last-Event-ID: {last}\r\n"));
        let (code, answer) = ask(address, "GET", path, &header);
        assert_eq!(code, 200);
        Follower(answer)
    }
}

impl Iterator for Follower {
    type Item = Message;

    /// The next message; `None` when the stream has ended. Comments, and ids without an event, are passed over.
    fn next(&mut self) -> Option<Message> {
        let mut message = Message::default();
        let mut line = String::new();
        loop {
            line.clear();
            if self.0.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            match line.trim_end_matches('\n').split_once(": ") {
                None if line == "\n" && !message.event.is_empty() => return Some(message),
                None if line == "\n" => message = Message::default(),
                Some(("id", id)) => message.id = Some(id.parse().unwrap()),
                Some(("event", event)) => message.event = event.to_string(),
                Some(("data", data)) => message.data = serde_json::from_str(data).unwrap(),
                Some(("retry" | "", _)) => {}
                _ => panic!("{line:?}"),
            }
        }
    }
}
