//! Shape of what keeps a blob.

use peat_mesh_core::document::print_moment;
use serde::Serialize;

use crate::handle::{Handle, Kept};

/// What keeps a blob on this node, and until when.
#[derive(Debug, Serialize)]
pub(in crate::broker) struct BlobKept {
    /// Documents here that name it.
    references: u64,
    pinned: bool,
    /// When it is dropped at the earliest; null when it is kept, or not here.
    collected_after: Option<String>,
}

impl BlobKept {
    pub(in crate::broker) fn new(handle: &Handle, kept: Kept) -> Self {
        let Kept { references, pinned, collected_in_ms } = kept;
        let uptime_ms = handle.uptime().as_millis() as i64;
        let moment = |ms: u64| {
            let ms = i64::try_from(ms).unwrap_or(i64::MAX);
            print_moment(handle.wall_clock_ms(uptime_ms).saturating_add(ms))
        };
        Self { references, pinned, collected_after: collected_in_ms.map(moment) }
    }
}
