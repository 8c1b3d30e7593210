//! What the machine itself can do, measured in the same run.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::nodes::Failed;
use crate::samples::Samples;

const ROUNDS: usize = 200;

/// Appending 4 KiB to a file and `fdatasync`.
pub(crate) fn fsync(folder: &Path) -> Result<Samples, Failed> {
    let mut file = File::create(folder.join("fsync"))?;
    let mut samples = Samples::default();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        samples.push(start.elapsed());
    }
    Ok(samples)
}

/// 64 bytes there and back over TCP on loopback.
pub(crate) async fn tcp_round_trip() -> Result<Samples, Failed> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut client = TcpStream::connect(listener.local_addr()?).await?;
    let (mut server, _) = listener.accept().await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let echo = tokio::spawn(async move {
        let mut buffer = [0; 64];
        while server.read_exact(&mut buffer).await.is_ok() && server.write_all(&buffer).await.is_ok() {}
    });
    let mut samples = Samples::default();
    let mut buffer = [1; 64];
    for _ in 0..ROUNDS {
        let start = Instant::now();
        client.write_all(&buffer).await?;
        client.read_exact(&mut buffer).await?;
        samples.push(start.elapsed());
    }
    drop(client);
    echo.await?;
    Ok(samples)
}
