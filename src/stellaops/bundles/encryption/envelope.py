"""What the provenance says of an encryption: its mode, and for whom; with `aes-gcm` the wrapped content key too.

A recipient is a public key of age, or a key in a key service by its URI. That service wraps the content key bound to
the export's id, so that what it opens is the key of this export and of no other.

It stands at `predicate.buildDefinition.internalParameters.environment.encryption`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec

from stellaops.bundles.encryption import age
from stellaops.bundles.encryption.aes_gcm import KEY_BYTES, ContentKey
from stellaops.bundles.encryption.errors import NoIdentity, Undecipherable
from stellaops.core.errors import MissingPrerequisite

Mode = Literal["age", "aes-gcm"]
MODES: tuple[Mode, ...] = ("age", "aes-gcm")
MOST_RECIPIENTS = 256
_LARGEST_WRAPPED = 4096
_LONGEST_RECIPIENT = 512

Wrap = Callable[[str, bytes, str], bytes]
"""Has a key service wrap some bytes: its key's URI, the bytes, and what they are bound to."""


class WrappedFor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """One who may read: a public key or the URI of a key, and the content key for it in base64.

    For `age` that is an age file; for `kms` what the key service gave.
    """

    type: Literal["age", "kms"]
    recipient: Annotated[str, msgspec.Meta(max_length=_LONGEST_RECIPIENT)]
    wrapped_key: Annotated[str, msgspec.Meta(max_length=_LARGEST_WRAPPED)] | None = None


@dataclass(frozen=True, slots=True)
class ServiceRecipient:
    """A key in a key service, for which content keys can be wrapped."""

    uri: str
    wrap: Wrap = field(repr=False)


@dataclass(frozen=True, slots=True)
class ServiceIdentity:
    """A key in a key service that opens what was wrapped for it.

    Attributes:
        unwrap: gives the bytes of what was wrapped, by what they are bound to. Raises `MissingPrerequisite` where the
            service does not open it, `DependencyFailed` where it cannot be asked.
    """

    uri: str
    unwrap: Callable[[bytes, str], bytes] = field(repr=False)


Recipient = age.Recipient | ServiceRecipient
"""For whom a bundle is encrypted."""
Opener = age.Identity | ServiceIdentity
"""What a recipient opens it with."""


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the files of an archive are encrypted."""

    mode: Mode
    recipients: Annotated[tuple[WrappedFor, ...], msgspec.Meta(min_length=1, max_length=MOST_RECIPIENTS)]

    def to_wire(self) -> dict[str, Any]:
        """The envelope as it stands in the provenance."""
        wire = msgspec.to_builtins(self)
        assert isinstance(wire, dict)  # noqa: S101 - a struct becomes a dict
        return wire


def for_age(recipients: Sequence[age.Recipient]) -> Envelope:
    """Of files that are age files each."""
    return Envelope("age", tuple(WrappedFor("age", str(each)) for each in recipients))


def for_content_key(
    key: ContentKey, recipients: Sequence[Recipient], export_id: str, entropy: age.Entropy
) -> Envelope:
    """Of files under one content key, which is wrapped for each recipient by itself.

    Raises:
        StellaError: a key service does not wrap it.
    """
    return Envelope("aes-gcm", tuple(_wrapped(key, each, export_id, entropy) for each in recipients))


def _wrapped(key: ContentKey, recipient: Recipient, export_id: str, entropy: age.Entropy) -> WrappedFor:
    if isinstance(recipient, ServiceRecipient):
        wrapped = recipient.wrap(recipient.uri, key.reveal(), export_id)
        return WrappedFor("kms", recipient.uri, base64.b64encode(wrapped).decode())
    wrapped = b"".join(age.encrypt([key.reveal()], [recipient], entropy))
    return WrappedFor("age", str(recipient), base64.b64encode(wrapped).decode())


def read(environment: Mapping[str, Any]) -> Envelope | None:
    """The envelope in a provenance's environment; None where nothing is encrypted.

    Raises:
        Undecipherable: it is of a form that is not written.
    """
    if "encryption" not in environment:
        return None
    try:
        return msgspec.convert(environment["encryption"], Envelope)
    except msgspec.ValidationError as error:
        raise Undecipherable(f"the provenance's encryption cannot be read: {error}") from error


def content_key(envelope: Envelope, keys: Sequence[Opener], export_id: str) -> ContentKey:
    """The content key, opened by whichever key fits.

    Raises:
        NoIdentity: it is wrapped for others, or a key service refuses to open it.
        Undecipherable: see there.
        DependencyFailed: a key service cannot be asked.
    """
    own = {key.uri if isinstance(key, ServiceIdentity) else str(key.recipient) for key in keys}
    # What is ours by name comes first; a recipient may be listed under another's name.
    ordered = sorted(envelope.recipients, key=lambda each: each.recipient not in own)
    refusals: list[str] = []
    for each in ordered:
        opened = _by_services(each, keys, export_id, refusals) if each.type == "kms" else _by_age(each, keys)
        if opened is not None:
            return ContentKey(opened)
    names = ", ".join(each.recipient for each in envelope.recipients)
    said = f" ({'; '.join(refusals)})" if refusals else ""
    raise NoIdentity(f"none of the private keys given is a recipient's; the recipients are {names}{said}")


def _by_services(
    each: WrappedFor, keys: Sequence[Opener], export_id: str, refusals: list[str]
) -> bytes | None:
    """What a key service opens; keys of other services than the recipient's are not asked."""
    wrapped, scheme = _unwrappable(each), each.recipient.partition(":")[0]
    for key in keys:
        if isinstance(key, ServiceIdentity) and key.uri.partition(":")[0] == scheme:
            try:
                return key.unwrap(wrapped, export_id)
            except MissingPrerequisite as error:
                refusals.append(error.what)
    return None


def _by_age(each: WrappedFor, keys: Sequence[Opener]) -> bytes | None:
    try:
        return b"".join(_opened(each, [key for key in keys if isinstance(key, age.Identity)]))
    except NoIdentity:
        return None


def _unwrappable(each: WrappedFor) -> bytes:
    if each.wrapped_key is None:
        raise Undecipherable(f"there is no wrapped key for {each.recipient}")
    try:
        return base64.b64decode(each.wrapped_key, validate=True)
    except ValueError as error:
        raise Undecipherable(f"the wrapped key for {each.recipient} is not base64") from error


def _opened(each: WrappedFor, keys: Sequence[age.Identity]) -> Iterator[bytes]:
    size = 0
    for piece in age.decrypt([_unwrappable(each)], keys):
        size += len(piece)
        if size > KEY_BYTES:
            raise Undecipherable(f"the wrapped key for {each.recipient} is longer than a key")
        yield piece
