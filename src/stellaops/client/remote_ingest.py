"""Evidence of a server: what the routes of `/api/concelier`, `/api/excititor`, `/api/policy`, `/api/evidence` give."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stellaops.adapters.files import uploads
from stellaops.adapters.files.inputs import FileInputs
from stellaops.center.interface import (
    ConsensusWanted,
    FindingsWanted,
    ImportWanted,
    Progress,
    PullWanted,
    silent,
)
from stellaops.center.wire import Wire
from stellaops.client.connection import WORK, Connection, Upload, items, mapping, path_of
from stellaops.client.errors import NotOverServer
from stellaops.core.errors import InvalidInput
from stellaops.kit.disk import disk_errors


class RemoteIngest:
    """One side of the evidence of a server."""

    def __init__(self, connection: Connection, product: str) -> None:
        self._connection = connection
        self._base = f"/api/{product}"

    def import_paths(self, wanted: ImportWanted, paths: Sequence[Path], progress: Progress = silent) -> Wire:
        """See the interface."""
        query = {
            "source": wanted.source,
            "feed": wanted.feed,
            "database": wanted.database,
            "prune": wanted.prune,
        }
        path = f"{self._base}/import"
        keys = wanted.openpgp_keys
        return send_paths(self._connection, path, query, paths, openpgp_keys=keys, progress=progress)

    def pull(self, wanted: PullWanted, progress: Progress = silent) -> list[Wire]:
        """See the interface."""
        progress("the server is pulling")
        body = {
            "sources": list(wanted.names),
            "all": wanted.every,
            "due": wanted.due,
            "full": wanted.full,
            "now": wanted.at_once,
            "parallel": wanted.parallel,
        }
        found = self._connection.change("POST", f"{self._base}/pull", body, patience=WORK)
        return items(found)

    def refresh(self, progress: Progress = silent) -> Wire:
        """See the interface. A server does so after every import."""
        del progress
        return {"examined": 0, "changed": 0}

    def status(self) -> Wire:
        """See the interface."""
        return mapping(self._connection.get(f"{self._base}/status"))

    def documents(self, identifier: str) -> list[Wire]:
        """See the interface."""
        return list(self._connection.pages(f"{self._base}/documents", {"id": identifier}))

    def raw_documents(self, identifier: str) -> bytes:
        """See the interface."""
        return self._connection.raw(f"{self._base}/documents/raw", {"id": identifier})

    def quarantined(self, source: str | None = None) -> list[Wire]:
        """See the interface."""
        return list(self._connection.pages(f"{self._base}/quarantine", {"source": source}))

    def quarantined_entry(self, entry: int) -> Wire:
        """See the interface."""
        return mapping(self._connection.get(f"{self._base}/quarantine/{entry}"))

    def quarantined_bytes(self, entry: int) -> bytes:
        """See the interface."""
        return self._connection.raw(f"{self._base}/quarantine/{entry}/raw")

    def retry(self, source: str) -> Wire:
        """See the interface."""
        path, body = f"{self._base}/quarantine/retry", {"source": source}
        return mapping(self._connection.change("POST", path, body, patience=WORK))


class RemoteConcelier(RemoteIngest):
    """Advisories of a server, and the sources of all its evidence."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, "concelier")
        self._sources = f"{self._base}/sources"

    def aliases(self, identifier: str) -> Wire:
        """See the interface."""
        return mapping(self._connection.get(f"{self._base}/aliases", {"id": identifier}))

    def sources(self, *, enabled: bool = False) -> list[Wire]:
        """See the interface."""
        return list(self._connection.pages(self._sources, {"enabled": enabled}))

    def source(self, name: str) -> Wire:
        """See the interface."""
        return mapping(self._connection.get(path_of(self._sources, name)))

    def define(self, name: str, definition: Mapping[str, Any], *, replace: bool = False) -> Wire:
        """See the interface.

        Raises:
            NotOverServer: the definition names files, which are the server's own.
        """
        files = [each for each in ("authentication", "openpgp_keys") if definition.get(each)]
        if files:
            raise NotOverServer(
                f"source {name}: files with credentials and keys are named on the server's machine"
            )
        fields = (
            "layout",
            "url",
            "feed",
            "database",
            "licence",
            "attribution",
            "every",
            "options",
            "prune",
            "enabled",
        )
        body = {each: definition[each] for each in fields if each in definition}
        body |= {"hosts": list(definition.get("hosts", ())), "fullEvery": definition.get("full_every", "7d")}
        return mapping(
            self._connection.change("PUT", path_of(self._sources, name), body | {"replace": replace})
        )

    def switch(self, names: Sequence[str], *, enabled: bool) -> list[Wire]:
        """See the interface."""
        body = {"sources": list(names), "enabled": enabled}
        return items(self._connection.change("POST", self._sources, body))

    def forget(self, name: str) -> Wire:
        """See the interface."""
        return mapping(self._connection.change("DELETE", path_of(self._sources, name)))


class RemoteExcititor(RemoteIngest):
    """VEX of a server."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, "excititor")

    def consensus(self, wanted: ConsensusWanted) -> Wire:
        """See the interface."""
        asked = {
            "vulnerability": wanted.vulnerability,
            "product": wanted.product,
            "policySnapshot": wanted.policy_snapshot,
            "sequence": wanted.sequence,
        }
        path = f"{self._base}/consensus"
        if wanted.weights is None:
            return mapping(self._connection.get(path, asked))
        return mapping(self._connection.ask(path, asked | {"weights": _text(wanted.weights)}))


class RemotePolicies:
    """Policies of a tenant of a server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def apply(self, paths: Sequence[Path], *, prune: bool = False) -> Wire:
        """See the interface."""
        return send_paths(self._connection, "/api/policy/apply", {"prune": prune}, paths)

    def snapshot(self, *, at: str | None = None, keep: bool = True) -> Wire:
        """See the interface."""
        return mapping(self._connection.change("POST", "/api/policy/snapshots", {"at": at, "keep": keep}))

    def overview(self) -> Wire:
        """See the interface."""
        return mapping(self._connection.get("/api/policy"))

    def show(self, wanted: str) -> Wire:
        """See the interface."""
        return mapping(self._connection.get(path_of("/api/policy/snapshots", wanted)))

    def raw(self, wanted: str) -> bytes:
        """See the interface."""
        return self._connection.raw(path_of("/api/policy/snapshots", wanted, "raw"))


class RemoteEvidence:
    """Bills of materials of a tenant of a server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def import_sboms(
        self, paths: Sequence[Path], *, prune: bool = False, progress: Progress = silent
    ) -> Wire:
        """See the interface."""
        path = "/api/evidence/sboms"
        return send_paths(self._connection, path, {"prune": prune}, paths, progress=progress)

    def sboms(self) -> list[Wire]:
        """See the interface."""
        return list(self._connection.pages("/api/evidence/sboms"))

    def findings(self, wanted: FindingsWanted) -> Wire:
        """See the interface."""
        asked = {
            "sbom": wanted.sbom,
            "policySnapshot": wanted.policy_snapshot,
            "sequence": wanted.sequence,
        }
        if wanted.weights is None:
            return mapping(self._connection.get("/api/evidence/findings", asked))
        return mapping(
            self._connection.ask("/api/evidence/findings", asked | {"weights": _text(wanted.weights)})
        )


def send_paths(
    connection: Connection,
    path: str,
    query: Mapping[str, Any],
    paths: Sequence[Path],
    *,
    openpgp_keys: Sequence[bytes] = (),
    progress: Progress = silent,
) -> Wire:
    """Send files and folders to be imported; what the import did."""
    FileInputs(paths)  # what is not here is told before anything is sent
    with _packed(paths, openpgp_keys) as (upload, name):
        progress(f"{upload.path.stat().st_size / 1e6:,.1f} MB go to the server")
        return mapping(connection.send(path, upload, {**query, "name": name}))


@contextmanager
def _packed(paths: Sequence[Path], openpgp_keys: Sequence[bytes]) -> Iterator[tuple[Upload, str | None]]:
    """One file as it is with its name; everything else as a tar, in a temporary file."""
    if len(paths) == 1 and paths[0].is_file() and not openpgp_keys:
        yield Upload(paths[0], uploads.FILE), paths[0].name
        return
    with tempfile.TemporaryDirectory(prefix="stella-upload-") as place:
        body = Path(place) / "paths.tar"
        with disk_errors(body), body.open("wb") as out:
            uploads.pack(out, paths, openpgp_keys)
        yield Upload(body, uploads.TAR), None


def _text(document: bytes) -> str:
    try:
        return document.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the weights are no text: {error}") from None
