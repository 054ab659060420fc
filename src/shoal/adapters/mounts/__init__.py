"""Files that something else replaces while we run, as the kubelet does with ConfigMaps."""
