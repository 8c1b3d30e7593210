//! The content of a blob on its way to a client. When it breaks off, the connection is cut, so that the client
//! cannot take what it has for the whole, and one log line says why.

use std::io;
use std::ops::Range;

use axum::body::Body;
use axum::body::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::OwnedSemaphorePermit;

use crate::handle::{BlobHash, Content, Handle};

/// The body of an answer that has this range of a blob. `place` is free again when the last piece was taken, or
/// the client is gone.
pub(super) fn body(
    content: Content,
    handle: Handle,
    hash: BlobHash,
    range: Range<u64>,
    place: OwnedSemaphorePermit,
) -> Body {
    let outgoing = Outgoing { content, handle, hash, at: range.start, end: range.end, _place: place };
    Body::from_stream(stream::unfold(Some(outgoing), async |outgoing| {
        let mut outgoing = outgoing?;
        let piece = outgoing.next().await?;
        let goes_on = piece.is_ok().then_some(outgoing);
        Some((piece, goes_on))
    }))
}

struct Outgoing {
    content: Content,
    handle: Handle,
    hash: BlobHash,
    /// The first byte that has not come.
    at: u64,
    end: u64,
    _place: OwnedSemaphorePermit,
}

impl Outgoing {
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        match self.content.next().await {
            Some(Ok(piece)) => {
                self.at += piece.len() as u64;
                Some(Ok(piece))
            }
            None if self.at == self.end => None,
            None => Some(Err(self.broken(io::ErrorKind::UnexpectedEof.into()))),
            Some(Err(problem)) => Some(Err(self.broken(problem))),
        }
    }

    fn broken(&self, problem: io::Error) -> io::Error {
        let Self { hash, at, .. } = self;
        if self.handle.stopping().is_cancelled() {
            tracing::debug!(%hash, at_byte = at, "a client's blob broke off, as the node stops: {problem}");
        } else {
            tracing::warn!(
                %hash, at_byte = at,
                "a blob broke off while a client read it, and the client's connection was cut: {problem}"
            );
        }
        problem
    }
}
