//! Which documents differ: answers to a peer's fingerprints, computed from the catalog alone.
//!
//! Nothing is remembered between two frames of a reconciliation. Each answer only splits or lists
//! ranges that the peer named, so it ends after at most 32 steps, and a lost frame costs nothing but
//! the time until the next probe.

use std::collections::HashMap;

use crate::answer::first_heads;
use crate::catalog::{Catalog, Position, Prefix, Summary};
use crate::id::DocId;
use crate::limits;
use crate::wire::{Frame, RangeGroup, RangeItems, WINDOWS, Want, WantStage};

/// What to do about a difference.
#[derive(Debug, Default)]
pub(super) struct Reply {
    /// Frames to send, in order.
    pub(super) frames: Vec<Frame>,
    /// Documents of which the peer has nothing.
    pub(super) whole: Vec<DocId>,
}

impl Reply {
    pub(super) fn frame(frame: Frame) -> Self {
        Self { frames: vec![frame], whole: Vec::new() }
    }

    /// Whether it is about a difference (and not "all is equal", or the question).
    pub(super) fn moves(&self) -> bool {
        !self.whole.is_empty()
            || self.frames.iter().any(|frame| !matches!(frame, Frame::InStep { .. } | Frame::Probe { .. }))
    }
}

struct Difference {
    /// Of the fingerprints in the answer.
    window: u8,
    groups: Vec<RangeGroup>,
    items: Vec<RangeItems>,
    whole: Vec<DocId>,
}

impl Difference {
    fn new(window: u8) -> Self {
        Self { window, groups: Vec::new(), items: Vec::new(), whole: Vec::new() }
    }

    /// Says what is here in a range that differs.
    fn tell(&mut self, catalog: &Catalog, range: Prefix, mine: Summary, is_theirs_empty: bool) {
        if is_theirs_empty {
            catalog.for_each(range, &mut |_, entry| self.whole.push(entry.doc.clone()));
        } else if mine.count <= limits::RANGE_ITEMS_MAX as u64 || range.depth() == Prefix::DEPTH_MAX {
            let mut items = Vec::with_capacity(mine.count as usize);
            catalog.for_each(range, &mut |position, entry| items.push((position, entry.digest(position))));
            self.items.push(RangeItems { prefix: range, items });
        } else {
            let window = self.window;
            let parts = std::array::from_fn(|number| catalog.summary(range.part(number)).through(window));
            self.groups.push(RangeGroup { prefix: range, window, parts });
        }
    }

    fn into_reply(self) -> Reply {
        let mut frames: Vec<Frame> =
            chunked(self.groups, limits::RANGES_PER_FRAME_MAX).map(Frame::Ranges).collect();
        frames.extend(chunked(self.items, limits::RANGES_PER_FRAME_MAX).map(Frame::Items));
        Reply { frames, whole: self.whole }
    }
}

/// The answer to a probe.
pub(super) fn compare_all(catalog: &Catalog, round: u32, theirs: Summary) -> Reply {
    let mine = catalog.summary(Prefix::ALL);
    if mine == theirs {
        return Reply::frame(Frame::InStep { round });
    }
    let mut difference = Difference::new((round % u32::from(WINDOWS)) as u8);
    difference.tell(catalog, Prefix::ALL, mine, theirs.count == 0);
    difference.into_reply()
}

/// The answer to fingerprints of split ranges.
pub(super) fn compare_groups(catalog: &Catalog, groups: &[RangeGroup]) -> Reply {
    let mut difference = Difference::new(groups.first().map_or(0, |group| group.window));
    for group in groups {
        for (number, theirs) in group.parts.iter().enumerate() {
            let range = group.prefix.part(number);
            let mine = catalog.summary(range);
            if mine.through(group.window) != *theirs {
                difference.tell(catalog, range, mine, theirs.is_none());
            }
        }
    }
    difference.into_reply()
}

/// The answer to full lists of ranges.
pub(super) fn compare_items(catalog: &Catalog, ranges: &[RangeItems]) -> Reply {
    let mut asks = Vec::new();
    let mut fetches = Vec::new();
    let mut whole = Vec::new();
    for range in ranges {
        let theirs: HashMap<_, _> = range.items.iter().map(|(at, digest)| (*at, *digest)).collect();
        catalog.for_each(range.prefix, &mut |position, entry| match theirs.get(&position) {
            None => whole.push(entry.doc.clone()),
            Some(digest) if *digest == entry.digest(position) => {}
            Some(_) => asks.push(Want {
                doc: entry.doc.clone(),
                stage: WantStage::Heads,
                heads: first_heads(&entry.heads),
                have: Vec::new(),
            }),
        });
        fetches.extend(range.items.iter().map(|(at, _)| *at).filter(|at| catalog.at(*at).is_none()));
    }
    let mut frames = wants(asks);
    frames.extend(chunked(fetches, limits::ITEMS_PER_FRAME_MAX).map(Frame::Fetch));
    Reply { frames, whole }
}

/// The answer to a request for documents of which the peer has nothing.
pub(super) fn fetch(catalog: &Catalog, positions: &[Position]) -> Reply {
    let whole = positions.iter().filter_map(|at| catalog.at(*at)).map(|entry| entry.doc.clone()).collect();
    Reply { frames: Vec::new(), whole }
}

/// Requests in frames of a bounded size.
pub(super) fn wants(wants: Vec<Want>) -> Vec<Frame> {
    chunked(wants, limits::ITEMS_PER_FRAME_MAX / 4).map(Frame::Want).collect()
}

fn chunked<T>(mut items: Vec<T>, size: usize) -> impl Iterator<Item = Vec<T>> {
    std::iter::from_fn(move || {
        if items.is_empty() {
            return None;
        }
        let rest = items.split_off(size.min(items.len()));
        Some(std::mem::replace(&mut items, rest))
    })
}
