"""The consensus as documents that other tools read: OpenVEX, CSAF, CycloneDX, and a repository for Trivy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from stellaops.bundles.vex import csaf, cyclonedx, openvex, repository
from stellaops.bundles.vex.cyclonedx import Linked
from stellaops.bundles.vex.openvex import Author
from stellaops.bundles.vex.verdict import Verdict
from stellaops.exports.errors import EmptyExport

REPOSITORY = "vex-repository"
KINDS = ("openvex", "csaf", "cyclonedx", REPOSITORY)


@dataclass(frozen=True, slots=True)
class Written:
    """What was written.

    Attributes:
        statements: how many statements or, in CSAF and CycloneDX, how many products with a verdict.
        left_out: verdicts that the format cannot carry without saying something else.
        packages: of a repository.
    """

    vulnerabilities: int
    statements: int
    left_out: int
    packages: int | None = None


class Writer(Protocol):
    """Writes a document of one kind: is given the verdicts on each vulnerability, in ascending order, then ended."""

    @property
    def statements(self) -> int:
        """What was taken."""

    @property
    def left_out(self) -> int:
        """Verdicts that the format cannot carry."""

    def add(self, verdicts: list[Verdict]) -> None:
        """Take the verdicts on one vulnerability."""

    def finish(self) -> object:
        """Write the document; there must be a statement."""


def write_document(
    kind: str,
    verdicts: Iterable[list[Verdict]],
    out: BinaryIO,
    scratch: BinaryIO,
    author: Author,
    *,
    linked: Linked | None = None,
) -> Written:
    """Write a document, or the archive of a repository.

    Args:
        kind: one of `KINDS`.
        verdicts: of each vulnerability, in ascending order.
        scratch: an empty file to write to and read from.
        linked: the bill of materials that a CycloneDX document is about.

    Raises:
        EmptyExport: there is no verdict that the format can carry; nothing was written.
    """
    writer = open_writer(kind, out, scratch, author, linked)
    count = 0
    for some in verdicts:
        writer.add(some)
        count += bool(some)
    if not writer.statements:
        left = f" that {kind} can carry ({writer.left_out} left out)" if writer.left_out else ""
        raise EmptyExport(f"there is no verdict{left} in what is selected")
    writer.finish()
    packages = writer.packages if isinstance(writer, repository.Writer) else None
    return Written(count, writer.statements, writer.left_out, packages)


def open_writer(
    kind: str, out: BinaryIO, scratch: BinaryIO, author: Author, linked: Linked | None = None
) -> Writer:
    """The writer of a kind of `KINDS`; see `write_document`."""
    match kind:
        case "openvex":
            return openvex.Writer(out, scratch, author)
        case "csaf":
            return csaf.Writer(out, scratch, author)
        case "cyclonedx":
            return cyclonedx.Writer(out, scratch, author, linked)
    return repository.Writer(out, scratch, author)
