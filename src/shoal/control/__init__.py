"""The console: a registry's cloud-compatible API, and web pages for people, in one process."""
