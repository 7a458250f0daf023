"""Reading the encrypted files of a bundle: what its signed provenance says of them, and the private keys given."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stellaops.bundles import layout
from stellaops.bundles.encryption import aes_gcm, age, envelope
from stellaops.bundles.encryption.aes_gcm import ContentKey
from stellaops.bundles.encryption.age import Identity
from stellaops.bundles.encryption.envelope import Envelope, Opener
from stellaops.bundles.encryption.errors import NoIdentity, Undecipherable
from stellaops.bundles.packed import BadPacking
from stellaops.kit.signatures import LARGEST_STATEMENT_BUNDLE
from stellaops.kit.tree import Readable, UntrustedFile
from stellaops.signing import sigstore_bundle
from stellaops.signing.ecdsa_p256 import BadSignature, PublicKey

Take = Callable[[str, Iterator[bytes]], None]


@dataclass(frozen=True, slots=True)
class Opening:
    """How the files of one bundle are read.

    Attributes:
        environment: what the provenance says of the packaging, as it is signed there.
        envelope: None where nothing is encrypted.
        trouble: why the envelope, or the keys that were given, cannot be used.
    """

    export_id: str
    environment: Mapping[str, Any] = field(default_factory=dict)
    envelope: Envelope | None = None
    trouble: NoIdentity | Undecipherable | None = None
    _identities: Sequence[Opener] = ()
    _key: ContentKey | None = None

    @property
    def is_readable(self) -> bool:
        """Whether the contents can be read: nothing is encrypted, or a key that fits was given."""
        return self.trouble is None and (self.envelope is None or bool(self._identities))

    def demand_readable(self) -> None:
        """Refuse where the contents cannot be read.

        Raises:
            NoIdentity, Undecipherable: see there.
        """
        if self.trouble is not None:
            raise self.trouble
        if not self.is_readable and self.envelope is not None:
            names = ", ".join(each.recipient for each in self.envelope.recipients)
            raise NoIdentity(f"the bundle is encrypted for {names}, and no private key was given")

    def plain(self, path: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The content of a file, whatever it lies in.

        What comes is not to be used before the file's own digest, which is signed, has been compared.

        Raises:
            BadPacking: it cannot be decrypted.
        """
        if self.envelope is None or layout.is_clear(path):
            yield from chunks
            return
        try:
            # Readers of packed forms take an empty piece for something behind the end.
            yield from filter(None, self._decrypted(self.envelope, path, chunks))
        except (NoIdentity, Undecipherable) as error:
            raise BadPacking(f"{path}: {error.what}") from error

    def _decrypted(self, told: Envelope, path: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
        if told.mode == "age":
            return age.decrypt(chunks, _of_age(self._identities))
        assert self._key is not None  # noqa: S101 - `is_readable` was asked
        return self._key.decrypt(chunks, aes_gcm.binding(self.export_id, path))

    def taking(self, take: Take) -> Take:
        """The same taker, which is given what the files hold; nothing where that cannot be read."""
        if not self.is_readable:
            return lambda path, chunks: None
        return lambda path, chunks: take(path, self.plain(path, chunks))


def opening_of(tree: Readable, key: PublicKey, export_id: str, identities: Sequence[Opener] = ()) -> Opening:
    """How the files of a bundle are read, by the provenance that this key signed; plain where there is none."""
    try:
        bundle = tree.read(layout.PROVENANCE_BUNDLE, LARGEST_STATEMENT_BUNDLE)
        environment = _environment(sigstore_bundle.read_statement(bundle, key))
    except (BadSignature, UntrustedFile):
        return Opening(export_id)  # the check of the provenance says so
    try:
        found = envelope.read(environment)
    except Undecipherable as error:
        return Opening(export_id, environment, trouble=error)
    if found is None or not identities:
        return Opening(export_id, environment, found)
    try:
        content_key = _opened(found, identities, export_id)
    except (NoIdentity, Undecipherable) as error:
        return Opening(export_id, environment, found, error)
    return Opening(export_id, environment, found, None, identities, content_key)


def _of_age(openers: Sequence[Opener]) -> list[Identity]:
    return [each for each in openers if isinstance(each, Identity)]


def _opened(found: Envelope, openers: Sequence[Opener], export_id: str) -> ContentKey | None:
    """The content key, where there is one; files of age each have their own."""
    if found.mode == "aes-gcm":
        return envelope.content_key(found, openers, export_id)
    named = sorted(each.recipient for each in found.recipients)
    if not any(str(identity.recipient) in named for identity in _of_age(openers)):
        raise NoIdentity(
            f"none of the private keys given is a recipient's; the recipients are {', '.join(named)}"
        )
    return None


def _environment(statement: bytes) -> dict[str, Any]:
    try:
        internal = json.loads(statement)["predicate"]["buildDefinition"]["internalParameters"]
        found = internal.get("environment", {})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
