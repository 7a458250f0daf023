"""Whether an export is still the newest: the signed statement beside it, against the receiver's clock and memory."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from stellaops.bundles import freshness
from stellaops.bundles.freshness import Freshness
from stellaops.core import timestamps
from stellaops.core.errors import NotTrusted
from stellaops.kit.archive import ArchiveTree
from stellaops.kit.locate import Found
from stellaops.kit.tree import Tree
from stellaops.signing import cosign_blob
from stellaops.signing.ecdsa_p256 import BadSignature, PublicKey


class Stale(NotTrusted):
    """The export is older than what is there already, or than it may be."""

    code = "ERR_FRESHNESS_STALE"
    hint = "Fetch the newest bundle with its freshness.json; --allow-stale takes this one nevertheless."


@dataclass(frozen=True, slots=True)
class Demands:
    """What a receiver asks for.

    Attributes:
        now: the receiver's clock, or the instant to judge for.
        max_age: how long ago the statement may have been issued; None for as long as it holds.
        least_version: of the statement that was accepted last; 0 for none.
    """

    now: datetime
    max_age: timedelta | None = None
    least_version: int = 0


def find(directory: Path, trusted: Sequence[PublicKey], revoked: Collection[str] = ()) -> Freshness | None:
    """The statement in a directory, with a signature of a trusted key; None where there is none.

    Raises:
        BadSignature: no trusted key signed it.
        BadFreshness, UntrustedFile: it is not in its form.
    """
    tree = Tree(directory)
    if not (directory / freshness.FILE).exists():
        return None
    data = tree.read(freshness.FILE, freshness.LARGEST)
    signature = tree.read(freshness.SIGNATURE, cosign_blob.LARGEST)
    digest = hashlib.sha256(data).digest()
    for key in trusted:
        if key.key_id in revoked:
            continue
        try:
            cosign_blob.verify(signature, digest, key)
        except BadSignature:
            continue
        return freshness.parse(data)
    raise BadSignature("no trusted key signed freshness.json")


def files_of(directory: Path, statement: Freshness) -> dict[str, bytes]:
    """The files of a statement that `find` has found in a directory, by their names.

    Raises:
        UntrustedFile: the signature went away.
    """
    signature = Tree(directory).read(freshness.SIGNATURE, cosign_blob.LARGEST)
    return {freshness.FILE: freshness.encode(statement), freshness.SIGNATURE: signature}


def beside(found: Found) -> Path:
    """The directory in which the statement about a bundle lies: that of the archive, or the one around a tree."""
    return (found.tree.path if isinstance(found.tree, ArchiveTree) else found.tree.root).parent


def demand_fresh(
    directory: Path,
    head: tuple[str, str],
    trust: tuple[Sequence[PublicKey], Collection[str]],
    demands: Demands,
) -> Freshness | None:
    """The statement about an export that is to be applied; None where there is none, or one about another export.

    Args:
        directory: where it should lie.
        head: ids of the export and of its tenant.
        trust: public keys, and ids of those that verify nothing.

    Raises:
        Stale: the export is older than what was applied, or than it may be.
        BadSignature, BadFreshness, UntrustedFile: see `find`.
    """
    statement = find(directory, *trust)
    if statement is None or (statement.export_id, statement.tenant) != head:
        return None
    found = problems(statement, *head, demands)
    if found:
        raise Stale(f"the export is stale: {found[0]}", details=found)
    return statement


def problems(statement: Freshness | None, export_id: str, tenant: str, demands: Demands) -> list[str]:
    """What keeps an export from counting as fresh, a sentence each.

    Args:
        statement: the signed statement that came with it; None where none did.
        export_id, tenant: of the export, whose own signature was checked.
    """
    if statement is None:
        if demands.max_age is None:
            return []
        return [f"there is no {freshness.FILE}, so that its age is not known"]
    found = []
    if (statement.export_id, statement.tenant) != (export_id, tenant):
        found.append(f"{freshness.FILE} is about another export, {statement.export_id}")
    if statement.version < demands.least_version:
        found.append(
            f"version {statement.version} is older than {demands.least_version}, which is known already"
        )
    if statement.expires < demands.now:
        found.append(f"it expired {timestamps.render(statement.expires)}")
    if demands.max_age is not None and demands.now - statement.issued > demands.max_age:
        found.append(f"it was issued {timestamps.render(statement.issued)}, longer ago than is allowed")
    return found
