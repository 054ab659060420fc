"""The agent: joins core and adapters in one process on a node. Only the cli imports it."""
