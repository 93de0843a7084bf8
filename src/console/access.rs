//! Who may read the pages: this machine always; others by their address (`metrics.allow`), by a token (`metrics.token`),
//! or by both where both are set.
//!
//! A web page that somebody has open on this machine may reach loopback as well, under a name of its author's that leads
//! there (DNS rebinding). So a request from this machine must name it by an address or by a name that is its own.

use crate::config::schema::Metrics;
use crate::config::secret::Secret;
use crate::console::network::Network;
use crate::notify;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HOST};
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Shorter tokens can be guessed.
pub const SHORTEST_TOKEN: usize = 16;
/// Longer ones are no tokens.
const LONGEST_TOKEN: usize = 1024;
/// How to come by a good one, for messages.
pub const MAKE_TOKEN: &str = "`openssl rand -hex 16` makes one";

/// True for an address that only this machine itself reaches.
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// What is wrong with a token, without showing it.
pub fn token_fault(token: &str) -> Option<String> {
    match token.len() {
        0 => Some("nothing".into()),
        length if length < SHORTEST_TOKEN => Some(format!("{length} characters")),
        length if length > LONGEST_TOKEN => Some(format!("{length} characters")),
        _ if !token.bytes().all(|c| c.is_ascii_graphic()) => {
            Some("a space, a line break or another character that no HTTP header has there".into())
        }
        _ => None,
    }
}

/// What a token has to be, for messages.
pub fn token_expected() -> String {
    format!("{SHORTEST_TOKEN} to {LONGEST_TOKEN} letters, digits or signs of ASCII")
}

/// Why the token cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error(
        "metrics.token_file: {path}: expected a file with the token, found {error}; write one there that the recorder may read: {MAKE_TOKEN}"
    )]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error("metrics.token_file: {path}: expected {expected}, found {found}; {MAKE_TOKEN}")]
    Unusable { path: PathBuf, expected: String, found: String },
}

/// Where a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// On this machine, over loopback.
    Local,
    /// Elsewhere, at an address that may ask.
    Known,
    /// Elsewhere, at another one.
    Stranger,
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The peer's address is not in `metrics.allow`.
    Address,
    /// The token is not there, or another one.
    Token,
    /// The request came to this machine under a name that is not its own.
    Host,
    /// Too many connections are open.
    Connections,
}

impl Refusal {
    pub const ALL: [Refusal; 4] = [Refusal::Address, Refusal::Token, Refusal::Host, Refusal::Connections];

    /// As the metrics have it.
    pub fn name(self) -> &'static str {
        match self {
            Refusal::Address => "address",
            Refusal::Token => "token",
            Refusal::Host => "host",
            Refusal::Connections => "connections",
        }
    }
}

/// Who may read the pages; see the module's text.
#[derive(Clone, Debug, Default)]
pub struct Access {
    allow: Vec<Network>,
    token: Option<Secret>,
    /// What this machine calls itself.
    own_name: String,
}

impl Access {
    /// As configured. `metrics` is valid (`config::validate`); the token's file is read here.
    pub fn new(metrics: &Metrics) -> Result<Access, TokenError> {
        let token = match &metrics.token_file {
            Some(path) => Some(read_token(path)?),
            None => metrics.token.clone(),
        };
        let allow = metrics.allow.iter().filter_map(|text| text.parse().ok()).collect();
        let own_name = notify::host().to_lowercase();
        Ok(Access { allow, token, own_name })
    }

    /// Where a peer is.
    pub fn peer(&self, address: IpAddr) -> Peer {
        if is_loopback(address) {
            Peer::Local
        } else if self.allow.iter().any(|network| network.contains(address))
            || (self.allow.is_empty() && self.token.is_some())
        {
            Peer::Known
        } else {
            Peer::Stranger
        }
    }

    /// Whether a request is to be answered.
    pub fn judge(&self, peer: Peer, headers: &HeaderMap) -> Result<(), Refusal> {
        match (peer, &self.token) {
            (Peer::Local, _) if self.is_named_rightly(headers) => Ok(()),
            (Peer::Local, _) => Err(Refusal::Host),
            (Peer::Stranger, _) => Err(Refusal::Address),
            (Peer::Known, Some(token)) if !bearer(headers).is_some_and(|given| token.is(given)) => Err(Refusal::Token),
            (Peer::Known, _) => Ok(()),
        }
    }

    /// The request names an address, `localhost`, or this machine's own name. One without a name comes from no browser.
    fn is_named_rightly(&self, headers: &HeaderMap) -> bool {
        let Some(host) = headers.get(HOST) else { return true };
        let Ok(host) = host.to_str().map(str::to_lowercase) else { return false };
        if host.parse::<SocketAddr>().is_ok() || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
            return true;
        }
        let name = host.split(':').next().unwrap_or_default().trim_end_matches('.');
        name == "localhost" || name.ends_with(".localhost") || (!name.is_empty() && name == self.own_name)
    }
}

/// Who can read what is served at `address`, in words.
pub fn describe(metrics: &Metrics, address: SocketAddr) -> String {
    let token = metrics.token.is_some() || metrics.token_file.is_some();
    match (is_loopback(address.ip()), token, metrics.allow.join(", ").as_str()) {
        (true, ..) => "for this machine only".into(),
        (false, true, "") => "for this machine, and for whoever has the token".into(),
        (false, true, networks) => format!("for this machine, and with the token for {networks}"),
        (false, false, networks) => format!("for this machine, and without a token for {networks}"),
    }
}

/// What follows on `Authorization: Bearer`.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

fn read_token(path: &Path) -> Result<Secret, TokenError> {
    let unreadable = |error| TokenError::Unreadable { path: path.into(), error };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    let mut text = String::new();
    file.take(2 * LONGEST_TOKEN as u64).read_to_string(&mut text).map_err(unreadable)?;
    let token = text.trim_end_matches(['\r', '\n']);
    if let Some(found) = token_fault(token) {
        return Err(TokenError::Unusable { path: path.into(), expected: token_expected(), found });
    }
    if mode & 0o004 != 0 {
        let path = path.display();
        tracing::warn!("metrics.token_file: every user of this machine can read {path}: chmod 640 {path}");
    }
    Ok(Secret::new(token))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    const TOKEN: &str = "0123456789abcdef";

    fn access(allow: &[&str], token: Option<&str>) -> Access {
        let allow = allow.iter().map(|text| text.parse().unwrap()).collect();
        Access { allow, token: token.map(Secret::new), own_name: "cell-3".into() }
    }

    #[track_caller]
    fn judged(access: &Access, peer: &str, name: &str, value: &str) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        if !name.is_empty() {
            let name: hyper::header::HeaderName = name.parse().unwrap();
            headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        access.judge(access.peer(peer.parse().unwrap()), &headers)
    }

    #[test]
    fn others_need_the_address_the_token_or_both() {
        let (inside, outside, bearer) = ("10.0.0.5", "10.0.1.5", format!("Bearer {TOKEN}"));
        let networks = ["10.0.0.0/24"];
        for (allow, token, peer, given, expected) in [
            (&[][..], None, inside, "", Err(Refusal::Address)),
            (&networks, None, inside, "", Ok(())),
            (&networks, None, "::ffff:10.0.0.5", "", Ok(())),
            (&networks, None, outside, "", Err(Refusal::Address)),
            (&networks, None, outside, &bearer, Err(Refusal::Address)),
            (&[], Some(TOKEN), outside, "", Err(Refusal::Token)),
            (&[], Some(TOKEN), outside, &bearer, Ok(())),
            (&[], Some(TOKEN), outside, &format!("bEARER  {TOKEN} "), Ok(())),
            (&[], Some(TOKEN), outside, "Bearer ", Err(Refusal::Token)),
            (&[], Some(TOKEN), outside, "Bearer", Err(Refusal::Token)),
            (&[], Some(TOKEN), outside, TOKEN, Err(Refusal::Token)),
            (&[], Some(TOKEN), outside, &format!("Basic {TOKEN}"), Err(Refusal::Token)),
            (&[], Some(TOKEN), outside, &format!("Bearer {TOKEN}0"), Err(Refusal::Token)),
            (&[], Some(TOKEN), outside, "Bearer 0123456789abcdeF", Err(Refusal::Token)),
            (&[], Some(TOKEN), outside, "Bearer \u{e9}", Err(Refusal::Token)),
            (&networks, Some(TOKEN), inside, "", Err(Refusal::Token)),
            (&networks, Some(TOKEN), inside, &bearer, Ok(())),
            (&networks, Some(TOKEN), outside, &bearer, Err(Refusal::Address)),
            (&networks, Some(TOKEN), "127.0.0.1", "", Ok(())),
            (&networks, Some(TOKEN), "127.8.8.8", "", Ok(())),
            (&networks, Some(TOKEN), "::1", "", Ok(())),
            (&networks, Some(TOKEN), "::ffff:127.0.0.1", "", Ok(())),
        ] {
            let name = if given.is_empty() { "" } else { "authorization" };
            assert_eq!(
                judged(&access(allow, token), peer, name, given),
                expected,
                "{allow:?} {token:?} {peer} {given}"
            );
        }
    }

    #[test]
    fn this_machine_is_asked_under_its_own_names_only() {
        for (host, good) in [
            ("localhost", true),
            ("localhost:9464", true),
            ("LocalHost.", true),
            ("a.localhost:80", true),
            ("127.0.0.1:9464", true),
            ("192.0.2.7", true),
            ("[::1]:9464", true),
            ("[::1]", true),
            ("cell-3:9464", true),
            ("Cell-3", true),
            ("evil.example:9464", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("", false),
            (":9464", false),
            ("\u{e9}", false),
        ] {
            let expected = if good { Ok(()) } else { Err(Refusal::Host) };
            assert_eq!(judged(&access(&[], None), "127.0.0.1", "host", host), expected, "{host}");
        }
        // Elsewhere this machine may have any name: that of the token or the address counts.
        assert_eq!(judged(&access(&["10.0.0.5"], None), "10.0.0.5", "host", "cell.lab.example"), Ok(()));
        assert!(!access(&[], None).is_named_rightly(&[(HOST, HeaderValue::from_static("x"))].into_iter().collect()));
    }

    #[test]
    fn tokens_come_from_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let metrics = Metrics { token_file: Some(path.clone()), ..Metrics::default() };
        let read = || Access::new(&metrics).map(|access| access.token.unwrap()).map_err(|error| error.to_string());
        assert!(read().unwrap_err().contains("expected a file with the token"));
        for (text, expected) in [
            ("", "found nothing"),
            ("\n", "found nothing"),
            ("0123456789abcde\n", "found 15 characters"),
            (&"0".repeat(1025), "found 1025 characters"),
            ("0123456789 abcdef", "found a space"),
            ("0123456789\nabcdef", "found a space"),
            ("0123456789abcdé", "found a space"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = read().unwrap_err();
            assert!(error.contains(expected) && error.contains("openssl"), "{text}: {error}");
            assert!(text.trim().is_empty() || !error.contains(text.trim()), "the token is shown: {error}");
        }
        for end in ["", "\n", "\r\n"] {
            std::fs::write(&path, format!("{TOKEN}{end}")).unwrap();
            assert_eq!(read().unwrap(), Secret::new(TOKEN));
        }
    }

    #[test]
    fn it_says_for_whom_the_pages_are() {
        let (everywhere, here) = ("0.0.0.0:9464".parse().unwrap(), "[::1]:9464".parse().unwrap());
        let described = |allow: &[&str], token: Option<&str>, address| {
            let allow = allow.iter().map(|text| text.to_string()).collect();
            describe(&Metrics { allow, token: token.map(Secret::new), ..Metrics::default() }, address)
        };
        assert_eq!(described(&[], Some(TOKEN), here), "for this machine only");
        assert_eq!(described(&[], Some(TOKEN), everywhere), "for this machine, and for whoever has the token");
        let both = described(&["10.0.0.5", "10.1.0.0/16"], Some(TOKEN), everywhere);
        assert_eq!(both, "for this machine, and with the token for 10.0.0.5, 10.1.0.0/16");
        let network = described(&["10.1.0.0/16"], None, everywhere);
        assert_eq!(network, "for this machine, and without a token for 10.1.0.0/16");
    }
}
