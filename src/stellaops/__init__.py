"""StellaOps: evidence in, signed and reproducible bundles out."""

__version__ = "0.1.0"
