"""`./dev demo`: a registry and some agents on this machine, which pull one image at once."""
