//! A slow wire that loses packets, between two machines that have no other way to each other.
//!
//! It stands between them like two tied address translators: each machine sends to the wire's near end, and what
//! is not lost leaves the far end after the delay. The kernel's own tool for this (`tc netem`) is not compiled
//! into every kernel; this runs everywhere and is the same everywhere.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::space::Space;

/// Packets that may be on the wire in one direction; more are lost.
const PACKETS_COUNT_MAX: usize = 16 * 1024;
/// How often a reader looks whether it is to end.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How the wire treats packets, in each direction.
#[derive(Clone, Copy)]
pub struct Manners {
    pub delay: Duration,
    /// How many of a hundred packets are lost.
    pub lost_percent: u32,
}

/// A wire that works until it goes out of scope.
pub struct Wire {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Wire {
    /// Lays a wire in `space`. Each of the two ends is its own address and that of the machine it leads to.
    pub fn lay(space: &Space, ends: [(SocketAddr, SocketAddr); 2], manners: Manners) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sockets = ends.map(|(own, _)| space.udp(own));
        let mut threads = Vec::new();
        for (from, to) in [(0, 1), (1, 0)] {
            let (sender, receiver) = sync_channel(PACKETS_COUNT_MAX);
            let (near, far) = (sockets[from].try_clone().unwrap(), sockets[to].try_clone().unwrap());
            let (machines, stop) = ((ends[from].1, ends[to].1), Arc::clone(&stop));
            threads.push(thread::spawn(move || take(&near, machines.0, manners, &sender, &stop)));
            threads.push(thread::spawn(move || give(&far, machines.1, &receiver)));
        }
        Self { stop, threads }
    }
}

type Packet = (Instant, Vec<u8>);

fn take(near: &UdpSocket, from: SocketAddr, manners: Manners, wire: &SyncSender<Packet>, stop: &AtomicBool) {
    near.set_read_timeout(Some(LOOK_EVERY)).unwrap();
    let mut random = StdRng::seed_from_u64(u64::from(from.port()));
    let mut buffer = vec![0; 65_536];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, sender)) = near.recv_from(&mut buffer) else { continue };
        if sender == from && random.random_range(0..100) >= manners.lost_percent {
            // A wire that is full loses what comes.
            let _ = wire.try_send((Instant::now() + manners.delay, buffer[..length].to_vec()));
        }
    }
}

fn give(far: &UdpSocket, to: SocketAddr, wire: &Receiver<Packet>) {
    while let Ok((due, packet)) = wire.recv() {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // The machine may not listen yet, or not any more.
        let _ = far.send_to(&packet, to);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
