"""Where the product may connect to: one policy for every fetch. Pure; names are resolved in `adapters.web.egress`.

A URL is admitted by its scheme and host before anything else happens, and again for each redirect. An address is
admitted after the name was resolved, and the connection goes to exactly that address. So neither a redirect nor a
name that changes its address leads into the network that the product runs in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from stellaops.core.errors import InvalidInput, MissingPrerequisite, NotPermitted

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_PORTS = {"https": 443, "http": 80}
_UNCLEAN = re.compile(r"[\x00-\x20\\\x7f]")
# Public by their numbers, but virtual machines' own metadata and host agents answer there.
_HOST_AGENTS = (IPv4Network("192.0.0.0/24"), IPv4Network("168.63.129.16/32"))
_NAT64 = IPv6Network("64:ff9b::/96")


class BadUrl(InvalidInput):
    """A URL that cannot be used."""

    code = "ERR_EGRESS_URL"
    hint = "Give a URL as https://host/path, without user name and password."


class BadNetwork(InvalidInput):
    """A setting that should name networks does not."""

    code = "ERR_EGRESS_NETWORK"
    hint = "Write networks as 10.1.0.0/16 or fd00:1::/64 in the setting egress.allowPrivate."


class SchemeRefused(NotPermitted):
    """A URL without TLS, or of a scheme that is no web address."""

    code = "ERR_EGRESS_SCHEME"
    hint = "Use https; for a server of your own without TLS add its host to the setting egress.allowHttp."


class HostRefused(NotPermitted):
    """A host that the source's definition does not name."""

    code = "ERR_EGRESS_HOST"
    hint = "If the host belongs to the publisher, add it to the source's definition with --host."


class AddressRefused(NotPermitted):
    """A name that leads to a private, loopback, link-local or otherwise internal address."""

    code = "ERR_EGRESS_ADDRESS"
    hint = "If a server inside your network is meant, add its network to the setting egress.allowPrivate."


class Offline(MissingPrerequisite):
    """The product was told to stay offline."""

    code = "ERR_EGRESS_OFFLINE"
    hint = "Unset the setting egress.offline, or import files that were fetched elsewhere."


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads.

    Attributes:
        host: lower case, without a trailing dot; an IPv6 address without brackets.
    """

    scheme: str
    host: str
    port: int

    @property
    def origin(self) -> str:
        """Scheme, host and port: the scope of credentials."""
        return f"{self.scheme}://{self.host}:{self.port}"


def target_of(url: str) -> Target:
    """Where a URL leads.

    Raises:
        BadUrl: no absolute URL, or one with credentials in it.
        SchemeRefused: neither https nor http.
    """
    shown = redacted(url)
    if _UNCLEAN.search(url):
        raise BadUrl(f"{shown!r} has characters that no URL has")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise BadUrl(f"{shown!r}: {error}") from error
    if parts.scheme not in _PORTS:
        raise SchemeRefused(f"{shown!r} is no https address")
    if not host or "@" in parts.netloc:
        raise BadUrl(f"{shown!r} has {'credentials in it' if host else 'no host'}")
    return Target(parts.scheme, _ascii(host), port or _PORTS[parts.scheme])


def redacted(url: str) -> str:
    """A URL as it may stand in messages: without credentials, query and fragment, cut to a readable length."""
    bare = re.split(r"[?#]", url, maxsplit=1)[0]
    return re.sub(r"//[^/]*@", "//", bare)[:300]


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks from their usual notation.

    Raises:
        BadNetwork: any other text.
    """
    try:
        return tuple(ip_network(text.strip()) for text in texts if text.strip())
    except ValueError as error:
        raise BadNetwork(str(error)) from error


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """What may be connected to.

    Attributes:
        private: networks that may be reached although they are internal.
        plain_hosts: hosts that may be reached without TLS.
    """

    private: tuple[Network, ...] = ()
    plain_hosts: frozenset[str] = frozenset()
    offline: bool = False

    def admit(self, url: str, hosts: Iterable[str]) -> Target:
        """Where a URL leads, when it may be gone to.

        Args:
            hosts: names that may be connected to; `*.example.org` stands for all below it, `host:port` for one port.

        Raises:
            Offline, BadUrl, SchemeRefused, HostRefused, AddressRefused: see there.
        """
        if self.offline:
            raise Offline(f"{redacted(url)!r} is not fetched: the product was told to stay offline")
        target = target_of(url)
        if target.scheme == "http" and not _named(target, self.plain_hosts):
            raise SchemeRefused(f"{redacted(url)!r} is not protected by TLS")
        if not _named(target, hosts):
            raise HostRefused(f"{target.host}:{target.port} is none of the hosts of this source")
        literal = _literal(target.host)
        if literal is not None:
            self.admit_address(literal, target.host)
        return target

    def admit_address(self, address: Address, host: str) -> None:
        """Refuse an address inside.

        Raises:
            AddressRefused: see there.
        """
        for each in (address, *_embedded(address)):
            if not _is_public(each) and not any(each in network for network in self.private):
                raise AddressRefused(f"{host!r} leads to the internal address {address}")


def _named(target: Target, hosts: Iterable[str]) -> bool:
    return any(_matches(target, host) for host in hosts)


def _matches(target: Target, pattern: str) -> bool:
    name, port = _split_port(pattern)
    if port is not None and port != target.port:
        return False
    if name.startswith("*."):
        return target.host.endswith(name[1:])
    return target.host == name


def _split_port(pattern: str) -> tuple[str, int | None]:
    name, colon, port = pattern.strip().rpartition(":")
    if colon and port.isdecimal() and (":" not in name or name.endswith("]")):
        return _ascii(name.strip("[]")), int(port)
    return _ascii(pattern.strip().strip("[]")), None


def _ascii(host: str) -> str:
    host = host.rstrip(".").lower()
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise BadUrl(f"{host[:100]!r} is no host name") from error


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_public(address: Address) -> bool:
    agent = any(address in network for network in _HOST_AGENTS)
    return address.is_global and not address.is_multicast and not agent


def _embedded(address: Address) -> tuple[Address, ...]:
    """The IPv4 addresses that an IPv6 one carries: what a gateway would connect to."""
    if not isinstance(address, IPv6Address):
        return ()
    found: list[Address] = [each for each in (address.ipv4_mapped, address.sixtofour) if each is not None]
    if address.teredo is not None:
        found.extend(address.teredo)
    if address in _NAT64:
        found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return tuple(found)
