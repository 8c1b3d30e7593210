//! Blobs: one from node to node against bare iroh-blobs and nginx, from several nodes, many small ones, memory, and
//! what a transfer does to documents.

mod bare;
mod disk;
mod http;
mod latency;
mod many;
mod memory;
mod nginx;
mod providers;
mod transfer;

use crate::machine::Machine;
use crate::nodes::{Failed, Formation};
use crate::report::Report;

pub(crate) use bare::{ARGUMENT as BARE, child as bare};
pub(crate) use nginx::{ARGUMENT as NGINX, child as nginx};

/// The blob that memory is measured with is so many times the other one.
const MEMORY_FACTOR: u64 = 4;
/// The blob that several nodes have is such a part of the other one.
const PROVIDERS_PART: u64 = 2;

pub(crate) async fn run(count: usize, bytes: u64) -> Result<Report, Failed> {
    let mut report = Report::new(
        "blob",
        format!("a blob of {:.2} GB between nodes, and {count} of 10 kB", bytes as f64 / 1e9),
    );
    let formation = Formation::new()?;
    // More than this is never there at once: each part removes what it made.
    let needed = bytes * transfer::COPIES;
    let free = disk::free_bytes(formation.path())?;
    if free < needed {
        let gb = |bytes: u64| bytes as f64 / 1e9;
        return Err(format!(
            "{} has {:.1} GB left, and {:.1} GB are needed; give --bytes or set TMPDIR",
            std::env::temp_dir().display(),
            gb(free),
            gb(needed)
        )
        .into());
    }
    let machine = Machine::measure(formation.path(), &mut report).await?;
    transfer::run(bytes, &machine, &mut report).await?;
    providers::run(bytes / PROVIDERS_PART, &mut report).await?;
    many::run(count, &machine, &mut report).await?;
    memory::run(bytes * MEMORY_FACTOR, &mut report).await?;
    latency::run(bytes, &mut report).await?;
    Ok(report)
}
