{{/* Who may speak with whom. Rules of every part as YAML: {name: {ingress: [...], egress: [...]}}. */}}

{{- define "stellaops.peer" -}}
- podSelector:
    matchLabels: {{ include "stellaops.selector" . | nindent 6 }}
{{- end }}

{{- define "stellaops.toPart" -}}
- to: {{ include "stellaops.peer" . | nindent 4 }}
  ports:
    - {protocol: TCP, port: {{ .port }}}
{{- end }}

{{- define "stellaops.toNames" -}}
- to: {{ toYaml .Values.networkPolicy.dns | nindent 4 }}
  ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- end }}

{{/* The ports of addresses outside the chart, as `443,9000`: that of each host, or the usual one of its scheme. */}}
{{- define "stellaops.portsOf" -}}
{{- $usual := dict "http" "80" "https" "443" "oci" "443" "postgresql" "5432" "rsync" "873" "s3" "443" }}
{{- $own := list "stellaops-api" "stellaops-postgres" "stellaops-objects" }}
{{- $ports := list }}
{{- range compact .addresses }}
{{- $scheme := regexFind "^[a-z0-9]+" . }}
{{- $hosts := regexReplaceAll "^[a-z0-9]+://([^/?#@]*@)?([^/?#]*).*$" . "${2}" }}
{{- range splitList "," $hosts }}
{{- if not (has (regexFind "^[^.:]+" .) $own) }}
{{- $ports = append $ports (regexFind ":[0-9]+$" . | trimPrefix ":" | default (get $usual $scheme)) }}
{{- end }}
{{- end }}
{{- end }}
{{- join "," (compact $ports | uniq) }}
{{- end }}

{{/* Addresses that settings of a part name, such as the collector of traces or an object store of bundles, as JSON. */}}
{{- define "stellaops.addressesIn" -}}
{{- $found := list }}
{{- range $name, $value := . }}
{{- if and (regexMatch "^(https?|oci)://" (toString $value)) (not (regexMatch "PUBLIC(_|BASE)URL$" $name)) }}
{{- $found = append $found $value }}
{{- end }}
{{- end }}
{{- toJson $found }}
{{- end }}

{{/* Networks outside, at the ports that are always open and those of addresses. */}}
{{- define "stellaops.toOutside" -}}
{{- $ports := list }}
{{- range .root.Values.networkPolicy.outboundPorts }}{{ $ports = append $ports (int . | toString) }}{{ end }}
{{- $ports = concat $ports (include "stellaops.portsOf" . | splitList "," | compact) }}
{{- with .root.Values.networkPolicy.outbound }}
- to:
    {{- range . }}
    - ipBlock: {{ toYaml . | nindent 8 }}
    {{- end }}
  ports:
    {{- range uniq $ports }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end }}
{{- end }}

{{/* The chart's own PostgreSQL, and those of addresses: in the networks of databases, or in those outside. */}}
{{- define "stellaops.toDatabase" -}}
{{- $policy := .root.Values.networkPolicy }}
{{- if .root.Values.postgres.enabled }}
{{ include "stellaops.toPart" (dict "root" .root "component" "stellaops-postgres" "port" 5432) }}
{{- end }}
{{- $ports := include "stellaops.portsOf" . | splitList "," | compact }}
{{- if and $ports (or $policy.databases $policy.outbound) }}
- to:
    {{- range $policy.databases }}
    - ipBlock: {cidr: {{ . }}}
    {{- else }}
    {{- range $policy.outbound }}
    - ipBlock: {{ toYaml . | nindent 8 }}
    {{- end }}
    {{- end }}
  ports:
    {{- range $ports }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end }}
{{- end }}

{{/* What the gateway and a back end ask outside: who issues tokens, and who takes traces. */}}
{{- define "stellaops.mirrorEgress" -}}
{{- $named := include "stellaops.addressesIn" .settings | fromJsonArray }}
{{- with .root.Values.mirror.authority.url }}{{ $named = prepend $named . }}{{ end }}
{{- if $named }}
{{ include "stellaops.toOutside" (dict "root" .root "addresses" $named) }}
{{- end }}
{{- if and .root.Values.mirror.authority.url .root.Values.api.enabled }}
{{ include "stellaops.toPart" (dict "root" .root "component" "stellaops-api" "port" 8080) }}
{{- end }}
{{- end }}

{{- define "stellaops.toObjects" -}}
{{- if .Values.objects.enabled }}
{{ include "stellaops.toPart" (dict "root" . "component" "stellaops-objects" "port" 8333) }}
{{- end }}
{{- end }}

{{- define "stellaops.fromMonitoring" -}}
- from:
    - namespaceSelector:
        matchLabels: {kubernetes.io/metadata.name: {{ .root.Values.networkPolicy.monitoringNamespace }}}
  ports:
    - {protocol: TCP, port: {{ .port }}}
{{- end }}

{{- define "stellaops.fromEverybody" -}}
- ports:
    - {protocol: TCP, port: {{ .port }}}
  {{- with .allowed }}
  from:
    {{- range . }}
    - ipBlock: {cidr: {{ . }}}
    {{- end }}
    {{- include "stellaops.peer" (dict "root" $.root "component" "stellaops-smoke") | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "stellaops.networkRules" -}}
{{- $values := .Values }}
{{- if $values.gateway.enabled }}
{{- $port := $values.gateway.tls.enabled | ternary 8443 8080 }}
stellaops-mirror-gateway:
  ingress:
    {{- include "stellaops.fromEverybody" (dict "root" . "port" $port "allowed" $values.gateway.allowFrom) | nindent 4 }}
    {{- if and $values.monitoring.serviceMonitor.enabled $values.gateway.allowFrom }}
    {{- include "stellaops.fromMonitoring" (dict "root" . "port" $port) | nindent 4 }}
    {{- end }}
  egress:
    {{- include "stellaops.toNames" . | nindent 4 }}
    {{- range $side := list "concelier" "excititor" }}
    {{- if (index $values $side).enabled }}
    {{- include "stellaops.toPart" (dict "root" $ "component" (printf "stellaops-%s" $side) "port" 8080) | nindent 4 }}
    {{- end }}
    {{- end }}
    {{- with $values.gateway.state.address }}
    {{- include "stellaops.toDatabase" (dict "root" $ "addresses" (list .)) | nindent 4 }}
    {{- end }}
    {{- include "stellaops.mirrorEgress" (dict "root" . "settings" $values.gateway.settings) | nindent 4 }}
{{- end }}
{{- range $side := list "concelier" "excititor" }}
{{- if (index $values $side).enabled }}
stellaops-{{ $side }}:
  ingress:
    - from:
        {{- include "stellaops.peer" (dict "root" $ "component" "stellaops-mirror-gateway") | nindent 8 }}
        {{- include "stellaops.peer" (dict "root" $ "component" "stellaops-smoke") | nindent 8 }}
      ports:
        - {protocol: TCP, port: 8080}
    {{- if $values.monitoring.serviceMonitor.enabled }}
    {{- include "stellaops.fromMonitoring" (dict "root" $ "port" 8080) | nindent 4 }}
    {{- end }}
  egress:
    {{- include "stellaops.toNames" $ | nindent 4 }}
    {{- include "stellaops.mirrorEgress" (dict "root" $ "settings" (index $values $side).settings) | nindent 4 }}
{{- end }}
{{- end }}
{{- if $values.sync.enabled }}
mirror-sync:
  egress:
    {{- include "stellaops.toNames" . | nindent 4 }}
    {{- $named := include "stellaops.addressesIn" $values.sync.settings | fromJsonArray }}
    {{- $named = concat (list $values.sync.source $values.sync.endpoint $values.egress.proxy) $named }}
    {{- include "stellaops.toOutside" (dict "root" . "addresses" $named) | nindent 4 }}
    {{- include "stellaops.toObjects" . | nindent 4 }}
{{- end }}
{{- if $values.api.enabled }}
stellaops-api:
  ingress:
    {{- include "stellaops.fromEverybody" (dict "root" . "port" 8080 "allowed" $values.api.allowFrom) | nindent 4 }}
    {{- if $values.api.allowFrom }}
    - from:
        {{- range list "stellaops-mirror-gateway" "stellaops-concelier" "stellaops-excititor" }}
        {{- include "stellaops.peer" (dict "root" $ "component" .) | nindent 8 }}
        {{- end }}
      ports:
        - {protocol: TCP, port: 8080}
    {{- if $values.monitoring.serviceMonitor.enabled }}
    {{- include "stellaops.fromMonitoring" (dict "root" . "port" 8080) | nindent 4 }}
    {{- end }}
    {{- end }}
{{- end }}
{{- if $values.api.enabled }}
  egress: {{ include "stellaops.serviceEgress" . | nindent 4 }}
{{- end }}
{{- if $values.worker.enabled }}
export-center-worker:
  egress: {{ include "stellaops.serviceEgress" . | nindent 4 }}
{{- end }}
{{- if $values.publish.enabled }}
mirror-publish:
  egress: {{ include "stellaops.serviceEgress" . | nindent 4 }}
{{- end }}
{{- if $values.postgres.enabled }}
stellaops-postgres:
  ingress:
    - from:
        {{- range list "stellaops-api" "export-center-worker" "mirror-publish" "stellaops-mirror-gateway" }}
        {{- include "stellaops.peer" (dict "root" $ "component" .) | nindent 8 }}
        {{- end }}
      ports:
        - {protocol: TCP, port: 5432}
{{- end }}
{{- if $values.objects.enabled }}
stellaops-objects:
  ingress:
    - from:
        {{- range list "stellaops-api" "export-center-worker" "mirror-publish" "mirror-sync" }}
        {{- include "stellaops.peer" (dict "root" $ "component" .) | nindent 8 }}
        {{- end }}
      ports:
        - {protocol: TCP, port: 8333}
{{- end }}
{{- end }}

{{/* What API, workers and publisher reach. */}}
{{- define "stellaops.serviceEgress" -}}
{{- $named := include "stellaops.addressesIn" .Values.api.settings | fromJsonArray }}
{{- $named = concat (list .Values.artefacts.endpoint .Values.egress.proxy) $named }}
{{- if .Values.publish.enabled }}{{ $named = append $named .Values.publish.endpoint }}{{ end }}
{{ include "stellaops.toNames" . }}
{{ include "stellaops.toDatabase" (dict "root" . "addresses" (list .Values.store.evidence .Values.store.service)) }}
{{ include "stellaops.toObjects" . }}
{{ include "stellaops.toOutside" (dict "root" . "addresses" $named) }}
{{- if .Values.notify.smtp.host }}
{{- with .Values.networkPolicy.outbound }}
- to:
    {{- range . }}
    - ipBlock: {{ toYaml . | nindent 8 }}
    {{- end }}
  ports:
    - {protocol: TCP, port: {{ int $.Values.notify.smtp.port }}}
{{- end }}
{{- end }}
{{- end }}
