{{/* Names, labels, images, security: what every pod has. Names are fixed: operators' habits depend on them. */}}

{{- define "stellaops.labels" -}}
app.kubernetes.io/name: {{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/part-of: stellaops
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "stellaops.selector" -}}
app.kubernetes.io/name: {{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "stellaops.image" -}}
{{ printf "%s@%s" .repository .digest }}
{{- end }}

{{/* Of a pod: root is the context, uid the user. Group ownership of a volume is set once, never again over the files:
     private keys must stay their owner's alone. */}}
{{- define "stellaops.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
serviceAccountName: {{ .root.Values.serviceAccount.name }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .uid }}
  runAsGroup: {{ .uid }}
  fsGroup: {{ .uid }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: {{ .root.Values.podSecurity.seccompProfile }}}
{{- with .part.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .part.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "stellaops.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
resources: {{ toYaml .part.resources | nindent 2 }}
{{- end }}

{{- define "stellaops.ourImage" -}}
image: {{ include "stellaops.image" .Values.image }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end }}

{{/* Volumes with ReadWriteOnce tie the pods that use them to one node. Those pods carry a label, and want to be where
     that label is; the first of them is put anywhere. Other pods of one part go apart. */}}
{{- define "stellaops.isTied" -}}
{{- range .volumes }}
{{- if eq (index $.root.Values.persistence .).accessMode "ReadWriteOnce" }}true{{ end }}
{{- end }}
{{- end }}

{{- define "stellaops.tiedLabel" -}}
{{- if include "stellaops.isTied" . -}}
stellaops.io/volumes: one-node
{{- end }}
{{- end }}

{{- define "stellaops.affinity" -}}
affinity:
{{- if include "stellaops.isTied" . }}
  podAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            app.kubernetes.io/instance: {{ .root.Release.Name }}
            stellaops.io/volumes: one-node
{{- else }}
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels: {{ include "stellaops.selector" . | nindent 14 }}
{{- end }}
{{- end }}

{{/* A port that is asked by the kubelet. */}}
{{- define "stellaops.httpProbes" -}}
startupProbe:
  httpGet: {path: /healthz, port: http, scheme: {{ .scheme }}}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /healthz, port: http, scheme: {{ .scheme }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: http, scheme: {{ .scheme }}}
  periodSeconds: 5
  timeoutSeconds: 5
lifecycle:
  preStop:
    exec: {command: [sleep, "5"]}
{{- end }}

{{- define "stellaops.tmp" -}}
- name: tmp
  emptyDir: {}
{{- end }}

{{- define "stellaops.claim" -}}
persistentVolumeClaim:
  claimName: {{ .name }}
{{- end }}

{{- define "stellaops.networks" -}}
{{ join "," . }}
{{- end }}
