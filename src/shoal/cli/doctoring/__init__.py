"""What `shoal doctor` looks at, and how it tells. Only the command line may import it."""
