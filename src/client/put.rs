//! `blob put`: files to a node, streamed, and the hash of each on standard output.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use axum::body::{Body, Bytes};
use futures_util::StreamExt;
use hyper::Method;
use hyper::header::CONTENT_LENGTH;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio_stream::wrappers::ReceiverStream;

use super::error::ClientError;
use super::http::Client;
use super::list::{Blob, print};
use super::progress::Progress;
use super::retry::Attempts;

/// Bytes of a file that are read at once.
const READ_BYTES: usize = 256 * 1024;
/// Pieces that may wait to be sent.
const PIECES_COUNT_MAX: usize = 4;
/// Longest time in which a node that was sent all of a file says nothing, in seconds. It brings it to disk first, which
/// for a large one on a slow disk takes minutes.
const KEEPING_SECS_MAX: u64 = 900;

/// What is sent.
struct Source {
    file: File,
    /// Its length in bytes; a pipe has none.
    size: Option<u64>,
}

/// Sends all of them that it can.
pub(super) async fn all(
    client: &Client,
    files: &[PathBuf],
    mut stop: Pin<&mut impl Future<Output = ()>>,
) -> Result<(), ClientError> {
    let mut has_failed = false;
    for path in files {
        let done = tokio::select! {
            done = one(client, path) => done,
            () = &mut stop => {
                let stopped = format!("stopped; {} was not stored", path.display());
                return Err(ClientError::Stopped(stopped));
            }
        };
        match done {
            Ok(()) => {}
            // The others will fail in the same way.
            Err(problem @ (ClientError::NoNode { .. } | ClientError::OutputClosed)) => return Err(problem),
            Err(problem) => {
                let problem = match problem {
                    problem @ ClientError::File { .. } => problem,
                    other => ClientError::file(path, other),
                };
                problem.tell();
                has_failed = true;
            }
        }
    }
    if has_failed { Err(ClientError::Told) } else { Ok(()) }
}

async fn one(client: &Client, path: &Path) -> Result<(), ClientError> {
    let mut attempts = Attempts::default();
    let name = path.display().to_string();
    let progress = Progress::new(&name, None);
    loop {
        let source = open(path).await?;
        // What came out of a pipe does not come again.
        let is_repeatable = source.size.is_some();
        let sent = send(client, path, source, &progress, KEEPING_SECS_MAX).await;
        match sent {
            Ok(blob) => {
                progress.clear();
                return print(&line(&blob.hash, path));
            }
            Err(problem) => {
                if !is_repeatable || !attempts.again(&problem, 0, &progress).await {
                    progress.clear();
                    return Err(problem);
                }
            }
        }
    }
}

async fn open(path: &Path) -> Result<Source, ClientError> {
    if path == Path::new("-") {
        let file = io::stdin().as_fd().try_clone_to_owned();
        let file = file.map_err(|problem| ClientError::file("standard input", problem))?.into();
        return Ok(Source { file, size: None });
    }
    let named = path.to_owned();
    // Opening a pipe waits for who writes into it.
    let opened = spawn_blocking(move || {
        let file = File::open(named)?;
        let found = file.metadata()?;
        if found.is_dir() {
            return Err(io::Error::other("this is a folder; give the files in it"));
        }
        Ok(Source { file, size: found.is_file().then_some(found.len()) })
    });
    let opened = opened.await.unwrap_or_else(|problem| Err(io::Error::other(problem)));
    opened.map_err(|problem| ClientError::file(path, problem))
}

async fn send(
    client: &Client,
    path: &Path,
    source: Source,
    progress: &Progress,
    keeping_secs_max: u64,
) -> Result<Blob, ClientError> {
    let size = source.size;
    progress.total(size);
    progress.start_at(0);
    let (pieces, body) = mpsc::channel(PIECES_COUNT_MAX);
    let failed = Arc::new(OnceLock::new());
    let telling = Arc::clone(&failed);
    // Ends with the file, or with the next piece after nobody wants any more.
    let _reader = spawn_blocking(move || {
        if let Err(problem) = read(source, &pieces) {
            let _ = telling.set(problem.to_string());
            let _ = pieces.blocking_send(Err(problem));
        }
    });
    let counted = progress.clone();
    // Goes with the body, when nothing more of it is to be sent.
    let (sending, sent) = oneshot::channel::<()>();
    let body = ReceiverStream::new(body).inspect(move |piece| {
        let _sending = &sending;
        if let Ok(piece) = piece {
            counted.add(piece.len());
        }
    });
    let length = size.map(|size| (CONTENT_LENGTH, size.to_string()));
    let sent = async { _ = sent.await };
    let answer = client.send(Method::POST, "/blobs", length.as_slice(), Body::from_stream(body));
    let answer = client.within(keeping_secs_max, sent, answer).await;
    // When it could not be read, that is the reason for all that followed.
    if let Some(problem) = failed.get() {
        return Err(ClientError::file(path, problem));
    }
    answer?.good().await?.json().await
}

/// Reads a file to its end, or as much as it had when it was opened.
fn read(source: Source, pieces: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
    let Source { mut file, size } = source;
    let mut left = size.unwrap_or(u64::MAX);
    while left > 0 {
        let length = usize::try_from(left).map_or(READ_BYTES, |left| left.min(READ_BYTES));
        let mut piece = vec![0; length];
        let read = file.read(&mut piece)?;
        if read == 0 && size.is_some() {
            return Err(io::Error::other("it became shorter while it was sent"));
        }
        if read == 0 {
            break;
        }
        piece.truncate(read);
        left -= read as u64;
        if pieces.blocking_send(Ok(piece.into())).is_err() {
            break;
        }
    }
    Ok(())
}

/// As b3sum writes it: a name with line ends or backslashes has them escaped, and a backslash before the hash.
fn line(hash: &str, path: &Path) -> Vec<u8> {
    let name = path.as_os_str().as_encoded_bytes();
    let is_plain = !name.iter().any(|byte| b"\\\n\r".contains(byte));
    let mut line = if is_plain { Vec::new() } else { vec![b'\\'] };
    line.extend_from_slice(hash.as_bytes());
    line.extend_from_slice(b"  ");
    for byte in name {
        match byte {
            b'\\' => line.extend_from_slice(b"\\\\"),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            byte => line.push(*byte),
        }
    }
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_node_that_takes_all_of_a_file_and_never_answers_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
        let node = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut read = Vec::new();
            // Ends when the client hangs up.
            let _ = stream.read_to_end(&mut read).await;
            read.len()
        });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, vec![7; 3_000_000]).unwrap();
        let source = open(&path).await.unwrap();
        let progress = Progress::new("file", None);
        let limit = Duration::from_secs(30);
        let sent = tokio::time::timeout(limit, send(&client, &path, source, &progress, 1)).await.unwrap();
        assert!(matches!(sent, Err(ClientError::Silent { secs: 1, .. })), "{sent:?}");
        assert!(node.await.unwrap() > 3_000_000);
    }

    #[test]
    fn lines_are_as_b3sum_writes_them() {
        for (name, written) in
            [("a b", "h  a b\n"), ("-", "h  -\n"), ("a\nb", "\\h  a\\nb\n"), ("a\\b", "\\h  a\\\\b\n")]
        {
            assert_eq!(String::from_utf8(line("h", Path::new(name))).unwrap(), written);
        }
    }
}
