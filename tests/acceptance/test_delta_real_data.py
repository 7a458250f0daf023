"""Real upstream data: a base and the delta after an update of PyPA's advisories are the full bundle of that day."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from stellaops.bundles import layout
from stellaops.bundles.mirror import delta
from stellaops.exports.run import Run
from stellaops.ingest.feeds import Side
from stellaops.ingest.model import ImportReport
from stellaops.kit import target
from stellaops.kit.apply import Trust, apply_delta, restore
from stellaops.kit.delta import lay_out, upserts
from stellaops.kit.tree import Tree
from stellaops.kit.verify import verify_bundle
from tests.support.exporting import Sender
from tests.support.shared import require_shared

FEW = ("haskell-osv", "rconsortium-osv", "k8s-osv", "ghsa-sample", "rustsec-osv", "dhi-osv")
ALL = (*FEW, "govuln-osv", "julia-osv", "bitnami-osv", "almalinux-osv", "ossfuzz-osv", "cleanstart-osv")


@pytest.mark.parametrize(
    ("sources", "vex"),
    [(FEW, ("openvex-old-forms",)), pytest.param(ALL, ("docker-dhi",), marks=pytest.mark.slow)],
    ids=["few", "all"],
)
def test_base_and_delta_are_the_full_bundle(
    sources: tuple[str, ...], vex: tuple[str, ...], tmp_path: Path, cosign2: Path, cosign3: Path
) -> None:
    older, newer = (
        require_shared(f"data/advisories/{name}/all.zip") for name in ("pypa-osv-2024-10", "pypa-osv")
    )
    sender = Sender(tmp_path / "data")
    sender.profile("update", kind="mirror:delta", fullInstead="never")
    for name in sources:
        sender.take_path(require_shared(f"data/advisories/{name}/all.zip"), name)
    for hub in vex:
        sender.take_path(require_shared(f"data/vex/{hub}"), hub, Side.VEX)
    sender.take_path(older, "pypa")
    base = sender.run("mirror:full")
    report = sender.take_path(newer, "pypa")
    made, full = sender.run("update"), sender.run("mirror:full")
    assert made.export_id == full.export_id

    into, whole, trust = tmp_path / "into", tmp_path / "whole", sender.trust()
    restore([sender.archive(base)], into, trust)
    apply_delta(sender.archive(made), into, trust)
    restore([sender.archive(full)], whole, trust)
    assert verify_bundle(into, trust.pems).verdict == "ok"
    subprocess.run(["diff", "-r", f"{into}/current/", f"{whole}/current/"], check=True)
    for cosign in (cosign2, cosign3):
        demand_verified(cosign, into / target.CURRENT, trust.pems[0], tmp_path / "export-center.pub")
    demand_no_more_than_what_changed(sender.archive(made), trust, tmp_path / "laid-out", report, base)
    sender.close()


def demand_verified(cosign: Path, root: Path, pem: bytes, key: Path) -> None:
    key.write_bytes(pem)
    subprocess.run(
        [
            cosign, "verify-blob", "--key", key, "--signature", root / "signatures/export.sig",
            "--insecure-ignore-tlog=true", root / "export.json",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip


def demand_no_more_than_what_changed(
    archive: Path, trust: Trust, place: Path, report: ImportReport, base: Run
) -> None:
    """The documents are most of it, and none is there that did not change."""
    place.mkdir()
    entries = lay_out(archive, place, trust.keys, trust.revoked).files.entries()
    packed = entries[delta.upserts_file(layout.RAW_ADVISORIES)].bytes
    assert archive.stat().st_size <= 1.3 * packed, {path: entry.bytes for path, entry in entries.items()}
    assert delta.removed_file(layout.RAW_ADVISORIES) not in entries
    # Documents that are only formatted anew have another raw digest in their line, and the same line in the index.
    assert base.sequence is not None
    assert count(place, layout.RAW_ADVISORIES) == report.sequence - base.sequence
    assert count(place, layout.ADVISORIES_INDEX) == report.added + report.changed


def count(place: Path, content: str) -> int:
    tree, name = Tree(place), delta.upserts_file(content)
    return sum(1 for _ in upserts(content, tree.chunks(name), tree.size(name)))
