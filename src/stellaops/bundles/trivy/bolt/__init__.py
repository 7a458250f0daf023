"""The bbolt file format: a bottom-up writer, a reader that trusts nothing, and a structural check.

Nothing here needs more than the standard library.
"""
