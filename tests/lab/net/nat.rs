//! A router that hides the machines behind it, as at home: what goes out gets the router's address, and what comes in
//! passes only as an answer.

use std::sync::Arc;

use super::lan::Lan;
use super::space::Space;

/// How the router chooses the outside port of a machine.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    /// The machine's own, whoever it talks to: a direct path can be made through it.
    Kept,
    /// Another one for each it talks to ("symmetric"): nobody can be told where the machine is.
    Random,
}

/// A router between a network and the rest of the world.
pub struct Nat {
    _router: Arc<Space>,
}

impl Nat {
    /// `inside` and `outside` are the router's addresses there, with their lengths.
    pub fn new(home: (&Lan, &str), world: (&Lan, &str), ports: Ports) -> Self {
        let router = Arc::new(Space::new("router"));
        let inside = home.0.plug(&router, &[home.1]).interface;
        let outside = world.0.plug(&router, &[world.1]).interface;
        router.set("ipv4/ip_forward", "1");
        let random = if ports == Ports::Random { " --random-fully" } else { "" };
        for rule in [
            format!("-t nat -A POSTROUTING -o {outside} -j MASQUERADE{random}"),
            // A packet that nobody asked for leaves no trace, so that it takes no port away.
            format!("-A INPUT -i {outside} -j DROP"),
            "-P FORWARD DROP".to_owned(),
            format!("-A FORWARD -i {inside} -o {outside} -j ACCEPT"),
            format!("-A FORWARD -i {outside} -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT"),
        ] {
            router.exec(&format!("iptables -w {rule}"));
        }
        Self { _router: router }
    }
}
