"""Receipts: who vouches for which bytes of a blob, and whether to believe it. No key, no clock."""
