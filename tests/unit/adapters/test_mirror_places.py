"""The places that mirrors are synced from, told by their addresses."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from stellaops.adapters.mirrors.opening import UnknownSource, open_source
from stellaops.adapters.settings.load import load
from stellaops.adapters.web.client import WebSettings
from stellaops.core.egress import EgressPolicy
from stellaops.core.exit_codes import exit_code


@pytest.mark.parametrize(
    "place", ["ftp://x", "gs://bucket/prefix", "file:///srv/mirror", "sftp://me:word@host/x"]
)
def test_an_address_of_an_unknown_kind_is_refused_with_the_kinds_that_there_are(place: str) -> None:
    with pytest.raises(UnknownSource) as refused:
        open_source(place, load({}, {}), WebSettings(EgressPolicy()), lambda: datetime.now(UTC))
    assert exit_code(refused.value) == 2
    assert place.partition(":")[0] in refused.value.what
    assert "word" not in refused.value.what
    for kind in ("s3://", "https://", "oci://", "rsync://", "HOST:PATH", "a directory"):
        assert kind in refused.value.advice
