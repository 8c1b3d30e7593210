//! A network namespace: made with a name of its own, entered by threads, gone when it goes out of scope.
//!
//! A new namespace has no interface but loopback, and nothing here ever connects one to the machine's own.

use std::fs::File;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// What the names of all namespaces of the laboratory begin with; the process id follows.
const PREFIX: &str = "peatlab";

/// Runs a command and panics with what it printed when it fails.
pub fn run(command: &str) {
    try_run(command).unwrap_or_else(|problem| panic!("{problem}"));
}

fn try_run(command: &str) -> Result<String, String> {
    let mut words = command.split_whitespace();
    let program = words.next().unwrap();
    let output =
        Command::new(program).args(words).output().map_err(|problem| format!("{command}: {problem}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{command}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// What the laboratory lacks here; `None` when it can run.
pub fn missing() -> Option<String> {
    if !crate::common::is_root() {
        return Some("only root can make network namespaces".to_owned());
    }
    for tool in ["ip -V", "iptables -V"] {
        if let Err(problem) = try_run(tool) {
            return Some(format!("a tool is missing ({problem})"));
        }
    }
    let probe = Space::try_new("probe");
    probe.err().map(|problem| format!("network namespaces cannot be made here ({problem})"))
}

/// Removes what earlier runs left that could not clean up, processes included.
pub fn sweep() {
    for line in try_run("ip netns list").unwrap_or_default().lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let Some(pid) = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').nth(1)) else { continue };
        if Path::new("/proc").join(pid).exists() {
            continue;
        }
        for left in try_run(&format!("ip netns pids {name}")).unwrap_or_default().split_whitespace() {
            let _ = try_run(&format!("kill -KILL {left}"));
        }
        let _ = try_run(&format!("ip netns del {name}"));
    }
}

/// One network namespace.
pub struct Space {
    pub name: String,
}

impl Space {
    pub fn new(label: &str) -> Self {
        Self::try_new(label).unwrap_or_else(|problem| panic!("{problem}"))
    }

    fn try_new(label: &str) -> Result<Self, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let space = Self { name: format!("{PREFIX}-{}-{number}-{label}", std::process::id()) };
        try_run(&format!("ip netns add {}", space.name))?;
        try_run(&format!("ip -n {} link set lo up", space.name))?;
        Ok(space)
    }

    /// `ip` with these words, in here.
    pub fn ip(&self, words: &str) {
        run(&format!("ip -n {} {words}", self.name));
    }

    /// Any command, in here.
    pub fn exec(&self, command: &str) {
        run(&format!("ip netns exec {} {command}", self.name));
    }

    /// Acts in here, on a thread that lives no longer. Sockets that it returns stay in here.
    pub fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let file = File::open(Path::new("/run/netns").join(&self.name)).unwrap();
        let enter_and_act = || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            act()
        };
        thread::scope(|scope| scope.spawn(enter_and_act).join().unwrap())
    }

    pub fn connect(&self, to: SocketAddr) -> std::io::Result<TcpStream> {
        self.within(|| TcpStream::connect(to))
    }

    pub fn udp(&self, at: SocketAddr) -> UdpSocket {
        self.within(|| UdpSocket::bind(at)).unwrap()
    }

    /// Writes a setting of the kernel that each namespace has for itself: `ipv4/ip_forward`.
    pub fn set(&self, setting: &str, value: &str) {
        self.within(|| std::fs::write(Path::new("/proc/sys/net").join(setting), value)).unwrap();
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = try_run(&format!("ip netns del {}", self.name));
    }
}
