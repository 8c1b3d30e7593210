//! `blob get`: a blob into a file, from where an earlier run has stopped, and checked before it gets its name.

use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::time::Duration;

use axum::body::Body;
use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE, IF_RANGE, RANGE};
use hyper::{Method, StatusCode};

use super::error::ClientError;
use super::http::{Answer, Client};
use super::part::Part;
use super::progress::Progress;
use super::retry::Attempts;
use crate::handle::BlobHash;

/// After how many seconds without an answer it is said that the node looks for the blob.
const PATIENCE_SECS: u64 = 2;

struct Get<'a> {
    client: &'a Client,
    hash: BlobHash,
    part: Part,
    /// Whether some of the part is of an earlier run, which nobody has checked.
    is_taken_up: bool,
    has_said_looking: bool,
    progress: Progress,
}

pub(super) async fn run(
    client: &Client,
    hash: BlobHash,
    output: Option<PathBuf>,
    mut stop: Pin<&mut impl Future<Output = ()>>,
) -> Result<(), ClientError> {
    let target = output.unwrap_or_else(|| hash.to_string().into());
    let is_output = target.as_os_str() == "-";
    let stopped = || ClientError::Stopped("stopped".to_owned());
    let part = tokio::select! {
        part = Part::open(&target) => part?,
        () = &mut stop => return Err(stopped()),
    };
    let name = target.display().to_string();
    let progress = if is_output { Progress::beside_output(&name) } else { Progress::new(&name, None) };
    let mut get = Get { client, hash, part, is_taken_up: false, has_said_looking: false, progress };
    let done = tokio::select! {
        done = get.whole() => done,
        () = stop => Err(stopped()),
    };
    let Err(problem) = done else {
        get.progress.done();
        return Ok(());
    };
    get.progress.clear();
    let bytes = get.part.bytes();
    problem.tell();
    if let Some(left) = get.part.leave() {
        let left = left.display();
        eprintln!("peat-mesh-node: {bytes} bytes are in {left}; the same command goes on from there");
    }
    Err(ClientError::Told)
}

impl Get<'_> {
    async fn whole(&mut self) -> Result<(), ClientError> {
        self.part.take_up(&self.progress).await?;
        self.is_taken_up = self.part.bytes() > 0;
        if self.is_taken_up && self.part.is(self.hash) {
            return self.part.finish();
        }
        let mut attempts = Attempts::default();
        loop {
            let came = self.rest().await;
            let checked = came.and_then(|()| self.check());
            match checked {
                Ok(true) => return self.part.finish(),
                Ok(false) => {}
                Err(problem) => {
                    if !attempts.again(&problem, self.part.bytes(), &self.progress).await {
                        return Err(problem);
                    }
                }
            }
        }
    }

    /// Asks for what is missing, and takes it.
    async fn rest(&mut self) -> Result<(), ClientError> {
        let mut answer = self.ask().await?;
        let have = self.part.bytes();
        let size = match answer.status {
            // What is there is longer than the blob, or as long: the check says.
            StatusCode::RANGE_NOT_SATISFIABLE => return Ok(()),
            StatusCode::PARTIAL_CONTENT => match content_range(&answer) {
                Some((first, size)) if first == have => size,
                _ => return Err(answer.strange()),
            },
            StatusCode::OK => {
                if !self.part.begin_again()? {
                    return Err(ClientError::WrongOutput { hash: self.hash });
                }
                let length = answer.header(CONTENT_LENGTH).and_then(|text| text.parse().ok());
                length.ok_or_else(|| answer.strange())?
            }
            _ => return answer.good().await.map(drop),
        };
        self.progress.total(Some(size));
        self.progress.start_at(self.part.bytes());
        while let Some(piece) = answer.piece().await? {
            let bytes = piece.len();
            self.part.append(piece).await?;
            self.progress.add(bytes);
        }
        Ok(())
    }

    async fn ask(&mut self) -> Result<Answer, ClientError> {
        let have = self.part.bytes();
        let range = [(RANGE, format!("bytes={have}-")), (IF_RANGE, format!("\"{}\"", self.hash))];
        let headers = if have > 0 { &range[..] } else { &[] };
        let path = format!("/blobs/{}", self.hash);
        let asked = self.client.send(Method::GET, &path, headers, Body::empty());
        let mut answer = pin!(self.client.soon(asked));
        if !self.has_said_looking {
            tokio::select! {
                answer = &mut answer => return answer,
                () = tokio::time::sleep(Duration::from_secs(PATIENCE_SECS)) => {}
            }
            self.has_said_looking = true;
            self.progress.tell("nothing has come yet; the node is looking for the blob in the mesh");
        }
        answer.await
    }

    /// Whether what is there is right. What is wrong is thrown away, so that it is asked for again.
    fn check(&mut self) -> Result<bool, ClientError> {
        let hash = self.hash;
        if self.part.is(hash) {
            return Ok(true);
        }
        if !self.part.begin_again()? {
            return Err(ClientError::WrongOutput { hash });
        }
        if !std::mem::take(&mut self.is_taken_up) {
            return Err(ClientError::Wrong { hash });
        }
        self.progress
            .tell("what an earlier run has left was not of this blob, or was altered; beginning again");
        Ok(false)
    }
}

/// The first byte and the length of the blob, of `bytes first-last/size`.
fn content_range(answer: &Answer) -> Option<(u64, u64)> {
    let (range, size) = answer.header(CONTENT_RANGE)?.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.parse().ok()?, size.parse().ok()?))
}
