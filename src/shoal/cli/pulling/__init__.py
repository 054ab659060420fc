"""What `shoal pull` does between its options and the disk. Only the command line may import it."""
