//! The blobs of a running node from the command line: files go in by `put` and come out by `get`, over its HTTP API.
//!
//! In: words of the command line. Out: hashes and content on standard output, all else on standard error, and an
//! exit status: 0, 1 when something failed, 2 when the words were wrong.
//!
//! - `address`: which node.
//! - `http`: one request and its answer; `error`: why there is none, for a person; `retry`: what is tried again.
//! - `put`, `get`, `list`: the commands; `part`: what has come of a blob, and whether it is right.
//! - `progress`: the line that shows how it goes, on a terminal.

mod address;
mod error;
mod get;
mod http;
mod list;
mod part;
mod progress;
mod put;
mod retry;

use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use self::address::Address;
use self::error::ClientError;
use self::http::Client;
use crate::environment::Strings;
use crate::handle::BlobHash;

/// Exit status for wrong words or variables.
pub const STATUS_USAGE: u8 = 2;

const AFTER_HELP: &str = "\
Without --node it is the node that these variables give, as they do for the node itself:
  PEAT_BROKER_BIND  its address; 0.0.0.0 and :: mean this machine [127.0.0.1]
  PEAT_BROKER_PORT  its port [8081]

Exit status: 0, 1 when something failed, 2 when the command line is wrong.

  peat-mesh-node blob put map.mbtiles             prints the hash and the name, as b3sum does
  peat-mesh-node blob get <hash> -o map.mbtiles   on any other node; goes on where it broke off";

/// What is to be done with the blobs of which node.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The node: http://host:port (there is no https)
    #[arg(long, global = true, value_name = "URL")]
    node: Option<Address>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send files to the node, and print the hash of each
    Put {
        /// Files; - is standard input
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Get a blob from the node, which fetches it from the others when it does not have it
    Get {
        /// The blob
        hash: BlobHash,
        /// Where it goes; - is standard output [the hash, in the present folder]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// List the blobs that are whole on the node, with their sizes in bytes
    Ls {
        /// As an array of JSON
        #[arg(long)]
        json: bool,
    },
    /// Drop blobs from this node; other nodes keep what they have
    Rm {
        /// The blobs
        #[arg(required = true, value_name = "HASH")]
        hashes: Vec<BlobHash>,
    },
}

/// Does it, until it is done or `stop` is, and says on standard error what goes wrong.
pub async fn run(arguments: Arguments, strings: &dyn Strings, stop: impl Future<Output = ()>) -> ExitCode {
    let address = match arguments.node.map_or_else(|| Address::of_environment(strings), Ok) {
        Ok(address) => address,
        Err(mistake) => {
            eprintln!("peat-mesh-node: {mistake}");
            return ExitCode::from(STATUS_USAGE);
        }
    };
    let client = Client::new(address);
    let stop = pin!(stop);
    let done = match arguments.command {
        Command::Put { files } => put::all(&client, &files, stop).await,
        Command::Get { hash, output } => get::run(&client, hash, output, stop).await,
        Command::Ls { json } => or_stopped(list::list(&client, json), stop).await,
        Command::Rm { hashes } => or_stopped(list::remove(&client, &hashes), stop).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            problem.tell();
            ExitCode::FAILURE
        }
    }
}

async fn or_stopped(
    work: impl Future<Output = Result<(), ClientError>>,
    stop: impl Future<Output = ()>,
) -> Result<(), ClientError> {
    tokio::select! {
        done = work => done,
        () = stop => Err(ClientError::Stopped("stopped".to_owned())),
    }
}
