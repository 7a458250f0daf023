"""What the provenance says of an encryption: its mode, and for whom; with `aes-gcm` the wrapped content key too.

It stands at `predicate.buildDefinition.internalParameters.environment.encryption`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec

from stellaops.bundles.encryption import age
from stellaops.bundles.encryption.aes_gcm import KEY_BYTES, ContentKey
from stellaops.bundles.encryption.errors import NoIdentity, Undecipherable

Mode = Literal["age", "aes-gcm"]
MODES: tuple[Mode, ...] = ("age", "aes-gcm")
MOST_RECIPIENTS = 256
_LARGEST_WRAPPED = 4096


class WrappedFor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """One who may read: the recipient's public key, and the content key for it as an age file in base64."""

    type: Literal["age"]
    recipient: Annotated[str, msgspec.Meta(max_length=128)]
    wrapped_key: Annotated[str, msgspec.Meta(max_length=_LARGEST_WRAPPED)] | None = None


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


def for_content_key(key: ContentKey, recipients: Sequence[age.Recipient], entropy: age.Entropy) -> Envelope:
    """Of files under one content key, which is wrapped for each recipient by itself."""
    return Envelope(
        "aes-gcm",
        tuple(WrappedFor("age", str(each), _wrap(key, each, entropy)) for each in recipients),
    )


def _wrap(key: ContentKey, recipient: age.Recipient, entropy: age.Entropy) -> str:
    return base64.b64encode(b"".join(age.encrypt([key.reveal()], [recipient], entropy))).decode()


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


def content_key(envelope: Envelope, keys: Sequence[age.Identity]) -> ContentKey:
    """The content key, opened by whichever private key fits.

    Raises:
        NoIdentity: it is wrapped for others.
        Undecipherable: see there.
    """
    own = {str(key.recipient) for key in keys}
    # What is ours by name comes first; a recipient may be listed under another's name.
    for each in sorted(envelope.recipients, key=lambda each: each.recipient not in own):
        try:
            return ContentKey(b"".join(_opened(each, keys)))
        except NoIdentity:
            continue
    names = ", ".join(each.recipient for each in envelope.recipients)
    raise NoIdentity(f"none of the private keys given is a recipient's; the recipients are {names}")


def _opened(each: WrappedFor, keys: Sequence[age.Identity]) -> Iterator[bytes]:
    if each.wrapped_key is None:
        raise Undecipherable(f"there is no wrapped key for {each.recipient}")
    try:
        wrapped = base64.b64decode(each.wrapped_key, validate=True)
    except ValueError as error:
        raise Undecipherable(f"the wrapped key for {each.recipient} is not base64") from error
    size = 0
    for piece in age.decrypt([wrapped], keys):
        size += len(piece)
        if size > KEY_BYTES:
            raise Undecipherable(f"the wrapped key for {each.recipient} is longer than a key")
        yield piece
