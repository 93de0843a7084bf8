//! `/metrics` for Prometheus, `/healthz` for whoever restarts things, `/status` as JSON. Loopback only; never on the recording path.

use crate::metrics;
use crate::status::{Phase, SharedStatus, Status};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Connections at once; more wait for one to end.
const MOST_CONNECTIONS: usize = 32;
/// A client that takes longer to send its request is cut off.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// The exporter keeps every histogram sample until it is drained: done this often, memory stays flat.
const UPKEEP: Duration = Duration::from_secs(5);

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error(
    "metrics.listen: expected an address that is free, found {address}: {source}; stop the other program there, choose \
     another port, or write \"\" for none"
)]
pub struct ListenError {
    address: String,
    source: std::io::Error,
}

/// Takes an address, so that nobody else can.
pub fn bind(address: &str) -> Result<std::net::TcpListener, ListenError> {
    std::net::TcpListener::bind(address).map_err(|source| ListenError { address: address.to_string(), source })
}

/// Listens on `address`; serves until the runtime ends. Answers with the address, which has the port that was found for port 0.
pub async fn serve(
    address: &str,
    handle: &'static PrometheusHandle,
    status: SharedStatus,
) -> Result<SocketAddr, ListenError> {
    let error = |source| ListenError { address: address.to_string(), source };
    let listener = bind(address)?;
    listener.set_nonblocking(true).map_err(error)?;
    let listener = TcpListener::from_std(listener).map_err(error)?;
    let bound = listener.local_addr().map_err(error)?;
    tokio::spawn(accept(listener, handle, status));
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

async fn accept(listener: TcpListener, handle: &'static PrometheusHandle, status: SharedStatus) {
    let connections = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    while let Ok(permit) = connections.clone().acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: wait for some to come back.
                tracing::warn!("metrics: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let status = status.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let response = answer(&request, handle, &status);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            // A client that goes away in the middle is no news.
            let _ = connection.await;
            drop(permit);
        });
    }
}

fn answer<B>(request: &Request<B>, handle: &PrometheusHandle, status: &SharedStatus) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    let (code, kind, body) = if !matches!(*request.method(), Method::GET | Method::HEAD) {
        (StatusCode::METHOD_NOT_ALLOWED, TEXT, "expected GET\n".to_string())
    } else {
        match request.uri().path() {
            "/metrics" => {
                status.scrapes.read(Instant::now());
                (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics::render(handle))
            }
            "/status" => match serde_json::to_string_pretty(&*status.borrow()) {
                Ok(json) => (StatusCode::OK, "application/json", json),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
            },
            "/healthz" => match ailments(&status.borrow()) {
                list if list.is_empty() => (StatusCode::OK, TEXT, "ok\n".to_string()),
                list => (StatusCode::SERVICE_UNAVAILABLE, TEXT, list.join("\n") + "\n"),
            },
            _ => (StatusCode::NOT_FOUND, TEXT, "/metrics /status /healthz\n".to_string()),
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    if code == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
    }
    response
}

/// What keeps the run from being healthy, in words.
fn ailments(status: &Status) -> Vec<String> {
    let running = matches!(status.phase, Phase::Recording | Phase::Resetting);
    let mut list: Vec<String> = status
        .cameras
        .iter()
        .filter(|camera| running && !camera.alive)
        .map(|camera| format!("camera {} delivers no picture", camera.name))
        .collect();
    list.extend(status.stuck.iter().map(|part| format!("{part}: stuck")));
    if running {
        list.extend(status.lost.iter().map(|lost| format!("lost: {lost}")));
        list.extend(status.failing.iter().map(|name| format!("{name} keeps being lost")));
    }
    if status.failed > 0 {
        list.push(format!("{} takes could not be saved", status.failed));
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{self, CameraStatus};
    use http_body_util::BodyExt;

    async fn get(method: &str, path: &str, status: &SharedStatus) -> (u16, String) {
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        let response = answer(&request, metrics::install().unwrap(), status);
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn pages() {
        let status = status::shared();
        let (code, body) = get("GET", "/metrics", &status).await;
        assert!(code == 200 && body.contains("recorder_build_info{"), "{body}");
        let (code, body) = get("GET", "/status", &status).await;
        assert!(code == 200 && serde_json::from_str::<serde_json::Value>(&body).unwrap()["phase"] == "starting");
        assert_eq!(get("GET", "/healthz", &status).await, (200, "ok\n".into()));
        assert_eq!(get("GET", "/../etc/passwd", &status).await.0, 404);
        assert_eq!(get("POST", "/status", &status).await.0, 405);
    }

    #[tokio::test]
    async fn a_silent_camera_is_not_healthy() {
        let status = status::shared();
        status.send_modify(|s| {
            s.phase = Phase::Recording;
            s.cameras = vec![CameraStatus { name: "front".into(), ..Default::default() }];
        });
        let (code, body) = get("GET", "/healthz", &status).await;
        assert!(code == 503 && body.contains("front"), "{body}");
        status.send_modify(|s| {
            s.cameras.clear();
            s.lost = vec!["the arm: unplugged".into()];
        });
        assert_eq!(get("GET", "/healthz", &status).await, (503, "lost: the arm: unplugged\n".into()));
    }
}
