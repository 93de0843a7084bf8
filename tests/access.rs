//! Who may read the pages, tried from this machine and from outside.

mod network;
mod program;

use network::{Outside, from_outside};
use program::{Lab, PATIENCE, Running, Signal};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Instant;

const TOKEN: &str = "a-token-for-this-test-only";
const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const PAGES: [&str; 5] = ["/metrics", "/status", "/healthz", "/events", "/absent"];

/// A recorder that goes on until it is dropped, and serves its pages.
struct Serving {
    lab: Lab,
    running: Running,
    port: u16,
    /// What it says of its pages at the start.
    line: String,
}

impl Serving {
    fn start(overrides: &[&str]) -> Serving {
        let lab = Lab::new();
        let mut running = lab.start(&[&["--dataset.episode_time_s=1000"], overrides].concat());
        let line = running.wait_for("metrics at http://");
        let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap();
        let port = address.rsplit(':').next().unwrap().parse().unwrap();
        Serving { lab, running, port, line }
    }

    /// The head and the beginning of the body that a request from and to `address` is answered with.
    fn ask(&self, address: IpAddr, path: &str, header: &str) -> String {
        let mut stream = self.connect(address);
        let header = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
        let host = if header.starts_with("Host:") { "" } else { "Host: localhost\r\n" };
        write!(stream, "GET {path} HTTP/1.1\r\n{host}{header}Connection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        let mut bytes = [0; 4096];
        // A stream does not end: its head is enough.
        while !(path == "/events" && answer.windows(4).any(|four| four == b"\r\n\r\n")) {
            match stream.read(&mut bytes).unwrap() {
                0 => break,
                length => answer.extend_from_slice(&bytes[..length]),
            }
        }
        String::from_utf8(answer).unwrap()
    }

    fn code(&self, address: IpAddr, path: &str, header: &str) -> u16 {
        let answer = self.ask(address, path, header);
        answer.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {answer}")).parse().unwrap()
    }

    /// A connection from and to `address`.
    fn connect(&self, address: IpAddr) -> TcpStream {
        let stream = TcpStream::connect(SocketAddr::new(address, self.port)).unwrap();
        assert_eq!(stream.local_addr().unwrap().ip(), address, "the peer is not who it is to be");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Requests that were refused for a reason.
    fn refused(&self, reason: &str) -> u64 {
        let page = self.ask(LOCAL, "/metrics", "");
        let start = format!("recorder_http_refused_total{{reason=\"{reason}\"}} ");
        page.lines().find_map(|line| line.strip_prefix(&start)).expect("no such metric").parse().unwrap()
    }
}

#[test]
fn others_need_what_is_configured() {
    from_outside("others_need_what_is_configured", |Outside { v4, .. }| {
        let (token, bearer) = (format!("--metrics.token={TOKEN}"), format!("Authorization: Bearer {TOKEN}"));
        let (inside, outside) =
            (format!("--metrics.allow=['203.0.113.9', '{v4}']"), "--metrics.allow=['203.0.113.0/24']");
        for (overrides, without, with) in [
            (&[token.as_str()][..], 401, 200),
            (&[&inside], 200, 200),
            (&[outside], 403, 403),
            (&[&inside, &token], 401, 200),
            (&[outside, &token], 403, 403),
        ] {
            let serving = Serving::start(&[&["--metrics.listen=0.0.0.0:0"], overrides].concat());
            for path in PAGES {
                let found = |code| if path == "/absent" && code == 200 { 404 } else { code };
                for (header, expected) in
                    [("", without), (&bearer, with), ("Authorization: Bearer a-token-for-another-test", without)]
                {
                    assert_eq!(serving.code(*v4, path, header), found(expected), "{overrides:?} {path} {header}");
                }
                assert_eq!(serving.code(LOCAL, path, ""), found(200), "{overrides:?} {path}");
            }
        }
    });
}

#[test]
fn refusals_say_what_is_missing_once_and_are_counted() {
    from_outside("refusals_say_what_is_missing_once_and_are_counted", |Outside { v4, .. }| {
        let (token, allow) = (format!("--metrics.token={TOKEN}"), format!("--metrics.allow=['{v4}']"));
        let mut serving = Serving::start(&["--metrics.listen=0.0.0.0:0", &token, &allow]);
        assert!(serving.line.ends_with(&format!("for this machine, and with the token for {v4}")), "{}", serving.line);
        for n in 1..=3 {
            let answer = serving.ask(*v4, "/metrics", "");
            assert!(answer.to_lowercase().contains("www-authenticate: bearer realm=\"recorder\""), "{answer}");
            assert!(answer.contains("expected the header Authorization: Bearer TOKEN"), "{answer}");
            assert_eq!(serving.refused("token"), n);
        }
        assert_eq!((serving.refused("address"), serving.refused("host")), (0, 0));
        // The token stands nowhere: not in the pages, the log, the data set, or what is checked and printed.
        serving.running.wait_for("recording episode 1");
        let pages = PAGES.map(|path| serving.ask(LOCAL, path, "")).concat();
        serving.running.signal(Signal::INT);
        let ended = serving.running.wait();
        assert_eq!(ended.code, Some(130), "{}", ended.text);
        let once = ended.text.matches("was refused: expected the header Authorization").count();
        assert_eq!(once, 1, "{}", ended.text);
        let checked = serving.lab.run(&[
            "check",
            "--config",
            "lab.toml",
            "--dataset.resume=true",
            &token,
            "--metrics.listen=0.0.0.0:0",
        ]);
        assert!(checked.text.contains("is free; for this machine, and for whoever has the token"), "{}", checked.text);
        let schema = serving.lab.run(&["schema"]);
        for text in [pages, ended.text, checked.text, schema.text] {
            assert!(!text.contains(TOKEN), "{text}");
        }
        for (path, bytes) in serving.lab.tree() {
            assert!(!bytes.windows(TOKEN.len()).any(|part| part == TOKEN.as_bytes()), "{}", path.display());
        }
    });
}

/// An IPv6 socket also has IPv4 peers, under addresses that embed theirs.
#[test]
fn both_versions_of_ip_are_held_to_the_list() {
    from_outside("both_versions_of_ip_are_held_to_the_list", |Outside { v4, v6 }| {
        let Some(v6) = v6 else {
            eprintln!("IPv6 is not tried: the kernel, or the network that this test may use, has none");
            return;
        };
        let local = "::1".parse().unwrap();
        for (allow, expected) in [("['192.0.2.0/24']", (200, 403)), ("['2001:db8::/32']", (403, 200))] {
            let serving = Serving::start(&["--metrics.listen=[::]:0", &format!("--metrics.allow={allow}")]);
            let code = |address| serving.code(address, "/metrics", "");
            assert_eq!((code(*v4), code(*v6)), expected, "{allow}");
            assert_eq!((code(LOCAL), code(local)), (200, 200), "{allow}");
        }
    });
}

#[test]
fn by_default_others_find_nobody() {
    from_outside("by_default_others_find_nobody", |Outside { v4, .. }| {
        let serving = Serving::start(&["--metrics.listen=127.0.0.1:0"]);
        assert!(serving.line.ends_with("for this machine only"), "{}", serving.line);
        let error = TcpStream::connect(SocketAddr::new(*v4, serving.port)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(serving.code(LOCAL, "/metrics", ""), 200);
    });
}

/// Connections that others hold open take no place from this machine's own.
#[test]
fn others_cannot_crowd_this_machine_out() {
    from_outside("others_cannot_crowd_this_machine_out", |Outside { v4, .. }| {
        for allow in [format!("['{v4}']"), "['203.0.113.9']".into()] {
            let serving = Serving::start(&["--metrics.listen=0.0.0.0:0", &format!("--metrics.allow={allow}")]);
            let (mut held, start) = (Vec::new(), Instant::now());
            while serving.refused("connections") == 0 {
                held.push(serving.connect(*v4));
                assert!(start.elapsed() < PATIENCE, "{} connections are held", held.len());
            }
            assert_eq!(serving.code(LOCAL, "/healthz", ""), 200);
        }
    });
}

/// As of a web page that somebody on this machine has open, whose name leads here (DNS rebinding).
#[test]
fn other_names_do_not_lead_here() {
    let serving = Serving::start(&["--metrics.listen=127.0.0.1:0"]);
    for (host, expected) in
        [("evil.example:9464", 403), ("localhost:9464", 200), ("127.0.0.1:9464", 200), ("[::1]:9464", 200)]
    {
        assert_eq!(serving.code(LOCAL, "/status", &format!("Host: {host}")), expected, "{host}");
    }
    assert_eq!(serving.refused("host"), 1);
}

#[test]
fn a_token_may_stand_in_a_file() {
    from_outside("a_token_may_stand_in_a_file", |Outside { v4, .. }| {
        let lab = Lab::new();
        let overrides = ["--metrics.token_file=token", "--metrics.listen=0.0.0.0:0"];
        let words = ["metrics.token_file: token: expected a file with the token", "openssl rand -hex 16"];
        for command in [&["--config", "lab.toml"][..], &["check", "--config", "lab.toml"]] {
            let refused = lab.run(&[command, &overrides].concat());
            assert_eq!(refused.code, Some(2), "{}", refused.text);
            words.iter().for_each(|word| assert!(refused.text.contains(word), "{}", refused.text));
        }
        let file = lab.write("token", &format!("{TOKEN}\n"));
        let file = format!("--metrics.token_file={}", file.display());
        let serving = Serving::start(&[&file, overrides[1]]);
        assert_eq!(serving.code(*v4, "/metrics", &format!("Authorization: Bearer {TOKEN}")), 200);
        assert_eq!(serving.code(*v4, "/metrics", ""), 401);
    });
}
