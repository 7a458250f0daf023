"""The OSV bucket, played from documents: listings, archives and single documents as the real one lays them out."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stellaops.advisories.canonical import from_yaml
from tests.contract.stores import as_bytes
from tests.support.web import File

Documents = dict[str, dict[str, bytes]]
"""Contents by ecosystem and id."""


def files(
    documents: Mapping[str, Mapping[str, object]], stated: Mapping[str, str] | None = None
) -> dict[str, File | bytes]:
    """Every file of the bucket by path.

    Args:
        stated: instants for the listing by id, where they are not those of the documents.
    """
    found: dict[str, File | bytes] = {
        "/ecosystems.txt": "".join(f"{name}\n" for name in sorted(documents)).encode()
    }
    for name, contents in documents.items():
        listing = sorted(
            (((stated or {}).get(identifier) or modified(as_bytes(content)), identifier)
             for identifier, content in contents.items()),
            reverse=True,
        )  # fmt: skip
        found[f"/{name}/modified_id.csv"] = "".join(f"{when},{each}\n" for when, each in listing).encode()
        found[f"/{name}/all.zip"] = zipped({f"{each}.json": content for each, content in contents.items()})
        found |= {f"/{name}/{each}.json": as_bytes(content) for each, content in contents.items()}
    return found


def zipped(contents: Mapping[str, object]) -> bytes:
    """A zip archive with a fixed time on it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(contents.items()):
            archive.writestr(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), as_bytes(content))
    return packed.getvalue()


def modified(content: bytes) -> str:
    """What a document states as its last change; as the exporter does for one that states none, a fixed instant."""
    try:
        value: Any = json.loads(content).get("modified")
    except ValueError:
        value = None
    return value if isinstance(value, str) and not value.startswith("0001") else "2020-01-01T00:00:00Z"


def on_disk(directory: Path, documents: Mapping[str, Mapping[str, object]]) -> Path:
    """The archives of the bucket in a folder, as somebody who copied it would have them."""
    for path, file in files(documents).items():
        if path.endswith("all.zip"):
            target = directory / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file if isinstance(file, bytes) else file.content)
    return directory


def from_archive(path: Path, ecosystem: str) -> Documents:
    """The documents of an archive, as one ecosystem; those in YAML as the JSON that the bucket has of them."""
    found: dict[str, bytes] = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            if name.endswith(".json"):
                found[Path(name).stem] = content
            elif name.endswith(".yaml"):
                found[Path(name).stem] = json.dumps(from_yaml(content).parsed, indent=2).encode()
    return {ecosystem: found}
