//! Documents read in order to be sent, off the async threads and a few at a time.

use std::sync::Arc;

use peat_mesh_core::ConnId;
use peat_mesh_core::answer::{Answer, Request, answer};
use peat_mesh_core::store::Store;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Reads for peers that run at the same time, over all connections.
const READS_COUNT_MAX: usize = 4;

pub(super) struct Answers {
    store: Arc<dyn Store>,
    reads: Arc<Semaphore>,
    tasks: JoinSet<(ConnId, Answer)>,
}

impl Answers {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, reads: Arc::new(Semaphore::new(READS_COUNT_MAX)), tasks: JoinSet::new() }
    }

    /// Starts to read. The core bounds how many of these a connection has under way.
    pub(super) fn start(&mut self, conn: ConnId, requests: Vec<Request>) {
        let (store, reads) = (Arc::clone(&self.store), Arc::clone(&self.reads));
        self.tasks.spawn(async move {
            let _turn = reads.acquire_owned().await;
            let done = tokio::task::spawn_blocking(move || answer(&*store, requests)).await;
            (conn, done.unwrap_or_default())
        });
    }

    /// The next one that is done; waits for ever when there is none.
    pub(super) async fn next(&mut self) -> (ConnId, Answer) {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(done)) => return done,
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }
}
