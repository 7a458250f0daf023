"""What every room shares: errors, digests, canonical JSON, instants."""
