"""A key service is asked again while that makes sense, and what it gives is believed after a check."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest

from stellaops.signing import ecdsa_p256, key_uri
from stellaops.signing.ecdsa_p256 import PrivateKey, PublicKey
from stellaops.signing.interface import KeyServiceDown, KeyServiceRefused, KeyServiceWrong
from stellaops.signing.key_services import Patience, PatientService, ServiceSigner
from stellaops.signing.key_uri import KeyUri

KEY = ecdsa_p256.generate()
URI = key_uri.parse("hashivault://acme")
DIGEST = hashlib.sha256(b"x").digest()


class Service:
    """Fails by the errors it is given, one at each call, and then signs with its key."""

    def __init__(self, *errors: Exception, key: PrivateKey = KEY) -> None:
        self.errors, self.key, self.calls = list(errors), key, 0

    def public_keys(self, uri: KeyUri) -> Sequence[PublicKey]:
        return (self.key.public,)

    def sign_digest(self, uri: KeyUri, public: PublicKey, digest: bytes) -> bytes:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.key.sign_digest(digest)

    def wrap(self, uri: KeyUri, key: bytes, bound_to: bytes) -> bytes:
        raise NotImplementedError

    def unwrap(self, uri: KeyUri, wrapped: bytes, bound_to: bytes) -> bytes:
        raise NotImplementedError


def signer(service: Service, pauses: list[float], attempts: int = 5) -> ServiceSigner:
    return ServiceSigner(
        PatientService(service, Patience(attempts, pauses.append, lambda: 0.5)), URI, KEY.public
    )


def down(seconds: float | None = None) -> KeyServiceDown:
    return KeyServiceDown("away", retry_after=seconds)


def test_pauses_grow_until_the_service_is_back() -> None:
    pauses: list[float] = []
    assert signer(Service(down(), down(), down()), pauses).sign_digest(DIGEST) == KEY.sign_digest(DIGEST)
    assert pauses == [0.5, 1.0, 2.0]


def test_after_the_last_attempt_the_reason_and_their_number_are_told() -> None:
    pauses: list[float] = []
    service = Service(*(down() for _ in range(9)))
    with pytest.raises(KeyServiceDown, match=r"away \(asked 3 times\)"):
        signer(service, pauses, attempts=3).sign(b"x")
    assert (service.calls, len(pauses)) == (3, 2)


def test_a_service_that_says_when_is_not_asked_before() -> None:
    pauses: list[float] = []
    signer(Service(down(7.0)), pauses).sign(b"x")
    assert pauses == [7.0]


def test_one_that_wants_to_be_left_alone_for_long_has_failed() -> None:
    pauses: list[float] = []
    with pytest.raises(KeyServiceDown, match="asked once"):
        signer(Service(down(3600.0)), pauses).sign(b"x")
    assert pauses == []


def test_a_refusal_is_not_repeated() -> None:
    pauses: list[float] = []
    service = Service(KeyServiceRefused("no permission"))
    with pytest.raises(KeyServiceRefused):
        signer(service, pauses).sign(b"x")
    assert (service.calls, pauses) == (1, [])


def test_a_signature_by_another_key_is_not_given() -> None:
    with pytest.raises(KeyServiceWrong, match=KEY.key_id):
        signer(Service(key=ecdsa_p256.generate()), []).sign(b"x")


@pytest.mark.parametrize(
    "made",
    [b"", b"junk", KEY.sign(b"y"), KEY.sign(b"x")[:-1], KEY.sign(b"x") + b"\0"],
    ids=["nothing", "junk", "another", "cut", "longer"],
)
def test_what_is_no_signature_of_the_message_is_not_given(
    made: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service()
    monkeypatch.setattr(service, "sign_digest", lambda uri, public, digest: made)
    with pytest.raises(KeyServiceWrong):
        signer(service, []).sign(b"x")
