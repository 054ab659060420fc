"""The registry client: manifests, blobs by range, redirects, token exchange. Caches no content."""
