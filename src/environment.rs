//! Environment variables to a [`Config`]. Every variable is looked at before anything is reported, and
//! nothing that is set wrongly falls back to a default.

mod attachments;
mod blobs;
mod broker;
mod federation;
mod kubernetes;
mod relays;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use peat_mesh_core::NodeName;

pub use self::broker::broker;
use crate::config::{
    CACHE_BYTES_DEFAULT, Config, DataFolder, LogConfig, LogFormat, MAX_PEERS_DEFAULT, RUST_LOG_DEFAULT,
    Source,
};
use crate::discovery::fixed::StaticPeer;
use crate::identity::FormationSecret;
use crate::relay;

const HOSTNAME_DEFAULT: &str = "peat-mesh-0";
const DATA_FOLDER_DEFAULT: &str = "/data";
pub(crate) const BROKER_PORT_DEFAULT: u16 = 8081;
const IROH_PORT_DEFAULT: u16 = 11204;
const MAX_PEERS_MIN: usize = 3;
const MAX_PEERS_MAX: usize = 256;
/// Memory for loaded documents, in bytes: from some documents of usual size to more than a machine has.
const CACHE_BYTES_MIN: usize = 1024 * 1024;
const CACHE_BYTES_MAX: usize = 1024 * 1024 * 1024 * 1024;

/// Where values come from: the environment, or a map in tests.
pub trait Strings {
    /// The value of a variable, if it is set.
    fn get(&self, name: &str) -> Option<String>;
}

/// The process's environment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Environment;

impl Strings for Environment {
    fn get(&self, name: &str) -> Option<String> {
        // Bytes that are not UTF-8 are kept as a character that no value allows.
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }
}

impl Strings for std::collections::BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<String> {
        std::collections::BTreeMap::get(self, name).cloned()
    }
}

/// One thing wrong with the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The variable.
    pub variable: &'static str,
    /// What is wrong with its value.
    pub problem: String,
    /// What a right one looks like.
    pub example: &'static str,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}. Example: {}", self.variable, self.problem, self.example)
    }
}

/// All the mistakes of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(|mistake| format!("  {mistake}")).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Mistakes {}

struct Reader<'a> {
    strings: &'a dyn Strings,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    /// The trimmed value of a variable; one that is set to nothing counts as not set.
    fn text(&self, variable: &str) -> Option<String> {
        let value = self.strings.get(variable)?.trim().to_owned();
        (!value.is_empty()).then_some(value)
    }

    fn wrong(&mut self, variable: &'static str, problem: impl Into<String>, example: &'static str) {
        self.mistakes.push(Mistake { variable, problem: problem.into(), example });
    }

    fn parse<T: FromStr>(
        &mut self,
        variable: &'static str,
        expected: &str,
        example: &'static str,
    ) -> Option<T> {
        let text = self.text(variable)?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.wrong(variable, format!("{text:?} is not {expected}"), example);
        }
        parsed
    }

    fn list(&self, variable: &str) -> Option<Vec<String>> {
        let text = self.text(variable)?;
        Some(text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect())
    }

    fn secret(&mut self) -> Option<FormationSecret> {
        const VARIABLE: &str = "PEAT_FORMATION_SECRET";
        const EXAMPLE: &str = "PEAT_FORMATION_SECRET=\"$(openssl rand -base64 32)\", the same on every node \
                               (`peat-mesh-node secret` prints one too)";
        let Some(text) = self.text(VARIABLE) else {
            self.wrong(VARIABLE, "it is not set", EXAMPLE);
            return None;
        };
        match FormationSecret::parse(&text) {
            Ok(secret) => Some(secret),
            Err(problem) => {
                self.wrong(VARIABLE, problem.to_string(), EXAMPLE);
                None
            }
        }
    }

    fn name(&mut self) -> Option<NodeName> {
        let host = self.text("HOSTNAME").unwrap_or_else(|| HOSTNAME_DEFAULT.to_owned());
        let host_name = NodeName::new(&host).map_err(|problem| problem.to_string());
        let host_name = host_name.and_then(|name| match host.contains('/') {
            false => Ok(name),
            true => Err("it has a slash; set the cluster in PEAT_CLUSTER".to_owned()),
        });
        if let Err(problem) = &host_name {
            self.wrong("HOSTNAME", problem.clone(), "HOSTNAME=vehicle-7");
        }
        let Some(cluster) = self.text("PEAT_CLUSTER") else { return host_name.ok() };
        let host = host_name.ok()?;
        let full = format!("{cluster}/{host}");
        let problem = match (cluster.contains('/'), NodeName::new(&full)) {
            (false, Ok(name)) => return Some(name),
            (true, _) => format!("{cluster:?} has a slash"),
            (false, Err(problem)) => problem.to_string(),
        };
        self.wrong("PEAT_CLUSTER", problem, "PEAT_CLUSTER=alpha");
        None
    }

    fn static_peers(&mut self) -> Vec<StaticPeer> {
        let Some(text) = self.text("PEAT_STATIC_PEERS") else { return Vec::new() };
        match StaticPeer::parse_list(&text) {
            Ok(peers) => peers,
            Err(problems) => {
                for problem in problems {
                    self.wrong(
                        "PEAT_STATIC_PEERS",
                        problem,
                        "PEAT_STATIC_PEERS=vehicle-7@10.0.0.7:11204,alpha/peat-mesh-0@gateway.example:31204",
                    );
                }
                Vec::new()
            }
        }
    }

    fn discovery(&mut self, static_peers: bool) -> Vec<Source> {
        const VARIABLE: &str = "PEAT_DISCOVERY";
        const EXAMPLE: &str =
            "PEAT_DISCOVERY=mdns, or PEAT_DISCOVERY=kubernetes,static with PEAT_STATIC_PEERS";
        let names = self.list(VARIABLE).unwrap_or_else(|| vec!["kubernetes".to_owned()]);
        let mut sources = Vec::new();
        for name in names {
            match name.as_str() {
                "kubernetes" => sources.push(Source::Kubernetes),
                "mdns" => sources.push(Source::Mdns),
                "static" => sources.push(Source::Static),
                other => {
                    self.wrong(VARIABLE, format!("{other:?} is none of kubernetes, mdns, static"), EXAMPLE);
                }
            }
        }
        if static_peers {
            sources.push(Source::Static);
        } else if sources.contains(&Source::Static) {
            self.wrong(
                "PEAT_STATIC_PEERS",
                "it is not set, but PEAT_DISCOVERY asks for static",
                "PEAT_STATIC_PEERS=vehicle-7@10.0.0.7:11204",
            );
        }
        sources.sort_unstable();
        sources.dedup();
        sources
    }

    fn data_folder(&mut self) -> DataFolder {
        if let Some(path) = self.text("PEAT_DATA_DIR") {
            return DataFolder { path: path.into(), fallback: None };
        }
        let state = self
            .text("XDG_STATE_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(self.text("HOME")?).join(".local/state")));
        DataFolder { path: DATA_FOLDER_DEFAULT.into(), fallback: state.map(|state| state.join("peat-mesh")) }
    }

    fn max_peers(&mut self) -> usize {
        let example = "PEAT_MAX_PEERS=16, the same on every node";
        self.number("PEAT_MAX_PEERS", MAX_PEERS_MIN..=MAX_PEERS_MAX, example).unwrap_or(MAX_PEERS_DEFAULT)
    }

    fn cache_bytes(&mut self) -> usize {
        let example = "PEAT_CACHE_BYTES=67108864 (64 MiB)";
        self.number("PEAT_CACHE_BYTES", CACHE_BYTES_MIN..=CACHE_BYTES_MAX, example)
            .unwrap_or(CACHE_BYTES_DEFAULT)
    }

    fn number(
        &mut self,
        variable: &'static str,
        range: RangeInclusive<usize>,
        example: &'static str,
    ) -> Option<usize> {
        let allowed = format!("a number from {} to {}", range.start(), range.end());
        let number = self.parse(variable, &allowed, example)?;
        if !range.contains(&number) {
            self.wrong(variable, format!("{number} is not {allowed}"), example);
        }
        Some(number)
    }

    fn port(&mut self, variable: &'static str, default: u16, example: &'static str) -> u16 {
        self.parse(variable, "a port from 0 to 65535", example).unwrap_or(default)
    }
}

/// Reads a node's configuration.
///
/// # Errors
/// All mistakes at once.
pub fn read(strings: &dyn Strings) -> Result<Config, Mistakes> {
    let mut reader = Reader { strings, mistakes: Vec::new() };
    let secret = reader.secret();
    let name = reader.name();
    let mut static_peers = reader.static_peers();
    let has_static_peers = reader.text("PEAT_STATIC_PEERS").is_some();
    let discovery = reader.discovery(has_static_peers);
    let is_gateway = reader.is_gateway(name.as_ref());
    let relays = reader.relays(&static_peers);
    if !is_gateway {
        static_peers.clear();
    }
    let external_addresses = reader.external_addresses(name.as_ref());
    let link_scopes = reader.link_scopes();
    let is_wanted = discovery.contains(&Source::Kubernetes);
    let kubernetes = reader.kubernetes(is_wanted, reader.text("PEAT_DISCOVERY").is_none());
    let data_folder = reader.data_folder();
    let (broker_bind, broker_port) = reader.broker();
    let iroh_port = reader.port("PEAT_IROH_BIND_PORT", IROH_PORT_DEFAULT, "PEAT_IROH_BIND_PORT=11204");
    let mdns_interfaces = reader.list("PEAT_MDNS_INTERFACES");
    let max_peers = reader.max_peers();
    let cache_bytes = reader.cache_bytes();
    let attachments = reader.attachments();
    let blob_limits = reader.blob_limits();
    if let Err(mut log) = log(strings) {
        reader.mistakes.append(&mut log.0);
    }
    match (secret, name) {
        (Some(secret), Some(name)) if reader.mistakes.is_empty() => Ok(Config {
            secret,
            name,
            discovery,
            static_peers,
            mdns_interfaces,
            kubernetes,
            data_folder,
            broker_bind,
            broker_port,
            iroh_port,
            relays,
            is_gateway,
            external_addresses,
            link_scopes,
            iroh_bind: Vec::new(),
            max_peers,
            cache_bytes,
            attachments,
            blob_limits,
        }),
        _ => Err(Mistakes(reader.mistakes)),
    }
}

/// Reads only who the node is: its secret and its name.
///
/// # Errors
/// All mistakes at once.
pub fn identity(strings: &dyn Strings) -> Result<(FormationSecret, NodeName), Mistakes> {
    let mut reader = Reader { strings, mistakes: Vec::new() };
    match (reader.secret(), reader.name()) {
        (Some(secret), Some(name)) => Ok((secret, name)),
        _ => Err(Mistakes(reader.mistakes)),
    }
}

/// Reads how a relay is set up.
///
/// # Errors
/// All mistakes at once.
pub fn relay(strings: &dyn Strings) -> Result<relay::Settings, Mistakes> {
    let mut reader = Reader { strings, mistakes: Vec::new() };
    let secret = reader.secret();
    let relays::Relay { bind, port, tls } = reader.relay();
    match secret {
        Some(secret) if reader.mistakes.is_empty() => Ok(relay::Settings { secret, bind, port, tls }),
        _ => Err(Mistakes(reader.mistakes)),
    }
}

/// Reads what the log shows and how.
///
/// # Errors
/// All mistakes at once.
pub fn log(strings: &dyn Strings) -> Result<LogConfig, Mistakes> {
    let mut reader = Reader { strings, mistakes: Vec::new() };
    let format = match reader.text("PEAT_LOG_FORMAT").as_deref() {
        None | Some("text") => LogFormat::Text,
        Some("json") => LogFormat::Json,
        Some(other) => {
            let problem = format!("{other:?} is neither text nor json");
            reader.wrong("PEAT_LOG_FORMAT", problem, "PEAT_LOG_FORMAT=json");
            LogFormat::Text
        }
    };
    let filter = reader.text("RUST_LOG").unwrap_or_else(|| RUST_LOG_DEFAULT.to_owned());
    if let Err(problem) = crate::telemetry::check_filter(&filter) {
        reader.wrong("RUST_LOG", problem, "RUST_LOG=info,peat_mesh=debug");
    }
    if reader.mistakes.is_empty() { Ok(LogConfig { filter, format }) } else { Err(Mistakes(reader.mistakes)) }
}
