"""How the mirrors of a tenant stand, as far as this machine knows: what is published, who may read it, until when.

The publisher and the host of a mirror may be two machines: credentials and certificates are told where the settings of
this one name their files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509

from stellaops.adapters.files import htpasswd
from stellaops.adapters.settings import mirrors as settings
from stellaops.adapters.settings.load import load_mirror_host
from stellaops.adapters.sql.address import parse_address
from stellaops.adapters.sql.gateway_store import SqlGatewayStore
from stellaops.bootstrap import Local, now
from stellaops.center.wire import Wire
from stellaops.core import timestamps
from stellaops.core.errors import StellaError
from stellaops.mirrors import sync_state
from stellaops.mirrors.domain import Domain
from stellaops.mirrors.ports import Root
from stellaops.mirrors.status import Standing, standings


@dataclass(frozen=True, slots=True)
class _Served:
    """What this machine serves itself, and what its readers have asked for in this hour.

    Attributes:
        used: requests by the name of their budget; None where no budget is kept here.
    """

    host: settings.MirrorHost | None
    used: Mapping[str, int] | None


def mirror_overview(local: Local, tenant: str) -> list[Wire]:
    """Every domain of a tenant with its sides, credentials, used budgets and certificate."""
    host, moment = _host(), now()
    served = _Served(host, _used(local.data_dir, host, moment))
    found = _newest(
        each for place in _places(local, host) for each in standings(tenant, place, local.publish_tools)
    )
    return [
        _domain(each, [one for one in found if one.domain.id == each.id], served, moment)
        for each in local.mirror_domains.every()
        if each.tenant == tenant
    ]


def _used(data_dir: Path, host: settings.MirrorHost | None, moment: datetime) -> Mapping[str, int] | None:
    """What a gateway on this machine, or one that shares its store, has counted since the hour began."""
    place = data_dir / "gateway" / "state.db"
    if host is None or (host.state is None and not place.exists()):
        return None
    try:
        store = SqlGatewayStore(parse_address(host.state or str(place), host.state_password_file))
    except (StellaError, OSError):
        return None
    try:
        return store.used(int(moment.timestamp()) // 3600)
    except StellaError:
        return None
    finally:
        store.close()


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


def _domain(domain: Domain, sides: Sequence[Standing], served: _Served, moment: datetime) -> Wire:
    document = domain.document
    own = served.host.domains.get(domain.id) if served.host else None
    return {
        "id": domain.id,
        "displayName": domain.display_name,
        "requireAuthentication": document.require_authentication,
        "maxIndexRequestsPerHour": document.quotas.max_index_requests_per_hour,
        "maxDownloadRequestsPerHour": document.quotas.max_download_requests_per_hour,
        "used": _budgets(domain.id, served.used),
        "sides": [_side(each, served.host, moment) for each in sides],
        "credentials": _credentials(own, moment),
        "certificate": _certificate(own),
    }


def _budgets(domain: str, used: Mapping[str, int] | None) -> list[dict[str, Any]] | None:
    """Of each reader, how much of which budget; the blocks that gateways hold count whole."""
    if used is None:
        return None
    parts = [(*name.split("/", 2), number) for name, number in sorted(used.items()) if name.count("/") >= 2]
    return [
        {"budget": budget, "reader": reader, "requests": number}
        for budget, of, reader, number in parts
        if of == domain
    ]


def _side(each: Standing, host: settings.MirrorHost | None, moment: datetime) -> dict[str, Any]:
    publication, statement = each.publication, each.statement
    return {
        "side": each.side,
        "exportId": publication.export_id if publication else None,
        "sequence": publication.sequence if publication else None,
        "publishedAt": timestamps.render(publication.published_at) if publication else None,
        "syncedAt": _synced(each, host),
        "behind": each.behind,
        "lagSeconds": each.lag(moment),
        "expires": timestamps.render(statement.expires) if statement else None,
    }


def _synced(each: Standing, host: settings.MirrorHost | None) -> str | None:
    """When the tree that this machine serves was synced last; None where it is published here, or served elsewhere."""
    root = host.sides[each.side].root if host is not None and each.side in host.sides else None
    if root is None:
        return None
    try:
        content = (root / sync_state.FOLDER / f"{each.domain.id}{sync_state.SUFFIX}").read_bytes()
    except OSError:
        return None
    state = sync_state.decode(content)
    return timestamps.render(state.synced_at) if state else None


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
