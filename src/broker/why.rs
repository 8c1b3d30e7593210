//! Why a peer is not in step: one sentence for the person who is woken by it.

use peat_mesh_core::hub::{Holding, PeerState, PeerView};

/// Bytes on their way to a peer above which it takes them slowly.
const SLOW_BYTES: u64 = 1024 * 1024;

/// After so long without an answer to a comparison a peer is slow, in milliseconds.
const SLOW_ANSWER_MS: u64 = 500;

/// Why a peer is not in step.
pub(super) fn not_in_step(view: &PeerView, now_ms: u64) -> String {
    match view.state {
        PeerState::Connected => connected(view, now_ms),
        _ => not_connected(view, now_ms),
    }
}

/// Why a peer does not hold a document, or nobody knows; `None` when it does.
pub(super) fn not_held(view: &PeerView, holding: Holding, now_ms: u64) -> Option<String> {
    Some(match holding {
        Holding::Yes => return None,
        Holding::NotConnected => not_connected(view, now_ms),
        Holding::OutOfScope => {
            let scope = view.scope.as_deref().unwrap_or("bounded");
            format!("not asked: the collection does not go over this link ({scope})")
        }
        Holding::TooManyHeads => {
            "not asked: too many edits of the document never met each other; the next write joins them"
                .to_owned()
        }
        _ => format!("it has not said that it has it on disk: {}", not_in_step(view, now_ms)),
    })
}

fn not_connected(view: &PeerView, now_ms: u64) -> String {
    let reason = view.last_error.as_deref();
    let problem = reason.map(|reason| format!(": {}", reason.trim_end_matches('.'))).unwrap_or_default();
    match view.state {
        PeerState::Dialing => format!("not connected{problem}; it is being dialled now"),
        PeerState::Known => {
            "not connected: the formation is large and other nodes are this node's neighbours; it gets \
             everything through them"
                .to_owned()
        }
        PeerState::Lost => format!("not connected{problem}; discovery does not know it any more"),
        _ => match view.next_dial_ms {
            Some(at_ms) => {
                format!("not connected{problem}; next try in {}", span(at_ms.saturating_sub(now_ms)))
            }
            None => format!("not connected{problem}"),
        },
    }
}

fn connected(view: &PeerView, now_ms: u64) -> String {
    if let Some(since_ms) = view.silent_since_ms {
        let silent = span(now_ms.saturating_sub(since_ms));
        return format!(
            "nothing at all comes from it for {silent}: its process or machine is down, or the network is cut"
        );
    }
    let mut reasons = Vec::new();
    let is_slow = view.bytes_unsent >= SLOW_BYTES;
    if view.documents_to_send > 0 {
        let slowly = if is_slow { "; the peer takes them slowly" } else { "" };
        reasons.push(format!("{} to be sent to it{slowly}", wait(view.documents_to_send, "document")));
    } else if is_slow {
        reasons.push(format!("{} bytes are on their way to it and it takes them slowly", view.bytes_unsent));
    }
    if view.sync.documents_to_receive > 0 {
        let count = count(view.sync.documents_to_receive, "document");
        reasons.push(format!("{count} that it was asked for have not come yet"));
    }
    if view.documents_to_merge > 0 {
        let waiting = wait(view.documents_to_merge, "change");
        reasons.push(format!("{waiting} from it to be written to this node's disk"));
    }
    if reasons.is_empty() {
        reasons.push(comparing(view, now_ms));
    }
    if let Some(scope) = &view.scope {
        reasons.push(format!(
            "the link has bounds ({scope}), and what crosses in one direction only may stay different"
        ));
    }
    reasons.join("; ")
}

fn comparing(view: &PeerView, now_ms: u64) -> String {
    let ago = |then_ms: u64| span(now_ms.saturating_sub(then_ms));
    let unanswered_ms = view.sync.asked_ms.map(|at_ms| now_ms.saturating_sub(at_ms));
    match (&view.sync.current, view.in_step_at_ms) {
        _ if unanswered_ms.is_some_and(|ms| ms >= SLOW_ANSWER_MS) => {
            let span = span(unanswered_ms.unwrap_or_default());
            format!("it was asked {span} ago whether it has the same, and does not answer")
        }
        (Some(current), _) => {
            let rounds = count(current.rounds.into(), "answer");
            format!("being compared for {}, with {rounds} from it so far", ago(current.began_ms))
        }
        (None, Some(at_ms)) => {
            format!(
                "documents have changed since both were found equal {} ago; it is compared soon",
                ago(at_ms)
            )
        }
        (None, None) => format!("connected for {} and not compared yet", ago(view.since_ms)),
    }
}

fn wait(number: u64, noun: &str) -> String {
    format!("{} {}", count(number, noun), if number == 1 { "waits" } else { "wait" })
}

pub(super) fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..10_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ => format!("{} s", ms / 1_000),
    }
}
