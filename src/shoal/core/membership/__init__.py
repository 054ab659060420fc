"""Who is in the site, and which member tracks which blob."""
