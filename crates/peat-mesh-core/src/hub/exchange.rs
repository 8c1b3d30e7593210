//! Answers to a peer, and what became of its changes.

use super::{Hub, audience, reconcile};
use crate::answer::{Answer, Request, first_heads};
use crate::id::{ConnId, DocId, NodeName};
use crate::io::Effect;
use crate::limits;
use crate::replica::{WriteError, Written};
use crate::wire::Frame;

impl Hub {
    pub(super) fn reply(&mut self, now_ms: u64, conn: ConnId, reply: reconcile::Reply) {
        let Some(link) = self.links.get_mut(&conn) else {
            return;
        };
        if link.unsent_bytes > limits::SEND_WINDOW_BYTES {
            // The peer does not read: the next probe finds what is dropped here.
            return;
        }
        if reply.moves() {
            link.touch(now_ms);
        }
        let mut whole: Vec<_> = reply.whole.into_iter().filter(|doc| link.crossing.may_send(doc)).collect();
        // In the order of their ids they fill the peer's store from one end.
        whole.sort_unstable();
        for doc in whole {
            if !self.unsendable.rests(now_ms, &doc, self.catalog.heads(&doc)) {
                link.ask(Request::Whole(doc));
            }
        }
        let mut frames = reply.frames;
        let catalog = self.scopes.catalog(&self.catalog, &link.crossing);
        self.quarantine.claim(now_ms, &link.name, catalog, &mut frames);
        for frame in &frames {
            self.say(conn, frame);
        }
        self.pump(conn);
    }

    /// Gives a peer more of what was read for it, and reads more, while its window is open.
    pub(super) fn pump(&mut self, conn: ConnId) {
        while let Some(link) = self.links.get_mut(&conn)
            && let Some(frame) = link.held.next(link.unsent_bytes)
        {
            self.send(conn, frame);
        }
        let Some(link) = self.links.get_mut(&conn) else {
            return;
        };
        while let Some(requests) = link.next_requests() {
            self.effects.push(Effect::Answer { conn, requests });
        }
    }

    pub(super) fn answered(&mut self, now_ms: u64, conn: ConnId, answer: Answer) {
        if !answer.held.is_empty() {
            return self.questions_read(conn, &answer.held);
        }
        let Some(link) = self.links.get_mut(&conn) else {
            return;
        };
        let bytes = answer.changes.iter().map(|(_, chunks)| chunks.len()).sum();
        link.answered(now_ms, answer.rest, answer.is_begun, bytes);
        let (mut changes, mut wants) = (answer.changes, answer.wants);
        // The bounds may have come while the documents were read.
        changes.retain(|(doc, _)| link.crossing.may_send(doc));
        let mut frames = audience::pack(changes, true, &[]);
        wants.retain(|want| link.crossing.may_receive(&want.doc));
        frames.extend(reconcile::wants(wants));
        for frame in &frames {
            link.said(now_ms, frame);
            link.held.push(frame.encode());
        }
        self.unsendable(now_ms, conn, answer.failed);
        self.pump(conn);
    }

    /// What a job that came from a peer means for its connection.
    pub(super) fn merged(
        &mut self,
        conn: ConnId,
        from: &NodeName,
        repair: bool,
        (doc, result): (&DocId, &Result<Written, WriteError>),
    ) {
        if let Some(inbound) = self.inbound.get_mut(from) {
            inbound.merged += 1;
        }
        let Some(link) = self.links.get_mut(&conn) else {
            self.forget_inbound(from);
            return;
        };
        if repair && result.as_ref().is_ok_and(|written| written.seq.is_some()) {
            link.repaired();
        }
        match result {
            Ok(written) if written.missing => {
                let heads = first_heads(&written.heads);
                let want = link.crossing.want(doc.clone(), heads);
                self.say(conn, &Frame::Want(vec![want]));
            }
            Ok(_) => {}
            // A refusal is dealt with above. Nothing the peer could do about the rest; the next reconciliation
            // tries again.
            Err(_) => {}
        }
    }

    /// Drops the counts of a peer that is gone when nothing of it is on its way to the disk.
    pub(super) fn forget_inbound(&mut self, name: &NodeName) {
        let is_linked = self.links.values().any(|link| link.name == *name);
        if !is_linked && self.inbound.get(name).is_some_and(|inbound| inbound.is_idle()) {
            self.inbound.remove(name);
        }
    }
}
