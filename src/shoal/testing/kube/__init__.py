"""A stand-in of a Kubernetes API server for tests: lists and watches over HTTPS, with faults."""
