"""Downloads without a client: tokens that open some bundles, and links that open one file."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from stellaops.api.registry import operations
from stellaops.bootstrap import now
from stellaops.exports.distribution.links import Claim, address
from tests.contract.api.conftest import Filled
from tests.support.api import OTHER
from tests.support.workers import TENANT

TOKENS = "/api/export/download-tokens"
RUNS = "/api/export/runs"


def made(filled: Filled, **body: Any) -> str:
    found = filled.api.post(TOKENS, body)
    assert found.status_code == 201, found.text
    assert found.headers["cache-control"] == "no-store"
    return str(found.json()["downloadToken"])


def with_token(filled: Filled, token: str, path: str, method: str = "GET", **headers: str) -> Any:
    told = {"authorization": f"Bearer {token}", **headers}
    return filled.api.client.request(method, path, headers=told)


def test_a_token_downloads_a_whole_bundle_file_by_file(filled: Filled) -> None:
    token = made(filled, name="mirror of a partner")
    for run in (filled.run.id, "latest", f"latest:{filled.run.profile}"):
        listed = with_token(filled, token, f"{RUNS}/{run}/artifacts").json()
        assert {each["path"] for each in listed["items"]} >= {each.path for each in filled.run.artifacts}
    for artifact in filled.run.artifacts:
        found = with_token(filled, token, f"{RUNS}/latest/artifacts/{artifact.path}")
        assert f"sha256:{hashlib.sha256(found.content).hexdigest()}" == artifact.sha256
    part = with_token(filled, token, f"{RUNS}/latest/manifest", range="bytes=0-9")
    assert (part.status_code, len(part.content)) == (206, 10)
    assert with_token(filled, token, f"{RUNS}/latest/provenance", "HEAD").status_code == 200


def test_a_token_opens_downloads_alone(filled: Filled) -> None:
    """Every other operation that is not for everyone refuses it, those of other modules and of the future too."""
    token = made(filled)
    opened = {
        "getRun",
        "listArtifacts",
        "getArtifact",
        "getBundle",
        "getManifest",
        "getProvenance",
        "getFreshness",
    }
    tried = 0
    for operation in operations():
        if operation.public:
            continue
        path = re.sub(r"\{[^}]*\}", "latest", operation.path)
        found = with_token(filled, token, path, operation.method)
        if operation.id in opened:
            assert found.status_code in (200, 404), operation.id
        else:
            tried += 1
            assert found.status_code == 403, operation.id
    assert tried > 50


def test_a_token_of_a_profile_opens_that_profiles_bundles_alone(filled: Filled) -> None:
    wrong, right = made(filled, profiles=["trivy:db"]), made(filled, profiles=[filled.run.profile])
    assert with_token(filled, wrong, f"{RUNS}/{filled.run.id}/manifest").status_code == 404
    assert with_token(filled, wrong, f"{RUNS}/latest/manifest").status_code == 404
    assert with_token(filled, right, f"{RUNS}/{filled.run.id}/manifest").status_code == 200
    of_run = made(filled, runs=[filled.run.id])
    assert with_token(filled, of_run, f"{RUNS}/{filled.run.id}/artifacts").status_code == 200
    assert (
        with_token(filled, made(filled, runs=["run-x"]), f"{RUNS}/{filled.run.id}/artifacts").status_code
        == 404
    )


def test_a_token_does_not_reach_another_tenant(filled: Filled) -> None:
    token = made(filled)
    foreign = f"{RUNS}/{filled.foreign.id}/manifest"
    assert with_token(filled, token, foreign).status_code == 404
    assert with_token(filled, token, foreign, **{"x-stella-tenant": OTHER}).status_code == 403


def test_a_rotated_token_has_an_overlap_and_a_revoked_one_ends(filled: Filled) -> None:
    first = made(filled)
    token_id = first.removeprefix("stella_dl_").partition(".")[0]
    path = f"{RUNS}/latest/manifest"
    second = filled.api.post(f"{TOKENS}/{token_id}/rotate", {"overlapSeconds": 3600}).json()["downloadToken"]
    assert [with_token(filled, each, path).status_code for each in (first, second)] == [200, 200]
    third = filled.api.post(f"{TOKENS}/{token_id}/rotate", {"overlapSeconds": 0}).json()["downloadToken"]
    filled.api.app._dispatcher._tokens._known.clear()
    assert [with_token(filled, each, path).status_code for each in (first, second, third)] == [401, 401, 200]
    assert filled.api.post(f"{TOKENS}/{token_id}/revoke", {"reason": "lost"}).json()["state"] == "revoked"
    filled.api.app._dispatcher._tokens._known.clear()
    refused = with_token(filled, third, path)
    assert (refused.status_code, refused.json()["code"]) == (401, "ERR_DOWNLOAD_TOKEN_INVALID")
    shown = filled.api.get(f"{TOKENS}/{token_id}")
    assert shown.json()["revocationReason"] == "lost"
    assert "downloadToken" not in shown.json()
    assert third.rpartition(".")[2] not in filled.api.get(TOKENS).text


def test_only_those_who_manage_the_authority_make_tokens(filled: Filled) -> None:
    found = filled.api.post(TOKENS, {}, scopes=("export:download", "export:read"))
    assert (found.status_code, found.json()["code"]) == (403, "ERR_SCOPE_MISSING")


def test_the_same_request_again_does_not_show_a_secret_again(filled: Filled) -> None:
    headers = {"idempotency-key": "a-token"}
    assert filled.api.post(TOKENS, {}, headers=headers).status_code == 201
    again = filled.api.post(TOKENS, {}, headers=headers)
    assert again.status_code == 409
    assert "stella_dl_" not in again.text


def test_who_made_and_revoked_a_token_stands_in_the_audit_log(filled: Filled) -> None:
    token = made(filled, name="audited")
    token_id = token.removeprefix("stella_dl_").partition(".")[0]
    filled.api.post(f"{TOKENS}/{token_id}/revoke", {"reason": "because"})
    told = filled.api.get("/api/export/audit", params={"target": f"download-token/{token_id}"}).json()[
        "items"
    ]
    assert [each["action"] for each in told] == ["download_token.revoked", "download_token.created"]
    assert told[0]["reason"] == "because"
    assert token.rpartition(".")[2] not in str(told)


def test_whoever_may_only_download_a_run_is_not_told_where_else_it_went(filled: Filled) -> None:
    path = f"{RUNS}/{filled.run.id}"
    told, whole = with_token(filled, made(filled), path).json(), filled.api.get(path).json()
    assert told["artifacts"] == whole["artifacts"]
    assert (told["targets"], told["submittedBy"]) == ([], None)
    assert whole["targets"]
    assert whole["submittedBy"]


# ---- links


def links(filled: Filled, **body: Any) -> Any:
    return filled.api.post(f"{RUNS}/{filled.run.id}/links", body, scopes=("export:download",))


def test_a_link_opens_its_file_without_a_token_and_nothing_else(filled: Filled) -> None:
    artifact = filled.run.artifacts[0]
    told = links(filled, path=artifact.path)
    assert told.status_code == 200, told.text
    assert told.headers["cache-control"] == "no-store"
    (link,) = told.json()["links"]
    assert (link["sha256"], link["bytes"]) == (artifact.sha256, artifact.bytes)
    found = filled.api.client.get(link["url"])
    assert f"sha256:{hashlib.sha256(found.content).hexdigest()}" == artifact.sha256
    part = filled.api.client.get(link["url"], headers={"range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, found.content[1:4])
    other = link["url"].replace(artifact.path, "export.json")
    for url in (
        other,
        link["url"].replace(filled.run.id, "latest"),
        link["url"] + "x",
        link["url"] + "&more=1",
    ):
        assert filled.api.client.get(url).status_code in (400, 401), url
    refused = filled.api.client.get(other)
    assert refused.json()["code"] == "ERR_DOWNLOAD_LINK_INVALID"
    path, _, query = link["url"].partition("?")
    assert filled.api.client.get(path.rpartition("/artifacts/")[0] + "/artifacts?" + query).status_code in (
        400,
        401,
    )
    assert filled.api.client.request("DELETE", f"{RUNS}/{filled.run.id}?{query}").status_code in (400, 401)


def test_links_to_every_file_are_told_at_once(filled: Filled) -> None:
    told = links(filled, expiresSeconds=60).json()
    assert {each["path"] for each in told["links"]} >= {"export.json", "files.json", "signatures/export.sig"}
    for each in told["links"]:
        assert filled.api.client.get(each["url"]).status_code == 200


def test_a_link_that_is_over_opens_nothing(filled: Filled) -> None:
    key = filled.api.local.link_keys.signing(now())
    claim = Claim(TENANT, filled.run.id, "export.json", now() + timedelta(seconds=60))
    assert filled.api.client.get(address(claim, key)).status_code == 200
    assert filled.api.client.get(address(replace(claim, expires_at=now()), key)).status_code == 401
    assert filled.api.client.get(address(replace(claim, tenant=OTHER), key)).status_code == 404


@pytest.mark.parametrize("seconds", [0, 9, 7 * 86400 + 1, "x"])
def test_a_life_that_a_link_cannot_have_is_refused(seconds: Any, filled: Filled) -> None:
    assert links(filled, expiresSeconds=seconds).status_code == 400


def test_a_link_to_what_is_not_there_is_refused(filled: Filled) -> None:
    assert links(filled, path="no.json").json()["code"] == "ERR_EXPORT_ARTEFACT_MISSING"
    assert filled.api.post(f"{RUNS}/{filled.foreign.id}/links", {}).status_code == 404


def test_no_link_stands_in_the_audit_log(filled: Filled) -> None:
    url = links(filled, path="export.json").json()["links"][0]["url"]
    told = filled.api.get("/api/export/audit", params={"action": "link.created"}).json()["items"]
    assert told[0]["details"]["path"] == "export.json"
    assert url.rpartition("signature=")[2] not in str(told)
