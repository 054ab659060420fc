"""One package for each outside thing. None imports another; vendor types and exceptions stop here."""
