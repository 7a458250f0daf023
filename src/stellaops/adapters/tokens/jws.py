"""Access tokens in JWS's compact form, ES256 and nothing else; public keys as JWKs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from stellaops.authority.tokens import TYPE, BadToken, TokenKey
from stellaops.signing.ecdsa_p256 import PrivateKey

ALGORITHMS = ("ES256",)
"""What a token may be signed with, whatever it says itself."""
_HEADER = frozenset({"alg", "kid", "typ"})


class JwsReader:
    """`authority.ports.TokenReader`."""

    def key_id(self, token: str) -> str:
        """See the port. A header with more or less than our tokens have is refused: it could ask for more."""
        try:
            header = jws.extract_compact(token.encode("ascii")).headers()
        except (JoseError, ValueError, TypeError, AttributeError, RecursionError):
            raise BadToken("the access token is no JWT") from None
        key_id = header.get("kid")
        if header.get("alg") not in ALGORITHMS:
            raise BadToken("the access token is not signed with ES256")
        if header.keys() != _HEADER or header["typ"] != TYPE or not isinstance(key_id, str):
            raise BadToken("the access token's header is not that of an access token")
        return key_id

    def claims(self, token: str, key: TokenKey) -> Mapping[str, Any]:
        """See the port."""
        try:
            return jwt.decode(token, _public(key.public_key_pem), algorithms=ALGORITHMS).claims
        except (JoseError, ValueError, RecursionError):
            raise BadToken("the access token's signature does not hold") from None


def sign(claims: Mapping[str, Any], key_id: str, key: ECKey) -> str:
    """A token in the compact form."""
    header = {"alg": ALGORITHMS[0], "kid": key_id, "typ": TYPE}
    return jwt.encode(header, dict(claims), key, algorithms=ALGORITHMS)


def signing_key(key: PrivateKey) -> ECKey:
    """A private key as joserfc takes it."""
    return ECKey.import_key(key.to_pem(None))


def jwks(keys: Iterable[TokenKey]) -> dict[str, Any]:
    """Public keys as a JWK Set (RFC 7517)."""
    return {
        "keys": [
            {
                **_public(key.public_key_pem).as_dict(private=False),
                "kid": key.id,
                "use": "sig",
                "alg": ALGORITHMS[0],
            }
            for key in keys
        ]
    }


@lru_cache(maxsize=64)
def _public(pem: bytes) -> ECKey:
    return ECKey.import_key(pem)
