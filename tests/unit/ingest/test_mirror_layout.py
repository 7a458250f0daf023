"""Pulling from a mirror: what is signed is planned, everything else ends the pull."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stellaops.bundles import freshness
from stellaops.core.digests import content_id
from stellaops.core.errors import StellaError
from stellaops.ingest.layouts.interface import (
    Answer,
    Ask,
    BadDefinition,
    ListingUnusable,
    Plan,
    Situation,
)
from stellaops.ingest.layouts.mirror import MirrorNotTrusted
from stellaops.ingest.layouts.registry import layout_of
from stellaops.ingest.pull_model import Definition, Known
from stellaops.signing import cosign_blob, ecdsa_p256, sigstore_bundle

KEY, STRANGER = ecdsa_p256.generate(), ecdsa_p256.generate()
ID = content_id(b"a tree")
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
BASE = "https://mirror.example.org/concelier/exports"
DOCUMENTS = {f"osv/primary/npm/GHSA-{number}.json": f"{number:064x}" for number in range(1, 9)}
MANIFEST = "mirror/primary/manifest.json"
FILES = {"osv/primary/npm/all.zip": "a" * 64, "osv/primary/all.zip": "b" * 64, **DOCUMENTS}


def definition(database: str = "", **options: Any) -> Definition:
    told = {"domain": "primary", "publicKey": KEY.public_key_pem().decode(), **options}
    url = "https://mirror.example.org/"
    return Definition(name="upstream", layout="mirror", url=url, database=database, options=told)


def pages(
    files: dict[str, str] = FILES,
    *,
    key: ecdsa_p256.PrivateKey = KEY,
    profile: str = "mirror/concelier/primary",
    issued: datetime = NOW,
    side: str = "concelier",
    domain: str = "primary",
    holds: Sequence[str] = ("ghsa",),
) -> dict[str, bytes]:
    """What the mirror answers, by address."""
    statement = freshness.encode(
        freshness.issue("default", profile, ID, 4, [], now=issued, cadence=timedelta(hours=1))
    )
    manifest = json.dumps(
        {"sources": [{"name": f"the {name}", "database": name, "documents": 3} for name in holds]}
    ).encode()
    files = files | {MANIFEST: hashlib.sha256(manifest).hexdigest()}
    entries = [{"path": path, "sha256": digest, "bytes": 9} for path, digest in files.items()]
    tree = json.dumps(
        {"schema": "x", "side": side, "domain": domain, "exportId": ID, "files": entries}
    ).encode()
    public, digest = ecdsa_p256.load_public_key(key.public_key_pem()), hashlib.sha256(tree).digest()
    place = f"{BASE}/{ID}/mirror/primary/tree.json"
    return {
        f"{BASE}/freshness/primary.json": statement,
        f"{BASE}/freshness/primary.json.sig": cosign_blob.encode(key.sign(statement)),
        f"{BASE}/{ID}/{MANIFEST}": manifest,
        place: tree,
        f"{place}.sig": cosign_blob.encode(key.sign(tree)),
        f"{place}.sigstore.json": sigstore_bundle.encode_blob(public, digest, key.sign(tree)),
    }


def planned(answers: dict[str, bytes], situation: Situation | None = None) -> Plan:
    steps = layout_of("mirror").plan(situation or Situation(definition()))
    try:
        ask: Ask = next(steps)
        while True:
            ask = steps.send(Answer(answers[ask.url], ask.url, False, False, NOW))
    except StopIteration as end:
        found: Plan = end.value
        return found


def test_at_first_the_archives_are_wanted_with_their_signed_digests() -> None:
    plan = planned(pages())
    (want,) = plan.wants
    assert want.url == f"{BASE}/{ID}/osv/primary/npm/all.zip"
    assert (want.path, want.size, want.hashes) == ("npm/all.zip", 9, {"sha256": "a" * 64})
    assert (plan.full, plan.complete, plan.listed) == (True, True, 8)
    assert {path: known.mark for path, known in plan.files.items()} == {
        path.removeprefix("osv/primary/"): digest for path, digest in DOCUMENTS.items()
    }


def test_later_the_documents_with_another_digest_are() -> None:
    known = {path.removeprefix("osv/primary/"): Known(mark=digest) for path, digest in DOCUMENTS.items()}
    known["npm/GHSA-3.json"] = Known(mark="f" * 64)
    known["npm/GHSA-gone.json"] = Known(mark="f" * 64)
    plan = planned(pages(), Situation(definition(), cursor="2026-05-01T11:00:00Z", known=known))
    assert [want.path for want in plan.wants] == ["npm/GHSA-3.json"]
    assert (plan.full, plan.gone) == (False, 1)


def test_an_older_statement_than_one_that_was_seen_is_refused() -> None:
    with pytest.raises(MirrorNotTrusted, match="was seen"):
        planned(pages(), Situation(definition(), cursor="2026-05-01T13:00:00Z"))


MIXED = FILES | {
    "osv/primary/Debian/all.zip": "c" * 64,
    "osv/primary/Wolfi/all.zip": "c" * 64,
    "osv/primary/GIT/all.zip": "c" * 64,
    "osv/primary/Debian/DSA-1.json": "d" * 64,
    "osv/primary/Wolfi/CVE-2026-1.json": "e" * 64,
    "osv/primary/GIT/CURL-CVE-2026-2.json": "f" * 64,
}
HOLDS = ("debian", "ghsa", "kev", "osv", "wolfi")


@pytest.mark.parametrize(
    ("database", "others", "wanted"),
    [
        ("debian", [], {"Debian/DSA-1.json"}),
        ("wolfi", [], {"Wolfi/CVE-2026-1.json"}),
        ("ghsa", [], {path.removeprefix("osv/primary/") for path in DOCUMENTS}),
        ("osv", ["debian", "ghsa", "wolfi"], {"GIT/CURL-CVE-2026-2.json"}),
    ],
)
def test_of_a_mirror_of_several_databases_a_source_takes_one(
    database: str, others: list[str], wanted: set[str]
) -> None:
    told = definition(database, **({"others": others} if others else {}))
    full = planned(pages(MIXED, holds=HOLDS), Situation(told))
    assert set(full.files) == wanted
    assert {want.path for want in full.wants} == {f"{path.partition('/')[0]}/all.zip" for path in wanted}
    kept = {path.removeprefix("osv/primary/") for path in MIXED if path.endswith("json")}
    assert {path for path in kept if layout_of("mirror").keeps(told, path)} == wanted
    later = planned(pages(MIXED, holds=HOLDS), Situation(told, cursor="2026-05-01T11:00:00Z"))
    assert {want.path for want in later.wants} == wanted


@pytest.mark.parametrize(
    ("told", "holds", "reason"),
    [
        (definition(), HOLDS, "names none of them; the mirror has documents of debian, ghsa, osv, wolfi"),
        (definition("alpine"), HOLDS, "is of 'alpine'"),
        (definition("osv"), ("ghsa",), "is of 'osv'"),
        (definition("osv"), HOLDS, "does not name in `others`"),
        (definition("osv", others=["ghsa", "wolfi"]), HOLDS, "does not name in `others`"),
        (definition("nvd"), (*HOLDS, "nvd"), "nothing tells the documents of nvd, osv apart"),
        (definition("ghsa"), ("debian", "ghsa", "wolfi"), "1 documents to no source, such as GIT/CURL-CVE"),
    ],
)
def test_a_source_that_would_mix_databases_or_lose_documents_is_refused_with_the_sources_to_define(
    told: Definition, holds: Sequence[str], reason: str
) -> None:
    with pytest.raises(BadDefinition) as refused:
        planned(pages(MIXED, holds=holds), Situation(told))
    assert reason in refused.value.what
    assert "stella concelier sources add upstream-ghsa … --database ghsa`" in refused.value.advice
    assert ("--database osv --option others=debian --option others=ghsa" in refused.value.advice) == (
        {"osv", "debian"} <= set(holds)
    )


def test_prefixes_pick_documents_where_nothing_else_tells_them() -> None:
    told = definition("osv", prefixes=["CURL-"])
    plan = planned(pages(MIXED, holds=(*HOLDS, "nvd")), Situation(told))
    assert set(plan.files) == {"GIT/CURL-CVE-2026-2.json"}


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        (pages(key=STRANGER), MirrorNotTrusted),
        (pages() | {f"{BASE}/freshness/primary.json.sig": b"bm8="}, MirrorNotTrusted),
        (pages() | {f"{BASE}/{ID}/mirror/primary/tree.json": b"{}"}, MirrorNotTrusted),
        (pages() | {f"{BASE}/{ID}/mirror/primary/tree.json.sigstore.json": b"{}"}, MirrorNotTrusted),
        (pages() | {f"{BASE}/{ID}/{MANIFEST}": b'{"sources": []}'}, ListingUnusable),
        (pages(issued=NOW - timedelta(hours=9)), ListingUnusable),
        (pages(profile="mirror/concelier/community"), ListingUnusable),
        (pages(side="excititor"), ListingUnusable),
        (pages(domain="community"), ListingUnusable),
        (pages({"osv/primary/../x.json": "a" * 64}), ListingUnusable),
        (pages({"mirror/primary/bundle.json": "a" * 64}), ListingUnusable),
    ],
    ids=["a stranger's key", "a signature of nothing", "another list", "another bundle", "another manifest", "expired",
         "a statement about another domain", "a list of the other side", "a list of another domain",
         "a path that leads up", "no bucket"],
)  # fmt: skip
def test_what_is_not_signed_for_this_domain_ends_the_pull(
    answers: dict[str, bytes], error: type[StellaError]
) -> None:
    with pytest.raises(error):
        planned(answers)


@pytest.mark.parametrize(
    "options",
    [
        {"domain": ""},
        {"publicKey": ""},
        {"publicKey": "no PEM"},
        {"side": "left"},
        {"more": "x"},
        {"others": "ghsa"},
        {"others": "ghsa", "database": "debian"},
    ],
)
def test_a_definition_that_cannot_work_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BadDefinition):
        layout_of("mirror").check(definition(**options))
