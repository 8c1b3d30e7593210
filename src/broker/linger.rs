//! A socket that is closed without losing the last answer.
//!
//! A client that still sends while it is refused (a body that is too large, a disk that is full) must be able
//! to read why. A socket that is closed with unread bytes resets the connection, and the reset throws away what
//! the client has not read yet. So after the answer the sending side is closed first, and what still comes is
//! read and dropped for a while (RFC 9112, section 9.6).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;

/// Longest time in which what a client still sends is dropped, in milliseconds.
const LINGER_MS_MAX: u64 = 2_000;
/// Most bytes that are dropped.
const LINGER_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Bytes that are dropped in one go.
const PIECE_BYTES: usize = 16 * 1024;

/// A stream that takes in what is on its way before it is closed.
#[derive(Debug)]
pub(super) struct Lingering<T> {
    inner: T,
    /// When the node stops, nobody is waited for.
    stopping: CancellationToken,
    deadline: Option<Pin<Box<Sleep>>>,
    dropped_bytes: usize,
}

impl<T> Lingering<T> {
    pub(super) fn new(inner: T, stopping: CancellationToken) -> Self {
        Self { inner, stopping, deadline: None, dropped_bytes: 0 }
    }
}

impl<T: AsyncRead + Unpin> Lingering<T> {
    fn poll_drop(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = Duration::from_millis(LINGER_MS_MAX);
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(limit)));
        let mut bytes = [0; PIECE_BYTES];
        while self.dropped_bytes < LINGER_BYTES_MAX && !self.stopping.is_cancelled() {
            if deadline.as_mut().poll(cx).is_ready() {
                break;
            }
            let mut buffer = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => self.dropped_bytes += buffer.filled().len(),
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Lingering<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
        ready!(self.poll_drop(cx));
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_a_client_still_sends_is_taken_until_it_has_read_the_answer() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut server = Lingering::new(server, CancellationToken::new());
        let close = async {
            server.write_all(b"no").await.unwrap();
            server.shutdown().await.unwrap();
        };
        let talk = async {
            client.write_all(&[0; 10_000]).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            drop(client);
            answer
        };
        let (answer, ()) = tokio::join!(talk, close);
        assert_eq!(answer, "no");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_neither_sends_nor_closes_is_not_waited_for_long() {
        let (_client, server) = tokio::io::duplex(64);
        let started = Instant::now();
        Lingering::new(server, CancellationToken::new()).shutdown().await.unwrap();
        assert_eq!(started.elapsed().as_millis() as u64, LINGER_MS_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_stops_waits_for_nobody() {
        let (_client, server) = tokio::io::duplex(64);
        let stopping = CancellationToken::new();
        stopping.cancel();
        let started = Instant::now();
        Lingering::new(server, stopping).shutdown().await.unwrap();
        assert!(started.elapsed().is_zero());
    }
}
