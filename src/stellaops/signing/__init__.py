"""Signatures: ECDSA P-256 in the forms that cosign, openssl and Sigstore verifiers read, one form a module."""
