"""What stands in a bundle, as bytes and values: manifests, content digests, formats, names. Nothing here does I/O."""
