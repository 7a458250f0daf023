"""Encrypting the contents of a bundle in the place where they grow; manifests, documents and signatures stay clear."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from stellaops.bundles import layout
from stellaops.bundles.encryption import aes_gcm, age, envelope
from stellaops.bundles.encryption.aes_gcm import ContentKey
from stellaops.bundles.encryption.envelope import Recipient, ServiceRecipient, Wrap
from stellaops.exports.ports import Staging
from stellaops.exports.profile import Encryption
from stellaops.signing import key_uri

_CHUNK = 1 << 20


def encrypt_files(
    staging: Staging, export_id: str, encryption: Encryption, entropy: Callable[[int], bytes], wrap: Wrap
) -> dict[str, Any]:
    """Encrypt every content file in the staging place; the content key is not kept anywhere but wrapped.

    Args:
        wrap: has a key service wrap the content key.

    Returns:
        What the provenance says of the packaging.

    Raises:
        SigningFailed: a recipient's key service does not wrap the content key.
    """
    recipients = [_recipient(text, wrap) for text in encryption.recipient_keys]
    encrypted, told = _cipher(export_id, encryption, recipients, entropy)
    scratch = staging.scratch / "encrypted"
    for path in sorted(path for path in staging.root.rglob("*") if path.is_file()):
        name = path.relative_to(staging.root).as_posix()
        if layout.is_clear(name):
            continue
        with scratch.open("wb") as out:
            out.writelines(encrypted(name, _chunks(path)))
        scratch.replace(path)
    return {"encryption": told.to_wire()}


def _recipient(text: str, wrap: Wrap) -> Recipient:
    return ServiceRecipient(text, wrap) if key_uri.is_uri(text) else age.Recipient.parse(text)


def _cipher(
    export_id: str, encryption: Encryption, recipients: Sequence[Recipient], entropy: Callable[[int], bytes]
) -> tuple[Callable[[str, Iterator[bytes]], Iterator[bytes]], envelope.Envelope]:
    if encryption.mode == "age":
        # `exports.read_profile` lets no recipient of a key service pass here: age's own format has none.
        known = [each for each in recipients if isinstance(each, age.Recipient)]
        return lambda _, chunks: age.encrypt(chunks, known, entropy), envelope.for_age(known)
    key = ContentKey(entropy(aes_gcm.KEY_BYTES))
    return (
        lambda name, chunks: key.encrypt(chunks, aes_gcm.binding(export_id, name), entropy),
        envelope.for_content_key(key, recipients, export_id, entropy),
    )


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            yield chunk
