//! What went over the network: frames in, counts out.

use std::collections::BTreeMap;

use peat_mesh_core::DocId;

use crate::site::Site;

/// Frames and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// How many frames.
    pub frames: u64,
    /// Their bytes, headers included.
    pub bytes: u64,
}

/// What was sent since the counts were last set to zero. What the network lost counts too; what it
/// doubled counts once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traffic {
    kinds: BTreeMap<&'static str, Count>,
    documents: BTreeMap<(Site, DocId), u64>,
    gossiped: u64,
}

impl Traffic {
    pub(crate) fn count(&mut self, kind: &'static str, bytes: usize) {
        let count = self.kinds.entry(kind).or_default();
        count.frames += 1;
        count.bytes += bytes as u64;
    }

    pub(crate) fn count_document(&mut self, to: Site, doc: &DocId) {
        *self.documents.entry((to, doc.clone())).or_default() += 1;
    }

    pub(crate) fn count_gossiped(&mut self) {
        self.gossiped += 1;
    }

    /// How often an update was sent to a node, by whatever way: as changes of a document, or along the overlay.
    #[must_use]
    pub fn sends(&self) -> u64 {
        self.documents.values().sum::<u64>() + self.gossiped
    }

    /// All frames.
    #[must_use]
    pub fn all(&self) -> Count {
        self.sum(|_| true)
    }

    /// Frames of one kind, by the name that [`Frame::name`](peat_mesh_core::wire::Frame::name) gives it.
    #[must_use]
    pub fn kind(&self, kind: &str) -> Count {
        self.kinds.get(kind).copied().unwrap_or_default()
    }

    /// Frames that are about documents.
    #[must_use]
    pub fn documents(&self) -> Count {
        self.sum(|kind| kind != "presence")
    }

    /// Frames about documents that carry no changes: the price of finding out what differs.
    #[must_use]
    pub fn reconciliation(&self) -> Count {
        self.sum(|kind| kind != "changes" && kind != "presence")
    }

    /// How often changes of this document were sent to this site.
    #[must_use]
    pub fn sent_to(&self, site: Site, doc: &str) -> u64 {
        let is_meant = |(to, document): &(Site, DocId)| *to == site && document.as_str() == doc;
        self.documents.iter().filter(|(key, _)| is_meant(key)).map(|(_, count)| count).sum()
    }

    /// How often changes of any document were sent to this site.
    #[must_use]
    pub fn documents_sent_to(&self, site: Site) -> u64 {
        self.documents.iter().filter(|((to, _), _)| *to == site).map(|(_, count)| count).sum()
    }

    fn sum(&self, is_meant: impl Fn(&str) -> bool) -> Count {
        let counts = self.kinds.iter().filter(|(kind, _)| is_meant(kind)).map(|(_, count)| count);
        counts.fold(Count::default(), |sum, count| Count {
            frames: sum.frames + count.frames,
            bytes: sum.bytes + count.bytes,
        })
    }
}
