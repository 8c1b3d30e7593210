#!/usr/bin/env bash
# Installs peat-mesh in a Kubernetes cluster and checks that it does what it promises there.
#
#   scripts/functional-test.sh [k3d|kind|existing] [--image NAME:TAG] [--keep]
#
#   k3d, kind    make a cluster, build the image, put it into the cluster, delete the cluster at the end (default: k3d)
#   existing     use the current context, with an image that the cluster has or can pull
#   --image      the image [peat-mesh-node:latest]
#   --keep       leave everything as it is at the end, to look at
#
# Prints a line for each check, ends at the first that fails with status 1, and says PASS when all held.
set -Eeuo pipefail
cd "$(dirname "$0")/.."

tool=k3d
image=peat-mesh-node:latest
keep=false

usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; }

while [ $# -gt 0 ]; do
    case $1 in
    k3d | kind | existing) tool=$1 ;;
    --image) image=${2:?--image needs NAME:TAG} && shift ;;
    --keep) keep=true ;;
    -h | --help) usage && exit 0 ;;
    *)
        echo "functional-test: $1 is none of k3d, kind, existing, --image, --keep" >&2
        exit 64
        ;;
    esac
    shift
done
case ${image##*/} in *:*) ;; *) image=$image:latest ;; esac

release=peat-mesh
cluster=peat-test-$$
namespace=peat-test-$$
writer=peat-test-writer
api=localhost:8081/api/v1
secret=""
work=$(mktemp -d)

# shellcheck source=scripts/telling.sh
. scripts/telling.sh

# ---- the cluster

k() { kubectl -n "$namespace" "$@"; }
on() { # on POD CURL-ARGUMENTS…: a request from inside the pod to its own node
    local pod=$1
    shift
    k exec "$pod" -c peat-mesh-node -- curl -sS -m 10 "$@"
}
pods() { seq -f "$release-%g" 0 $(($1 - 1)); }
field() { k get "$1" -o "jsonpath={$2}"; }

show_state() {
    echo "== state of $namespace" >&2
    k get pods,statefulset,endpointslice -o wide || true
    local pod
    for pod in $(k get pods -l app=peat-mesh -o name); do
        echo "== $pod" && on "${pod#pod/}" "$api/ready" && echo && on "${pod#pod/}" "$api/peers" && echo
        k logs "$pod" --tail=30
    done || true
    k get events --sort-by=.lastTimestamp | tail -n 20 || true
} >&2

delete_what_was_made() {
    if $keep; then
        echo "kept: namespace $namespace$([ "$tool" = existing ] || echo " in cluster $cluster")${KUBECONFIG:+, KUBECONFIG=$KUBECONFIG}"
        return
    fi
    case $tool in
    k3d) k3d cluster delete "$cluster" ;;
    kind) kind delete cluster --name "$cluster" ;;
    existing) kubectl delete namespace "$namespace" --ignore-not-found --timeout=120s ;;
    esac >/dev/null 2>&1 || echo "WARN: not everything could be deleted: $tool, $cluster" >&2
    rm -rf "$work"
}

at_the_end() {
    local status=$?
    trap - EXIT ERR
    set +e
    kubectl get namespace "$namespace" >/dev/null 2>&1 && [ "$status" -ne 0 ] && show_state
    delete_what_was_made
    exit "$status"
}

tools=(kubectl helm openssl)
[ "$tool" = existing ] || tools+=(docker "$tool")
for needed in "${tools[@]}"; do
    command -v "$needed" >/dev/null || fail "$needed is not on PATH; this test needs ${tools[*]}"
done

trap at_the_end EXIT
trap 'echo "FAIL: line $LINENO: $BASH_COMMAND" >&2' ERR
trap 'exit 130' INT TERM

make_cluster() {
    [ "$tool" = existing ] && return
    note "cluster $cluster"
    # A file of its own, so that the user's current context stays what it is.
    export KUBECONFIG=$work/kubeconfig
    case $tool in
    k3d)
        k3d cluster create "$cluster" --no-lb --wait --kubeconfig-update-default=false >/dev/null
        k3d kubeconfig get "$cluster" >"$KUBECONFIG"
        ;;
    kind) kind create cluster --name "$cluster" --wait 120s >/dev/null 2>&1 ;;
    esac
    note "image $image"
    docker build -q -t "$image" -f deploy/Dockerfile . >/dev/null
    case $tool in
    k3d) k3d image import "$image" -c "$cluster" >/dev/null ;;
    kind) kind load docker-image "$image" --name "$cluster" >/dev/null 2>&1 ;;
    esac
}

# chart install|upgrade REPLICAS HELM-ARGUMENTS…
chart() {
    local order=$1 replicas=$2
    shift 2
    helm "$order" "$release" deploy/helm/peat-mesh -n "$namespace" \
        --set "formationSecret=$secret" --set "replicaCount=$replicas" \
        --set "image.repository=${image%:*}" --set-string "image.tag=${image##*:}" \
        --set "image.pullPolicy=$([ "$tool" = existing ] && echo IfNotPresent || echo Never)" "$@"
}

all_in_step() { # all_in_step REPLICAS
    k rollout status "statefulset/$release" --timeout=300s >/dev/null || fail "not all of $1 pods became ready"
    [ "$(field "statefulset/$release" .status.readyReplicas)" = "$1" ] || fail "not $1 pods are ready"
}

# ---- documents

put() { on "$1" -f -o /dev/null -X PUT -H 'content-type: application/json' -d "$3" "$api/documents/$2"; }
holds() { on "$1" -f "$api/documents/$2" 2>/dev/null | grep -qF "\"document\":$3"; }

# Remembered in files, so that each later step can ask for everything written before.
remember() { printf '%s\n' "$2" >"$work/documents.$(tr / . <<<"$1")" && echo "$1" >>"$work/documents"; }

write_on_each() { # write_on_each REPLICAS LABEL
    local pod document
    for pod in $(pods "$1"); do
        document="{\"made\":\"$2, on $pod\"}"
        put "$pod" "functional/$2-$pod" "$document" || fail "$pod does not take a document"
        remember "functional/$2-$pod" "$document"
    done
}

read_on_each() { # read_on_each REPLICAS WHEN
    local pod document content count=0
    while read -r document; do
        content=$(cat "$work/documents.$(tr / . <<<"$document")")
        # A pod gets it within milliseconds; the time is for a busy machine.
        for pod in $(pods "$1"); do
            eventually 60 holds "$pod" "$document" "$content" || fail "$2: $pod has not got $document"
        done
        count=$((count + 1))
    done <"$work/documents"
    ok "$2: $count documents are on each of $1 pods"
}

# Lines `id version` of a collection, from all its pages.
versions_of() { # versions_of POD COLLECTION
    local after="" page
    while :; do
        page=$(on "$1" -f "$api/documents/$2?limit=1000$after")
        grep -oE '"id":"[^"]*","version":"[^"]*"' <<<"$page" | sed -E 's/"id":"([^"]*)","version":"([^"]*)"/\1 \2/' || true
        after=$(grep -oE '"next":"[^"]*"' <<<"$page" | cut -d'"' -f4 || true)
        [ -n "$after" ] || return 0
        after="&after=$after"
    done
}

# ---- checks

check_health() {
    local pod
    for pod in $(pods 3); do
        on "$pod" -f "$api/health" | grep -q '"status":"healthy"' || fail "$pod is not healthy"
        on "$pod" -f "$api/ready" | grep -q '"ready":true' || fail "$pod is not ready"
    done
    ok "all pods are healthy and ready"
}

peers_in_log() { k logs "$1" | sed -nE 's/.*Peer connected to Iroh.* peer=([^ ]+).*/\1/p' | sort -u | wc -l; }
has_peers() { [ "$(peers_in_log "$1")" -ge "$2" ]; }

check_logs_of_the_start() {
    local pod
    for pod in $(pods 3); do
        eventually 60 has_peers "$pod" 2 || fail "$pod has met $(peers_in_log "$pod") of 2 peers within a minute"
        k logs "$pod" | grep "blobs + automerge sync" >/dev/null || fail "$pod did not start the sync stack"
    done
    ok "each pod has met the two others, and runs the sync stack"
}

check_endpoint_slice() {
    local slices
    # Kubernetes lists the ports in an order of its own.
    slices=$(k get endpointslice -l app=peat-mesh \
        -o 'jsonpath={range .items[*]}slice{range .ports[*]} {.port}/{.protocol}{end}{"\n"}{end}')
    case $slices in
    "slice 11204/UDP 8081/TCP" | "slice 8081/TCP 11204/UDP") ok "one EndpointSlice with both ports" ;;
    *) fail "expected one EndpointSlice with the ports 11204/UDP and 8081/TCP, found: $slices" ;;
    esac
}

check_helm_test() {
    helm test "$release" -n "$namespace" --timeout 120s --logs >"$work/helm-test" 2>&1 ||
        fail "helm test: $(cat "$work/helm-test")"
    ok "helm test"
}

# Before pods go, because their logs go with them.
check_logs() {
    local pod found
    for pod in $(k get pods -l app=peat-mesh -o "jsonpath={.items[*].metadata.name}"); do
        k logs "$pod" >"$work/log"
        found=$(grep -E '(^|[^A-Za-z])ERROR([^A-Za-z]|$)' "$work/log" | head -n 5) || true
        [ -z "$found" ] || fail "$pod logged errors: $found"
        found=$(grep -i error "$work/log" | head -n 5) || true
        [ -z "$found" ] || printf 'WARN: %s speaks of errors: %s\n' "$pod" "$found"
        [ "$(field "pod/$pod" '.status.containerStatuses[0].restartCount')" = 0 ] || fail "$pod was restarted"
    done
    ok "no errors in the logs, no restarts ($1)"
}

device_id() { k logs "$1" | sed -nE 's/.*Mesh started.* (device_id=[^ ]+).*/\1/p'; }
replaced() { # replaced POD OLD-UID
    local now
    now=$(k get pod "$1" --ignore-not-found \
        -o 'jsonpath={.metadata.uid} {.status.conditions[?(@.type=="Ready")].status}')
    [ "${now% *}" != "$2" ] && [ "${now#* }" = True ]
}

check_identity() {
    local pod=$release-0 uid before
    uid=$(field "pod/$pod" .metadata.uid)
    before=$(device_id "$pod")
    k delete pod "$pod" --timeout=120s >/dev/null
    eventually 120 replaced "$pod" "$uid" || fail "$pod did not become ready again"
    [ "$(device_id "$pod")" = "${before:-unknown}" ] || fail "$pod was ${before:-unknown} and is $(device_id "$pod")"
    ok "a deleted pod comes back as the same node ($before)"
}

check_scaling() {
    chart upgrade 5 >/dev/null
    all_in_step 5
    write_on_each 5 five
    read_on_each 5 "after 3 → 5"
    # The last word of the pods that go: they have to hand it over before they stop.
    local pod
    for pod in "$release-3" "$release-4"; do
        put "$pod" "functional/last-of-$pod" '{"last":"word"}' && remember "functional/last-of-$pod" '{"last":"word"}'
    done
    check_logs "before 5 → 3"
    chart upgrade 3 >/dev/null
    k wait --for=delete "pod/$release-3" "pod/$release-4" --timeout=120s >/dev/null
    all_in_step 3
    read_on_each 3 "after 5 → 3"
}

check_refusals() {
    local told
    if told=$(helm upgrade "$release" deploy/helm/peat-mesh -n "$namespace" --set replicaCount=3 2>&1); then
        fail "an upgrade without the secret was taken"
    fi
    grep -q "formationSecret is not set" <<<"$told" || fail "an upgrade without the secret says: $told"
    if told=$(secret=$(openssl rand -base64 32) && chart upgrade 3 2>&1); then
        fail "an upgrade with another secret, which loses all documents, was taken"
    fi
    grep -q "not the one that is installed" <<<"$told" || fail "an upgrade with another secret says: $told"
    ok "an upgrade without the secret, or with another one, is refused in words"
}

start_writer() {
    k apply -f - >/dev/null <<EOF
apiVersion: v1
kind: Pod
metadata: {name: $writer}
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 1
  securityContext: {runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532, seccompProfile: {type: RuntimeDefault}}
  volumes: [{name: tmp, emptyDir: {}}]
  containers:
    - name: writer
      image: "$image"
      imagePullPolicy: IfNotPresent
      securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
      volumeMounts: [{name: tmp, mountPath: /tmp}]
      command: [sh, -c]
      args:
        - |
          number=100000
          while [ ! -e /tmp/stop ]; do
            number=\$((number + 1))
            status=\$(curl -s -m 10 -o /dev/null -w '%{http_code}' -X PUT -H 'content-type: application/json' \\
              -d "{\"number\":\$number}" http://$release-broker:8081/api/v1/documents/load/w\$number)
            echo "w\$number \$status" >>/tmp/answers
            sleep 0.05
          done
          touch /tmp/stopped
          exec sleep 3600
EOF
    k wait --for=condition=ready "pod/$writer" --timeout=120s >/dev/null
}
writer_has() { k exec "$writer" -- test -e "$1"; }

# The answered documents that a pod has not got.
missing_on() {
    versions_of "$1" load | cut -d' ' -f1 | sort >"$work/held"
    comm -23 "$work/answered" "$work/held" >"$work/missing"
    [ ! -s "$work/missing" ]
}

check_rolling_restart() {
    local least=3 now pod all taken
    check_logs "before the rolling restart"
    start_writer
    eventually 30 writer_has /tmp/answers || fail "the writer does not write"
    k rollout restart "statefulset/$release" >/dev/null
    k rollout status "statefulset/$release" --timeout=600s >"$work/rollout" &
    while kill -0 $! 2>/dev/null; do
        now=$(field "statefulset/$release" .status.readyReplicas)
        [ "${now:-0}" -ge "$least" ] || least=${now:-0}
        sleep 0.5
    done
    wait $! || fail "the rolling restart did not end: $(tail -n 1 "$work/rollout")"
    k exec "$writer" -- touch /tmp/stop
    eventually 30 writer_has /tmp/stopped || fail "the writer does not stop"
    [ "$least" -ge 2 ] || fail "only $least of 3 pods were in step during the restart"
    ok "a rolling restart keeps at least 2 of 3 pods in step"

    k exec "$writer" -- cat /tmp/answers >"$work/answers"
    grep -E ' 20[01]$' "$work/answers" | cut -d' ' -f1 | sort >"$work/answered" || true
    all=$(wc -l <"$work/answers")
    taken=$(wc -l <"$work/answered")
    [ "$taken" -ge 100 ] || fail "only $taken of $all writes were answered during the restart"
    [ "$taken" = "$all" ] || echo "WARN: $((all - taken)) of $all writes were not answered: $(grep -vE ' 20[01]$' "$work/answers" | head -n 5 | tr '\n' ';')"
    for pod in $(pods 3); do
        eventually 60 missing_on "$pod" ||
            fail "$pod lacks $(wc -l <"$work/missing") of $taken answered writes: $(head -n 5 "$work/missing" | tr '\n' ' ')"
    done
    for pod in $(pods 3); do versions_of "$pod" load | sort | openssl sha256; done | sort -u >"$work/sums"
    [ "$(wc -l <"$work/sums")" = 1 ] || fail "the pods hold different versions of the written documents"
    ok "all $taken writes that were answered during the restart are on each pod, in the same version"
}

# ---- the story

make_cluster
kubectl create namespace "$namespace" >/dev/null
# Pods that need more than the restricted level are not let in.
kubectl label namespace "$namespace" pod-security.kubernetes.io/enforce=restricted >/dev/null
secret=$(openssl rand -base64 32)

note "install"
chart install 3 >/dev/null
all_in_step 3
check_health
check_logs_of_the_start
check_endpoint_slice
check_helm_test
write_on_each 3 first
read_on_each 3 "after the install"
note "delete a pod"
check_logs "before a pod is deleted"
check_identity
read_on_each 3 "after a pod was deleted"
note "scale 3 → 5 → 3"
check_scaling
note "refused upgrades"
check_refusals
note "rolling restart under a write load"
check_rolling_restart
read_on_each 3 "after the rolling restart"
check_logs "at the end"
echo "PASS: all functional checks held, in ${SECONDS}s"
