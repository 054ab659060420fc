"""Images on disk for other tools: OCI image layouts and docker archives. Knows no registry."""
