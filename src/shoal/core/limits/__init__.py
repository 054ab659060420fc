"""What a node may take of the network: rates shared fairly, and what each peer may send of it."""
