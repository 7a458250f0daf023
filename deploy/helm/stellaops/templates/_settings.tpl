{{/* Settings, by the names of docs/reference/settings.md: what each part finds in its environment. */}}

{{/* The data of a ConfigMap: settings as text, and over them those that the values give by name. */}}
{{- define "stellaops.data" -}}
{{- $data := .text | fromYaml }}
{{- range $name, $value := .own }}
{{- /* Every number of values is a float, which would become 1e+06. */}}
{{- $text := kindIs "float64" $value | ternary (int64 $value | toString) (toString $value) }}
{{- $_ := set $data $name $text }}
{{- end }}
{{- toYaml $data }}
{{- end }}

{{- define "stellaops.gatewayData" -}}
{{ include "stellaops.data" (dict "text" (include "stellaops.gatewaySettings" .) "own" .Values.gateway.settings) }}
{{- end }}

{{- define "stellaops.backEndData" -}}
{{ include "stellaops.data" (dict "text" (include "stellaops.backEndSettings" .) "own" (index .root.Values (lower .side)).settings) }}
{{- end }}

{{- define "stellaops.syncData" -}}
{{ include "stellaops.data" (dict "text" (include "stellaops.syncSettings" .) "own" .Values.sync.settings) }}
{{- end }}

{{- define "stellaops.serviceData" -}}
{{ include "stellaops.data" (dict "text" (include "stellaops.serviceSettings" .) "own" .Values.api.settings) }}
{{- end }}

{{/* One side's rules of every domain. Each part is told both sides' rules: whether a domain has users hangs on both. The
     gateway counts budgets; back ends behind it do not. */}}
{{- define "stellaops.sideSettings" -}}
{{- $side := .side }}
{{- $part := index .root.Values (lower $side) }}
{{ $side }}__MIRROR__ENABLED: {{ $part.enabled | quote }}
{{- if and .budgets $part.enabled }}
{{ $side }}__MIRROR__MAXINDEXREQUESTSPERHOUR: {{ int .root.Values.mirror.maxIndexRequestsPerHour | quote }}
{{- end }}
{{- with and (not .budgets) $part.activeExportId }}
{{ $side }}__MIRROR__ACTIVEEXPORTID: {{ . | quote }}
{{- end }}
{{- range $number, $domain := .root.Values.domains }}
{{ $side }}__MIRROR__DOMAINS__{{ $number }}__ID: {{ .id | quote }}
{{- with .displayName }}
{{ $side }}__MIRROR__DOMAINS__{{ $number }}__DISPLAYNAME: {{ . | quote }}
{{- end }}
{{- with .tenant }}
{{ $side }}__MIRROR__DOMAINS__{{ $number }}__TENANT: {{ . | quote }}
{{- end }}
{{ $side }}__MIRROR__DOMAINS__{{ $number }}__REQUIREAUTHENTICATION: {{ ne .requireAuthentication false | quote }}
{{- if $.budgets }}
{{ $side }}__MIRROR__DOMAINS__{{ $number }}__MAXDOWNLOADREQUESTSPERHOUR: {{ int .maxDownloadRequestsPerHour | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "stellaops.authoritySettings" -}}
{{- with .root.Values.mirror.authority }}
{{- if .url }}
{{ $.side }}__AUTHORITY__URL: {{ .url | quote }}
{{- with .issuer }}
{{ $.side }}__AUTHORITY__ISSUER: {{ . | quote }}
{{- end }}
{{- with .audience }}
{{ $.side }}__AUTHORITY__AUDIENCE: {{ . | quote }}
{{- end }}
{{- with $.client }}
{{ $.side }}__AUTHORITY__CLIENTID: {{ . | quote }}
{{ $.side }}__AUTHORITY__CLIENTSECRETFILE: {{ printf "/run/secrets/%s" $.secretFile }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "stellaops.gatewaySettings" -}}
STELLA_DATA_DIR: /var/lib/stellaops
{{- include "stellaops.sideSettings" (dict "root" . "side" "CONCELIER" "budgets" true) }}
{{- include "stellaops.sideSettings" (dict "root" . "side" "EXCITITOR" "budgets" true) }}
{{- with .Values.gateway }}
{{- if $.Values.concelier.enabled }}
GATEWAY__CONCELIER__URL: http://stellaops-concelier:8080
{{- end }}
{{- if $.Values.excititor.enabled }}
GATEWAY__EXCITITOR__URL: http://stellaops-excititor:8080
{{- end }}
GATEWAY__CACHEDIR: /var/cache/stellaops
GATEWAY__SECRETSDIR: /run/htpasswd
{{- if .tls.enabled }}
GATEWAY__TLSDIR: /run/tls
{{- end }}
{{- if .state.address }}
GATEWAY__STATEFILE: {{ .state.address | quote }}
{{- if .state.passwordSecret.name }}
GATEWAY__STATEPASSWORDFILE: /run/secrets/state-password
{{- end }}
{{- else }}
GATEWAY__STATEFILE: /var/lib/stellaops/gateway.db
{{- end }}
{{- with .publicBaseUrl }}
GATEWAY__PUBLICBASEURL: {{ . | quote }}
{{- end }}
GATEWAY__SHAREDCACHE: {{ .sharedCache }}
{{- with .trustedProxies }}
GATEWAY__TRUSTEDPROXIES: {{ include "stellaops.networks" . | quote }}
{{- end }}
{{- with $.Values.podNetworks }}
GATEWAY__METRICSFROM: {{ include "stellaops.networks" . | quote }}
{{- end }}
{{- range $number, $domain := $.Values.domains }}
GATEWAY__DOMAINS__{{ $number }}__ID: {{ .id | quote }}
{{- with .hosts }}
GATEWAY__DOMAINS__{{ $number }}__HOSTS: {{ join "," . | quote }}
{{- end }}
{{- end }}
{{- include "stellaops.authoritySettings" (dict "root" $ "side" "GATEWAY" "client" $.Values.mirror.authority.concelierClientId "secretFile" "concelier-authority-client") }}
{{- end }}
{{- end }}

{{- define "stellaops.backEndSettings" -}}
STELLA_DATA_DIR: /var/lib/stellaops
{{- if eq .side "CONCELIER" }}
CONCELIER__MIRROR__EXPORTROOT: /exports/json
{{- else }}
EXCITITOR__ARTIFACTS__FILESYSTEM__ROOT: /exports
{{- end }}
{{- include "stellaops.sideSettings" (dict "root" .root "side" "CONCELIER" "budgets" false) }}
{{- include "stellaops.sideSettings" (dict "root" .root "side" "EXCITITOR" "budgets" false) }}
GATEWAY__SECRETSDIR: /run/htpasswd
GATEWAY__STATEFILE: /var/lib/stellaops/gateway.db
{{- with .root.Values.podNetworks }}
GATEWAY__TRUSTEDPROXIES: {{ include "stellaops.networks" . | quote }}
GATEWAY__METRICSFROM: {{ include "stellaops.networks" . | quote }}
{{- end }}
{{- with .root.Values.gateway.publicBaseUrl }}
GATEWAY__PUBLICBASEURL: {{ . | quote }}
{{- end }}
{{- $client := index .root.Values.mirror.authority (printf "%sClientId" (lower .side)) }}
{{- include "stellaops.authoritySettings" (dict "root" .root "side" .side "client" $client "secretFile" (printf "%s-authority-client" (lower .side))) }}
{{- end }}

{{/* How the network may be used: API, workers, publisher, sync. */}}
{{- define "stellaops.egressSettings" -}}
{{- with .Values.egress.allowPrivate }}
STELLA_EGRESS_ALLOW_PRIVATE: {{ include "stellaops.networks" . | quote }}
{{- end }}
{{- $plain := .Values.egress.allowHttp }}
{{- if .Values.objects.enabled }}{{ $plain = append $plain "stellaops-objects" }}{{ end }}
{{- with $plain }}
STELLA_EGRESS_ALLOW_HTTP: {{ join "," . | quote }}
{{- end }}
{{- with .Values.egress.proxy }}
STELLA_EGRESS_PROXY: {{ . | quote }}
{{- end }}
{{- with .Values.egress.noProxy }}
STELLA_EGRESS_NO_PROXY: {{ join "," . | quote }}
{{- end }}
{{- if .Values.egress.caConfigMap.name }}
STELLA_EGRESS_CA_FILE: /run/ca/ca.crt
{{- end }}
{{- end }}

{{- define "stellaops.syncSettings" -}}
STELLA_DATA_DIR: /tmp/stellaops
{{- include "stellaops.egressSettings" . }}
{{- with .Values.sync }}
{{- $endpoint := .endpoint }}
{{- if and $.Values.objects.enabled (not $endpoint) }}{{ $endpoint = "http://stellaops-objects:8333" }}{{ end }}
{{- with $endpoint }}
STELLA_MIRROR_ENDPOINT: {{ . | quote }}
{{- end }}
{{- with .region }}
STELLA_MIRROR_REGION: {{ . | quote }}
{{- end }}
{{- if and (hasPrefix "s3://" .source) (eq .awsSecretForm "file") }}
STELLA_MIRROR_KEY_FILE: /run/secrets/mirror-objects-key
{{- end }}
{{- if and (hasPrefix "oci://" .source) .credentialsSecret.name }}
STELLA_MIRROR_DOCKER_CONFIG_FILE: /run/secrets/mirror-credentials
{{- end }}
{{- end }}
{{- end }}

{{- define "stellaops.serviceSettings" -}}
STELLA_DATA_DIR: /var/lib/stellaops
TMPDIR: /scratch
STELLA_STORE_EVIDENCE: {{ include "stellaops.store" (dict "root" . "name" "evidence") | quote }}
STELLA_STORE_SERVICE: {{ include "stellaops.store" (dict "root" . "name" "service") | quote }}
{{- if include "stellaops.storeSecret" . }}
STELLA_STORE_PASSWORD_FILE: /run/secrets/postgres-password
{{- end }}
STELLA_ARTEFACTS_STORE: {{ .Values.artefacts.store | default "s3://stellaops-artefacts/exports" | quote }}
{{- $endpoint := .Values.artefacts.endpoint }}
{{- if and .Values.objects.enabled (not $endpoint) }}{{ $endpoint = "http://stellaops-objects:8333" }}{{ end }}
{{- with $endpoint }}
STELLA_ARTEFACTS_ENDPOINT: {{ . | quote }}
{{- end }}
{{- with .Values.artefacts.region }}
STELLA_ARTEFACTS_REGION: {{ . | quote }}
{{- end }}
{{- if .Values.artefacts.keySecret.name }}
STELLA_ARTEFACTS_KEY_FILE: /run/secrets/objects-key
{{- end }}
{{- with .Values.keys }}
{{- if .passphraseSecret.name }}
STELLA_KEY_PASSPHRASE_FILE: /run/secrets/key-passphrase
{{- end }}
{{- with .firstKey }}
STELLA_KEY_SERVICES_FIRST_KEY: {{ . | quote }}
{{- end }}
{{- with .allow }}
STELLA_KEY_SERVICES_ALLOW: {{ join "," . | quote }}
{{- end }}
{{- end }}
{{- include "stellaops.egressSettings" . }}
{{- with .Values.notify }}
STELLA_NOTIFY_SECRETS_DIR: /run/notify
{{- if .smtp.host }}
STELLA_NOTIFY_SMTP_HOST: {{ .smtp.host | quote }}
STELLA_NOTIFY_SMTP_PORT: {{ int .smtp.port | quote }}
STELLA_NOTIFY_SMTP_SECURITY: {{ .smtp.security }}
{{- with .smtp.username }}
STELLA_NOTIFY_SMTP_USERNAME: {{ . | quote }}
{{- end }}
{{- with .smtp.from }}
STELLA_NOTIFY_SMTP_FROM: {{ . | quote }}
{{- end }}
{{- if .smtp.passwordSecret.name }}
STELLA_NOTIFY_SMTP_PASSWORD_FILE: /run/secrets/smtp-password
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.api.publicUrl }}
STELLA_API_PUBLIC_URL: {{ . | quote }}
{{- end }}
{{- with .Values.podNetworks }}
STELLA_API_METRICS_FROM: {{ include "stellaops.networks" . | quote }}
{{- end }}
STELLA_WORKER_SLOTS: {{ int .Values.worker.slots | quote }}
STELLA_WORKER_GRACE_SECONDS: {{ int .Values.worker.graceSeconds | quote }}
{{- with .Values.publish }}
{{- $bucket := .endpoint }}
{{- if and $.Values.objects.enabled (not $bucket) }}{{ $bucket = "http://stellaops-objects:8333" }}{{ end }}
{{- if .enabled }}
{{- with $bucket }}
STELLA_MIRROR_ENDPOINT: {{ . | quote }}
{{- end }}
{{- with .region }}
STELLA_MIRROR_REGION: {{ . | quote }}
{{- end }}
{{- if .keySecret.name }}
STELLA_MIRROR_KEY_FILE: /run/secrets/mirror-objects-key
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "stellaops.store" -}}
{{- $told := index .root.Values.store .name }}
{{- if and .root.Values.postgres.enabled (not $told) }}{{ $told = "postgresql://stella@stellaops-postgres:5432/stella" }}{{ end }}
{{- $told }}
{{- end }}

{{/* Name and key of the secret with the role's password, as YAML; nothing where there is none. */}}
{{- define "stellaops.storeSecret" -}}
{{- if .Values.store.passwordSecret.name }}
{{- toYaml .Values.store.passwordSecret }}
{{- else if .Values.postgres.enabled }}
{{- toYaml .Values.postgres.passwordSecret }}
{{- end }}
{{- end }}

{{- define "stellaops.inService" -}}
{{- if or .Values.api.enabled .Values.worker.enabled .Values.publish.enabled }}true{{ end }}
{{- end }}
