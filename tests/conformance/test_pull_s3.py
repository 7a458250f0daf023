"""Pulls from a real S3 server: signed requests, pages, ETags, refusals; and AWS's own example of a signature."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stellaops.adapters.web.sigv4 import AccessKey, signed_headers
from stellaops.ingest.pull_model import Authentication, Definition
from tests.contract.stores import osv, sqlite_store
from tests.support import s3
from tests.support.pulling import Puller, ok


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3.Bucket]:
    with s3.serving(tmp_path_factory.mktemp("weed")) as found:
        yield found


def credentials(directory: Path, key: AccessKey) -> Authentication:
    file = directory / "s3"
    file.write_text(f"[default]\naws_access_key_id = {key.id}\naws_secret_access_key = {key.secret}\n")
    return Authentication("s3", str(file))


def test_a_bucket_is_pulled_and_only_what_changed_is_fetched(bucket: s3.Bucket, tmp_path: Path) -> None:
    store = sqlite_store(tmp_path / "data")
    puller = Puller(store, store.engine, tmp_path, clock=datetime.now(UTC))
    names = [f"GHSA-aaaa-bbbb-{number:04}" for number in range(1200)]  # more than a page
    for name in names:
        bucket.put(f"osv feeds/{name}+x.json", json.dumps(osv(name)).encode())
    bucket.put("osv feeds/readme.txt", b"no document")
    source = Definition(
        name="demo",
        layout="s3",
        url=f"{bucket.url}osv%20feeds/",
        options={"suffixes": ".json"},
        prune=True,
        authentication=credentials(tmp_path, bucket.key),
    )
    assert ok(puller.pull(source)).fetched == len(names)
    assert store.keys() == names
    assert ok(puller.pull(source)).fetched == 0
    bucket.put(
        "osv feeds/GHSA-aaaa-bbbb-0007+x.json", json.dumps(osv("GHSA-aaaa-bbbb-0007", summary="New")).encode()
    )
    report = ok(puller.pull(source))
    assert report.report is not None
    assert (report.fetched, report.report.changed) == (1, 1)

    wrong = AccessKey(bucket.key.id, bucket.key.secret[::-1])
    credentials(tmp_path, wrong)
    refused = puller.pull(source)
    assert (refused.state, refused.error_code) == ("failed", "ERR_PULL_NOT_PERMITTED")
    assert wrong.secret not in repr(refused)


def test_the_signature_is_that_of_the_published_example() -> None:
    """ "GET Bucket Lifecycle" of Amazon's documentation of Signature Version 4."""
    key = AccessKey("AKIAIOSFODNN7" + "EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    moment = datetime(2013, 5, 24, tzinfo=UTC)
    headers = signed_headers("GET", "https://examplebucket.s3.amazonaws.com/?lifecycle", {}, key, moment)
    assert headers["authorization"].endswith(
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
    )
