//! How a blob of a peer gets here: the connected peers are asked one after the other, each for what is
//! missing, and every piece is checked against the hash before it is kept.

use std::time::Duration;

use futures_util::StreamExt;
use iroh::endpoint::{Connection, VarInt};
use iroh_blobs::api::remote::GetProgressItem;
use iroh_blobs::get::GetError;
use tracing::debug;

use super::space::LOOK_EVERY_BYTES;
use super::{Inner, PARTIAL, failed, raw, rpc_failed, tag};
use crate::handle::{Blob, BlobError, BlobHash, BlobState};

/// How long a peer may send nothing of what it was asked for.
const STALL: Duration = Duration::from_secs(30);
/// Close code for a connection that is no longer needed.
const GOODBYE: u32 = 0;

/// How asking one peer ended.
enum Answer {
    /// What was missing has come.
    All,
    /// It does not have it.
    Nothing,
    /// It began, or was about to, and did not come to the end; in words.
    Broken(String),
}

impl Inner {
    pub(super) async fn fetch(&self, hash: BlobHash) -> Result<Blob, BlobError> {
        if let BlobState::Complete { size } = self.state(hash).await? {
            return Ok(Blob { hash, size });
        }
        let turn = self.turn(hash);
        let _turn = turn.lock().await;
        let _place = self.fetches.acquire().await.map_err(rpc_failed)?;
        // Keeps what comes until it has a tag.
        let _held = self.store.tags().temp_tag(raw(hash)).await.map_err(rpc_failed)?;
        let mut asked = 0;
        let mut broken = None;
        if self.whole(hash).await?.is_none() {
            for peer in self.providers.peers() {
                asked += 1;
                let answer = match self.providers.open(peer).await {
                    Ok(connection) => self.ask(&connection, hash).await,
                    Err(reason) => Ok(Answer::Broken(reason)),
                };
                match answer? {
                    Answer::All => break,
                    Answer::Nothing => {}
                    Answer::Broken(reason) => {
                        debug!(%hash, from = %peer.short(), "a fetch broke off: {reason}");
                        broken = Some(reason);
                    }
                }
            }
        }
        match (self.whole(hash).await?, broken) {
            (Some(_), _) => Ok(self.keep(hash).await?.0),
            (None, Some(reason)) => Err(BlobError::Interrupted { hash, reason }),
            (None, None) => Err(BlobError::NotFound { hash, asked }),
        }
    }

    async fn ask(&self, connection: &Connection, hash: BlobHash) -> Result<Answer, BlobError> {
        self.space.check(0)?;
        let mut progress = Box::pin(self.store.remote().fetch(connection.clone(), raw(hash)).stream());
        let mut looked_at = None;
        let answer = loop {
            let Ok(item) = tokio::time::timeout(STALL, progress.next()).await else {
                break Answer::Broken(format!("it sent nothing for {} s", STALL.as_secs()));
            };
            match item {
                Some(GetProgressItem::Progress(bytes)) => {
                    if looked_at.is_none() {
                        self.store.tags().set(tag(PARTIAL, hash), raw(hash)).await.map_err(failed)?;
                    }
                    if bytes >= looked_at.unwrap_or_default() + LOOK_EVERY_BYTES || looked_at.is_none() {
                        looked_at = Some(bytes);
                        self.space.check(0)?;
                    }
                }
                Some(GetProgressItem::Done(stats)) => {
                    debug!(%hash, bytes = stats.payload_bytes_read, "fetched what was missing of a blob");
                    break Answer::All;
                }
                Some(GetProgressItem::Error(problem)) => break self.failed_answer(connection, &problem)?,
                None => break Answer::Broken("it ended without a result".to_owned()),
            }
        };
        drop(progress);
        connection.close(VarInt::from_u32(GOODBYE), b"");
        Ok(answer)
    }

    fn failed_answer(&self, connection: &Connection, problem: &GetError) -> Result<Answer, BlobError> {
        if let Some(reason) = connection.close_reason() {
            return Ok(Answer::Broken(reason.to_string()));
        }
        match problem {
            GetError::LocalFailure { .. } | GetError::IrpcSend { .. } => {
                self.space.check(0)?;
                Err(BlobError::Store(format!("{problem:#}")))
            }
            // Where the length should be there is an end.
            GetError::AtBlobHeaderNext { .. } => Ok(Answer::Nothing),
            other => Ok(Answer::Broken(format!("{other:#}"))),
        }
    }
}
