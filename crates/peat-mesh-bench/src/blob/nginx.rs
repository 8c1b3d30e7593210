//! nginx and curl, to compare with: a file over HTTP on loopback, from one file to another.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::TcpStream;

use crate::nodes::Failed;
use crate::process::{Guard, Process, answer, orders};

/// The hidden argument.
pub(crate) const ARGUMENT: &str = "nginx";
const FOLDER: &str = "BENCH_FOLDER";

/// Longest wait until it listens.
const START_MAX: Duration = Duration::from_secs(10);
const CONFIG: &str = "nginx.conf";

/// An nginx of the bench, which serves one folder.
#[derive(Debug)]
pub(super) struct Nginx {
    address: SocketAddr,
    process: Process,
}

/// The hidden side: a process that runs nginx until its input ends, also when the bench was killed.
pub(crate) async fn child() -> Result<(), Failed> {
    let folder = PathBuf::from(std::env::var(FOLDER)?);
    let mut command = Command::new("nginx");
    command.arg("-e").arg(folder.join("error.log")).arg("-p").arg(&folder).arg("-c").arg(folder.join(CONFIG));
    let _nginx = Guard(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?);
    answer(&json!({}))?;
    let mut orders = orders();
    while orders.recv().await.is_some() {}
    Ok(())
}

/// Whether a program is there.
fn is_installed(program: &str, option: &str) -> bool {
    let tried = Command::new(program).arg(option).stdout(Stdio::null()).stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

impl Nginx {
    /// Starts it; `None` when it or curl is not installed. What it needs is written to `folder`.
    pub(super) async fn start(folder: &Path, served: &Path) -> Result<Option<Self>, Failed> {
        if !is_installed("nginx", "-v") || !is_installed("curl", "--version") {
            return Ok(None);
        }
        std::fs::create_dir_all(folder)?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let (own, served) = (folder.display(), served.display());
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {own}/{what};\n"))
            .concat();
        let config = format!(
            "daemon off;\nmaster_process off;\npid {own}/pid;\nerror_log {own}/error.log;\nevents {{}}\n\
             http {{\naccess_log off;\nsendfile on;\n{temporary}\
             server {{ listen {address}; root {served}; }}\n}}\n"
        );
        std::fs::write(folder.join(CONFIG), config)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(ARGUMENT).env(FOLDER, folder);
        let (process, _) = Process::start("nginx".to_owned(), &mut command).await?;
        let deadline = Instant::now() + START_MAX;
        while TcpStream::connect(address).await.is_err() {
            if Instant::now() > deadline {
                let log = std::fs::read_to_string(folder.join("error.log")).unwrap_or_default();
                return Err(format!("nginx does not listen on {address}: {}", log.trim()).into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(Some(Self { address, process }))
    }

    pub(super) async fn stop(self) -> Result<(), Failed> {
        self.process.stop().await
    }

    /// Seconds of curl to fetch a file of the served folder to another.
    pub(super) async fn fetch(&self, name: &str, to: &Path) -> Result<f64, Failed> {
        let mut command = Command::new("curl");
        command.args(["-sS", "--fail", "--noproxy", "*", "-o"]).arg(to);
        command.arg(format!("http://{}/{name}", self.address));
        let begun = Instant::now();
        let done = tokio::task::spawn_blocking(move || command.status()).await??;
        let seconds = begun.elapsed().as_secs_f64();
        std::fs::remove_file(to)?;
        if done.success() { Ok(seconds) } else { Err(format!("curl ended with {done}").into()) }
    }
}
