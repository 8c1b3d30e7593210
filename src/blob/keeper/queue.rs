//! Whose turn it is among blobs that documents want, when they are more than are fetched at once.
//!
//! The index remembers all of them, over a restart too. Here is a page of it, the place up to which it was read, and
//! what documents have named just now. The index is gone through round after round, so that each has its turn; new
//! blobs come in between, so that those that nobody has do not hold them up.

use std::collections::VecDeque;
use std::time::Duration;

use crate::handle::BlobHash;

/// Blobs that are read from the index at a time.
pub(super) const PAGE_COUNT_MAX: usize = 256;
/// New blobs that are kept in mind, in number; older ones are found again in the index.
const NEW_COUNT_MAX: usize = 1024;
/// How long a blob that nobody has keeps its place while others wait: at first, and at most. It doubles with each
/// round that brought nothing. With 64 places, peers are asked for 32 blobs in a second at first, and for 8 later.
pub(super) const REST_MIN: Duration = Duration::from_secs(2);
const REST_MAX: Duration = Duration::from_secs(8);

#[derive(Debug)]
pub(super) struct Queue {
    /// The one for which a place is being cleared.
    next: Option<BlobHash>,
    new: VecDeque<BlobHash>,
    page: VecDeque<BlobHash>,
    /// Up to where the index was read in this round.
    after: Option<BlobHash>,
    /// How often the end of the index is still to be reached before nothing is missing.
    ends_left: u8,
    rest: Duration,
    /// Whether others had to give up their place in this round.
    is_scarce: bool,
    is_turn_of_page: bool,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            next: None,
            new: VecDeque::new(),
            page: VecDeque::new(),
            after: None,
            ends_left: 1,
            rest: REST_MIN,
            is_scarce: false,
            is_turn_of_page: false,
        }
    }

    /// Adds a blob that a document has just named.
    pub(super) fn add(&mut self, hash: BlobHash) {
        self.new.push_back(hash);
        if self.new.len() > NEW_COUNT_MAX {
            self.new.pop_front();
            self.look_through();
        }
    }

    /// Notes that the index has blobs that are not known of here: it is gone through once, from wherever it is now.
    pub(super) fn look_through(&mut self) {
        self.ends_left = if self.after.is_none() { 1 } else { 2 };
    }

    /// After which blob the index is to be read on, if it is. For [`PAGE_COUNT_MAX`] of them.
    pub(super) fn wants_page(&self) -> Option<Option<BlobHash>> {
        (self.page.is_empty() && self.ends_left > 0).then_some(self.after)
    }

    /// Takes what was read.
    pub(super) fn read(&mut self, page: Vec<BlobHash>) {
        self.after = page.last().copied();
        if page.len() < PAGE_COUNT_MAX {
            self.after = None;
            self.ends_left = self.ends_left.saturating_sub(1);
            if std::mem::take(&mut self.is_scarce) {
                self.rest = (self.rest * 2).min(REST_MAX);
            }
        }
        self.page = page.into();
    }

    /// Takes out the next one, when a place is free (`None`), or one is taken by a blob that nobody has had for so long.
    pub(super) fn take(&mut self, waited: Option<Duration>) -> Option<BlobHash> {
        let is_over = |rest| waited.is_none_or(|waited| waited >= rest);
        if self.next.is_some() {
            return self.next.take_if(|_| is_over(REST_MIN));
        }
        let of_page = is_over(self.rest) && !self.page.is_empty();
        // The newest first: what nobody has piles up behind it.
        let of_new = is_over(REST_MIN) && !self.new.is_empty();
        match (of_page, of_new) {
            (true, false) => self.page.pop_front(),
            (true, true) if self.is_turn_of_page => {
                self.is_turn_of_page = false;
                self.page.pop_front()
            }
            (_, true) => {
                self.is_turn_of_page = true;
                self.new.pop_back()
            }
            (false, false) => None,
        }
    }

    /// Puts one back for which another one has to give up its place.
    pub(super) fn put_back(&mut self, hash: BlobHash) {
        self.next = Some(hash);
        self.is_scarce = true;
        // The other one has its turn in the next round.
        self.look_through();
    }

    /// Looks faster again: something has come, or there are other peers.
    pub(super) fn hurry(&mut self) {
        self.rest = REST_MIN;
    }

    /// Whether all that is known of has a place.
    pub(super) fn is_empty(&self) -> bool {
        self.next.is_none() && self.new.is_empty() && self.page.is_empty() && self.ends_left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u32) -> BlobHash {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        BlobHash(bytes)
    }

    /// The rows of an index with this many blobs.
    fn rows(count: u32, after: Option<BlobHash>) -> Vec<BlobHash> {
        (0..count).map(hash).filter(|hash| Some(*hash) > after).take(PAGE_COUNT_MAX).collect()
    }

    /// Takes out all that there is for free places.
    fn drain(queue: &mut Queue, count: u32) -> Vec<BlobHash> {
        let mut all = Vec::new();
        loop {
            if let Some(after) = queue.wants_page() {
                queue.read(rows(count, after));
            }
            match queue.take(None) {
                Some(hash) => all.push(hash),
                None if queue.is_empty() => return all,
                None => {}
            }
        }
    }

    #[test]
    fn everything_in_the_index_has_its_turn_once_and_again_when_it_is_to_be_looked_through() {
        for count in [0, 1, 255, 256, 257, 1_000] {
            let all: Vec<_> = (0..count).map(hash).collect();
            let mut queue = Queue::new();
            assert_eq!(drain(&mut queue, count), all, "{count}");
            assert_eq!(drain(&mut queue, count), [], "{count}");
            queue.look_through();
            assert_eq!(drain(&mut queue, count), all, "{count}");
        }
    }

    #[test]
    fn a_round_that_is_under_way_goes_to_its_end_before_a_new_one_begins() {
        let mut queue = Queue::new();
        queue.read(rows(600, None));
        for number in 0..100 {
            assert_eq!(queue.take(None), Some(hash(number)));
        }
        queue.look_through();
        let expected: Vec<_> = (100..600).chain(0..600).map(hash).collect();
        assert_eq!(drain(&mut queue, 600), expected);
    }

    #[test]
    fn without_a_place_nothing_is_taken_until_another_one_has_rested() {
        let mut queue = Queue::new();
        queue.read(rows(3, None));
        assert_eq!(queue.take(Some(Duration::ZERO)), None);
        assert_eq!(queue.take(Some(REST_MIN)), Some(hash(0)));
        // It waits for its place, and so do all behind it.
        queue.put_back(hash(0));
        assert_eq!(queue.take(Some(Duration::ZERO)), None);
        assert_eq!(queue.take(None), Some(hash(0)));
        assert_eq!(queue.take(None), Some(hash(1)));
    }

    #[test]
    fn new_ones_and_old_ones_take_turns_and_the_newest_comes_first() {
        let mut queue = Queue::new();
        queue.read(rows(3, None));
        queue.add(hash(100));
        queue.add(hash(101));
        let order: Vec<_> = (0..5).map(|_| queue.take(None)).collect();
        assert_eq!(order, [101, 0, 100, 1, 2].map(|number| Some(hash(number))));
    }

    #[test]
    fn old_ones_are_looked_for_ever_more_slowly_and_new_ones_are_not() {
        let mut queue = Queue::new();
        let mut rests = Vec::new();
        for _ in 0..5 {
            // Somebody had to give up a place, so all are gone through once more.
            queue.put_back(hash(0));
            queue.take(None);
            queue.read(rows(1, None));
            let rest = (1..=60).map(Duration::from_secs).find(|waited| queue.take(Some(*waited)).is_some());
            rests.push(rest.unwrap().as_secs());
        }
        assert_eq!(rests, [4, 8, 8, 8, 8]);
        queue.page.push_back(hash(1));
        queue.add(hash(100));
        assert_eq!(queue.take(Some(REST_MIN)), Some(hash(100)));
        assert_eq!(queue.take(Some(REST_MIN)), None);
        queue.hurry();
        assert_eq!(queue.take(Some(REST_MIN)), Some(hash(1)));
    }

    #[test]
    fn more_new_ones_than_are_kept_in_mind_are_found_in_the_index() {
        let mut queue = Queue::new();
        drain(&mut queue, 0);
        let count = 5_000;
        for number in 0..count {
            queue.add(hash(number));
        }
        assert_eq!(queue.new.len(), NEW_COUNT_MAX);
        let mut all = drain(&mut queue, count);
        assert_eq!(all[0], hash(count - 1));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count as usize);
    }
}
