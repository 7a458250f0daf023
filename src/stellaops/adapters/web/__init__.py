"""Fetching over the network: one client, one egress policy, a spool that survives the process."""
