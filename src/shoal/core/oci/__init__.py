"""The registry protocol as pure parsing: routes, ranges, manifests, challenges. No I/O."""
