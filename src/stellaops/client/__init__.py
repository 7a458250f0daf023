"""A StellaOps server, asked over HTTP: whatever it refuses is the error that it would have been here."""
