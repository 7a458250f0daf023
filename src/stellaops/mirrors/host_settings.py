"""The settings by which a mirror host serves domains as they were defined: their names, and what their readers may."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stellaops.mirrors.domain import SIDES, Domain


def host_settings(domains: Sequence[Domain]) -> Iterator[tuple[str, str]]:
    """Names and values, as in the environment of a host.

    Each domain has its own bound on requests for indexes. What is asked for under a host name of no domain counts by
    the side's, which is the smallest that any of them states.
    """
    for side in SIDES:
        prefix = f"{side.upper()}__MIRROR__"
        mine = [each for each in domains if each.has(side)]
        bounds = [each.document.quotas.max_index_requests_per_hour for each in mine]
        stated = [bound for bound in bounds if bound is not None]
        if stated:
            yield f"{prefix}MAXINDEXREQUESTSPERHOUR", str(min(stated))
        for number, each in enumerate(mine):
            here = f"{prefix}DOMAINS__{number}__"
            yield from ((f"{here}{name}", value) for name, value in _rules(each))
            if stated:  # who states none has none, whatever others state
                yield f"{here}MAXINDEXREQUESTSPERHOUR", str(bounds[number] or 0)


def _rules(domain: Domain) -> Iterator[tuple[str, str]]:
    yield "ID", domain.id
    yield "DISPLAYNAME", domain.display_name
    yield "TENANT", domain.tenant
    yield "REQUIREAUTHENTICATION", str(domain.document.require_authentication).lower()
    most = domain.document.quotas.max_download_requests_per_hour
    if most is not None:
        yield "MAXDOWNLOADREQUESTSPERHOUR", str(most)
