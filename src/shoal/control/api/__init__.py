"""The cloud-compatible API, RPC style: signatures, sessions and what each action does."""
