"""Signed links: what they open, for how long, and that no other text opens anything."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellaops.adapters.keys.link_keys import FileLinkKeys
from stellaops.adapters.objects.directory import DirectoryArtefacts
from stellaops.authority.keys import KeyUnavailable
from stellaops.exports.distribution.links import (
    LONGEST,
    BadLinkLife,
    Claim,
    LinkInvalid,
    LinkKey,
    address,
    checked,
    demand_life,
)
from stellaops.exports.distribution.make_links import LinkTools, PublicUrlMissing, make_links
from stellaops.exports.run import Archive, Artifact, Run, RunStatus

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = LinkKey("1772366400-00000000", b"k" * 32)
CLAIM = Claim("acme", "run-1", "data/raw/advisories/00000.jsonl.zst", NOON + timedelta(hours=1))


def parts(link: str) -> tuple[str, str, dict[str, str]]:
    """The run, the path and the query of a link."""
    found = urlsplit(link)
    _, _, rest = found.path.partition("/runs/")
    run, _, path = rest.partition("/artifacts/")
    return unquote(run), unquote(path), dict(parse_qsl(found.query))


def opened(link: str, now: datetime = NOON) -> Claim:
    run, path, query = parts(link)
    return checked(query, run, path, {KEY.id: KEY}.get, now)


def test_a_link_opens_what_it_was_made_for_until_it_ends() -> None:
    link = address(CLAIM, KEY)
    assert opened(link) == CLAIM
    assert opened(link, CLAIM.expires_at - timedelta(microseconds=1)) == CLAIM
    with pytest.raises(LinkInvalid, match="over"):
        opened(link, CLAIM.expires_at)
    assert KEY.secret.decode() not in link


@given(
    st.builds(
        Claim,
        tenant=st.from_regex(r"[a-z0-9-]{1,12}", fullmatch=True),
        run=st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12),
        path=st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20),
        expires_at=st.just(CLAIM.expires_at),
    )
)
def test_a_link_survives_its_way_through_an_address(claim: Claim) -> None:
    assert opened(address(claim, KEY)) == claim


@given(st.data())
def test_a_link_with_anything_changed_opens_nothing(data: st.DataObject) -> None:
    link = address(CLAIM, KEY)
    place = data.draw(st.integers(min_value=link.index("run-1"), max_value=len(link) - 1))
    other = data.draw(st.sampled_from("abcXYZ0189-_.=&/%"))
    changed = link[:place] + other + link[place + 1 :]
    try:
        found = opened(changed)
    except LinkInvalid:
        return
    assert found == CLAIM, "only spellings of the same link may open"


def test_parts_of_a_claim_cannot_be_moved_from_one_to_the_other() -> None:
    run, path, query = parts(address(replace(CLAIM, run="run-1", path="1/a"), KEY))
    with pytest.raises(LinkInvalid):
        checked(query, f"{run}1", path[1:], {KEY.id: KEY}.get, NOON)


@pytest.mark.parametrize("expires", ["", "x", "-1", "1e9", "9" * 12, "١٢٣"])
def test_an_end_that_is_no_number_is_refused(expires: str) -> None:
    run, path, query = parts(address(CLAIM, KEY))
    with pytest.raises(LinkInvalid):
        checked({**query, "expires": expires}, run, path, {KEY.id: KEY}.get, NOON)


def test_lives_have_bounds() -> None:
    assert demand_life(LONGEST) == LONGEST
    for life in (timedelta(), timedelta(seconds=9), LONGEST + timedelta(seconds=1), -LONGEST):
        with pytest.raises(BadLinkLife):
            demand_life(life)


# ---- links of a run


class Bucket(DirectoryArtefacts):
    """A store that gives links of its own."""

    def link(self, archive: Archive, path: str, seconds: int) -> str:
        return f"https://bucket.example.org/{archive.export_id}/{path}?for={seconds}"


def published(store: DirectoryArtefacts, directory: Path) -> Run:
    """A run with a bundle of two files."""
    root = directory / "grown"
    for name in ("export.json", "signatures/export.sig"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    store.put(Archive("e", "a"), root)
    artifact = Artifact("export.json", "export.json", "sha256:00", 11)
    return Run("run-1", "acme", "raw", "r1", "json:raw", {}, RunStatus.SUCCEEDED, NOON, export_id="e", archive_id="a",
               artifacts=(artifact,))  # fmt: skip


def tools(store: DirectoryArtefacts, directory: Path, server: str | None) -> LinkTools:
    return LinkTools(store, FileLinkKeys(directory / "links"), server, lambda: NOON)


def test_a_store_of_objects_gives_its_own_links_and_needs_no_address_of_the_api(tmp_path: Path) -> None:
    store = Bucket(tmp_path / "kept")
    made = make_links(published(store, tmp_path), None, timedelta(hours=2), tools(store, tmp_path, None))
    assert [(each.path, each.sha256, each.url) for each in made.links] == [
        ("export.json", "sha256:00", "https://bucket.example.org/e/export.json?for=7200"),
        ("signatures/export.sig", None, "https://bucket.example.org/e/signatures/export.sig?for=7200"),
    ]
    assert made.expires_at == NOON + timedelta(hours=2)
    assert not (tmp_path / "links").exists()


def test_a_directory_gives_links_to_the_api_that_open_what_they_say(tmp_path: Path) -> None:
    store = DirectoryArtefacts(tmp_path / "kept")
    run = published(store, tmp_path)
    given = tools(store, tmp_path, "https://stella.example.org/")
    (link,) = make_links(run, "export.json", timedelta(hours=2), given).links
    assert link.url.startswith("https://stella.example.org/api/export/runs/run-1/artifacts/export.json?")
    told_run, path, query = parts(link.url)
    found = checked(query, told_run, path, given.keys.get, NOON)
    assert found == Claim("acme", "run-1", "export.json", NOON + timedelta(hours=2))
    assert link.url.partition("?")[2] not in repr(link)
    with pytest.raises(PublicUrlMissing):
        make_links(run, None, timedelta(hours=2), tools(store, tmp_path, None))


# ---- keys


def test_a_key_signs_for_thirty_days_and_verifies_as_long_as_its_last_link(tmp_path: Path) -> None:
    keys = FileLinkKeys(tmp_path / "authority" / "links")
    first = keys.signing(NOON)
    assert keys.signing(NOON + timedelta(days=29)) == first
    assert FileLinkKeys(tmp_path / "authority" / "links").get(first.id) == first
    second = keys.signing(NOON + timedelta(days=30))
    assert second.id != first.id
    assert second.secret != first.secret
    keys.signing(NOON + timedelta(days=36))
    assert keys.get(first.id) == first
    keys.signing(NOON + timedelta(days=38))
    assert keys.get(first.id) is None
    assert keys.get(second.id) == second


def test_keys_are_their_owners_alone_and_show_nowhere(tmp_path: Path) -> None:
    keys = FileLinkKeys(tmp_path / "links")
    key = keys.signing(NOON)
    file = tmp_path / "links" / f"{key.id}.key"
    assert file.stat().st_mode & 0o777 == 0o600
    assert key.secret.hex() not in repr(key)
    file.chmod(0o644)
    with pytest.raises(KeyUnavailable):
        keys.get(key.id)


@pytest.mark.parametrize("key_id", ["", "..", "../../etc/passwd", "a/b", "1772366400-0000000g", "\x00"])
def test_what_is_no_keys_name_is_no_key(key_id: str, tmp_path: Path) -> None:
    keys = FileLinkKeys(tmp_path / "links")
    keys.signing(NOON)
    assert keys.get(key_id) is None


def test_a_damaged_key_is_told(tmp_path: Path) -> None:
    keys = FileLinkKeys(tmp_path / "links")
    key = keys.signing(NOON)
    (tmp_path / "links" / f"{key.id}.key").write_bytes(b"short\n")
    with pytest.raises(KeyUnavailable, match="no key of links"):
        keys.get(key.id)
