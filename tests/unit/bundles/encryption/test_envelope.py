"""What the provenance says of an encryption opens it for each recipient, and for nobody else."""

from __future__ import annotations

import base64
import os
from typing import Any

import pytest

from stellaops.bundles.encryption import age, envelope
from stellaops.bundles.encryption.aes_gcm import ContentKey
from stellaops.bundles.encryption.errors import NoIdentity, Undecipherable

FIRST, SECOND, OTHER = (age.Identity(os.urandom(32)) for _ in range(3))
KEY = ContentKey(bytes(range(32)))
BOTH = (FIRST.recipient, SECOND.recipient)


@pytest.mark.parametrize("identity", [FIRST, SECOND])
def test_each_recipient_opens_the_content_key(identity: age.Identity) -> None:
    written = envelope.for_content_key(KEY, BOTH, os.urandom)
    read = envelope.read({"encryption": written.to_wire()})
    assert read is not None
    assert envelope.content_key(read, [OTHER, identity]).reveal() == KEY.reveal()


def test_others_are_told_who_the_recipients_are() -> None:
    with pytest.raises(NoIdentity, match=str(FIRST.recipient)):
        envelope.content_key(envelope.for_content_key(KEY, BOTH, os.urandom), [OTHER])


def test_nothing_is_read_where_nothing_is_encrypted() -> None:
    assert envelope.read({}) is None


def test_the_content_key_stands_nowhere_in_the_clear() -> None:
    assert KEY.reveal() not in repr(envelope.for_content_key(KEY, BOTH, os.urandom)).encode()


def other(**changes: Any) -> dict[str, Any]:
    wire = envelope.for_content_key(KEY, BOTH, os.urandom).to_wire()
    return {"encryption": wire | changes}


@pytest.mark.parametrize(
    "environment",
    [
        {"encryption": None},
        other(mode="rot13"),
        other(recipients=[]),
        other(recipients=[{"type": "age"}]),
        other(more=1),
    ],
)
def test_an_envelope_of_another_form_is_refused(environment: dict[str, Any]) -> None:
    with pytest.raises(Undecipherable, match="encryption cannot be read"):
        envelope.read(environment)


@pytest.mark.parametrize("wrapped", [None, "%%%", "YQ=="])
def test_a_damaged_wrapped_key_is_refused(wrapped: str | None) -> None:
    damaged = envelope.Envelope("aes-gcm", (envelope.WrappedFor("age", str(FIRST.recipient), wrapped),))
    with pytest.raises(Undecipherable):
        envelope.content_key(damaged, [FIRST])


def test_something_longer_than_a_key_is_no_content_key() -> None:
    wrapped = b"".join(age.encrypt([bytes(33)], [FIRST.recipient], os.urandom))
    longer = envelope.WrappedFor("age", str(FIRST.recipient), base64.b64encode(wrapped).decode())
    with pytest.raises(Undecipherable, match="longer"):
        envelope.content_key(envelope.Envelope("aes-gcm", (longer,)), [FIRST])
