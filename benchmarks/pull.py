"""How fast pulls are, from a server on this machine: an archive of all, single documents, and nothing new.

    python -m benchmarks.pull [--documents 20000] [--changed 2000] [--runs 3] [--format json]

* `first`: an empty store takes `all.zip` of an OSV bucket.
* `changed`: a tenth of the documents changed; each is fetched by itself.
* `again`: nothing changed.
* `import`: the same archive imported from a file, beside which `first` shows what fetching costs.

Server and pull share the machine; the server answers from memory. The documents are made up (`benchmarks.documents`).
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks import documents, machine, stores
from stellaops.adapters.settings import load as settings
from stellaops.bootstrap import Local
from stellaops.ingest.pull import PullOptions, pull_source
from stellaops.ingest.pull_model import Definition, PullReport

_KINDS = ("import", "first", "changed", "again")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 64 << 10
    files: dict[str, bytes]

    def do_GET(self) -> None:
        content = self.files.get(self.path)
        tag = (
            f'"{sha256(content).hexdigest()[:32]}"'
            if content is not None and len(content) < 1 << 20
            else '"large"'
        )
        if content is not None and self.headers.get("if-none-match") == tag:
            status, body = 304, b""
        else:
            status, body = (404, b"") if content is None else (200, content)
        self.send_response_only(status)
        self.send_header("ETag", tag)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def _serving(files: dict[str, bytes]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"files": files}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()


def _bucket(contents: dict[str, bytes], stated: dict[str, str]) -> dict[str, bytes]:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.json"), content, zipfile.ZIP_DEFLATED)
    listing = "".join(
        f"{stated[name]},{name}\n" for name in sorted(contents, key=lambda name: stated[name], reverse=True)
    )
    files = {"/all/all.zip": packed.getvalue(), "/all/modified_id.csv": listing.encode()}
    return files | {f"/all/{name}.json": content for name, content in contents.items()}


def _open(directory: Path) -> Local:
    environment = {
        "STELLA_CONFIG": str(directory / "none.yaml"),
        "STELLA_EGRESS_ALLOW_PRIVATE": "127.0.0.0/8",
        "STELLA_EGRESS_ALLOW_HTTP": "127.0.0.1",
    }
    return Local(settings.load({"dataDir": str(directory)}, environment))


def _pull(local: Local, url: str) -> tuple[float, PullReport]:
    definition = Definition(name="generated", layout="osv-bucket", url=url, options={"ecosystems": ["all"]})
    begin = time.perf_counter()
    report = pull_source(definition, local.pull_tools(8), PullOptions())
    if report.state != "ok":
        raise RuntimeError(f"{report.error_code}: {report.error_text}")
    return time.perf_counter() - begin, report


def run_once(count: int, changed: int, directory: Path) -> dict[str, dict[str, float]]:
    """Seconds and bytes of each kind."""
    contents = {Path(path).stem: content for path, content in documents.documents(count)}
    stated = {name: f"2024-01-{1 + number % 28:02d}T00:00:00Z" for number, name in enumerate(contents)}
    files = _bucket(contents, stated)
    archive = directory / "all.zip"
    archive.write_bytes(files["/all/all.zip"])
    begin = time.perf_counter()
    report = stores.fill(stores.open_store(directory / "imported"), "generated", [archive])
    result = {
        "import": {
            "seconds": time.perf_counter() - begin,
            "documents": report.added,
            "bytes": archive.stat().st_size,
        }
    }
    local = _open(directory / "pulled")
    with _serving(files) as url:
        result["first"] = _result(*_pull(local, url))
        _pull(local, url)  # what the archive could have been too old for
        for name in list(contents)[:changed]:
            contents[name] = contents[name].replace(
                b'"schema_version": "1.4.0"', b'"schema_version": "1.4.1"'
            )
            stated[name] = "2024-06-01T00:00:00Z"
        files.update(_bucket(contents, stated))
        result["changed"] = _result(*_pull(local, url))
        result["again"] = _result(*_pull(local, url))
    if (result["first"]["documents"], result["changed"]["documents"]) != (count, changed):
        raise RuntimeError(f"a pull did not bring every document: {result}")
    return result


def _result(seconds: float, report: PullReport) -> dict[str, float]:
    done = report.report
    brought = done.added + done.changed if done else 0
    return {"seconds": seconds, "documents": brought, "bytes": report.bytes, "requests": report.attempts}


def measure(count: int, changed: int, runs: int, directory: Path) -> dict[str, Any]:
    """All kinds, several times; medians."""
    results = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory(dir=directory) as place:
            results.append(run_once(count, changed, Path(place)))
    kinds: dict[str, dict[str, Any]] = {}
    for kind in _KINDS:
        seconds = statistics.median(result[kind]["seconds"] for result in results)
        first = results[0][kind]
        kinds[kind] = {
            **first,
            "seconds": round(seconds, 3),
            "documentsPerSecond": round(first["documents"] / seconds),
            "bytesPerSecond": round(first["bytes"] / seconds),
        }
    return {
        "machine": machine.describe(),
        "documents": count,
        "changed": changed,
        "runs": runs,
        "kinds": kinds,
    }


def table(result: dict[str, Any]) -> str:
    """The result for people."""
    lines = [
        machine.line(result["machine"]),
        f"{result['documents']:,} documents, {result['changed']:,} of them changed, {result['runs']} runs",
        f"{'':<10}{'seconds':>10}{'documents':>12}{'per second':>12}{'MB':>9}{'requests':>10}",
    ]
    for kind, row in result["kinds"].items():
        lines.append(
            f"{kind:<10}{row['seconds']:>10}{row['documents']:>12,}{row['documentsPerSecond']:>12,}"
            f"{row['bytes'] / 1e6:>9.1f}{row.get('requests', 0):>10,}"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--changed", type=int, default=2_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("--directory", type=Path, default=None, help="where the files are written")
    options = parser.parse_args()
    directory = options.directory or Path(tempfile.gettempdir())
    result = measure(options.documents, min(options.changed, options.documents), options.runs, directory)
    print(json.dumps(result, indent=2) if options.format == "json" else table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
