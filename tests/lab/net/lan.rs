//! A switch with what is plugged into it, and cables between switches.
//!
//! All switches of a laboratory stand in one namespace of their own. A port that is cut is seen by its machine (the
//! light goes out); a cable that is cut is seen by nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::space::{Space, run};

/// A switch: a Linux bridge.
#[derive(Clone)]
pub struct Lan {
    room: Arc<Space>,
    bridge: String,
}

/// Numbers for interfaces, which need names of at most 15 letters.
fn number() -> u32 {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

impl Lan {
    pub fn new(room: &Arc<Space>) -> Self {
        let bridge = format!("br{}", number());
        room.ip(&format!("link add {bridge} type bridge forward_delay 0 stp_state 0"));
        room.ip(&format!("link set {bridge} up"));
        Self { room: Arc::clone(room), bridge }
    }

    /// A new interface of a machine, plugged in here, with these addresses.
    pub fn plug(&self, machine: &Arc<Space>, addresses: &[&str]) -> Port {
        let number = number();
        let port = Port {
            room: Arc::clone(&self.room),
            socket: format!("p{number}"),
            machine: Arc::clone(machine),
            interface: format!("eth{number}"),
        };
        let Port { socket, interface, .. } = &port;
        let (room, machine) = (&self.room.name, &machine.name);
        run(&format!("ip link add {interface} netns {machine} type veth peer name {socket} netns {room}"));
        self.room.ip(&format!("link set {socket} master {} up", self.bridge));
        addresses.iter().for_each(|address| port.add_address(address));
        port.machine.ip(&format!("link set {interface} up"));
        port
    }

    /// A cable to another switch.
    pub fn join(&self, other: &Self) -> Cable {
        let (ours, theirs) = (format!("c{}", number()), format!("c{}", number()));
        self.room.ip(&format!("link add {ours} type veth peer name {theirs}"));
        self.room.ip(&format!("link set {ours} master {} up", self.bridge));
        self.room.ip(&format!("link set {theirs} master {} up", other.bridge));
        Cable { room: Arc::clone(&self.room), end: ours, other_end: theirs }
    }
}

/// A cable between two switches.
pub struct Cable {
    room: Arc<Space>,
    end: String,
    other_end: String,
}

impl Cable {
    pub fn cut(&self) {
        self.room.ip(&format!("link set {} down", self.end));
    }

    pub fn heal(&self) {
        self.room.ip(&format!("link set {} up", self.end));
    }

    /// Larger packets vanish on this cable, and nobody is told.
    pub fn set_mtu(&self, bytes: u32) {
        self.room.ip(&format!("link set {} mtu {bytes}", self.end));
        self.room.ip(&format!("link set {} mtu {bytes}", self.other_end));
    }
}

/// One interface of a machine and its socket at the switch.
pub struct Port {
    room: Arc<Space>,
    socket: String,
    machine: Arc<Space>,
    pub interface: String,
}

impl Port {
    /// Pulls the plug: the machine loses its carrier.
    pub fn cut(&self) {
        self.room.ip(&format!("link set {} down", self.socket));
    }

    pub fn heal(&self) {
        self.room.ip(&format!("link set {} up", self.socket));
    }

    /// All that comes in vanishes; what goes out still does.
    pub fn deafen(&self) {
        self.filter("-I");
    }

    pub fn hear_again(&self) {
        self.filter("-D");
    }

    fn filter(&self, order: &str) {
        for tool in ["iptables", "ip6tables"] {
            let rule = format!("-w -t raw {order} PREROUTING -i {} -j DROP", self.interface);
            self.machine.exec(&format!("{tool} {rule}"));
        }
    }

    pub fn add_address(&self, address: &str) {
        // An IPv6 address that is checked for uniqueness first cannot be used for a second; ours are unique.
        let nodad = if address.contains(':') { " nodad" } else { "" };
        self.machine.ip(&format!("address add {address} dev {}{nodad}", self.interface));
    }

    pub fn remove_address(&self, address: &str) {
        self.machine.ip(&format!("address del {address} dev {}", self.interface));
    }

    pub fn set_mtu(&self, bytes: u32) {
        self.machine.ip(&format!("link set {} mtu {bytes}", self.interface));
        self.room.ip(&format!("link set {} mtu {bytes}", self.socket));
    }
}
