"""Mirrors: what is published here is fresh; what is served here is there, fresh, and under certificates that hold."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from stellaops.adapters.files.export_trees import ExportTree
from stellaops.adapters.settings.load import Settings, load_mirror_host
from stellaops.adapters.settings.mirrors import MirrorHost, Side
from stellaops.adapters.settings.notify import credential_age, expiry_notice
from stellaops.bootstrap import Local
from stellaops.bundles import freshness
from stellaops.core import timestamps
from stellaops.core.errors import StellaError
from stellaops.ingest.doctor import Finding, Verdict
from stellaops.mirrors import forms
from stellaops.mirrors.domain import SIDES

_SHOWN = 10
_LAG = timedelta(minutes=15)
"""As the alert `MirrorBundleStale`."""
_PUBLISH = "Run `stella mirror publish`, on a schedule; each publication renews the freshness statements."
_SYNC = "Run `stella mirror sync`, see its timer, and whether the publisher still publishes."


def check_published(local: Local, moment: datetime) -> Finding:
    """Whether the newest freshness statement of each domain that is published here still holds."""
    wrong, count = list[str](), 0
    for domain in local.mirror_domains.every():
        for side in SIDES:
            if not domain.has(side):
                continue
            count += 1
            signed = local.statements.newest(domain.tenant, forms.freshness_profile(side, domain.id))
            if signed is None:
                wrong.append(f"{side}/{domain.id} was never published")
            elif (ended := freshness.parse(signed.statement).expires) <= moment:
                wrong.append(f"{side}/{domain.id} expired {timestamps.render(ended)}")
    if wrong:
        return Finding("mirrors", Verdict.WARNING, "; ".join(wrong[:_SHOWN]), _PUBLISH)
    return Finding("mirrors", Verdict.OK, f"{count} sides of domains are published and fresh")


def is_host() -> bool:
    """Whether this machine serves mirrors, by its settings."""
    try:
        return _serves(load_mirror_host())
    except StellaError:
        return True  # somebody meant it to; what is wrong is told by `check_host`


def _serves(host: MirrorHost) -> bool:
    return any(side.root is not None or side.upstream is not None for side in host.sides.values())


def check_host(moment: datetime, settings: Settings) -> Iterator[Finding]:
    """What a mirror host on this machine serves; nothing where it serves none."""
    host = load_mirror_host()
    if not _serves(host):
        return
    yield check_trees(host, moment)
    yield check_syncs(host, moment)
    yield check_users(host, moment, credential_age(settings))
    chains = [(each.id, each.tls_certificate_file) for each in host.domains.values()]
    yield check_certificates([(name, path) for name, path in chains if path], moment, expiry_notice(settings))


def check_trees(host: MirrorHost, moment: datetime) -> Finding:
    """Whether each side that has a root has an export in force, and its domains are fresh."""
    wrong = [
        problem
        for side in host.sides.values()
        if side.enabled and side.root is not None
        for problem in _problems(side, side.root, host, moment)
    ]
    if wrong:
        return Finding("mirror trees", Verdict.FAILED, "; ".join(wrong[:_SHOWN]), _SYNC)
    return Finding("mirror trees", Verdict.OK, "each has an export in force, and its statements hold")


def _problems(side: Side, root: Path, host: MirrorHost, moment: datetime) -> Iterator[str]:
    tree = ExportTree(root, side.active)
    if tree.active_export(time.monotonic()) is None:
        yield f"{side.name}: {root} holds no export that `latest` names"
        return
    for domain in host.domains:
        told = tree.freshness(domain)
        ended = timestamps.parse(str(told["expires"])) if told and "expires" in told else None
        if ended is not None and ended <= moment:
            yield f"{side.name}/{domain} expired {timestamps.render(ended)}"


def check_syncs(host: MirrorHost, moment: datetime) -> Finding:
    """Whether each domain was synced a moment ago, on sides that a sync fills."""
    late, gone, synced = list[str](), list[str](), 0
    for side in host.sides.values():
        if not side.enabled or side.root is None:
            continue
        state = ExportTree(side.root, side.active).syncs(time.monotonic())
        for domain in host.domains if state.is_synced else ():
            at = state.synced.get(domain)
            if at is None and domain in state.given_up:
                gone.append(f"{side.name}/{domain}")
                continue
            synced += 1
            if at is None:
                late.append(f"{side.name}/{domain} never")
            elif moment - at > _LAG:
                late.append(f"{side.name}/{domain} {timestamps.render(at.replace(microsecond=0))}")
    if late:
        return Finding("mirror syncs", Verdict.WARNING, f"last synced: {', '.join(late[:_SHOWN])}", _SYNC)
    told = f"{synced} sides of domains are filled by syncs, none too long ago"
    if gone:
        told += f"; still set up here, and given up by their publisher: {', '.join(gone[:_SHOWN])}"
    return Finding("mirror syncs", Verdict.OK, told)


def check_users(host: MirrorHost, moment: datetime, most: timedelta | None) -> Finding:
    """Whether users' files are there and were changed within the time that credentials may live."""
    missing, old = list[str](), list[str]()
    for domain in host.domains.values():
        path = domain.htpasswd_file
        if path is None:
            continue
        try:
            changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        except OSError as error:
            missing.append(f"{domain.id}: {path}: {error.strerror}")
        else:
            old += (
                [f"{domain.id} ({(moment - changed).days} days)"] if most and moment - changed >= most else []
            )
    if missing:
        hint = "Put the file there, as `htpasswd -B` writes it; until then nobody is let in."
        return Finding("mirror users", Verdict.FAILED, "; ".join(missing[:_SHOWN]), hint)
    if old:
        hint = "Exchange the passwords of each domain, and tell its users; a reload is not needed."
        return Finding("mirror users", Verdict.WARNING, f"not exchanged: {', '.join(old[:_SHOWN])}", hint)
    return Finding("mirror users", Verdict.OK, "no password file is missing or too old")


def check_certificates(chains: Sequence[tuple[str, Path]], moment: datetime, notice: timedelta) -> Finding:
    """Whether certificates hold, and for how long.

    Args:
        chains: domain and PEM file; the certificate is the first in it.
        notice: how long before its end one is pointed out.
    """
    wrong, soon = list[str](), list[str]()
    for name, path in chains:
        try:
            found = x509.load_pem_x509_certificate(path.read_bytes())
        except (OSError, ValueError) as error:
            wrong.append(f"{name}: {path}: {getattr(error, 'strerror', None) or 'no PEM certificate'}")
            continue
        if not found.not_valid_before_utc <= moment < found.not_valid_after_utc:
            wrong.append(
                f"{name}: valid {found.not_valid_before_utc:%Y-%m-%d} to {found.not_valid_after_utc:%Y-%m-%d}"
            )
        elif found.not_valid_after_utc - moment < notice:
            soon.append(f"{name} ends {found.not_valid_after_utc:%Y-%m-%d}")
    if wrong:
        hint = "Reissue it, put certificate and key in their places, and reload the gateway (SIGHUP)."
        return Finding("certificates", Verdict.FAILED, "; ".join(wrong[:_SHOWN]), hint)
    if soon:
        hint = "Reissue them; a reload takes new files without an interruption."
        return Finding("certificates", Verdict.WARNING, "; ".join(soon[:_SHOWN]), hint)
    return Finding("certificates", Verdict.OK, f"{len(chains)} hold")
