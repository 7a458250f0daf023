"""Deltas of a store, whatever happens to it in between: applied in order they give what a full export of it gives."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from stellaops.bundles.mirror import delta
from stellaops.ingest.feeds import Side
from stellaops.kit import target
from stellaops.kit.apply import apply_delta, restore
from tests.contract.stores import osv
from tests.contract.test_vex_store import vex
from tests.support.exporting import Sender

NARROWED = {"severityAtLeast": "high", "severityUnknown": "drop"}
SEVERITIES = {
    "high": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
    "low": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:L/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N"}],
    "none": None,
}
KEYS = ("GHSA-aaaa", "GHSA-bbbb", "GHSA-cccc")
CVES = ("CVE-2024-1", "CVE-2024-2")

OLD = (CVES[0], None, "2024-05-01T00:00:00Z")
NEW = (CVES[1], None, "2024-06-01T00:00:00Z")

_advisory = st.tuples(
    st.sampled_from(tuple(SEVERITIES)), st.sampled_from(CVES), st.sampled_from((None, "2024-05-05T00:00:00Z")),
    st.sampled_from(("2024-05-01T00:00:00Z", "2024-06-01T00:00:00Z")),
)  # fmt: skip
_advisories = st.dictionaries(st.sampled_from(KEYS), _advisory, min_size=1)
_statements = st.dictionaries(
    st.sampled_from(("one.json", "two.json")),
    st.tuples(st.sampled_from((*CVES, *KEYS)), st.sampled_from(("not_affected", "affected"))),
    min_size=1,
)
_step = st.one_of(
    st.tuples(st.sampled_from(("a", "b")), _advisories),
    st.tuples(st.just("hub"), _statements),
    st.just("cut"),
)


def documents(listing: dict[str, Any]) -> dict[str, object]:
    return {
        f"{key}.json": osv(
            key, aliases=[cve], severity=SEVERITIES[severity], withdrawn=withdrawn, modified=modified
        )
        for key, (severity, cve, withdrawn, modified) in listing.items()
    }


def statements(listing: dict[str, Any]) -> dict[str, object]:
    return {
        name: vex(
            (about, "pkg:pypi/demo", status, "2025-01-01T00:00:00Z"),
            **{"@id": f"https://example.test/{name}"},
        )
        for name, (about, status) in listing.items()
    }


def happen(sender: Sender, step: Any) -> None:
    """A complete listing of a source: what it lacks has vanished, what it has again has returned."""
    source, listing = step
    if source == "hub":
        sender.take(statements(listing), source, Side.VEX, prune=True)
    else:
        sender.take(documents(listing), source, prune=True)


def files(into: Path) -> dict[str, bytes]:
    current = into / target.CURRENT
    return {
        str(path.relative_to(current)): path.read_bytes() for path in current.rglob("*") if path.is_file()
    }


def demand_equal(steps: list[Any], selectors: dict[str, Any], place: Path) -> None:
    sender = Sender(place / "data")
    try:
        sender.profile("only-delta", kind="mirror:delta", fullInstead="never")
        happen(sender, ("a", {"GHSA-aaaa": ("high", CVES[0], None, "2024-05-01T00:00:00Z")}))
        base = sender.run("mirror:full", selectors=selectors)
        restore([sender.archive(base)], place / "one", sender.trust())
        for step in [*steps, "cut"]:
            if step != "cut":
                happen(sender, step)
                continue
            made = sender.run("only-delta", selectors=selectors)
            assert made.chain is not None
            assert made.chain.number > 0
            apply_delta(sender.archive(made), place / "one", sender.trust())
        full = sender.run("mirror:full", selectors=selectors)
        restore([sender.archive(full)], place / "other", sender.trust())
        assert files(place / "one") == files(place / "other")
    finally:
        sender.close()


@settings(max_examples=6)
@given(st.lists(_step, max_size=6), st.sampled_from(({}, NARROWED)))
@example(
    [
        ("a", {KEYS[0]: ("low", *OLD)}), "cut",
        ("hub", {"one.json": (KEYS[0], "affected")}), "cut",
        ("a", {KEYS[1]: ("high", *NEW), KEYS[0]: ("high", *NEW)}), "cut",
        ("a", {KEYS[0]: ("high", CVES[1], None, OLD[2])}), "cut",
        ("a", {KEYS[0]: ("high", CVES[1], "2024-05-05T00:00:00Z", OLD[2])}),
    ],
    NARROWED,
)  # fmt: skip
def test_deltas_of_a_store_give_what_a_full_export_gives(steps: list[Any], selectors: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        demand_equal(steps, selectors, Path(directory))


def test_what_left_the_selection_has_not_vanished(tmp_path: Path) -> None:
    sender = Sender(tmp_path / "data")
    listing = dict.fromkeys(KEYS, ("high", CVES[0], None, "2024-05-01T00:00:00Z"))
    happen(sender, ("a", listing))
    sender.run("mirror:full", selectors=NARROWED)
    listing[KEYS[0]] = ("low", CVES[0], None, "2024-05-01T00:00:00Z")
    del listing[KEYS[1]]
    happen(sender, ("a", listing))
    made = sender.run("mirror:delta", selectors=NARROWED)
    found = removed(sender, sender.archive(made), tmp_path / "delta")
    assert {(each.key, each.reason, each.tombstone is None) for each in found} == {
        (KEYS[0], "deselected", True),
        (KEYS[1], "vanished", False),
    }
    sender.close()


def removed(sender: Sender, archive: Path, place: Path) -> list[delta.Removal]:
    from stellaops.bundles import layout  # noqa: PLC0415
    from stellaops.kit.delta import lay_out, removals  # noqa: PLC0415
    from stellaops.kit.tree import Tree  # noqa: PLC0415

    place.mkdir()
    trust = sender.trust()
    lay_out(archive, place, trust.keys, trust.revoked)
    tree, name = Tree(place), delta.removed_file(layout.RAW_ADVISORIES)
    return list(removals(layout.RAW_ADVISORIES, tree.chunks(name), tree.size(name)))
