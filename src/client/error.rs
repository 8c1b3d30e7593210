//! Why a command failed, for a person at a terminal.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use hyper::StatusCode;

use super::address::Address;
use crate::handle::BlobHash;

#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("no node answers at {address} ({reason}); start one, or say with --node where it is")]
    NoNode { address: Address, reason: String },
    #[error("the connection to the node at {address} broke: {reason}")]
    Broke { address: Address, reason: String },
    #[error("nothing came from the node at {address} for {secs} s")]
    Silent { address: Address, secs: u64 },
    /// The node says no, in its own sentence.
    #[error("{sentence}")]
    Refused { status: StatusCode, sentence: String },
    #[error(
        "{address} answered ({status}) as no peat-mesh-node does; is it the port of the node's HTTP API?"
    )]
    NotANode { address: Address, status: StatusCode },
    #[error("{}: {problem}", path.display())]
    File { path: PathBuf, problem: String },
    #[error("what came is not blob {hash}: its content has another hash, so it was thrown away")]
    Wrong { hash: BlobHash },
    #[error("what was written is not blob {hash}: its content has another hash. Do not use it")]
    WrongOutput { hash: BlobHash },
    /// Whoever read the output wants no more.
    #[error("standard output was closed")]
    OutputClosed,
    #[error("{0}")]
    Stopped(String),
    /// Each of several things was told when it failed.
    #[error("some of it failed")]
    Told,
}

impl ClientError {
    pub(super) fn file(path: impl Into<PathBuf>, problem: impl ToString) -> Self {
        Self::File { path: path.into(), problem: problem.to_string() }
    }

    pub(super) fn output(problem: &io::Error) -> Self {
        match problem.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::file("standard output", problem),
        }
    }

    /// On standard error, unless that was done or nobody wants to know.
    pub(super) fn tell(&self) {
        if !matches!(self, Self::OutputClosed | Self::Told) {
            eprintln!("peat-mesh-node: {self}");
        }
    }

    /// Whether the same may work in a moment.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::NoNode { .. } | Self::Broke { .. } | Self::Silent { .. } | Self::Wrong { .. } => true,
            Self::Refused { status, .. } => {
                matches!(*status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE)
            }
            _ => false,
        }
    }
}

/// An error with what is behind it, each said once.
pub(super) fn in_words(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        source = error.source();
    }
    words
}
