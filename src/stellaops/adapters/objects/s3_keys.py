"""Access keys of object stores: from a file that is read whenever a key is needed, else what the machine may do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from stellaops.adapters.web.credentials import access_key
from stellaops.adapters.web.sigv4 import AccessKey
from stellaops.core.errors import MissingPrerequisite

_LARGEST = 64 << 10


class StoreKeyMissing(MissingPrerequisite):
    """There is no access key for an object store: no file with one, or the machine has none."""

    code = "ERR_OBJECT_STORE_KEY"
    hint = "Have `keyFile` name a file with `aws_access_key_id = …` and `aws_secret_access_key = …`."


KeySource = Callable[[str | None], AccessKey]
"""Gives a key for a region; the key's own region where None."""


def key_source(file: str | None) -> KeySource:
    """Where keys come from: a file; without one what AWS's library finds on the machine, such as a role of its own.

    The source raises `StoreKeyMissing`.
    """
    found: Callable[[], AccessKey] = (lambda: _from_file(Path(file))) if file else _of_the_machine

    def key(region: str | None) -> AccessKey:
        known = found()
        return replace(known, region=region) if region else known

    return key


def _from_file(file: Path) -> AccessKey:
    try:
        with file.open("rb") as content:
            found = access_key(content.read(_LARGEST).decode("utf-8", "replace").strip())
    except OSError as error:
        raise StoreKeyMissing(f"{file}: {error.strerror}") from error
    if found is None:
        raise StoreKeyMissing(f"{file} holds no access key")
    return found


@cache
def _session() -> Any:
    try:
        from botocore.session import (  # type: ignore[import-untyped]  # noqa: PLC0415 - of the extra `kms`
            get_session,
        )
    except ModuleNotFoundError:
        return None
    return get_session()


def _found(session: Any) -> Any:
    from botocore.exceptions import (  # type: ignore[import-untyped]  # noqa: PLC0415 - of the extra `kms`
        BotoCoreError,
    )

    try:
        return session.get_credentials()
    except BotoCoreError as error:
        raise StoreKeyMissing(f"the access key of this machine cannot be used: {error}") from error


def _of_the_machine() -> AccessKey:
    session = _session()
    credentials = None if session is None else _found(session)
    if credentials is None:
        told = "no `keyFile` is set, and this machine has no access key of its own"
        library = "" if session is not None else "; the extra `kms` brings the library that would find one"
        raise StoreKeyMissing(told + library)
    frozen = credentials.get_frozen_credentials()
    return AccessKey(frozen.access_key, frozen.secret_key, frozen.token or "")
