"""Mirrors of the local stores: their domains and publications, with every change in the audit log."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stellaops.authority.audit import Change, digest_of
from stellaops.bootstrap import Local
from stellaops.center.noting import local_audit
from stellaops.core.digests import Digest
from stellaops.mirrors import manage_domains
from stellaops.mirrors.domain import Document, Domain
from stellaops.mirrors.publish import Outcome, publish


class LocalMirrors:
    """What can be done with the mirror of a data directory."""

    def __init__(self, local: Local, tenant: str) -> None:
        self._local, self._tenant = local, tenant

    def domains(self) -> list[Domain]:
        """The tenant's domains, by id."""
        return [each for each in self._local.mirror_domains.every() if each.tenant == self._tenant]

    def domain(self, name: str) -> Domain:
        """One of them.

        Raises:
            DomainNotFound: see there.
        """
        return manage_domains.find_domain(self._tenant, name, self._local.mirror_domains)

    def create(self, document: Document) -> Domain:
        """Define a domain.

        Raises:
            DomainTaken: see there.
        """
        made = manage_domains.create_domain(self._tenant, document, self._local.mirror_domains)
        self._tell("mirror.domain.created", None, made)
        return made

    def apply(self, documents: Sequence[Document]) -> list[tuple[Domain, bool]]:
        """Make documents the tenant's domains; each with whether anything changed.

        Raises:
            DomainTaken: see there; nothing was changed.
        """
        before = {each.id: each for each in self.domains()}
        done = manage_domains.apply_domains(self._tenant, documents, self._local.mirror_domains)
        for each, changed in done:
            if changed:
                known = before.get(each.id)
                self._tell(f"mirror.domain.{'changed' if known else 'created'}", known, each)
        return done

    def delete(self, name: str) -> Domain:
        """Forget a domain.

        Raises:
            DomainNotFound: see there.
        """
        gone = manage_domains.delete_domain(self._tenant, name, self._local.mirror_domains)
        self._tell("mirror.domain.deleted", gone, None)
        return gone

    def publish(self, place: str | None, told: Callable[[str], None]) -> Outcome:
        """Publish all domains of the installation; a publication that brings nothing new is no change.

        Raises:
            StellaError: see `mirrors.publish.publish`.
        """
        root, copies = self._local.mirror_places(place)
        outcome = publish(root, self._local.publish_tools, copies, told)
        note = local_audit(self._local, self._tenant)
        for side in dict.fromkeys(each.side for each in outcome.published if each.changed):
            mine = [each for each in outcome.published if each.side == side]
            details = {
                "place": (copies[0] if copies else root).place,
                "sequence": outcome.sequence,
                "domains": [each.domain for each in mine],
            }
            note(Change("mirror.published", f"mirror/{side}/{mine[0].export_id}", details=details))
        return outcome

    def _tell(self, action: str, before: Domain | None, after: Domain | None) -> None:
        named = after or before
        assert named is not None  # noqa: S101 - one of the two is given
        change = Change(action, f"mirror-domain/{named.id}", _digest(before), _digest(after))
        local_audit(self._local, self._tenant)(change)


def _digest(domain: Domain | None) -> Digest | None:
    return digest_of(None if domain is None else domain.to_wire())
