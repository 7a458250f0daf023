"""Encryption of what a bundle holds, as files of age or under one key of AES-GCM."""
