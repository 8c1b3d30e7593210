//! The `kubernetes` source: pods of one mesh find each other by the EndpointSlices of their service.
//!
//! What comes in is what an API server says about slices with a label; what goes out are the peers in them.
//! The source lists once and then watches, so a new pod is known as soon as the API server knows it. When the
//! API server cannot be used, the peers known so far stay and the source tries on: an outage there must not
//! take a mesh apart.
//!
//! Only the API server in the settings is asked, with the token of the pod's service account. There is no
//! look at a kubeconfig.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use kube::ResourceExt;
use kube::api::WatchEvent;
use peat_mesh_core::id::{EndpointId, NodeName};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, info, warn};

use super::{Context, Discovery, DiscoveryError, DiscoveryEvent, EndpointOf};
use crate::config::KubernetesSettings;

mod selector;
mod session;
mod slices;
mod trouble;

pub use selector::{check_namespace, check_selector};
use session::{Changes, Event, Session};
pub use slices::{Index, PORT_NAME};
use trouble::{Trouble, Verb};

/// First wait before the API server is asked again, in milliseconds.
const RETRY_MS_MIN: u64 = 250;
/// Longest wait before the API server is asked again, in milliseconds.
const RETRY_MS_MAX: u64 = 10_000;
/// How much longer than agreed a watch may last, in milliseconds. After that its connection is dead.
const WATCH_GRACE_MS: u64 = 5_000;
/// A watch that lasted this long shows that all is well, in milliseconds; waits start small again.
const WATCH_GOOD_MS: u64 = 5_000;

/// Pods in EndpointSlices, as a source.
pub struct Kubernetes {
    settings: KubernetesSettings,
    index: Index,
    pace: Pace,
    /// The namespace, once it is known.
    namespace: Option<String>,
    /// What has been logged since the last time all was well.
    logged: BTreeSet<String>,
    has_worked: bool,
}

impl fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kubernetes")
            .field("settings", &self.settings)
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

/// Why a session ended.
enum End {
    Trouble(Trouble),
    /// Nobody takes the events any more.
    Closed(DiscoveryError),
}

impl From<Trouble> for End {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl From<DiscoveryError> for End {
    fn from(closed: DiscoveryError) -> Self {
        Self::Closed(closed)
    }
}

impl Kubernetes {
    /// A source for the node `own` with the name `name`. Other pods are taken to have names like it: with the
    /// same cluster before the slash, or none.
    #[must_use]
    pub fn new(
        settings: KubernetesSettings,
        own: EndpointId,
        name: &NodeName,
        endpoint_of: EndpointOf,
    ) -> Self {
        Self {
            settings,
            index: Index::new(own, name, endpoint_of),
            pace: Pace::default(),
            namespace: None,
            logged: BTreeSet::new(),
            has_worked: false,
        }
    }

    async fn work(mut self, context: Context) -> Result<(), DiscoveryError> {
        loop {
            let end = tokio::select! {
                () = context.cancel.cancelled() => return Ok(()),
                end = self.session(&context) => end,
            };
            let trouble = match end {
                Err(End::Closed(closed)) => return Err(closed),
                Err(End::Trouble(trouble)) => trouble,
                Ok(never) => match never {},
            };
            let wait = if self.pace.is_fresh() && trouble.is_passing() {
                debug!("{}", trouble.words(&self.settings, self.namespace.as_deref()));
                self.pace.skip()
            } else {
                self.say(&trouble, &context);
                self.pace.next()
            };
            tokio::select! {
                () = context.cancel.cancelled() => return Ok(()),
                () = sleep(wait) => {}
            }
        }
    }

    /// Lists all slices, then follows what changes until something goes wrong.
    async fn session(&mut self, context: &Context) -> Result<Infallible, End> {
        let namespace = session::namespace(&self.settings)?;
        let session = Session::open(&self.settings, &namespace)?;
        self.namespace = Some(namespace);
        let listed = session.list().await?;
        context.events.send_all(self.index.replace(&listed.slices)).await?;
        context.status.complete();
        let mut version = listed.version;
        let agreed_ms = u64::from(self.settings.watch_secs.max(1)) * 1_000;
        loop {
            let started = Instant::now();
            let mut changes = session.watch(&version).await?;
            self.works(context);
            let deadline = started + Duration::from_millis(agreed_ms + WATCH_GRACE_MS);
            let end = self.follow(&mut changes, &mut version, deadline, context).await;
            let is_good = started.elapsed() >= Duration::from_millis(WATCH_GOOD_MS.min(agreed_ms * 3 / 4));
            if is_good {
                self.pace.reset();
            }
            end?;
            if !is_good {
                // One that ends at once is no reason to ask again without a pause.
                sleep(self.pace.next()).await;
            }
        }
    }

    /// Takes what one watch says until its time is over, the server stops, or the connection breaks or is
    /// found dead. The next one goes on from `version`.
    async fn follow(
        &mut self,
        changes: &mut Changes,
        version: &mut String,
        deadline: Instant,
        context: &Context,
    ) -> Result<(), End> {
        while let Ok(Some(change)) = timeout_at(deadline, changes.next()).await {
            let Some(event) = read(change)? else { break };
            let (events, newer) = self.take(event)?;
            if let Some(events) = events {
                context.events.send_all(events).await?;
                context.status.running(self.summary());
            }
            if let Some(newer) = newer {
                *version = newer;
            }
        }
        Ok(())
    }

    /// What an event changes, and the version it leads to.
    fn take(&mut self, event: Event) -> Result<(Option<Vec<DiscoveryEvent>>, Option<String>), Trouble> {
        match event {
            WatchEvent::Added(slice) | WatchEvent::Modified(slice) => {
                Ok((Some(self.index.apply(&slice)), slice.resource_version()))
            }
            WatchEvent::Deleted(slice) => {
                Ok((Some(self.index.delete(&slice.name_any())), slice.resource_version()))
            }
            WatchEvent::Bookmark(bookmark) => Ok((None, Some(bookmark.metadata.resource_version))),
            WatchEvent::Error(status) => Err(Trouble::of_status(Verb::Watch, &status)),
        }
    }

    fn works(&mut self, context: &Context) {
        let summary = self.summary();
        if !self.has_worked {
            info!("Kubernetes discovery: {summary}");
        } else if !self.logged.is_empty() {
            info!("Kubernetes discovery works again: {summary}");
        }
        self.has_worked = true;
        self.logged.clear();
        context.status.running(summary);
    }

    fn say(&mut self, trouble: &Trouble, context: &Context) {
        let mut words = trouble.words(&self.settings, self.namespace.as_deref());
        if self.has_worked {
            words.push_str("; the peers known so far stay");
        }
        if self.logged.insert(trouble.kind()) {
            warn!("Kubernetes discovery waits: {words}; trying on");
        }
        context.status.waiting(format!("{words}; trying on"));
    }

    fn summary(&self) -> String {
        format!(
            "watching endpointslices with {} in namespace {:?}: {}",
            self.settings.label_selector,
            self.namespace.as_deref().unwrap_or_default(),
            self.index.summary()
        )
    }
}

/// The next event; `None` when the connection broke, after which the watch goes on from where it was.
fn read(event: kube::Result<Event>) -> Result<Option<Event>, Trouble> {
    match event {
        Ok(event) => Ok(Some(event)),
        Err(kube::Error::ReadEvents(_) | kube::Error::HyperError(_) | kube::Error::Service(_)) => Ok(None),
        Err(problem) => Err(Trouble::of(Verb::Watch, &problem)),
    }
}

/// How long to wait before the next attempt: twice as long each time, and never the same on two nodes.
#[derive(Debug, Default)]
struct Pace {
    attempts: u32,
}

impl Pace {
    /// Whether all was well until now.
    fn is_fresh(&self) -> bool {
        self.attempts == 0
    }

    /// No wait this time; the next is no longer the first.
    fn skip(&mut self) -> Duration {
        self.attempts += 1;
        Duration::ZERO
    }

    fn next(&mut self) -> Duration {
        let longest_ms = (RETRY_MS_MIN << self.attempts.min(16)).min(RETRY_MS_MAX);
        self.attempts = self.attempts.saturating_add(1);
        Duration::from_millis(rand::random_range(longest_ms / 2..=longest_ms))
    }

    fn reset(&mut self) {
        self.attempts = 0;
    }
}

impl Discovery for Kubernetes {
    fn name(&self) -> &'static str {
        "kubernetes"
    }

    fn run(self: Box<Self>, context: Context) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        self.work(context).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_ten_seconds_and_are_drawn_from_their_upper_half() {
        let mut pace = Pace::default();
        for longest_ms in [250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000] {
            let waited_ms = pace.next().as_millis();
            assert!((longest_ms / 2..=longest_ms).contains(&waited_ms), "{waited_ms} of {longest_ms}");
            assert!(!pace.is_fresh());
        }
        pace.reset();
        assert!(pace.is_fresh() && pace.skip().is_zero() && !pace.is_fresh());
    }
}
