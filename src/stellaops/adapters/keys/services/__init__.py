"""The kinds of key services, one a module: each has `open_service`, and is listed in `registry`."""
