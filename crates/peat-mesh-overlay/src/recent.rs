//! The updates of late: which are known here, and how many bytes of them the protocol keeps.

use std::collections::{HashMap, VecDeque};

use crate::limits;
use crate::wire::{Hint, Key, UpdateId, hint_of};

#[derive(Debug, Default)]
pub(crate) struct Recent {
    known: HashMap<UpdateId, Known>,
    /// The same by the beginnings of their hashes.
    hints: HashMap<Hint, UpdateId>,
    forget: VecDeque<(u64, UpdateId)>,
    /// Until when the protocol keeps how many bytes.
    kept: VecDeque<(u64, usize)>,
    kept_bytes: usize,
}

/// What is known of one of them.
#[derive(Debug)]
struct Known {
    is_with_protocol: bool,
    /// Who brought it along the tree, and over how many links it had come to them.
    brought: Option<(Key, u16)>,
}

impl Recent {
    /// Whether the protocol has an update; `None` when it is new here.
    pub(crate) fn get(&self, id: &UpdateId) -> Option<bool> {
        self.known.get(id).map(|known| known.is_with_protocol)
    }

    /// The whole hash of a known update.
    pub(crate) fn spell(&self, hint: &Hint) -> Option<UpdateId> {
        self.hints.get(hint).copied()
    }

    pub(crate) fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.kept_bytes + bytes <= limits::KEPT_BYTES_MAX
    }

    /// The protocol gets an update and keeps it until then.
    pub(crate) fn keep(&mut self, until_ms: u64, bytes: usize) {
        self.kept_bytes += bytes;
        self.kept.push_back((until_ms, bytes));
    }

    /// An update is no news until then.
    pub(crate) fn remember(&mut self, until_ms: u64, id: UpdateId, is_with_protocol: bool) {
        self.known.insert(id, Known { is_with_protocol, brought: None });
        self.hints.insert(hint_of(&id), id);
        self.forget.push_back((until_ms, id));
    }

    pub(crate) fn brought(&mut self, id: UpdateId, by: Key, hops: u16) {
        if let Some(known) = self.known.get_mut(&id) {
            known.brought = Some((by, hops));
        }
    }

    /// Who brought an update, if the one that announces it is nearer to its writer by so many links at least; that
    /// one takes the other's place.
    pub(crate) fn farther(&mut self, hint: &Hint, by: Key, hops: u16, links_min: u16) -> Option<Key> {
        let (other, farther) = self.known.get_mut(self.hints.get(hint)?)?.brought.as_mut()?;
        if *other == by || hops.saturating_add(links_min) > *farther {
            return None;
        }
        *farther = hops;
        Some(std::mem::replace(other, by))
    }

    pub(crate) fn expire(&mut self, now_ms: u64) {
        while let Some((until_ms, bytes)) = self.kept.front().copied()
            && until_ms <= now_ms
        {
            self.kept.pop_front();
            self.kept_bytes -= bytes;
        }
        while let Some((until_ms, id)) = self.forget.front().copied()
            && until_ms <= now_ms
        {
            self.forget.pop_front();
            self.known.remove(&id);
            self.hints.remove(&hint_of(&id));
        }
    }
}
