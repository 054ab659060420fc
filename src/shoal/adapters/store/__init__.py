"""Where blobs are kept on a node: on disk, and in memory for tests. Knows no peers and no registry."""
