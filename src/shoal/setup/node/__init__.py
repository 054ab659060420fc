"""What runs on each node: prepare it, point its runtime at the agent, and leave it as it was."""
