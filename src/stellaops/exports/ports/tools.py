"""Keys, and the scanner that judges databases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from stellaops.bundles.trivy.inspect import Sentinel
from stellaops.bundles.trivy.java_db import JavaSentinel
from stellaops.signing.interface import Signer


class Keys(Protocol):
    """The tenant's key, and the public keys that it trusts."""

    def signer(self, tenant: str, key: str | None = None) -> Signer:
        """The active key, made when the tenant has none; or another of its keys, by id or by URI."""
        ...

    def trusted(self, tenant: str) -> tuple[tuple[bytes, ...], frozenset[str]]:
        """Public keys in PEM, and ids of keys that verify nothing."""
        ...


class Wrapping(Protocol):
    """Key services that wrap content keys."""

    def wrap(self, tenant: str, uri: str, key: bytes, bound_to: str) -> bytes:
        """A key, encrypted under the service's key of that URI and bound to a text.

        Raises:
            StellaError: the service does not do it, or the tenant may not use that key.
        """
        ...


class Scanner(Protocol):
    """A vulnerability scanner that judges a database."""

    def available(self) -> str | None:
        """Its version, or None where there is none."""
        ...

    def missing(self, archive: Path, sentinels: Sequence[Sentinel], scratch: Path) -> list[str]:
        """The sentinels that a scan with the database does not find, a sentence each."""
        ...

    def unrecognised(self, archive: Path, sentinels: Sequence[JavaSentinel], scratch: Path) -> list[str]:
        """The jars that a scan with the Java database does not recognise by their names, a sentence each."""
        ...
