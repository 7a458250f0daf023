"""One module for each kind of channels, found by looking: `KIND`, and `open_provider(context)`."""
