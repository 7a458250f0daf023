"""Places that bundles are brought to: one module for each driver, each with `open_target(settings, context)`."""
