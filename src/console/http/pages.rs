//! What is answered. A page is made at once and whole; only a stream goes on.

use crate::metrics;
use crate::status::{Phase, SharedStatus, Status};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use metrics_exporter_prometheus::PrometheusHandle;
use std::convert::Infallible;
use std::net::SocketAddr;

/// What an answer consists of: a page, or a stream.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

pub const TEXT: &str = "text/plain; charset=utf-8";

/// What answers are made from.
#[derive(Clone)]
pub struct Site {
    handle: &'static PrometheusHandle,
    status: SharedStatus,
}

impl Site {
    pub fn new(handle: &'static PrometheusHandle, status: SharedStatus) -> Site {
        Site { handle, status }
    }

    /// The answer to a request that came from `peer`.
    pub fn answer<B>(&self, _peer: SocketAddr, request: &Request<B>) -> Response<Body> {
        // Whether this peer may ask is to be decided here, before anything is looked at.
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "expected GET\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            "/metrics" => {
                page(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics::render(self.handle))
            }
            "/status" => match serde_json::to_string_pretty(&*self.status.borrow()) {
                Ok(json) => page(StatusCode::OK, "application/json", json),
                Err(error) => page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
            },
            "/healthz" => match ailments(&self.status.borrow()) {
                list if list.is_empty() => page(StatusCode::OK, TEXT, "ok\n"),
                list => page(StatusCode::SERVICE_UNAVAILABLE, TEXT, list.join("\n") + "\n"),
            },
            _ => page(StatusCode::NOT_FOUND, TEXT, "/metrics /status /healthz\n"),
        }
    }
}

pub fn page(code: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(text.into()).boxed_unsync());
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
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

    async fn get(method: &str, path: &str, status: &SharedStatus) -> (u16, String) {
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        let site = Site::new(metrics::install().unwrap(), status.clone());
        let response = site.answer(([127, 0, 0, 1], 1).into(), &request);
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
