"""`awskms:///KEY`: keys of AWS KMS, by Amazon's own library.

Tried against the shape of its API only (a stand-in that does not judge signatures); so a signature that does not hold
is met here as everywhere: it is not used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from stellaops.adapters.keys import disk
from stellaops.adapters.keys.services.context import ServiceContext
from stellaops.adapters.web.credentials import access_key
from stellaops.authority.keys import KeyUnavailable
from stellaops.core.egress import Offline, target_of
from stellaops.signing import ecdsa_p256
from stellaops.signing.ecdsa_p256 import PublicKey, UnusableKey
from stellaops.signing.interface import KeyService, KeyServiceDown, KeyServiceMissing, KeyServiceRefused
from stellaops.signing.key_uri import KeyUri

_TRY_AGAIN = frozenset(
    (
        "DependencyTimeoutException",
        "InternalFailure",
        "KMSInternalException",
        "KeyUnavailableException",
        "LimitExceededException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    )
)
_BOUND = "stellaops:boundTo"


def open_service(context: ServiceContext) -> KeyService:
    """AWS KMS as the settings reach it.

    Raises:
        KeyServiceMissing: the library is not installed, or the file with the access key is missing.
    """
    try:
        import boto3  # type: ignore[import-untyped]  # noqa: F401, PLC0415 - of the extra `kms`
    except ModuleNotFoundError as error:
        raise KeyServiceMissing(
            f"the library {error.name} is not installed", hint="Install it: `pip install 'stellaops[kms]'`."
        ) from error
    return AwsKeys(context)


class AwsKeys:
    """`KeyService` on AWS KMS.

    Args:
        context: says how it is reached. The file with the access key is read at each use, so that a rotated one is
            used at once.
    """

    __slots__ = ("_context", "_made")

    def __init__(self, context: ServiceContext) -> None:
        self._context = context
        self._made: tuple[Mapping[str, str], Any] | None = None

    def _client(self) -> Any:
        credentials = _credentials(self._context)
        if self._made is None or self._made[0] != credentials:
            self._made = credentials, _client(self._context, credentials)
        return self._made[1]

    def public_keys(self, uri: KeyUri) -> Sequence[PublicKey]:
        """See `KeyService`."""
        with _told(uri):
            answer = self._client().get_public_key(KeyId=uri.name)
        try:
            public = load_der_public_key(answer["PublicKey"])
            if answer.get("KeyUsage") == "SIGN_VERIFY" and isinstance(public, EllipticCurvePublicKey):
                return (ecdsa_p256.public_key(public),)
        except UnusableKey:
            pass
        except (KeyError, ValueError, UnsupportedAlgorithm) as error:
            raise KeyServiceDown(f"{uri}: the answer holds no public key") from error
        raise KeyServiceRefused(
            f"{uri} is not a key of ECC_NIST_P256 for SIGN_VERIFY, and exports are signed with such keys",
            hint="Make one with `aws kms create-key --key-spec ECC_NIST_P256 --key-usage SIGN_VERIFY`.",
        )

    def sign_digest(self, uri: KeyUri, public: PublicKey, digest: bytes) -> bytes:
        """See `KeyService`; which key an alias stands for at present, the check of the signature tells."""
        with _told(uri):
            answer = self._client().sign(
                KeyId=uri.name, Message=digest, MessageType="DIGEST", SigningAlgorithm="ECDSA_SHA_256"
            )
        return bytes(answer["Signature"])

    def wrap(self, uri: KeyUri, key: bytes, bound_to: bytes) -> bytes:
        """See `KeyService`; the key must be symmetric."""
        with _told(uri):
            answer = self._client().encrypt(
                KeyId=uri.name, Plaintext=key, EncryptionContext=_context(bound_to)
            )
        return bytes(answer["CiphertextBlob"])

    def unwrap(self, uri: KeyUri, wrapped: bytes, bound_to: bytes) -> bytes:
        """See `KeyService`."""
        with _told(uri):
            answer = self._client().decrypt(
                KeyId=uri.name, CiphertextBlob=wrapped, EncryptionContext=_context(bound_to)
            )
        return bytes(answer["Plaintext"])


def _context(bound_to: bytes) -> Mapping[str, str]:
    return {_BOUND: bound_to.decode("utf-8", "replace")}


def _client(context: ServiceContext, credentials: Mapping[str, str]) -> Any:
    import boto3  # noqa: PLC0415 - see `open_service`
    from botocore.config import Config  # type: ignore[import-untyped]  # noqa: PLC0415 - see `open_service`

    endpoint = context.setting("awskms.endpoint")
    if context.web.policy.offline:
        raise Offline("AWS KMS is not asked: the product was told to stay offline")
    if endpoint is not None:
        context.web.policy.admit(endpoint, (target_of(endpoint).host,))
    # One attempt each: who asks again, and for how long, is decided for all key services at once.
    config = Config(
        connect_timeout=context.seconds, read_timeout=context.seconds, retries={"total_max_attempts": 1}
    )
    session = boto3.session.Session(**credentials)
    return session.client("kms", endpoint_url=endpoint, config=config)


def _credentials(context: ServiceContext) -> dict[str, str]:
    """The access key of the settings' file; else the library finds what the machine itself may do."""
    region, file = context.setting("awskms.region"), context.setting("awskms.keyFile")
    if file is None:
        return {"region_name": region} if region else {}
    try:
        key = access_key(disk.read_named(Path(file)).decode("utf-8", "replace").strip())
    except KeyUnavailable as error:
        raise KeyServiceMissing(f"awskms.keyFile: {error.what}", hint=error.advice) from error
    if key is None:
        raise KeyServiceMissing(f"awskms.keyFile: {file} holds no access key")
    found = {
        "aws_access_key_id": key.id,
        "aws_secret_access_key": key.secret,
        "region_name": region or key.region,
    }
    return found | ({"aws_session_token": key.token} if key.token else {})


@contextmanager
def _told(uri: KeyUri) -> Iterator[None]:
    from botocore import exceptions  # type: ignore[import-untyped]  # noqa: PLC0415 - see `open_service`

    try:
        yield
    except exceptions.ClientError as error:
        told = error.response.get("Error", {})
        code, status = (
            str(told.get("Code", "")),
            error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0),
        )
        what = f"{uri}: {code}: {str(told.get('Message', ''))[:300]}"
        if code in _TRY_AGAIN or status >= 500:
            raise KeyServiceDown(what) from error
        raise KeyServiceRefused(what) from error
    except exceptions.HTTPClientError as error:
        raise KeyServiceDown(f"{uri}: {type(error).__name__}: {str(error)[:300]}") from error
    except exceptions.BotoCoreError as error:
        raise KeyServiceRefused(f"{uri}: {type(error).__name__}: {str(error)[:300]}") from error
