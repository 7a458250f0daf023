"""The key services of this installation, by the scheme of their URIs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from stellaops.adapters.keys.services import awskms, file, hashivault, pkcs11
from stellaops.adapters.keys.services.context import ServiceContext
from stellaops.signing import key_uri
from stellaops.signing.ecdsa_p256 import PublicKey
from stellaops.signing.interface import KeyService, Signer
from stellaops.signing.key_services import Patience, PatientService, ServiceSigner
from stellaops.signing.key_uri import KeyUri

OPENERS: Mapping[str, Callable[[ServiceContext], KeyService]] = {
    "awskms": awskms.open_service,
    "file": file.open_service,
    "hashivault": hashivault.open_service,
    "pkcs11": pkcs11.open_service,
}
"""How the service of each scheme is opened; its library is loaded then, and not before."""


@dataclass(frozen=True, slots=True)
class KeyServices:
    """Keys that others keep, by URI. Each service is opened when it is first used.

    Attributes:
        context: what a tenant's services are opened with.
        patience: how one that fails is asked again.
        allowed: patterns of the URIs that tenants may use (`key_uri.demand_allowed`); any where there are none.
    """

    context: Callable[[str], ServiceContext]
    patience: Patience
    allowed: tuple[str, ...] = ()
    _opened: dict[tuple[str, str], KeyService] = field(default_factory=dict, repr=False)

    def demand_from_afar(self, tenant: str, uris: Iterable[str]) -> None:
        """Refuse keys that somebody names over the network and the operator has not allowed.

        Who asks from afar must not choose among all keys and files that this machine may use.

        Raises:
            BadKeyUri, KeyUriRefused: see there.
        """
        for uri in uris:
            key_uri.demand_allowed(key_uri.parse(uri), tenant, self.allowed)

    def public_key(self, tenant: str, uri: str) -> PublicKey:
        """The newest public key that a URI stands for.

        Raises:
            BadKeyUri, KeyUriRefused, KeyServiceDown, KeyServiceRefused, KeyServiceMissing: see there.
        """
        found, service = self._found(tenant, uri)
        return service.public_keys(found)[0]

    def signer(self, tenant: str, uri: str, public: PublicKey) -> Signer:
        """A signer by that one of a URI's keys; the service is asked when something is signed.

        Raises:
            BadKeyUri, KeyUriRefused, KeyServiceMissing: see there.
        """
        found, service = self._found(tenant, uri)
        return ServiceSigner(service, found, public)

    def wrap(self, tenant: str, uri: str, key: bytes, bound_to: str) -> bytes:
        """A content key, encrypted by the service and bound to a text.

        Raises:
            BadKeyUri, KeyUriRefused, KeyServiceDown, KeyServiceRefused, KeyServiceMissing: see there.
        """
        found, service = self._found(tenant, uri)
        return service.wrap(found, key, bound_to.encode())

    def unwrap(self, tenant: str, uri: str, wrapped: bytes, bound_to: str) -> bytes:
        """What was wrapped.

        Raises:
            BadKeyUri, KeyUriRefused, KeyServiceDown, KeyServiceRefused, KeyServiceMissing: see there.
        """
        found, service = self._found(tenant, uri)
        return service.unwrap(found, wrapped, bound_to.encode())

    def _found(self, tenant: str, text: str) -> tuple[KeyUri, KeyService]:
        uri = key_uri.parse(text)
        if self.allowed:
            key_uri.demand_allowed(uri, tenant, self.allowed)
        known = tenant, uri.scheme
        if known not in self._opened:
            opened = OPENERS[uri.scheme](self.context(tenant))
            self._opened[known] = PatientService(opened, self.patience)
        return uri, self._opened[known]
