"""What readers of a mirror may reach: the gateway, or nginx before it, plain and over TLS, on one tree."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import nginx
from tests.support.certificates import certify
from tests.support.gateways import GatewayProcess, Setup, serving, write_users
from tests.support.mirror_tree import MirrorTree

NAMES = {"primary": "mirror-primary.example.org", "community": "mirror-community.example.org"}
"""Host names of the domains."""


@dataclass(frozen=True, slots=True)
class Form:
    """One way to serve a mirror.

    Attributes:
        back_ends: whether contents come from `serve concelier` and `serve excititor`, as they do with nginx.
    """

    nginx: bool = False
    lua: bool = False
    tls: bool = False
    back_ends: bool = False


FORMS = {
    "gateway": Form(),
    "gateway over TLS": Form(tls=True),
    "gateway before back ends": Form(back_ends=True),
    "nginx": Form(nginx=True, back_ends=True),
    "nginx over TLS": Form(nginx=True, tls=True, back_ends=True),
    "nginx with Lua": Form(nginx=True, lua=True, back_ends=True),
    "nginx with Lua over TLS": Form(nginx=True, lua=True, tls=True, back_ends=True),
}


@dataclass
class Front:
    """A tree, and what stands before it.

    Attributes:
        outside: what readers ask.
        gateway: the process that decides; the same where nothing stands before it.
        users: directory of the htpasswd files.
        back_ends: by side.
        proxy: nginx, where that stands in front.
    """

    form: Form
    tree: MirrorTree
    outside: GatewayProcess
    gateway: GatewayProcess
    users: Path
    back_ends: Mapping[str, GatewayProcess] = field(default_factory=dict)
    proxy: nginx.Nginx | None = None

    def accesses(self) -> list[dict[str, Any]]:
        """The access log of what readers ask."""
        if self.proxy is None:
            return self.gateway.accesses()
        log = self.proxy.config.parent / "access.log"
        return [json.loads(line) for line in log.read_text().splitlines()]


@contextmanager
def front(
    form: Form, place: Path, tree: MirrorTree, variables: Mapping[str, str] | None = None
) -> Iterator[Front]:
    """A mirror host of one form, with domains `primary` and `community`.

    Args:
        place: directory of users, certificates and states; made.
        variables: more settings of the gateway.
    """
    place.mkdir(parents=True, exist_ok=True)
    write_users(
        place / "mirror-primary.htpasswd",
        dict.fromkeys(("edge", "late", "few", "parts"), "correct-horse"),
        {"late": "recipient: Lyon; issued: 2020-01-01; expires: 2020-04-01"},
    )
    write_users(place / "mirror-community.htpasswd", {"comm": "correct-horse"})
    common = {"GATEWAY__SECRETSDIR": str(place), "GATEWAY__TRUSTEDPROXIES": "127.0.0.0/8"}
    for number, (domain, name) in enumerate(NAMES.items()):
        common[f"GATEWAY__DOMAINS__{number}__ID"] = domain
        common[f"GATEWAY__DOMAINS__{number}__HOSTS"] = name
    own = {**common, **(variables or {})}
    tls = _certified(place, own) if form.tls else None
    sides = ("concelier", "excititor") if form.back_ends else ()
    with ExitStack() as stack:

        def begun(side: str) -> GatewayProcess:
            return stack.enter_context(serving(Setup(tree.root, place / side, common), side))

        if not form.nginx:
            ends = {side: begun(side) for side in sides}
            own |= {f"GATEWAY__{side.upper()}__URL": each.url for side, each in ends.items()}
            setup = Setup(tree.root, place / "gateway", own)
            gateway = stack.enter_context(serving(setup, tls=tls, names=NAMES if form.tls else None))
            yield Front(form, tree, gateway, gateway, place, ends)
            return
        own["GATEWAY__PROXYLOG"] = str(place / "nginx" / "access.log")
        # nginx ends TLS; the gateway behind it has the same settings and is plain.
        options = ("--plain",) if form.tls else ()
        with ThreadPoolExecutor(3) as pool:
            starting = [pool.submit(begun, side) for side in sides]
            gateway = stack.enter_context(
                serving(Setup(tree.root, place / "gateway", own), "gateway", *options)
            )
            ends = dict(zip(sides, (each.result() for each in starting), strict=True))
        proxy = nginx.rendered(
            Setup(tree.root, place, own), place / "nginx", gateway.url, ends["concelier"].url,
            ends["excititor"].url, lua=form.lua,
        )  # fmt: skip
        proxy.tls, proxy.names = tls, NAMES if form.tls else {}
        outside = stack.enter_context(proxy.serving())
        yield Front(form, tree, outside, gateway, place, ends, proxy)


def _certified(place: Path, variables: dict[str, str]) -> ssl.SSLContext:
    """A certificate for each domain, and a client that trusts them."""
    variables["GATEWAY__TLSDIR"] = str(place)
    client = ssl.create_default_context()
    for number, (domain, name) in enumerate(NAMES.items()):
        client.load_verify_locations(certify(place, f"mirror-{domain}", name, number + 1))
    return client
