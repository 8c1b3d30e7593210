#!/usr/bin/env bash
# Joins two clusters by their gateways, as in docs/federation.md, and checks that they are one formation.
#
#   scripts/federation-test.sh [k3d|existing] [--contexts A,B] [--image NAME:TAG] [--keep]
#
#   k3d          make two clusters on one Docker network, build the image, delete both at the end (default)
#   existing     use clusters that are there: the two of --contexts, or two namespaces of the current one that act as
#                clusters. Their machines have to reach each other's NodePorts (UDP 31204 to 31305)
#   --contexts   the contexts of the two clusters, for `existing`
#   --image      the image [peat-mesh-node:latest]
#   --keep       leave everything as it is at the end, to look at
#
# Prints a line for each check, ends at the first that fails with status 1, and says PASS when all held.
set -Eeuo pipefail
cd "$(dirname "$0")/.."

tool=k3d
image=peat-mesh-node:latest
keep=false
contexts=""

usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; }

while [ $# -gt 0 ]; do
    case $1 in
    k3d | existing) tool=$1 ;;
    --contexts) contexts=${2:?--contexts needs A,B} && shift ;;
    --image) image=${2:?--image needs NAME:TAG} && shift ;;
    --keep) keep=true ;;
    -h | --help) usage && exit 0 ;;
    *)
        echo "federation-test: $1 is none of k3d, existing, --contexts, --image, --keep" >&2
        exit 64
        ;;
    esac
    shift
done
case ${image##*/} in *:*) ;; *) image=$image:latest ;; esac

release=peat-mesh
network=peat-federation-$$
api=localhost:8081/api/v1
work=$(mktemp -d)
# By side: the context, the namespace, the first NodePort, and where the machines are reached.
declare -A context namespace port host
for side in alpha bravo; do
    context[$side]=""
    namespace[$side]=peat-$side-$$
done
# Two numbers, so that two namespaces of one cluster can be the two sides.
port[alpha]=31204
port[bravo]=31304

# shellcheck source=scripts/telling.sh
. scripts/telling.sh

other() { [ "$1" = alpha ] && echo bravo || echo alpha; }

# ---- the clusters

k() { # k SIDE KUBECTL-ARGUMENTS…
    local side=$1
    shift
    kubectl ${context[$side]:+--context "${context[$side]}"} -n "${namespace[$side]}" "$@"
}
on() { # on SIDE NUMBER CURL-ARGUMENTS…: a request from inside a pod to its own node
    local side=$1 pod=$release-$2
    shift 2
    k "$side" exec "$pod" -c peat-mesh-node -- curl -sS -m 10 "$@"
}

show_state() {
    local side pod
    for side in alpha bravo; do
        echo "== state of $side"
        k "$side" get pods,service,statefulset -o wide || true
        for pod in 0 1 2; do
            echo "== $side $release-$pod"
            on "$side" "$pod" "$api/ready" && echo && on "$side" "$pod" "$api/peers" && echo
            k "$side" logs "$release-$pod" --tail=20
        done || true
    done
} >&2

delete_what_was_made() {
    if $keep; then
        echo "kept: ${namespace[alpha]} and ${namespace[bravo]}${KUBECONFIG:+, KUBECONFIG=$KUBECONFIG}"
        return
    fi
    if [ "$tool" = k3d ]; then
        k3d cluster delete "$network-alpha" && k3d cluster delete "$network-bravo" && docker network rm "$network"
    else
        k alpha delete namespace "${namespace[alpha]}" --ignore-not-found --timeout=120s &&
            k bravo delete namespace "${namespace[bravo]}" --ignore-not-found --timeout=120s
    fi >/dev/null 2>&1 || echo "WARN: not everything could be deleted" >&2
    rm -rf "$work"
}

at_the_end() {
    local status=$?
    trap - EXIT ERR
    set +e
    [ "$status" -ne 0 ] && show_state
    delete_what_was_made
    exit "$status"
}

tools=(kubectl helm openssl)
[ "$tool" = existing ] || tools+=(docker k3d)
for needed in "${tools[@]}"; do
    command -v "$needed" >/dev/null || fail "$needed is not on PATH; this test needs ${tools[*]}"
done
trap at_the_end EXIT
trap 'echo "FAIL: line $LINENO: $BASH_COMMAND" >&2' ERR
trap 'exit 130' INT TERM

make_clusters() {
    local side
    if [ "$tool" = k3d ]; then
        note "clusters"
        # A file of its own, so that the user's current context stays what it is.
        export KUBECONFIG=$work/kubeconfig
        docker network create "$network" >/dev/null
        docker build -q -t "$image" -f deploy/Dockerfile . >/dev/null
        for side in alpha bravo; do
            k3d cluster create "$network-$side" --network "$network" --no-lb --wait --kubeconfig-update-default=false >/dev/null
            k3d kubeconfig merge "$network-$side" --output "$KUBECONFIG" >/dev/null
            k3d image import "$image" -c "$network-$side" >/dev/null
            context[$side]=k3d-$network-$side
            host[$side]=$(docker inspect "k3d-$network-$side-server-0" \
                --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}')
        done
    else
        [ -z "$contexts" ] || { context[alpha]=${contexts%,*} && context[bravo]=${contexts#*,}; }
        for side in alpha bravo; do
            host[$side]=$(k "$side" get nodes \
                -o jsonpath='{.items[0].status.addresses[?(@.type=="InternalIP")].address}' | cut -d' ' -f1)
        done
    fi
    for side in alpha bravo; do
        k "$side" create namespace "${namespace[$side]}" >/dev/null
    done
}

# chart SIDE HELM-ARGUMENTS…: installs or upgrades one side with two gateways and one pod that is none
chart() {
    local side=$1 there pull=IfNotPresent
    there=$(other "$side")
    shift
    [ "$tool" = existing ] || pull=Never
    helm upgrade --install "$release" deploy/helm/peat-mesh ${context[$side]:+--kube-context "${context[$side]}"} \
        -n "${namespace[$side]}" --set "formationSecret=$secret" --set replicaCount=3 \
        --set "image.repository=${image%:*}" --set "image.tag=${image##*:}" --set "image.pullPolicy=$pull" \
        --set federation.enabled=true --set "federation.cluster=$side" --set federation.gateways=2 \
        --set "federation.nodePortBase=${port[$side]}" --set "federation.externalHosts={${host[$side]}}" \
        --set "federation.staticPeers={$there/$release-0@${host[$there]}:${port[$there]},$there/$release-1@${host[$there]}:$((port[$there] + 1))}" \
        "$@" >/dev/null
}

put() { on "$1" "$2" -f -o /dev/null -X PUT "$api/documents/$3" -H 'content-type: application/json' -d "$4"; }
has() { [ "$(on "$1" "$2" -f "$api/documents/$3" 2>/dev/null | grep -c "$4")" -ge 1 ]; }
connected() { on "$1" "$2" "$api/peers" | grep -o "\"id\":\"$3\"[^}]*\"connected\":true" >/dev/null; }

# ---- checks

make_clusters
secret=$(openssl rand -base64 32)
note "image $image, alpha at ${host[alpha]}:${port[alpha]}, bravo at ${host[bravo]}:${port[bravo]}"

refused=$(helm template deploy/helm/peat-mesh --set "formationSecret=$secret" --set federation.enabled=true 2>&1) &&
    fail "a federation without a name for the cluster was taken"
grep -q "federation.cluster is not set" <<<"$refused" || fail "the refusal does not name federation.cluster: $refused"
ok "a cluster without a name is refused"

chart alpha
chart bravo
for side in alpha bravo; do
    k "$side" rollout status statefulset/$release --timeout=180s >/dev/null || fail "$side did not become ready"
done
ok "all pods of both clusters are ready"

for side in alpha bravo; do
    there=$(other $side)
    for number in 0 1; do
        for gateway in 0 1; do
            eventually 60 connected $side $number "$there/$release-$gateway" ||
                fail "$side $release-$number never was connected to $there/$release-$gateway"
        done
    done
    on $side 2 "$api/peers" | grep -q "\"id\":\"$there/" && fail "$side $release-2 is no gateway and knows $there"
done
ok "each gateway is connected to both gateways of the other cluster, and no other pod is"

put alpha 2 "tracks/one" '{"from":"alpha"}'
put bravo 2 "tracks/two" '{"from":"bravo"}'
for number in 0 1 2; do
    eventually 30 has bravo $number "tracks/one" alpha || fail "bravo $release-$number has not what alpha wrote"
    eventually 30 has alpha $number "tracks/two" bravo || fail "alpha $release-$number has not what bravo wrote"
done
ok "a document written on any pod of one cluster is read on every pod of the other"

k bravo delete pod $release-0 --wait=false >/dev/null
put alpha 2 "tracks/three" '{"while":"restarting"}'
eventually 30 has bravo 2 "tracks/three" restarting || fail "the second gateway did not carry on"
k bravo rollout status statefulset/$release --timeout=180s >/dev/null
eventually 60 connected alpha 0 "bravo/$release-0" || fail "the gateway that restarted was not dialled again"
eventually 30 has bravo 0 "tracks/three" restarting || fail "the gateway that restarted lacks what came meanwhile"
ok "a gateway may restart: the other one carries on, and the first one comes back at its NodePort"

k bravo scale statefulset/$release --replicas=0 >/dev/null
eventually 90 test -z "$(k bravo get pods -l app=peat-mesh -o name)" || true
k bravo wait --for=delete pod -l app=peat-mesh --timeout=120s >/dev/null 2>&1 || true
put alpha 1 "tracks/four" '{"while":"away"}'
k bravo scale statefulset/$release --replicas=3 >/dev/null
k bravo rollout status statefulset/$release --timeout=180s >/dev/null || fail "bravo did not come back"
for document in one two three four; do
    eventually 60 has bravo 2 "tracks/$document" : || fail "bravo lacks tracks/$document after it was away as a whole"
done
ok "a cluster that was away as a whole gets everything back"

chart alpha --set 'federation.linkScopes=bravo/*: send=tracks receive=tracks'
k alpha rollout status statefulset/$release --timeout=240s >/dev/null || fail "alpha did not take the scopes"
eventually 60 connected bravo 0 "alpha/$release-0" || fail "the gateways did not meet again"
put alpha 2 "private/one" '{"stays":"here"}'
put alpha 2 "tracks/five" '{"crosses":"over"}'
eventually 60 has bravo 2 "tracks/five" over || fail "a document that may cross did not"
eventually 30 has alpha 0 "private/one" here || fail "a document did not reach the gateway of its own cluster"
has bravo 0 "private/one" here && fail "a document that may not cross did"
ok "with a scope, only what it allows crosses"

echo "PASS: two clusters are one formation (${SECONDS}s)"
