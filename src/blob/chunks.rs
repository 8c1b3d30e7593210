//! Chunks of 1 KiB, as BLAKE3 counts them, and runs of them.

use std::ops::Range;

use bao_tree::{ChunkNum, ChunkRanges};

/// Chunks of a group, which is how much the store keeps at once.
pub(super) const GROUP_CHUNKS: u64 = 16;

/// The chunks that hold these bytes, in whole groups.
pub(super) fn of_bytes(bytes: Range<u64>) -> Range<u64> {
    let start = bytes.start / 1024 / GROUP_CHUNKS * GROUP_CHUNKS;
    start..bytes.end.div_ceil(1024).next_multiple_of(GROUP_CHUNKS)
}

/// A set of this one run.
pub(super) fn set(chunks: Range<u64>) -> ChunkRanges {
    ChunkRanges::from(ChunkNum(chunks.start)..ChunkNum(chunks.end))
}

/// The runs of chunks in a set, from the first on.
pub(super) fn runs(of: &ChunkRanges) -> impl Iterator<Item = Range<u64>> {
    let runs = of.boundaries().chunks(2);
    runs.filter_map(|run| Some(run.first()?.0..run.get(1).map_or(u64::MAX, |end| end.0)))
}

/// The first run of chunks at or after `from`; `None` when there is none.
pub(super) fn run(of: &ChunkRanges, from: u64) -> Option<Range<u64>> {
    runs(of).find(|run| run.end > from).map(|run| run.start.max(from)..run.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_lie_in_whole_groups() {
        for (bytes, chunks) in
            [(0..0, 0..0), (0..1, 0..16), (16_384..16_385, 16..32), (16_383..16_385, 0..32)]
        {
            assert_eq!(of_bytes(bytes.clone()), chunks, "{bytes:?}");
        }
    }

    #[test]
    fn runs_are_found_from_anywhere() {
        let all = set(16..32) | set(64..80) | ChunkRanges::from(ChunkNum(128)..);
        for (from, found) in
            [(0, 16..32), (20, 20..32), (32, 64..80), (80, 128..u64::MAX), (200, 200..u64::MAX)]
        {
            assert_eq!(run(&all, from), Some(found), "{from}");
        }
        assert_eq!(run(&ChunkRanges::empty(), 0), None);
        assert_eq!(runs(&all).collect::<Vec<_>>(), [16..32, 64..80, 128..u64::MAX]);
    }
}
