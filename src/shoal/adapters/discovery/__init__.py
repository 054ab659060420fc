"""Where the members of a site come from: a static list, DNS. Decides nothing about them."""
