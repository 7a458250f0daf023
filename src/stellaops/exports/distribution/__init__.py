"""Bringing bundles to targets, telling of them by links, and looking after what lies there."""
