"""A mirror host as processes, before clients: who gets what, how it is described, and what is refused.

The same for the gateway alone and for nginx before it, plain and over TLS; what only nginx has is in
`test_mirror_nginx.py`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from backports import zstd

from stellaops.signing import cosign_blob
from stellaops.signing.ecdsa_p256 import load_public_key
from tests.support.fronts import FORMS, Form, Front, front
from tests.support.gateways import Setup, basic, follow, serving, until, write_users
from tests.support.mirror_tree import MirrorTree

WRONG = "wrong"
BIG = bytes(range(256)) * 12_000


QUICK = ("gateway", "nginx over TLS", "nginx with Lua")


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow, id=name) for name in FORMS],
)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    place = tmp_path_factory.mktemp("gateway")
    tree = MirrorTree(place / "mirror")
    tree.publish(files={"big.bin": BIG})
    with front(FORMS[request.param], place, tree) as found:
        yield found


def test_index_manifest_bundle_and_signature_are_of_one_export(world: Front) -> None:
    gateway = world.outside
    index = gateway.ask("/concelier/exports/index.json", "edge").json
    entry = index["domains"][0]
    assert [each["id"] for each in index["domains"]] == ["primary"]
    bundle = gateway.ask(f"/concelier/exports/{entry['bundle']['path']}", "edge")
    assert f"sha256:{hashlib.sha256(bundle.body).hexdigest()}" == entry["bundle"]["digest"]
    assert bundle.headers["cache-control"] == "private, max-age=300, immutable"
    signature = gateway.ask(f"/concelier/exports/{entry['bundle']['path']}.sig", "edge")
    assert signature.headers["cache-control"] == "private, max-age=60"
    key = gateway.ask("/mirror-key.pub", "edge", headers={"Host": "mirror-primary.example.org"})
    cosign_blob.verify(signature.body, hashlib.sha256(bundle.body).digest(), load_public_key(key.body))


def test_stable_names_say_which_export_they_are(world: Front) -> None:
    found = world.outside.ask("/concelier/exports/mirror/primary/manifest.json", "edge")
    export = world.tree.ids["concelier"]
    assert found.status == 200
    assert found.headers["x-stella-export-id"] == export
    assert found.headers["content-location"] == f"/concelier/exports/{export}/mirror/primary/manifest.json"
    assert found.headers["cache-control"] == "private, max-age=60"
    assert found.headers["vary"] == "Accept-Encoding, Authorization"


def test_a_representation_is_described_by_its_own_digest(world: Front) -> None:
    path = f"/concelier/exports/{world.tree.ids['concelier']}/mirror/primary/bundle.json"
    tags = set()
    for coding in ("identity", "gzip", "zstd"):
        found = world.outside.ask(path, "edge", headers={"Accept-Encoding": coding})
        digest = hashlib.sha256(found.body)
        assert found.headers["etag"] == f'"sha256:{digest.hexdigest()}"'
        assert found.headers["repr-digest"] == f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
        assert found.headers.get("content-encoding", "identity") == coding
        assert found.headers["content-type"] == "application/json"
        tags.add(found.headers["etag"])
        known = world.outside.ask(
            path, "edge", headers={"Accept-Encoding": coding, "If-None-Match": found.headers["etag"]}
        )
        assert (known.status, known.body) == (304, b"")
        assert known.headers["etag"] == found.headers["etag"]
        head = world.outside.ask(path, "edge", method="HEAD", headers={"Accept-Encoding": coding})
        assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(found.body)))
    assert len(tags) == 3
    packed = world.outside.ask(path, "edge", headers={"Accept-Encoding": "zstd"}).body
    assert zstd.decompress(packed) == world.outside.ask(path, "edge").body


def test_parts_of_a_file_make_the_whole(world: Front) -> None:
    path = "/concelier/exports/mirror/primary/big.bin"
    whole = world.outside.ask(path, "edge")
    assert whole.body == BIG
    half = len(BIG) // 2
    first = world.outside.ask(
        path, "edge", headers={"Range": f"bytes=0-{half - 1}", "If-Range": whole.headers["etag"]}
    )
    rest = world.outside.ask(path, "edge", headers={"Range": f"bytes={half}-"})
    assert (first.status, rest.status) == (206, 206)
    assert first.headers["content-range"] == f"bytes 0-{half - 1}/{len(BIG)}"
    assert first.body + rest.body == BIG
    other = world.outside.ask(path, "edge", headers={"Range": "bytes=0-9", "If-Range": '"other"'})
    assert (other.status, len(other.body)) == (200, len(BIG))
    beyond = world.outside.ask(path, "edge", headers={"Range": f"bytes={len(BIG)}-"})
    assert (beyond.status, beyond.headers["content-range"]) == (416, f"bytes */{len(BIG)}")


def test_the_cache_says_whether_it_knew(world: Front) -> None:
    path = "/concelier/exports/mirror/community/manifest.json"
    assert [world.outside.ask(path, "comm").headers["x-cache-status"] for _ in range(2)] == ["MISS", "HIT"]


def test_excititor_is_read_by_index_and_key(world: Front) -> None:
    index = world.outside.ask("/excititor/mirror/community/index", "comm").json
    for entry in index["exports"]:
        by_path = world.outside.ask(entry["path"], "comm")
        assert f"sha256:{hashlib.sha256(by_path.body).hexdigest()}" == entry["artifactDigest"]
        assert "immutable" in by_path.headers["cache-control"]
        for name in (entry["exportKey"], f"{entry['exportKey']}/download"):
            by_key = world.outside.ask(f"/excititor/mirror/community/exports/{name}", "comm")
            assert by_key.body == by_path.body
            assert "attachment" in by_key.headers["content-disposition"]


def test_a_registry_gives_manifests_by_tag_and_blobs_by_digest(world: Front) -> None:
    gateway = world.outside
    assert gateway.ask("/v2/").status == 401
    assert gateway.ask("/v2/").headers["www-authenticate"].startswith("Basic ")
    assert gateway.ask("/v2/", "edge").status == 200
    by_tag = gateway.ask("/v2/primary/trivy-db/manifests/2", "edge")
    digest = f"sha256:{hashlib.sha256(by_tag.body).hexdigest()}"
    assert by_tag.headers["docker-content-digest"] == digest
    assert by_tag.headers["content-type"] == by_tag.json["mediaType"]
    assert by_tag.headers["cache-control"] == "private, max-age=60"
    by_digest = gateway.ask(f"/v2/primary/trivy-db/manifests/{digest}", "edge")
    assert (by_digest.body, "immutable" in by_digest.headers["cache-control"]) == (by_tag.body, True)
    blob = gateway.ask(f"/v2/primary/trivy-db/blobs/{by_tag.json['layers'][0]['digest']}", "edge")
    assert blob.body == b"db of primary 1"
    assert gateway.ask("/v2/primary/trivy-db/tags/list", "edge").json == {
        "name": "primary/trivy-db", "tags": ["2", "latest"],
    }  # fmt: skip
    assert gateway.ask(f"/v2/primary/trivy-db/referrers/{digest}", "edge").json["manifests"] == []
    missing = gateway.ask("/v2/primary/trivy-db/manifests/none", "edge")
    assert (missing.status, missing.json["errors"][0]["code"]) == (404, "NAME_UNKNOWN")


def test_osv_and_vex_repositories_have_their_own_layout(world: Front) -> None:
    gateway = world.outside
    assert gateway.ask("/osv/primary/PyPI/CVE-2026-0001.json", "edge").json["id"] == "CVE-2026-0000"
    manifest = gateway.ask("/vex/primary/.well-known/vex-repository.json", "edge").json
    (location,) = manifest["versions"][0]["locations"]
    assert location["url"] == f"{gateway.url_of('primary')}/vex/primary/vex-repository.tar.gz"
    assert (
        gateway.ask("/vex/primary/vex-repository.tar.gz", "edge").headers["cache-control"]
        == "private, max-age=60"
    )
    named = gateway.ask(
        "/.well-known/vex-repository.json", "edge", headers={"Host": "mirror-primary.example.org"}
    )
    (location,) = named.json["versions"][0]["locations"]
    assert urlsplit(location["url"]).hostname == "mirror-primary.example.org"


def test_the_access_policy_tells_more_to_those_who_may_read(world: Front) -> None:
    anybody = world.outside.ask("/.well-known/api-policy.json").json
    known = world.outside.ask("/.well-known/api-policy.json", "edge").json
    assert anybody["sides"]["concelier"]["domains"] == []
    assert [each["id"] for each in known["sides"]["concelier"]["domains"]] == ["primary"]
    assert world.outside.ask("/.well-known/api-policy.json", "edge", password=WRONG).status == 401


# Who gets nothing

ROUTES = (
    "/concelier/exports/index.json", "/concelier/exports/{concelier}/index.json",
    "/concelier/exports/{concelier}/mirror/primary/manifest.json",
    "/concelier/exports/{concelier}/mirror/primary/bundle.json.sig",
    "/concelier/exports/mirror/primary/bundle.json", "/concelier/exports/mirror/primary/none.json",
    "/concelier/exports/freshness/primary.json", "/concelier/exports/{concelier}/oci/primary/trivy-db/index.json",
    "/excititor/mirror/primary/index", "/excititor/mirror/primary/exports/consensus-json",
    "/excititor/mirror/primary/exports/consensus-json/download", "/excititor/exports/freshness/primary.json",
    "/excititor/exports/{excititor}/mirror/primary/index.json", "/vex/primary/vex-repository.tar.gz",
    "/vex/primary/.well-known/vex-repository.json", "/osv/primary/ecosystems.txt", "/v2/",
    "/v2/primary/trivy-db/manifests/2", "/v2/primary/trivy-db/tags/list",
    "/concelier/exports/mirror/nobody/bundle.json", "/v2/nobody/trivy-db/manifests/2",
)  # fmt: skip


@pytest.mark.parametrize("route", ROUTES)
def test_nobody_gets_anything_without_the_domains_own_credentials(world: Front, route: str) -> None:
    path = route.format(**world.tree.ids)
    gateway = world.outside
    for _ in range(2):
        gateway.ask(path, "edge")  # from now on whatever keeps answers may have this one
    replies = {
        "none": gateway.ask(path),
        "wrong": gateway.ask(path, "edge", password=WRONG),
        "unknown": gateway.ask(path, "nobody"),
        "expired": gateway.ask(path, "late"),
        "scheme": gateway.ask(path, headers={"Authorization": "Digest x"}),
        "garbage": gateway.ask(path, headers={"Authorization": "Basic %%%"}),
        "bearer": gateway.ask(path, headers={"Authorization": "Bearer abc.def.ghi"}),
    }
    if "primary" in path or "nobody" in path:
        replies["other domain"] = gateway.ask(path, "comm")
    # A certificate's name stands for a domain, and the path names another one.
    status = 403 if world.form.tls and "nobody" in path else 401
    for who, reply in replies.items():
        assert reply.status == status, who
        assert reply.headers["cache-control"] == "no-store", who
        assert status == 403 or reply.headers["www-authenticate"].startswith("Basic "), who
        told = reply.json["errors"][0] if route.startswith("/v2") else reply.json
        assert told["code"] in (
            "ERR_MIRROR_CREDENTIALS",
            "ERR_MIRROR_DOMAIN_MISMATCH",
            "UNAUTHORIZED",
            "DENIED",
        )
        assert b"CVE" not in reply.body, who
        assert "etag" not in reply.headers, who


def test_the_key_of_no_domain_in_particular_says_where_those_of_domains_are(world: Front) -> None:
    if world.form.tls:
        return  # there each name stands for a domain
    nowhere = world.outside.ask("/mirror-key.pub", "edge")
    assert (nowhere.status, nowhere.json["code"]) == (404, "ERR_MIRROR_NOT_FOUND")
    path = "/concelier/exports/mirror/<domain>/mirror-key.pub"
    assert path in nowhere.json["hint"]
    key = world.outside.ask(path.replace("<domain>", "primary"), "edge")
    assert key.body == world.tree.key.public_key_pem()


def test_a_host_name_serves_its_own_domain_alone(world: Front) -> None:
    here = {"Host": "mirror-community.example.org"}
    own = world.outside.ask("/concelier/exports/mirror/community/manifest.json", "comm", headers=here)
    other = world.outside.ask("/concelier/exports/mirror/primary/manifest.json", "edge", headers=here)
    assert (own.status, other.status, other.json["code"]) == (200, 403, "ERR_MIRROR_DOMAIN_MISMATCH")
    index = world.outside.ask(
        "/concelier/exports/index.json", "comm", headers={"Host": "Mirror-Community.example.org:443"}
    )
    assert [each["id"] for each in index.json["domains"]] == ["community"]


@pytest.mark.parametrize(
    "path",
    [
        "/concelier/exports/mirror/primary/../../../../mirror-primary.htpasswd",
        "/concelier/exports/mirror/primary/%2e%2e/%2e%2e/index.json", "/concelier/exports/mirror/primary%2fbundle.json",
        "/osv/primary/..%2f..%2f..%2fmirror-primary.htpasswd", "/osv/primary/PyPI", "/concelier/exports/mirror/primary",
        "/vex/primary/%252e%252e/index.json", "/concelier/exports/latest/mirror/primary/bundle.json", "/console", "/",
    ],
)  # fmt: skip
def test_paths_lead_nowhere_else(world: Front, path: str) -> None:
    reply = world.outside.ask(path, "edge")
    if world.form.nginx and reply.status == 400:  # what leads out of everything nginx does not even look at
        assert path.count("..") >= 3
        return
    assert reply.status == 404
    assert reply.json["code"] == "ERR_MIRROR_NOT_FOUND"


def test_a_link_in_the_tree_is_not_followed(world: Front) -> None:
    link = world.tree.place("concelier", "mirror/primary/link.json")
    link.symlink_to(world.users / "mirror-primary.htpasswd")
    try:
        assert world.outside.ask("/concelier/exports/mirror/primary/link.json", "edge").status == 404
    finally:
        link.unlink()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"])
def test_mirrors_are_only_read(world: Front, method: str) -> None:
    reply = world.outside.ask("/concelier/exports/mirror/primary/bundle.json", "edge", method=method)
    assert reply.status == 405 or (method == "CONNECT" and reply.status == 400)
    assert b"CVE" not in reply.body
    if not world.form.nginx or method not in ("TRACE", "CONNECT"):  # nginx refuses those by itself
        assert (reply.json["code"], reply.headers["allow"]) == ("ERR_MIRROR_METHOD", "GET, HEAD")


SMUGGLED = (
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /m\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: mirror-primary.example.org\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
    b"GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    b"GET /healthz\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
)


@pytest.mark.parametrize("data", SMUGGLED)
def test_a_request_that_others_may_read_otherwise_ends_its_connection(world: Front, data: bytes) -> None:
    came = world.outside.raw(data, 1)
    assert b"mirror_requests_total" not in came
    assert b"advisories" not in came
    assert (came.count(b"HTTP/1.1 200"), came.count(b"HTTP/1.1 4") <= 1) == (0, True)
    assert world.form.nginx or came.startswith(b"HTTP/1.1 400 "), came[:200]
    assert world.outside.ask("/healthz").status == 200


BOMBS = (
    b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(1200)) + b"\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 70_000,
    b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n" + b"x" * 2_000_000,
    b"GET /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n" + b"x" * 2_000_000,
)


@pytest.mark.parametrize("data", BOMBS, ids=("fields", "field", "path", "body", "chunks"))
def test_heads_and_bodies_without_end_are_cut_off(world: Front, data: bytes) -> None:
    with suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):
        came = world.outside.raw(data, 1)
        assert b" 200 " not in came[:20]
        # Where a body was not read the other side may reset the connection before the answer has arrived.
        assert not came or came.split()[1] in {b"400", b"404", b"405", b"413", b"414", b"421", b"431"}
    assert world.outside.ask("/healthz").status == 200


# What operators see


def test_every_request_is_in_the_log_and_in_the_metrics(world: Front) -> None:
    gateway = world.gateway
    before = gateway.metric("mirror_requests_total", domain="primary", status="401")
    path = "/concelier/exports/mirror/primary/manifest.json"
    told = {"User-Agent": "unit/1", "X-Forwarded-For": "203.0.113.9, 127.0.0.1"}
    world.outside.ask(path, "edge", headers=told)
    world.outside.ask(path, "edge", password=WRONG)
    until(lambda: gateway.metric("mirror_requests_total", domain="primary", status="401") > before)
    until(lambda: any(each["userAgent"] == "unit/1" for each in world.accesses()))
    line = next(each for each in world.accesses() if each["userAgent"] == "unit/1")
    assert line["remote"] == "203.0.113.9"
    assert (line["domain"], line["class"], line["credential"], line["status"]) == (
        "primary", "download", "edge", 200,
    )  # fmt: skip
    assert line["cacheStatus"] in ("HIT", "MISS", "EXPIRED", "REVALIDATED", "STALE")
    everything = json.dumps(world.accesses()) + gateway.log() + json.dumps(gateway.accesses())
    assert "correct-horse" not in everything
    assert basic("edge").split()[1] not in everything
    assert gateway.metric("mirror_export_root_configured", side="concelier") == 1
    if (
        not world.form.back_ends or world.form.nginx
    ):  # who asks back ends does not know how old their exports are
        assert gateway.metric("mirror_bundle_age_seconds", domain="primary") > 0


def test_answers_from_memory_are_counted_as_such(world: Front) -> None:
    path = f"/concelier/exports/{world.tree.ids['concelier']}/mirror/community/manifest.json"
    before = world.gateway.metric("mirror_requests_total", domain="community", cache="HIT", status="200")
    known = world.outside.ask(path, "comm")
    for _ in range(8):
        assert world.outside.ask(path, "comm").status == 200
    asked = {"If-None-Match": known.headers["etag"]}
    assert world.outside.ask(path, "comm", headers=asked).status == 304

    def counted(status: str) -> float:
        return world.gateway.metric("mirror_requests_total", domain="community", cache="HIT", status=status)

    until(lambda: counted("200") >= before + 5)
    until(lambda: counted("304") >= 1)


def _seconds_until_new(world: Front) -> float:
    """What a gateway has from back ends it keeps for a minute; so does nginx, but for less in tests."""
    return 75 if world.form.back_ends and not world.form.nginx else 15


def test_a_new_export_is_served_under_the_stable_names_and_the_old_one_stays(world: Front) -> None:
    gateway, old = world.outside, world.tree.ids["concelier"]
    world.tree.publish("2")
    stable = "/concelier/exports/mirror/primary/bundle.json"
    seconds = _seconds_until_new(world)
    until(
        lambda: gateway.ask(stable, "edge").headers["x-stella-export-id"] == world.tree.ids["concelier"],
        seconds,
    )
    assert gateway.ask(f"/concelier/exports/{old}/mirror/primary/bundle.json", "edge").json["exportId"] == old
    index = "/concelier/exports/index.json"
    until(lambda: gateway.ask(index, "edge").json["exportId"] == world.tree.ids["concelier"], seconds)
    digest = next((world.tree.root / "concelier" / old / "oci/primary/trivy-db/blobs/sha256").iterdir()).name
    assert gateway.ask(f"/v2/primary/trivy-db/blobs/sha256:{digest}", "edge").status == 200


def test_a_reader_sees_no_mixture_during_twenty_publications(world: Front) -> None:
    key = load_public_key(world.tree.key.public_key_pem())

    def publish() -> None:
        for edition in range(20):
            world.tree.publish(f"reading {edition}")

    with ThreadPoolExecutor(1) as pool:
        publishing = pool.submit(publish)
        follow(world.outside, "edge", key)
        while not publishing.done():
            follow(world.outside, "edge", key)
        publishing.result()
    until(
        lambda: follow(world.outside, "edge", key) == world.tree.ids["concelier"], _seconds_until_new(world)
    )


def test_users_are_taken_and_refused_without_a_restart(world: Front) -> None:
    path, file = (
        "/concelier/exports/mirror/community/manifest.json",
        world.users / "mirror-community.htpasswd",
    )
    assert world.outside.ask(path, "comm").status == 200
    write_users(file, {"fresh": "correct-horse"})
    world.gateway.reload()
    until(lambda: world.outside.ask(path, "comm").status == 401, 0 if world.form == Form() else 5)
    # Back ends look at the file by themselves, once a second.
    until(lambda: world.outside.ask(path, "fresh").status == 200, 5)
    file.write_text("fresh:plain\n")
    world.gateway.reload()
    assert "ERR_HTPASSWD_INVALID" in world.gateway.log()
    assert world.outside.ask(path, "fresh").status == 200
    write_users(file, {"comm": "correct-horse"})
    until(lambda: world.outside.ask(path, "comm").status == 200)  # seen without a signal


def test_the_process_ends_cleanly(tmp_path: Path) -> None:
    tree = MirrorTree(tmp_path / "mirror", ("primary",))
    tree.publish()
    alone = {
        "CONCELIER__MIRROR__DOMAINS__1__ID": "", "CONCELIER__MIRROR__REQUIREAUTHENTICATION": "false",
        "GATEWAY__SECRETSDIR": "", "EXCITITOR__ARTIFACTS__FILESYSTEM__ROOT": "",
    }  # fmt: skip
    setup = Setup(tree.root, tmp_path, alone)
    with serving(setup, "concelier") as gateway:
        found = gateway.ask("/concelier/exports/mirror/primary/bundle.json")
        assert found.headers["cache-control"] == "public, max-age=60"
        assert found.headers["vary"] == "Accept-Encoding"
        assert gateway.ask("/excititor/mirror/primary/index").status == 404
        assert gateway.ask("/readyz").status == 200
        gateway.process.terminate()
        assert gateway.process.wait(15) == 0


def test_a_missing_export_root_is_told_in_log_and_readiness(tmp_path: Path) -> None:
    nothing = {
        "CONCELIER__MIRROR__EXPORTROOT": "", "EXCITITOR__MIRROR__ENABLED": "false", "GATEWAY__SECRETSDIR": "",
        "CONCELIER__MIRROR__REQUIREAUTHENTICATION": "false",
    }  # fmt: skip
    setup = Setup(tmp_path, tmp_path, nothing)
    with serving(setup) as gateway:
        text = "Mirror export root is not configured: set CONCELIER__MIRROR__EXPORTROOT"
        until(lambda: text in gateway.log())
        ready = gateway.ask("/readyz")
        assert (ready.status, ready.json["checks"]["concelier"]) == (503, text)
        assert gateway.metric("mirror_export_root_configured", side="concelier") == 0
        assert gateway.ask("/concelier/exports/index.json").status == 503
