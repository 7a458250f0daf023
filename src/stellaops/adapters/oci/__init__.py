"""A client of OCI registries: logins, blobs, manifests, referrers, signatures."""
