//! The sample file, and what the disk and BLAKE3 can do.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::figure::Figure;
use crate::nodes::Failed;
use crate::report::Report;

/// Bytes that are written at once.
pub(super) const PIECE_BYTES: usize = 1024 * 1024;
/// Bytes that are hashed to measure BLAKE3.
const HASHED_BYTES: usize = 256 * 1024 * 1024;
/// Bytes per megabyte.
pub(super) const MB: f64 = 1e6;

/// Rates in bytes per second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Writing a file, until it is on disk.
    pub(super) write: f64,
    /// BLAKE3 of one core.
    pub(super) hash: f64,
}

/// Fills a piece with bytes that do not repeat and do not compress; `seed` makes others.
pub(super) fn fill(piece: &mut [u8], seed: u64) {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for word in piece.chunks_mut(8) {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
    }
}

/// Pieces of a content of so many bytes.
pub(super) fn pieces(bytes: u64, seed: u64) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.div_ceil(PIECE_BYTES as u64)).map(move |number| {
        let left = bytes - number * PIECE_BYTES as u64;
        let mut piece = vec![0; PIECE_BYTES.min(usize::try_from(left).unwrap_or(PIECE_BYTES))];
        fill(&mut piece, seed.wrapping_mul(1_000_003).wrapping_add(number));
        piece
    })
}

/// Writes the sample, and measures that and BLAKE3.
pub(super) fn measure(path: &Path, bytes: u64, report: &mut Report) -> Result<Limits, Failed> {
    let mut file = File::create(path)?;
    let (mut taken, mut synced) = (0.0, 0.0);
    for piece in pieces(bytes, 1) {
        let begun = Instant::now();
        file.write_all(&piece)?;
        taken += begun.elapsed().as_secs_f64();
    }
    let begun = Instant::now();
    file.sync_all()?;
    synced += begun.elapsed().as_secs_f64();
    let piece = vec![7; HASHED_BYTES];
    let begun = Instant::now();
    std::hint::black_box(iroh_blobs::Hash::new(std::hint::black_box(&piece)));
    let hash = HASHED_BYTES as f64 / begun.elapsed().as_secs_f64();
    let write = bytes as f64 / (taken + synced);
    report.add(Figure::new("the machine: writing a file of that size", bytes as f64 / taken / MB, "MB/s"));
    report.add(Figure::new("the machine: the same until it is on disk", write / MB, "MB/s"));
    report.add(Figure::new("the machine: BLAKE3 of one core", hash / MB, "MB/s"));
    Ok(Limits { write, hash })
}

/// Bytes that are free on the disk of a folder.
pub(super) fn free_bytes(folder: &Path) -> Result<u64, Failed> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail * disk.f_frsize)
}

/// Has everything of the disk that holds this folder written back, so that one measurement does not pay for the one
/// before.
pub(super) fn settle(folder: &Path) -> Result<(), Failed> {
    let done = Command::new("sync").arg("-f").arg(folder).status()?;
    if done.success() { Ok(()) } else { Err(format!("sync ended with {done}").into()) }
}
