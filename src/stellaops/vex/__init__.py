"""VEX: documents that say how products stand to vulnerabilities, and what follows from several of them."""
