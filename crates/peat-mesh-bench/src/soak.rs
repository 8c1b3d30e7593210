//! Mixed load for long, with restarts of one node: memory at the start and the end, and nothing is lost.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::figure::Figure;
use crate::fill;
use crate::http::Client;
use crate::machine::Machine;
use crate::nodes::{Failed, Formation, Node};
use crate::report::Report;
use crate::usage::folder_bytes;

/// Requests of each client per second.
const REQUESTS_PER_S: u32 = 50;
/// Documents that each client works on.
const IDS_COUNT: usize = 500;
/// Restarts of the third node; each second one is a kill.
const RESTARTS_COUNT: u32 = 10;
/// The start is here, in parts of the whole time: caches are full then.
const WARM_PARTS: u32 = 2;

/// What a client was told is on disk: the last content of each document, `None` when it was deleted.
type Acknowledged = BTreeMap<String, Option<Value>>;

pub(crate) async fn run(secs: u64) -> Result<Report, Failed> {
    let mut report = Report::new(
        "soak",
        format!(
            "three nodes, {secs} s of PUTs, DELETEs, GETs and lists on each; {RESTARTS_COUNT} restarts of one"
        ),
    );
    let formation = Formation::new()?;
    Machine::measure(formation.path(), &mut report).await?;
    let first = formation.start("first", &[]).await?;
    let second = formation.start("second", &[&first]).await?;
    let mut third = formation.start("third", &[&first, &second]).await?;
    for node in [&first, &second, &third] {
        node.order("connected 2").await?;
    }
    let (done, ending) = watch::channel(false);
    let clients: Vec<JoinHandle<_>> = [("a", &first), ("b", &second)]
        .map(|(name, node)| tokio::spawn(work(name, node.http, ending.clone())))
        .into();
    let mut on_third = Acknowledged::new();

    let (time, begun) = (Duration::from_secs(secs), Instant::now());
    let mut warm = None;
    let mut unsaid = 0;
    for restart in 1..=RESTARTS_COUNT {
        let (stop, stopping) = watch::channel(false);
        let client = tokio::spawn(work("c", third.http, stopping));
        sleep_until(begun + time / RESTARTS_COUNT * restart).await;
        if warm.is_none() && restart * WARM_PARTS >= RESTARTS_COUNT {
            warm = Some([first.usage()?, second.usage()?]);
        }
        stop.send_replace(true);
        let told = client.await??;
        on_third.extend(told);
        if restart % 2 == 0 {
            third.kill();
        } else {
            third.stop().await?;
        }
        third = formation.start("third", &[&first, &second]).await?;
        third.order("connected 2").await?;
        unsaid += 1;
    }
    done.send_replace(true);
    let mut all = on_third;
    for client in clients {
        all.extend(client.await??);
    }
    let settled = Instant::now();
    for node in [&first, &second, &third] {
        node.compared(2).await?;
    }
    let settled = settled.elapsed().as_secs_f64();
    let views = [content(&first).await?, content(&second).await?, content(&third).await?];
    let differ = views.iter().filter(|view| **view != views[0]).count();
    let lost = all.iter().filter(|(id, content)| views[0].get(*id) != content.as_ref()).count();
    report.add(Figure::new("soak: restarts that were made", f64::from(unsaid), ""));
    report.add(Figure::new("soak: until all were compared after the end", settled, "s"));
    report.add(
        Figure::new("soak: nodes that differ from the first at the end", differ as f64, "").budget_most(0.0),
    );
    report.add(Figure::new("soak: documents", views[0].len() as f64, ""));
    report.add(
        Figure::new("soak: documents that are not as last acknowledged", lost as f64, "").budget_most(0.0),
    );
    let [at_first, at_second] = warm.ok_or("the start was not measured")?;
    for (what, name, node, then) in
        [("first", "first", &first, at_first), ("second", "second", &second, at_second)]
    {
        let now = node.usage()?;
        let (then_mb, now_mb) = (then.rss_bytes as f64 / 1e6, now.rss_bytes as f64 / 1e6);
        report.add(Figure::new(format!("soak: RSS of the {what} node after a half"), then_mb, "MB"));
        report.add(
            Figure::new(format!("soak: RSS of the {what} node at the end"), now_mb, "MB")
                .limit(then_mb, "after a half"),
        );
        report.add(Figure::new(
            format!("soak: CPU of the {what} node"),
            now.cpu_percent_since(&then),
            "% of a core",
        ));
        let store = folder_bytes(&formation.folder(name))? as f64 / 1e6;
        report.add(Figure::new(format!("soak: store of the {what} node"), store, "MB"));
    }
    third.stop().await?;
    second.stop().await?;
    first.stop().await?;
    Ok(report)
}

/// One client: of ten requests six are PUTs, one is a DELETE, two are GETs and one is a list.
async fn work(
    name: &'static str,
    node: std::net::SocketAddr,
    ending: watch::Receiver<bool>,
) -> Result<Acknowledged, Failed> {
    let mut client = Client::connect(node).await?;
    let mut told = Acknowledged::new();
    let mut pace = interval(Duration::from_secs(1) / REQUESTS_PER_S);
    pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut round = 0;
    while !*ending.borrow() {
        pace.tick().await;
        round += 1;
        let id = format!("{name}{}", (round * 7) % IDS_COUNT);
        let path = format!("/api/v1/documents/soak/{id}");
        let is_there = told.get(&id).is_some_and(Option::is_some);
        match round % 10 {
            3 if is_there => {
                client.delete(&path).await?;
                told.insert(id, None);
            }
            5 | 8 if is_there => drop(client.get(&path).await?),
            9 => drop(client.get("/api/v1/documents/soak?limit=50").await?),
            _ => {
                let content = fill::airport(round, round)?;
                client.put(&path, &content.to_string()).await?;
                told.insert(id, Some(content));
            }
        }
    }
    Ok(told)
}

/// All documents of a node.
async fn content(node: &Node) -> Result<BTreeMap<String, Value>, Failed> {
    let mut client = Client::connect(node.http).await?;
    let (mut found, mut after) = (BTreeMap::new(), String::new());
    loop {
        let page = client.get(&format!("/api/v1/documents/soak?limit=1000{after}")).await?;
        let page: Value = serde_json::from_slice(&page)?;
        for item in page["documents"].as_array().ok_or("a page has no documents")? {
            found.insert(item["id"].as_str().unwrap_or_default().to_owned(), item["document"].clone());
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return Ok(found),
        }
    }
}
