"""The store of artefacts that the settings name."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from stellaops.adapters.objects.directory import DirectoryArtefacts
from stellaops.adapters.settings.load import Settings
from stellaops.adapters.web.credentials import access_key
from stellaops.adapters.web.sigv4 import AccessKey
from stellaops.core.errors import MissingPrerequisite
from stellaops.exports.ports import ArtefactStore

_LARGEST = 64 << 10


class ObjectStoreLibraryMissing(MissingPrerequisite):
    """The library for object stores is not installed."""

    code = "ERR_ARTEFACTS_LIBRARY_MISSING"
    hint = "Install it: `pip install 'stellaops[s3]'`."


class AccessKeyMissing(MissingPrerequisite):
    """The file with the access key of the object store cannot be read, or holds no key."""

    code = "ERR_ARTEFACTS_KEY_MISSING"
    hint = (
        "Have `artefacts.keyFile` name a file with `aws_access_key_id = …` and `aws_secret_access_key = …`."
    )


def open_artefacts(settings: Settings) -> ArtefactStore:
    """The store of artefacts; a directory where the settings name none.

    Raises:
        BadObjectStore, AccessKeyMissing, ObjectStoreLibraryMissing: see there.
    """
    exports = settings.data_dir / "exports"
    address = settings.get("artefacts.store")
    if address is None:
        return DirectoryArtefacts(exports)
    try:
        from stellaops.adapters.objects.s3 import S3Artefacts, S3Place  # noqa: PLC0415 - of the extra `s3`
    except ModuleNotFoundError as error:
        raise ObjectStoreLibraryMissing(f"the library {error.name} is not installed") from error
    key = _key(settings.get("artefacts.keyFile"))
    endpoint = settings.get("artefacts.endpoint")
    place = S3Place(
        address,
        settings.get("artefacts.region") or (key.region if key else "us-east-1"),
        endpoint,
        key,
        plain=endpoint is not None and urlsplit(endpoint).hostname in settings.listed("egress.allowHttp"),
    )
    return S3Artefacts(place, exports / ".staging")


def _key(name: str | None) -> AccessKey | None:
    if name is None:
        return None
    try:
        with Path(name).open("rb") as file:
            found = access_key(file.read(_LARGEST).decode("utf-8", "replace").strip())
    except OSError as error:
        raise AccessKeyMissing(f"{name}: {error.strerror}") from error
    if found is None:
        raise AccessKeyMissing(f"{name} holds no access key")
    return found
