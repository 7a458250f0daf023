"""`pkcs11:token=…;object=…`: keys in a hardware module, or in a program that behaves as one.

The module is loaded into this process once. Each use opens a session of its own and ends it, and one at a time: the
state of a login belongs to the process, not to the session. A PIN is never tried twice, since tokens lock.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key

from stellaops.adapters.keys.services.context import ServiceContext
from stellaops.signing import ecdsa_p256
from stellaops.signing.ecdsa_p256 import PublicKey, UnusableKey
from stellaops.signing.interface import (
    KeyService,
    KeyServiceDown,
    KeyServiceMissing,
    KeyServiceRefused,
    PinRefused,
)
from stellaops.signing.key_services import matching
from stellaops.signing.key_uri import KeyUri

if TYPE_CHECKING:
    from pkcs11 import Session

_TURN = threading.Lock()
_NONCE_BYTES = 12
_TAG_BITS = 128


def open_service(context: ServiceContext) -> KeyService:
    """The module that the settings name.

    Raises:
        KeyServiceMissing: they name none, it cannot be loaded, or the library for it is not installed.
    """
    try:
        import pkcs11  # noqa: PLC0415 - of the extra `pkcs11`
    except ModuleNotFoundError as error:
        raise KeyServiceMissing(
            f"the library {error.name} is not installed",
            hint="Install it: `pip install 'stellaops[pkcs11]'`.",
        ) from error
    module = context.demand("pkcs11.module")
    try:
        return ModuleKeys(pkcs11.lib(module), context)
    except (RuntimeError, pkcs11.PKCS11Error) as error:
        raise KeyServiceMissing(f"the module {module} cannot be loaded: {_told(error)}") from error


class ModuleKeys:
    """`KeyService` on a PKCS#11 module.

    Args:
        library: the module, loaded.
        context: names the file with the PIN.
    """

    __slots__ = ("_context", "_library")

    def __init__(self, library: Any, context: ServiceContext) -> None:
        self._library, self._context = library, context

    def public_keys(self, uri: KeyUri) -> Sequence[PublicKey]:
        """See `KeyService`; of several objects of one name, the order is the token's."""
        with self._session(uri) as session:
            return tuple(public for _, public in _published(session, uri))

    def sign_digest(self, uri: KeyUri, public: PublicKey, digest: bytes) -> bytes:
        """See `KeyService`."""
        from pkcs11 import Attribute, Mechanism, ObjectClass  # noqa: PLC0415 - see `open_service`

        with self._session(uri) as session:
            known = {each: identity for identity, each in _published(session, uri)}
            identity = known[matching(uri, tuple(known), public.key_id)]
            asked = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.ID: identity}
            made = bytes(_one(session, uri, asked).sign(digest, mechanism=Mechanism.ECDSA))
        half = len(made) // 2
        return encode_dss_signature(int.from_bytes(made[:half], "big"), int.from_bytes(made[half:], "big"))

    def wrap(self, uri: KeyUri, key: bytes, bound_to: bytes) -> bytes:
        """See `KeyService`: the nonce, and the ciphertext with its tag, of AES-GCM in the module."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        with self._session(uri) as session:
            sealed = bytes(_secret(session, uri).encrypt(key, **_gcm(nonce, bound_to)))
        return nonce + sealed

    def unwrap(self, uri: KeyUri, wrapped: bytes, bound_to: bytes) -> bytes:
        """See `KeyService`."""
        nonce, sealed = wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:]
        import pkcs11  # noqa: PLC0415 - see `open_service`

        with self._session(uri) as session:
            key = _secret(session, uri)
            try:
                return bytes(key.decrypt(sealed, **_gcm(nonce, bound_to)))
            except (pkcs11.exceptions.GeneralError, pkcs11.exceptions.EncryptedDataInvalid) as error:
                # Modules have no one name for a tag that does not fit.
                raise KeyServiceRefused(f"{uri} does not open this: {_told(error)}") from error

    @contextmanager
    def _session(self, uri: KeyUri) -> Iterator[Session]:
        import pkcs11  # noqa: PLC0415 - see `open_service`

        with _TURN:
            try:
                token = self._token(uri)
                with token.open(user_pin=self._context.secret("pkcs11.pinFile")) as session:
                    yield session
            except pkcs11.PKCS11Error as error:
                raise _failure(uri, error) from error

    def _token(self, uri: KeyUri) -> Any:
        told = uri.attributes
        for slot in self._library.get_slots(token_present=True):
            token = slot.get_token()
            if "slot-id" in told and slot.slot_id != int(told["slot-id"]):
                continue
            named = {"token": token.label, "serial": token.serial, "manufacturer": token.manufacturer_id,
                     "model": token.model}  # fmt: skip
            if all(_same(told[name], value) for name, value in named.items() if name in told):
                return token
        raise KeyServiceDown(f"{uri}: the module shows no such token")


def _same(wanted: bytes, found: str | bytes) -> bool:
    data = found if isinstance(found, bytes) else found.encode()
    return data.rstrip(b" \0") == wanted.rstrip(b" \0")


def _published(session: Session, uri: KeyUri) -> list[tuple[bytes, PublicKey]]:
    """The P-256 keys that a URI names, each with the id that its private key has too."""
    from pkcs11 import Attribute, KeyType, ObjectClass  # noqa: PLC0415 - see `open_service`
    from pkcs11.util.ec import encode_ec_public_key  # noqa: PLC0415 - see `open_service`

    asked = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.KEY_TYPE: KeyType.EC, **_named(uri)}
    found = []
    keys: Iterable[Any] = session.get_objects(asked)
    for each in keys:
        try:
            public: Any = load_der_public_key(encode_ec_public_key(each))
            found.append((bytes(each[Attribute.ID]), ecdsa_p256.public_key(public)))
        except (UnusableKey, ValueError):
            continue
    if not found:
        raise KeyServiceRefused(
            f"{uri} names no P-256 public key in its token",
            hint="Make a pair there with both halves: `pkcs11-tool --keypairgen --key-type EC:prime256v1`.",
        )
    return found


def _named(uri: KeyUri) -> dict[Any, Any]:
    from pkcs11 import Attribute  # noqa: PLC0415 - see `open_service`

    named: dict[Any, Any] = {}
    if "object" in uri.attributes:
        named[Attribute.LABEL] = uri.attributes["object"].decode("utf-8", "replace")
    if "id" in uri.attributes:
        named[Attribute.ID] = uri.attributes["id"]
    return named


def _secret(session: Session, uri: KeyUri) -> Any:
    from pkcs11 import Attribute, KeyType, ObjectClass  # noqa: PLC0415 - see `open_service`

    return _one(
        session,
        uri,
        {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: KeyType.AES, **_named(uri)},
    )


def _one(session: Session, uri: KeyUri, asked: dict[Any, Any]) -> Any:
    from pkcs11 import Attribute  # noqa: PLC0415 - see `open_service`

    found = list(session.get_objects(asked))
    if len(found) != 1:
        kind = asked[Attribute.CLASS].name.lower().replace("_", " ")
        raise KeyServiceRefused(f"{uri} names {len(found) or 'no'} {kind}s that its token lets us use")
    return found[0]


def _gcm(nonce: bytes, bound_to: bytes) -> dict[str, Any]:
    from pkcs11 import GCMParams, Mechanism  # noqa: PLC0415 - see `open_service`

    return {"mechanism": Mechanism.AES_GCM, "mechanism_param": GCMParams(nonce, bound_to, _TAG_BITS)}


def _failure(uri: KeyUri, error: Exception) -> KeyServiceDown | KeyServiceRefused:
    """A failure of the module: what another attempt may not meet, or what an operator has to set right."""
    from pkcs11 import exceptions as told  # noqa: PLC0415 - see `open_service`

    lost = (
        told.DeviceError, told.DeviceMemory, told.DeviceRemoved, told.TokenNotPresent, told.NoSuchToken,
        told.SessionHandleInvalid, told.SessionClosed, told.SessionCount, told.HostMemory, told.GeneralError,
        told.FunctionFailed, told.FunctionCancelled,
    )  # fmt: skip
    what = f"{uri}: {_told(error)}"
    if isinstance(
        error, told.PinIncorrect | told.PinLocked | told.PinExpired | told.PinLenRange | told.PinInvalid
    ):
        return PinRefused(what)
    return KeyServiceDown(what) if isinstance(error, lost) else KeyServiceRefused(what)


def _told(error: Exception) -> str:
    """The library's errors often are nothing but a name."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
