//! Joining: whether a node that has just started has caught up with the peers that are there.
//!
//! An orchestrator that restarts one pod after the other must not go on before the new one holds what the
//! others hold. So a node is ready once every peer that can be reached has been found equal, or there is
//! nobody to reach; and at the latest when nothing has come for [`QUIET_MS_MAX`], since a cut-off node
//! serves too. Once joined it stays so: links that break later are no reason to stop serving.

use peat_mesh_core::hub::{PeerState, PeerView};

use crate::connection::IN_USE;
use crate::handle::Check;

/// The longest a node that nothing reaches waits before it serves all the same, in milliseconds.
const QUIET_MS_MAX: u64 = 30_000;

#[derive(Debug, Default)]
pub(super) struct Joining {
    received: u64,
    progress_at_ms: u64,
    joined: Option<String>,
    waits_for: String,
}

impl Joining {
    /// Looks at the peers. `is_list_complete` says whether discovery has told all peers it knows.
    pub(super) fn look(&mut self, now_ms: u64, views: &[PeerView], is_list_complete: bool) {
        if self.joined.is_some() {
            return;
        }
        let received = views.iter().map(|view| view.documents_received).sum();
        if received > self.received {
            self.progress_at_ms = now_ms;
        }
        self.received = received;
        let met = views.iter().filter(|view| view.in_step_at_ms.is_some()).count();
        let waiting: Vec<String> =
            views.iter().filter(|view| !is_settled(view)).map(|view| name(view).to_owned()).collect();
        let quiet_s = QUIET_MS_MAX / 1_000;
        if waiting.is_empty() && (met > 0 || is_list_complete) {
            let absent = views.len() - met;
            self.joined = Some(match (met, absent) {
                (0, 0) => "there were no peers to catch up with".to_owned(),
                (0, absent) => format!("none of {absent} known peers could be reached at the start"),
                (met, 0) => format!("caught up with {met} peers at the start"),
                (met, absent) => {
                    format!("caught up with {met} peers at the start, {absent} could not be reached")
                }
            });
        } else if now_ms >= self.deadline_ms() {
            self.joined = Some(format!("nothing came for {quiet_s} s; serving with what is here"));
        } else if waiting.is_empty() {
            self.waits_for =
                format!("waiting for discovery to tell which peers there are, at most {quiet_s} s");
        } else {
            let names = waiting.join(", ");
            self.waits_for = format!("catching up with {names}; at most {quiet_s} s after the last news");
        }
    }

    fn deadline_ms(&self) -> u64 {
        self.progress_at_ms + QUIET_MS_MAX
    }

    /// When it wants to look again at the latest.
    pub(super) fn next_wakeup(&self) -> Option<u64> {
        self.joined.is_none().then(|| self.deadline_ms())
    }

    pub(super) fn check(&self) -> Check {
        Check {
            name: "sync",
            ok: self.joined.is_some(),
            detail: self.joined.clone().unwrap_or_else(|| self.waits_for.clone()),
        }
    }
}

/// Whether there is nothing (more) to wait for from this peer.
fn is_settled(view: &PeerView) -> bool {
    let was_refused = || view.last_error.as_ref().is_some_and(|problem| !problem.contains(IN_USE));
    match view.state {
        PeerState::Connected => view.in_step_at_ms.is_some(),
        PeerState::Dialing | PeerState::Waiting => was_refused(),
        PeerState::Lost => true,
    }
}

fn name(view: &PeerView) -> String {
    view.name.as_ref().map_or_else(|| view.peer.short(), ToString::to_string)
}

#[cfg(test)]
mod tests;
