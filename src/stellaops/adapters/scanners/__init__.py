"""Scanners that judge our databases."""
