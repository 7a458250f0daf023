"""How upstreams lay out their files: one module per layout, registered in `registry.LAYOUTS`. Pure."""
