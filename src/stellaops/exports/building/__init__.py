"""What bundles are built from, and how: contents, mirrors, deltas, encryption."""
