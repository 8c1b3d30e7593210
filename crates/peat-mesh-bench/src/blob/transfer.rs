//! One blob from a client to a node, and from one node to another: against bare iroh-blobs and nginx, in turns, as the
//! machine may be faster now and slower then.

use std::path::Path;
use std::time::Instant;

use super::bare::Bare;
use super::disk::{Limits, MB, measure, settle};
use super::http::{contents, delete, fetch, read, send};
use super::nginx::Nginx;
use crate::figure::Figure;
use crate::machine::Machine;
use crate::nodes::{Failed, Formation, pair};
use crate::report::Report;
use crate::usage::Usage;

/// Measurements of each kind, of which the middle one counts.
const ROUNDS: usize = 5;
/// Copies that are on disk at the same time: the sample, two of bare iroh-blobs, two of the nodes or of curl.
pub(super) const COPIES: u64 = 5;

/// One measurement, in seconds: the time, and CPU of the sender and the receiver.
#[derive(Debug, Default, Clone, Copy)]
struct Round {
    seconds: f64,
    sender_cpu_s: f64,
    receiver_cpu_s: f64,
}

#[derive(Debug, Default)]
struct Rounds(Vec<Round>);

impl Rounds {
    /// The middle one of something.
    fn middle(&self, of: impl Fn(&Round) -> f64) -> f64 {
        middle(self.0.iter().map(of).collect())
    }

    fn rate(&self, bytes: f64) -> f64 {
        bytes / self.middle(|round| round.seconds)
    }

    /// How many times as fast as others this is, the middle one of the rounds: what slows the machine down for a
    /// while slows both.
    fn share_of(&self, others: &Self) -> f64 {
        middle(self.0.iter().zip(&others.0).map(|(own, other)| other.seconds / own.seconds).collect())
    }

    /// All rates, for a note.
    fn words(&self, what: &str, bytes: f64) -> String {
        let rates: Vec<String> =
            self.0.iter().map(|round| format!("{:.0}", bytes / round.seconds / MB)).collect();
        format!("{what} {}", rates.join(", "))
    }
}

fn middle(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

pub(super) async fn run(bytes: u64, machine: &Machine, report: &mut Report) -> Result<(), Failed> {
    let formation = Formation::new()?;
    let folder = formation.path();
    let sample = folder.join("sample");
    let limits = measure(&sample, bytes, report)?;
    let (first, second) = pair(&formation).await?;
    let provider = Bare::start(folder.join("bare")).await?;
    let hash = provider.add(&sample).await?;
    let nginx = Nginx::start(&folder.join("nginx"), folder).await?;

    let [mut sent, mut bare, mut bare_synced, mut fetched, mut drained, mut curled] =
        std::array::from_fn(|_| Rounds::default());
    for round in 0..ROUNDS {
        if round > 0 {
            delete(&first, &hash).await?;
        }
        settle(folder)?;
        let begun = Instant::now();
        let before = first.usage()?;
        let named = send(&first, bytes, contents(&sample)?).await?;
        let seconds = begun.elapsed().as_secs_f64();
        let receiver_cpu_s = first.usage()?.cpu_s_since(&before);
        sent.0.push(Round { seconds, receiver_cpu_s, ..Round::default() });
        if named != hash {
            return Err(format!("bare iroh-blobs names the sample {hash}, a node names it {named}").into());
        }

        settle(folder)?;
        let (alone, synced) = bare_round(&provider, &hash, &folder.join("bare-fetched")).await?;
        bare.0.push(alone);
        bare_synced.0.push(synced);
        for (is_read, rounds) in [(false, &mut fetched), (true, &mut drained)] {
            settle(folder)?;
            let before = [first.usage()?, second.usage()?];
            let seconds = if is_read { read(&second, &hash).await? } else { fetch(&second, &hash).await? };
            let [sender_cpu_s, receiver_cpu_s] =
                [first.usage()?.cpu_s_since(&before[0]), second.usage()?.cpu_s_since(&before[1])];
            rounds.0.push(Round { seconds, sender_cpu_s, receiver_cpu_s });
            delete(&second, &hash).await?;
        }
        if let Some(nginx) = &nginx {
            settle(folder)?;
            let seconds = nginx.fetch("sample", &folder.join("curled")).await?;
            curled.0.push(Round { seconds, ..Round::default() });
        }
    }
    if let Some(nginx) = nginx {
        nginx.stop().await?;
    }
    provider.stop().await?;
    second.stop().await?;
    first.stop().await?;

    let size = bytes as f64;
    tell_sent(&sent, size, &limits, report);
    let stream = (machine.stream_bytes_per_s / MB, "one stream of bare iroh");
    tell("bare iroh-blobs", &bare, size, Some(stream), report);
    tell("bare iroh-blobs, until it is on disk", &bare_synced, size, None, report);
    let reference = (bare.rate(size) / MB, "bare iroh-blobs");
    let ours =
        [("a fetch in the background", &fetched, true), ("a GET of what another node has", &drained, false)];
    for (what, rounds, has_budget) in ours {
        tell(what, rounds, size, Some(reference), report);
        let share = |of: &str, other: &Rounds| {
            Figure::new(format!("{what}: its rate, times {of}"), rounds.share_of(other), "x").rate()
        };
        report.add(share("that of bare iroh-blobs until it is on disk", &bare_synced));
        let share = share("that of bare iroh-blobs", &bare);
        // A client that reads shares the cores, which is not the transfer's fault.
        report.add(if has_budget { share.budget_least(0.9) } else { share });
    }
    if curled.0.is_empty() {
        report.note("curl from nginx is left out: nginx or curl is not installed");
    } else {
        tell("curl from nginx, to a file", &curled, size, None, report);
    }
    Ok(())
}

/// One fetch with a store of its own, which goes again.
///
/// iroh-blobs does not wait for the disk and nodes do, so what that would add is told as well.
async fn bare_round(provider: &Bare, hash: &str, folder: &Path) -> Result<(Round, Round), Failed> {
    let fetcher = Bare::start(folder.to_owned()).await?;
    let ids = [provider.process_id(), fetcher.process_id()];
    let before = [Usage::of(ids[0])?, Usage::of(ids[1])?];
    let seconds = fetcher.fetch(hash, provider).await?;
    let [sender_cpu_s, receiver_cpu_s] =
        [Usage::of(ids[0])?.cpu_s_since(&before[0]), Usage::of(ids[1])?.cpu_s_since(&before[1])];
    let begun = Instant::now();
    settle(folder)?;
    let synced = seconds + begun.elapsed().as_secs_f64();
    fetcher.stop().await?;
    std::fs::remove_dir_all(folder)?;
    let fetched = Round { seconds, sender_cpu_s, receiver_cpu_s };
    Ok((fetched, Round { seconds: synced, ..Round::default() }))
}

fn tell_sent(sent: &Rounds, size: f64, limits: &Limits, report: &mut Report) {
    let limit = 1.0 / (1.0 / limits.write + 1.0 / limits.hash);
    report.add(
        Figure::new("POST of a blob, until it is on disk", sent.rate(size) / MB, "MB/s")
            .rate()
            .limit(limit / MB, "write to disk, BLAKE3"),
    );
    report.add(Figure::new(
        "POST of a blob: CPU of the node",
        sent.middle(|round| round.receiver_cpu_s) / size * 1e9,
        "s/GB",
    ));
    report.note(sent.words("MB/s in each round: POST", size));
}

fn tell(what: &str, rounds: &Rounds, size: f64, limit: Option<(f64, &'static str)>, report: &mut Report) {
    let mut figure = Figure::new(what, rounds.rate(size) / MB, "MB/s").rate();
    if let Some((limit, of)) = limit {
        figure = figure.limit(limit, of);
    }
    report.add(figure);
    let sides = [
        ("sender", rounds.middle(|round| round.sender_cpu_s)),
        ("receiver", rounds.middle(|round| round.receiver_cpu_s)),
    ];
    for (side, cpu_s) in sides.into_iter().filter(|(_, cpu_s)| *cpu_s > 0.0) {
        report.add(Figure::new(format!("{what}: CPU of the {side}"), cpu_s / size * 1e9, "s/GB"));
    }
    report.note(rounds.words(&format!("MB/s in each round: {what}"), size));
}
