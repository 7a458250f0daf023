"""How the mirrors of a tenant stand, as far as this machine knows: what is published, who may read it, until when.

The publisher and the host of a mirror may be two machines: credentials and certificates are told where the settings of
this one name their files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from cryptography import x509

from stellaops.adapters.files import htpasswd
from stellaops.adapters.settings import mirrors as settings
from stellaops.adapters.settings.load import load_mirror_host
from stellaops.bootstrap import Local, now
from stellaops.center.wire import Wire
from stellaops.core import timestamps
from stellaops.core.errors import StellaError
from stellaops.mirrors.domain import Domain
from stellaops.mirrors.ports import Root
from stellaops.mirrors.status import Standing, standings


def mirror_overview(local: Local, tenant: str) -> list[Wire]:
    """Every domain of a tenant with its sides, credentials and certificate."""
    host = _host()
    found = _newest(
        each for place in _places(local, host) for each in standings(tenant, place, local.publish_tools)
    )
    served = dict(host.domains) if host else {}
    moment = now()
    return [
        _domain(each, [one for one in found if one.domain.id == each.id], served.get(each.id), moment)
        for each in local.mirror_domains.every()
        if each.tenant == tenant
    ]


def _host() -> settings.MirrorHost | None:
    """What this machine serves itself."""
    try:
        return load_mirror_host()
    except StellaError:  # `stella serve gateway` says what is wrong with it
        return None


def _places(local: Local, host: settings.MirrorHost | None) -> list[Root]:
    """Where this machine's mirrors may lie: where they are made, and what is served here."""
    roots = [side.root.parent for side in (host.sides.values() if host else ()) if side.root is not None]
    own, _ = local.mirror_places(None)
    return [own, *(local.mirror_places(str(place))[0] for place in dict.fromkeys(roots))]


def _newest(found: Iterable[Standing]) -> list[Standing]:
    """Of each side of a domain, how it stands at the place where it was published last."""
    best: dict[tuple[str, str], Standing] = {}
    for each in found:
        known = best.get((each.domain.id, each.side))
        if known is None or _published(each) > _published(known):
            best[each.domain.id, each.side] = each
    return list(best.values())


def _published(each: Standing) -> float:
    return each.publication.published_at.timestamp() if each.publication else 0.0


def _domain(
    domain: Domain, sides: Sequence[Standing], served: settings.Domain | None, moment: datetime
) -> Wire:
    document = domain.document
    return {
        "id": domain.id,
        "displayName": domain.display_name,
        "requireAuthentication": document.require_authentication,
        "maxIndexRequestsPerHour": document.quotas.max_index_requests_per_hour,
        "maxDownloadRequestsPerHour": document.quotas.max_download_requests_per_hour,
        "sides": [_side(each, moment) for each in sides],
        "credentials": _credentials(served, moment),
        "certificate": _certificate(served),
    }


def _side(each: Standing, moment: datetime) -> dict[str, Any]:
    publication, statement = each.publication, each.statement
    return {
        "side": each.side,
        "exportId": publication.export_id if publication else None,
        "sequence": publication.sequence if publication else None,
        "publishedAt": timestamps.render(publication.published_at) if publication else None,
        "behind": each.behind,
        "lagSeconds": each.lag(moment),
        "expires": timestamps.render(statement.expires) if statement else None,
    }


def _credentials(served: settings.Domain | None, moment: datetime) -> list[dict[str, Any]] | None:
    """Who may read, never with what; None where this machine does not know."""
    if served is None or served.htpasswd_file is None:
        return None
    try:
        users = htpasswd.read(served.htpasswd_file)
    except StellaError:
        return None
    return [
        {
            "user": each.user,
            "recipient": each.recipient,
            "issued": timestamps.render(each.issued) if each.issued else None,
            "expires": timestamps.render(each.expires) if each.expires else None,
            "state": "expired" if each.has_expired(moment) else "old" if each.is_old(moment) else "valid",
        }
        for each in users.values()
    ]


def _certificate(served: settings.Domain | None) -> dict[str, Any] | None:
    """The names and dates of the certificate that readers get; None where this machine has none."""
    if served is None or served.tls_certificate_file is None:
        return None
    try:
        found = x509.load_pem_x509_certificates(served.tls_certificate_file.read_bytes())[0]
    except (OSError, ValueError, IndexError):
        return None
    return {
        "hosts": list(served.hosts),
        "notBefore": timestamps.render(found.not_valid_before_utc.astimezone(UTC)),
        "notAfter": timestamps.render(found.not_valid_after_utc.astimezone(UTC)),
    }
