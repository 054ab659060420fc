"""The cloud's API, through its own SDKs: credentials by every method, and what instances have."""
