"""The chaos run: pulls by real containerd on the test bed while things break, from a seed.

`plan` and `judge` are pure; `faults` break and mend; `pulls` pulls; `run` joins them.
"""
