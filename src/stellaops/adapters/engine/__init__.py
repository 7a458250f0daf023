"""The durable queue on an existing engine."""
