//! Answers that are made while they are read: pieces go in at one end, no more than a few ahead of
//! whoever reads, and whoever makes them learns when nobody does any more.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::mpsc;

/// Pieces that wait to be read.
const PIECES_MAX: usize = 4;

/// The answer ends before its end: its reader sees it cut off.
#[derive(Debug)]
pub(super) struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what was to follow could not be had")
    }
}

impl std::error::Error for Cut {}

/// Where pieces go in. Dropping it ends the answer.
#[derive(Clone)]
pub(super) struct Pieces(mpsc::Sender<Result<Bytes, Cut>>);

impl Pieces {
    /// Gives a piece, once there is room for it. False: nobody reads any more.
    pub async fn give(&self, piece: impl Into<Bytes>) -> bool {
        self.0.send(Ok(piece.into())).await.is_ok()
    }

    /// Gives a piece if there is room for it now. False: there is not, or nobody reads any more.
    pub fn give_now(&self, piece: impl Into<Bytes>) -> bool {
        self.0.try_send(Ok(piece.into())).is_ok()
    }

    /// Cuts the answer off.
    pub async fn cut(&self) {
        // If nobody reads any more there is nobody to tell.
        let _ = self.0.send(Err(Cut)).await;
    }

    /// Waits until nobody reads any more.
    pub async fn unread(&self) {
        self.0.closed().await;
    }
}

/// A body, and where its pieces go in.
pub(super) fn pieces() -> (Pieces, Body) {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    (Pieces(sender), Body::new(Read(receiver)))
}

struct Read(mpsc::Receiver<Result<Bytes, Cut>>);

impl hyper::body::Body for Read {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use tokio::runtime::Builder;

    #[test]
    fn pieces_are_read_in_their_order_and_makers_wait_for_readers() {
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (pieces, body) = pieces();
            for piece in 0..PIECES_MAX {
                assert!(pieces.give_now(vec![piece as u8]));
            }
            assert!(!pieces.give_now("one too many"));
            drop(pieces);
            let read = body.collect().await.unwrap().to_bytes();
            assert_eq!(&read[..], (0..PIECES_MAX as u8).collect::<Vec<_>>());
        });
    }

    #[test]
    fn whoever_makes_them_learns_that_nobody_reads_and_readers_that_it_was_cut() {
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (maker, body) = pieces();
            drop(body);
            assert!(!maker.give("x").await);
            maker.unread().await;
            let (maker, body) = pieces();
            maker.cut().await;
            drop(maker);
            assert!(body.collect().await.is_err());
        });
    }
}
