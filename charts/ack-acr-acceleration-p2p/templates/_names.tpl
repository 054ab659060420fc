{{- /* The name of every object. Fixed, since trust policies of RAM roles contain the accounts'. */ -}}
{{- define "shoal.name" -}}ack-acr-acceleration-p2p{{- end -}}

{{- define "shoal.labels" -}}
app.kubernetes.io/name: {{ include "shoal.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- /* Labels of a component's pods: (dict "root" $ "component" "agent"). */ -}}
{{- define "shoal.selector" -}}
app.kubernetes.io/name: {{ include "shoal.name" .root }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "shoal.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Which of the documentation's methods is in force; none: only `registries`. */ -}}
{{- define "shoal.method" -}}
{{- if .Values.rrsa.enable -}}rrsa
{{- else if .Values.accessKey -}}access-key
{{- else if .Values.acrInstances -}}worker-role
{{- else -}}none
{{- end -}}
{{- end -}}

{{- define "shoal.instances" -}}
{{- $ids := list -}}
{{- range splitList "," (.Values.acrInstances | default .Values.registryInstances) -}}
{{- with trim . -}}{{- $ids = append $ids . -}}{{- end -}}
{{- end -}}
{{- $ids | uniq | toJson -}}
{{- end -}}

{{- define "shoal.runtimeDir" -}}
{{- $usual := dict "containerd" "/etc/containerd" "k3s" "/var/lib/rancher/k3s/agent/etc/containerd" "crio" "/etc/containers" -}}
{{- .Values.runtime.dir | default (get $usual .Values.runtime.type) -}}
{{- end -}}
