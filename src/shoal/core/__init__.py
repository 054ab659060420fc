"""What Shoal decides. No clock, socket, thread, file or random source; all may import it."""
