//! The node as a program: environment in, log lines and an exit status out.

use std::io;
use std::panic;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use peat_mesh::config::{LogConfig, RUST_LOG_DEFAULT};
use peat_mesh::environment::{self, Environment};
use peat_mesh::identity::{FormationSecret, Identity};
use peat_mesh::relay::Relay;
use peat_mesh::service::Service;
use peat_mesh::{client, demo, telemetry, tls};
use peat_mesh_core::guard;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info};

/// Exit status for a mistake in the environment or on the command line (sysexits' EX_USAGE).
const STATUS_USAGE: u8 = 64;
/// How long requests in flight may take when the node stops.
const GRACE: Duration = Duration::from_secs(10);
/// How long threads that read the disk or resolve names may keep the process after that.
const THREADS_GRACE: Duration = Duration::from_millis(500);

/// Keeps JSON documents in step between machines with no server in the middle.
#[derive(Debug, Parser)]
#[command(name = "peat-mesh-node", version, about, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node until SIGTERM or Ctrl-C (this is the default)
    Run,
    /// Show three nodes at work on real data, on this machine, with temporary stores
    Demo {
        /// End when all three agree (status 0) or do not within a minute (status 1)
        #[arg(long)]
        exit: bool,
    },
    /// Run a relay, over which nodes behind NATs reach each other
    Relay,
    /// Put, get, list and remove blobs (files) of a running node
    Blob(client::Arguments),
    /// Print a new formation secret
    Secret,
    /// Print the node's name, device id and endpoint id for the present variables
    Identity,
}

const AFTER_HELP: &str = "\
Environment of `run`:
  PEAT_FORMATION_SECRET  the secret that all nodes share, base64 (required; `peat-mesh-node secret`)
  HOSTNAME               this node's name [peat-mesh-0]
  PEAT_CLUSTER           put before the name, so that equal host names in two clusters differ
  PEAT_DISCOVERY         how peers are found: kubernetes, mdns, static, or several with commas [kubernetes]
  PEAT_STATIC_PEERS      name@host:port, <endpoint id>@host:port or name@relay, separated by commas
  PEAT_K8S_NAMESPACE     the namespace whose EndpointSlices are watched [the pod's own]
  PEAT_K8S_LABEL_SELECTOR  the labels of these EndpointSlices [app=peat-mesh]
  PEAT_MDNS_INTERFACES   interfaces for mDNS, by name or address [all]
  PEAT_DATA_DIR          where data is kept [/data, or ~/.local/state/peat-mesh]
  PEAT_BROKER_BIND       address of the HTTP API [127.0.0.1]
  PEAT_BROKER_PORT       TCP port of the HTTP API [8081]
  PEAT_IROH_BIND_PORT    UDP port of QUIC [11204]
  PEAT_EXTERNAL_ADDR     where this node is reached from outside: host:port, separated by commas [none]
  PEAT_GATEWAYS          names of the nodes that use PEAT_STATIC_PEERS [all]
  PEAT_LINK_SCOPES       what may cross: \"bravo/*: send=tracks receive=orders; ...\" [everything]
  PEAT_IROH_RELAY_URLS   relays of the formation, https://host:port, separated by commas [none]
  PEAT_BLOB_POLICY       which files come with their documents: maps=eager,archive=pinned,*=lazy [*=lazy]
  PEAT_BLOB_GRACE_SECS   how long a file stays that no document names, 0 for ever [604800, 7 days]
  PEAT_BLOB_MAX_BYTES    what all files may take of the disk, such as 20GB [no limit]
  PEAT_BLOB_BANDWIDTH    what they may take of the network in a second, such as 5MB [no limit]
  PEAT_LOG_FORMAT        text or json [text]
  RUST_LOG               what the log shows [info,peat_mesh=debug]

Environment of `relay`:
  PEAT_FORMATION_SECRET  the secret of the formation that may use it (required)
  PEAT_RELAY_BIND        address it listens on [all]
  PEAT_RELAY_PORT        its port, TCP and UDP [3340]
  PEAT_RELAY_TLS         false behind a proxy that has TLS of its own; nodes use http:// then [true]
  PEAT_LOG_FORMAT and RUST_LOG as above

Two nodes on one machine, in two shells with the same PEAT_FORMATION_SECRET:
  HOSTNAME=one PEAT_DATA_DIR=/tmp/one PEAT_DISCOVERY=static PEAT_STATIC_PEERS=two@127.0.0.1:11205 \\
    peat-mesh-node
  HOSTNAME=two PEAT_DATA_DIR=/tmp/two PEAT_DISCOVERY=static PEAT_STATIC_PEERS=one@127.0.0.1:11204 \\
    PEAT_BROKER_PORT=8082 PEAT_IROH_BIND_PORT=11205 peat-mesh-node";

/// A panic is printed, unless it is one of a library on damaged bytes that is caught and told in words.
fn quiet_expected_panics() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !guard::is_expected() {
            print(panic);
        }
    }));
}

fn main() -> ExitCode {
    tls::use_one_provider();
    quiet_expected_panics();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(problem) => {
            // A closed output is no reason to fail once more.
            let _ = problem.print();
            return if problem.use_stderr() { ExitCode::from(usage_status()) } else { ExitCode::SUCCESS };
        }
    };
    match arguments.command.unwrap_or(Command::Run) {
        Command::Run => run(),
        Command::Demo { exit } => demo(exit),
        Command::Relay => relay(),
        Command::Blob(arguments) => blob(arguments),
        Command::Secret => {
            println!("{}", *FormationSecret::generate());
            ExitCode::SUCCESS
        }
        Command::Identity => identity(),
    }
}

/// The exit status for wrong words: that of programs for files after `blob`.
fn usage_status() -> u8 {
    let is_blob = std::env::args_os().nth(1).is_some_and(|word| word == "blob");
    if is_blob { client::STATUS_USAGE } else { STATUS_USAGE }
}

fn blob(arguments: client::Arguments) -> ExitCode {
    on_runtime(async {
        let mut signals = StopSignals::watch();
        let stop = async {
            signals.next().await;
        };
        client::run(arguments, &Environment, stop).await
    })
}

fn wrong_environment(mistakes: &environment::Mistakes) -> ExitCode {
    eprintln!("peat-mesh-node cannot start with this environment:\n{mistakes}");
    ExitCode::from(STATUS_USAGE)
}

fn failed(problem: impl std::fmt::Display) -> ExitCode {
    eprintln!("peat-mesh-node: {problem}");
    ExitCode::FAILURE
}

fn identity() -> ExitCode {
    match environment::identity(&Environment) {
        Ok((secret, name)) => {
            let identity = Identity::new(secret, name);
            println!("node_id      {}", identity.name());
            println!("device_id    {}", identity.device_id());
            println!("endpoint_id  {}", identity.endpoint_id());
            ExitCode::SUCCESS
        }
        Err(mistakes) => wrong_environment(&mistakes),
    }
}

fn on_runtime(work: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let status = runtime.block_on(work);
            runtime.shutdown_timeout(THREADS_GRACE);
            status
        }
        Err(problem) => failed(format!("the runtime cannot start: {problem}")),
    }
}

fn demo(exit: bool) -> ExitCode {
    let log = LogConfig {
        filter: std::env::var("RUST_LOG").unwrap_or_else(|_| "warn".to_owned()),
        ..LogConfig::default()
    };
    if let Err(problem) = telemetry::check_filter(&log.filter) {
        return failed(format!("RUST_LOG: {problem}"));
    }
    if let Err(problem) = telemetry::start(&log) {
        return failed(problem);
    }
    on_runtime(async {
        let mut signals = StopSignals::watch();
        let stop = async {
            signals.next().await;
        };
        match demo::run(exit, stop).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(problem) => failed(problem),
        }
    })
}

fn run() -> ExitCode {
    let config = match environment::read(&Environment) {
        Ok(config) => config,
        Err(mistakes) => return wrong_environment(&mistakes),
    };
    let log = environment::log(&Environment).unwrap_or_default();
    if let Err(problem) = telemetry::start(&log) {
        return failed(problem);
    }
    on_runtime(async {
        let mut signals = StopSignals::watch();
        let mut service = match Service::start(config, GRACE).await {
            Ok(service) => service,
            Err(problem) => {
                error!("{problem}");
                return failed(problem);
            }
        };
        let status = until_stopped(&mut signals, service.broken()).await;
        service.shutdown().await;
        status
    })
}

/// Waits for the word to stop, or until what runs is broken, and says which in the log.
async fn until_stopped(signals: &mut StopSignals, broken: impl Future<Output = String>) -> ExitCode {
    tokio::select! {
        name = signals.next() => {
            info!("{name}: shutting down");
            ExitCode::SUCCESS
        }
        problem = broken => {
            error!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn relay() -> ExitCode {
    let settings = match environment::relay(&Environment) {
        Ok(settings) => settings,
        Err(mistakes) => return wrong_environment(&mistakes),
    };
    let mut log = match environment::log(&Environment) {
        Ok(log) => log,
        Err(mistakes) => return wrong_environment(&mistakes),
    };
    if log.filter == RUST_LOG_DEFAULT {
        // The library writes an error for whatever strangers do, of which there may be a flood; our lines are counted.
        log.filter.push_str(",iroh_relay=off,noq=error");
    }
    if let Err(problem) = telemetry::start(&log) {
        return failed(problem);
    }
    on_runtime(async {
        let mut signals = StopSignals::watch();
        let mut relay = match Relay::start(settings).await {
            Ok(relay) => relay,
            Err(problem) => {
                error!("{problem}");
                return failed(problem);
            }
        };
        let status = until_stopped(&mut signals, relay.broken()).await;
        if status == ExitCode::SUCCESS {
            // A broken one has ended already.
            relay.shutdown().await;
        }
        status
    })
}

/// Signals that stop the node. From its making on they no longer end the process by themselves.
struct StopSignals(io::Result<(Signal, Signal)>);

impl StopSignals {
    /// Has to be called in the runtime, before there is anything to stop.
    fn watch() -> Self {
        let both = signal(SignalKind::terminate())
            .and_then(|terminate| Ok((terminate, signal(SignalKind::interrupt())?)));
        if let Err(problem) = &both {
            error!("signals cannot be watched; stop this node with SIGKILL: {problem}");
        }
        Self(both)
    }

    /// Waits for the first of them and names it.
    async fn next(&mut self) -> &'static str {
        let Ok((terminate, interrupt)) = &mut self.0 else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    }
}
