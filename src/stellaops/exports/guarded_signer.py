"""The keys that an export needs: whenever one cannot be used, the export ends as `ERR_EXPORT_SIGNING`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from stellaops.core.errors import StellaError
from stellaops.exports.errors import SigningFailed
from stellaops.exports.ports import Keys, Wrapping
from stellaops.signing.interface import PinRefused, Signer


@dataclass(frozen=True, slots=True)
class GuardedSigner:
    """A `Signer` whose failures are `SigningFailed`, in whatever step of an export they come."""

    tenant: str
    signer: Signer

    @property
    def key_id(self) -> str:
        """See `Signer`."""
        return self.signer.key_id

    def public_key_pem(self) -> bytes:
        """See `Signer`."""
        return self.signer.public_key_pem()

    def sign(self, message: bytes) -> bytes:
        """See `Signer`."""
        with as_signing_failure(f"the key of tenant {self.tenant} cannot sign"):
            return self.signer.sign(message)

    def sign_digest(self, digest: bytes) -> bytes:
        """See `Signer`."""
        with as_signing_failure(f"the key of tenant {self.tenant} cannot sign"):
            return self.signer.sign_digest(digest)


def tried_signer(keys: Keys, tenant: str, key: str | None = None) -> Signer:
    """A tenant's key, tried once before anything is built that it is to sign.

    Args:
        key: its id, or its URI in a key service; the active one where None.

    Raises:
        SigningFailed: it cannot sign.
    """
    with as_signing_failure(f"the key of tenant {tenant} cannot sign"):
        signer = GuardedSigner(tenant, keys.signer(tenant, key))
    signer.sign(b"probe")
    return signer


def wrapping_for(services: Wrapping, tenant: str) -> Callable[[str, bytes, str], bytes]:
    """How a tenant's content keys are wrapped by key services: URI, key, what it is bound to.

    What is returned raises `SigningFailed` where a service does not do it: the key services are what both need.
    """

    def wrap(uri: str, key: bytes, bound_to: str) -> bytes:
        with as_signing_failure(f"the content key is not wrapped for {uri}"):
            return services.wrap(tenant, uri, key, bound_to)

    return wrap


@contextmanager
def as_signing_failure(what: str) -> Iterator[None]:
    """Tell a failure of a key, or of the service that keeps it, as one of the export.

    Raises:
        SigningFailed: see there.
    """
    try:
        yield
    except SigningFailed:
        raise
    except StellaError as error:
        again = not isinstance(error, PinRefused)
        raise SigningFailed(f"{what}: {error.what}", hint=error.advice, again=again) from error
