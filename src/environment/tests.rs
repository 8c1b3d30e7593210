use std::collections::BTreeMap;

use super::*;

const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn mistakes(pairs: &[(&str, &str)]) -> Vec<Mistake> {
    read(&variables(pairs)).unwrap_err().0
}

fn with(extra: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut all = variables(&[("PEAT_FORMATION_SECRET", SECRET), ("PEAT_DISCOVERY", "mdns")]);
    all.append(&mut variables(extra));
    all
}

#[test]
fn the_defaults_are_those_of_the_guide() {
    let config = read(&with(&[("HOME", "/home/me")])).unwrap();
    assert_eq!(config.name.as_str(), "peat-mesh-0");
    assert_eq!(config.discovery, [Source::Mdns]);
    assert_eq!((config.broker_port, config.iroh_port, config.max_peers), (8081, 11204, 16));
    assert_eq!(config.broker_bind.to_string(), "127.0.0.1");
    assert_eq!(config.data_folder.path, PathBuf::from("/data"));
    assert_eq!(config.data_folder.fallback, Some("/home/me/.local/state/peat-mesh".into()));
    assert!(config.static_peers.is_empty() && config.mdns_interfaces.is_none());
    assert_eq!(log(&with(&[])).unwrap(), LogConfig::default());
}

#[test]
fn what_is_set_is_taken() {
    let config = read(&with(&[
        ("HOSTNAME", "vehicle-7"),
        ("PEAT_CLUSTER", "alpha"),
        ("PEAT_DATA_DIR", "/tmp/x"),
        ("PEAT_BROKER_BIND", "::"),
        ("PEAT_BROKER_PORT", "0"),
        ("PEAT_IROH_BIND_PORT", " 4000 "),
        ("PEAT_MAX_PEERS", "3"),
        ("PEAT_MDNS_INTERFACES", "eth0, 10.0.0.1"),
        ("PEAT_LOG_FORMAT", "json"),
    ]))
    .unwrap();
    assert_eq!(config.name.as_str(), "alpha/vehicle-7");
    assert_eq!(config.data_folder, DataFolder { path: "/tmp/x".into(), fallback: None });
    assert_eq!((config.broker_port, config.iroh_port, config.max_peers), (0, 4000, 3));
    assert_eq!(config.mdns_interfaces.unwrap(), ["eth0", "10.0.0.1"]);
}

#[test]
fn a_limit_of_peers_that_makes_no_sense_is_refused_with_the_range() {
    for bad in ["2", "257", "many", "-1"] {
        let found = read(&with(&[("PEAT_MAX_PEERS", bad)])).unwrap_err().0;
        assert_eq!(found.len(), 1);
        let line = found[0].to_string();
        assert!(line.contains("from 3 to 256") && line.contains("PEAT_MAX_PEERS=16"), "{line}");
    }
    assert_eq!(read(&with(&[("PEAT_MAX_PEERS", "")])).unwrap().max_peers, 16);
}

#[test]
fn memory_for_documents_is_a_number_of_bytes() {
    let read_with = |text| read(&with(&[("PEAT_CACHE_BYTES", text)]));
    for bad in ["0", "1048575", "64MiB", "-1"] {
        let line = read_with(bad).unwrap_err().0[0].to_string();
        assert!(line.contains("from 1048576") && line.contains("PEAT_CACHE_BYTES=67108864"), "{line}");
    }
    assert_eq!(read_with("1048576").unwrap().cache_bytes, 1_048_576);
    assert_eq!(read_with("").unwrap().cache_bytes, 33_554_432);
}

#[test]
fn what_is_done_about_blobs_is_read_and_every_mistake_is_told() {
    let defaults = read(&with(&[])).unwrap().attachments;
    assert_eq!((defaults.policies.to_string().as_str(), defaults.grace_secs), ("*=lazy", 604_800));
    let set = [("PEAT_BLOB_POLICY", "maps=eager, archive=pinned"), ("PEAT_BLOB_GRACE_SECS", "0")];
    let set = read(&with(&set)).unwrap().attachments;
    assert_eq!(set.policies.to_string(), "archive=pinned,maps=eager,*=lazy");
    assert_eq!((set.grace_secs, set.grace_ms()), (0, None));
    let wrong = [("PEAT_BLOB_POLICY", "maps=now,a b=lazy,x"), ("PEAT_BLOB_GRACE_SECS", "a week")];
    let lines: Vec<_> = read(&with(&wrong)).unwrap_err().0.iter().map(ToString::to_string).collect();
    assert_eq!(lines.len(), 4, "{lines:#?}");
    for (line, told) in
        lines.iter().zip(["\"now\" is none of lazy, eager, pinned", "' '", "no equals sign", "from 0"])
    {
        assert!(line.contains(told) && line.contains("Example: PEAT_BLOB_"), "{line}");
    }
    assert!(read(&with(&[("PEAT_BLOB_GRACE_SECS", "3153600001")])).is_err());
}

#[test]
fn static_discovery_is_added_when_there_are_static_peers() {
    let config = read(&with(&[("PEAT_STATIC_PEERS", "b@127.0.0.1:1")])).unwrap();
    assert_eq!(config.discovery, [Source::Mdns, Source::Static]);
    let both = [("PEAT_DISCOVERY", "static,mdns"), ("PEAT_STATIC_PEERS", "b@127.0.0.1:1")];
    assert_eq!(read(&with(&both)).unwrap().discovery, [Source::Mdns, Source::Static]);
}

#[test]
fn all_mistakes_are_reported_at_once_with_variable_problem_and_example() {
    let found = mistakes(&[
        ("PEAT_FORMATION_SECRET", "c2hvcnQ="),
        ("HOSTNAME", "no spaces"),
        ("PEAT_DISCOVERY", "mdns,carrier-pigeon"),
        ("PEAT_STATIC_PEERS", "nobody"),
        ("PEAT_BROKER_BIND", "localhost"),
        ("PEAT_BROKER_PORT", "65536"),
        ("PEAT_IROH_BIND_PORT", "udp"),
        ("PEAT_IROH_RELAY_URLS", "relay.example"),
        ("PEAT_LOG_FORMAT", "xml"),
        ("RUST_LOG", "info,=,"),
    ]);
    let variables: Vec<_> = found.iter().map(|mistake| mistake.variable).collect();
    assert_eq!(
        variables,
        [
            "PEAT_FORMATION_SECRET",
            "HOSTNAME",
            "PEAT_STATIC_PEERS",
            "PEAT_DISCOVERY",
            "PEAT_IROH_RELAY_URLS",
            "PEAT_BROKER_BIND",
            "PEAT_BROKER_PORT",
            "PEAT_IROH_BIND_PORT",
            "PEAT_LOG_FORMAT",
            "RUST_LOG",
        ]
    );
    for mistake in &found {
        assert!(!mistake.problem.is_empty() && !mistake.example.is_empty(), "{mistake}");
        assert!(!mistake.to_string().contains("c2hvcnQ="), "the secret is not shown: {mistake}");
    }
}

/// What every pod has.
const POD: [(&str, &str); 2] = [("KUBERNETES_SERVICE_HOST", "10.96.0.1"), ("KUBERNETES_SERVICE_PORT", "443")];

fn in_a_pod(extra: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut all = variables(&[("PEAT_FORMATION_SECRET", SECRET)]);
    all.append(&mut variables(&POD));
    all.append(&mut variables(extra));
    all
}

#[test]
fn a_pod_needs_a_secret_only_and_finds_its_peers_by_kubernetes() {
    let config = read(&in_a_pod(&[])).unwrap();
    assert_eq!(config.discovery, [Source::Kubernetes]);
    let cluster = config.kubernetes.unwrap();
    assert_eq!((&*cluster.api, &*cluster.label_selector), ("https://10.96.0.1:443", "app=peat-mesh"));
    assert_eq!((cluster.namespace, cluster.watch_secs), (None, 60));
    let folder = PathBuf::from("/var/run/secrets/kubernetes.io/serviceaccount");
    assert_eq!(cluster.token_file, folder.join("token"));
    assert_eq!(cluster.ca_file, folder.join("ca.crt"));
    assert_eq!(cluster.namespace_file, folder.join("namespace"));
}

#[test]
fn what_is_set_for_kubernetes_is_taken() {
    let config = read(&in_a_pod(&[
        ("PEAT_DISCOVERY", "static,kubernetes"),
        ("PEAT_STATIC_PEERS", "b@127.0.0.1:1"),
        ("PEAT_K8S_NAMESPACE", "fleet"),
        ("PEAT_K8S_LABEL_SELECTOR", "app=mesh,site in (a, b)"),
        ("KUBERNETES_SERVICE_HOST", "fd00::1"),
        ("KUBERNETES_SERVICE_PORT", "6443"),
    ]))
    .unwrap();
    assert_eq!(config.discovery, [Source::Kubernetes, Source::Static]);
    let cluster = config.kubernetes.unwrap();
    assert_eq!(cluster.api, "https://[fd00::1]:6443");
    assert_eq!(cluster.namespace.as_deref(), Some("fleet"));
    assert_eq!(cluster.label_selector, "app=mesh,site in (a, b)");
}

#[test]
fn kubernetes_outside_of_a_pod_is_a_mistake_that_says_what_to_do() {
    let by_default = mistakes(&[("PEAT_FORMATION_SECRET", SECRET)]);
    assert_eq!(by_default.len(), 1);
    let text = by_default[0].to_string();
    assert!(
        text.starts_with("PEAT_DISCOVERY: it is not set, and its default, kubernetes, works only"),
        "{text}"
    );
    assert!(
        text.contains("KUBERNETES_SERVICE_HOST is not set") && text.contains("PEAT_DISCOVERY=mdns"),
        "{text}"
    );
    let asked = mistakes(&[("PEAT_FORMATION_SECRET", SECRET), ("PEAT_DISCOVERY", "kubernetes")]);
    assert!(asked[0].problem.starts_with("kubernetes works only in a pod"), "{}", asked[0]);
    let half = [POD[0], ("PEAT_FORMATION_SECRET", SECRET)];
    assert_eq!(mistakes(&half)[0].variable, "KUBERNETES_SERVICE_PORT");
}

#[test]
fn variables_of_kubernetes_do_no_harm_where_it_is_not_used() {
    let config = read(&with(&[POD[0], ("PEAT_K8S_NAMESPACE", "fleet")])).unwrap();
    assert_eq!((config.discovery, config.kubernetes), (vec![Source::Mdns], None));
}

#[test]
fn wrong_variables_of_kubernetes_are_all_named() {
    let wrong = [
        ("PEAT_K8S_LABEL_SELECTOR", "app=peat mesh"),
        ("PEAT_K8S_NAMESPACE", "Fleet"),
        ("KUBERNETES_SERVICE_HOST", "no host"),
    ];
    let found = read(&in_a_pod(&wrong)).unwrap_err().0;
    let variables: Vec<_> = found.iter().map(|mistake| mistake.variable).collect();
    assert_eq!(variables, wrong.map(|(variable, _)| variable));
}

#[test]
fn static_discovery_without_peers_is_a_mistake() {
    let found = mistakes(&[("PEAT_FORMATION_SECRET", SECRET), ("PEAT_DISCOVERY", "static")]);
    assert_eq!(found[0].variable, "PEAT_STATIC_PEERS");
}

#[test]
fn a_missing_secret_says_how_to_make_one() {
    let found = mistakes(&[("PEAT_DISCOVERY", "mdns")]);
    assert_eq!(found.len(), 1);
    assert!(found[0].to_string().contains("openssl rand -base64 32"), "{}", found[0]);
}

#[test]
fn a_cluster_or_host_name_with_a_slash_is_refused() {
    for pair in [("HOSTNAME", "a/b"), ("PEAT_CLUSTER", "a/b"), ("PEAT_CLUSTER", "ä")] {
        let found = read(&with(&[pair])).unwrap_err().0;
        assert_eq!((found.len(), found[0].variable), (1, pair.0), "{found:?}");
    }
}

#[test]
fn relays_are_urls_and_peers_may_be_at_them() {
    let relays = ("PEAT_IROH_RELAY_URLS", "https://relay.example:3340, http://10.0.0.1:3340");
    let config = read(&with(&[relays, ("PEAT_STATIC_PEERS", "b@relay")])).unwrap();
    assert_eq!(config.relays, ["https://relay.example:3340", "http://10.0.0.1:3340"]);
    assert!(read(&with(&[])).unwrap().relays.is_empty());
    let without = read(&with(&[("PEAT_STATIC_PEERS", "b@relay")])).unwrap_err().0;
    assert_eq!(without[0].variable, "PEAT_IROH_RELAY_URLS");
    assert!(without[0].problem.contains("PEAT_STATIC_PEERS"), "{without:?}");
}

#[test]
fn a_relay_needs_a_secret_and_has_defaults() {
    let settings = relay(&variables(&[("PEAT_FORMATION_SECRET", SECRET)])).unwrap();
    assert_eq!((settings.bind, settings.port, settings.tls), (None, 3340, true));
    let wrong = [("PEAT_RELAY_PORT", "x"), ("PEAT_RELAY_TLS", "maybe"), ("PEAT_RELAY_BIND", "here")];
    assert_eq!(relay(&variables(&wrong)).unwrap_err().0.len(), 4);
}

#[test]
fn only_gateways_use_the_static_peers_and_each_takes_its_own_external_addresses() {
    let pairs = [
        ("PEAT_STATIC_PEERS", "bravo/peat-mesh-0@192.0.2.7:31204"),
        ("PEAT_GATEWAYS", "peat-mesh-0, alpha/peat-mesh-1"),
        ("PEAT_EXTERNAL_ADDR", "peat-mesh-0@192.0.2.1:31204,peat-mesh-1@a.example:31205,[2001:db8::1]:1"),
        ("PEAT_CLUSTER", "alpha"),
    ];
    let at = |host| read(&with(&[&pairs[..], &[("HOSTNAME", host)]].concat())).unwrap();
    let first = at("peat-mesh-0");
    assert!(first.is_gateway && first.static_peers.len() == 1);
    assert_eq!(first.external_addresses, ["192.0.2.1:31204", "[2001:db8::1]:1"]);
    assert_eq!(at("peat-mesh-1").external_addresses, ["a.example:31205", "[2001:db8::1]:1"]);
    let third = at("peat-mesh-2");
    assert!(!third.is_gateway && third.static_peers.is_empty());
    assert_eq!(third.external_addresses, ["[2001:db8::1]:1"]);
    assert!(read(&with(&[])).unwrap().is_gateway);
}

#[test]
fn mistakes_about_gateways_and_scopes_are_told() {
    let wrong = with(&[
        ("PEAT_GATEWAYS", "a b"),
        ("PEAT_EXTERNAL_ADDR", "192.0.2.1"),
        ("PEAT_LINK_SCOPES", "bravo/*: give=all"),
    ]);
    let variables: Vec<_> = read(&wrong).unwrap_err().0.iter().map(|mistake| mistake.variable).collect();
    assert_eq!(variables, ["PEAT_GATEWAYS", "PEAT_EXTERNAL_ADDR", "PEAT_LINK_SCOPES"]);
}
