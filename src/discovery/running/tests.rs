use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::*;
use crate::discovery::PeerInfo;

const OWN: EndpointId = EndpointId([0; 32]);

fn info(number: u8, port: u16) -> PeerInfo {
    PeerInfo::new(EndpointId([number; 32]), None, vec![([192, 0, 2, 1], port).into()])
}

/// A source made of one closure.
struct Script<F>(&'static str, F);

impl<F> Discovery for Script<F>
where
    F: FnOnce(Context) -> BoxFuture<'static, Result<(), DiscoveryError>> + Send,
{
    fn name(&self) -> &'static str {
        self.0
    }

    fn run(self: Box<Self>, context: Context) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        (self.1)(context)
    }
}

fn script<F, R>(name: &'static str, script: F) -> Box<dyn Discovery>
where
    F: FnOnce(Context) -> R + Send + 'static,
    R: Future<Output = Result<(), DiscoveryError>> + Send + 'static,
{
    Box::new(Script(name, |context| script(context).boxed()))
}

async fn next(running: &mut Running) -> DiscoveryEvent {
    let wait = timeout(Duration::from_secs(10), running.events.recv());
    wait.await.expect("an event in time").expect("discovery runs")
}

async fn status_of(running: &mut Running, index: usize, running_now: bool) -> SourceStatus {
    let wait = async {
        loop {
            let status = running.status().swap_remove(index);
            if status.running == running_now && status.detail != "starting" {
                return status;
            }
            running.status_changed().await;
        }
    };
    timeout(Duration::from_secs(10), wait).await.expect("the status in time")
}

#[tokio::test]
async fn two_sources_make_one_view() {
    let (told, wait) = tokio::sync::oneshot::channel();
    let first = script("first", |context: Context| async move {
        context.events.send(DiscoveryEvent::PeerFound(info(1, 10))).await?;
        let _ = told.send(());
        context.cancel.cancelled().await;
        Ok(())
    });
    let second = script("second", |context: Context| async move {
        let _ = wait.await;
        context.events.send(DiscoveryEvent::PeerFound(info(1, 11))).await?;
        context.cancel.cancelled().await;
        Ok(())
    });
    let mut running = start(vec![first, second], OWN);
    assert_eq!(next(&mut running).await, DiscoveryEvent::PeerFound(info(1, 10)));
    let DiscoveryEvent::PeerUpdated(info) = next(&mut running).await else {
        panic!("an update");
    };
    assert_eq!(info.addresses.len(), 2);
    running.shutdown().await;
}

#[tokio::test]
async fn a_source_that_fails_or_panics_says_so_and_stops_nobody() {
    let failing = script("failing", |_| async {
        let reason = "no permission to list slices".to_owned();
        Err(DiscoveryError::Failed { reason })
    });
    let panicking = script("panicking", |_| async { panic!("a bug") });
    let healthy = script("healthy", |mut context: Context| async move {
        context.status.running("well");
        while let Some(endpoint) = context.failed.recv().await {
            context.events.send(DiscoveryEvent::PeerLost(endpoint)).await?;
            context.events.send(DiscoveryEvent::PeerFound(info(3, 30))).await?;
        }
        Ok(())
    });
    let mut running = start(vec![failing, panicking, healthy], OWN);
    let status = status_of(&mut running, 0, false).await;
    assert_eq!(status.to_string(), "failing is not running: no permission to list slices");
    let status = status_of(&mut running, 1, false).await;
    assert!(status.detail.contains("a bug"), "{status}");
    assert_eq!(status_of(&mut running, 2, true).await.detail, "well");
    let worked: Vec<bool> = running.status().iter().map(|status| status.worked).collect();
    assert_eq!(worked, [false, false, true]);
    running.dial_failed(EndpointId([3; 32]));
    assert_eq!(next(&mut running).await, DiscoveryEvent::PeerFound(info(3, 30)));
    running.shutdown().await;
}

#[tokio::test]
async fn a_source_that_waits_has_worked_and_one_that_ended_has_not() {
    let (end, ended) = tokio::sync::oneshot::channel();
    let source = script("source", |context: Context| async move {
        context.status.running("well");
        context.status.complete();
        context.status.waiting("the network is gone; trying again");
        let _ = ended.await;
        Ok(())
    });
    let mut running = start(vec![source], OWN);
    let status = status_of(&mut running, 0, false).await;
    assert!(status.worked && status.complete, "{status:?}");
    end.send(()).unwrap();
    running.status_changed().await;
    let status = running.status().swap_remove(0);
    assert!(!status.worked && status.complete, "{status:?}");
}

#[tokio::test]
async fn all_is_listed_when_every_source_is_complete_or_has_ended_and_its_events_are_out() {
    let (go, gone) = tokio::sync::oneshot::channel();
    let slow = script("slow", |context: Context| async move {
        let _ = gone.await;
        for number in 1..=100 {
            context.events.send(DiscoveryEvent::PeerFound(info(number, 1))).await?;
        }
        context.status.complete();
        std::future::pending().await
    });
    let broken = script("broken", |_| async { Err(DiscoveryError::Failed { reason: "no".to_owned() }) });
    let mut running = start(vec![slow, broken], OWN);
    let mut listed = running.listed();
    while running.status()[1].detail == "starting" {
        running.status_changed().await;
    }
    assert!(!*listed.borrow());
    go.send(()).unwrap();
    let mut found = 0;
    while !(*listed.borrow_and_update() && running.events.is_empty()) {
        tokio::select! {
            Some(_) = running.events.recv() => found += 1,
            Ok(()) = listed.changed() => {}
        }
    }
    assert_eq!(found, 100);
    running.shutdown().await;
}

#[tokio::test]
async fn shutdown_takes_less_than_a_second_with_a_deaf_source_and_a_full_channel() {
    let deaf = script("deaf", |_| std::future::pending());
    let busy = script("busy", |context: Context| async move {
        for port in (1..).cycle() {
            context.events.send(DiscoveryEvent::PeerFound(info(1, port))).await?;
        }
        Ok(())
    });
    let mut running = start(vec![deaf, busy], OWN);
    next(&mut running).await;
    let before = Instant::now();
    running.shutdown().await;
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
}

#[tokio::test]
async fn dropping_it_stops_the_sources() {
    let (alive, mut ended) = mpsc::channel::<()>(1);
    let source = script("source", |_| async move {
        let _alive = alive;
        std::future::pending().await
    });
    drop(start(vec![source], OWN));
    let wait = timeout(Duration::from_secs(10), ended.recv());
    assert_eq!(wait.await.expect("the source was dropped"), None);
}
