//! The log: one subscriber, made once, in the binary.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::config::{LogConfig, LogFormat};

/// Directives that stand before the user's own: libraries that speak much at info say less. Those that are off
/// say what we say too, in other words and each time.
///
/// The collector of blobs speaks of its own end, which comes with every clean stop; that it failed is told
/// to whoever asked for it.
const QUIET: &str = "iroh=warn,noq=warn,noq_proto=warn,noq_udp=off,mdns_sd=off,netwatch=warn,iroh_relay=warn,\
                     kube_client=off,iroh_blobs=warn,iroh_blobs::store::gc=off";

/// Whether a filter can be read.
///
/// # Errors
/// What is wrong with it, in words.
pub fn check_filter(filter: &str) -> Result<(), String> {
    EnvFilter::builder().parse(filter).map(drop).map_err(|problem| format!("{filter:?}: {problem}"))
}

/// Starts the log on standard output, with colours only on a terminal.
///
/// # Errors
/// When a subscriber is there already.
pub fn start(config: &LogConfig) -> Result<(), TryInitError> {
    let filter = EnvFilter::new(format!("{QUIET},{}", config.filter));
    let registry = tracing_subscriber::registry().with(filter);
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    match config.format {
        LogFormat::Text => {
            registry.with(tracing_subscriber::fmt::layer().with_ansi(colour).with_target(false)).try_init()
        }
        LogFormat::Json => {
            registry.with(tracing_subscriber::fmt::layer().json().flatten_event(true)).try_init()
        }
    }
}
