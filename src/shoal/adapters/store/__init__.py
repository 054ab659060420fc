"""Where a node keeps blobs: on disk, or in memory for tests. Knows no peers, no registry."""
