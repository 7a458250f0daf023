"""Access tokens as signed JWTs, and the private keys that sign them."""
