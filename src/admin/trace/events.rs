//! The messages of a trace as they come, as server-sent events: `id` is a message's number, so that
//! a reader who comes back goes on where he was; `end` says that no more will come.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Response};
use hyper::body::{Bytes, Frame};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::api::Api;
use super::super::query::decimal;
use super::desk::PAGE_MESSAGES_MAX;
use super::row::Row;

/// Pieces that wait for a slow reader; then the trace's ring is what waits.
const PIECES_MAX: usize = 4;
/// A comment is sent after so much silence, so that whoever is between does not give up.
const QUIET_MAX: Duration = Duration::from_secs(15);

/// Where a reader goes on who was here before.
pub(super) fn last_seen(headers: &HeaderMap) -> u64 {
    let text = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    text.and_then(decimal).unwrap_or(0)
}

/// The events of a trace behind number `after`.
pub(super) fn stream(api: Api, id: u32, after: u64) -> Response {
    let (pieces, body) = mpsc::channel(PIECES_MAX);
    tokio::spawn(feed(api, id, after, pieces));
    let body = Body::new(Pieces(body));
    let kind = HeaderValue::from_static("text/event-stream");
    ([(CONTENT_TYPE, kind)], body).into_response()
}

/// Ends when the reader is gone, or the trace and all it kept has been read.
async fn feed(api: Api, id: u32, mut after: u64, pieces: mpsc::Sender<Bytes>) {
    let mut changes = api.traces.watch();
    loop {
        changes.mark_unchanged();
        let Some(page) = api.traces.messages(id, after, PAGE_MESSAGES_MAX) else { break };
        let mut text = String::new();
        if page.lost > 0 && after > 0 {
            text.push_str(&format!("event: lost\ndata: {}\n\n", page.lost));
        }
        for (number, kept) in &page.items {
            after = *number;
            // Text and numbers always can be written, on one line.
            let row = serde_json::to_string(&Row::new(*number, kept)).unwrap_or_default();
            text.push_str(&format!("id: {number}\ndata: {row}\n\n"));
        }
        if !text.is_empty() && pieces.send(text.into()).await.is_err() {
            return;
        }
        if page.more {
            continue;
        }
        if page.info.remaining_s.is_none() {
            break;
        }
        let changed = tokio::select! {
            changed = timeout(QUIET_MAX, changes.changed()) => changed,
            () = pieces.closed() => return,
        };
        match changed {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                if pieces.send(Bytes::from_static(b": still here\n\n")).await.is_err() {
                    return;
                }
            }
        }
    }
    // It does not matter whether anybody is left to hear it.
    let _ = pieces.send(Bytes::from_static(b"event: end\ndata: {}\n\n")).await;
}

/// A body that comes piece by piece.
struct Pieces(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
