"""What every operation of the API shares: routing, authentication, limits, problem documents, idempotency, audit."""
