"""The command `stella`: parses, calls one use case, presents."""
