//! How a blob goes to a client: in pieces of 16 KiB, each checked against the hash. What is still on its way is
//! waited for, and what is damaged is mended on the way.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use iroh_blobs::api::blobs::EncodedItem;
use iroh_blobs::protocol::{ChunkRanges, ChunkRangesExt};
use tokio::sync::watch;

use super::fetch::{End, Here, Interest, Want};
use super::{Inner, chunks, serve, store_hash};
use crate::handle::{Blob, BlobError, BlobHash, BlobState, Content, Reading};

/// Readings that begin at once; more wait. The store turns away what comes for one blob when 32 requests wait
/// for it.
pub(super) const STARTS_COUNT_MAX: usize = 8;
/// A reader says so often where it is, in bytes.
const TELL_EVERY_BYTES: u64 = 1024 * 1024;

/// A piece, or why there is none.
enum Piece {
    Bytes(Bytes),
    /// The bytes on the disk are not those that were written; in words.
    Damaged(String),
    Failed(io::Error),
}

/// A reader, and where it is.
struct Reader {
    inner: Arc<Inner>,
    hash: BlobHash,
    left: Range<u64>,
    pieces: Option<BoxStream<'static, Piece>>,
    /// What of it is here, while it is still on its way.
    coming: Option<(watch::Receiver<Here>, Interest)>,
    told: u64,
    /// It reads all of a blob that is on its way, and its end comes when the blob is kept.
    is_all: bool,
    /// Where it was mended last.
    mended_at: Option<u64>,
}

impl Inner {
    /// Opens a blob that is here, or begins to fetch it.
    pub(super) async fn open(self: &Arc<Self>, hash: BlobHash) -> Result<Reading, BlobError> {
        if let BlobState::Complete { size } = self.state(hash).await? {
            return Ok(self.reading(Blob { hash, size }, None));
        }
        let interest = self.join(hash, Want::Reading).await?;
        let mut here = interest.job.here.subscribe();
        let ready = here.wait_for(|here| here.size.is_some() || here.end.is_some()).await;
        let ready = ready.map_err(|_| End::NotWanted.error(hash))?.clone();
        match (ready.end, ready.size) {
            (Some(End::Whole), _) => {
                let size = self.whole(hash).await?.ok_or_else(|| End::NotWanted.error(hash))?;
                Ok(self.reading(Blob { hash, size }, None))
            }
            // The beginning is here: it is given, also when nobody has the rest.
            (Some(End::NotFound { .. } | End::Interrupted { .. }), Some(size))
                if chunks::run(&ready.chunks, 0).is_some_and(|run| run.start == 0) =>
            {
                Ok(self.reading(Blob { hash, size }, Some((here, interest))))
            }
            (Some(end), _) => Err(end.error(hash)),
            (None, Some(size)) => Ok(self.reading(Blob { hash, size }, Some((here, interest)))),
            (None, None) => Err(End::NotWanted.error(hash)),
        }
    }

    fn reading(self: &Arc<Self>, blob: Blob, coming: Option<(watch::Receiver<Here>, Interest)>) -> Reading {
        let inner = Arc::clone(self);
        let content = move |range: Range<u64>| -> Content {
            let left = range.start..range.end.min(blob.size);
            if let Some((_, interest)) = &coming {
                interest.read(left.clone());
            }
            let told = left.start;
            let is_all = coming.is_some() && left == (0..blob.size);
            let reader =
                Reader { inner, hash: blob.hash, left, pieces: None, coming, told, is_all, mended_at: None };
            stream::try_unfold(reader, Reader::next).boxed()
        };
        Reading { blob, content: Box::new(content) }
    }

    /// These bytes of a blob, which are in the store.
    fn pieces(self: &Arc<Self>, hash: BlobHash, range: Range<u64>) -> BoxStream<'static, Piece> {
        let this = Arc::clone(self);
        let begin = async move {
            let ranges = ChunkRanges::bytes(range.clone());
            let _turn = this.starts.acquire().await;
            let mut items = Box::pin(this.store.export_bao(store_hash(hash), ranges).stream());
            let first = items.next().await;
            stream::iter(first).chain(items).filter_map(move |item| {
                let piece = match item {
                    EncodedItem::Leaf(leaf) => Some(Piece::Bytes(cut(leaf.offset, leaf.data, &range))),
                    EncodedItem::Error(problem) if serve::is_damage(&problem) => {
                        Some(Piece::Damaged(problem.to_string()))
                    }
                    EncodedItem::Error(problem) => Some(Piece::Failed(io::Error::other(problem))),
                    _ => None,
                };
                std::future::ready(piece)
            })
        };
        stream::once(begin).flatten().boxed()
    }
}

impl Reader {
    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        loop {
            if let Some(pieces) = &mut self.pieces {
                match pieces.next().await {
                    Some(Piece::Bytes(piece)) if piece.is_empty() => {}
                    Some(Piece::Bytes(piece)) => {
                        self.left.start += piece.len() as u64;
                        self.tell();
                        if self.is_all && self.left.is_empty() {
                            self.kept().await?;
                        }
                        return Ok(Some((piece, self)));
                    }
                    Some(Piece::Damaged(problem)) => self.mend(problem).await?,
                    Some(Piece::Failed(problem)) => return Err(problem),
                    None => self.pieces = None,
                }
                continue;
            }
            if self.left.is_empty() {
                return Ok(None);
            }
            let ready = self.ready().await?;
            self.pieces = Some(self.inner.pieces(self.hash, ready));
        }
    }

    /// The bytes that can be read now; waits until there are some.
    async fn ready(&mut self) -> io::Result<Range<u64>> {
        let Some((coming, _)) = &mut self.coming else {
            return Ok(self.left.clone());
        };
        loop {
            let here = coming.borrow_and_update().clone();
            if here.end == Some(End::Whole) {
                return Ok(self.left.clone());
            }
            let position = self.left.start;
            let run = chunks::run(&here.chunks, position / 1024).filter(|run| run.start * 1024 <= position);
            if let Some(run) = run {
                return Ok(position..self.left.end.min(run.end.saturating_mul(1024)));
            }
            if let Some(end) = here.end {
                return Err(io::Error::other(end.error(self.hash)));
            }
            if coming.changed().await.is_err() {
                return Err(io::Error::other(End::NotWanted.error(self.hash)));
            }
        }
    }

    /// Waits until the blob is whole and on disk here.
    async fn kept(&mut self) -> io::Result<()> {
        let Some((coming, _)) = &mut self.coming else {
            return Ok(());
        };
        let ended = coming.wait_for(|here| here.end.is_some()).await;
        match ended.ok().and_then(|here| here.end.clone()) {
            Some(End::Whole) => Ok(()),
            other => Err(io::Error::other(other.unwrap_or(End::NotWanted).error(self.hash))),
        }
    }

    fn tell(&mut self) {
        if let Some((_, interest)) = &self.coming
            && self.left.start >= self.told + TELL_EVERY_BYTES
        {
            self.told = self.left.start;
            interest.read(self.left.clone());
        }
    }

    /// Has the next bytes mended, and begins again with them.
    async fn mend(&mut self, problem: String) -> io::Result<()> {
        let position = self.left.start;
        let damaged = |why| io::Error::other(format!("it is damaged on the disk of this node: {why}"));
        // What is still on its way is in the hands of its fetch.
        let is_whole = self.inner.whole(self.hash).await.is_ok_and(|size| size.is_some());
        if !is_whole || self.mended_at.replace(position) == Some(position) {
            return Err(damaged(problem));
        }
        self.inner.damage.found(self.hash, position, &problem);
        self.pieces = None;
        self.inner.repair(self.hash, position).await.map_err(damaged)
    }
}
/// The part of a piece that lies in a range.
fn cut(offset: u64, piece: Bytes, range: &Range<u64>) -> Bytes {
    let within = |position: u64| {
        let position = position.clamp(offset, offset + piece.len() as u64) - offset;
        usize::try_from(position).unwrap_or(piece.len())
    };
    let (from, to) = (within(range.start), within(range.end));
    piece.slice(from..to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_cut_to_the_range_that_was_asked_for() {
        let piece = Bytes::from_static(b"0123456789");
        for (offset, range, wanted) in [
            (0, 0..10, "0123456789"),
            (0, 3..5, "34"),
            (100, 0..1_000, "0123456789"),
            (100, 105..106, "5"),
            (100, 0..100, ""),
            (100, 108..1_000, "89"),
            (100, 110..120, ""),
        ] {
            assert_eq!(cut(offset, piece.clone(), &range), wanted, "{offset} {range:?}");
        }
    }
}
