"""The uninstall: every node as it was, also those that are down when it happens."""
