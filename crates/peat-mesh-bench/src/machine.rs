//! What the machine itself can do, measured in the same run.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use iroh::endpoint::{Connection, RecvStream, SendStream, presets};
use iroh::{Endpoint, EndpointAddr, RelayMode, TransportAddr};
use peat_mesh_core::document::{ActorId, Document};
use serde_json::{Map, Value};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::figure::Figure;
use crate::nodes::Failed;
use crate::report::Report;
use crate::samples::Samples;

const ROUNDS: usize = 200;

/// The limits that most scenarios are held against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Machine {
    pub(crate) fsync_ms: f64,
    pub(crate) round_trip_ms: f64,
    pub(crate) stream_bytes_per_s: f64,
    /// Copying memory, with one core.
    pub(crate) copy_bytes_per_s: f64,
    pub(crate) cores: f64,
}

impl Machine {
    /// Measures them, with files in this folder, and tells them.
    pub(crate) async fn measure(folder: &Path, report: &mut Report) -> Result<Self, Failed> {
        let iroh = iroh_stream().await?;
        let machine = Self {
            fsync_ms: fsync(folder, Duration::ZERO)?.median_ms(),
            round_trip_ms: iroh.round_trip_ms,
            stream_bytes_per_s: iroh.bytes_per_s,
            copy_bytes_per_s: copy_bytes_per_s(),
            cores: std::thread::available_parallelism()?.get() as f64,
        };
        report.add(Figure::new("the machine: fdatasync of 4 KiB", machine.fsync_ms, "ms"));
        let tcp = tcp_round_trip().await?.median_ms();
        report.add(Figure::new("the machine: round trip over TCP on loopback", tcp, "ms"));
        report.add(Figure::new("the machine: round trip over bare iroh", machine.round_trip_ms, "ms"));
        let stream = machine.stream_bytes_per_s / 1e6;
        report.add(Figure::new("the machine: one stream of bare iroh", stream, "MB/s"));
        report.add(Figure::new("the machine: memcpy", machine.copy_bytes_per_s / 1e6, "MB/s"));
        Ok(machine)
    }

    /// The same fsync and the same round trip with a pause before each: cores that have slept, and caches that others used
    /// meanwhile, make everything slower that is done now and then.
    pub(crate) async fn measure_rested(
        folder: &Path,
        pause: Duration,
        report: &mut Report,
    ) -> Result<Rested, Failed> {
        let rested = Rested {
            fsync_ms: fsync(folder, pause)?.median_ms(),
            round_trip_ms: iroh_round_trips(pause).await?.median_ms(),
        };
        let every = format!("every {} ms", pause.as_millis());
        report.add(Figure::new(format!("the machine: fdatasync of 4 KiB, {every}"), rested.fsync_ms, "ms"));
        let what = format!("the machine: round trip over bare iroh, {every}");
        report.add(Figure::new(what, rested.round_trip_ms, "ms"));
        Ok(rested)
    }

    /// Milliseconds to send so many bytes and have them on disk: one stream and one fsync.
    pub(crate) fn ship_ms(&self, bytes: f64) -> f64 {
        self.round_trip_ms + bytes / self.stream_bytes_per_s * 1_000.0 + self.fsync_ms
    }
}

/// What the machine needs for one thing after a pause.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rested {
    pub(crate) fsync_ms: f64,
    pub(crate) round_trip_ms: f64,
}

/// Copies 64 MiB a few times.
fn copy_bytes_per_s() -> f64 {
    const COPIES: usize = 4;
    let from = vec![7_u8; 64 * 1024 * 1024];
    let mut to = vec![0_u8; from.len()];
    let begun = Instant::now();
    for _ in 0..COPIES {
        to.copy_from_slice(std::hint::black_box(&from));
        std::hint::black_box(&mut to);
    }
    (COPIES * from.len()) as f64 / begun.elapsed().as_secs_f64()
}

/// Seconds of one core to make a document's change, as it is stored, and to load that again with Automerge.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crdt {
    pub(crate) bytes: f64,
    pub(crate) load_s: f64,
}

/// Loads a document of these contents, one after the other, as often as `times`.
pub(crate) fn crdt(contents: impl Iterator<Item = Map<String, Value>>, times: u32) -> Result<Crdt, Failed> {
    let actor = ActorId::from([7_u8; 16].as_slice());
    let mut document = Document::new(&actor);
    for content in contents {
        document.put(&content, 0)?;
    }
    let saved = document.save();
    let begun = Instant::now();
    for _ in 0..times {
        std::hint::black_box(Document::load([saved.as_ref()], &actor)?);
    }
    let load_s = begun.elapsed().as_secs_f64() / f64::from(times);
    Ok(Crdt { bytes: saved.len() as f64, load_s })
}

/// Appending 4 KiB to a file and `fdatasync`.
fn fsync(folder: &Path, pause: Duration) -> Result<Samples, Failed> {
    let mut file = File::create(folder.join("fsync"))?;
    let mut samples = Samples::default();
    for _ in 0..ROUNDS {
        std::thread::sleep(pause);
        let start = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        samples.push(start.elapsed());
    }
    Ok(samples)
}

/// 64 bytes there and back over TCP on loopback.
async fn tcp_round_trip() -> Result<Samples, Failed> {
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

/// What a bare iroh connection on loopback does.
#[derive(Debug, Clone, Copy)]
struct Iroh {
    round_trip_ms: f64,
    bytes_per_s: f64,
}

/// Bytes that are sent over one stream.
const STREAM_BYTES: usize = 256 * 1024 * 1024;

/// Two endpoints, and one stream in both directions between them.
struct Wire {
    client: Endpoint,
    server: Endpoint,
    connection: Connection,
    send: SendStream,
    recv: RecvStream,
    serve: JoinHandle<Result<(), Failed>>,
}

impl Wire {
    async fn new() -> Result<Self, Failed> {
        const ALPN: &[u8] = b"peat-mesh-bench/1";
        let bind = || async {
            Endpoint::builder(presets::Minimal)
                .relay_mode(RelayMode::Disabled)
                .alpns(vec![ALPN.to_vec()])
                .clear_ip_transports()
                .bind_addr("127.0.0.1:0")?
                .bind()
                .await
                .map_err(Failed::from)
        };
        let (server, client) = (bind().await?, bind().await?);
        let address = server.bound_sockets().into_iter().map(TransportAddr::Ip);
        let address = EndpointAddr::from_parts(server.id(), address);
        let serve = tokio::spawn(serve(server.clone()));
        let connection = client.connect(address, ALPN).await?;
        let (send, recv) = connection.open_bi().await?;
        Ok(Self { client, server, connection, send, recv, serve })
    }

    /// 64 bytes there and back, with a pause before each.
    async fn round_trips(&mut self, pause: Duration) -> Result<Samples, Failed> {
        let mut samples = Samples::default();
        let mut small = [1; 64];
        for _ in 0..ROUNDS {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            let start = Instant::now();
            self.send.write_all(&small).await?;
            self.recv.read_exact(&mut small).await?;
            samples.push(start.elapsed());
        }
        Ok(samples)
    }

    async fn close(self) -> Result<(), Failed> {
        self.connection.close(0_u32.into(), b"done");
        self.serve.await??;
        self.client.close().await;
        self.server.close().await;
        Ok(())
    }
}

/// Answers so many small messages, and then one long one, if it comes.
async fn serve(server: Endpoint) -> Result<(), Failed> {
    let connection = server.accept().await.ok_or("nobody came")?.await?;
    let (mut send, mut recv) = connection.accept_bi().await?;
    let mut small = [0; 64];
    for _ in 0..ROUNDS {
        recv.read_exact(&mut small).await?;
        send.write_all(&small).await?;
    }
    let mut piece = vec![0; 64 * 1024];
    let mut bytes = 0;
    while bytes < STREAM_BYTES {
        match recv.read(&mut piece).await {
            Ok(Some(more)) => bytes += more,
            Ok(None) | Err(_) => return Ok(()),
        }
    }
    send.write_all(&small).await?;
    connection.closed().await;
    Ok(())
}

async fn iroh_round_trips(pause: Duration) -> Result<Samples, Failed> {
    let mut wire = Wire::new().await?;
    let samples = wire.round_trips(pause).await?;
    wire.close().await?;
    Ok(samples)
}

/// Round trips of 64 bytes, and then one stream in one direction.
async fn iroh_stream() -> Result<Iroh, Failed> {
    let mut wire = Wire::new().await?;
    let samples = wire.round_trips(Duration::ZERO).await?;
    let piece = vec![7; 64 * 1024];
    let start = Instant::now();
    for _ in 0..STREAM_BYTES / piece.len() {
        wire.send.write_all(&piece).await?;
    }
    wire.recv.read_exact(&mut [0; 64]).await?;
    let bytes_per_s = STREAM_BYTES as f64 / start.elapsed().as_secs_f64();
    wire.close().await?;
    Ok(Iroh { round_trip_ms: samples.median_ms(), bytes_per_s })
}
