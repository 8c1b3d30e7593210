//! Changes of peers on their way to the writer, in the order in which they came.
//!
//! Documents that are new here are read and checked on other threads first, several frames at a time: that is
//! most of the work of a node that joins, and the writer is one thread. What is known here goes straight on.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::thread;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use peat_mesh_core::catalog::Catalog;
use peat_mesh_core::replica::{Work, prepare};
use tracing::error;

use super::writer::Merge;

/// Frames that are read at the same time, at most; fewer on a machine with fewer cores.
const FRAMES_AT_ONCE_MAX: usize = 8;
/// A frame with fewer new documents than this is not worth another thread.
const NEW_DOCUMENTS_COUNT_MIN: usize = 4;

type Prepared = Pin<Box<dyn Future<Output = Option<Merge>> + Send>>;

/// Frames before the writer. Each holds its permit, so the connections' budgets bound them.
pub(super) struct Preparing {
    at_once_max: usize,
    /// Frames that wait for a thread, or behind one that does.
    waiting: VecDeque<Merge>,
    running: FuturesOrdered<Prepared>,
    ready: VecDeque<Merge>,
}

impl Preparing {
    pub(super) fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self {
            at_once_max: cores.min(FRAMES_AT_ONCE_MAX),
            waiting: VecDeque::new(),
            running: FuturesOrdered::new(),
            ready: VecDeque::new(),
        }
    }

    /// Takes a frame in. `catalog` tells what is new.
    pub(super) fn push(&mut self, merge: Merge, catalog: &Catalog) {
        let is_new = |doc| catalog.heads(doc).is_none();
        let new = merge.jobs.iter().filter(|job| is_new(&job.doc)).take(NEW_DOCUMENTS_COUNT_MIN).count();
        if new == NEW_DOCUMENTS_COUNT_MIN {
            self.waiting.push_back(merge);
            self.start();
        } else if self.running.is_empty() {
            self.ready.push_back(merge);
        } else {
            self.waiting.push_back(merge);
        }
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn take_ready(&mut self) -> Option<Merge> {
        self.ready.pop_front()
    }

    /// Waits until the next frame is ready; for ever when none is being read.
    pub(super) async fn advance(&mut self) {
        match self.running.next().await {
            Some(Some(merge)) => self.ready.push_back(merge),
            Some(None) => {}
            None => std::future::pending().await,
        }
        self.start();
    }

    fn start(&mut self) {
        while self.running.len() < self.at_once_max
            && let Some(mut merge) = self.waiting.pop_front()
        {
            let task = tokio::task::spawn_blocking(move || {
                for job in &mut merge.jobs {
                    if let Work::Merge(chunks) = &job.work
                        && let Some(prepared) = prepare(chunks)
                    {
                        job.work = Work::Adopt { chunks: chunks.clone(), prepared };
                    }
                }
                merge
            });
            self.running.push_back(Box::pin(async {
                let done = task.await;
                done.inspect_err(|problem| error!("changes of a peer were not read: {problem}")).ok()
            }));
        }
    }
}
