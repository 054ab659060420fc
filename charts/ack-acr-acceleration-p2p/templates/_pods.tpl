{{- define "shoal.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- /* For who changes files of root on the node, and nothing else as root. */ -}}
{{- define "shoal.rootSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsUser: 0
runAsGroup: 0
capabilities:
  drop: [ALL]
  add: [CHOWN, DAC_OVERRIDE, FOWNER]
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "shoal.image.pull" -}}
image: {{ include "shoal.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end -}}

{{- define "shoal.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "shoal.setupEnv" -}}
- name: SHOAL_SETUP_CONFIG
  value: /etc/shoal/setup/setup.yaml
- name: SHOAL_SETUP_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: SHOAL_SETUP_POD
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: SHOAL_SETUP_NODE
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
- name: SHOAL_SETUP_HOST_IP
  valueFrom: {fieldRef: {fieldPath: status.hostIP}}
{{- end -}}

{{- define "shoal.nodeEnv" -}}
- {name: SHOAL_SETUP_AGENT_CONFIG, value: /etc/shoal/agent/agent.yaml}
- {name: SHOAL_SETUP_STORE, value: /var/lib/shoal}
{{- end -}}
{{- define "shoal.runtimeEnv" -}}
- {name: SHOAL_SETUP_RUNTIME, value: {{ .Values.runtime.type }}}
- {name: SHOAL_SETUP_RUNTIME_DIR, value: {{ include "shoal.runtimeDir" . }}}
{{- end -}}

{{- define "shoal.mount.tmp" -}}
- {name: tmp, mountPath: /tmp}
{{- end -}}
{{- define "shoal.volume.tmp" -}}
- name: tmp
  emptyDir: {medium: Memory, sizeLimit: 16Mi}
{{- end -}}
{{- define "shoal.mount.setup" -}}
- {name: setup, mountPath: /etc/shoal/setup, readOnly: true}
{{- end -}}
{{- define "shoal.volume.setup" -}}
- name: setup
  configMap: {name: {{ include "shoal.name" . }}-setup}
{{- end -}}
{{- /* At the node's own path: what is written there names files by it. */ -}}
{{- define "shoal.mount.runtime" -}}
- {name: runtime, mountPath: {{ include "shoal.runtimeDir" . }}}
{{- end -}}
{{- define "shoal.volume.runtime" -}}
- name: runtime
  hostPath: {path: {{ include "shoal.runtimeDir" . }}, type: Directory}
{{- end -}}
{{- define "shoal.mount.api" -}}
- {name: api, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
{{- end -}}
{{- /* What automounting would bring, for the containers that use it and no other. */ -}}
{{- define "shoal.volume.api" -}}
- name: api
  projected:
    defaultMode: 0444
    sources:
      - serviceAccountToken: {path: token, expirationSeconds: 3607}
      - configMap:
          name: kube-root-ca.crt
          items: [{key: ca.crt, path: ca.crt}]
      - downwardAPI:
          items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]
{{- end -}}

{{- /* How the cloud is asked: only by the Job and the controller. */ -}}
{{- define "shoal.cloud.env" -}}
{{- if .Values.rrsa.enable }}
- name: ALIBABA_CLOUD_ROLE_ARN
  value: {{ .Values.rrsa.rrsaRoleARN | quote }}
- name: ALIBABA_CLOUD_OIDC_PROVIDER_ARN
  value: {{ .Values.rrsa.rrsaOIDCProviderRoleARN | quote }}
- name: ALIBABA_CLOUD_OIDC_TOKEN_FILE
  value: /var/run/secrets/ack.alibabacloud.com/rrsa-tokens/token
{{- end }}
{{- with .Values.cloud }}
{{- if .endpoint }}
- {name: SHOAL_CLOUD_ENDPOINT, value: {{ .endpoint | quote }}}
{{- end }}
{{- if .clusterId }}
- {name: SHOAL_CLOUD_CLUSTER, value: {{ .clusterId | quote }}}
{{- end }}
{{- if .metadata }}
- {name: SHOAL_CLOUD_METADATA, value: {{ .metadata | quote }}}
{{- end }}
{{- if .caConfigMap }}
- {name: SHOAL_CLOUD_CA_FILE, value: /etc/shoal/cloud-ca/ca.crt}
{{- end }}
{{- end }}
{{- end -}}
{{- define "shoal.cloud.mounts" -}}
{{- if .Values.cloud.caConfigMap }}
- {name: cloud-ca, mountPath: /etc/shoal/cloud-ca, readOnly: true}
{{- end }}
{{- if .Values.rrsa.enable }}
- {name: rrsa, mountPath: /var/run/secrets/ack.alibabacloud.com/rrsa-tokens, readOnly: true}
{{- else if .Values.accessKey }}
- {name: access-key, mountPath: /etc/shoal/access-key, readOnly: true}
{{- end }}
{{- end -}}
{{- define "shoal.cloud.volumes" -}}
{{- if .Values.cloud.caConfigMap }}
- name: cloud-ca
  configMap: {name: {{ .Values.cloud.caConfigMap | quote }}}
{{- end }}
{{- if .Values.rrsa.enable }}
- name: rrsa
  projected:
    defaultMode: 0444
    sources:
      - serviceAccountToken: {path: token, audience: sts.aliyuncs.com, expirationSeconds: 3600}
{{- else if .Values.accessKey }}
- name: access-key
  secret: {secretName: {{ include "shoal.name" . }}-access-key, defaultMode: 0444}
{{- end }}
{{- end -}}

{{- /* Where pods run that are not one a node. */ -}}
{{- define "shoal.centralPlacement" -}}
{{- with .Values.controller.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.controller.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* The terms are alternatives; ACK and OpenYurt name pools and edge nodes by labels of their own. */ -}}
{{- define "shoal.nodeAffinity" -}}
{{- $linux := dict "key" "kubernetes.io/os" "operator" "In" "values" (list "linux") -}}
{{- $terms := list -}}
{{- if .Values.edgeNodePool.allNodes -}}
{{- $terms = list (dict "matchExpressions" (list $linux)) -}}
{{- else if .Values.edgeNodePool.id -}}
{{- range list "alibabacloud.com/nodepool-id" "apps.openyurt.io/nodepool" -}}
{{- $terms = append $terms (dict "matchExpressions" (list $linux (dict "key" . "operator" "In" "values" (list $.Values.edgeNodePool.id)))) -}}
{{- end -}}
{{- else -}}
{{- range list "alibabacloud.com/is-edge-worker" "openyurt.io/is-edge-worker" -}}
{{- $terms = append $terms (dict "matchExpressions" (list $linux (dict "key" . "operator" "In" "values" (list "true")))) -}}
{{- end -}}
{{- end -}}
nodeAffinity:
  requiredDuringSchedulingIgnoredDuringExecution:
    nodeSelectorTerms: {{- toYaml $terms | nindent 6 }}
{{- end -}}
