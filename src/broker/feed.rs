//! Document changes in order, from any point on, for readers of any speed.
//!
//! In: a point to start after, and a filter. Out: every change after it, once, in the order of its
//! sequence numbers. What lies in the past is read from the store's change index page by page; then the
//! live broadcast takes over. A reader that is too slow for the broadcast is told so and goes back to
//! the index, which has the newest change of each document. So memory is bounded by one page and the
//! broadcast's own ring, whatever the reader does.
//!
//! The hand-over: each page is read *after* subscribing. A change is broadcast after it is on disk, so
//! one that is missing in the page comes by broadcast, and one that comes both ways is known by its
//! sequence number.

use std::collections::VecDeque;

use peat_mesh_core::store::Change;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::params::Watch;
use crate::handle::{Handle, RequestError};

/// Changes read from the index at a time.
const PAGE_CHANGES_COUNT: usize = 256;

/// What a feed gives out.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A change that passes the filter.
    Change(Change),
    /// Changes that are newer than `since` may have been folded into later ones of the same document.
    Resync { since: u64 },
}

/// A reader's place in the changes of a node.
#[derive(Debug)]
pub(super) struct Feed {
    handle: Handle,
    collection: Option<String>,
    live: broadcast::Receiver<Change>,
    /// Everything up to this sequence number was given out or did not pass the filter.
    at: u64,
    page: VecDeque<Change>,
    /// Whether the index may have more than what was read of it.
    behind: bool,
    /// A resync that is to be told first.
    told: Option<u64>,
}

impl Feed {
    /// Starts after `watch.since`, or with what happens from now on.
    pub(super) fn open(handle: Handle, watch: Watch) -> Result<Self, RequestError> {
        let live = handle.changes();
        let last = handle.last_seq()?;
        let (at, behind, told) = match watch.since {
            None => (last, false, None),
            // The reader was served by another store, so its number says nothing here.
            Some(since) if since > last => (0, true, Some(0)),
            Some(since) => (since, since < last, None),
        };
        let collection = watch.collection;
        let page = VecDeque::new();
        Ok(Self { handle, collection, live, at, page, behind, told })
    }

    /// The sequence number to resume after.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// The next item; `None` when the node stops. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Result<Option<Item>, RequestError> {
        let stopping = self.handle.stopping().clone();
        loop {
            if stopping.is_cancelled() {
                return Ok(None);
            }
            if let Some(item) = self.ready() {
                return Ok(Some(item));
            }
            if self.behind {
                tokio::select! {
                    biased;
                    () = stopping.cancelled() => return Ok(None),
                    read = self.read_page() => read?,
                }
                continue;
            }
            let received = tokio::select! {
                biased;
                () = stopping.cancelled() => return Ok(None),
                received = self.live.recv() => received,
            };
            let item = match received {
                Ok(change) => self.pass(change),
                Err(RecvError::Lagged(_)) => Some(self.fall_behind()),
                Err(RecvError::Closed) => return Ok(None),
            };
            if item.is_some() {
                return Ok(item);
            }
        }
    }

    /// The next item if it is there without waiting.
    pub(super) fn ready(&mut self) -> Option<Item> {
        if let Some(since) = self.told.take() {
            return Some(Item::Resync { since });
        }
        while let Some(change) = self.page.pop_front() {
            if let Some(item) = self.pass(change) {
                return Some(item);
            }
        }
        while !self.behind {
            let item = match self.live.try_recv() {
                Ok(change) => self.pass(change),
                Err(TryRecvError::Lagged(_)) => Some(self.fall_behind()),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return None,
            };
            if item.is_some() {
                return item;
            }
        }
        None
    }

    /// Reads on in the index, to be continued by what is broadcast from before the reading on.
    async fn read_page(&mut self) -> Result<(), RequestError> {
        self.live = self.live.resubscribe();
        let page = self.handle.changes_since(self.at, PAGE_CHANGES_COUNT).await?;
        self.behind = page.len() == PAGE_CHANGES_COUNT;
        self.page = page.into();
        Ok(())
    }

    fn fall_behind(&mut self) -> Item {
        self.behind = true;
        Item::Resync { since: self.at }
    }

    fn pass(&mut self, change: Change) -> Option<Item> {
        if change.seq <= self.at {
            return None;
        }
        self.at = change.seq;
        let collection = self.collection.as_deref();
        collection.is_none_or(|wanted| wanted == change.doc.collection()).then_some(Item::Change(change))
    }
}
