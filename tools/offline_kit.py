"""Build the offline kit: a directory that verifies, applies and decrypts mirror bundles on a machine with bare Python.

    python tools/offline_kit.py [--to offline-kit] [--data-dir DIR] [--tenant default] [--run RUN]... [--chunk-size 4G]

Wheels of the pinned libraries (`requirements/kit.txt`, by their hashes) are fetched for each Python and processor; the
product's own modules come as one more wheel, which holds only what the verifier imports. The tenant's key signs the
list of checksums. With `--run`, bundles of those runs (`latest:mirror:full` and the like) are packed in, whole or
in chunks of the size of a medium; beside mirror archives lies the freshness statement, as `stella export download` lays
it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import grimp

from stellaops import __version__
from stellaops.adapters.settings import load as settings
from stellaops.bootstrap import Local
from stellaops.core.errors import InvalidInput, StellaError
from stellaops.core.exit_codes import exit_code
from stellaops.exports import issue_freshness, manage_runs
from stellaops.exports.run import Run
from stellaops.kit import chunks
from stellaops.signing import cosign_blob

ROOT = Path(__file__).resolve().parent.parent
PARTS = ROOT / "deploy" / "offline-kit"
ENTRY = "stellaops.kit.command_line"
PYTHONS = ("311", "312", "313")
MACHINES = ("x86_64", "aarch64")
_PLATFORMS = ("manylinux_2_17", "manylinux2014", "manylinux_2_28")
_EPOCH = (1980, 1, 1, 0, 0, 0)
_TRUSTED_ROOT = {"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}


def main() -> None:
    """Build the kit beside its place and put it there in one step."""
    arguments = _arguments()
    target: Path = arguments.to
    if target.exists() and not (target / "SHA256SUMS").is_file() and any(target.iterdir()):
        raise InvalidInput(
            f"{target} is there and is no offline kit", hint="Name another directory with --to."
        )
    flags = {"dataDir": arguments.data_dir, "tenant": arguments.tenant}
    local = Local(settings.load(flags))
    tenant = local.settings.tenant
    runs = _chosen(local, tenant, arguments.run)
    with tempfile.TemporaryDirectory(
        dir=_made(target.absolute().parent), prefix=".offline-kit-"
    ) as directory:
        growing = Path(directory) / "kit"
        _fill(growing, local, tenant, runs, arguments.chunk_size)
        _sign(growing, local, tenant)
        old = Path(directory) / "old"
        if target.exists():
            target.rename(old)
        growing.rename(target)
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"{target}: {size / 1e6:.1f} MB for Python {', '.join(PYTHONS)} on {', '.join(MACHINES)}")
    print(f"next: {target}/bin/mirror verify BUNDLE.tar.zst")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Build the offline kit.")
    parser.add_argument("--to", type=Path, default=Path("offline-kit"))
    parser.add_argument("--data-dir", help="whose keys and runs; else as the settings say")
    parser.add_argument("--tenant")
    parser.add_argument(
        "--run", action="append", default=[], help="pack in this run's bundle; may be repeated"
    )
    parser.add_argument(
        "--chunk-size", type=chunks.parse_size, help="cut the bundles to the size of a medium: 4G"
    )
    return parser.parse_args()


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _chosen(local: Local, tenant: str, names: Sequence[str]) -> Sequence[Run]:
    """The runs that are named, each once.

    Raises:
        RunNotFound, BundleGone: see `manage_runs`.
        InvalidInput: what two of them lay at one place of the kit is not the same.
    """
    runs = {run.id: run for run in (manage_runs.find_run(tenant, name, local.runs) for name in names)}
    laid: dict[str, tuple[Run, str]] = {}
    for run in runs.values():
        manage_runs.archive_of(run, local.artefacts)  # so that one that is gone is told first
        for name, digest in _laid(run, local).items():
            other, there = laid.setdefault(name, (run, digest))
            if there != digest:
                raise InvalidInput(
                    f"runs {other.id} ({other.profile}) and {run.id} ({run.profile}) both have {name}, and each"
                    " has another one",
                    hint="Nothing was built. Build a kit for each of them: --to DIR --run RUN.",
                )
    return list(runs.values())


def _laid(run: Run, local: Local) -> Mapping[str, str]:
    """What a run lays into `bundles/`: names, and what tells contents of one name apart."""
    if not _is_mirror(run):
        return {str(run.export_id): str(run.archive_id)}
    with manage_runs.opened(run, local.artefacts) as root:
        laid = {path.name: str(run.archive_id) for path in root.iterdir()}
    return laid | {name: hashlib.sha256(data).hexdigest() for name, data in _statement(run, local).items()}


def _statement(run: Run, local: Local) -> Mapping[str, bytes]:
    """The files of the freshness statement about a run; none where it is not the newest of its mirror."""
    signed = issue_freshness.about(run, local.statements)
    return signed.files if signed else {}


def _is_mirror(run: Run) -> bool:
    return run.kind.startswith("mirror:")


def _fill(kit: Path, local: Local, tenant: str, runs: Sequence[Run], chunk_size: int | None) -> None:
    for name in ("bin", "lib", "keys", "trusted-root"):
        (kit / name).mkdir(parents=True)
    shutil.copyfile(PARTS / "mirror", kit / "bin" / "mirror")
    (kit / "bin" / "mirror").chmod(0o755)
    _put_wheels(kit / "lib")
    _put_keys(kit / "keys", local, tenant)
    (kit / "trusted-root" / "trusted_root.json").write_text(
        json.dumps(_TRUSTED_ROOT) + "\n", encoding="ascii"
    )
    if runs:
        _put_bundles(kit / "bundles", local, runs, chunk_size)
    readme = (PARTS / "README.md").read_text(encoding="utf-8")
    (kit / "README.md").write_text(readme.replace("@TENANT@", tenant), encoding="utf-8")


def _put_keys(directory: Path, local: Local, tenant: str) -> None:
    local.tenant_keys.signer(tenant)  # a tenant without a key gets its first
    for record in local.keys.records(tenant):
        if record.revoked_at is None:
            (directory / f"{record.key_id[:16]}.pub").write_bytes(record.public_key_pem)
    active = local.tenant_keys.signer(tenant)
    (directory / "export-center.pub").write_bytes(active.public_key_pem())


def _put_bundles(directory: Path, local: Local, runs: Sequence[Run], chunk_size: int | None) -> None:
    whole = directory.with_name("whole") if chunk_size else directory
    for run in runs:
        place = whole if _is_mirror(run) else whole / str(run.export_id)
        with manage_runs.opened(run, local.artefacts) as root:
            shutil.copytree(root, place, dirs_exist_ok=True)
        for name, data in _statement(run, local).items():
            (place / name).write_bytes(data)
    if chunk_size:
        chunks.split([path for path in whole.rglob("*") if path.is_file()], directory, chunk_size)
        shutil.rmtree(whole)


def _put_wheels(directory: Path) -> None:
    for python in PYTHONS:
        for machine in MACHINES:
            _fetch(directory, python, machine)
    wheels = [_described(path) for path in sorted(directory.glob("*.whl"))]
    own = _own_wheel(directory)
    wheels.append(
        {"file": own.name, "sha256": _sha256(own), "pythons": list(PYTHONS), "machines": list(MACHINES)}
    )
    (directory / "wheels.json").write_text(
        json.dumps(wheels, indent=1, sort_keys=True) + "\n", encoding="ascii"
    )


def _fetch(directory: Path, python: str, machine: str) -> None:
    words = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check", "--no-deps"]
    words += [
        "--only-binary",
        ":all:",
        "--require-hashes",
        "--implementation",
        "cp",
        "--python-version",
        python,
    ]
    words += [word for platform in _PLATFORMS for word in ("--platform", f"{platform}_{machine}")]
    subprocess.run([*words, "-r", str(ROOT / "requirements" / "kit.txt"), "-d", str(directory)], check=True)


def _described(wheel: Path) -> dict[str, object]:
    """A wheel and where it runs, as its name says."""
    python, abi, platforms = wheel.stem.split("-")[-3:]
    version = re.search(r"\d+", python.removeprefix("cp3"))
    oldest = int(version[0]) if version and python.startswith("cp") else 0
    fits = [
        each for each in PYTHONS if int(each[1:]) == oldest or (abi != python and int(each[1:]) >= oldest)
    ]
    machines = [machine for machine in MACHINES if machine in platforms or platforms == "any"]
    return {"file": wheel.name, "sha256": _sha256(wheel), "pythons": fits, "machines": machines}


def _own_wheel(directory: Path) -> Path:
    """The modules that the verifier imports, and nothing else of the product."""
    graph = grimp.build_graph("stellaops")
    modules = graph.find_upstream_modules(ENTRY) | {ENTRY}
    path = directory / f"stellaops_kit-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in sorted(_sources(modules)):
            packed.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED)
    return path


def _sources(modules: set[str]) -> Iterator[tuple[str, bytes]]:
    packages = {".".join(module.split(".")[:depth]) for module in modules for depth in range(1, 9)}
    for module in sorted(packages | modules):
        place = ROOT / "src" / Path(*module.split("."))
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if file.is_file():
            yield file.relative_to(ROOT / "src").as_posix(), file.read_bytes()


def _sign(kit: Path, local: Local, tenant: str) -> None:
    files = sorted(path for path in kit.rglob("*") if path.is_file())
    listed = "".join(f"{_sha256(path)}  {path.relative_to(kit).as_posix()}\n" for path in files).encode()
    (kit / "SHA256SUMS").write_bytes(listed)
    signature = local.tenant_keys.signer(tenant).sign(listed)
    (kit / "SHA256SUMS.sig").write_bytes(cosign_blob.encode(signature))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    try:
        main()
    except StellaError as error:
        sys.stderr.write(f"error {error.code}: {error.what}\n→ {error.advice}\n")
        sys.exit(exit_code(error))
