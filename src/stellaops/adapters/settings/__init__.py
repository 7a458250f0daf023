"""Settings: read in one place, and typed section by section."""
