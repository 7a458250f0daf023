"""Logins, tokens and the abilities that registries have or lack."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stellaops.adapters.oci.errors import LoginsUnusable, RegistryRefused
from stellaops.bundles import layout
from stellaops.core.errors import StellaError
from stellaops.exports.distribution.ports import Delivery
from stellaops.exports.errors import DistributionFailed, TargetIsNewer, VerifyFailed
from tests.support import registry, small_registry, token_service
from tests.support.registry import OciPlace, Registry
from tests.support.small_registry import SmallRegistry
from tests.support.targets import contents, delivery, kept, measured, untold
from tests.support.token_service import TokenService

WORD, NEXT_WORD, WRONG_WORD = "first-secret-word", "second-secret-word", "not-that-one"


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry with TLS and a file of users."""
    with registry.serving(tmp_path_factory.mktemp("closed"), tls=True, users={"pusher": WORD}) as found:
        yield found


@pytest.fixture(scope="module")
def tokens() -> Iterator[TokenService]:
    with token_service.serving() as found:
        yield found


@pytest.fixture(scope="module")
def by_token(tokens: TokenService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that takes tokens of a service alone."""
    folder = tmp_path_factory.mktemp("tokens")
    with registry.serving(folder, auth=tokens.settings(folder)) as found:
        yield found


@pytest.fixture
def small() -> Iterator[SmallRegistry]:
    with small_registry.serving() as found:
        yield found


@pytest.fixture
def small_place(small: SmallRegistry, tmp_path: Path) -> OciPlace:
    return OciPlace(Registry(small.host, tmp_path, tmp_path), tmp_path)


def written(file: Path, host: str, **auth: str) -> Path:
    file.write_text(json.dumps({"auths": {host: auth}}), encoding="utf-8")
    return file


def brought_and_fetched(place: OciPlace, folder: Path) -> None:
    made = delivery(folder)
    delivered = place.open().deliver(made, untold)
    (folder / "back").mkdir()
    place.open().fetch(kept(made, delivered), folder / "back")
    assert contents(folder / "back") == contents(made.root)


def test_a_wrong_login_is_refused_and_no_word_of_it_is_told(closed: Registry, tmp_path: Path) -> None:
    logins = written(tmp_path / "docker.json", closed.host, username="pusher", password=WRONG_WORD)
    with pytest.raises(RegistryRefused) as refused:
        OciPlace(closed, tmp_path, logins=logins).open().deliver(delivery(tmp_path), untold)
    text = "".join(traceback.format_exception(refused.value))
    assert "401" in refused.value.what
    assert WRONG_WORD not in text
    assert base64.b64encode(f"pusher:{WRONG_WORD}".encode()).decode() not in text


def test_without_a_login_one_is_told_which_setting_would_name_it(closed: Registry, tmp_path: Path) -> None:
    with pytest.raises(RegistryRefused, match="dockerConfigFile"):
        OciPlace(closed, tmp_path).open().deliver(delivery(tmp_path), untold)


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(closed: Registry, tmp_path: Path) -> None:
    place = OciPlace(replace(closed, ca_file=None), tmp_path, plain=False)
    with pytest.raises(DistributionFailed, match="certificate") as failed:
        place.open().deliver(delivery(tmp_path), untold)
    assert not failed.value.again


def test_a_login_that_is_replaced_in_the_middle_of_a_push_is_read_again(
    closed: Registry, tmp_path: Path
) -> None:
    logins = closed.logins(tmp_path / "docker.json")
    place = OciPlace(closed, tmp_path, logins=logins)
    made = delivery(tmp_path)
    changes: list[str] = []

    def rotate(event: str, data: object) -> None:
        if not changes:
            changes.append(f"{event} {data}")
            closed.know({"pusher": NEXT_WORD})
            closed.logins(logins)

    delivered = place.open().deliver(made, rotate)
    assert changes
    assert place.open().deliver(made, untold).reference == delivered.reference
    closed.know({"pusher": WORD})


@pytest.mark.parametrize("form", ["password", "identity token"])
def test_tokens_are_got_from_the_service_that_the_registry_names(
    form: str, by_token: Registry, tokens: TokenService, tmp_path: Path
) -> None:
    tokens.users, tokens.identity_tokens = {"pusher": WORD}, {"opaque"}
    auth = {"username": "pusher", "password": WORD} if form == "password" else {"identitytoken": "opaque"}
    logins = written(tmp_path / "docker.json", by_token.host, **auth)
    tokens.asked.clear()
    brought_and_fetched(OciPlace(by_token, tmp_path, logins=logins), tmp_path)
    assert tokens.asked
    assert len(tokens.asked) <= 8, "a token is used until it ends"


def test_a_token_that_ends_in_the_middle_of_a_push_is_renewed(
    by_token: Registry, tokens: TokenService, tmp_path: Path
) -> None:
    tokens.users = {"pusher": WORD}
    logins = written(tmp_path / "docker.json", by_token.host, username="pusher", password=WORD)
    tokens.seconds = 1
    try:
        brought_and_fetched(OciPlace(by_token, tmp_path, logins=logins), tmp_path)
    finally:
        tokens.seconds = 300


def test_a_token_service_that_does_not_know_us_is_named(
    by_token: Registry, tokens: TokenService, tmp_path: Path
) -> None:
    tokens.users = {}
    logins = written(tmp_path / "docker.json", by_token.host, username="pusher", password=WORD)
    with pytest.raises(RegistryRefused, match="gives no token"):
        OciPlace(by_token, tmp_path, logins=logins).open().deliver(delivery(tmp_path), untold)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "No such file"),
        ("{", "not of the form"),
        ('{"auths": []}', "not of the form"),
        ('{"auths": {"other.example": {"auth": "YTpi"}}}', "no login for"),
        ('{"auths": {"HOST": {}}, "credsStore": "desktop"}', "helper"),
        ('{"auths": {"HOST": {"auth": "not base64"}}}', "no login for"),
    ],
)
def test_a_file_of_logins_that_cannot_be_used_is_told_with_its_reason(
    text: str | None, reason: str, closed: Registry, tmp_path: Path
) -> None:
    logins = tmp_path / "docker.json"
    if text is not None:
        logins.write_text(text.replace("HOST", closed.host), encoding="utf-8")
    with pytest.raises(LoginsUnusable, match=reason):
        OciPlace(closed, tmp_path, logins=logins).open().probe()


def test_a_registry_with_the_referrers_api_keeps_the_index_itself(
    small: SmallRegistry, small_place: OciPlace, tmp_path: Path
) -> None:
    brought_and_fetched(small_place, tmp_path)
    made = delivery(tmp_path)
    target = small_place.open()
    delivered = target.deliver(made, untold)
    digest = delivered.reference.partition("@")[2]
    assert [entry["artifactType"] for entry in json.loads(small.referrers(digest))["manifests"]] == [
        "application/vnd.dev.sigstore.bundle.v0.3+json"
    ]
    assert digest.replace(":", "-") not in small.tags
    assert list(target.probe()["remarks"]) == []


def test_removing_takes_signatures_and_what_refers_with_it(
    small: SmallRegistry, small_place: OciPlace, tmp_path: Path
) -> None:
    made = delivery(tmp_path)
    target = small_place.open()
    delivered = target.deliver(made, untold)
    assert target.remove(kept(made, delivered))
    assert small.manifests == {}
    assert small.tags == {}


@pytest.mark.parametrize("status", [405, 403, 400])
def test_a_registry_that_removes_nothing_says_so_and_takes_bundles(
    status: int, small: SmallRegistry, small_place: OciPlace, tmp_path: Path
) -> None:
    small.removing = status
    made = delivery(tmp_path)
    target = small_place.open()
    delivered = target.deliver(made, untold)
    assert not target.remove(kept(made, delivered))
    assert any("cannot be removed" in remark for remark in target.probe()["remarks"])


def test_tags_of_the_content_suit_registries_where_a_tag_is_written_once(
    small: SmallRegistry, small_place: OciPlace, tmp_path: Path
) -> None:
    made = delivery(tmp_path)
    first = small_place.open().deliver(made, untold)
    small.immutable = True
    assert small_place.open().deliver(made, untold) == type(first)(first.reference, 0)


def test_logins_stay_with_their_registry_when_blobs_lie_elsewhere(
    small: SmallRegistry, small_place: OciPlace, tmp_path: Path
) -> None:
    small.basic = f"Basic {base64.b64encode(f'pusher:{WORD}'.encode()).decode()}"
    small_place.logins = written(tmp_path / "docker.json", small.host, username="pusher", password=WORD)
    small.elsewhere = f"http://localhost:{small.host.partition(':')[2]}"
    brought_and_fetched(small_place, tmp_path)
    assert small.strangers
    assert set(small.strangers) == {None}


def test_signatures_of_others_stay_and_a_new_key_adds_its_own(
    small: SmallRegistry, small_place: OciPlace, tmp_path: Path
) -> None:
    made = delivery(tmp_path)
    delivered = small_place.open().deliver(made, untold)
    small_place.keys.rotate()
    again = small_place.open().deliver(made, untold)
    assert again.reference == delivered.reference
    digest = delivered.reference.partition("@")[2]
    signatures = json.loads(small.manifests[small.tags[f"{digest.replace(':', '-')}.sig"]][1])
    assert len(signatures["layers"]) == 2
    assert len(json.loads(small.referrers(digest))["manifests"]) == 2


def test_what_is_signed_by_no_trusted_key_is_not_fetched(small_place: OciPlace, tmp_path: Path) -> None:
    made = delivery(tmp_path)
    delivered = small_place.open().deliver(made, untold)
    small_place.keys.revoked = frozenset({small_place.keys.key.key_id})
    (tmp_path / "back").mkdir()
    with pytest.raises(VerifyFailed, match="no signature by a key of the tenant"):
        small_place.open().fetch(kept(made, delivered), tmp_path / "back")
    assert list((tmp_path / "back").iterdir()) == []


def test_latest_goes_on_after_the_newest_source_was_given_up_or_the_store_was_made_anew(
    small_place: OciPlace, tmp_path: Path
) -> None:
    target = small_place.open()
    one, two = delivery(tmp_path, 1), delivery(tmp_path, 2)
    first, second = target.deliver(one, untold), target.deliver(two, untold)
    target.point(two, second)
    with pytest.raises(TargetIsNewer):
        target.point(one, first)
    target.point(replace(one, sequence=two.sequence + 1), first)  # older content, later snapshot
    assert target.newest(kept(one, first)) == first.reference
    target.point(replace(two, sequence=1), second)  # newer content, sequences that began again
    assert target.newest(kept(one, first)) == second.reference


def test_two_profiles_of_one_name_at_the_target_do_not_take_each_others_latest(
    small_place: OciPlace, tmp_path: Path
) -> None:
    target = small_place.open()
    one = replace(delivery(tmp_path, 1), options={"name": "shared"})
    other = replace(delivery(tmp_path, 2, profile="other"), options={"name": "shared"})
    first, second = target.deliver(one, untold), target.deliver(other, untold)
    target.point(one, first)
    with pytest.raises(StellaError, match="stands for a bundle of profile 'raw'"):
        target.point(other, second)
    assert target.newest(kept(one, first)) == first.reference


@pytest.mark.parametrize("content", [b"[]", b'{"schemaVersion":2,"manifests":[]}', b"\xff"])
def test_something_else_under_a_tag_that_was_never_ours_is_told_and_left_as_it_is(
    content: bytes, small: SmallRegistry, small_place: OciPlace, tmp_path: Path
) -> None:
    target = small_place.open()
    made = delivery(tmp_path)
    delivered = target.deliver(made, untold)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    small.manifests[digest] = "application/vnd.oci.image.index.v1+json", content
    small.tags["latest"] = digest
    with pytest.raises(DistributionFailed, match="never brought from here") as failed:
        target.point(made, delivered)
    assert not failed.value.again
    assert small.tags["latest"] == digest


def put_over(small: SmallRegistry, tag: str, annotations: dict[str, str]) -> str:
    """Somebody else's image under a tag; its digest."""
    wire = {"schemaVersion": 2, "config": {"mediaType": "x", "digest": "x", "size": 1}, "layers": []}
    content = json.dumps(wire | ({"annotations": annotations} if annotations else {})).encode()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    small.manifests[digest] = "application/vnd.oci.image.manifest.v1+json", content
    small.tags[tag] = digest
    return digest


@pytest.mark.parametrize("theirs", [None, "other"])
def test_what_others_put_over_a_tag_of_ours_is_taken_off_it_by_the_next_delivery(
    theirs: str | None, small: SmallRegistry, small_place: OciPlace, tmp_path: Path
) -> None:
    target, own = small_place.open(), "io.stellaops.export."
    older, made = delivery(tmp_path, 1), delivery(tmp_path, 2)
    target.deliver(older, untold)
    delivered = target.deliver(made, untold)
    target.point(made, delivered)
    alien = put_over(small, "latest", {f"{own}tenant": theirs, f"{own}profile": theirs} if theirs else {})
    assert alien in (target.newest(kept(made, delivered)) or "")
    with pytest.raises(TargetIsNewer):
        target.point(older, target.deliver(older, untold))
    target.point(made, target.deliver(made, untold))
    assert target.newest(kept(made, delivered)) == delivered.reference


def database(made: Delivery) -> Delivery:
    """The same bundle with a database that stock Trivy pulls."""
    (made.root / layout.TRIVY_DB).parent.mkdir()
    (made.root / layout.TRIVY_DB).write_bytes(gzip.compress(b"database", mtime=0))
    return replace(made, files=measured(made.root))


@pytest.mark.parametrize("tag", ["2", "20260301"])
def test_each_tag_that_users_pull_is_compared_and_the_one_that_strays_is_named(
    tag: str, small: SmallRegistry, small_place: OciPlace, tmp_path: Path
) -> None:
    made = database(delivery(tmp_path, kind="trivy:db"))
    target = small_place.open()
    delivered = target.deliver(made, untold)
    target.point(made, delivered)
    assert target.newest(kept(made, delivered)) == delivered.reference
    alien = put_over(small, tag, {})
    with pytest.raises(DistributionFailed, match=f"tag {tag} stands for {alien}"):
        target.newest(kept(made, delivered))
    del small.tags[tag]
    with pytest.raises(DistributionFailed, match=f"tag {tag} stands for nothing"):
        target.newest(kept(made, delivered))
    target.point(made, delivered)
    assert target.newest(kept(made, delivered)) == delivered.reference


def test_a_blob_that_was_damaged_is_said_to_stay_until_it_is_removed(
    small: SmallRegistry, small_place: OciPlace, tmp_path: Path
) -> None:
    made = delivery(tmp_path)
    target = small_place.open()
    delivered = target.deliver(made, untold)
    digest = next(f"sha256:{file.sha256}" for file in made.files if file.path.startswith("data/"))
    small.blobs[digest] = small.blobs[digest][:-1] + b"!"
    (tmp_path / "back").mkdir()
    with pytest.raises(DistributionFailed, match="until it is removed there"):
        target.fetch(kept(made, delivered), tmp_path / "back")
