"""Who may read a mirror host's metrics, and what the others are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from stellaops.gateway.app import Gateway
from stellaops.gateway.opening import open_host
from tests.support.asgi import Asgi


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name, value in {
        "CONCELIER__MIRROR__EXPORTROOT": str(tree),
        "CONCELIER__MIRROR__DOMAINS__0__ID": "primary",
        "CONCELIER__MIRROR__DOMAINS__0__REQUIREAUTHENTICATION": "false",
        "GATEWAY__METRICSFROM": "10.1.0.0/16",
        "STELLA_CONFIG": str(tmp_path / "none.yaml"),
    }.items():
        monkeypatch.setenv(name, value)
    return Gateway(open_host("concelier", tmp_path / "gateway", log=-1))


def test_metrics_are_for_the_networks_of_the_settings(gateway: Gateway) -> None:
    assert Asgi(gateway, address="10.1.2.3").ask("GET", "/metrics", headers={"host": "mirror"}).status == 200
    found = Asgi(gateway, address="192.0.2.7").ask("GET", "/metrics", headers={"host": "mirror"})
    assert (found.status, found.json["code"]) == (403, "ERR_MIRROR_FORBIDDEN")
    assert "GATEWAY__METRICSFROM" in found.json["detail"]
    assert "GATEWAY__METRICSFROM" in found.json["hint"]
    assert "scope" not in found.json["hint"], "no login opens this"
