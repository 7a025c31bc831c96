{{- define "so.name" -}}
{{- /* A release's name may have dots; a Service's may not. */ -}}
{{- default .Release.Name .Values.fullnameOverride | replace "." "-" | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{- define "so.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "so.name" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{- define "so.catalog" -}}
{{- default .Release.Namespace .Values.catalogNamespace -}}
{{- end }}

{{- define "so.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "so.selector" -}}
app.kubernetes.io/name: scaleset-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "so.labels" -}}
{{ include "so.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: scaleset-operator
{{- end }}

{{- /* The rules of one of the files that `scalesets local` applies too. With watchNamespaces, of the namespaces only
       these may be looked at. */}}
{{- define "so.rules" -}}
{{- $watched := .context.Values.watchNamespaces }}
{{- range (.context.Files.Get (printf "files/%s.yaml" .file) | fromYaml).rules }}
{{- if and $watched (has "namespaces" .resources) }}
{{- list (dict "apiGroups" .apiGroups "resources" .resources "resourceNames" $watched "verbs" (list "get")) | toYaml }}
{{- else }}
{{- list . | toYaml }}
{{- end }}
{{ end }}
{{- end }}

{{- define "so.subjects" -}}
- kind: ServiceAccount
  name: {{ include "so.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{- /* What a pod needs to be admitted where Pod Security is `restricted`. */}}
{{- define "so.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "so.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* The flags that say which cluster this is and what may be read of it: of the operator, and of its check. */}}
{{- define "so.flags" -}}
{{- range .Values.watchNamespaces }}
- --namespace={{ . }}
{{- end }}
- --catalog-namespace={{ include "so.catalog" . }}
- --{{ if eq .Values.preflight.readSecrets "off" }}no-{{ end }}read-secrets
{{- end }}

{{- /* What the pods may reach. */}}
{{- define "so.egress" -}}
- ports:
    {{- range .Values.networkPolicy.apiServerPorts }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
  {{- with .Values.networkPolicy.apiServerTo }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
- ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- with .Values.networkPolicy.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "so.where" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}
