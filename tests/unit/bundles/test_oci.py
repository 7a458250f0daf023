"""Names, manifests and indexes of bundles at registries."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellaops.bundles import layout
from stellaops.bundles.oci import manifests, names, referrers
from stellaops.bundles.oci.manifests import BadManifest, Descriptor, Identity
from stellaops.bundles.oci.names import BadRepository
from stellaops.core import digests

MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)
IDENTITY = Identity("acme", "trivy:db", "trivy:db", "e" * 26, "a" * 26, MOMENT)
PROFILES = st.from_regex(r"[a-z0-9][a-z0-9:._-]{0,62}", fullmatch=True)


def layer(path: str, content: bytes = b"x", kind: str = "application/json") -> Descriptor:
    made = manifests.blob(content, kind)
    return Descriptor(made.media_type, made.digest, made.bytes, {manifests.TITLE: path})


@pytest.mark.parametrize(
    ("text", "registry", "path"),
    [
        ("registry.example.org/stella/acme", "registry.example.org", "stella/acme"),
        ("127.0.0.1:5000/a", "127.0.0.1:5000", "a"),
        ("[::1]:5000/a/b-c__d.e", "[::1]:5000", "a/b-c__d.e"),
    ],
)
def test_repositories_are_read_as_users_write_them(text: str, registry: str, path: str) -> None:
    found = names.repository(text)
    assert (found.registry, found.path, str(found)) == (registry, path, text)


@pytest.mark.parametrize(
    "text",
    ["", "stella", "https://registry.example.org/a", "host/", "host/A", "host/a//b", "host/../b", "host/a:latest",
     "user@host/a", "host/a@sha256:00", "host:port/a", "host/" + "a" * 300],
)  # fmt: skip
def test_what_names_no_repository_is_refused(text: str) -> None:
    with pytest.raises(BadRepository):
        names.repository(text)


def test_dockers_own_registry_answers_under_another_name() -> None:
    assert names.repository("docker.io/stella/acme").server == "registry-1.docker.io"
    assert names.repository("ghcr.io/stella/acme").server == "ghcr.io"


def test_profiles_that_are_there_from_the_start_have_plain_names() -> None:
    assert [names.component(name) for name in ("trivy:db", "trivy:java-db", "mirror:full", "json:raw")] == [
        "trivy-db",
        "trivy-java-db",
        "mirror-full",
        "json-raw",
    ]


@given(st.lists(PROFILES, min_size=2, max_size=2, unique=True))
def test_no_two_profiles_share_a_repository(profiles: list[str]) -> None:
    one, other = map(names.component, profiles)
    assert one != other
    assert names.is_component(one)
    assert names.PROBE not in (one, other)


@pytest.mark.parametrize(
    "pair", [("mirror:full", "mirror-full"), ("a:b", "a-b"), ("a.b", "a:b"), ("probe", "probe-")]
)
def test_names_that_differ_by_signs_alone_differ_at_the_registry(pair: tuple[str, str]) -> None:
    assert names.component(pair[0]) != names.component(pair[1])


def test_every_tag_is_one_that_registries_take() -> None:
    tags = [
        *names.moving_tags(MOMENT, "2"),
        names.STATE,
        names.export_tag("e" * 26, "a" * 26),
        names.bundle_tag("e" * 26, "a" * 26),
        names.fallback_tag(digests.sha256(b"")),
        names.signature_tag(digests.sha256(b"")),
    ]
    assert all(len(tag) <= 128 for tag in tags)
    assert len(set(tags)) == len(tags)


def test_the_tag_that_everybody_follows_is_moved_last() -> None:
    assert names.moving_tags(MOMENT, "2") == ("20260301", "2", "latest")
    assert names.moving_tags(MOMENT, None) == ("20260301", "latest")


def test_a_database_has_the_manifest_that_trivys_own_have() -> None:
    database = layer(layout.TRIVY_DB, b"\x1f\x8b", layout.TRIVY_DB_TYPE)
    wire = json.loads(manifests.of_database(IDENTITY, database).content)
    assert wire["config"]["mediaType"] == "application/vnd.aquasec.trivy.config.v1+json"
    (only,) = wire["layers"]
    assert only["mediaType"] == "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip"
    assert only["annotations"] == {"org.opencontainers.image.title": "db.tar.gz"}
    assert wire["annotations"]["org.opencontainers.image.created"] == "2026-03-01T12:00:00Z"
    assert "subject" not in wire


def test_a_bundle_names_every_file_and_what_it_refers_to() -> None:
    files = [layer("export.json"), layer("data/raw/advisories/00000.jsonl.zst", b"y")]
    subject = manifests.of_database(IDENTITY, layer(layout.TRIVY_DB)).descriptor()
    made = manifests.of_bundle(IDENTITY, files, subject)
    read = manifests.parse(made.content)
    assert manifests.files_of(read) == {each.annotations[manifests.TITLE]: each for each in files}
    assert read.subject is not None
    assert read.subject.digest == subject.digest
    assert digests.sha256(made.content) == made.digest
    assert made.artifact_type == manifests.BUNDLE


@pytest.mark.parametrize(
    "title", ["", "../x", "/etc/passwd", "a/../../b", "a//b", "a\\b", ".hidden/../x", "a/./b", "ü"]
)
def test_a_title_that_leads_out_of_the_bundle_root_is_refused(title: str) -> None:
    made = manifests.of_bundle(IDENTITY, [layer(title)])
    with pytest.raises(BadManifest):
        manifests.files_of(manifests.parse(made.content))


def test_two_layers_of_one_title_are_refused() -> None:
    made = manifests.of_bundle(IDENTITY, [layer("a", b"1"), layer("a", b"2")])
    with pytest.raises(BadManifest):
        manifests.files_of(manifests.parse(made.content))


def harmless(content: bytes) -> None:
    with suppress(BadManifest):
        manifests.files_of(manifests.parse(content))
    with suppress(BadManifest):
        referrers.read(content)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_manifest_or_an_error_of_ours(content: bytes) -> None:
    harmless(content)


SCALARS = (
    st.none() | st.integers() | st.text(max_size=5) | st.sampled_from([manifests.BUNDLE_CONFIG, "sha256:"])
)
ENTRIES = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("mediaType", "digest", "size", "annotations", "artifactType"), SCALARS)
)
WIRES = st.fixed_dictionaries(
    {},
    optional={
        "schemaVersion": SCALARS,
        "config": ENTRIES | SCALARS,
        "layers": st.lists(ENTRIES | SCALARS, max_size=2) | SCALARS,
        "manifests": st.lists(ENTRIES | SCALARS, max_size=2) | SCALARS,
        "subject": ENTRIES | SCALARS,
    },
)


@given(WIRES)
def test_any_json_is_a_manifest_or_an_error_of_ours(wire: object) -> None:
    harmless(json.dumps(wire).encode())


@pytest.mark.parametrize(
    ("path", "head", "kind"),
    [
        ("export.json", b"{", "application/vnd.stellaops.export.manifest.v1+json"),
        (
            "indexes/vex.index.jsonl.zst",
            b"\x28\xb5\x2f\xfd",
            "application/vnd.stellaops.export.rows.v1.jsonl+zstd",
        ),
        (
            "mirror-20260301-full.tar.zst",
            b"\x28\xb5\x2f\xfd",
            "application/vnd.stellaops.mirror.archive.v1.tar+zstd",
        ),
        ("trivy/db.bundle", b"\x1f\x8b", layout.TRIVY_DB_TYPE),
        ("trivy/db.bundle", b"age-encr", "application/octet-stream"),
        ("indexes/vex.index.jsonl.zst", b"\x00\x01\x02\x03", "application/octet-stream"),
        ("signatures/export.sigstore.json", b"{", "application/vnd.dev.sigstore.bundle.v0.3+json"),
        ("something", b"", "application/octet-stream"),
    ],
)
def test_media_types_go_by_the_name_and_encrypted_files_by_their_bytes(
    path: str, head: bytes, kind: str
) -> None:
    assert manifests.media_type(path, head) == kind


def test_an_index_keeps_the_entries_of_others_and_lists_nothing_twice() -> None:
    theirs, ours = layer("a", b"1"), layer("b", b"2")
    entries = referrers.added((theirs,), ours)
    assert referrers.added(entries, ours) == entries == (theirs, ours)
    assert referrers.read(referrers.write(entries).content) == entries
