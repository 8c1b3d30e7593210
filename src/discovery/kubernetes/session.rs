//! One client and what it asks: all slices, and then what changes.
//!
//! The files of the service account are read when a session is opened, and again by the client about once a
//! minute. A session that fails is thrown away, so the next one begins with what the files say then.

use std::fs;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Client, Config};
use tokio::time::timeout;

use super::trouble::{Trouble, Verb};
use crate::config::KubernetesSettings;
use crate::discovery::limits::{SLICES_COUNT_MAX, SLICES_PER_PAGE_COUNT};

/// How long the API server may take to accept a connection, in milliseconds.
const CONNECT_MS_MAX: u64 = 5_000;
/// How long it may take to answer, in milliseconds.
const ANSWER_MS_MAX: u64 = 10_000;

pub(super) type Event = WatchEvent<EndpointSlice>;
/// What a watch says, until it ends.
pub(super) type Changes = BoxStream<'static, kube::Result<Event>>;

pub(super) struct Session {
    api: Api<EndpointSlice>,
    selector: String,
    watch_secs: u32,
}

/// All slices, and the version from which a watch goes on.
pub(super) struct Listed {
    pub(super) slices: Vec<EndpointSlice>,
    pub(super) version: String,
}

/// The namespace to look at.
pub(super) fn namespace(settings: &KubernetesSettings) -> Result<String, Trouble> {
    if let Some(namespace) = &settings.namespace {
        return Ok(namespace.clone());
    }
    let path = settings.namespace_file.display();
    match fs::read_to_string(&settings.namespace_file) {
        Ok(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        Ok(_) => Err(Trouble::Account { why: format!("{path} is empty") }),
        Err(problem) => Err(unreadable(path, &problem)),
    }
}

fn unreadable(path: impl std::fmt::Display, problem: &std::io::Error) -> Trouble {
    let text = problem.to_string();
    let why = text.split(" (os error").next().unwrap_or_default();
    Trouble::Account { why: format!("{path} cannot be read: {why}") }
}

impl Session {
    /// Reads the files of the service account. Nothing is sent yet.
    pub(super) fn open(settings: &KubernetesSettings, namespace: &str) -> Result<Self, Trouble> {
        // The client's own words for these do not always name the file.
        for path in [&settings.token_file, &settings.ca_file] {
            fs::File::open(path).map_err(|problem| unreadable(path.display(), &problem))?;
        }
        let url = settings.api.parse();
        let url =
            url.map_err(|problem| Trouble::Refused { why: format!("{:?}: {problem}", settings.api) })?;
        let mut config = Config::new(url);
        config.default_namespace = namespace.to_owned();
        config.auth_info.token_file = Some(settings.token_file.to_string_lossy().into_owned());
        // None of the system's: the client looks for those first, and an image need not have any.
        config.root_cert = Some(Vec::new());
        config.root_cert_file = Some(settings.ca_file.clone());
        config.connect_timeout = Some(Duration::from_millis(CONNECT_MS_MAX));
        // It would try for minutes before we heard of it.
        config.default_retry = false;
        let client = Client::try_from(config).map_err(|problem| Trouble::of(Verb::List, &problem))?;
        Ok(Self {
            api: Api::namespaced(client, namespace),
            selector: settings.label_selector.clone(),
            watch_secs: settings.watch_secs.max(1),
        })
    }

    /// All slices. Beyond [`SLICES_COUNT_MAX`] the list is cut after a page; the index notices.
    pub(super) async fn list(&self) -> Result<Listed, Trouble> {
        let mut params = ListParams::default().labels(&self.selector).limit(SLICES_PER_PAGE_COUNT);
        let mut slices = Vec::new();
        loop {
            let page = answered(Verb::List, self.api.list(&params).boxed()).await?;
            slices.extend(page.items);
            let next = page.metadata.continue_.filter(|token| !token.is_empty());
            match (next, page.metadata.resource_version.filter(|version| !version.is_empty())) {
                (Some(token), _) if slices.len() <= SLICES_COUNT_MAX => params.continue_token = Some(token),
                (_, Some(version)) => return Ok(Listed { slices, version }),
                (_, None) => {
                    return Err(Trouble::Refused { why: "a list without a resourceVersion".to_owned() });
                }
            }
        }
    }

    /// What changes after `version`, for as long as the settings say. Returns when the server has agreed.
    pub(super) async fn watch(&self, version: &str) -> Result<Changes, Trouble> {
        let params = WatchParams::default().labels(&self.selector).timeout(self.watch_secs);
        let stream = answered(Verb::Watch, self.api.watch(&params, version).boxed()).await?;
        Ok(stream.boxed())
    }
}

async fn answered<T>(verb: Verb, request: BoxFuture<'_, kube::Result<T>>) -> Result<T, Trouble> {
    match timeout(Duration::from_millis(ANSWER_MS_MAX), request).await {
        Ok(answer) => answer.map_err(|problem| Trouble::of(verb, &problem)),
        Err(_) => Err(Trouble::Silent),
    }
}
