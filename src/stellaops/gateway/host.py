"""What a mirror host serves and to whom, loaded anew when settings, users or certificates change."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec

from stellaops.adapters.files import htpasswd
from stellaops.adapters.files.export_trees import ExportTree, StoredFiles
from stellaops.adapters.files.htpasswd import Credential
from stellaops.adapters.settings.mirrors import Domain, MirrorHost
from stellaops.adapters.web.back_ends import BackEnd
from stellaops.core import timestamps
from stellaops.core.egress import Network
from stellaops.core.errors import StellaError
from stellaops.gateway.budgets import Budgets, BudgetStore
from stellaops.gateway.doorman import Doorman, Tokens
from stellaops.gateway.metering import CONTENT_TYPE, AccessLog, Meter, label_text
from stellaops.gateway.proxy_log import ProxyLog
from stellaops.gateway.requests import Request
from stellaops.gateway.routes import Budget, Kind, Wish
from stellaops.gateway.shelves import Shelves
from stellaops.gateway.traces import trace_of
from stellaops.mirrors import sync_state

_LOG = logging.getLogger("stellaops.gateway")
_TEND_SECONDS = 1.0
_REMIND_SECONDS = 60.0
_ROOTS = {
    "concelier": "Mirror export root is not configured: set CONCELIER__MIRROR__EXPORTROOT",
    "excititor": "Mirror export root is not configured: set EXCITITOR__ARTIFACTS__FILESYSTEM__ROOT",
}
_KINDS = {"concelier": ("mirror", "oci", "osv"), "excititor": ("mirror", "vex")}


@dataclass(frozen=True, slots=True)
class Parts:
    """What a host works with.

    Attributes:
        load: reads the settings; called again when a file has changed.
        sides: which it serves.
        store: budgets and counts, shared with other processes.
        tokens: checks access tokens, None where no authority is configured.
        log: descriptor of the access log; -1 for none.
        settings_file: looked at for changes.
    """

    load: Callable[[], MirrorHost]
    sides: tuple[str, ...]
    store: BudgetStore
    tokens: Tokens | None = None
    log: int = 1
    settings_file: Path | None = None


class Host:
    """Everything that requests are answered from.

    Raises:
        StellaError: the settings, or a file that they name, cannot be used; when it is made. Later the last ones that
            could be used stay.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._begun = _now()
        self.version = 0
        self._settings = parts.load()
        self._files = StoredFiles()
        self._back_ends: dict[str, BackEnd] = {}
        users = _users(self._settings)
        self._take(self._settings, users)
        self.doorman = Doorman(self._settings.domains, users, parts.tokens, _now)
        self.budgets = Budgets(parts.store)
        self._meter, self._log = Meter(parts.store), AccessLog(parts.log)
        self._seen = self._states()
        self._reminded = float("-inf")
        self._tending: asyncio.Task[None] | None = None
        self.on_reload: Callable[[MirrorHost], None] = lambda settings: None

    # What it is

    @property
    def settings(self) -> MirrorHost:
        """The settings as they were last read."""
        return self._settings

    @property
    def domains(self) -> Mapping[str, Domain]:
        """Every domain, by id."""
        return self._settings.domains

    @property
    def trusted_proxies(self) -> Sequence[Network]:
        """Whose word about addresses counts."""
        return self._settings.trusted_proxies

    @property
    def metrics_from(self) -> Sequence[Network]:
        """Who may read metrics."""
        return self._settings.metrics_from

    @property
    def keyed_cache(self) -> bool:
        """Whether the cache in front keeps answers apart by their Authorization."""
        return self._settings.keyed_cache

    @property
    def public_base_url(self) -> str | None:
        """Where clients find this host."""
        return self._settings.public_base_url

    @property
    def takes_tokens(self) -> bool:
        """Whether access tokens open anything."""
        return self._parts.tokens is not None

    def domain_of(self, host: str) -> str | None:
        """The domain that a host name stands for."""
        return self._by_host.get(host)

    def only_domain(self, kind: Kind) -> str | None:
        """The domain of paths that name none, where there is just one."""
        if kind in (Kind.KEY, Kind.VEX_MANIFEST) and len(self.domains) == 1:
            return next(iter(self.domains))
        return None

    def is_closed(self, side: str, domain: str) -> bool:
        """Whether a domain asks for credentials; without a side, whether either does. Unknown ones do."""
        if domain not in self.domains:
            return True
        sides = [side] if side else self.sides
        return any(self._settings.sides[each].rules(domain).require_authentication for each in sides)

    def asks_anybody(self) -> bool:
        """Whether any domain asks for credentials."""
        return any(self.is_closed("", each) for each in self.domains)

    def limit(self, wish: Wish, domain: str | None) -> int:
        """The hourly budget that a wish is counted in; 0 for none."""
        side = self._settings.sides.get(wish.side)
        if side is None or wish.budget is Budget.FREE:
            return 0
        if wish.budget is Budget.INDEX:
            return side.rules(domain).indexes_per_hour if domain else side.indexes_per_hour
        return side.rules(domain).downloads_per_hour if domain else 0

    # What happens

    def begin(self) -> None:
        """Begin to tend budgets, counts, logs and changed files."""
        self._tending = asyncio.get_running_loop().create_task(self._tend())

    async def end(self) -> None:
        """Bring everything to where it belongs."""
        if self._tending is not None:
            self._tending.cancel()
            with suppress(asyncio.CancelledError):
                await self._tending
        await self.budgets.close()
        await asyncio.to_thread(self._meter.flush)
        self._log.flush()
        self.doorman.close()
        for each in self._back_ends.values():
            each.close()

    def note(self, request: Request, seconds: float) -> None:
        """A request was answered: count it and log it."""
        if self._is_told_by_proxy(request):
            return
        if request.kind != "other" or request.status >= 400:
            self._meter.request((request.domain, request.kind, request.status, request.cache))
        headers = request.headers
        trace = trace_of(request) if request.traceparent or b"traceparent" in headers else ""
        self._log.write(
            {
                "remote": request.address,
                "method": request.method,
                "host": request.host_and_port,
                "path": request.path.decode("latin-1"),
                "status": request.status,
                "bytes": request.bytes,
                "durationMs": round(seconds * 1000, 3),
                "domain": request.domain,
                "class": request.kind,
                "credential": request.caller,
                "cacheStatus": request.cache,
                "userAgent": headers.get(b"user-agent", b"")[:256].decode("latin-1"),
                **({"traceId": trace} if trace else {}),
            }
        )

    def rejected(self, request: Request, domain: str) -> None:
        """A request was over its budget."""
        if not self._is_told_by_proxy(request):
            self._meter.rejection(domain)

    @property
    def follows_log(self) -> bool:
        """Whether requests are counted from the log of a proxy."""
        return self._proxy_log is not None

    def _is_told_by_proxy(self, request: Request) -> bool:
        """Whether the log of a proxy tells of a request, and better: it knows what its client got."""
        return request.is_of_proxy and self.follows_log

    def failed(self, error: Exception) -> None:
        """A request could not be answered."""
        _LOG.error("a request could not be answered: %s", error, extra={"event": "mirror.failed"})

    async def reload(self) -> bool:
        """Read the settings and the files that they name again.

        Returns:
            whether they could be used; else everything stays as it was, and the log says why.
        """
        try:
            settings, users = await asyncio.to_thread(self._read_again)
        except (StellaError, OSError) as error:
            code = error.code if isinstance(error, StellaError) else "ERR_INTERNAL"
            event = {"event": "mirror.reload_failed", "errorCode": code}
            _LOG.error("what was changed cannot be used, the last state stays: %s", error, extra=event)
            return False
        self._take(settings, users)
        self.doorman.reload(settings.domains, users)
        _LOG.info("settings, users and certificates were read again", extra={"event": "mirror.reloaded"})
        return True

    def _read_again(self) -> tuple[MirrorHost, dict[str, Mapping[str, Credential]]]:
        settings = self._parts.load()
        users = _users(settings)
        self.on_reload(settings)
        return settings, users

    def _take(self, settings: MirrorHost, users: Mapping[str, Mapping[str, Credential]]) -> None:
        self._settings = settings
        enabled = [settings.sides[name] for name in self._parts.sides if settings.sides[name].enabled]
        self.sides = {side.name: side for side in enabled}
        asked = {side.name: side.upstream for side in enabled if side.upstream is not None}
        near = [side for side in enabled if side.name not in asked]
        trees = {side.name: ExportTree(side.root, side.active) for side in near if side.root is not None}
        self._back_ends = self._connected(asked)
        self.shelves = Shelves(trees, self._files, self._back_ends)
        self._by_host = {host: domain.id for domain in settings.domains.values() for host in domain.hosts}
        log = settings.proxy_log
        self._proxy_log = ProxyLog(log, self._parts.store) if log is not None else None
        self.version += 1
        self.state = _state(settings, users)
        now = _now()
        for domain, entries in users.items():
            old = sorted(each.user for each in entries.values() if each.is_old(now))
            if old:
                event = {"event": "mirror.credentials_old", "domain": domain}
                _LOG.warning("older than 90 days, to be replaced: %s", ", ".join(old), extra=event)

    def _connected(self, asked: Mapping[str, str]) -> dict[str, BackEnd]:
        """Back ends at these addresses; those that are asked already keep what they know."""
        before = {side: each for side, each in self._back_ends.items() if asked.get(side) == each.url}
        for side, each in self._back_ends.items():
            if side not in before:
                each.close()
        place = self._settings.cache_dir or Path(tempfile.gettempdir())
        return {side: before.get(side) or BackEnd(url, place) for side, url in asked.items()}

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(_TEND_SECONDS)
            try:
                self._remind()
                self._log.flush()
                await self.budgets.tend()
                await asyncio.to_thread(self._meter.flush)
                if self._proxy_log is not None:
                    await asyncio.to_thread(self._proxy_log.gather, self.domains)
                states = await asyncio.to_thread(self._states)
                if states != self._seen:
                    self._seen = states
                    await self.reload()
            except Exception:  # noqa: BLE001 - this has to go on, whatever happens
                _LOG.exception("tending the host failed", extra={"event": "mirror.failed"})

    def _remind(self) -> None:
        if time.monotonic() - self._reminded < _REMIND_SECONDS:
            return
        self._reminded = time.monotonic()
        for name in self._rootless():
            _LOG.error(
                _ROOTS[name],
                extra={"event": "mirror.export_root_missing", "errorCode": "ERR_MIRROR_ROOT_MISSING"},
            )

    def _rootless(self) -> list[str]:
        return [name for name, side in self.sides.items() if side.root is None and side.upstream is None]

    def _states(self) -> dict[str, tuple[int, ...]]:
        """What the files look like that settings come from."""
        found: dict[str, tuple[int, ...]] = {}
        for path in self._watched():
            try:
                state = path.stat()
                found[str(path)] = state.st_ino, state.st_size, state.st_mtime_ns
            except OSError:
                found[str(path)] = ()
        return found

    def _watched(self) -> list[Path]:
        paths = [self._parts.settings_file] if self._parts.settings_file else []
        for domain in self.domains.values():
            files = domain.htpasswd_file, domain.tls_certificate_file, domain.tls_key_file
            paths += [each for each in files if each is not None]
        return paths

    # What it says of itself

    def about(self, path: bytes) -> tuple[int, str, bytes]:
        """Status, type and body of an answer about the host itself; may look at disks."""
        if path == b"/metrics":
            if self._proxy_log is not None:
                self._proxy_log.gather(self.domains)
            return 200, CONTENT_TYPE, self._meter.text(self.domains, self._gauges())
        if path == b"/healthz":
            return 200, "application/json", msgspec.json.encode({"status": "ok"})
        checks = self._checks()
        problems = {name: text for name, text in checks.items() if text != "ok"}
        wire = {"status": "failed" if problems else "ok", "checks": checks}
        return 503 if problems else 200, "application/json", msgspec.json.encode(wire)

    def _checks(self) -> dict[str, str]:
        checks = {}
        for name, side in self.sides.items():
            tree = self.shelves.trees.get(name)
            if side.root is None and side.upstream is None:
                checks[name] = _ROOTS[name]
            elif tree is not None and tree.active_export(time.monotonic()) is None:
                checks[name] = f"{tree.root} holds no export that `latest` names"
            else:
                checks[name] = "ok"
        checks["domains"] = (
            "ok" if self.domains else "no domain is configured: set CONCELIER__MIRROR__DOMAINS__0__ID"
        )
        for domain in self.domains.values():
            if self.is_closed("", domain.id) and domain.htpasswd_file is None and not self.takes_tokens:
                checks[f"domain {domain.id}"] = (
                    "asks for credentials, and neither htpasswd nor authority is configured"
                )
        return checks

    def _gauges(self) -> dict[str, dict[str, float]]:
        roots = {label_text(side=name): float(name not in self._rootless()) for name in self.sides}
        ages: dict[str, float] = {}
        for domain in self.domains:
            told = [tree.freshness(domain) or {} for tree in self.shelves.trees.values()]
            entry = self.shelves.index_entry(domain) or {}
            issued = [moment for each in told if (moment := _instant(each.get("issued"))) is not None]
            generated = _instant(entry.get("generatedAt"))
            if issued or generated:
                oldest = min(issued) if issued else generated
                ages[label_text(domain=domain)] = (_now() - (oldest or _now())).total_seconds()
        return {
            "mirror_export_root_configured": roots,
            "mirror_bundle_age_seconds": ages,
            "mirror_sync_lag_seconds": self._lags(),
        }

    def _lags(self) -> dict[str, float]:
        """How long ago each domain was synced, where the trees are this host's own."""
        sides = [tree.syncs(time.monotonic()) for tree in self.shelves.trees.values()]
        is_near = any(side.upstream is None for side in self.sides.values())
        domains = self.domains if is_near else ()
        return {
            label_text(domain=domain): sync_state.lag(domain, sides, _now(), self._begun)
            for domain in domains
        }

    def policy(self, domains: Sequence[str]) -> dict[str, Any]:
        """The access policy, with what somebody who may read these domains has to know."""
        schemes: list[dict[str, Any]] = [{"scheme": "Basic", "charset": "UTF-8"}]
        if self.takes_tokens:
            scopes = {"concelier": "concelier.mirror.read", "excititor": "excititor.mirror.read"}
            schemes.append({"scheme": "Bearer", "scopes": {side: scopes[side] for side in self.sides}})
        sides = {
            name: {
                "areas": list(_KINDS[name]),
                "maxIndexRequestsPerHour": side.indexes_per_hour or None,
                "domains": [
                    {
                        "id": each,
                        "displayName": self.domains[each].display_name,
                        "hosts": list(self.domains[each].hosts),
                        "requireAuthentication": self.is_closed(name, each),
                        "maxIndexRequestsPerHour": side.rules(each).indexes_per_hour or None,
                        "maxDownloadRequestsPerHour": side.rules(each).downloads_per_hour or None,
                    }
                    for each in domains
                ],
            }
            for name, side in self.sides.items()
        }
        return {
            "schemaVersion": 1,
            "authentication": schemes,
            "rateLimit": {
                "window": 3600,
                "per": "credential and domain",
                "status": 429,
                "headers": ["Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"],
                "conditionalRequestsCount": True,
                "rangeRequests": "those for one entity tag count once an hour",
            },
            "caching": {"indexSeconds": 60, "immutableSeconds": 300, "conditional": "ETag"},
            "sides": sides,
        }


def _users(settings: MirrorHost) -> dict[str, Mapping[str, Credential]]:
    """The users of each domain that has a file; one that asks nobody for credentials does without."""
    return {
        domain.id: htpasswd.read(domain.htpasswd_file)
        for domain in settings.domains.values()
        if domain.htpasswd_file is not None and (_asks(settings, domain.id) or domain.htpasswd_file.exists())
    }


def _state(settings: MirrorHost, users: Mapping[str, Mapping[str, Credential]]) -> str:
    """By what is decided, as a digest: the same in every process that has read the same settings and users."""
    told = [
        (domain, user, each.hash, each.expires)
        for domain, entries in sorted(users.items())
        for user, each in sorted(entries.items())
    ]
    return blake2b(repr((settings, told)).encode(), digest_size=12).hexdigest()


def _asks(settings: MirrorHost, domain: str) -> bool:
    return any(side.rules(domain).require_authentication for side in settings.sides.values())


def _instant(value: object) -> datetime | None:
    return timestamps.parse(value) if isinstance(value, str) else None


def _now() -> datetime:
    return datetime.now(UTC)
