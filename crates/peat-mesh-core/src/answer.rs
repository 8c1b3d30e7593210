//! Reading documents in order to send them: what a peer lacks, given what it has.
//!
//! This runs beside the writer, on committed state only, so that a change never leaves before it is on
//! disk here. A document of which the peer has nothing is shipped as the stored chunks, without loading
//! a CRDT.

use bytes::{Bytes, BytesMut};

use crate::document::{ActorId, Document, DocumentError};
use crate::heads::{ChangeHash, Heads};
use crate::id::DocId;
use crate::limits;
use crate::store::{Store, StoreError};
use crate::wire::{Want, WantStage};

/// A document to send, and what the peer has of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The peer has nothing.
    Whole(DocId),
    /// The peer asked.
    Want(Want),
    /// A part of it was sent: what does not come before these hashes is to follow.
    Rest {
        /// Which document.
        doc: DocId,
        /// The newest changes that the peer had or was sent.
        have: Vec<ChangeHash>,
    },
    /// The peer asks whether these heads are here on disk. Not mixed with the others.
    Holds {
        /// The number of its question.
        id: u64,
        /// Which document.
        doc: DocId,
        /// Which heads.
        heads: Heads,
    },
}

impl Request {
    /// Which document.
    #[must_use]
    pub fn doc(&self) -> &DocId {
        match self {
            Self::Whole(doc) => doc,
            Self::Want(want) => &want.doc,
            Self::Holds { doc, .. } => doc,
            Self::Rest { doc, .. } => doc,
        }
    }

    /// What it takes beside its place in a queue, in bytes. The name of a document that is here is shared.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Whole(_) => 0,
            Self::Want(want) => {
                want.doc.as_str().len() + 32 * (want.heads.as_slice().len() + want.have.len())
            }
            Self::Rest { have, .. } => 32 * have.len(),
            Self::Holds { heads, .. } => 32 * heads.as_slice().len(),
        }
    }
}

/// What came of some requests.
#[derive(Debug, Default)]
pub struct Answer {
    /// Changes to send, in this order.
    pub changes: Vec<(DocId, Bytes)>,
    /// What this node asks back.
    pub wants: Vec<Want>,
    /// Whether what a question of the peer names is here, by the number of the question.
    pub held: Vec<(u64, bool)>,
    /// Requests not looked at because the answer was large enough, and what is left of a document that was begun.
    pub rest: Vec<Request>,
    /// Whether it goes on with a document that was begun.
    pub is_begun: bool,
    /// Documents that could not be read, with the reason.
    pub failed: Vec<(DocId, AnswerError)>,
}

/// Why a document could not be read in order to send it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is stored does not load.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A single change is larger than a frame.
    #[error("a single change of {bytes} bytes does not fit a frame of {bytes_max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
}

/// Answers requests until about [`limits::CHANGES_FRAME_BYTES_TARGET`] bytes are together.
#[must_use]
pub fn answer(store: &dyn Store, requests: Vec<Request>) -> Answer {
    let mut answer = Answer::default();
    let mut bytes = 0;
    for request in requests {
        if bytes >= limits::CHANGES_FRAME_BYTES_TARGET {
            answer.rest.push(request);
            continue;
        }
        let (before, left) = (answer.changes.len(), answer.rest.len());
        let done = match &request {
            Request::Whole(doc) => whole(store, doc, &mut answer),
            Request::Want(want) => missing(store, want, &mut answer),
            Request::Rest { doc, have } => {
                answer.is_begun = true;
                store.chunks(doc).map_err(AnswerError::from).and_then(|chunks| {
                    push(doc, &load(&chunks)?, have, limits::LARGE_ANSWER_BYTES_TARGET, &mut answer)
                })
            }
            Request::Holds { id, doc, heads } => {
                let held = holds(store, doc, heads);
                answer.held.push((*id, *held.as_ref().unwrap_or(&false)));
                held.map(|_| ())
            }
        };
        if let Err(problem) = done {
            answer.changes.truncate(before);
            answer.rest.truncate(left);
            answer.failed.push((request.doc().clone(), problem));
        }
        bytes += answer.changes[before..].iter().map(|(_, piece)| piece.len()).sum::<usize>();
    }
    answer
}

fn whole(store: &dyn Store, doc: &DocId, answer: &mut Answer) -> Result<(), AnswerError> {
    let mut chunks = store.chunks(doc)?;
    let bytes: usize = chunks.iter().map(Bytes::len).sum();
    if bytes > limits::CHANGES_FRAME_BYTES_TARGET {
        return push(doc, &load(&chunks)?, &[], limits::CHANGES_FRAME_BYTES_TARGET, answer);
    }
    let together = match chunks.len() {
        0 => return Ok(()),
        1 => chunks.swap_remove(0),
        _ => {
            let mut together = BytesMut::with_capacity(bytes);
            chunks.iter().for_each(|chunk| together.extend_from_slice(chunk));
            together.freeze()
        }
    };
    answer.changes.push((doc.clone(), together));
    Ok(())
}

fn missing(store: &dyn Store, want: &Want, answer: &mut Answer) -> Result<(), AnswerError> {
    if want.heads.is_empty() {
        return whole(store, &want.doc, answer);
    }
    let chunks = store.chunks(&want.doc)?;
    if chunks.is_empty() {
        return Ok(());
    }
    let document = load(&chunks)?;
    let theirs = want.heads.as_slice();
    // A full list may not be all of them.
    let knows_all_theirs =
        theirs.len() < limits::HEADS_COUNT_MAX && theirs.iter().all(|hash| document.knows(hash));
    if knows_all_theirs || want.stage != WantStage::Heads {
        let mut have: Vec<ChangeHash> = theirs.to_vec();
        have.extend(&want.have);
        have.retain(|hash| document.knows(hash));
        push(&want.doc, &document, &have, limits::CHANGES_FRAME_BYTES_TARGET, answer)?;
    }
    let ask_back = match want.stage {
        WantStage::Heads => Some(WantStage::Have),
        WantStage::Have => Some(WantStage::Last),
        WantStage::Last => None,
    };
    if let (false, Some(stage)) = (knows_all_theirs, ask_back) {
        let heads = first_heads(&document.heads());
        answer.wants.push(Want { doc: want.doc.clone(), stage, heads, have: document.have() });
    }
    Ok(())
}

/// Whether the store has these heads, as its own or in the past of its own.
fn holds(store: &dyn Store, doc: &DocId, heads: &Heads) -> Result<bool, AnswerError> {
    let Some(record) = store.record(doc)? else { return Ok(false) };
    if heads.are_among(&record.heads) {
        return Ok(true);
    }
    let document = load(&store.chunks(doc)?)?;
    Ok(heads.as_slice().iter().all(|hash| document.knows(hash)))
}

/// As many heads as a frame may name.
pub(crate) fn first_heads(heads: &Heads) -> Heads {
    if heads.as_slice().len() <= limits::HEADS_COUNT_MAX {
        return heads.clone();
    }
    Heads::new(heads.as_slice()[..limits::HEADS_COUNT_MAX].to_vec())
}

/// Adds the changes that follow on `have`, up to about `bytes_target`, and notes what is left of them.
fn push(
    doc: &DocId,
    document: &Document,
    have: &[ChangeHash],
    bytes_target: usize,
    answer: &mut Answer,
) -> Result<(), AnswerError> {
    let (pieces, have) = document.next_changes(have, limits::CHANGES_FRAME_BYTES_TARGET, bytes_target);
    // Room for the frame's own fields beside the piece.
    let bytes_max = limits::FRAME_BYTES_MAX - 64 * 1024;
    for piece in pieces {
        if piece.len() > bytes_max {
            return Err(AnswerError::TooLarge { bytes: piece.len(), bytes_max });
        }
        answer.changes.push((doc.clone(), piece));
    }
    answer.rest.extend(have.map(|have| Request::Rest { doc: doc.clone(), have }));
    Ok(())
}

fn load(chunks: &[Bytes]) -> Result<Document, DocumentError> {
    // Nothing is written to this copy, so the actor is never used.
    Document::load(chunks.iter().map(|chunk| &chunk[..]), &ActorId::from([0; 16]))
}

#[cfg(test)]
mod large_tests;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::replica::{Job, Replica, Source, Work};
    use crate::store::MemoryStore;

    #[test]
    fn a_peer_with_more_heads_than_a_frame_names_is_asked_for_the_rest() {
        let doc: DocId = "c/x".parse().unwrap();
        let edits = (0..=limits::HEADS_COUNT_MAX as u16).map(|number| {
            let [high, low] = number.to_be_bytes();
            let mut document = Document::new(&ActorId::from([1, high, low]));
            document.put(json!({ "by": number }).as_object().unwrap(), 0).unwrap().unwrap()
        });
        let jobs: Vec<Job> = edits
            .map(|edit| Job { doc: doc.clone(), work: Work::Merge(edit), source: Source::Client })
            .collect();
        let stores = [MemoryStore::default(), MemoryStore::default()];
        for (store, count) in stores.iter().zip([jobs.len() - 1, jobs.len()]) {
            let mut replica = Replica::new(store, [9; 16]).unwrap();
            let outcomes = replica.run(store, jobs[..count].to_vec(), 0);
            assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()));
        }
        let heads = first_heads(&stores[1].record(&doc).unwrap().unwrap().heads);
        let want = Want { doc: doc.clone(), stage: WantStage::Heads, heads, have: Vec::new() };
        let back = answer(&stores[0], vec![Request::Want(want)]);
        assert_eq!(back.wants.len(), 1, "it may have more than it could name");
        let sent = answer(&stores[1], vec![Request::Want(back.wants[0].clone())]);
        let mut behind = Document::load(
            stores[0].chunks(&doc).unwrap().iter().map(|chunk| &chunk[..]),
            &ActorId::from([8]),
        )
        .unwrap();
        for (_, chunks) in sent.changes {
            behind.merge(&chunks).unwrap();
        }
        assert_eq!(behind.heads(), stores[1].record(&doc).unwrap().unwrap().heads);
    }
}
