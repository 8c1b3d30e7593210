{{- /* Names and labels. */ -}}

{{- define "peat-mesh.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* 52: a StatefulSet puts "-" and a hash of ten characters behind its name into a label of at most 63. */ -}}
{{- define "peat-mesh.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- default $full .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "peat-mesh.serviceAccount" -}}
{{- default (.Values.serviceAccount.create | ternary (include "peat-mesh.fullname" .) "default") .Values.serviceAccount.name -}}
{{- end -}}

{{- define "peat-mesh.image" -}}
{{- with .Values.image -}}
{{- empty .digest | ternary (printf "%s:%s" .repository .tag) (printf "%s@%s" .repository .digest) -}}
{{- end -}}
{{- end -}}

{{- /* What tells the pods of this release from all others. It can never change for an installed release. */ -}}
{{- define "peat-mesh.selector" -}}
app: peat-mesh
app.kubernetes.io/name: {{ include "peat-mesh.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- /* Labels of everything that is no pod. `app` is not among them: see service-broker.yaml. */ -}}
{{- define "peat-mesh.labels" -}}
app.kubernetes.io/name: {{ include "peat-mesh.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* "true" when peers are found through the API of Kubernetes. */ -}}
{{- define "peat-mesh.asksKubernetes" -}}
{{- has "kubernetes" (splitList "," .Values.discoveryMode) | ternary "true" "" -}}
{{- end -}}

{{- define "peat-mesh.secretName" -}}
{{- default (include "peat-mesh.fullname" .) .Values.existingSecret -}}
{{- end -}}

{{- define "peat-mesh.secretKey" -}}
{{- empty .Values.existingSecret | ternary "formation-secret" .Values.existingSecretKey -}}
{{- end -}}

{{- define "peat-mesh.cluster" -}}
{{- .Values.federation.enabled | ternary (default .Values.clusterName .Values.federation.cluster) .Values.clusterName -}}
{{- end -}}

{{- define "peat-mesh.staticPeers" -}}
{{- join "," (.Values.federation.enabled | ternary .Values.federation.staticPeers .Values.staticPeers) -}}
{{- end -}}

{{- /* The names of the gateway pods. */ -}}
{{- define "peat-mesh.gateways" -}}
{{- $names := list -}}
{{- range $number := until (int .Values.federation.gateways) -}}
{{- $names = append $names (printf "%s-%d" (include "peat-mesh.fullname" $) $number) -}}
{{- end -}}
{{- join "," $names -}}
{{- end -}}

{{- /* Where each gateway is reached from outside: `name@host:port`. */ -}}
{{- define "peat-mesh.externalAddresses" -}}
{{- $all := list -}}
{{- range $number := until (int .Values.federation.gateways) -}}
{{- range $host := $.Values.federation.externalHosts -}}
{{- $place := and (contains ":" $host) (not (hasPrefix "[" $host)) | ternary (printf "[%s]" $host) $host -}}
{{- $all = append $all (printf "%s-%d@%s:%d" (include "peat-mesh.fullname" $) $number $place (add $.Values.federation.nodePortBase $number)) -}}
{{- end -}}
{{- end -}}
{{- join "," $all -}}
{{- end -}}

{{- /* What tells the relay's pod from the nodes. */ -}}
{{- define "peat-mesh.relaySelector" -}}
app.kubernetes.io/name: {{ include "peat-mesh.name" . }}-relay
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "peat-mesh.relayUrls" -}}
{{- $scheme := .Values.relay.tls | ternary "https" "http" -}}
{{- $own := printf "%s://%s-relay.%s:%d" $scheme (include "peat-mesh.fullname" .) .Release.Namespace (int .Values.relay.port) -}}
{{- default (.Values.relay.enabled | ternary $own "") .Values.irohRelayUrls -}}
{{- end -}}
