"""What runs once for a cluster: the set-up Job, the controller, the webhook. Nodes are `node`'s."""
