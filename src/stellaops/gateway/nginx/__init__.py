"""The configuration of an nginx that stands before a mirror host."""
