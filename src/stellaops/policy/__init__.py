"""Policy overlays: what a tenant decides about findings, with reasons and dates of expiry."""
