//! Who has a blob: a question to a connected peer, and its answer, on a protocol of their own.
//!
//! A question may be passed on: a peer that does not have the blob, and finds somebody who does, fetches it and
//! serves what has come. That is how a blob crosses a chain of nodes. Whoever was asked already is named in the
//! question, so that nobody is asked twice.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use iroh::endpoint::{Connection, RecvStream, SendStream};
use peat_mesh_core::EndpointId;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tracing::debug;

use super::fetch::{Interest, Want};
use super::ways::Way;
use super::{Inner, serve};
use crate::handle::{BlobHash, BlobState, Holder};

/// The protocol's name in the TLS handshake.
pub const FIND_ALPN: &[u8] = b"peat/blob-find/1";
/// Nodes that pass a question on, at most.
pub(super) const HOPS_COUNT_MAX: u8 = 4;
/// Nodes that a question names as asked already.
const TRIED_COUNT_MAX: usize = 64;
/// Peers that are asked at once, the nearest first.
const ASKED_COUNT_MAX: usize = 32;
/// How long an answer may take that nobody has to be asked for.
const ANSWER: Duration = Duration::from_millis(1_500);
/// How long somebody who only wants to know waits.
const HOLDERS: Duration = Duration::from_secs(1);
/// How long a question may take to come.
const QUESTION: Duration = Duration::from_secs(5);
/// Questions that are passed on at once; others are answered with no.
pub(super) const PASSED_ON_COUNT_MAX: usize = 8;
/// Questions on one connection that may be open at once. One that is answered with a part that grows is open for as
/// long as the fetch takes, so this is how many blobs a node fetches through another.
pub const QUESTIONS_COUNT_MAX: u32 = 256;
/// The same over all peers; to others this node promises nothing that grows.
pub(super) const PASSING_COUNT_MAX: usize = 1024;

const QUESTION_BYTES_MIN: usize = 34;
const ANSWER_BYTES: usize = 19;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    hash: BlobHash,
    /// How many nodes may pass it on.
    hops: u8,
    tried: BTreeSet<EndpointId>,
}

impl Question {
    fn bytes(&self) -> Vec<u8> {
        let tried = self.tried.iter().take(TRIED_COUNT_MAX);
        let mut bytes = Vec::with_capacity(QUESTION_BYTES_MIN + 32 * tried.len());
        bytes.extend(self.hash.0);
        bytes.extend([self.hops, tried.len() as u8]);
        tried.for_each(|peer| bytes.extend(peer.0));
        bytes
    }
}

/// How much of a blob a peer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Has {
    Nothing,
    /// A part that does not grow.
    Part,
    /// A part that grows.
    Growing,
    Whole,
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) has: Has,
    pub(super) size: Option<u64>,
    have_bytes: u64,
    /// Requests for blobs that it is answering.
    pub(super) busy: u16,
}

impl Answer {
    fn bytes(&self) -> [u8; ANSWER_BYTES] {
        let mut bytes = [0; ANSWER_BYTES];
        bytes[0] = match self.has {
            Has::Nothing => 0,
            Has::Part => 1,
            Has::Growing => 2,
            Has::Whole => 3,
        };
        bytes[1..9].copy_from_slice(&self.size.unwrap_or(u64::MAX).to_be_bytes());
        bytes[9..17].copy_from_slice(&self.have_bytes.to_be_bytes());
        bytes[17..].copy_from_slice(&self.busy.to_be_bytes());
        bytes
    }

    fn read(bytes: &[u8; ANSWER_BYTES]) -> Result<Self, String> {
        let has = match bytes[0] {
            0 => Has::Nothing,
            1 => Has::Part,
            2 => Has::Growing,
            3 => Has::Whole,
            other => return Err(format!("it answered with {other}, which means nothing")),
        };
        let number = |at: usize| bytes[at..at + 8].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let size = Some(number(1)).filter(|size| *size != u64::MAX);
        if has == Has::Whole && size.is_none() {
            return Err("it has the blob without knowing its length".to_owned());
        }
        let busy = u16::from_be_bytes([bytes[17], bytes[18]]);
        Ok(Self { has, size, have_bytes: number(9), busy })
    }
}

/// A peer that has some of a blob. While this is there, the peer goes on fetching it for us.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) way: Way,
    pub(super) answer: Answer,
    _interest: RecvStream,
}

/// A peer's answer; why there is none, in words.
pub(super) type Asked = (EndpointId, Result<Found, String>);

/// A fetch for a peer, and its place among those.
type Promise = (Interest, OwnedSemaphorePermit);

impl Inner {
    /// Asks the nearest connected peers that are not among the `tried` ones, all at once.
    pub(super) fn ask_all(
        self: &Arc<Self>,
        hash: BlobHash,
        hops: u8,
        tried: &BTreeSet<EndpointId>,
    ) -> FuturesUnordered<BoxFuture<'static, Asked>> {
        let mut ways: Vec<Way> =
            self.ways.all().into_iter().filter(|way| !tried.contains(&way.peer)).collect();
        ways.sort_by_key(|way| (way.is_relayed, way.rtt, way.peer));
        ways.truncate(ASKED_COUNT_MAX);
        let mut all = tried.clone();
        if hops > 0 {
            // Those who are asked at the same time are not to ask each other.
            all.extend(ways.iter().map(|way| way.peer));
        }
        let question = Question { hash, hops, tried: all };
        let ask = |way: Way| -> BoxFuture<'static, Asked> {
            let (this, question) = (Arc::clone(self), question.clone());
            Box::pin(async move { (way.peer, this.ask(way, question).await) })
        };
        ways.into_iter().map(ask).collect()
    }

    async fn ask(&self, way: Way, question: Question) -> Result<Found, String> {
        let patience = ANSWER * (1 + 2 * u32::from(question.hops));
        let asking = async {
            let (_connection, mut send, mut recv) = self.ways.stream(way.peer, FIND_ALPN).await?;
            let mut bytes = [0; ANSWER_BYTES];
            send.write_all(&question.bytes()).await.map_err(|problem| problem.to_string())?;
            send.finish().map_err(|problem| problem.to_string())?;
            recv.read_exact(&mut bytes).await.map_err(|problem| problem.to_string())?;
            Ok(Found { way, answer: Answer::read(&bytes)?, _interest: recv })
        };
        tokio::time::timeout(patience, asking).await.map_err(|_| "it did not answer in time".to_owned())?
    }

    /// Who has how much of it.
    pub(super) async fn holders(self: &Arc<Self>, hash: BlobHash) -> Vec<Holder> {
        let asked = self.ask_all(hash, 0, &BTreeSet::new());
        let end = tokio::time::Instant::now() + HOLDERS;
        let asked = asked.take_until(tokio::time::sleep_until(end));
        let holder = |(peer, found): Asked| {
            let answer = found.ok()?.answer;
            let state = match (answer.has, answer.size) {
                (Has::Nothing, _) => return None,
                (Has::Whole, Some(size)) => BlobState::Complete { size },
                (_, size) => BlobState::Partial { size, have_bytes: answer.have_bytes },
            };
            Some(Holder { peer, state })
        };
        let mut holders: Vec<Holder> =
            asked.filter_map(|asked| std::future::ready(holder(asked))).collect().await;
        holders.sort_by_key(|holder| holder.peer);
        holders
    }

    /// What this node answers, and what makes it true while somebody waits for it.
    async fn answer(self: &Arc<Self>, question: Question, from: EndpointId) -> (Answer, Option<Promise>) {
        let hash = question.hash;
        let busy = self.busy();
        let here = self.state(hash).await.unwrap_or(BlobState::Absent);
        let answer = |has, size, have_bytes| Answer { has, size, have_bytes, busy };
        let (size, have_bytes) = match here {
            BlobState::Complete { size } => return (answer(Has::Whole, Some(size), size), None),
            BlobState::Partial { size, have_bytes } => (size, have_bytes),
            BlobState::Absent => (None, 0),
        };
        let is_coming = self.jobs.is_coming(hash);
        if let Ok(place) = Arc::clone(&self.passing).try_acquire_owned()
            && (is_coming || question.hops > 0 && self.is_somewhere(question, from).await)
        {
            // Whoever asks without passing on only wants to know.
            return match self.join(hash, Want::Passing).await {
                Ok(interest) => (answer(Has::Growing, size, have_bytes), Some((interest, place))),
                Err(_) => (answer(Has::Nothing, None, 0), None),
            };
        }
        let has = if have_bytes > 0 { Has::Part } else { Has::Nothing };
        (answer(has, size, have_bytes), None)
    }

    /// Whether one of our other peers has it, or knows one who has.
    async fn is_somewhere(self: &Arc<Self>, question: Question, from: EndpointId) -> bool {
        let Ok(_place) = self.passed_on.try_acquire() else {
            return false;
        };
        let Question { hash, hops, mut tried } = question;
        tried.insert(from);
        let hops = hops.min(HOPS_COUNT_MAX) - 1;
        for hops in [0, hops] {
            let mut asked = self.ask_all(hash, hops, &tried);
            while let Some((_, found)) = asked.next().await {
                if found.is_ok_and(|found| found.answer.has != Has::Nothing) {
                    return true;
                }
            }
            if hops == 0 && tried.len() >= TRIED_COUNT_MAX {
                break;
            }
        }
        false
    }
}

/// Answers the questions of a connection until it ends. The reason is for the close of the connection.
pub(super) async fn serve(inner: Arc<Inner>, connection: Connection) -> (u32, &'static str) {
    let from = EndpointId(*connection.remote_id().as_bytes());
    let mut answers = JoinSet::new();
    loop {
        tokio::select! {
            stream = connection.accept_bi() => {
                let Ok((send, recv)) = stream else {
                    return (serve::GOODBYE, "");
                };
                answers.spawn(reply(Arc::clone(&inner), send, recv, from));
            }
            Some(answered) = answers.join_next() => match answered {
                Ok(Ok(())) => {}
                Ok(Err(reason)) => return (serve::BROKEN_RULE, reason),
                Err(problem) => debug!("a question for a blob was not answered: {problem}"),
            },
            () = tokio::time::sleep(serve::IDLE), if answers.is_empty() => return (serve::GOODBYE, "idle"),
        }
    }
}

async fn reply(
    inner: Arc<Inner>,
    mut send: SendStream,
    mut recv: RecvStream,
    from: EndpointId,
) -> Result<(), &'static str> {
    let question = tokio::time::timeout(QUESTION, read(&mut recv)).await;
    let question = question.ok().flatten().ok_or("that is no question for a blob")?;
    let (answer, promise) = inner.answer(question, from).await;
    if send.write_all(&answer.bytes()).await.is_ok() && promise.is_some() {
        // Ends when whoever asked does not want it any more, or is gone.
        let _ = send.stopped().await;
    }
    drop(promise);
    // What is written arrives, also when the connection ends.
    let _ = send.finish();
    Ok(())
}

async fn read(recv: &mut RecvStream) -> Option<Question> {
    let mut head = [0; QUESTION_BYTES_MIN];
    recv.read_exact(&mut head).await.ok()?;
    let (hash, rest) = head.split_first_chunk::<32>()?;
    let count = usize::from(rest[1]);
    if count > TRIED_COUNT_MAX || rest[0] > HOPS_COUNT_MAX {
        return None;
    }
    let mut tried = BTreeSet::new();
    for _ in 0..count {
        let mut peer = [0; 32];
        recv.read_exact(&mut peer).await.ok()?;
        tried.insert(EndpointId(peer));
    }
    Some(Question { hash: BlobHash(*hash), hops: rest[0], tried })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        for has in [Has::Nothing, Has::Part, Has::Growing, Has::Whole] {
            let answer = Answer { has, size: Some(1 << 40), have_bytes: 77, busy: 300 };
            assert_eq!(Answer::read(&answer.bytes()), Ok(answer));
        }
        let unknown = Answer { has: Has::Growing, size: None, have_bytes: 0, busy: 0 };
        assert_eq!(Answer::read(&unknown.bytes()), Ok(unknown));
        assert!(Answer::read(&[9; ANSWER_BYTES]).is_err());
        assert!(Answer::read(&Answer { has: Has::Whole, ..unknown }.bytes()).is_err());
    }

    #[test]
    fn a_question_names_no_more_peers_than_there_is_room_for() {
        let tried = (0..=255).map(|number| EndpointId([number; 32])).collect();
        let bytes = Question { hash: BlobHash([7; 32]), hops: 2, tried }.bytes();
        assert_eq!(bytes.len(), QUESTION_BYTES_MIN + 32 * TRIED_COUNT_MAX);
        assert_eq!(bytes[32..34], [2, 64]);
    }
}
