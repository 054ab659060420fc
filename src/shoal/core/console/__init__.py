"""What the console knows and the rules it keeps: no database, no clock, no web."""
