"""What paths ask for, and which ones ask for nothing."""

from __future__ import annotations

import pytest

from stellaops.gateway.routes import Budget, Kind, parse

ID = "abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize(
    ("path", "kind", "side", "domain", "inner", "export"),
    [
        ("/concelier/exports/index.json", Kind.INDEX, "concelier", None, "", None),
        (f"/concelier/exports/{ID}/index.json", Kind.INDEX, "concelier", None, "", ID),
        (f"/concelier/exports/{ID}/mirror/primary/bundle.json", Kind.FILE, "concelier", "primary",
         "mirror/primary/bundle.json", ID),
        ("/concelier/exports/mirror/primary/bundle.json", Kind.FILE, "concelier", "primary",
         "mirror/primary/bundle.json", None),
        (f"/concelier/exports/{ID}/oci/primary/trivy-db/index.json", Kind.FILE, "concelier", "primary",
         "oci/primary/trivy-db/index.json", ID),
        ("/concelier/exports/freshness/primary.json.sig", Kind.SIDE_FILE, "concelier", "primary",
         "freshness/primary.json.sig", None),
        ("/excititor/mirror/primary/index", Kind.FILE, "excititor", "primary", "mirror/primary/index.json", None),
        ("/excititor/mirror/primary/exports/a-json", Kind.EXPORT, "excititor", "primary", "a-json", None),
        ("/excititor/mirror/primary/exports/a-json/download", Kind.EXPORT, "excititor", "primary", "a-json", None),
        (f"/excititor/exports/{ID}/vex/primary/vex-repository.tar.gz", Kind.FILE, "excititor", "primary",
         "vex/primary/vex-repository.tar.gz", ID),
        ("/vex/primary/.well-known/vex-repository.json", Kind.VEX_MANIFEST, "excititor", "primary",
         ".well-known/vex-repository.json", None),
        ("/.well-known/vex-repository.json", Kind.VEX_MANIFEST, "excititor", None,
         ".well-known/vex-repository.json", None),
        ("/osv/primary/crates.io/RUSTSEC-2026-1.json", Kind.FILE, "concelier", "primary",
         "osv/primary/crates.io/RUSTSEC-2026-1.json", None),
        ("/osv/primary/Rocky%20Linux/all.zip", Kind.FILE, "concelier", "primary",
         "osv/primary/Rocky Linux/all.zip", None),
        ("/v2/", Kind.OCI_BASE, "concelier", None, "", None),
        ("/v2/primary/trivy-db/manifests/2", Kind.OCI_MANIFEST, "concelier", "primary", "2", None),
        ("/v2/primary/trivy-db/tags/list", Kind.OCI_TAGS, "concelier", "primary", "list", None),
        ("/mirror-key.pub", Kind.KEY, "", None, "mirror-key.pub", None),
    ],
)  # fmt: skip
def test_a_route_names_side_domain_and_file(
    *, path: str, kind: Kind, side: str, domain: str | None, inner: str, export: str | None
) -> None:
    wish = parse(path.encode())
    assert wish is not None
    assert (wish.kind, wish.side, wish.domain, wish.path, wish.export) == (kind, side, domain, inner, export)


@pytest.mark.parametrize(
    "path",
    [
        "/concelier/exports/mirror/primary/../../../etc/passwd", "/concelier/exports/mirror/primary/%2e%2e/x.json",
        "/concelier/exports/mirror/primary%2fbundle.json", "/concelier/exports/mirror/primary/%252e%252e/a",
        "/concelier/exports/mirror/primary/a%5cb", "/concelier/exports//mirror/primary/bundle.json",
        "/concelier/exports/mirror/primary/a%00.json", "/concelier/exports/mirror/Primary/bundle.json",
        "/concelier/exports/mirror/primary/", "/concelier/exports/short/mirror/primary/bundle.json",
        "/concelier/exports/latest/mirror/primary/bundle.json", "//concelier/exports/index.json",
        f"/concelier/exports/{ID}/secret/primary/bundle.json", "/v2/primary/other/manifests/2",
        "/v2/primary/trivy-db/blobs/sha256:12", "/v2/primary/trivy-db/blobs/..", "/excititor/mirror/primary/exports/..",
        "/osv/primary", "/", "", "concelier/exports/index.json", "/concelier/exports/mirror/primary/%ff",
        "/concelier/exports/mirror/primary/" + "a" * 1100, "/concelier/exports/freshness/..json",
    ],
)  # fmt: skip
def test_a_path_that_no_file_can_have_asks_for_nothing(path: str) -> None:
    assert parse(path.encode()) is None


def test_only_files_under_an_id_that_are_no_signatures_never_change() -> None:
    for path, immutable in (
        (f"/concelier/exports/{ID}/mirror/primary/bundle.json", True),
        (f"/concelier/exports/{ID}/mirror/primary/bundle.json.sig", False),
        (f"/concelier/exports/{ID}/index.json", False),
        ("/concelier/exports/mirror/primary/bundle.json", False),
        ("/v2/primary/trivy-db/blobs/sha256:" + "0" * 64, True),
        ("/v2/primary/trivy-db/manifests/latest", False),
        ("/vex/primary/vex-repository.tar.gz", False),
    ):
        wish = parse(path.encode())
        assert wish is not None
        assert (wish.immutable, wish.seconds) == ((True, 300) if immutable else (False, 60)), path


def test_indexes_and_downloads_have_budgets_of_their_own() -> None:
    assert parse(b"/excititor/mirror/primary/index").budget is Budget.INDEX  # type: ignore[union-attr]
    assert parse(b"/concelier/exports/mirror/primary/bundle.json").budget is Budget.DOWNLOAD  # type: ignore[union-attr]
    assert parse(b"/v2/").budget is Budget.FREE  # type: ignore[union-attr]
