"""Addresses of shares, and whether they may be gone to."""

from __future__ import annotations

import pytest

from stellaops.adapters.mirrors.rsync_source import BadShare, NoRsync, RsyncSource, share_of
from stellaops.core.egress import AddressRefused, EgressPolicy, Offline, SchemeRefused
from stellaops.core.errors import MissingPrerequisite


@pytest.mark.parametrize(
    ("place", "host", "path", "user", "port", "by_ssh", "base"),
    [
        ("rsync://m.example.org/mod/a/b/", "m.example.org", "mod/a/b", "", None, False,
         ("rsync://m.example.org/mod", "a/b/")),
        ("rsync://edge@[::1]:8730/mod", "[::1]", "mod", "edge", 8730, False, ("rsync://edge@[::1]:8730/mod", "")),
        ("m.example.org::mod", "m.example.org", "mod", "", None, False, ("rsync://m.example.org/mod", "")),
        ("edge@m:/srv/mirror", "m", "/srv/mirror", "edge", None, True, ("edge@m:/srv/mirror", "")),
    ],
)  # fmt: skip
def test_shares_are_named_as_rsync_names_them(  # noqa: PLR0917 - a row of the table
    place: str, host: str, path: str, user: str, port: int | None, by_ssh: bool, base: tuple[str, str]
) -> None:
    share = share_of(place)
    assert (share.host, share.path, share.user, share.port, share.by_ssh) == (host, path, user, port, by_ssh)
    assert share.base == base


@pytest.mark.parametrize(
    "place",
    [
        "rsync://-oProxyCommand=x/mod",
        "rsync://host",
        "-e:path",
        "rsync://host/mod/../other",
        "ho st:path",
        "rsync:///x",
    ],
)
def test_what_names_no_share_or_would_be_an_option_is_refused(place: str) -> None:
    with pytest.raises(BadShare):
        share_of(place)


def test_shares_are_reached_as_the_policy_says_and_with_the_stock_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    share = share_of("rsync://m.example.org/mod", ("edge", "secret-word"))
    assert "secret-word" not in repr(share)
    with pytest.raises(SchemeRefused, match="rsync://"):
        share.admit(EgressPolicy(), lambda host, port: ["192.0.2.1"])
    near = EgressPolicy(plain_hosts=frozenset({"m.example.org"}))
    with pytest.raises(AddressRefused):
        share.admit(near, lambda host, port: ["10.0.0.1"])
    with pytest.raises(Offline):
        share_of("m:/srv").admit(EgressPolicy(offline=True))
    share.admit(near, lambda host, port: ["93.184.216.34"])
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NoRsync, match="no rsync on PATH"):
        RsyncSource(share)
    assert issubclass(NoRsync, MissingPrerequisite)
