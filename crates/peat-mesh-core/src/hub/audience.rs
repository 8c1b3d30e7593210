//! Who gets a change that was just committed here.

use std::collections::HashSet;

use bytes::Bytes;

use super::Hub;
use super::link::Link;
use crate::id::{ConnId, DocId, NodeTag};
use crate::io::Effect;
use crate::limits;
use crate::replica::{Outcome, Source};
use crate::wire::{Changes, Frame};

impl Hub {
    /// Notes what the disk has, and gives it to those who lack it.
    pub(super) fn committed(&mut self, now_ms: u64, outcomes: Vec<Outcome>) {
        let mut pushes: Vec<(Source, Vec<(DocId, Bytes)>)> = Vec::new();
        let (is_asked, mut touched) = (self.is_asked(), HashSet::new());
        for Outcome { doc, source, result } in outcomes {
            if let Source::Peer { conn, name, repair, audience } = &source {
                // A neighbour of the overlay passes on what it has not read.
                let is_passed_on = audience.contains(&NodeTag::OVERLAY);
                self.judge(now_ms, *conn, name, (&doc, &result), is_passed_on);
                self.merged(*conn, name, *repair, (&doc, &result));
            }
            let Ok(written) = result else { continue };
            if written.seq.is_none() {
                continue;
            }
            if is_asked {
                touched.insert(doc.clone());
            }
            self.scopes.set(&doc, &written.heads);
            self.catalog.set(doc.clone(), written.heads);
            match pushes.last_mut() {
                Some((last, documents)) if *last == source => documents.push((doc, written.new)),
                _ => pushes.push((source, vec![(doc, written.new)])),
            }
        }
        if !pushes.is_empty() {
            self.links.values_mut().for_each(Link::moved);
        }
        for (source, documents) in pushes {
            self.push(now_ms, &source, documents);
        }
        if is_asked {
            self.questions_after_commit(&touched);
        }
    }

    /// Sends fresh changes to the connected peers that do not have them.
    pub(super) fn push(&mut self, now_ms: u64, source: &Source, documents: Vec<(DocId, Bytes)>) {
        let (origin, audience, repair): (_, &[NodeTag], _) = match source {
            Source::Client => (None, &[], false),
            Source::Peer { conn, audience, repair, .. } => (Some(*conn), audience, *repair),
        };
        let is_large = self.peers.keeps_neighbours();
        // `apart` are links that the overlay does not use: what comes over them is news to the nodes behind.
        let (mut targets, mut apart) = (Vec::<(ConnId, NodeTag)>::new(), Vec::new());
        for (conn, link) in &self.links {
            let tag = link.peer.tag();
            // Where the overlay's messages pass, it brings the update.
            let is_served = !repair && is_large && link.gossips;
            if Some(*conn) != origin && !audience.contains(&tag) && !is_served {
                if link.is_scoped() || is_large && link.is_kept {
                    apart.push(*conn);
                } else {
                    targets.push((*conn, tag));
                }
            }
        }
        if repair {
            // Others may be getting the same from elsewhere: compare with them instead of sending it all.
            for conn in targets.into_iter().map(|(conn, _)| conn).chain(apart) {
                if let Some(link) = self.links.get_mut(&conn) {
                    link.nudge(now_ms);
                }
            }
            return;
        }
        let mut told = audience.to_vec();
        if is_large && !told.contains(&NodeTag::OVERLAY) {
            // The same bytes from whoever brings it in, so that the overlay knows it again.
            for frame in pack(documents.clone(), false, &[NodeTag::OVERLAY]) {
                self.effects.push(Effect::Broadcast { frame: frame.encode() });
            }
            told.insert(0, NodeTag::OVERLAY);
        }
        told.push(self.me.tag());
        told.extend(targets.iter().map(|(_, tag)| *tag));
        told.truncate(limits::AUDIENCE_COUNT_MAX);
        // What may not cross a scoped link may reach that peer by another way, so nobody is told that it has it.
        let told_apart: Vec<NodeTag> = told.iter().copied().filter(|tag| *tag != NodeTag::OVERLAY).collect();
        for conn in apart {
            let Some(link) = self.links.get(&conn) else { continue };
            let part: Vec<_> =
                documents.iter().filter(|(doc, _)| link.crossing.may_send(doc)).cloned().collect();
            self.give(&[conn], pack(part, false, &told_apart));
        }
        if !targets.is_empty() {
            let targets: Vec<ConnId> = targets.into_iter().map(|(conn, _)| conn).collect();
            self.give(&targets, pack(documents, false, &told));
        }
    }

    /// Sends frames to those whose windows have room.
    fn give(&mut self, targets: &[ConnId], frames: Vec<Frame>) {
        for frame in frames {
            let bytes = frame.encode();
            for conn in targets {
                let Some(link) = self.links.get_mut(conn) else {
                    continue;
                };
                let is_full =
                    link.unsent_bytes + bytes.len() > limits::SEND_WINDOW_BYTES && link.unsent_bytes > 0;
                // Once something was left out, answers to what is asked for come first.
                if link.skipped || is_full {
                    link.skipped = true;
                } else {
                    link.said(self.leaving.now_ms, &frame);
                    self.send(*conn, bytes.clone());
                }
            }
        }
    }
}

/// Packs changes into frames of a reasonable size.
pub(super) fn pack(documents: Vec<(DocId, Bytes)>, repair: bool, audience: &[NodeTag]) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut batch = Vec::new();
    let mut bytes = 0;
    for (doc, chunks) in documents {
        let full = bytes + chunks.len() > limits::CHANGES_FRAME_BYTES_TARGET
            || batch.len() == limits::CHANGES_PER_FRAME_MAX;
        if full && !batch.is_empty() {
            frames.push(std::mem::take(&mut batch));
            bytes = 0;
        }
        bytes += chunks.len();
        batch.push((doc, chunks));
    }
    if !batch.is_empty() {
        frames.push(batch);
    }
    frames
        .into_iter()
        .map(|documents| Frame::Changes(Changes { repair, audience: audience.to_vec(), documents }))
        .collect()
}
