"""The agent: joins core and adapters in one process on a node. Imported by the command line only."""
