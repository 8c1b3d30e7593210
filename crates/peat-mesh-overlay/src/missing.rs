//! Which updates were announced and have not come. Bounded here, because the protocol sets no bound itself.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use crate::wire::{Hint, Key, UpdateId, hint_of};

#[derive(Debug, Default)]
pub(crate) struct Missing {
    /// By the beginnings of their hashes: when to ask, and whom.
    hinted: BTreeMap<Hint, (u64, VecDeque<Key>)>,
    /// A copy of what the protocol remembers: whole hashes, and who has them.
    spelled: HashMap<UpdateId, HashSet<Key>>,
}

impl Missing {
    pub(crate) fn len(&self) -> usize {
        self.hinted.len() + self.spelled.len()
    }

    /// Somebody has an update whose hash begins so.
    pub(crate) fn hinted(&mut self, by: Key, hint: Hint, ask_at_ms: u64) {
        let (_, keys) = self.hinted.entry(hint).or_insert_with(|| (ask_at_ms, VecDeque::new()));
        if !keys.contains(&by) {
            keys.push_back(by);
        }
    }

    /// Whom to ask for what now. Each is asked once, the next one at `again_ms`.
    pub(crate) fn due(&mut self, now_ms: u64, again_ms: u64) -> BTreeMap<Key, Vec<Hint>> {
        let mut questions: BTreeMap<Key, Vec<Hint>> = BTreeMap::new();
        self.hinted.retain(|hint, (ask_at_ms, keys)| {
            if *ask_at_ms <= now_ms {
                *ask_at_ms = again_ms;
                keys.pop_front().map(|key| questions.entry(key).or_default().push(*hint)).is_some()
            } else {
                true
            }
        });
        questions
    }

    pub(crate) fn next_wakeup(&self) -> Option<u64> {
        self.hinted.values().map(|(ask_at_ms, _)| *ask_at_ms).min()
    }

    pub(crate) fn spelled(&mut self, by: Key, id: UpdateId) {
        self.spelled.entry(id).or_default().insert(by);
    }

    pub(crate) fn came(&mut self, id: &UpdateId) {
        self.hinted.remove(&hint_of(id));
        self.spelled.remove(id);
    }

    pub(crate) fn neighbour_gone(&mut self, key: Key) {
        self.hinted.retain(|_, (_, keys)| {
            keys.retain(|by| *by != key);
            !keys.is_empty()
        });
        self.spelled.retain(|_, by| {
            by.remove(&key);
            !by.is_empty()
        });
    }
}
