"""What Shoal decides. No clock, socket, thread, file or random source lives here; everything may import it."""
