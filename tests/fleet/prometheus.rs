//! A Prometheus with the committed configuration, rules and alerts, in a temporary folder, and what it answers.

use serde_json::Value;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Time in Prometheus' configuration runs so many times as fast as in the committed one: intervals, ranges and `for`.
/// What a run itself counts in seconds (an age of 2 s, two hours of disk) is not touched. That the true lengths are
/// right is what promtool's unit tests hold.
pub const FASTER: u64 = 10;
/// Whatever is asked of Prometheus is answered before, or never.
const PATIENCE: Duration = Duration::from_secs(60);
/// Prometheus tells nobody when something changes: it is asked this often.
pub const POLL: Duration = Duration::from_millis(250);

/// Killed on drop; in a test that fails its log is shown.
pub struct Prometheus {
    child: Child,
    address: String,
    dir: TempDir,
}

impl Prometheus {
    /// Starts `program`, which scrapes `targets`, by the configuration in `folder`.
    pub fn start(program: &Path, folder: &Path, targets: &[String]) -> Prometheus {
        let dir = tempfile::tempdir().unwrap();
        for name in ["prometheus.yml", "rules.yml", "alerts.yml"] {
            let path = folder.join(name);
            let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let text = if name == "prometheus.yml" { with_targets(&text, targets) } else { text };
            std::fs::write(dir.path().join(name), faster(&text)).unwrap();
        }
        // Somebody else may take a free port before Prometheus does.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let address = format!("127.0.0.1:{port}");
            let log = File::create(dir.path().join("log")).unwrap();
            let mut child = Command::new(program)
                .arg(format!("--config.file={}", dir.path().join("prometheus.yml").display()))
                .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
                .arg(format!("--web.listen-address={address}"))
                .arg("--log.level=warn")
                .current_dir(dir.path())
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap();
            if is_ready(&mut child, &address) {
                return Prometheus { child, address, dir };
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("Prometheus does not start:\n{}", std::fs::read_to_string(dir.path().join("log")).unwrap());
    }

    /// The `data` of an answer; what Prometheus says where it is an error.
    pub fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let query: Vec<String> = parameters.iter().map(|(key, value)| format!("{key}={}", escaped(value))).collect();
        let (_, body) =
            http(&self.address, &format!("/api/v1/{path}?{}", query.join("&"))).map_err(|e| e.to_string())?;
        let mut answer: Value = serde_json::from_str(&body).map_err(|error| format!("{error}: {body}"))?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].take()),
            _ => Err(answer["error"].as_str().unwrap_or(&body).to_string()),
        }
    }

    /// The series that an expression has now: an instant vector.
    pub fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        self.get("query", &[("query", expression)]).map(series)
    }

    /// The series that an expression has had since `from`, in Unix time, a value each half a second.
    pub fn since(&self, from: f64, expression: &str) -> Result<Vec<Value>, String> {
        let now = now().to_string();
        let parameters = [("query", expression), ("start", &from.to_string()), ("end", &now), ("step", "0.5")];
        self.get("query_range", &parameters).map(series)
    }

    /// The labels of all alerts that are pending or firing now, with their `state`.
    pub fn alerts(&self) -> Vec<Value> {
        let mut data = self.get("alerts", &[]).unwrap();
        let mut alerts = data["alerts"].as_array_mut().map(std::mem::take).unwrap_or_default();
        alerts.iter_mut().for_each(|alert| alert["labels"]["state"] = alert["state"].take());
        alerts.into_iter().map(|mut alert| alert["labels"].take()).collect()
    }

    /// All rules as Prometheus has understood them.
    pub fn rules(&self) -> Vec<Value> {
        let data = self.get("rules", &[]).unwrap();
        let groups = data["groups"].as_array().unwrap().iter();
        groups.flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
    }

    /// Asks until `what` is so; while it is not, it says what is missing. Panics with that after `patience`.
    pub fn until(&self, patience: Duration, mut what: impl FnMut(&Prometheus) -> Result<(), String>) {
        let deadline = Instant::now() + patience;
        while let Err(missing) = what(self) {
            assert!(Instant::now() < deadline, "not within {patience:?}: {missing}");
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            eprintln!("Prometheus said:\n{log}");
        }
    }
}

fn series(mut data: Value) -> Vec<Value> {
    // A scalar is one value without labels.
    match data["resultType"] == "scalar" {
        true => vec![data],
        false => data["result"].as_array_mut().map(std::mem::take).unwrap_or_default(),
    }
}

/// Seconds since 1970.
pub fn now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64()
}

fn is_ready(child: &mut Child, address: &str) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
        if http(address, "/-/ready").is_ok_and(|(code, _)| code == 200) {
            return true;
        }
        std::thread::sleep(POLL);
    }
    false
}

/// The status and the body of a page.
pub fn http(address: &str, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    Ok((code, body.to_string()))
}

fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// The configuration with these targets instead of its own.
fn with_targets(text: &str, targets: &[String]) -> String {
    let quoted: Vec<String> = targets.iter().map(|target| format!("\"{target}\"")).collect();
    let mut found = 0;
    let lines = text.lines().map(|line| match line.split_once("- targets:") {
        Some((before, _)) if before.trim().is_empty() => {
            found += 1;
            format!("{before}- targets: [{}]", quoted.join(", "))
        }
        _ => line.to_string(),
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    assert_eq!(found, 1, "grafana/prometheus.yml: expected one list of targets");
    text + "\n"
}

/// Rules or a configuration with all of Prometheus' own durations [`FASTER`].
pub fn faster(text: &str) -> String {
    text.lines().map(|line| faster_ranges(&faster_key(line)) + "\n").collect()
}

/// `for: 1m`, `scrape_interval: 5s` and their like.
fn faster_key(line: &str) -> String {
    const KEYS: [&str; 6] =
        ["for", "keep_firing_for", "interval", "scrape_interval", "scrape_timeout", "evaluation_interval"];
    let Some((key, value)) = line.split_once(": ") else { return line.to_string() };
    let (value, comment) = value.split_once(" #").map_or((value, ""), |(value, _)| (value, " #"));
    match milliseconds(value.trim()) {
        Some(ms) if KEYS.contains(&key.trim().trim_start_matches("- ")) => format!("{key}: {}ms{comment}", ms / FASTER),
        _ => line.to_string(),
    }
}

/// `[10m]`, `[10m:5s]` and `offset 5m` in expressions.
fn faster_ranges(text: &str) -> String {
    let mut output = String::new();
    let mut word = String::new();
    let mut before = ' ';
    let mut offset = false;
    for letter in text.chars().chain([' ']) {
        if letter.is_ascii_alphanumeric() || letter == '_' {
            word.push(letter);
            continue;
        }
        let is_range = matches!(before, '[' | ':') && matches!(letter, ']' | ':') || offset;
        match milliseconds(&word).filter(|_| is_range) {
            Some(ms) => output += &format!("{}ms", ms / FASTER),
            None => output += &word,
        }
        if !word.is_empty() {
            offset = word == "offset";
            word.clear();
        }
        output.push(letter);
        before = letter;
    }
    output.pop();
    output
}

/// A duration as Prometheus writes it: `1h30m`.
fn milliseconds(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut sum = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        sum += number
            * match &rest[..unit] {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    (sum > 0).then_some(sum)
}

#[test]
fn every_duration_of_rules_is_made_shorter_and_nothing_else() {
    for (text, expected) in [
        ("    for: 1m", "    for: 6000ms"),
        ("  - interval: 5s", "  - interval: 500ms"),
        ("    for: 10s # as long as a fragment", "    for: 1000ms #"),
        ("    expr: rate(a_total[1m]) > 60", "    expr: rate(a_total[6000ms]) > 60"),
        ("max_over_time(x[10m:5s] offset 1h30m) > 2", "max_over_time(x[60000ms:500ms] offset 540000ms) > 2"),
        ("    expr: instance_camera:a:rate1m < 7200", "    expr: instance_camera:a:rate1m < 7200"),
        ("    summary: nothing for 5m", "    summary: nothing for 5m"),
    ] {
        assert_eq!(faster(text), format!("{expected}\n"));
    }
}
