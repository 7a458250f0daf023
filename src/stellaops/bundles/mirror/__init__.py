"""What is a mirror bundle's own: deltas, and the trees that they are applied to."""
