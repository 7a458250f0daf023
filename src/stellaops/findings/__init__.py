"""Use cases: what a tenant's bills of materials are vulnerable to, and the policy snapshots that tell it."""
