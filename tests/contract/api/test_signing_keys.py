"""Keys of key services over the API: named where the operator lets them be, and told to whoever verifies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stellaops.signing import ecdsa_p256, key_files
from stellaops.signing.key_files import KeyForm
from tests.support.api import Api, api

KEYS = "/api/authority/keys"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "default").mkdir()
    return tmp_path


@pytest.fixture
def asked(place: Path) -> Iterator[Api]:
    with api(place / "server") as found:
        yield found


@pytest.fixture
def allowing(place: Path) -> Iterator[Api]:
    with api(place / "server") as found:
        found.service.more["STELLA_KEY_SERVICES_ALLOW"] = f"file://{place}/{{tenant}}/*"
        yield found


def key_file(place: Path, name: str) -> str:
    path = place / name
    path.write_bytes(key_files.write(ecdsa_p256.generate(), KeyForm.PKCS8, None))
    path.chmod(0o600)
    return f"file://{path}"


def profile(*recipients: str) -> dict[str, Any]:
    return {
        "apiVersion": "stellaops.io/export.v1", "kind": "ExportProfile", "metadata": {"name": "wrapped"},
        "spec": {"kind": "json", "variant": "raw",
                 "encryption": {"enabled": True, "mode": "aes-gcm", "recipientKeys": [*recipients]}},
    }  # fmt: skip


def test_recipients_of_a_profile_are_keys_that_the_tenant_may_use(allowing: Api) -> None:
    allowing.service.more["STELLA_KEY_SERVICES_ALLOW"] = "hashivault://{tenant}"
    path = "/api/export/profiles"
    refused(allowing.post(path, profile("hashivault://other")), 403, "ERR_KEY_URI_REFUSED")
    assert allowing.post(path, profile("hashivault://default")).status_code == 201
    change = {"changeReason": "more", "spec": {"encryption": {"recipientKeys": ["hashivault://other"]}}}
    refused(allowing.ask("PATCH", f"{path}/wrapped", json=change), 403, "ERR_KEY_URI_REFUSED")


def refused(answer: Any, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_without_patterns_no_key_of_a_service_is_named_from_afar(asked: Api, place: Path) -> None:
    refused(asked.post(KEYS, {"uri": key_file(place / "default", "a.pem")}), 403, "ERR_KEY_URI_REFUSED")
    refused(asked.post(f"{KEYS}/rotate", {"uri": "file:///etc/shadow"}), 403, "ERR_KEY_URI_REFUSED")
    refused(asked.post("/api/export/profiles", profile("hashivault://default")), 403, "ERR_KEY_URI_REFUSED")
    assert asked.get(KEYS).json()["items"] == []


def test_what_the_patterns_name_is_taken_rotated_and_told(allowing: Api, place: Path) -> None:
    refused(allowing.post(KEYS, {"uri": key_file(place, "b.pem")}), 403, "ERR_KEY_URI_REFUSED")
    refused(allowing.post(KEYS, {"uri": "gcpkms://x"}), 400, "ERR_KEY_URI")
    uri = key_file(place / "default", "a.pem")
    made = allowing.post(KEYS, {"uri": uri})
    assert (made.status_code, made.json()["uri"], made.json()["encrypted"]) == (201, uri, None)
    refused(allowing.post(KEYS, {"uri": uri}), 409, "ERR_KEY_KNOWN")
    refused(allowing.post(f"{KEYS}/rotate", {}), 400, "ERR_KEY_PASSPHRASE_NEEDED")
    second = allowing.post(f"{KEYS}/rotate", {"uri": key_file(place / "default", "c.pem")}).json()
    assert second["state"] == "active"
    listed = allowing.get(f"{KEYS}/listed").json()
    assert [(each["keyId"], each["state"]) for each in listed["keys"]] == [
        (made.json()["keyId"], "retired"),
        (second["keyId"], "active"),
    ]
    public = allowing.client.get("/tenants/default/keys.json")
    assert (public.status_code, public.json()) == (200, listed)
    assert "file:" not in public.text
    assert allowing.client.get("/tenants/nobody/keys.json").status_code == 404
    assert allowing.client.get("/tenants/..%2Fkeys/keys.json").status_code == 404


def test_a_key_says_whether_it_signs(allowing: Api, place: Path) -> None:
    uri = key_file(place / "default", "a.pem")
    path = f"{KEYS}/{allowing.post(KEYS, {'uri': uri}).json()['keyId']}/test"
    assert allowing.post(path).json()["status"] == "ok"
    Path(uri.removeprefix("file://")).unlink()
    tried = allowing.post(path).json()
    assert (tried["status"], "cannot be read" in tried["detail"]) == ("failed", True)
    refused(allowing.post(f"{KEYS}/{'0' * 64}/test"), 404, "ERR_KEY_NOT_FOUND")
