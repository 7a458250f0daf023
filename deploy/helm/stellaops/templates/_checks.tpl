{{/* What a schema cannot say: values that do not go together. Everything that is wrong is told at once. */}}
{{- define "stellaops.checks" -}}
{{- $wrong := list }}
{{- with .Values }}
{{- $budgets := gt (int .mirror.maxIndexRequestsPerHour) 0 }}
{{- $ids := list }}
{{- range .domains }}
{{- if gt (int .maxDownloadRequestsPerHour) 0 }}{{ $budgets = true }}{{ end }}
{{- if has .id $ids }}{{ $wrong = append $wrong (printf "domains: %s is there twice" .id) }}{{ end }}
{{- $ids = append $ids .id }}
{{- end }}
{{- if .gateway.enabled }}
{{- if and (gt (int .gateway.replicas) 1) $budgets (not .gateway.state.address) }}
{{- $wrong = append $wrong "gateway.replicas: several pods count budgets together in PostgreSQL only: set gateway.state.address" }}
{{- end }}
{{- if not (or .concelier.enabled .excititor.enabled) }}
{{- $wrong = append $wrong "gateway.enabled: it has nothing to serve: enable concelier or excititor" }}
{{- end }}
{{- if and .gateway.tls.enabled (not .gateway.tls.secretName) }}
{{- range .domains }}
{{- if not .tlsSecret }}{{ $wrong = append $wrong (printf "domains: %s has no certificate: set tlsSecret, or gateway.tls.secretName" .id) }}{{ end }}
{{- end }}
{{- end }}
{{- end }}
{{- if and .sync.enabled (not .sync.publicKeys) (not (and (include "stellaops.inService" $) .sync.trustTenants)) }}
{{- $wrong = append $wrong "sync.publicKeys: at least one public key of the publisher is needed: --set-file 'sync.publicKeys.mirror-key\\.pub=mirror-key.pub'" }}
{{- end }}
{{- if and .sync.enabled (not (hasPrefix "s3://" .sync.source)) (eq .sync.awsSecretForm "environment") }}
{{- $wrong = append $wrong "sync.awsSecretForm: environment is for a source s3://…" }}
{{- end }}
{{- if include "stellaops.inService" $ }}
{{- if not (and (include "stellaops.store" (dict "root" $ "name" "evidence")) (include "stellaops.store" (dict "root" $ "name" "service"))) }}
{{- $wrong = append $wrong "store.evidence, store.service: name PostgreSQL, or set postgres.enabled" }}
{{- end }}
{{- if not (or .artefacts.store .objects.enabled) }}
{{- $wrong = append $wrong "artefacts.store: name a bucket, or set objects.enabled" }}
{{- end }}
{{- $several := or (gt (int .worker.replicas) 1) (gt (int .api.replicas) 1) .worker.autoscaling.enabled }}
{{- if and $several (eq .persistence.jobs.accessMode "ReadWriteOnce") }}
{{- $wrong = append $wrong "persistence.jobs.accessMode: several pods on several nodes share keys and the publisher's trees: ReadWriteMany is needed" }}
{{- end }}
{{- end }}
{{- if and .objects.enabled (not .egress.allowPrivate) }}
{{- $wrong = append $wrong "egress.allowPrivate: name the network of the cluster's services, such as 10.96.0.0/12: stellaops-objects is reached by it" }}
{{- end }}
{{- if and .objects.enabled (include "stellaops.inService" $) (not .artefacts.keySecret.name) }}
{{- $wrong = append $wrong "artefacts.keySecret.name: the object store of the chart lets nobody in without a key" }}
{{- end }}
{{- $databases := list }}
{{- if include "stellaops.inService" $ }}{{ $databases = list .store.evidence .store.service }}{{ end }}
{{- if .gateway.enabled }}{{ $databases = append $databases .gateway.state.address }}{{ end }}
{{- if and .networkPolicy.enabled (include "stellaops.portsOf" (dict "addresses" $databases)) (not (or .networkPolicy.databases .networkPolicy.outbound)) }}
{{- $wrong = append $wrong "networkPolicy.databases: no policy lets pods reach PostgreSQL: name its networks, or networkPolicy.outbound" }}
{{- end }}
{{- if and .monitoring.serviceMonitor.enabled (not .podNetworks) }}
{{- $wrong = append $wrong "podNetworks: name the network of the cluster's pods: Prometheus reads /metrics from it" }}
{{- end }}
{{- if and .worker.autoscaling.enabled (lt (int .worker.autoscaling.maxReplicas) (int .worker.autoscaling.minReplicas)) }}
{{- $wrong = append $wrong "worker.autoscaling.maxReplicas: less than minReplicas" }}
{{- end }}
{{- if and .monitoring.prometheusRule.enabled (not ($.Files.Get "files/rules.yaml")) }}
{{- $wrong = append $wrong "monitoring.prometheusRule.enabled: files/rules.yaml is not in the chart" }}
{{- end }}
{{- end }}
{{- if $wrong }}
{{- fail (printf "values do not go together:\n  - %s" (join "\n  - " $wrong)) }}
{{- end }}
{{- end }}
