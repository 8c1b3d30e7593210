//! The variables of Kubernetes discovery: those that an operator sets and those that every pod has.

use std::net::IpAddr;
use std::path::Path;

use super::Reader;
use crate::config::{K8S_LABEL_SELECTOR_DEFAULT, KubernetesSettings};
use crate::discovery::kubernetes::{check_namespace, check_selector};

/// Where every pod finds the files of its service account.
const ACCOUNT_FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const EXAMPLE_ELSEWHERE: &str = "PEAT_DISCOVERY=mdns, or PEAT_DISCOVERY=static with PEAT_STATIC_PEERS";

impl Reader<'_> {
    /// The cluster, when `is_wanted`; `is_default` when nobody asked for it in so many words. What an operator
    /// set is looked at in any case.
    pub(super) fn kubernetes(&mut self, is_wanted: bool, is_default: bool) -> Option<KubernetesSettings> {
        let label_selector = self.label_selector();
        let namespace = self.namespace();
        if !is_wanted {
            return None;
        }
        let api = self.api_server(is_default)?;
        let settings = KubernetesSettings::with_account(api, Path::new(ACCOUNT_FOLDER));
        Some(KubernetesSettings { namespace, label_selector, ..settings })
    }

    fn label_selector(&mut self) -> String {
        const VARIABLE: &str = "PEAT_K8S_LABEL_SELECTOR";
        let selector = self.text(VARIABLE).unwrap_or_else(|| K8S_LABEL_SELECTOR_DEFAULT.to_owned());
        if let Err(problem) = check_selector(&selector) {
            self.wrong(VARIABLE, problem, "PEAT_K8S_LABEL_SELECTOR=app=peat-mesh,site in (harbour,airport)");
        }
        selector
    }

    fn namespace(&mut self) -> Option<String> {
        const VARIABLE: &str = "PEAT_K8S_NAMESPACE";
        let namespace = self.text(VARIABLE)?;
        if let Err(problem) = check_namespace(&namespace) {
            self.wrong(VARIABLE, problem, "PEAT_K8S_NAMESPACE=peat");
        }
        Some(namespace)
    }

    fn api_server(&mut self, is_default: bool) -> Option<String> {
        const HOST: &str = "KUBERNETES_SERVICE_HOST";
        const PORT: &str = "KUBERNETES_SERVICE_PORT";
        let Some(host) = self.text(HOST) else {
            let which = if is_default { "it is not set, and its default, kubernetes," } else { "kubernetes" };
            let problem =
                format!("{which} works only in a pod of Kubernetes, and this is none: {HOST} is not set");
            self.wrong("PEAT_DISCOVERY", problem, EXAMPLE_ELSEWHERE);
            return None;
        };
        let is_host_name = host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'));
        let host = match host.parse::<IpAddr>() {
            Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
            Ok(IpAddr::V4(ip)) => ip.to_string(),
            Err(_) if is_host_name => host,
            Err(_) => {
                let problem = format!("{host:?} is neither an IP address nor a host name");
                self.wrong(HOST, problem, "KUBERNETES_SERVICE_HOST=10.96.0.1, as Kubernetes sets it");
                return None;
            }
        };
        const PORT_EXAMPLE: &str = "KUBERNETES_SERVICE_PORT=443, as Kubernetes sets it";
        if self.text(PORT).is_none() {
            self.wrong(PORT, format!("it is not set, though {HOST} is"), PORT_EXAMPLE);
            return None;
        }
        let port: u16 = self.parse(PORT, "a port from 0 to 65535", PORT_EXAMPLE)?;
        Some(format!("https://{host}:{port}"))
    }
}
