"""When a mirror host listens with TLS, without, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from stellaops.adapters.settings.mirrors import MirrorHost, read_mirror_host
from stellaops.gateway.certificates import Certificates, CertificateUnusable
from tests.support.certificates import certify


def host(**variables: str) -> MirrorHost:
    sides = {f"{side}__MIRROR__DOMAINS__0__ID": "primary" for side in ("CONCELIER", "EXCITITOR")}
    return read_mirror_host({}, sides | {"GATEWAY__DOMAINS__0__HOSTS": "a.example.org"} | variables)


def test_passwords_do_not_go_in_the_clear_because_a_certificate_is_missing(tmp_path: Path) -> None:
    told = {"GATEWAY__DOMAINS__0__ID": "primary", "GATEWAY__TLSDIR": str(tmp_path)}
    with pytest.raises(CertificateUnusable, match=r"holds no mirror-<domain>\.crt.*primary"):
        Certificates(host(**told))
    certify(tmp_path, "mirror-primary", "a.example.org", 1)
    found = Certificates(host(**told))
    assert found.context is not None
    (tmp_path / "mirror-primary.crt").unlink()
    with pytest.raises(CertificateUnusable):
        found.load(host(**told))
    assert found.context is not None


def test_without_tls_serves_who_says_so_and_who_asks_for_no_credentials(tmp_path: Path) -> None:
    told = {"GATEWAY__DOMAINS__0__ID": "primary"}
    assert Certificates(host(**told)).context is None
    assert Certificates(host(**told, GATEWAY__TLSDIR="")).context is None
    opened = {f"{side}__MIRROR__REQUIREAUTHENTICATION": "false" for side in ("CONCELIER", "EXCITITOR")}
    assert Certificates(host(**told, **opened, GATEWAY__TLSDIR=str(tmp_path))).context is None
