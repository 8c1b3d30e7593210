{{- /* What values.schema.json cannot say, or would say with the secret in the message. All mistakes are told at once. */ -}}

{{- define "peat-mesh.check" -}}
{{- $problems := concat
  (include "peat-mesh.check.secret" . | fromYamlArray)
  (include "peat-mesh.check.discovery" . | fromYamlArray)
  (include "peat-mesh.check.pods" . | fromYamlArray)
-}}
{{- with $problems }}{{ fail (join "\n" .) }}{{ end -}}
{{- end -}}

{{- define "peat-mesh.check.secret" -}}
{{- $problems := list -}}
{{- $make := "--set formationSecret=\"$(openssl rand -base64 32)\"" -}}
{{- $secret := trim .Values.formationSecret -}}
{{- $digits := trimAll "=" $secret -}}
{{- $padding := sub (len $secret) (len $digits) -}}
{{- $bytes := div (mul 3 (len $digits)) 4 -}}
{{- if and $secret .Values.existingSecret -}}
{{- $problems = append $problems "formationSecret and existingSecret are both set: set one of them" -}}
{{- else if not (or $secret .Values.existingSecret) -}}
{{- $problems = append $problems (printf "formationSecret is not set. A new formation: %s; one that is there: give the same secret again, or name its Secret in existingSecret" $make) -}}
{{- else if $secret -}}
{{- if or
    (not (regexMatch "^([A-Za-z0-9+/]+|[A-Za-z0-9_-]+)={0,2}$" $secret))
    (eq (mod (len $digits) 4) 1)
    (and (gt $padding 0) (ne (mod (len $secret) 4) 0))
-}}
{{- $problems = append $problems (printf "formationSecret is not base64. To make one: %s" $make) -}}
{{- else if lt $bytes 16 -}}
{{- $problems = append $problems (printf "formationSecret is %d bytes long and needs at least 16. To make one: %s" $bytes $make) -}}
{{- else if gt $bytes 1024 -}}
{{- $problems = append $problems (printf "formationSecret is %d bytes long and may have at most 1024. To make one: %s" $bytes $make) -}}
{{- end -}}
{{- /* `lookup` finds nothing without a cluster, and then there is nothing to lose. */ -}}
{{- $installed := lookup "v1" "Secret" .Release.Namespace (include "peat-mesh.fullname" .) | default dict -}}
{{- $before := get (get $installed "data" | default dict) "formation-secret" | b64dec -}}
{{- if and $before (ne $before $secret) (not .Values.persistence.enabled) (not .Values.allowSecretChange) -}}
{{- $problems = append $problems (printf "formationSecret is not the one that is installed, and without persistence a new one loses every document. The installed one: kubectl get secret -n %s %s -o go-template='{{index .data \"formation-secret\" | base64decode}}'; to change it all the same: --set allowSecretChange=true" .Release.Namespace (include "peat-mesh.fullname" .)) -}}
{{- end -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{- define "peat-mesh.check.discovery" -}}
{{- $problems := list -}}
{{- if and (has "static" (splitList "," .Values.discoveryMode)) (not (include "peat-mesh.staticPeers" .)) -}}
{{- $problems = append $problems "staticPeers is empty, but discoveryMode asks for static: name at least one peer, for example --set 'staticPeers={bravo/peat-mesh-0@192.0.2.7:31204}'" -}}
{{- end -}}
{{- if .Values.federation.enabled -}}
{{- if not (include "peat-mesh.cluster" .) -}}
{{- $problems = append $problems "federation.cluster is not set: pods of two clusters have equal names, and a node's key follows from its name. Give each cluster its own, for example --set federation.cluster=alpha" -}}
{{- end -}}
{{- if .Values.staticPeers -}}
{{- $problems = append $problems "staticPeers and federation are both set: name the gateways of the other clusters in federation.staticPeers, which only this cluster's gateways dial" -}}
{{- end -}}
{{- if and .Values.clusterName .Values.federation.cluster (ne .Values.clusterName .Values.federation.cluster) -}}
{{- $problems = append $problems "clusterName and federation.cluster differ: set one of them" -}}
{{- end -}}
{{- if gt (int .Values.federation.gateways) (int .Values.replicaCount) -}}
{{- $problems = append $problems (printf "federation.gateways is %d, but there are only %d pods (replicaCount)" (int .Values.federation.gateways) (int .Values.replicaCount)) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (include "peat-mesh.staticPeers" .) (not .Values.networkPolicy.peerCidrs) -}}
{{- $problems = append $problems "networkPolicy.peerCidrs is empty, so the policy would keep the nodes from their staticPeers: give the networks of those, for example --set 'networkPolicy.peerCidrs={192.0.2.0/24}'" -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{- define "peat-mesh.check.pods" -}}
{{- $problems := list -}}
{{- $least := add .Values.preStopSleepSeconds 25 -}}
{{- if lt (int64 .Values.terminationGracePeriodSeconds) (int64 $least) -}}
{{- $problems = append $problems (printf "terminationGracePeriodSeconds is %d and has to be at least %d (preStopSleepSeconds and 25), or nodes are killed before they have handed over what their peers lack" (int64 .Values.terminationGracePeriodSeconds) $least) -}}
{{- end -}}
{{- $values := include "peat-mesh.variables" . | fromYaml -}}
{{- range .Values.extraEnv -}}
{{- if hasKey $values .name -}}
{{- $problems = append $problems (printf "extraEnv: %s is set by the chart; use the value %s" .name (get $values .name)) -}}
{{- end -}}
{{- end -}}
{{- range $value := list "commonLabels" "podLabels" -}}
{{- range $label, $_ := index $.Values $value -}}
{{- if or (has $label (list "app" "helm.sh/chart")) (hasPrefix "app.kubernetes.io/" $label) -}}
{{- $problems = append $problems (printf "%s: the label %s belongs to the chart, which tells pods and services apart by it; use another one" $value $label) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{- /* Variables of the node that the chart sets, each with the value that is meant for it. */ -}}
{{- define "peat-mesh.variables" -}}
PEAT_FORMATION_SECRET: formationSecret
HOSTNAME: fullnameOverride
PEAT_CLUSTER: clusterName
PEAT_DISCOVERY: discoveryMode
PEAT_STATIC_PEERS: staticPeers
PEAT_GATEWAYS: federation.gateways
PEAT_EXTERNAL_ADDR: federation.externalHosts
PEAT_LINK_SCOPES: federation.linkScopes
PEAT_K8S_NAMESPACE: discoveryMode
PEAT_K8S_LABEL_SELECTOR: discoveryMode
PEAT_DATA_DIR: persistence
PEAT_BROKER_BIND: brokerBind
PEAT_BROKER_PORT: brokerPort
PEAT_IROH_BIND_PORT: irohBindPort
PEAT_IROH_RELAY_URLS: irohRelayUrls
PEAT_LOG_FORMAT: logFormat
RUST_LOG: rustLog
{{- end -}}
