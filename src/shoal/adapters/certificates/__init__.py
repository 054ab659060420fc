"""The cluster's certificates: its authority, what it signs and revokes, what a peer must show."""
