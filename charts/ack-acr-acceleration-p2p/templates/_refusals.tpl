{{- /* What types and ranges in values.schema.json cannot say, or cannot say well. */ -}}
{{- define "shoal.refusals" -}}
{{- $v := .Values -}}
{{- $namespace := "aliyun-acr-acceleration" -}}
{{- if and $v.acrInstances $v.registryInstances -}}
{{- fail "acrInstances and registryInstances are two spellings of one thing: give acrInstances with methods 1 and 2, registryInstances with RRSA, and leave the other out." -}}
{{- end -}}
{{- range splitList "," ($v.acrInstances | default $v.registryInstances) -}}
{{- if and (trim .) (not (regexMatch "^cri-[A-Za-z0-9]+$" (trim .))) -}}
{{- fail (printf "%q is no instance ID: take the ID (cri-...) from the instance's Overview page, several separated by commas." (trim .)) -}}
{{- end -}}
{{- end -}}
{{- if and $v.registryInstances (not $v.rrsa.enable) -}}
{{- fail "registryInstances belongs to RRSA: set rrsa.enable to true, or write acrInstances instead." -}}
{{- end -}}
{{- if and $v.rrsa.enable $v.acrInstances -}}
{{- fail "With rrsa.enable the instances are given as registryInstances: rename acrInstances." -}}
{{- end -}}
{{- if and $v.accessKey (not $v.accessKeySecret) -}}
{{- fail "accessKey has no secret: add --set-file accessKeySecret=FILE with the secret of the AccessKey pair, or leave accessKey out to use the worker RAM role." -}}
{{- end -}}
{{- if and $v.accessKeySecret (not $v.accessKey) -}}
{{- fail "accessKeySecret has no accessKey: set accessKey to the ID of the AccessKey pair." -}}
{{- end -}}
{{- if and $v.accessKey (not $v.acrInstances) (not $v.rrsa.enable) -}}
{{- fail "accessKey is used to look up ACR instances: set acrInstances, or leave accessKey out." -}}
{{- end -}}
{{- if and $v.accessKey $v.rrsa.enable -}}
{{- fail "accessKey and rrsa.enable are two methods: leave accessKey and accessKeySecret out to use RRSA, or set rrsa.enable to false." -}}
{{- end -}}
{{- if not (or $v.acrInstances $v.registryInstances $v.registries) -}}
{{- fail "There is no registry to accelerate: set acrInstances to the ID of an ACR instance (registryInstances with RRSA), or list registries by name under registries." -}}
{{- end -}}
{{- if or (lt (int $v.rrsa.expireDuration) 3600) (gt (int $v.rrsa.expireDuration) 43200) -}}
{{- fail (printf "rrsa.expireDuration is %v: give 3600 to 43200 seconds, at most the MaxSessionDuration of the role in assumeRoleARN." $v.rrsa.expireDuration) -}}
{{- end -}}
{{- if $v.rrsa.enable -}}
{{- include "shoal.refusals.rrsa" . -}}
{{- end -}}
{{- include "shoal.refusals.ports" . -}}
{{- range $key, $section := $v.agentSettings -}}
{{- if has $key (list "registries" "front" "peer" "exporter" "store" "containerd" "membership") -}}
{{- fail (printf "agentSettings.%s is set by other values of this chart: see docs/install.md for which." $key) -}}
{{- end -}}
{{- end -}}
{{- if and $v.nodeAccess.realmHosts (not $v.nodeAccess.secret) -}}
{{- fail "nodeAccess.realmHosts are shown the credential of nodeAccess.secret: set that to a Secret's name, or leave the hosts out." -}}
{{- end -}}
{{- if and $v.nodeAccess.secret (eq $v.runtime.type "crio") -}}
{{- fail "nodeAccess.secret needs a runtime that sends the agent a header of its own, and CRI-O sends its mirrors none: leave nodeAccess.secret out." -}}
{{- end -}}
{{- if and $v.edgeNodePool.id $v.edgeNodePool.allNodes -}}
{{- fail "edgeNodePool.id and edgeNodePool.allNodes contradict each other: give the pool, or all nodes." -}}
{{- end -}}
{{- end -}}

{{- define "shoal.refusals.rrsa" -}}
{{- $v := .Values -}}
{{- $namespace := "aliyun-acr-acceleration" -}}
{{- $accounts := printf "system:serviceaccount:%s:%s-sa and system:serviceaccount:%s:%s-job-sa" .Release.Namespace (include "shoal.name" .) .Release.Namespace (include "shoal.name" .) -}}
{{- if not $v.rrsa.rrsaRoleARN -}}
{{- fail "RRSA needs rrsa.rrsaRoleARN: the ARN of the RAM role of the cluster's account (acs:ram::...:role/...)." -}}
{{- end -}}
{{- if not $v.rrsa.rrsaOIDCProviderRoleARN -}}
{{- fail "RRSA needs rrsa.rrsaOIDCProviderRoleARN: the OIDC provider's ARN from the cluster's Basic Information tab. If there is none, enable RRSA on the cluster first." -}}
{{- end -}}
{{- if not $v.registryInstances -}}
{{- fail "RRSA needs registryInstances: the ID of the ACR instance, several separated by commas." -}}
{{- end -}}
{{- $version := $v.image.agentVersion | default $v.image.tag -}}
{{- if regexMatch "^v?[0-9]+\\.[0-9]+\\.[0-9]+" $version -}}
{{- $version = regexFind "^v?[0-9]+\\.[0-9]+\\.[0-9]+" $version -}}
{{- else -}}
{{- $version = .Chart.AppVersion -}}
{{- end -}}
{{- if not (semverCompare ">=0.3.6" $version) -}}
{{- fail (printf "RRSA needs an agent of version 0.3.6 or later, and this image has %s: raise image.tag, or use another method." $version) -}}
{{- end -}}
{{- if ne .Release.Namespace $namespace -}}
{{- fail (printf "With RRSA the component is installed in namespace %s, which the documentation's trust policy names; this is %s, whose accounts would be %s. Install with --namespace %s; the trust policy's oidc:sub is then system:serviceaccount:%s:%s-sa and system:serviceaccount:%s:%s-job-sa." $namespace .Release.Namespace $accounts $namespace $namespace (include "shoal.name" .) $namespace (include "shoal.name" .)) -}}
{{- end -}}
{{- end -}}

{{- define "shoal.refusals.ports" -}}
{{- $seen := dict -}}
{{- $ports := list (list "p2p.port" .Values.p2p.port) (list "p2p.v2.p2pPort" .Values.p2p.v2.p2pPort) -}}
{{- if .Values.p2p.v2.exporter.enable -}}
{{- $ports = append $ports (list "p2p.v2.exporter.port" .Values.p2p.v2.exporter.port) -}}
{{- end -}}
{{- range $ports -}}
{{- $port := toString (int (index . 1)) -}}
{{- if hasKey $seen $port -}}
{{- fail (printf "%s and %s are both %s: the agent needs a port of its own for each on every node." (get $seen $port) (index . 0) $port) -}}
{{- end -}}
{{- $_ := set $seen $port (index . 0) -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enable (not .Values.p2p.v2.exporter.enable) -}}
{{- fail "serviceMonitor.enable has nothing to scrape: set p2p.v2.exporter.enable to true." -}}
{{- end -}}
{{- end -}}
