//! Which updates were announced and have not come: a copy of what the protocol remembers of them, because it
//! sets no bound itself.

use std::collections::{HashMap, HashSet};

use crate::wire::{Key, UpdateId};

#[derive(Debug, Default)]
pub(crate) struct Missing {
    announced: HashMap<UpdateId, HashSet<Key>>,
}

impl Missing {
    pub(crate) fn len(&self) -> usize {
        self.announced.len()
    }

    pub(crate) fn announced(&mut self, by: Key, id: UpdateId) {
        self.announced.entry(id).or_default().insert(by);
    }

    pub(crate) fn came(&mut self, id: &UpdateId) {
        self.announced.remove(id);
    }

    pub(crate) fn neighbour_gone(&mut self, key: Key) {
        self.announced.retain(|_, by| {
            by.remove(&key);
            !by.is_empty()
        });
    }
}
