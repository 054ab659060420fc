"""Rollouts in virtual time: the production core, driven by modelled links, registries and clients.

Nothing here decides anything about a swarm: `shoal.core.swarm` does, as on a node. May import only
`shoal.core`; no real clock, socket or thread. Imported by `shoal.cli` and by benchmarks.
"""
