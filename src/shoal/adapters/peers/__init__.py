"""Peer connections: sockets in, messages and piece bytes out. Decides nothing."""
