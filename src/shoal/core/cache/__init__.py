"""What a node keeps and what it drops: admission and eviction. No files."""
