{{- /* What `shoal setup uninstall` makes on nodes; it adds the owner, the nodes and nothing else. */ -}}
{{- define "shoal.farewell" -}}
{{- $name := printf "%s-farewell" (include "shoal.name" .) -}}
apiVersion: v1
kind: ServiceAccount
metadata: {name: {{ $name }}, namespace: {{ .Release.Namespace }}}
automountServiceAccountToken: false
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: {{ $name }}, namespace: {{ .Release.Namespace }}}
rules:
  - apiGroups: [""]
    resources: [configmaps]
    resourceNames: [{{ $name }}]
    verbs: [get, patch, delete]
  # Whether this node's agent has ended.
  - apiGroups: [""]
    resources: [pods]
    verbs: [list]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: {{ $name }}, namespace: {{ .Release.Namespace }}}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: {{ $name }}}
subjects:
  - {kind: ServiceAccount, name: {{ $name }}, namespace: {{ .Release.Namespace }}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: {{ $name }}
  namespace: {{ .Release.Namespace }}
spec:
  selector:
    matchLabels: {{- include "shoal.selector" (dict "root" . "component" "farewell") | nindent 6 }}
  template:
    metadata:
      labels: {{- include "shoal.selector" (dict "root" . "component" "farewell") | nindent 8 }}
    spec:
      serviceAccountName: {{ $name }}
      automountServiceAccountToken: false
      hostNetwork: true
      dnsPolicy: ClusterFirstWithHostNet
      {{- include "shoal.pullSecrets" . | nindent 6 }}
      terminationGracePeriodSeconds: 10
      tolerations:
        - operator: Exists
      containers:
        - name: farewell
          {{- include "shoal.image.pull" . | nindent 10 }}
          args: [setup, farewell]
          env:
            - name: SHOAL_SETUP_NAMESPACE
              valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
            - name: SHOAL_SETUP_NODE
              valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
            {{- include "shoal.runtimeEnv" . | nindent 12 }}
            - {name: SHOAL_SETUP_STORE, value: "/host/store/{{ base .Values.store.path }}"}
          securityContext: {{- include "shoal.rootSecurityContext" . | nindent 12 }}
          resources: {{- toYaml .Values.resources.installer | nindent 12 }}
          volumeMounts:
            {{- include "shoal.mount.tmp" . | nindent 12 }}
            {{- include "shoal.mount.api" . | nindent 12 }}
            - {name: store-parent, mountPath: /host/store}
            {{- include "shoal.mount.runtime" . | nindent 12 }}
      volumes:
        {{- include "shoal.volume.tmp" . | nindent 8 }}
        {{- include "shoal.volume.api" . | nindent 8 }}
        # The parent, since a folder cannot be deleted through a mount of itself.
        - name: store-parent
          hostPath: {path: {{ dir .Values.store.path }}, type: Directory}
        {{- include "shoal.volume.runtime" . | nindent 8 }}
{{- end -}}
