"""Settings of a mirror host: `Concelier:`, `Excititor:` and `Gateway:` of the settings file, `CONCELIER__…` and so on.

A host that only serves mirrors reads these and no others. Names in the file are in PascalCase and in the environment
in capitals, parts joined by two underscores, places in a list by their number; case does not matter in either. The
environment goes before the file, name by name; an empty variable takes away what the file says.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from stellaops.core.egress import Network
from stellaops.core.errors import InvalidInput

SECTIONS = ("concelier", "excititor", "gateway")
SIDES = ("concelier", "excititor")
DOMAIN_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_OURS = re.compile(r"(concelier|excititor)\.(mirror|artifacts|authority)(\.|$)|gateway\.")
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")
_MOST = 10**9

T = TypeVar("T")

_DOMAIN = {
    "id": "name of the domain, as in the tree",
    "displayname": "what people call it",
    "tenant": "tenant whose access tokens may read it; else `default`",
    "requireauthentication": "`false` opens it to everybody; else as the mirror's",
    "maxindexrequestsperhour": "requests of one credential for its indexes in an hour; 0: no limit; else the mirror's",
    "maxdownloadrequestsperhour": "downloads of one credential in an hour; 0 for no limit",
}
_SIDE = {
    "mirror.enabled": "`false` serves nothing of this side",
    "mirror.exportroot": "directory with `latest` and a directory for each export",
    "mirror.activeexportid": "export that is served under the stable names instead of `latest`",
    "mirror.requireauthentication": "`false` opens domains that say nothing else; else `true`",
    "mirror.maxindexrequestsperhour": "requests for indexes of one credential in an hour; 0 for no limit",
    **{f"mirror.domains.N.{name}": text for name, text in _DOMAIN.items()},
}
_AUTHORITY = {
    "authority.url": "address of the server whose access tokens are taken",
    "authority.issuer": "`iss` of its tokens; else `stellaops`",
    "authority.audience": "`aud` of its tokens; else `stellaops`",
    "authority.cafile": "PEM certificates to trust beside the system's",
    "authority.clientid": "client of its own, by which it asks the server whether tokens still hold",
    "authority.clientsecretfile": "file with the client's secret, read at each login",
}
_GATEWAY = {
    "publicbaseurl": "address that clients see, for links in answers; else that of the request",
    "sharedcache": "`keyed` where the cache in front keeps answers apart by Authorization",
    "trustedproxies": "networks whose X-Forwarded-For is believed; a list",
    "metricsfrom": "networks that may read `/metrics`; a list; else this machine",
    "statefile": "SQLite file or `postgresql://…` of budgets and counts, shared by all processes",
    "statepasswordfile": "file with the password of the PostgreSQL role",
    "proxylog": "access log of the nginx in front, as our configuration writes it: requests are counted from it",
    "secretsdir": "directory with `mirror-<domain>.htpasswd`",
    "tlsdir": "directory with `mirror-<domain>.crt` and `.key`",
    "concelier.url": "address of Concelier's back end; else its tree is read here",
    "excititor.url": "address of Excititor's back end; else its tree is read here",
    "cachedir": "directory for what was fetched from back ends",
    "domains.N.id": "name of the domain",
    "domains.N.hosts": "host names that stand for it; a list",
    "domains.N.htpasswdfile": "bcrypt htpasswd file of its users",
    "domains.N.tlscertificatefile": "PEM certificate for its host names, with those above it",
    "domains.N.tlskeyfile": "PEM key of the certificate",
    **_AUTHORITY,
}
_KNOWN: dict[str, str] = {
    **{f"concelier.{name}": text for name, text in (_SIDE | _AUTHORITY).items()},
    **{f"excititor.{name}": text for name, text in (_SIDE | _AUTHORITY).items()},
    "excititor.artifacts.filesystem.root": "the same as `Excititor: Mirror: ExportRoot`",
    **{f"gateway.{name}": text for name, text in _GATEWAY.items()},
}


class InvalidMirrorSettings(InvalidInput):
    """The settings of a mirror host cannot be used; all that is wrong is listed."""

    code = "ERR_MIRROR_SETTINGS"
    hint = "Correct what is listed, in the settings file or in the environment."


@dataclass(frozen=True, slots=True)
class DomainRules:
    """What one side says of a domain.

    Attributes:
        downloads_per_hour: of one credential; 0 for no limit.
        indexes_per_hour: the same for indexes.
    """

    require_authentication: bool = True
    downloads_per_hour: int = 0
    indexes_per_hour: int = 0


@dataclass(frozen=True, slots=True)
class Side:
    """One side's tree and rules.

    Attributes:
        root: where its exports are; None where none is configured.
        upstream: address of its back end, which is asked instead.
        indexes_per_hour: of one credential, for domains without rules of their own and for what is of no domain; 0
            for no limit.
        require_authentication: for domains without rules of their own.
        domains: rules by domain.
    """

    name: str
    enabled: bool = True
    require_authentication: bool = True
    root: Path | None = None
    active: str | None = None
    upstream: str | None = None
    indexes_per_hour: int = 0
    domains: Mapping[str, DomainRules] = field(default_factory=dict)

    def rules(self, domain: str) -> DomainRules:
        """The rules of a domain."""
        own = self.domains.get(domain)
        return own or DomainRules(self.require_authentication, indexes_per_hour=self.indexes_per_hour)


@dataclass(frozen=True, slots=True)
class Domain:
    """One audience, as the host knows it.

    Attributes:
        hosts: names that stand for it, lower case, without port.
    """

    id: str
    display_name: str
    tenant: str = "default"
    hosts: tuple[str, ...] = ()
    htpasswd_file: Path | None = None
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None


@dataclass(frozen=True, slots=True)
class AuthoritySettings:
    """Whose access tokens are taken.

    Attributes:
        client_id, client_secret_file: as whom the host asks whether a token still holds; None where it does not ask.
    """

    url: str
    issuer: str = "stellaops"
    audience: str = "stellaops"
    ca_file: Path | None = None
    client_id: str | None = None
    client_secret_file: Path | None = None


@dataclass(frozen=True, slots=True)
class MirrorHost:
    """Everything that a mirror host is told.

    Attributes:
        authorities: whose access tokens are taken, by section.
        tls_dir: where certificates were to be looked for; None where nobody said so.
        unknown: names in sections of ours that mean something to other programs, if anything.
    """

    sides: Mapping[str, Side]
    domains: Mapping[str, Domain]
    authorities: Mapping[str, AuthoritySettings] = field(default_factory=dict)
    public_base_url: str | None = None
    keyed_cache: bool = False
    trusted_proxies: tuple[Network, ...] = ()
    metrics_from: tuple[Network, ...] = ()
    state: str | None = None
    state_password_file: Path | None = None
    cache_dir: Path | None = None
    proxy_log: Path | None = None
    tls_dir: Path | None = None
    unknown: tuple[str, ...] = ()

    @property
    def has_trees(self) -> bool:
        """Whether any side has something to serve."""
        return any(side.enabled and (side.root or side.upstream) for side in self.sides.values())

    def is_closed(self, domain: str) -> bool:
        """Whether a domain asks for credentials, on any side that is served."""
        return any(side.enabled and side.rules(domain).require_authentication for side in self.sides.values())

    def authority(self, part: str) -> AuthoritySettings | None:
        """Whose access tokens a part takes: those of its own section, else of the first that names any."""
        order = (part, "gateway", *SIDES)
        return next((self.authorities[each] for each in order if each in self.authorities), None)


def describe_mirror_host() -> list[tuple[str, str]]:
    """Name, as in the environment, and meaning of every setting; `N` is a place in a list."""
    return [(name.replace(".", "__").upper(), text) for name, text in _KNOWN.items()]


def read_mirror_host(wire: Mapping[Any, Any], environment: Mapping[str, str]) -> MirrorHost:
    """The settings of a mirror host.

    Args:
        wire: the settings file; sections of others are not looked at.

    Raises:
        InvalidMirrorSettings: with everything that is wrong.
    """
    told = {name: value for section, value in wire.items() if str(section).lower() in SECTIONS
            for name, value in _flat(str(section).lower(), value)}  # fmt: skip
    file_problems = _unknown(told)
    for variable, value in environment.items():
        name = variable.lower().replace("__", ".")
        if "__" in variable and name.split(".")[0] in SECTIONS:
            told.pop(name, None)
            if value:
                told[name] = value
    reader = _Reader(told)
    host = reader.host()
    ours, others = _parted(_unknown(told), file_problems)
    problems = [*ours, *reader.problems]
    if problems:
        raise InvalidMirrorSettings("; ".join(problems), details=problems)
    return _with_unknown(host, others)


def _with_unknown(host: MirrorHost, names: tuple[str, ...]) -> MirrorHost:
    values = {name: getattr(host, name) for name in MirrorHost.__dataclass_fields__}
    return MirrorHost(**{**values, "unknown": names})


def _flat(prefix: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(f"{prefix}.{str(name).lower()}", inner)
    elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
        for place, inner in enumerate(value):
            yield from _flat(f"{prefix}.{place}", inner)
    elif isinstance(value, list):
        yield prefix, ",".join(str(each) for each in value)
    elif value is not None:
        yield prefix, str(value).lower() if isinstance(value, bool) else str(value)


def _general(name: str) -> str:
    return re.sub(r"\.(\d+)(?=\.|$)", ".N", name)


def _unknown(told: Mapping[str, object]) -> dict[str, str]:
    """What is wrong with names that mean nothing here."""
    found = {}
    for name in told:
        general = _general(name)
        if general in _KNOWN or (general.endswith(".N") and general[:-2] in _KNOWN):
            continue
        near = difflib.get_close_matches(general, _KNOWN, 1)
        meant = f" (is {near[0].replace('.', '__').upper()} meant?)" if near else ""
        found[name] = f"{name.replace('.', '__').upper()}: not a setting{meant}"
    return found


def _parted(unknown: Mapping[str, str], in_file: Mapping[str, str]) -> tuple[list[str], tuple[str, ...]]:
    """Problems, and names that are let be: variables of sections that other programs may read."""
    problems = [text for name, text in unknown.items() if name in in_file or _OURS.match(name)]
    return problems, tuple(name for name in unknown if name not in in_file and not _OURS.match(name))


class _Reader:
    """Reads values by name, and gathers what is wrong with them."""

    def __init__(self, told: Mapping[str, object]) -> None:
        self._told = {name: str(value).strip() for name, value in told.items()}
        self.problems: list[str] = []

    def host(self) -> MirrorHost:
        domains = self._domains()
        return MirrorHost(
            {name: self._side(name) for name in SIDES},
            domains,
            self._authorities(),
            self._url("gateway.publicbaseurl"),
            self._word("gateway.sharedcache", ("", "none", "keyed")) == "keyed",
            self._networks("gateway.trustedproxies", ""),
            self._networks("gateway.metricsfrom", "127.0.0.0/8,::1/128"),
            self._told.get("gateway.statefile"),
            self._path("gateway.statepasswordfile"),
            self._path("gateway.cachedir"),
            self._path("gateway.proxylog"),
            self._path("gateway.tlsdir"),
        )

    def _side(self, name: str) -> Side:
        here = f"{name}.mirror"
        required = self._switch(f"{here}.requireauthentication", default=True)
        indexes = self._count(f"{here}.maxindexrequestsperhour")
        rules = {}
        for place in self._places(f"{here}.domains"):
            if (found := self._told.get(f"{place}.id")) is not None:
                rules[found] = DomainRules(
                    self._switch(f"{place}.requireauthentication", default=required),
                    self._count(f"{place}.maxdownloadrequestsperhour"),
                    self._count(f"{place}.maxindexrequestsperhour", indexes),
                )
        root = self._path(f"{here}.exportroot")
        if name == "excititor" and root is None:
            root = self._path("excititor.artifacts.filesystem.root")
        return Side(
            name,
            self._switch(f"{here}.enabled", default=True),
            required,
            root,
            self._told.get(f"{here}.activeexportid"),
            self._url(f"gateway.{name}.url"),
            indexes,
            rules,
        )

    def _domains(self) -> dict[str, Domain]:
        """Every domain that a section names, in order of first mention."""
        gathered: dict[str, dict[str, str]] = {}
        for section in ("concelier.mirror.domains", "excititor.mirror.domains", "gateway.domains"):
            for place in self._places(section):
                found = self._told.get(f"{place}.id", "")
                if not DOMAIN_ID.fullmatch(found):
                    self._wrong(f"{place}.id", "lower-case letters, digits and hyphens are needed", found)
                    continue
                values = gathered.setdefault(found, {})
                begin = f"{place}."
                for name, value in self._told.items():
                    if name.startswith(begin):
                        values.setdefault(name[len(begin) :], value)
        return {name: self._domain(name, values) for name, values in gathered.items()}

    def _domain(self, name: str, values: Mapping[str, str]) -> Domain:
        chain, key = values.get("tlscertificatefile"), values.get("tlskeyfile")
        if (chain is None) != (key is None):
            self.problems.append(f"domain {name}: TLS needs both a certificate and its key")
        htpasswd, beside = values.get("htpasswdfile"), self._path("gateway.secretsdir")
        if htpasswd is None and beside is not None:
            htpasswd = str(beside / f"mirror-{name}.htpasswd")
        tls = self._path("gateway.tlsdir")
        if chain is None and tls is not None and (tls / f"mirror-{name}.crt").exists():
            chain, key = (str(tls / f"mirror-{name}.{end}") for end in ("crt", "key"))
        return Domain(
            name,
            values.get("displayname", name),
            values.get("tenant", "default"),
            self._hosts(name, values),
            Path(htpasswd) if htpasswd else None,
            Path(chain) if chain else None,
            Path(key) if key else None,
        )

    def _hosts(self, name: str, values: Mapping[str, str]) -> tuple[str, ...]:
        told = [value for key, value in values.items() if key == "hosts" or key.startswith("hosts.")]
        listed = (each.strip() for text in told for each in text.split(","))
        hosts = tuple(each.lower().rstrip(".") for each in listed if each)
        for each in hosts:
            if not _HOST.fullmatch(each):
                self.problems.append(f"domain {name}: {each[:80]!r} is no host name")
        return hosts

    def _authorities(self) -> dict[str, AuthoritySettings]:
        """Whose tokens are taken, by the section that says so."""
        found = {section: self._authority(f"{section}.authority") for section in SECTIONS}
        return {section: each for section, each in found.items() if each is not None}

    def _authority(self, place: str) -> AuthoritySettings | None:
        url, get = self._url(f"{place}.url"), self._told.get
        client, secret = get(f"{place}.clientid"), self._path(f"{place}.clientsecretfile")
        if url is None:
            return None
        if (client is None) != (secret is None):
            name = place.replace(".", "__").upper()
            self.problems.append(f"{name}: CLIENTID and CLIENTSECRETFILE go together")
        return AuthoritySettings(
            url.rstrip("/"),
            get(f"{place}.issuer", "stellaops"),
            get(f"{place}.audience", "stellaops"),
            self._path(f"{place}.cafile"),
            client,
            secret,
        )

    def _places(self, section: str) -> list[str]:
        """The places of a list, as `section.0`, by number."""
        begin = f"{section}."
        numbers = {name[len(begin) :].partition(".")[0] for name in self._told if name.startswith(begin)}
        return [f"{begin}{number}" for number in sorted((n for n in numbers if n.isdecimal()), key=int)]

    def _path(self, name: str) -> Path | None:
        value = self._told.get(name)
        return Path(value) if value else None

    def _switch(self, name: str, *, default: bool) -> bool:
        text = self._word(name, ("", "true", "false", "yes", "no", "1", "0", "on", "off"))
        return default if not text else text in ("true", "yes", "1", "on")

    def _word(self, name: str, words: tuple[str, ...]) -> str:
        value = self._told.get(name, "").lower()
        if value not in words:
            self._wrong(name, f"one of {', '.join(word for word in words if word)} is needed", value)
        return value

    def _count(self, name: str, default: int = 0) -> int:
        value = self._told.get(name, str(default))
        if not (value.isascii() and value.isdecimal() and int(value) <= _MOST):
            self._wrong(name, "a whole number is needed", value)
            return 0
        return int(value)

    def _networks(self, name: str, default: str) -> tuple[Network, ...]:
        found = []
        for text in self._told.get(name, default).split(","):
            if text.strip():
                found.extend(
                    self._checked(name, "a network as 10.1.0.0/16 is needed", text.strip(), _network)
                )
        return tuple(found)

    def _url(self, name: str) -> str | None:
        value = self._told.get(name)
        if not value:
            return None
        return next(iter(self._checked(name, "a URL as https://host is needed", value, _web_url)), None)

    def _checked(self, name: str, needed: str, value: str, read: Callable[[str], T]) -> list[T]:
        try:
            return [read(value)]
        except ValueError:
            self._wrong(name, needed, value)
            return []

    def _wrong(self, name: str, needed: str, value: str) -> None:
        self.problems.append(f"{name.replace('.', '__').upper()}: {needed}, not {value[:80]!r}")


def _network(text: str) -> Network:
    return ip_network(text, strict=False)


def _web_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise ValueError(text)
    return text.rstrip("/")
