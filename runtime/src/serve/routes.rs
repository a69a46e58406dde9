//! What each path answers. What blocks, as a store does, runs beside the server's own thread.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use headwater_connectors::Error;
use headwater_connectors::sink::Lookup;
use tokio::sync::mpsc::{Sender, channel};

use super::endpoint::SERVED_BY;
use super::rows::{self, RowQuery};
use super::served::Served;
use crate::base::failure::Failure;
use crate::base::id::RowsId;
use crate::observe::metrics;
use crate::observe::view::RunView;

type Pairs = Query<Vec<(String, String)>>;

/// Lines go out in chunks of about this size, so many ahead of a slow reader.
const CHUNK_BYTES: usize = 64 << 10;
const CHUNKS_AHEAD: usize = 4;

pub(super) fn router(served: Arc<Served>) -> Router {
    let guarded = Router::new()
        .route("/alive", get(|| async { StatusCode::OK }))
        .route("/get", get(one))
        .route("/export", get(all))
        .route("/status", get(status))
        .fallback(|| async { (StatusCode::NOT_FOUND, "no such path") })
        .layer(middleware::from_fn_with_state(served.clone(), check_token));
    let open = Router::new().route("/metrics", get(prometheus));
    open.merge(guarded).layer(middleware::from_fn(sign)).with_state(served)
}

async fn check_token(State(served): State<Arc<Served>>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match given.and_then(|value| value.strip_prefix("Bearer ")) {
        Some(token) if token == served.token => next.run(request).await,
        _ => (StatusCode::UNAUTHORIZED, "this needs the token of endpoint.json: Authorization: Bearer TOKEN")
            .into_response(),
    }
}

async fn sign(request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    answer.headers_mut().insert(SERVED_BY, HeaderValue::from_static(env!("CARGO_PKG_VERSION")));
    answer
}

async fn status(State(served): State<Arc<Served>>) -> Response {
    Json(served.reporter().report()).into_response()
}

async fn prometheus(State(served): State<Arc<Served>>) -> Response {
    let text = metrics::text(&served.reporter());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn one(State(served): State<Arc<Served>>, Query(pairs): Pairs) -> Response {
    let asked_of = served.clone();
    let work = move || {
        let reporter = served.reporter();
        let view = &reporter.view;
        let opened = &view.opened;
        let group = group(view, &pairs)?;
        let values: Vec<String> = pairs.iter().filter(|(name, _)| name == "key").map(|(_, v)| v.clone()).collect();
        let (window, at, sink) = (value(&pairs, "window"), value(&pairs, "at"), value(&pairs, "sink"));
        let asked = RowQuery::parse(opened, group, &values, (window, at))?;
        let lines = match asked.at {
            Some(_) if sink.is_some() => return Err(rows::sink_at()),
            Some(tick) => rows::get_at(&view.earlier, opened, &asked, tick)?,
            None => rows::get(store(view, group, sink)?.as_mut(), opened, &asked, view.serve_log.as_deref())?,
        };
        Ok((opened.job.name_of(group).to_owned(), asked, lines))
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok((group, asked, lines))) if lines.is_empty() => {
            refused(&asked_of, &rows::not_found(&group, &asked), StatusCode::NOT_FOUND)
        }
        Ok(Ok((_, _, lines))) => json_lines(Body::from(lines.join("\n") + "\n")),
        Ok(Err(failure)) => refused(&asked_of, &failure, StatusCode::INTERNAL_SERVER_ERROR),
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()).into_response(),
    }
}

async fn all(State(served): State<Arc<Served>>, Query(pairs): Pairs) -> Response {
    let opening = served.clone();
    let opened = match tokio::task::spawn_blocking(move || open(&opening.reporter().view, &pairs)).await {
        Ok(opened) => opened,
        Err(e) => return (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()).into_response(),
    };
    let (group, mut store) = match opened {
        Ok(opened) => opened,
        Err(failure) => return refused(&served, &failure, StatusCode::INTERNAL_SERVER_ERROR),
    };
    let (sender, receiver) = channel(CHUNKS_AHEAD);
    tokio::task::spawn_blocking(move || {
        if let Err(failure) = send_rows(store.as_mut(), group, &sender) {
            tracing::warn!("export over the job's endpoint: {}", failure.message());
            // Cuts the answer off: its reader sees that it is not whole.
            let _ = sender.blocking_send(Err(std::io::Error::other(failure.message())));
        }
    });
    let next =
        |mut receiver: tokio::sync::mpsc::Receiver<_>| async move { receiver.recv().await.map(|c| (c, receiver)) };
    json_lines(Body::from_stream(futures::stream::unfold(receiver, next)))
}

fn send_rows(store: &mut dyn Lookup, group: RowsId, to: &Sender<std::io::Result<Bytes>>) -> Result<(), Failure> {
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    let send = |chunk: &mut Vec<u8>| {
        let bytes = Bytes::from(std::mem::take(chunk));
        to.blocking_send(Ok(bytes)).map_err(|_| Error::world("sending rows", "the reader has gone"))
    };
    rows::export(store, group, &mut |line| {
        chunk.extend_from_slice(line.as_bytes());
        chunk.push(b'\n');
        if chunk.len() >= CHUNK_BYTES { send(&mut chunk) } else { Ok(()) }
    })?;
    Ok(send(&mut chunk)?)
}

/// The group that is asked for.
fn group(view: &RunView, pairs: &[(String, String)]) -> Result<RowsId, Failure> {
    let name = value(pairs, "group").ok_or_else(|| Failure::Usage("name a `group`".to_owned()))?;
    rows::group(&view.opened.job, name)
}

/// The store to read it from.
fn store(view: &RunView, group: RowsId, named: Option<&str>) -> Result<Box<dyn Lookup>, Failure> {
    let sink = rows::sink(&view.opened.job, group, named)?;
    rows::lookup(&view.opened, sink, view.stores[sink].as_ref())
}

/// The group that is asked for, and the store to read it from.
fn open(view: &RunView, pairs: &[(String, String)]) -> Result<(RowsId, Box<dyn Lookup>), Failure> {
    let group = group(view, pairs)?;
    Ok((group, store(view, group, value(pairs, "sink"))?))
}

fn value<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn json_lines(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/jsonl")], body).into_response()
}

/// `otherwise`: the status of what is not the asker's fault.
fn refused(served: &Served, failure: &Failure, otherwise: StatusCode) -> Response {
    let status = if matches!(failure, Failure::Usage(_)) { StatusCode::BAD_REQUEST } else { otherwise };
    (status, served.reporter().view.opened.job.mask(&failure.message())).into_response()
}
