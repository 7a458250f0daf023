"""The errors of mirrors, with the codes that scripts and alerts know."""

from __future__ import annotations

from stellaops.core.errors import (
    Conflict,
    DependencyFailed,
    InvalidInput,
    MissingPrerequisite,
    NotFound,
    NotTrusted,
)


class InvalidDomain(InvalidInput):
    """A mirror domain that breaks the rules; all that is wrong is listed."""

    code = "ERR_MIRROR_INVALID_DOMAIN"
    hint = "Correct what is listed; docs/use/mirrors.md describes every field."


class DomainNotFound(NotFound):
    """No mirror domain of this id: of the tenant, or at the source to sync from."""

    code = "ERR_MIRROR_DOMAIN_NOT_FOUND"
    hint = "See `stella mirror domains list`."


class DomainTaken(InvalidInput):
    """The id of a mirror domain belongs to another tenant, or is there already."""

    code = "ERR_MIRROR_DOMAIN_TAKEN"
    hint = "Choose another id, or change the domain with `stella mirror domains apply`."


class NoDomains(MissingPrerequisite):
    """There is nothing to publish: no mirror domain is defined."""

    code = "ERR_MIRROR_NO_DOMAINS"
    hint = "Define one with `stella mirror init DOMAIN`."


class EmptyDomain(InvalidInput):
    """A mirror domain selects no advisory."""

    code = "ERR_MIRROR_EMPTY"
    hint = "Import evidence, widen the domain's selectors, or set allowEmpty where an empty mirror is meant."


class PublicationConflict(Conflict):
    """Another process published to the same place at the same moment."""

    code = "ERR_MIRROR_PUBLISHED_MEANWHILE"
    hint = "Run the command again."


class BadTree(NotTrusted):
    """A mirror tree that is not as its signer made it."""

    code = "ERR_MIRROR_TREE_INVALID"
    hint = "Do not use this tree; publish it again, or sync it from its source."


class StaleTree(NotTrusted):
    """A mirror tree is older than the one in force, or its freshness statement has expired."""

    code = "ERR_MIRROR_STALE"
    hint = "Publish at the source, then sync again; --allow-stale takes it all the same."


class DomainsLost(Conflict):
    """Another tree would come without domains that readers of the host have."""

    code = "ERR_MIRROR_DOMAINS_LOST"
    hint = "Sync all of the host's domains at once, or each login's by --in-turn; name those that are to go by --drop."


class SourceUnreachable(DependencyFailed):
    """The tree to sync from cannot be read."""

    code = "ERR_MIRROR_SOURCE_UNREACHABLE"
    hint = "See that the source is reachable and holds a published tree; the next sync goes on where this one ended."


class SyncRuns(DependencyFailed):
    """Another process works on the same tree."""

    code = "ERR_MIRROR_BUSY"
    hint = "Wait until the other command has ended."
