"""What every form of bills of materials offers."""

from __future__ import annotations

from typing import Any, Protocol

from stellaops.sboms.component import Sbom


class SbomForm(Protocol):
    """One form."""

    name: str

    def parsed(self, path: str, raw: bytes) -> Any | None:
        """The document as a JSON value, from an encoding other than JSON; None where it is not of this form.

        Raises:
            Malformed: meant as this form, but unreadable.
        """
        ...

    def is_one(self, value: Any) -> bool:
        """Whether a JSON value is a document of this form."""
        ...

    def read(self, value: Any) -> Sbom:
        """The bill of materials that a JSON value of this form holds."""
        ...
