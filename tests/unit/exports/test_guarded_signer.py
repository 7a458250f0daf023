"""Whatever keeps a key from signing ends an export as `signing`, in any step; what is worth another attempt."""

from __future__ import annotations

import pytest

from stellaops.authority.keys import KeyUnavailable
from stellaops.core.errors import StellaError
from stellaops.exports.errors import SigningFailed, error_code
from stellaops.exports.execute_run import is_worth_retrying
from stellaops.exports.guarded_signer import tried_signer, wrapping_for
from stellaops.signing import ecdsa_p256
from stellaops.signing.interface import (
    KeyServiceDown,
    KeyServiceRefused,
    KeyServiceWrong,
    PinRefused,
    Signer,
)

KEY = ecdsa_p256.generate()


class Keys:
    """A key that signs so often and then fails."""

    def __init__(self, error: StellaError, good: int = 0) -> None:
        self.error, self.good, self.asked = error, good, list[str | None]()
        self.key_id = KEY.key_id

    def signer(self, tenant: str, key: str | None = None) -> Signer:
        self.asked.append(key)
        return self

    def trusted(self, tenant: str) -> tuple[tuple[bytes, ...], frozenset[str]]:
        return (KEY.public_key_pem(),), frozenset()

    def public_key_pem(self) -> bytes:
        return KEY.public_key_pem()

    def sign(self, message: bytes) -> bytes:
        self.good -= 1
        if self.good < 0:
            raise self.error
        return KEY.sign(message)

    def sign_digest(self, digest: bytes) -> bytes:
        raise self.error

    def wrap(self, tenant: str, uri: str, key: bytes, bound_to: str) -> bytes:
        raise self.error


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (KeyServiceDown("away"), True),
        (KeyServiceRefused("no permission"), True),
        (KeyServiceWrong("another key"), True),
        (KeyUnavailable("no passphrase"), True),
        (PinRefused("PinIncorrect"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_key_that_cannot_sign_is_told_as_such_whenever_that_is(error: StellaError, again: bool) -> None:
    with pytest.raises(SigningFailed, match=error.what) as first:
        tried_signer(Keys(error), "acme", "a-key")
    later = tried_signer(Keys(error, good=1), "acme")
    with pytest.raises(SigningFailed, match=error.what):
        later.sign(b"x")
    with pytest.raises(SigningFailed, match=error.what):
        later.sign_digest(bytes(32))
    with pytest.raises(SigningFailed, match=f"hashivault://x: {error.what}"):
        wrapping_for(Keys(error), "acme")("hashivault://x", bytes(32), "export")
    assert error_code(first.value) == "signing"
    assert first.value.advice == error.advice
    assert is_worth_retrying(first.value) is again


def test_the_key_that_is_meant_is_asked_for() -> None:
    keys = Keys(KeyServiceDown("away"), good=2)
    tried_signer(keys, "acme", "hashivault://x")
    tried_signer(keys, "acme")
    assert keys.asked == ["hashivault://x", None]
