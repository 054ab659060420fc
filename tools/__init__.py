"""Checks of the tree itself, run by `./dev check`."""
