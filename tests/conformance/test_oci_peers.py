"""What others make of bundles at a registry: stock Trivy, cosign 2 and 3, and skopeo, with TLS and a login."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stellaops.exports.distribution.ports import Delivered, Delivery, Kept
from stellaops.exports.run import Run
from stellaops.kit.verify import verify_bundle
from tests.support import registry as registries
from tests.support.exporting import TENANT, Sender
from tests.support.registry import OciPlace, Registry
from tests.support.targets import contents, measured, untold
from tests.support.targets import delivery as small_delivery
from tests.support.tools import ROOT, require
from tests.unit.cli.scanning import findings

EXAMPLES = ROOT / "examples"
WEBSHOP = EXAMPLES / "projects" / "webshop"


@dataclass
class Brought:
    """Bundles that are at a registry, by profile."""

    sender: Sender
    registry: Registry
    place: OciPlace
    folder: Path
    deliveries: dict[str, tuple[Delivery, Delivered]]

    @property
    def environment(self) -> dict[str, str]:
        """What tools need to trust the registry and log in: docker's own files."""
        return {
            "HOME": str(self.folder),
            "DOCKER_CONFIG": str(self.folder / "docker"),
            "SSL_CERT_FILE": str(self.registry.ca_file),
            "REGISTRY_AUTH_FILE": str(self.folder / "docker" / "config.json"),
        }

    def repository(self, name: str) -> str:
        return f"{self.registry.host}/{self.place.path}/{name}"

    def kept(self, profile: str) -> Kept:
        delivery, delivered = self.deliveries[profile]
        return Kept(TENANT, profile, delivery.kind, delivery.archive, delivered.reference)


def delivery(sender: Sender, run: Run) -> Delivery:
    assert run.archive is not None
    root = sender.local.artefacts.local_root(run.archive)
    assert root is not None
    generated = datetime(2026, 3, 1, tzinfo=UTC)
    sequence = run.sequence or 0
    return Delivery(TENANT, run.profile, run.kind, run.archive, generated, sequence, root, measured(root))


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brought]:
    folder = tmp_path_factory.mktemp("oci")
    sender = Sender(folder / "data")
    for source in sorted((EXAMPLES / "advisories").iterdir()):
        sender.take_path(source, source.name)
    with registries.serving(folder / "registry", tls=True, users={"pusher": "a-pass:word"}) as registry:
        (folder / "docker").mkdir()
        logins = registry.logins(folder / "docker" / "config.json")
        place = OciPlace(registry, folder, sender.local.tenant_keys, tenant=TENANT, logins=logins)
        target = place.open()
        deliveries = {}
        jars = "groupId,artifactId,version,packaging,sha1\norg.demo,demo-lib,1.2.3,jar," + "ab" * 20 + "\n"
        (folder / "jars.csv").write_text(jars, encoding="utf-8")
        sender.take_path(folder / "jars.csv", "central")
        for profile in ("trivy:db", "trivy:java-db", "json:raw", "mirror:full"):
            made = delivery(sender, sender.run(profile))
            delivered = target.deliver(made, untold)
            target.point(made, delivered)
            deliveries[profile] = (made, delivered)
        (folder / "key.pub").write_bytes(sender.local.tenant_keys.signer(TENANT).public_key_pem())
        yield Brought(sender, registry, place, folder, deliveries)
    sender.close()


@pytest.mark.parametrize("tag", ["2", "latest", "20260301", "@"])
def test_trivy_pulls_the_database_and_scans_with_it(brought: Brought, tag: str, tmp_path: Path) -> None:
    made, delivered = brought.deliveries["trivy:db"]
    name = delivered.reference if tag == "@" else f"{brought.repository('trivy-db')}:{tag}"
    shared = ("--cache-dir", tmp_path, "--skip-version-check", "--disable-telemetry", "--no-progress")
    pulled = registries.run(
        "trivy", "image", "--download-db-only", "--db-repository", name, *shared,
        environment={**brought.environment, "TRIVY_USERNAME": "pusher", "TRIVY_PASSWORD": "a-pass:word"},
    )  # fmt: skip
    assert pulled.returncode == 0, pulled.stderr
    scanned = registries.run(
        "trivy", "fs", "--format", "json", "--skip-db-update", "--skip-java-db-update", "--offline-scan",
        *shared, WEBSHOP, environment=brought.environment,
    )  # fmt: skip
    expected = json.loads((EXAMPLES / "expected-findings.json").read_text(encoding="utf-8"))
    assert sorted(map(list, findings(json.loads(scanned.stdout)))) == expected["projects/webshop"]
    assert made.kind == "trivy:db"


@pytest.mark.parametrize("tag", ["1", "latest"])
def test_trivy_pulls_the_java_database(brought: Brought, tag: str, tmp_path: Path) -> None:
    pulled = registries.run(
        "trivy", "image", "--download-java-db-only", "--java-db-repository",
        f"{brought.repository('trivy-java-db')}:{tag}", "--cache-dir", tmp_path, "--skip-version-check",
        "--disable-telemetry", "--no-progress",
        environment={**brought.environment, "TRIVY_USERNAME": "pusher", "TRIVY_PASSWORD": "a-pass:word"},
    )  # fmt: skip
    assert pulled.returncode == 0, pulled.stderr
    with closing(sqlite3.connect(tmp_path / "java-db" / "trivy-java.db")) as database:
        rows = database.execute("SELECT group_id, artifact_id FROM artifacts").fetchall()
    assert rows == [("org.demo", "demo-lib")]


@pytest.mark.parametrize("profile", ["trivy:db", "json:raw", "mirror:full"])
def test_cosign_accepts_what_was_brought_and_no_other_key(
    brought: Brought, cosign: Path, profile: str, tmp_path: Path
) -> None:
    _, delivered = brought.deliveries[profile]
    verified = _verified(brought, cosign, brought.folder / "key.pub", delivered.reference)
    assert verified.returncode == 0, verified.stderr
    (tmp_path / "other.pub").write_bytes(registries.OneKey().key.public_key_pem())
    refused = _verified(brought, cosign, tmp_path / "other.pub", delivered.reference)
    assert refused.returncode != 0


def _verified(brought: Brought, cosign: Path, key: Path, name: str, *more: str) -> Any:
    return registries.run(
        cosign.name,
        "verify",
        "--key",
        key,
        "--insecure-ignore-tlog=true",
        *more,
        name,
        environment=brought.environment,
    )


@pytest.mark.parametrize("profile", ["trivy:db", "json:raw", "mirror:full"])
def test_what_users_fetch_is_the_whole_bundle_and_verifies(
    brought: Brought, profile: str, tmp_path: Path
) -> None:
    (tmp_path / "back").mkdir()
    brought.place.open().fetch(brought.kept(profile), tmp_path / "back")
    assert contents(tmp_path / "back") == contents(brought.deliveries[profile][0].root)
    trusted, revoked = brought.sender.local.tenant_keys.trusted(TENANT)
    (tmp_path / "scratch").mkdir()
    verify_bundle(tmp_path / "back", trusted, revoked=revoked, scratch=tmp_path / "scratch").require()


@pytest.mark.parametrize("profile", ["trivy:db", "json:raw", "mirror:full"])
def test_skopeo_copies_keep_digests(brought: Brought, profile: str, tmp_path: Path) -> None:
    _, delivered = brought.deliveries[profile]
    name = delivered.reference.partition("@")[0]
    digest = delivered.reference.partition("@")[2]
    copy = ("skopeo", "--insecure-policy", "copy", "--preserve-digests")
    elsewhere = brought.repository(f"copied-{profile.replace(':', '-')}")
    for places in (
        (f"docker://{name}:latest", f"oci:{tmp_path}/layout:latest"),
        (f"oci:{tmp_path}/layout:latest", f"docker://{elsewhere}:latest"),
    ):
        done = registries.run(*copy, *places, environment=brought.environment)
        assert done.returncode == 0, done.stderr
    index = json.loads((tmp_path / "layout" / "index.json").read_text(encoding="utf-8"))
    assert [entry["digest"] for entry in index["manifests"]] == [digest]
    path = elsewhere.partition("/")[2]
    _, headers = brought.registry.get(
        f"{path}/manifests/latest", Accept="application/vnd.oci.image.manifest.v1+json"
    )
    assert headers["Docker-Content-Digest"] == digest


def test_the_tags_of_a_database_and_of_a_bundle_are_those_that_are_promised(brought: Brought) -> None:
    schemas: dict[str, set[str]] = {
        "trivy:db": {"2"},
        "trivy:java-db": {"1"},
        "json:raw": set(),
        "mirror:full": set(),
    }
    for profile, schema in schemas.items():
        made, delivered = brought.deliveries[profile]
        own = f"{made.archive.export_id}-{made.archive.archive_id}"
        wanted = {"latest", "latest.state", "20260301", made.archive.export_id, own} | schema
        found = brought.registry.tags(f"{brought.place.path}/{profile.replace(':', '-')}")
        assert {tag for tag in found if not tag.startswith("sha256-")} == wanted | (
            {f"{own}-bundle"} if schema else set()
        )
        digest = delivered.reference.rpartition(":")[2]
        assert {f"sha256-{digest}", f"sha256-{digest}.sig"} <= found


def test_cosign_finds_the_signature_that_refers_to_the_manifest_alone(brought: Brought) -> None:
    require("cosign3")
    _, delivered = brought.deliveries["json:raw"]
    found = registries.run(
        "cosign3", "verify", "--key", brought.folder / "key.pub", "--insecure-ignore-tlog=true",
        "--new-bundle-format=true", delivered.reference, environment=brought.environment,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OciPlace]:
    """A registry without TLS and without logins, as one has it on one's own machine."""
    folder = tmp_path_factory.mktemp("plain")
    with registries.serving(folder / "registry") as registry:
        yield OciPlace(registry, folder)


def test_cosign_accepts_the_signatures_of_each_key_after_a_rotation(
    plain: OciPlace, cosign: Path, tmp_path: Path
) -> None:
    made = small_delivery(tmp_path)
    reference = plain.open().deliver(made, untold).reference
    (tmp_path / "old.pub").write_bytes(plain.keys.key.public_key_pem())
    plain.keys.rotate()
    assert plain.open().deliver(made, untold).reference == reference
    (tmp_path / "new.pub").write_bytes(plain.keys.key.public_key_pem())
    words = ("verify", "--insecure-ignore-tlog=true", "--key")
    for key in ("old.pub", "new.pub"):
        done = registries.run(
            cosign.name, *words, tmp_path / key, reference, environment={"HOME": str(tmp_path)}
        )
        assert done.returncode == 0, done.stderr
