{{- define "archiver.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "archiver.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "archiver.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "archiver.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "archiver.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{- define "archiver.chart" -}}
{{- printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "archiver.selectorLabels" -}}
app.kubernetes.io/name: {{ include "archiver.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "archiver.labels" -}}
helm.sh/chart: {{ include "archiver.chart" . }}
{{ include "archiver.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "archiver.serviceAccountName" -}}
{{- if .Values.serviceAccount.name }}{{ .Values.serviceAccount.name }}{{- else if .Values.serviceAccount.create }}{{ include "archiver.fullname" . }}-sa{{- else }}default{{- end }}
{{- end }}

{{- define "archiver.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}{{- else }}{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}{{- end }}
{{- end }}

{{/* Namespaces that are captured, as a JSON list: ["*"] for all. */}}
{{- define "archiver.namespaces" -}}
{{- if .Values.controller.namespaces }}{{ toJson .Values.controller.namespaces }}{{- else }}{{ toJson (list (include "archiver.namespace" .)) }}{{- end }}
{{- end }}

{{/* What is captured: the groups above kubernetes.apiGroups, unless it is said. A kind there that the rights do not cover is told. */}}
{{- define "archiver.resources" -}}
{{- $patterns := list }}
{{- range .Values.kubernetes.apiGroups }}
{{- $parts := splitList "." . }}
{{- $patterns = append $patterns (printf "*.%s" (ternary (rest $parts | join ".") . (gt (len $parts) 2))) }}
{{- end }}
{{- toJson (default (uniq $patterns) .Values.kubernetes.resources) }}
{{- end }}

{{/* The settings file, from typed values; secrets are references to environment variables of the Pod. */}}
{{- define "archiver.settings" -}}
{{- $archive := dict
  "url" .Values.archive.url
  "instance" (default (include "archiver.fullname" .) .Values.archive.instance)
  "puts_per_second" .Values.archive.putsPerSecond
  "put_burst" (int .Values.archive.putBurst)
  "buffer_bytes" (int64 .Values.archive.bufferBytes)
  "segment_bytes" (int64 .Values.archive.segmentBytes)
  "heartbeat_seconds" .Values.archive.heartbeatSeconds
  "takeover_after_seconds" .Values.archive.takeoverAfterSeconds }}
{{- $s3 := dict
  "endpoint" .Values.archive.s3.endpoint
  "allow_http" .Values.archive.s3.allowHttp
  "region" .Values.archive.s3.region
  "addressing" .Values.archive.s3.addressing }}
{{- if .Values.archive.s3.credentialsSecret.name }}
{{- $_ := set $s3 "access_key" "file:/etc/archiver/s3/access_key" }}
{{- $_ := set $s3 "secret_key" "file:/etc/archiver/s3/secret_key" }}
{{- end }}
{{- if .Values.archive.s3.caSecret.name }}
{{- $_ := set $s3 "ca_file" (printf "/etc/archiver/ca/%s" .Values.archive.s3.caSecret.key) }}
{{- end }}
{{- $_ := set $archive "s3" $s3 }}
{{- $sources := dict }}
{{- if .Values.postgres.enabled }}
{{- range .Values.postgres.databases }}
{{- $postgres := dict "dsn" (printf "file:/etc/archiver/databases/%s/dsn" .name) }}
{{- if .caSecret }}
{{- $_ := set $postgres "ca_file" (printf "/etc/archiver/authorities/%s/ca.crt" .name) }}
{{- end }}
{{- $_ := set $sources .name (dict "postgres" (merge $postgres (default dict .settings))) }}
{{- end }}
{{- end }}
{{- if .Values.kubernetes.enabled }}
{{- $namespaces := include "archiver.namespaces" . | fromJsonArray }}
{{- $kubernetes := dict
  "resources" (include "archiver.resources" . | fromJsonArray)
  "namespaces" (ternary (list) $namespaces (has "*" $namespaces))
  "custom_resource_definitions" (and .Values.kubernetes.customResourceDefinitions .Values.rbac.clusterScoped)
  "list_concurrency" (int .Values.kubernetes.listConcurrency)
  "page_size" (int .Values.kubernetes.pageSize)
  "discovery_seconds" .Values.kubernetes.discoverySeconds
  "verify_seconds" .Values.kubernetes.verifySeconds }}
{{- $_ := set $sources .Values.kubernetes.name (dict "kubernetes" $kubernetes) }}
{{- end }}
{{- dict
  "archive" $archive
  "sources" $sources
  "web" (dict "listen" (printf "0.0.0.0:%d" (int .Values.web.port)) "rpo_seconds" .Values.web.rpoSeconds)
  "maintenance" (dict
    "enabled" (and .Values.maintain.background (not .Values.maintain.enabled))
    "history_files" .Values.maintain.historyFiles
    "compaction" .Values.maintain.compaction
    "restore_time_objective" .Values.maintain.restoreTimeObjective
    "memory_bytes" (int64 .Values.maintain.memoryBytes))
  "log" (dict "level" .Values.log.level "format" "json")
  "grace_seconds" .Values.graceSeconds | toYaml }}
{{- with .Values.drill.assertions }}
{{- /* As JSON, which is YAML too: toYaml would write a million as 1e+06, which YAML 1.1 reads as text. */}}
drills: {{ dict "assertions" . | toJson }}
{{- end }}
{{- end }}

{{- define "archiver.env" -}}
- name: ARCHIVER_CONFIG
  value: /etc/archiver/settings/archiver.yaml
- name: HOME
  value: /tmp
{{- with .Values.env.extra }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Connection strings of the captured databases, for the Pod that captures them alone. Files, and not variables: a rotated one is read. */}}
{{- define "archiver.dsnMounts" -}}
{{- if .Values.postgres.enabled }}
{{- range $number, $database := .Values.postgres.databases }}
- name: dsn-{{ $number }}
  mountPath: /etc/archiver/databases/{{ $database.name }}
  readOnly: true
{{- if $database.caSecret }}
- name: authority-{{ $number }}
  mountPath: /etc/archiver/authorities/{{ $database.name }}
  readOnly: true
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "archiver.dsnVolumes" -}}
{{- if .Values.postgres.enabled }}
{{- range $number, $database := .Values.postgres.databases }}
- name: dsn-{{ $number }}
  secret:
    secretName: {{ $database.dsnSecret.name }}
    defaultMode: 0440
    items:
      - key: {{ $database.dsnSecret.key }}
        path: dsn
{{- if $database.caSecret }}
- name: authority-{{ $number }}
  secret:
    secretName: {{ $database.caSecret.name }}
    defaultMode: 0444
    items:
      - key: {{ $database.caSecret.key }}
        path: ca.crt
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "archiver.envFrom" -}}
{{- range .Values.env.fromSecrets }}
- secretRef:
    name: {{ . }}
{{- end }}
{{- range .Values.env.fromConfigMaps }}
- configMapRef:
    name: {{ . }}
{{- end }}
{{- end }}

{{- define "archiver.volumeMounts" -}}
- name: settings
  mountPath: /etc/archiver/settings
  readOnly: true
- name: tmp
  mountPath: /tmp
{{- if .Values.archive.s3.caSecret.name }}
- name: ca
  mountPath: /etc/archiver/ca
  readOnly: true
{{- end }}
{{- if .Values.archive.s3.credentialsSecret.name }}
- name: s3
  mountPath: /etc/archiver/s3
  readOnly: true
{{- end }}
{{- end }}

{{- define "archiver.volumes" -}}
{{- include "archiver.volumesWith" (dict "root" . "credentials" .Values.archive.s3.credentialsSecret) }}
{{- end }}

{{/* The same for a Pod with other credentials: root, credentials (name, accessKey, secretKey). */}}
{{- define "archiver.volumesWith" -}}
- name: settings
  configMap:
    name: {{ include "archiver.fullname" .root }}
{{- if .root.Values.archive.s3.caSecret.name }}
- name: ca
  secret:
    secretName: {{ .root.Values.archive.s3.caSecret.name }}
{{- end }}
{{- if .root.Values.archive.s3.credentialsSecret.name }}
- name: s3
  secret:
    secretName: {{ .credentials.name }}
    defaultMode: 0440
    items:
      - key: {{ .credentials.accessKey }}
        path: access_key
      - key: {{ .credentials.secretKey }}
        path: secret_key
{{- end }}
{{- end }}

{{/* Where the Pods may run. */}}
{{- define "archiver.scheduling" -}}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "archiver.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "archiver.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "archiver.rules" -}}
- apiGroups: {{ toJson .Values.kubernetes.apiGroups }}
  resources: ["*"]
  verbs: [get, list, watch]
{{- range include "archiver.resources" . | fromJsonArray }}
{{- $parts := splitList "." . }}
{{- $group := rest $parts | join "." }}
{{- if and (not (contains "*" .)) (not (has $group $.Values.kubernetes.apiGroups)) }}
- apiGroups: [{{ $group | quote }}]
  resources: [{{ first $parts }}]
  verbs: [get, list, watch]
{{- end }}
{{- end }}
{{- with .Values.rbac.extraRules }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/*
A CronJob that runs one command on the archive. Needs: root, name (of the command), job (its values), args, dsn (secret of DRILL_DSN; may be left out).
*/}}
{{- define "archiver.cronJob" -}}
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {{ include "archiver.fullname" .root }}-{{ .name }}
  namespace: {{ include "archiver.namespace" .root }}
  labels:
    {{- include "archiver.labels" .root | nindent 4 }}
spec:
  schedule: {{ .job.schedule | quote }}
  # Without it, the time zone of the controller manager counts.
  timeZone: Etc/UTC
  concurrencyPolicy: Forbid
  successfulJobsHistoryLimit: 3
  failedJobsHistoryLimit: 3
  jobTemplate:
    spec:
      backoffLimit: 0
      activeDeadlineSeconds: {{ .job.activeDeadlineSeconds }}
      template:
        metadata:
          labels:
            {{- include "archiver.selectorLabels" .root | nindent 12 }}
            app.kubernetes.io/component: {{ .name }}
            {{- with .root.Values.podLabels }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          {{- with .root.Values.podAnnotations }}
          annotations:
            {{- toYaml . | nindent 12 }}
          {{- end }}
        spec:
          restartPolicy: Never
          serviceAccountName: {{ include "archiver.serviceAccountName" .root }}
          # It works on the archive (a drill on its scratch places, too): it needs nothing of the cluster, nor of the captured databases.
          automountServiceAccountToken: false
          enableServiceLinks: false
          {{- with .root.Values.image.pullSecrets }}
          imagePullSecrets:
            {{- range . }}
            - name: {{ . }}
            {{- end }}
          {{- end }}
          securityContext:
            {{- include "archiver.podSecurity" .root | nindent 12 }}
          containers:
            - name: {{ .name }}
              image: {{ include "archiver.image" .root }}
              imagePullPolicy: {{ .root.Values.image.pullPolicy }}
              args: {{ toJson .args }}
              env:
                {{- include "archiver.env" .root | nindent 16 }}
                {{- with .dsn }}
                {{- if .name }}
                - name: DRILL_DSN
                  valueFrom:
                    secretKeyRef:
                      name: {{ .name }}
                      key: {{ .key }}
                {{- end }}
                {{- end }}
              {{- if or .root.Values.env.fromSecrets .root.Values.env.fromConfigMaps }}
              envFrom:
                {{- include "archiver.envFrom" .root | nindent 16 }}
              {{- end }}
              securityContext:
                {{- include "archiver.containerSecurity" .root | nindent 16 }}
              resources:
                {{- toYaml .job.resources | nindent 16 }}
              volumeMounts:
                {{- include "archiver.volumeMounts" .root | nindent 16 }}
          {{- include "archiver.scheduling" .root | nindent 10 }}
          volumes:
            {{- include "archiver.volumes" .root | nindent 12 }}
            - name: tmp
              emptyDir:
                sizeLimit: {{ .job.scratchSize }}
{{- end }}
