"""Who fetches which piece from whom: downloads, uploads, trackers, leases. Driven by events and now_s."""
