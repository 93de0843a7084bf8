//! `/metrics` for Prometheus, `/healthz` for whoever restarts things, `/status` as JSON, `/events` as a stream. Never on the
//! recording path.
//!
//! Here: listening and connections. Who is let in is in `gate.rs`, what is answered in `pages.rs` and `stream.rs`.

mod gate;
mod pages;
mod stream;

use crate::config::schema::Metrics;
use crate::console::access::{Access, TokenError};
use crate::status::SharedStatus;
use gate::Gate;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use pages::Site;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;

/// A client that takes longer to send its request is cut off.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// A client that takes nothing of what it is sent for so long, or has gone without a word, is cut off.
const STALLED: Duration = Duration::from_secs(60);
/// What is buffered for a client at most, beside one page or one event.
const WRITE_BUFFER: usize = 64 << 10;
/// The exporter keeps every histogram sample until it is drained: done this often, memory stays flat.
const UPKEEP: Duration = Duration::from_secs(5);

/// The pages cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error(
        "metrics.listen: expected an address that is free, found {address}: {source}; stop the other program there, choose \
         another port, or write \"\" for none"
    )]
    Address { address: String, source: std::io::Error },
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// Takes an address, so that nobody else can.
pub fn bind(address: &str) -> Result<std::net::TcpListener, ListenError> {
    std::net::TcpListener::bind(address).map_err(|source| ListenError::Address { address: address.to_string(), source })
}

/// Listens where `metrics` says; serves whom it lets in, until the runtime ends. Answers with the address, which has the
/// port that was found for port 0.
pub async fn serve(
    metrics: &Metrics,
    handle: &'static PrometheusHandle,
    status: SharedStatus,
) -> Result<SocketAddr, ListenError> {
    let address = &metrics.listen;
    let error = |source| ListenError::Address { address: address.to_string(), source };
    let gate = Gate::new(Access::new(metrics)?);
    let listener = bind(address)?;
    listener.set_nonblocking(true).map_err(error)?;
    let listener = TcpListener::from_std(listener).map_err(error)?;
    let bound = listener.local_addr().map_err(error)?;
    tokio::spawn(accept(listener, Site::new(handle, status), gate));
    Ok(bound)
}

/// Drains the exporter's histograms for ever; needed with and without the page.
pub async fn upkeep(handle: &'static PrometheusHandle) {
    let mut interval = tokio::time::interval(UPKEEP);
    loop {
        interval.tick().await;
        handle.run_upkeep();
    }
}

async fn accept(listener: TcpListener, site: Site, gate: Gate) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: wait for some to come back.
                tracing::warn!("metrics: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(visitor) = gate.enter(peer) else { continue };
        // Without it the kernel waits for a quarter of an hour, or for ever.
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, STALLED.as_millis() as u32);
        let site = site.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let refused = visitor.turn_away(request.headers());
                let response = refused.unwrap_or_else(|| site.answer(&request));
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_buf_size(WRITE_BUFFER)
                .serve_connection(TokioIo::new(stream), service);
            // A client that goes away in the middle is no news.
            let _ = connection.await;
        });
    }
}
