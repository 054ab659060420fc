"""Who fetches which piece from whom: downloads, uploads, trackers, leases. No I/O, no clock."""
