"""Files of public keys that a receiver trusts, and of private keys that it decrypts with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stellaops.bundles.encryption import age
from stellaops.bundles.encryption.age import Identity
from stellaops.bundles.encryption.errors import InvalidIdentity
from stellaops.core.errors import MissingPrerequisite, NotFound, NotTrusted
from stellaops.signing import ecdsa_p256, key_uri
from stellaops.signing.ecdsa_p256 import UnusableKey

_LARGEST = 1024 * 1024
"""Bytes of the largest file of public keys: some 5,000 of them."""


class KeyFileMissing(NotFound):
    """A key file that was named does not exist or cannot be read."""

    code = "ERR_KEY_FILE_MISSING"
    hint = "Give the path of a public key in PEM, such as the sender's export-center.pub."


class NothingTrusted(NotTrusted):
    """There is no key to verify with."""

    code = "ERR_NO_TRUSTED_KEY"
    hint = "Give the sender's public key with --key."


class NoKeyServices(MissingPrerequisite):
    """A key in a key service was named where none can be asked: the verifier stands alone, without a network."""

    code = "ERR_KIT_NO_KEY_SERVICES"
    hint = (
        "Decrypt with `stella mirror decrypt` where the key service is reached, then carry on what comes out."
    )


def public_keys(path: Path) -> tuple[bytes, ...]:
    """The public keys in a file, each in PEM.

    Raises:
        KeyFileMissing: see there.
        UnusableKey: a file without public keys.
    """
    data = _read(path)
    if len(data) > _LARGEST:
        raise UnusableKey(f"{path} has more than {_LARGEST} bytes and holds no public keys")
    try:
        return tuple(key.pem() for key in ecdsa_p256.load_public_keys(data))
    except UnusableKey as error:
        raise UnusableKey(f"{path}: {error.what}") from error


def public_keys_in(directory: Path) -> tuple[bytes, ...]:
    """The public keys in all files `*.pub` of a directory, each once.

    Raises:
        NothingTrusted: there is none.
        UnusableKey: a file without public keys.
    """
    found = [pem for path in sorted(directory.glob("*.pub")) for pem in public_keys(path)]
    if not found:
        raise NothingTrusted(f"there is no public key in {directory}, and no --key was given")
    return tuple(dict.fromkeys(found))


def identities(names: Sequence[str]) -> tuple[Identity, ...]:
    """The private keys of age in some files.

    Raises:
        KeyFileMissing: see there.
        NoKeyServices: a URI of a key service in place of a file.
        InvalidIdentity: a file that holds none.
    """
    found: list[Identity] = []
    for name in names:
        if key_uri.is_uri(name):
            raise NoKeyServices(f"{name[:200]} is a key in a key service, and no file")
        path = Path(name)
        try:
            found += age.identities(_read(path).decode("ascii"))
        except UnicodeDecodeError as error:
            raise InvalidIdentity(f"{path} is no file of private keys of age") from error
        except InvalidIdentity as error:
            raise InvalidIdentity(f"{path}: {error.what}") from error
    return tuple(found)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST + 1)
    except OSError as error:
        raise KeyFileMissing(f"{path}: {error.strerror}") from error
