//! Who is let in: connections by the peer's address, requests by what `metrics.allow` and `metrics.token` say
//! ([`access`](crate::console::access)). What is refused is counted, and said once.

use super::pages::{Body, TEXT, page};
use crate::console::access::{Access, Peer, Refusal};
use crate::metrics;
use hyper::header::{HeaderValue, WWW_AUTHENTICATE};
use hyper::{HeaderMap, Response, StatusCode};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections at once from this machine, and as many from others that may ask; further ones are closed at once.
const MOST_CONNECTIONS: usize = 32;
/// Strangers are told that they are strangers: so many at a time. They take nobody's place.
const MOST_STRANGERS: usize = 4;

/// See the module's text.
#[derive(Clone)]
pub struct Gate(Arc<Inner>);

struct Inner {
    access: Access,
    local: Arc<Semaphore>,
    known: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    said: [AtomicBool; Refusal::ALL.len()],
}

/// A connection that was let in: its place, until it is dropped.
pub struct Visitor {
    gate: Gate,
    address: SocketAddr,
    peer: Peer,
    _place: OwnedSemaphorePermit,
}

impl Gate {
    pub fn new(access: Access) -> Gate {
        let places = |number| Arc::new(Semaphore::new(number));
        Gate(Arc::new(Inner {
            access,
            local: places(MOST_CONNECTIONS),
            known: places(MOST_CONNECTIONS),
            strangers: places(MOST_STRANGERS),
            said: Default::default(),
        }))
    }

    /// A connection has come; `None`: there is no place for it.
    pub fn enter(&self, address: SocketAddr) -> Option<Visitor> {
        let inner = &self.0;
        let peer = inner.access.peer(address.ip());
        let places = match peer {
            Peer::Local => &inner.local,
            Peer::Known => &inner.known,
            Peer::Stranger => &inner.strangers,
        };
        match places.clone().try_acquire_owned() {
            Ok(place) => Some(Visitor { gate: self.clone(), address, peer, _place: place }),
            Err(_) => {
                self.refuse(Refusal::Connections, address);
                None
            }
        }
    }

    fn refuse(&self, refusal: Refusal, address: SocketAddr) {
        ::metrics::counter!(metrics::HTTP_REFUSED, "reason" => refusal.name()).increment(1);
        if !self.0.said[refusal as usize].swap(true, Ordering::Relaxed) {
            let ip = address.ip().to_canonical();
            tracing::warn!(
                "metrics.listen: {ip} was refused: {}; from now on that is only counted (recorder_http_refused_total)",
                reason(refusal)
            );
        }
    }
}

impl Visitor {
    /// What a request is told that is not to be answered.
    pub fn turn_away(&self, headers: &HeaderMap) -> Option<Response<Body>> {
        self.gate.0.access.judge(self.peer, headers).err().map(|refusal| {
            self.gate.refuse(refusal, self.address);
            let code = if refusal == Refusal::Token { StatusCode::UNAUTHORIZED } else { StatusCode::FORBIDDEN };
            let mut response = page(code, TEXT, format!("{}\n", reason(refusal)));
            if refusal == Refusal::Token {
                let scheme = HeaderValue::from_static("Bearer realm=\"recorder\"");
                response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
            }
            response
        })
    }
}

/// For whoever is refused, and for the log.
fn reason(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Address => "its address is not in metrics.allow",
        Refusal::Token => "expected the header Authorization: Bearer TOKEN with the token of metrics.token",
        Refusal::Host => {
            "expected a request to localhost, to an address, or to this machine's own name, found another name in the header Host"
        }
        Refusal::Connections => "too many connections are open",
    }
}
