//! Clients that write, and what was promised to them.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use serde_json::{Value, json};

use super::{Http, PATIENCE, Process};

/// Clients that PUT documents `load/<round>-<client>-<number>` until they are told to stop, have written
/// as many as they should, or the node does not answer with success any more.
pub struct Load {
    clients: Vec<thread::JoinHandle<()>>,
    written: Arc<(Mutex<Written>, Condvar)>,
}

#[derive(Default)]
struct Written {
    answered: BTreeMap<String, Value>,
    refused: Vec<(u16, Value)>,
    running: usize,
}

impl Load {
    pub fn start(address: SocketAddr, round: &str, clients: usize, each: usize) -> Self {
        let written =
            Arc::new((Mutex::new(Written { running: clients, ..Written::default() }), Condvar::new()));
        let clients = (0..clients).map(|client| {
            let (written, prefix) = (Arc::clone(&written), format!("{round}-{client}"));
            thread::spawn(move || {
                // A connection that breaks ends this client: what was not answered does not count.
                let _ = Self::write(address, &prefix, each, &written);
                written.0.lock().unwrap().running -= 1;
                written.1.notify_all();
            })
        });
        Self { clients: clients.collect(), written }
    }

    fn write(
        address: SocketAddr,
        prefix: &str,
        each: usize,
        written: &(Mutex<Written>, Condvar),
    ) -> io::Result<()> {
        let mut http = Http::connect(address)?;
        for number in 0..each {
            let id = format!("{prefix}-{number}");
            let value = json!({"by": prefix, "n": number});
            let (status, answer) =
                http.request("PUT", &format!("/api/v1/documents/load/{id}"), Some(&value))?;
            let mut now = written.0.lock().unwrap();
            if (200..300).contains(&status) {
                now.answered.insert(id, value);
            } else {
                now.refused.push((status, answer));
                return Ok(());
            }
            written.1.notify_all();
        }
        Ok(())
    }

    /// Waits until so many PUTs have been answered.
    pub fn until_answered(&self, count: usize) {
        let enough = |now: &mut Written| now.answered.len() < count && now.running > 0;
        let waited = self.written.1.wait_timeout_while(self.written.0.lock().unwrap(), PATIENCE, enough);
        let answered = waited.unwrap().0.answered.len();
        assert!(answered >= count, "only {answered} of {count} PUTs were answered");
    }

    /// Waits for the clients; what was answered with success, and what with a refusal.
    pub fn finish(self) -> (BTreeMap<String, Value>, Vec<(u16, Value)>) {
        self.clients.into_iter().for_each(|client| client.join().unwrap());
        let mut written = self.written.0.lock().unwrap();
        (std::mem::take(&mut written.answered), std::mem::take(&mut written.refused))
    }
}

/// Every document that was acknowledged is there with its content.
pub fn check_nothing_is_missing(node: &Process, answered: &BTreeMap<String, Value>) {
    let there = node.collection("load");
    let missing: Vec<&String> =
        answered.iter().filter(|(id, value)| there.get(*id) != Some(value)).map(|(id, _)| id).collect();
    assert!(
        missing.is_empty(),
        "{}: {} of {} are missing: {missing:?}",
        node.name,
        missing.len(),
        answered.len()
    );
}
