"""Metrics and logs as they leave the process. Holds no state that anything decides by."""
