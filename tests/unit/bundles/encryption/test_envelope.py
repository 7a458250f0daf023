"""What the provenance says of an encryption opens it for each recipient, and for nobody else."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from typing import Any

import pytest

from stellaops.bundles.encryption import age, envelope
from stellaops.bundles.encryption.aes_gcm import ContentKey
from stellaops.bundles.encryption.envelope import ServiceIdentity, ServiceRecipient
from stellaops.bundles.encryption.errors import NoIdentity, Undecipherable
from stellaops.core.errors import DependencyFailed, MissingPrerequisite

FIRST, SECOND, OTHER = (age.Identity(os.urandom(32)) for _ in range(3))
KEY = ContentKey(bytes(range(32)))
BOTH = (FIRST.recipient, SECOND.recipient)
EXPORT = "an-export"
SERVICE = "hashivault://bundles"


@pytest.mark.parametrize("identity", [FIRST, SECOND])
def test_each_recipient_opens_the_content_key(identity: age.Identity) -> None:
    written = envelope.for_content_key(KEY, BOTH, EXPORT, os.urandom)
    read = envelope.read({"encryption": written.to_wire()})
    assert read is not None
    assert envelope.content_key(read, [OTHER, identity], EXPORT).reveal() == KEY.reveal()


def test_others_are_told_who_the_recipients_are() -> None:
    with pytest.raises(NoIdentity, match=str(FIRST.recipient)):
        envelope.content_key(envelope.for_content_key(KEY, BOTH, EXPORT, os.urandom), [OTHER], EXPORT)


def test_nothing_is_read_where_nothing_is_encrypted() -> None:
    assert envelope.read({}) is None


def test_the_content_key_stands_nowhere_in_the_clear() -> None:
    assert KEY.reveal() not in repr(envelope.for_content_key(KEY, BOTH, EXPORT, os.urandom)).encode()


def other(**changes: Any) -> dict[str, Any]:
    wire = envelope.for_content_key(KEY, BOTH, EXPORT, os.urandom).to_wire()
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
        envelope.content_key(damaged, [FIRST], EXPORT)


def test_something_longer_than_a_key_is_no_content_key() -> None:
    wrapped = b"".join(age.encrypt([bytes(33)], [FIRST.recipient], os.urandom))
    longer = envelope.WrappedFor("age", str(FIRST.recipient), base64.b64encode(wrapped).decode())
    with pytest.raises(Undecipherable, match="longer"):
        envelope.content_key(envelope.Envelope("aes-gcm", (longer,)), [FIRST], EXPORT)


def masked(uri: str, key: bytes, bound_to: str) -> bytes:
    """Stands for a service that wraps by adding a mark which nobody else takes off."""
    return f"{uri}|{bound_to}|".encode() + key[::-1]


def identity(uri: str = SERVICE, asked: list[str] | None = None) -> ServiceIdentity:
    def unwrap(wrapped: bytes, bound_to: str) -> bytes:
        (asked if asked is not None else []).append(uri)
        mark = f"{uri}|{bound_to}|".encode()
        if not wrapped.startswith(mark):
            raise MissingPrerequisite(f"{uri} refuses")
        return wrapped.removeprefix(mark)[::-1]

    return ServiceIdentity(uri, unwrap)


class TestKeyServices:
    def written(self, *more: str) -> envelope.Envelope:
        services = [ServiceRecipient(uri, masked) for uri in (SERVICE, *more)]
        made = envelope.for_content_key(KEY, [FIRST.recipient, *services], EXPORT, os.urandom)
        read = envelope.read({"encryption": made.to_wire()})
        assert read is not None
        return read

    @pytest.mark.parametrize("opener", [FIRST, identity()])
    def test_each_kind_of_recipient_opens_the_content_key(self, opener: envelope.Opener) -> None:
        assert envelope.content_key(self.written(), [OTHER, opener], EXPORT).reveal() == KEY.reveal()

    def test_the_key_of_another_export_is_not_opened(self) -> None:
        with pytest.raises(NoIdentity, match="hashivault://bundles refuses"):
            envelope.content_key(self.written(), [identity()], "another-export")

    def test_the_recipient_that_is_named_is_asked_first_and_others_of_its_service_next(self) -> None:
        asked: list[str] = []
        envelope.content_key(self.written("hashivault://second"), [identity(asked=asked)], EXPORT)
        assert asked == [SERVICE]
        with pytest.raises(NoIdentity, match="hashivault://alias refuses"):
            envelope.content_key(self.written(), [identity("hashivault://alias", asked)], EXPORT)
        assert asked == [SERVICE, "hashivault://alias"]

    def test_a_service_of_another_kind_is_not_asked(self) -> None:
        asked: list[str] = []
        with pytest.raises(NoIdentity, match="recipients are"):
            envelope.content_key(self.written(), [identity("awskms:///alias/x", asked)], EXPORT)
        assert asked == []

    @pytest.mark.parametrize(
        ("gives", "error"),
        [(lambda: bytes(31), Undecipherable), (lambda: bytes(33), Undecipherable)],
    )
    def test_what_is_no_key_is_not_used(self, gives: Callable[[], bytes], error: type[Exception]) -> None:
        with pytest.raises(error, match="content key has"):
            envelope.content_key(self.written(), [ServiceIdentity(SERVICE, lambda *_: gives())], EXPORT)

    def test_a_service_that_is_away_is_told_as_such(self) -> None:
        def away(wrapped: bytes, bound_to: str) -> bytes:
            raise DependencyFailed("away")

        with pytest.raises(DependencyFailed, match="away"):
            envelope.content_key(self.written(), [ServiceIdentity(SERVICE, away)], EXPORT)
