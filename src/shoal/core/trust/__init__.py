"""Who may have which bytes, and what vouches for a piece. No keys on disk, no registry calls."""
