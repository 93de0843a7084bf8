//! What is answered. A page is made at once and whole; only a stream goes on.

use super::stream::EventStream;
use crate::metrics;
use crate::status::{Phase, SharedStatus, Status};
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;

/// What an answer consists of: a page, or a stream.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

pub const TEXT: &str = "text/plain; charset=utf-8";
const STREAM: &str = "text/event-stream";
/// Readers of `/events` at once. Other connections are left for those who ask for a page.
const MOST_READERS: usize = 16;

/// What answers are made from.
#[derive(Clone)]
pub struct Site {
    handle: &'static PrometheusHandle,
    status: SharedStatus,
    readers: Arc<Semaphore>,
}

/// What `/status` says.
#[derive(Serialize)]
struct StatusPage<'a> {
    version: &'static str,
    revision: &'static str,
    /// The number of the newest event: whoever asks from time to time sees whether something has happened.
    newest_event: u64,
    #[serde(flatten)]
    status: &'a Status,
}

impl Site {
    pub fn new(handle: &'static PrometheusHandle, status: SharedStatus) -> Site {
        Site { handle, status, readers: Arc::new(Semaphore::new(MOST_READERS)) }
    }

    /// The answer to a request that was let in.
    pub fn answer<B>(&self, request: &Request<B>) -> Response<Body> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "expected GET\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            "/metrics" => {
                self.status.scrapes.read(Instant::now());
                page(
                    StatusCode::OK,
                    "text/plain; version=0.0.4; charset=utf-8",
                    metrics::render(self.handle, self.status.now()),
                )
            }
            "/status" => match self.status_page() {
                Ok(json) => page(StatusCode::OK, "application/json", json),
                Err(error) => page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
            },
            "/events" => self.events(request),
            "/healthz" => match ailments(&self.status.borrow()) {
                list if list.is_empty() => page(StatusCode::OK, TEXT, "ok\n"),
                list => page(StatusCode::SERVICE_UNAVAILABLE, TEXT, list.join("\n") + "\n"),
            },
            _ => page(StatusCode::NOT_FOUND, TEXT, "/metrics /status /healthz /events\n"),
        }
    }

    fn status_page(&self) -> serde_json::Result<String> {
        let (version, revision) = (crate::VERSION, crate::REVISION);
        let newest_event = self.status.events.newest();
        let status = &*self.status.borrow();
        serde_json::to_string_pretty(&StatusPage { version, revision, newest_event, status })
    }

    fn events<B>(&self, request: &Request<B>) -> Response<Body> {
        let after = match after(request) {
            Ok(after) => after,
            Err(found) => {
                let text =
                    format!("expected the number of an event, found {found:?}; leave it out to hear what is new\n");
                return page(StatusCode::BAD_REQUEST, TEXT, text);
            }
        };
        let mut response = page(StatusCode::OK, STREAM, "");
        if request.method() == Method::GET {
            let Ok(permit) = self.readers.clone().try_acquire_owned() else {
                let text = format!(
                    "{MOST_READERS} others follow the events already, and no more may; /status tells the newest\n"
                );
                let mut response = page(StatusCode::SERVICE_UNAVAILABLE, TEXT, text);
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("10"));
                return response;
            };
            let events = &self.status.events;
            let listener = after.map_or_else(|| events.listen(), |number| events.listen_after(number));
            *response.body_mut() = EventStream::new(listener, permit).boxed_unsync();
        }
        // Proxies would keep it.
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// The event behind which a reader wants to go on: the last one it has had, if it comes back; else what its address says.
/// An error is what was found instead of a number.
fn after<B>(request: &Request<B>) -> Result<Option<u64>, String> {
    let last =
        request.headers().get("last-event-id").map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let asked = || {
        let query = request.uri().query().unwrap_or_default();
        query.split('&').find_map(|pair| pair.strip_prefix("after=")).map(str::to_string)
    };
    last.or_else(asked).map(|text| text.parse().map_err(|_| text)).transpose()
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
    use crate::clock::Stamp;
    use crate::events::Event;
    use crate::status::{self, CameraStatus};

    async fn get(method: &str, path: &str, status: &SharedStatus) -> (u16, String) {
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        let site = Site::new(metrics::install().unwrap(), status.clone());
        let response = site.answer(&request);
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
        let json = serde_json::from_str::<serde_json::Value>(&body).unwrap();
        assert_eq!((code, &json["phase"], &json["last_episode"]), (200, &"starting".into(), &().into()));
        assert_eq!((&json["version"], &json["newest_event"]), (&crate::VERSION.into(), &0.into()));
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

    /// The answer's code, type and, without waiting, what its body says first.
    async fn follow(site: &Site, method: &str, path: &str, last: Option<&str>) -> (u16, String, String) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let mut response = site.answer(&request.body(()).unwrap());
        let kind = response.headers()[CONTENT_TYPE].to_str().unwrap().to_string();
        let first = response.body_mut().frame().await.map(|frame| frame.unwrap().into_data().unwrap());
        let first = String::from_utf8(first.unwrap_or_default().to_vec()).unwrap();
        (response.status().as_u16(), kind, first)
    }

    #[tokio::test]
    async fn a_reader_says_where_it_goes_on() {
        let status = status::shared();
        (0..5).for_each(|_| status.tell(Stamp::default(), Event::GpuBack, "x"));
        let site = Site::new(metrics::install().unwrap(), status);
        for (path, last, id) in [
            ("/events", None, "id: 5"),
            ("/events?after=3", None, "id: 3"),
            ("/events?x=1&after=0", None, "id: 0"),
            ("/events?after=3", Some("4"), "id: 4"),
            ("/events", Some("77"), "id: 77"),
        ] {
            let (code, kind, first) = follow(&site, "GET", path, last).await;
            assert!(code == 200 && kind == STREAM && first.lines().any(|line| line == id), "{path}: {first}");
        }
        assert_eq!(follow(&site, "HEAD", "/events", None).await, (200, STREAM.into(), String::new()));
        for (path, last) in [("/events?after=-1", None), ("/events", Some("x"))] {
            let (code, _, text) = follow(&site, "GET", path, last).await;
            assert!(code == 400 && text.contains("expected the number of an event"), "{path}: {text}");
        }
    }
}
