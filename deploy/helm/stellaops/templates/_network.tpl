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

{{- define "stellaops.toOutside" -}}
{{- with .Values.networkPolicy.outbound }}
- to:
    {{- range . }}
    - ipBlock: {{ toYaml . | nindent 8 }}
    {{- end }}
  ports:
    {{- range $.Values.networkPolicy.outboundPorts }}
    - {protocol: TCP, port: {{ int . }}}
    {{- end }}
{{- end }}
{{- end }}

{{- define "stellaops.toDatabase" -}}
{{- if .Values.postgres.enabled }}
{{ include "stellaops.toPart" (dict "root" . "component" "stellaops-postgres" "port" 5432) }}
{{- end }}
{{- with .Values.networkPolicy.databases }}
- to:
    {{- range . }}
    - ipBlock: {cidr: {{ . }}}
    {{- end }}
  ports:
    - {protocol: TCP, port: 5432}
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
    {{- if $values.gateway.state.address }}
    {{- include "stellaops.toDatabase" . | nindent 4 }}
    {{- end }}
    {{- if $values.mirror.authority.url }}
    {{- include "stellaops.toOutside" . | nindent 4 }}
    {{- if $values.api.enabled }}
    {{- include "stellaops.toPart" (dict "root" . "component" "stellaops-api" "port" 8080) | nindent 4 }}
    {{- end }}
    {{- end }}
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
    {{- if $values.mirror.authority.url }}
    {{- include "stellaops.toOutside" $ | nindent 4 }}
    {{- if $values.api.enabled }}
    {{- include "stellaops.toPart" (dict "root" $ "component" "stellaops-api" "port" 8080) | nindent 4 }}
    {{- end }}
    {{- end }}
{{- end }}
{{- end }}
{{- if $values.sync.enabled }}
mirror-sync:
  egress:
    {{- include "stellaops.toNames" . | nindent 4 }}
    {{- include "stellaops.toOutside" . | nindent 4 }}
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
{{ include "stellaops.toNames" . }}
{{ include "stellaops.toDatabase" . }}
{{ include "stellaops.toObjects" . }}
{{ include "stellaops.toOutside" . }}
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
