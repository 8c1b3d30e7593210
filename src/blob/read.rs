//! How a blob goes to a client: in pieces of 16 KiB, each checked against the hash.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use iroh_blobs::api::blobs::EncodedItem;
use iroh_blobs::protocol::{ChunkRanges, ChunkRangesExt};

use super::{Inner, store_hash};
use crate::handle::{BlobHash, Content};

/// Readings that begin at once; more wait. The store turns away what comes for one blob when 32 requests wait
/// for it.
pub(super) const STARTS_COUNT_MAX: usize = 8;

impl Inner {
    pub(super) fn read(self: &Arc<Self>, hash: BlobHash, range: Range<u64>) -> Content {
        if range.is_empty() {
            return stream::empty().boxed();
        }
        let this = Arc::clone(self);
        let begin = async move {
            let ranges = ChunkRanges::bytes(range.clone());
            let _turn = this.starts.acquire().await;
            let mut items = Box::pin(this.store.export_bao(store_hash(hash), ranges).stream());
            let first = items.next().await;
            stream::iter(first).chain(items).filter_map(move |item| {
                let piece = match item {
                    EncodedItem::Leaf(leaf) => Some(Ok(cut(leaf.offset, leaf.data, &range))),
                    EncodedItem::Error(problem) => Some(Err(io::Error::other(problem))),
                    _ => None,
                };
                std::future::ready(piece)
            })
        };
        stream::once(begin).flatten().boxed()
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
