//! What one peer is still to be sent by comparing: documents to be read, and frames that were made of them.
//!
//! Both are bounded. A request that finds the queue full is left to the next comparison. Documents larger than an
//! answer have a lane of their own: one of them at a time is read, piece by piece, and they get as many bytes as all the others. What
//! was read is given to the connection a little at a time, so that a fresh change does not wait behind it.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use crate::answer::Request;
use crate::id::DocId;
use crate::limits;

/// Documents to be sent, each once, in the order in which they were asked for.
#[derive(Debug, Default)]
pub(super) struct Queue {
    order: VecDeque<DocId>,
    /// Those of which a part was sent.
    begun: VecDeque<DocId>,
    requests: HashMap<DocId, Request>,
    /// What the requests take beside their place, in bytes.
    bytes: usize,
    /// The begun document that is being read.
    reading: Option<DocId>,
    /// How many bytes more begun documents were given lately than the others.
    ahead_bytes: usize,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// Takes a request in, unless there is no room.
    pub(super) fn push(&mut self, request: Request) {
        let doc = request.doc();
        if self.reading.as_ref() == Some(doc) {
            return;
        }
        match self.requests.get(doc) {
            // All of it is more than any part, and what was begun goes on from where it is.
            Some(Request::Whole(_) | Request::Rest { .. }) => {}
            Some(_) => _ = self.insert(request, false),
            None => {
                let doc = doc.clone();
                if self.insert(request, false) {
                    self.order.push_back(doc);
                }
            }
        }
    }

    /// Returns whether there was room.
    fn insert(&mut self, request: Request, is_forced: bool) -> bool {
        let old = self.requests.get(request.doc()).map_or(0, Request::bytes);
        let bytes = self.bytes - old + request.bytes();
        let is_full =
            self.requests.len() >= limits::QUEUE_DOCUMENTS_COUNT_MAX || bytes > limits::QUEUE_BYTES_MAX;
        if is_full && !is_forced {
            return false;
        }
        self.bytes = bytes;
        self.requests.insert(request.doc().clone(), request);
        true
    }

    /// Takes back what an answer of this size did not come to. `is_begun` when it was about a begun document.
    pub(super) fn put_back(&mut self, requests: Vec<Request>, is_begun: bool, bytes: usize) {
        if is_begun {
            self.reading = None;
            self.ahead_bytes += bytes;
        } else {
            self.ahead_bytes = self.ahead_bytes.saturating_sub(bytes);
        }
        for request in requests.into_iter().rev() {
            let doc = request.doc().clone();
            let is_rest = matches!(request, Request::Rest { .. });
            match self.requests.get(&doc) {
                None => {
                    self.insert(request, true);
                    if is_rest { self.begun.push_back(doc) } else { self.order.push_front(doc) }
                }
                // It was asked for again in the meantime: the peer has been sent this much of it.
                Some(_) if is_rest => {
                    self.insert(request, true);
                    self.order.retain(|other| *other != doc);
                    self.begun.push_back(doc);
                }
                Some(_) => {}
            }
        }
    }

    /// The next documents to read, in one go.
    pub(super) fn take(&mut self) -> Vec<Request> {
        let may_begin = self.reading.is_none() && !self.begun.is_empty();
        let is_begun = may_begin && (self.ahead_bytes == 0 || self.order.is_empty());
        let docs: Vec<DocId> = if is_begun {
            self.begun.pop_front().into_iter().collect()
        } else {
            let count = limits::ANSWER_BATCH_DOCUMENTS_MAX.min(self.order.len());
            self.order.drain(..count).collect()
        };
        if is_begun {
            self.reading = docs.first().cloned();
        }
        let requests: Vec<Request> = docs.iter().filter_map(|doc| self.requests.remove(doc)).collect();
        self.bytes -= requests.iter().map(Request::bytes).sum::<usize>();
        requests
    }

    /// Whether [`Queue::take`] would give anything now.
    pub(super) fn is_ready(&self) -> bool {
        !self.order.is_empty() || self.reading.is_none() && !self.begun.is_empty()
    }

    /// Nothing is being read any more, whatever became of it.
    pub(super) fn nothing_is_read(&mut self) {
        self.reading = None;
    }
}

/// Frames that wait until the connection has little else to send.
#[derive(Debug, Default)]
pub(super) struct Held {
    frames: VecDeque<Bytes>,
    pub(super) bytes: usize,
}

impl Held {
    pub(super) fn push(&mut self, frame: Bytes) {
        self.bytes += limits::frame_cost_bytes(frame.len());
        self.frames.push_back(frame);
    }

    /// The next frame, when no more than this is unsent.
    pub(super) fn next(&mut self, unsent_bytes: usize) -> Option<Bytes> {
        if unsent_bytes >= limits::REPAIR_WINDOW_BYTES {
            return None;
        }
        let frame = self.frames.pop_front()?;
        self.bytes -= limits::frame_cost_bytes(frame.len());
        Some(frame)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heads::{ChangeHash, Heads};
    use crate::wire::{Want, WantStage};

    fn doc(number: usize) -> DocId {
        format!("d/{number}").parse().unwrap()
    }

    fn want(number: usize, hashes: usize) -> Request {
        let heads = Heads::new((0..hashes).map(|n| ChangeHash([n as u8; 32])).collect());
        Request::Want(Want { doc: doc(number), stage: WantStage::Heads, heads, have: Vec::new() })
    }

    #[test]
    fn a_full_queue_takes_no_more_and_what_was_taken_off_makes_room() {
        let mut queue = Queue::default();
        for number in 0..limits::QUEUE_DOCUMENTS_COUNT_MAX + 10 {
            queue.push(Request::Whole(doc(number)));
        }
        assert_eq!(queue.len(), limits::QUEUE_DOCUMENTS_COUNT_MAX);
        assert_eq!(queue.take().len(), limits::ANSWER_BATCH_DOCUMENTS_MAX);
        queue.push(Request::Whole(doc(usize::MAX)));
        assert_eq!(queue.len(), limits::QUEUE_DOCUMENTS_COUNT_MAX - limits::ANSWER_BATCH_DOCUMENTS_MAX + 1);
    }

    #[test]
    fn what_a_peer_names_in_its_requests_is_bounded_in_bytes() {
        let mut queue = Queue::default();
        for number in 0..10_000 {
            queue.push(want(number, 256));
        }
        assert!(queue.bytes <= limits::QUEUE_BYTES_MAX && queue.bytes > limits::QUEUE_BYTES_MAX / 2);
        // The same document again takes the place of the old request.
        let before = queue.bytes;
        (0..1_000).for_each(|_| queue.push(want(0, 256)));
        assert_eq!(queue.bytes, before);
        while queue.is_ready() {
            queue.take();
        }
        assert_eq!((queue.bytes, queue.len()), (0, 0));
    }

    #[test]
    fn begun_documents_get_as_many_bytes_as_the_others_and_one_is_read_at_a_time() {
        let mut queue = Queue::default();
        let count = 3 * limits::ANSWER_BATCH_DOCUMENTS_MAX + 100;
        (0..count).for_each(|number| queue.push(Request::Whole(doc(number))));
        let rest = |number| Request::Rest { doc: doc(number), have: Vec::new() };
        let is_rest = |requests: &[Request]| matches!(requests, [Request::Rest { .. }]);
        queue.put_back(vec![rest(count), rest(count + 1)], false, 0);
        let begun = queue.take();
        assert!(is_rest(&begun), "{begun:?}");
        assert_eq!(queue.take().len(), limits::ANSWER_BATCH_DOCUMENTS_MAX, "the other one has to wait");
        // Asked for again while it is read: it goes on from where it is.
        queue.push(Request::Whole(begun[0].doc().clone()));
        queue.put_back(begun, true, 1_000);
        assert_eq!(queue.take().len(), limits::ANSWER_BATCH_DOCUMENTS_MAX);
        queue.put_back(Vec::new(), false, 600);
        assert_eq!(queue.take().len(), limits::ANSWER_BATCH_DOCUMENTS_MAX);
        queue.put_back(Vec::new(), false, 600);
        assert!(is_rest(&queue.take()));
        assert_eq!(queue.len(), 100 + 1, "the rest of both kinds");
    }
}
