"""The forms in which upstreams publish advisories: one module per feed, registered in `registry.FEEDS`."""
