//! Prints how large formations behave.

use peat_mesh_overlay::Settings;
use peat_mesh_sim::swarm::{Measured, hops_bound, measure, update};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (mut sizes, mut bytes, mut seed) = (vec![10, 100, 1_000], vec![300, 1_024], 1);
    let mut settings = Settings::default();
    for pair in arguments.chunks(2) {
        let n = |s: &str| s.parse::<u64>().unwrap();
        match pair {
            [name, value] if name == "--nodes" => {
                sizes = value.split(',').map(|it| it.parse().unwrap()).collect()
            }
            [name, value] if name == "--bytes" => {
                bytes = value.split(',').map(|it| it.parse().unwrap()).collect()
            }
            [name, value] if name == "--seed" => seed = n(value),
            [name, value] if name == "--degree" => settings.degree = n(value) as usize,
            [name, value] if name == "--shorten" => settings.shorten_hops = n(value) as u16,
            [name, value] if name == "--shuffle" => settings.shuffle_every_ms = n(value),
            [name, value] if name == "--announce" => settings.announce_every_ms = n(value),
            [name, value] if name == "--ask" => settings.ask_after_ms = n(value),
            _ => panic!("usage"),
        }
    }
    for size in sizes {
        for bytes in &bytes {
            let start = std::time::Instant::now();
            let it = measure(size, *bytes, settings.clone(), seed);
            println!(
                "frame {} bound {:.2} took {:?}",
                update(1, *bytes).len(),
                hops_bound(size, settings.degree),
                start.elapsed()
            );
            show(&it);
        }
    }
}

fn show(it: &Measured) {
    println!(
        "n {} degree mean {:.2} connected {} idle {:.1} B/s left {} conn {}",
        it.nodes, it.degree_mean, it.connected, it.idle_bytes_per_s, it.left, it.left_connected
    );
    for (name, s) in [
        ("first", &it.first),
        ("one", &it.one),
        ("many", &it.many),
        ("wounded", &it.wounded),
        ("healed", &it.healed),
    ] {
        println!(
            "  {name:8} reached {} bytes {:.0} copies {:.2} hops {}/{} ms {}",
            s.reached_min, s.bytes, s.copies, s.hops_half, s.hops_max, s.ms_max
        );
    }
}
