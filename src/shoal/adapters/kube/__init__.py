"""The one way to a Kubernetes API server: requests, patience with it, mirrors by list and watch."""
