"""Reading inputs and writing bundles on a file system."""
