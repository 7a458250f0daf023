"""Changing the domains of mirrors."""

from __future__ import annotations

from collections.abc import Sequence

from stellaops.mirrors.domain import Document, Domain
from stellaops.mirrors.errors import DomainNotFound, DomainTaken
from stellaops.mirrors.ports import Domains


def create_domain(tenant: str, document: Document, domains: Domains) -> Domain:
    """Store a domain.

    Raises:
        DomainTaken: there is one of this id.
    """
    if domains.get(document.id) is not None:
        raise DomainTaken(f"there is a domain {document.id} already")
    made = Domain(tenant, document)
    domains.put(made)
    return made


def apply_domains(tenant: str, documents: Sequence[Document], domains: Domains) -> list[tuple[Domain, bool]]:
    """Make documents the tenant's domains; each with whether anything changed. Others stay as they are.

    Raises:
        DomainTaken: an id belongs to another tenant; nothing was changed.
    """
    for each in documents:
        known = domains.get(each.id)
        if known is not None and known.tenant != tenant:
            raise DomainTaken(f"the id {each.id} belongs to another tenant")
    made = [Domain(tenant, each) for each in documents]
    return [(each, domains.put(each)) for each in made]


def find_domain(tenant: str, domain: str, domains: Domains) -> Domain:
    """A domain of a tenant.

    Raises:
        DomainNotFound: there is none, or it is another tenant's.
    """
    found = domains.get(domain)
    if found is None or found.tenant != tenant:
        raise DomainNotFound(f"tenant {tenant} has no mirror domain {domain[:80]!r}")
    return found


def delete_domain(tenant: str, domain: str, domains: Domains) -> Domain:
    """Forget a domain; what was published of it goes with the next publication.

    Raises:
        DomainNotFound: see `find_domain`.
    """
    found = find_domain(tenant, domain, domains)
    domains.delete(tenant, domain)
    return found
