"""The container runtime's configuration files: hosts.toml and config.toml. Restarts nothing."""
