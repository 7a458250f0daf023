"""Where published bundles lie: a directory, or an object store."""
