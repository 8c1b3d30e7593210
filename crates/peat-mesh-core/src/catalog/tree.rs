//! The tree under the catalog: leaves of a few documents, branches of sixteen, sums in both.

use super::{Entry, Fingerprint, Position, Prefix, Summary};

/// A leaf with more documents than this becomes a branch; a branch with half as many a leaf again.
const LEAF_DOCUMENTS_MAX: usize = 16;

/// A number of 256 bits that wraps, least significant word first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum([u64; 4]);

impl Sum {
    fn of(hash: &[u8; 32]) -> Self {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(hash.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        Self(words)
    }

    fn add(&mut self, other: Self) {
        let mut carry = false;
        for (word, other) in self.0.iter_mut().zip(other.0) {
            let (sum, first) = word.overflowing_add(other);
            let (sum, second) = sum.overflowing_add(carry.into());
            (*word, carry) = (sum, first | second);
        }
    }

    fn sub(&mut self, other: Self) {
        let mut borrow = false;
        for (word, other) in self.0.iter_mut().zip(other.0) {
            let (difference, first) = word.overflowing_sub(other);
            let (difference, second) = difference.overflowing_sub(borrow.into());
            (*word, borrow) = (difference, first | second);
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Node {
    sum: Sum,
    count: u64,
    inner: Inner,
}

#[derive(Debug)]
enum Inner {
    /// Sorted by position.
    Leaf(Vec<(Position, Entry)>),
    Branch(Box<[Node; 16]>),
}

impl Default for Inner {
    fn default() -> Self {
        Self::Leaf(Vec::new())
    }
}

impl Node {
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn get(&self, depth: u8, position: Position) -> Option<&Entry> {
        match &self.inner {
            Inner::Leaf(entries) => {
                let index = entries.binary_search_by_key(&position, |(at, _)| *at).ok()?;
                Some(&entries[index].1)
            }
            Inner::Branch(parts) => parts[position.nibble(depth)].get(depth + 1, position),
        }
    }

    /// Returns whether anything changed.
    pub(super) fn set(&mut self, depth: u8, position: Position, entry: Entry, hash: &[u8; 32]) -> bool {
        let before = (self.sum, self.count);
        match &mut self.inner {
            Inner::Leaf(entries) => match entries.binary_search_by_key(&position, |(at, _)| *at) {
                Ok(index) => {
                    self.sum.sub(Sum::of(&Entry::hash(position, &entries[index].1.heads)));
                    self.sum.add(Sum::of(hash));
                    entries[index].1 = entry;
                }
                Err(index) => {
                    self.sum.add(Sum::of(hash));
                    self.count += 1;
                    entries.insert(index, (position, entry));
                    if entries.len() > LEAF_DOCUMENTS_MAX && depth < Prefix::DEPTH_MAX {
                        self.split(depth);
                    }
                }
            },
            Inner::Branch(parts) => {
                parts[position.nibble(depth)].set(depth + 1, position, entry, hash);
                self.add_up();
            }
        }
        before != (self.sum, self.count)
    }

    /// Returns whether the position was there.
    pub(super) fn remove(&mut self, depth: u8, position: Position) -> bool {
        match &mut self.inner {
            Inner::Leaf(entries) => match entries.binary_search_by_key(&position, |(at, _)| *at) {
                Ok(index) => {
                    let (_, entry) = entries.remove(index);
                    self.sum.sub(Sum::of(&Entry::hash(position, &entry.heads)));
                    self.count -= 1;
                    true
                }
                Err(_) => false,
            },
            Inner::Branch(parts) => {
                let removed = parts[position.nibble(depth)].remove(depth + 1, position);
                self.add_up();
                if self.count <= LEAF_DOCUMENTS_MAX as u64 / 2 {
                    self.join();
                }
                removed
            }
        }
    }

    fn add_up(&mut self) {
        if let Inner::Branch(parts) = &self.inner {
            (self.sum, self.count) = (Sum::default(), 0);
            for part in parts.iter() {
                self.sum.add(part.sum);
                self.count += part.count;
            }
        }
    }

    fn split(&mut self, depth: u8) {
        if let Inner::Leaf(entries) = std::mem::take(&mut self.inner) {
            let mut parts = Box::new(std::array::from_fn(|_| Self::default()));
            for (position, entry) in entries {
                let hash = Entry::hash(position, &entry.heads);
                let part: &mut Self = &mut parts[position.nibble(depth)];
                part.set(depth + 1, position, entry, &hash);
            }
            self.inner = Inner::Branch(parts);
        }
    }

    fn join(&mut self) {
        let mut entries = Vec::with_capacity(self.count as usize);
        self.drain_into(&mut entries);
        self.inner = Inner::Leaf(entries);
    }

    fn drain_into(&mut self, entries: &mut Vec<(Position, Entry)>) {
        match std::mem::take(&mut self.inner) {
            Inner::Leaf(own) => entries.extend(own),
            Inner::Branch(mut parts) => parts.iter_mut().for_each(|part| part.drain_into(entries)),
        }
    }

    pub(super) fn summary(&self, depth: u8, range: Prefix) -> Summary {
        if depth >= range.depth() {
            return summarise(self.sum, self.count);
        }
        match &self.inner {
            Inner::Leaf(entries) => {
                let (mut sum, mut count) = (Sum::default(), 0);
                for (position, entry) in entries.iter().filter(|(at, _)| range.contains(*at)) {
                    sum.add(Sum::of(&Entry::hash(*position, &entry.heads)));
                    count += 1;
                }
                summarise(sum, count)
            }
            Inner::Branch(parts) => parts[range.first().nibble(depth)].summary(depth + 1, range),
        }
    }

    pub(super) fn for_each(&self, depth: u8, range: Prefix, visit: &mut dyn FnMut(Position, &Entry)) {
        match &self.inner {
            Inner::Leaf(entries) => {
                for (position, entry) in entries.iter().filter(|(at, _)| range.contains(*at)) {
                    visit(*position, entry);
                }
            }
            Inner::Branch(parts) if depth < range.depth() => {
                parts[range.first().nibble(depth)].for_each(depth + 1, range, visit);
            }
            Inner::Branch(parts) => {
                for part in parts.iter() {
                    part.for_each(depth + 1, range, visit);
                }
            }
        }
    }
}

fn summarise(sum: Sum, count: u64) -> Summary {
    if count == 0 {
        return Summary::EMPTY;
    }
    let mut hasher = blake3::Hasher::new();
    for word in sum.0 {
        hasher.update(&word.to_le_bytes());
    }
    hasher.update(&count.to_le_bytes());
    let mut fingerprint = [0; 12];
    fingerprint.copy_from_slice(&hasher.finalize().as_bytes()[..12]);
    Summary { count, fingerprint: Fingerprint(fingerprint) }
}
