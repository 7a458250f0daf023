"""Who may do what, and the keys with which a tenant signs."""
