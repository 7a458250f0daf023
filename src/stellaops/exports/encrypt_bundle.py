"""Encrypting the contents of a bundle in the place where they grow; manifests, documents and signatures stay clear."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from stellaops.bundles import layout
from stellaops.bundles.encryption import aes_gcm, age, envelope
from stellaops.bundles.encryption.aes_gcm import ContentKey
from stellaops.bundles.encryption.age import Recipient
from stellaops.exports.ports import Staging
from stellaops.exports.profile import Encryption

_CHUNK = 1 << 20


def encrypt_files(
    staging: Staging, export_id: str, encryption: Encryption, entropy: Callable[[int], bytes]
) -> dict[str, Any]:
    """Encrypt every content file in the staging place; the content key is not kept anywhere but wrapped.

    Returns:
        What the provenance says of the packaging.
    """
    recipients = [Recipient.parse(text) for text in encryption.recipient_keys]
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


def _cipher(
    export_id: str, encryption: Encryption, recipients: list[Recipient], entropy: Callable[[int], bytes]
) -> tuple[Callable[[str, Iterator[bytes]], Iterator[bytes]], envelope.Envelope]:
    if encryption.mode == "age":
        return lambda _, chunks: age.encrypt(chunks, recipients, entropy), envelope.for_age(recipients)
    key = ContentKey(entropy(aes_gcm.KEY_BYTES))
    return (
        lambda name, chunks: key.encrypt(chunks, aes_gcm.binding(export_id, name), entropy),
        envelope.for_content_key(key, recipients, entropy),
    )


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            yield chunk
