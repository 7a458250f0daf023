"""Bundles as artefacts of an OCI registry: names, manifests, signatures and referrers. Bytes and values, no network."""
