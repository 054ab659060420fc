"""Who may do what, decided from policy documents: no store, no clock, no network."""
