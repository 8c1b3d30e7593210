"""What holds for the objects of a release, whatever its values."""


def of_kind(objects, kind):
    return [found for found in objects if found["kind"] == kind]


def name(found):
    return found["metadata"]["name"]


def labels(found):
    return found["metadata"].get("labels", {})


def selects(selector, of):
    return all(of.get(key) == value for key, value in selector.items())


def pod_of(objects):
    return of_kind(objects, "StatefulSet")[0]["spec"]["template"]


def container_of(objects):
    return pod_of(objects)["spec"]["containers"][0]


def environment(objects):
    return {variable["name"]: variable for variable in container_of(objects)["env"]}


def empty_places(value, path=""):
    if value is None:
        yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from empty_places(inner, f"{path}/{key}")


def nothing_is_null_or_named_twice(objects):
    for found in objects:
        for path in empty_places(found):
            yield f"{found['kind']} {name(found)}: {path} is null"
    names = [(found["kind"], name(found)) for found in objects]
    variables = [variable["name"] for variable in container_of(objects)["env"]]
    for twice in {entry for entry in names + variables if (names + variables).count(entry) > 1}:
        yield f"{twice} is there twice"


def pods_are_restricted(objects):
    """The `restricted` level of the Pod Security Standards, and a read-only root file system."""
    pods = [pod_of(objects)["spec"]] + [found["spec"] for found in of_kind(objects, "Pod")]
    pods += [found["spec"]["template"]["spec"] for found in of_kind(objects, "Deployment")]
    for pod in pods:
        context = pod["securityContext"]
        if not context.get("runAsNonRoot") or not context.get("runAsUser"):
            yield "a pod may run as root"
        if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield "a pod has no seccomp profile"
        if any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")):
            yield "a pod uses a namespace of its machine"
        for volume in pod.get("volumes", []):
            if "emptyDir" not in volume:
                yield f"volume {volume['name']} is no emptyDir"
        for container in pod["containers"]:
            inner = container["securityContext"]
            if inner.get("allowPrivilegeEscalation") is not False or inner.get("privileged"):
                yield "a container may gain privileges"
            if inner.get("capabilities") != {"drop": ["ALL"]}:
                yield "a container has capabilities"
            if inner.get("readOnlyRootFilesystem") is not True:
                yield "a container can write its root file system"
            if not container.get("resources", {}).get("limits"):
                yield "a container has no limits"


def services_lead_to_the_pods(objects):
    pod, stateful = pod_of(objects), of_kind(objects, "StatefulSet")[0]
    ports = {port["name"]: (port["containerPort"], port["protocol"]) for port in container_of(objects)["ports"]}
    all_services = {name(service): service["spec"] for service in of_kind(objects, "Service")}
    services = {key: spec for key, spec in all_services.items() if not key.endswith("-relay")}
    headless = services.get(stateful["spec"]["serviceName"], {})
    if headless.get("clusterIP") != "None" or headless.get("publishNotReadyAddresses") is not True:
        yield "the headless service hides pods that are not ready"
    if [port["name"] for port in headless.get("ports", [])] != ["quic", "http"]:
        yield "the headless service has not the ports quic, http in this order"
    if services.get(name(stateful) + "-broker", {}).get("type") != "ClusterIP":
        yield "there is no broker service"
    selectors = [service["selector"] for service in services.values()] + [stateful["spec"]["selector"]["matchLabels"]]
    selectors += [found["spec"]["selector"]["matchLabels"] for found in of_kind(objects, "PodDisruptionBudget")]
    selectors += [found["spec"]["podSelector"]["matchLabels"] for found in of_kind(objects, "NetworkPolicy")]
    # What Kubernetes gives each pod of a StatefulSet.
    first = {**labels(pod), "statefulset.kubernetes.io/pod-name": name(stateful) + "-0"}
    second = {**labels(pod), "statefulset.kubernetes.io/pod-name": name(stateful) + "-1"}
    for selector in selectors:
        if not selects(selector, first) and not selects(selector, second):
            yield f"{selector} does not select the pods"
        for test in of_kind(objects, "Pod"):
            if selects(selector, labels(test)):
                yield f"{selector} selects the pod of helm test"
    for service in services.values():
        for port in service["ports"]:
            if ports.get(port["targetPort"]) != (port["port"], port["protocol"]):
                yield f"port {port['name']} of a service is not the one of the pods"
    for monitor in of_kind(objects, "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"]
        chosen = [name(service) for service in of_kind(objects, "Service") if selects(wanted, labels(service))]
        if chosen != [name(stateful) + "-broker"]:
            yield f"the ServiceMonitor reads from {chosen}"


def gateways_are_reached_one_by_one(objects):
    gateways = [found for found in of_kind(objects, "Service") if name(found).endswith("-gateway")]
    listed = environment(objects).get("PEAT_GATEWAYS", {}).get("value", "")
    if [name(found).removesuffix("-gateway") for found in gateways] != [pod for pod in listed.split(",") if pod]:
        yield f"the gateways are {listed}, but there are services {[name(found) for found in gateways]}"
    for found in gateways:
        pod = found["spec"]["selector"].get("statefulset.kubernetes.io/pod-name")
        if pod != name(found).removesuffix("-gateway"):
            yield f"{name(found)} leads to more than its pod"
    numbers = [found["spec"]["ports"][0]["nodePort"] for found in gateways]
    if len(set(numbers)) != len(numbers):
        yield f"gateways share a NodePort: {numbers}"


def relays_are_apart_from_the_nodes(objects):
    for relay in of_kind(objects, "Deployment"):
        template = relay["spec"]["template"]
        wanted = relay["spec"]["selector"]["matchLabels"]
        if selects(wanted, labels(pod_of(objects))) or not selects(wanted, labels(template)):
            yield "the relay's selector takes nodes, or not the relay"
        services = [found for found in of_kind(objects, "Service") if selects(found["spec"]["selector"], labels(template))]
        if [name(found) for found in services] != [name(relay)]:
            yield f"the relay is reached by {[name(found) for found in services]}"
        numbers = {port["port"] for found in services for port in found["spec"]["ports"]}
        if len(numbers) != 1:
            yield "TCP and UDP of the relay have different numbers"
        if relay["spec"]["replicas"] != 1:
            yield "there is more than one relay behind one address"
        if name(relay) not in environment(objects).get("PEAT_IROH_RELAY_URLS", {}).get("value", ""):
            yield "the nodes do not use the relay"


def nodes_find_exactly_their_own(objects):
    variables = environment(objects)
    asks = "kubernetes" in variables["PEAT_DISCOVERY"]["value"]
    pod = pod_of(objects)["spec"]
    if pod["automountServiceAccountToken"] is not asks or bool(of_kind(objects, "Role")) is not asks:
        yield "access to the API does not go with discovery by Kubernetes"
    if not asks:
        return
    pairs = (pair.split("=") for pair in variables["PEAT_K8S_LABEL_SELECTOR"]["value"].split(","))
    wanted = dict(pairs)
    found = [name(service) for service in of_kind(objects, "Service") if selects(wanted, labels(service))]
    if found != [of_kind(objects, "StatefulSet")[0]["spec"]["serviceName"]]:
        yield f"discovery finds the EndpointSlices of {found}"
    for role in of_kind(objects, "Role"):
        if role["rules"] != [
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]}
        ]:
            yield f"the Role allows {role['rules']}"
    for binding in of_kind(objects, "RoleBinding"):
        if [subject["name"] for subject in binding["subjects"]] != [pod["serviceAccountName"]]:
            yield "the Role is bound to another account than the pods'"
    if of_kind(objects, "ClusterRole") or of_kind(objects, "ClusterRoleBinding"):
        yield "there is access to the whole cluster"


def stopping_fits_into_its_time(objects):
    pod, container = pod_of(objects)["spec"], container_of(objects)
    sleep = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["sleep", "0"])
    if pod["terminationGracePeriodSeconds"] < int(sleep[1]) + 25:
        yield "a node is killed before it has handed over what its peers lack"


OF_ONE_RELEASE = (
    nothing_is_null_or_named_twice,
    pods_are_restricted,
    services_lead_to_the_pods,
    gateways_are_reached_one_by_one,
    relays_are_apart_from_the_nodes,
    nodes_find_exactly_their_own,
    stopping_fits_into_its_time,
)


def two_releases_stay_apart(one, other):
    for found in {(thing["kind"], name(thing)) for thing in one} & {(thing["kind"], name(thing)) for thing in other}:
        yield f"both releases have {found}"
    for mine, theirs in ((one, other), (other, one)):
        for service in of_kind(mine, "Service"):
            if selects(service["spec"]["selector"], labels(pod_of(theirs))):
                yield f"service {name(service)} leads to pods of the other release"
        wanted = dict(pair.split("=") for pair in environment(mine)["PEAT_K8S_LABEL_SELECTOR"]["value"].split(","))
        for service in of_kind(theirs, "Service"):
            if selects(wanted, labels(service)):
                yield f"nodes find those of the other release by {name(service)}"
