"""All checks of a deployment, service by service; each finding says what to do."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath

from stellaops.adapters.settings.load import describe, load
from stellaops.adapters.settings.mirrors import MirrorHost, read_mirror_host
from stellaops.core.errors import StellaError
from stellaops.deployment import files, proxies, trees
from stellaops.deployment.services import Service, option
from stellaops.ingest.doctor import Finding, Verdict
from stellaops.kit.key_files import public_keys
from stellaops.mirrors.sync import Trusted

OK, WARNING, FAILED = Verdict.OK, Verdict.WARNING, Verdict.FAILED

_DIGEST = re.compile(r".+@sha256:[0-9a-f]{64}")
_NOT_SETTINGS = frozenset({"STELLA_CONFIG"})
_SECRETS = PurePosixPath("/run/secrets")


def validate(
    services: Sequence[Service], keys: Sequence[Path], now: datetime, *, quick: bool = False
) -> Iterator[Finding]:
    """Every finding, those where all is well too.

    Args:
        keys: public keys that sign trees; else those that the sync trusts.
        quick: of trees only sizes, not digests.

    Raises:
        UnusableKey, KeyFileMissing: one of `keys` cannot be used.
    """
    yield from check_images(services)
    publishes = any("publish" in each.command for each in services)
    judges = trees.Judges(_trusted(services, keys), now, quick=quick, may_be_absent=publishes)
    for service in services:
        if service.is_ours:
            yield from _check_service(service, judges)
    yield from check_agreement(services)
    yield from proxies.check_proxies(services, now)
    for service in services:
        yield from check_mounts(service)


def merged(findings: Iterable[Finding]) -> list[Finding]:
    """The same with one finding for all services of which the same is true."""
    found: dict[tuple[str, ...], list[str]] = {}
    for each in findings:
        service, _, what = each.name.partition(": ")
        users = found.setdefault((what, each.verdict.value, each.detail, each.hint), [])
        if service not in users:
            users.append(service)
    return [
        Finding(": ".join(filter(None, (", ".join(users), what))), Verdict(verdict), detail, hint)
        for (what, verdict, detail, hint), users in found.items()
    ]


def check_images(services: Iterable[Service]) -> Iterator[Finding]:
    """Images are named with digests."""
    images: dict[str, list[str]] = {}
    for service in services:
        if service.image is not None:
            images.setdefault(service.image, []).append(service.name)
    for image, users in sorted(images.items()):
        name = f"{', '.join(users)}: image"
        if _DIGEST.fullmatch(image):
            yield Finding(name, OK, image)
        else:
            hint = "Put it into the environment file, and run deploy/tools/pin-images.sh on that."
            yield Finding(name, FAILED, f"{image or 'none'} has no digest", hint)


def _check_service(service: Service, judges: trees.Judges) -> Iterator[Finding]:
    host, findings = _settings(service)
    yield from findings
    yield from files.check_secrets(service)
    if host is None or not _serves_mirrors(service):
        return
    yield from check_quotas(service, host)
    yield from files.check_users(service, host, judges.now)
    yield from files.check_certificates(service, host, judges.now)
    for side in host.sides.values():
        mine = side.enabled and side.upstream is None and _has_part(service, side.name)
        if mine and side.root is not None:
            yield from trees.check_tree(service.name, side, judges)
        elif mine:
            text = f"Mirror export root is not configured: set {side.name.upper()}__MIRROR__EXPORTROOT"
            yield Finding(
                f"{service.name} {side.name}: tree", FAILED, text, "Name the directory of the trees."
            )


def _settings(service: Service) -> tuple[MirrorHost | None, list[Finding]]:
    """What the settings say of mirrors, and what is wrong with all of them."""
    name, environment = f"{service.name}: settings", service.translated()
    problems = list(_unknown(environment))
    host = None
    try:
        load({}, environment)
    except StellaError as error:
        problems += error.details or [error.what]
    try:
        host = read_mirror_host({}, environment)
    except StellaError as error:
        problems += error.details or [error.what]
    if problems:
        hint = "Correct the variables; docs/reference/settings.md lists every name."
        return host, [Finding(name, FAILED, str(problem), hint) for problem in problems]
    return host, [Finding(name, OK, f"{len(environment)} variables")]


def _unknown(environment: Mapping[str, str]) -> Iterator[str]:
    known = {variable for _, variable, _ in describe()} | _NOT_SETTINGS
    for name in sorted(environment):
        if name.startswith(("STELLA_", "EXPORTCENTER__")) and name not in known:
            near = difflib.get_close_matches(name, known, 1)
            yield f"{name}: not a setting{f' (is {near[0]} meant?)' if near else ''}"


def check_quotas(service: Service, host: MirrorHost) -> Iterator[Finding]:
    """Budgets of the sides that a service serves."""
    name = f"{service.name}: quotas"
    free, told = [], []
    for side in host.sides.values():
        if not side.enabled or not _has_part(service, side.name):
            continue
        if not side.indexes_per_hour:  # what is asked for under a host name of no domain
            free.append(f"{side.name.upper()}__MIRROR__MAXINDEXREQUESTSPERHOUR")
        for domain in side.domains:
            most = side.rules(domain).downloads_per_hour
            told.append(f"{side.name} {domain} {most}")
            if not most:
                free.append(f"{side.name} {domain}: MAXDOWNLOADREQUESTSPERHOUR")
            if side.indexes_per_hour and not side.rules(domain).indexes_per_hour:
                free.append(f"{side.name} {domain}: MAXINDEXREQUESTSPERHOUR")
    if not host.domains:
        hint = (
            "Set CONCELIER__MIRROR__DOMAINS__0__ID and so on; `stella mirror domains settings` prints them."
        )
        yield Finding(name, FAILED, "no domain is configured", hint)
    elif free:
        yield Finding(
            name, WARNING, f"without a limit: {', '.join(free)}", "Set them, and align the CDN's limits."
        )
    else:
        yield Finding(name, OK, f"downloads an hour: {', '.join(told)}")


def check_agreement(services: Iterable[Service]) -> Iterator[Finding]:
    """A gateway and the back ends behind it know the same domains, with the same rules."""
    hosts = {each.name: _settings(each)[0] for each in services if each.is_ours and _serves_mirrors(each)}
    for gateway, found in hosts.items():
        if found is None:
            continue
        for side in found.sides.values():
            behind = hosts.get((side.upstream or "").partition("://")[2].partition(":")[0])
            if side.upstream is None or behind is None:
                continue
            theirs = behind.sides[side.name]
            if theirs.domains != side.domains or theirs.require_authentication != side.require_authentication:
                hint = "Give gateway and back end the same file of variables."
                text = f"{gateway} and its back end have other rules of {side.name}'s domains"
                yield Finding(f"{gateway}: domains", FAILED, text, hint)


def check_mounts(service: Service) -> Iterator[Finding]:
    """Places of this machine that a service gets: there, readable, and writeable where it writes."""
    for mount in service.mounts:
        place = mount.source
        if place is None or (service.is_ours and mount.target.parent == _SECRETS):
            continue  # secrets of ours are judged by what names them
        name, owner = f"{service.name}: {mount.target}", service.owner
        user = owner.uid if owner else os.geteuid()
        if not place.exists():
            hint = (
                f"Make it: `install -d -o {user} -g {user} {place}`; files by deploy/tools/make-secrets.sh."
            )
            yield Finding(name, FAILED, f"{place} is not there", hint)
        elif place.is_file():
            problem = files.unreadable(service, place)
            hint = (
                f"Give it to the service's group, as deploy/tools/make-secrets.sh does: `chmod 0640 {place}`."
            )
            yield Finding(name, FAILED, problem, hint) if problem else Finding(name, OK, str(place))
        elif owner is not None and not owner.may(place.stat(), 5 if mount.read_only else 7):
            verb = "entered" if mount.read_only else "written"
            hint = f"Give it to that user: `chown {user} {place}`, or to its group."
            yield Finding(name, FAILED, f"{place} cannot be {verb} by user {user}", hint)
        else:
            yield Finding(name, OK, str(place))


def _trusted(services: Iterable[Service], keys: Sequence[Path]) -> Trusted | None:
    found = list(keys)
    for service in services:
        if "sync" in service.command and not keys:
            places = (service.here(path) for path in option(service.command, "--key"))
            found += [place for place in places if place is not None and place.is_file()]
    pems = [pem for key in found for pem in public_keys(key)]
    return Trusted.of(pems, ()) if pems else None


def _serves_mirrors(service: Service) -> bool:
    if service.image is None:
        return any("__MIRROR__" in name for name in service.environment)
    return any(_has_part(service, part) for part in ("gateway", "concelier", "excititor"))


def _has_part(service: Service, part: str) -> bool:
    """Whether a service is, or holds, one part; a gateway holds both sides, a plain host all of them."""
    return service.image is None or (
        "serve" in service.command and not {part, "gateway"}.isdisjoint(service.command)
    )
