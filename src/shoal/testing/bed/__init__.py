"""The test bed: network namespaces with real containerd, docker-registry and nginx. Needs root."""
