"""The command line. Parses arguments, calls down, prints; nothing imports it."""
