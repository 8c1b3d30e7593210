//! What can go wrong between a node and the API server, in words that say what to do.

use std::error::Error as StdError;

use kube::core::Status;

use crate::config::KubernetesSettings;
use crate::discovery::limits::SERVER_MESSAGE_BYTES_MAX;

/// What is asked of the API server, by the name it has in a Role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    List,
    Watch,
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Watch => "watch",
        }
    }
}

/// Why the API server cannot be used now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The place from which to go on is forgotten there. A new list cures it.
    Expired,
    /// The token is not, or no longer, valid.
    Unauthorized,
    /// The service account may not do this.
    Forbidden { verb: String, account: Option<String> },
    /// A file of the service account cannot be used.
    Account { why: String },
    /// Another answer than wanted.
    Refused { why: String },
    /// No answer in time.
    Silent,
    /// No connection.
    Unreachable { why: String },
}

impl Trouble {
    /// What a failed request means.
    pub(super) fn of(verb: Verb, failure: &kube::Error) -> Self {
        match failure {
            kube::Error::Api(status) => Self::of_status(verb, status),
            kube::Error::Auth(_) | kube::Error::RustlsTls(_) => Self::Account { why: innermost(failure) },
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => {
                Self::Refused { why: format!("what it says cannot be read: {}", innermost(failure)) }
            }
            _ => Self::Unreachable { why: innermost(failure) },
        }
    }

    /// What a status means, be it an answer or an event of a watch.
    pub(super) fn of_status(verb: Verb, status: &Status) -> Self {
        match status.code {
            401 => Self::Unauthorized,
            403 => Self::Forbidden {
                verb: between(&status.message, " cannot ", " resource ").unwrap_or(verb.as_str()).to_owned(),
                account: between(&status.message, "User \"", "\"").map(str::to_owned),
            },
            410 => Self::Expired,
            code => Self::Refused { why: format!("status {code}: {}", shortened(&status.message)) },
        }
    }

    /// Whether trying again at once is likely to cure it, so that it need not be told the first time.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Expired | Self::Unauthorized)
    }

    /// Which trouble it is, apart from its words: each is logged once.
    pub(super) fn kind(&self) -> String {
        match self {
            Self::Expired => "expired".to_owned(),
            Self::Unauthorized => "unauthorized".to_owned(),
            Self::Forbidden { verb, .. } => format!("forbidden to {verb}"),
            Self::Account { .. } => "account".to_owned(),
            Self::Refused { .. } => "refused".to_owned(),
            Self::Silent | Self::Unreachable { .. } => "unreachable".to_owned(),
        }
    }

    /// For the operator. `namespace` is not known while its file cannot be read.
    pub(super) fn words(&self, settings: &KubernetesSettings, namespace: Option<&str>) -> String {
        let api = &settings.api;
        match self {
            Self::Expired => {
                format!("the API server at {api} has forgotten where to go on from; asking for all again")
            }
            Self::Unauthorized => format!(
                "the API server at {api} does not accept the token in {}; it is read again before each attempt",
                settings.token_file.display()
            ),
            Self::Forbidden { verb, account } => format!(
                "not allowed to {verb} endpointslices in namespace {:?}: the service account{} needs list and watch \
                 on endpointslices in discovery.k8s.io (a Role and a RoleBinding, which the Helm chart makes)",
                namespace.unwrap_or("unknown"),
                account.as_ref().map_or_else(String::new, |account| format!(" {account}")),
            ),
            Self::Account { why } => format!(
                "{why}; a pod has these files unless automountServiceAccountToken is false for it or for its service \
                 account"
            ),
            Self::Refused { why } => {
                format!("the API server at {api} answers otherwise than expected: {why}")
            }
            Self::Silent => format!("the API server at {api} does not answer"),
            Self::Unreachable { why } => format!("the API server at {api} cannot be reached: {why}"),
        }
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    let (found, _) = rest.split_once(after)?;
    (!found.is_empty() && found.len() <= 128 && !found.chars().any(char::is_control)).then_some(found)
}

/// The cause at the bottom, without the operating system's "(os error 111)". What wraps it names libraries.
fn innermost(failure: &dyn StdError) -> String {
    let mut cause = failure;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let text = cause.to_string();
    shortened(text.split(" (os error").next().unwrap_or_default())
}

/// One line of a bounded length.
fn shortened(text: &str) -> String {
    let mut short = String::new();
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if short.len() + c.len_utf8() > SERVER_MESSAGE_BYTES_MAX {
            return short + "…";
        }
        short.push(c);
    }
    short
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn words(code: u16, message: &str) -> String {
        let settings = KubernetesSettings::with_account("https://10.0.0.1".to_owned(), Path::new("/account"));
        let status = Status::failure(message, "").with_code(code);
        Trouble::of_status(Verb::List, &status).words(&settings, Some("fleet"))
    }

    #[test]
    fn the_missing_verb_and_the_account_are_named_as_the_server_names_them() {
        let said = words(
            403,
            "endpointslices.discovery.k8s.io is forbidden: User \"system:serviceaccount:fleet:default\" cannot watch \
             resource \"endpointslices\" in API group \"discovery.k8s.io\" in the namespace \"fleet\"",
        );
        assert_eq!(
            said,
            "not allowed to watch endpointslices in namespace \"fleet\": the service account \
             system:serviceaccount:fleet:default needs list and watch on endpointslices in discovery.k8s.io (a Role \
             and a RoleBinding, which the Helm chart makes)"
        );
        assert!(words(403, "no").starts_with("not allowed to list endpointslices"), "what was asked for");
    }

    #[test]
    fn what_a_server_says_is_shown_on_one_bounded_line() {
        let said = words(500, &"a\nb".repeat(500));
        assert!(said.contains("status 500: a ba b") && said.len() < 400 && !said.contains('\n'), "{said}");
    }
}
