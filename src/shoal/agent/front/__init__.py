"""The registry front on loopback: OCI distribution pull API over HTTP."""
