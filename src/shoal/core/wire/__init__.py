"""What peers say to each other: messages and their bytes. Bytes in, messages out; no socket."""
