"""What the chart is rendered with, and what it has to refuse."""

# 32 bytes of which the base64 has every character that a shell or `--set` could trip over.
SECRET = "++//+/0123456789abcdefABCDEFghijklmnop/+//8="

# Golden file → (values file or None, `--set` expressions)
RENDERED = {
    # The guide's `helm install`, as written.
    "default": (None, [f"formationSecret={SECRET}", "replicaCount=3"]),
    "high-availability": ("high-availability.yaml", []),
    "existing-secret": ("existing-secret.yaml", []),
    "static-peers": ("static-peers.yaml", []),
    "federation": ("federation.yaml", []),
    "relay": ("relay.yaml", []),
}

GOOD = f"formationSecret={SECRET}"

# Name → (`--set` expressions, what the message has to say whatever the version of Helm)
REFUSED = {
    "no-secret": ([], ["formationSecret is not set", '--set formationSecret="$(openssl rand -base64 32)"']),
    "secret-no-base64": (["formationSecret=%%%%%%%%%%%%%%%%%%%%%%%%"], ["formationSecret is not base64"]),
    "secret-half-a-byte": (["formationSecret=AAAAAAAAAAAAAAAAAAAAAAAAA"], ["formationSecret is not base64"]),
    "secret-too-short": (["formationSecret=MDEyMzQ1Njc4OWFiY2Rl"], ["formationSecret is 15 bytes", "at least 16"]),
    "secret-too-long": (["formationSecret=" + "A" * 1368], ["formationSecret is 1026 bytes", "at most 1024"]),
    "two-secrets": ([GOOD, "existingSecret=mine"], ["formationSecret and existingSecret are both set"]),
    "typo": ([GOOD, "replicas=3"], ["replicas"]),
    "typo-inside": ([GOOD, "image.version=3"], ["image", "version"]),
    "negative-replicas": ([GOOD, "replicaCount=-1"], ["replicaCount", "0"]),
    "replicas-in-words": ([GOOD, "replicaCount=three"], ["replicaCount", "integer"]),
    "unknown-discovery": ([GOOD, "discoveryMode=dns"], ["discoveryMode", "kubernetes", "mdns", "static"]),
    "static-without-peers": ([GOOD, "discoveryMode=static"], ["staticPeers is empty", "discoveryMode asks for static"]),
    "peer-without-a-name": ([GOOD, "staticPeers={192.0.2.7:31204}"], ["staticPeers", "@"]),
    "peers-behind-the-policy": (
        [GOOD, "networkPolicy.enabled=true", "staticPeers={a@192.0.2.7:31204}"],
        ["networkPolicy.peerCidrs is empty"],
    ),
    "federation-without-a-name": (
        [GOOD, "federation.enabled=true", "federation.staticPeers={b/a-0@192.0.2.7:31204}"],
        ["federation.cluster is not set", "--set federation.cluster=alpha"],
    ),
    "federation-with-peers-of-all-pods": (
        [GOOD, "federation.enabled=true", "federation.cluster=alpha", "staticPeers={b/a-0@192.0.2.7:31204}"],
        ["staticPeers and federation are both set"],
    ),
    "federation-with-two-names": (
        [GOOD, "federation.enabled=true", "federation.cluster=alpha", "clusterName=beta"],
        ["clusterName and federation.cluster differ"],
    ),
    "more-gateways-than-pods": (
        [GOOD, "federation.enabled=true", "federation.cluster=alpha", "federation.gateways=4"],
        ["federation.gateways is 4", "only 3 pods"],
    ),
    "port-too-high": ([GOOD, "irohBindPort=70000"], ["irohBindPort"]),
    "port-for-root": ([GOOD, "brokerPort=80"], ["brokerPort"]),
    "pull-policy": ([GOOD, "image.pullPolicy=never"], ["pullPolicy", "Never"]),
    "log-format": ([GOOD, "logFormat=xml"], ["logFormat", "json"]),
    "too-little-time-to-stop": (
        [GOOD, "terminationGracePeriodSeconds=30", "preStopSleepSeconds=10"],
        ["terminationGracePeriodSeconds is 30", "at least 35"],
    ),
    "variable-of-the-chart": ([GOOD, "extraEnv[0].name=RUST_LOG"], ["extraEnv: RUST_LOG", "use the value rustLog"]),
    "label-of-the-chart": ([GOOD, "commonLabels.app=mine"], ["commonLabels: the label app belongs to the chart"]),
    "several-at-once": (
        ["podLabels.app=mine", "terminationGracePeriodSeconds=1"],
        ["formationSecret is not set", "terminationGracePeriodSeconds is 1", "podLabels: the label app"],
    ),
}

# The guide's values, with the guide's defaults.
GUIDE = {
    "replicaCount": 3,
    "image": {"repository": "peat-mesh-node", "tag": "latest", "pullPolicy": "IfNotPresent"},
    "formationSecret": "",
    "discoveryMode": "kubernetes",
    "brokerPort": 8081,
    "irohBindPort": 11204,
    "irohRelayUrls": "",
    "rustLog": "info,peat_mesh=debug",
    "resources": {
        "requests": {"cpu": "100m", "memory": "128Mi"},
        "limits": {"cpu": "500m", "memory": "256Mi"},
    },
}
