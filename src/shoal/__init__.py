"""Shoal: P2P acceleration of container image pulls for edge Kubernetes clusters."""

__version__ = "0.4.0.dev0"
