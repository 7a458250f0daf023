"""The verbs of the far side as a program by itself: `bin/mirror` of the offline kit.

It takes the options that `stella mirror` has for the same verbs, answers with the same words and exit codes, and
imports nothing that the kit does not carry.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

from stellaops.core import durations, harmless, timestamps
from stellaops.core.errors import OutputUnwritable, StellaError
from stellaops.core.exit_codes import INTERRUPTED, exit_code
from stellaops.kit import chunks, key_files, trivy_cache
from stellaops.kit.apply import Applied, Trust, apply_delta, restore
from stellaops.kit.chain import verify_path
from stellaops.kit.decrypt import decrypt
from stellaops.kit.report import Report

_NOT_TRUSTED = 6


def run(arguments: Sequence[str] | None = None, *, keys: Path) -> NoReturn:
    """Run a command line to its exit code.

    Args:
        arguments: those of the process where None.
        keys: the directory of the public keys that are trusted where no --key is given.
    """
    given = _parser().parse_args(arguments)
    given.kit_keys = keys
    try:
        _demand_output()
        sys.exit(given.verb(given))
    except StellaError as error:
        sys.exit(_report(error))
    except KeyboardInterrupt:
        _say("interrupted")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if given.trace:
            raise
        sys.exit(_report(StellaError(f"unexpected {type(error).__name__}: {error}")))


def _report(error: StellaError) -> int:
    _say(f"error {error.code}: {error.what}")
    for detail in error.details[:20] if len(error.details) > 1 else ():
        _say(f"  - {detail}")
    _say(f"→ {error.advice}")
    return exit_code(error)


def _say(text: str) -> None:
    if sys.stderr is not None:
        sys.stderr.write(f"{harmless.line(text)}\n")


def _demand_output() -> None:
    if sys.stdout is None:
        raise OutputUnwritable("standard output is closed; nothing was done")


def _put(text: str) -> None:
    """A line of the result, written at once: at the end nobody could be told any more that it cannot be."""
    try:
        print(text, flush=True)  # noqa: T201 - this is a program
    except BrokenPipeError:
        raise
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputUnwritable(
            f"the result cannot be written to standard output: {error.strerror}"
        ) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mirror",
        description="Verify, apply and use mirror bundles. Needs no network and no installation.",
    )
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    verifying = _verb(verbs, "verify", _verify, "verify a bundle by every rule, without unpacking it")
    _verify_options(verifying)
    delta = _verb(verbs, "apply", _apply, "apply a delta to a directory that has its base in force")
    delta.add_argument("archive", type=Path, metavar="DELTA")
    _into(delta)
    whole = _verb(
        verbs, "restore", _restore, "bring a directory to the state of a full bundle and its deltas"
    )
    whole.add_argument("archives", type=Path, nargs="+", metavar="FULL [DELTA …]")
    _into(whole)
    clear = _verb(verbs, "decrypt", _decrypt, "decrypt a bundle into a directory of its contents")
    clear.add_argument("path", type=Path, metavar="PATH", help="an archive, its directory, or a bundle root")
    clear.add_argument("--to", type=Path, required=True, metavar="DIR", help="where the contents are put")
    for verb in (verifying, delta, whole, clear):
        verb.add_argument(
            "--identity", dest="identities", action="append", default=[], metavar="FILE",
            help="a file with a private key of age, for what is encrypted",
        )  # fmt: skip
    join = _verb(verbs, "join", _join, "put together what was cut to the size of a medium", trusts=False)
    join.add_argument("places", type=Path, nargs="+", metavar="DIR", help="where the chunks lie")
    join.add_argument("--to", type=Path, required=True, metavar="DIR", help="where the files are put")
    trivy = verbs.add_parser("trivy", help="our databases in stock Trivy").add_subparsers(
        metavar="VERB", required=True
    )
    load = _verb(trivy, "import", _import, "verify a database and load it into a cache of Trivy")
    load.add_argument("bundle", type=Path, metavar="DB.BUNDLE")
    load.add_argument("--cache-dir", type=Path, required=True, metavar="DIR", help="Trivy's cache directory")
    load.add_argument("--signature", type=Path, metavar="FILE", help="its .sig, when it stands alone")
    return parser


def _verb(
    verbs: Any, name: str, call: Callable[[argparse.Namespace], int], summary: str, *, trusts: bool = True
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}."
    )
    parser.set_defaults(verb=call)
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("--trace", action="store_true", help="show the trace of an unexpected error")
    if trusts:
        parser.add_argument(
            "--key", dest="keys", type=Path, action="append", default=[], metavar="FILE",
            help="a public key that you trust; else those in the kit's keys/",
        )  # fmt: skip
    return parser


def _verify_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path", type=Path, metavar="PATH", help="an archive, its directory, or an applied tree"
    )
    parser.add_argument(
        "--max-age", type=_duration, metavar="D", help="fail where the freshness statement is older: 24h, 7d"
    )
    parser.add_argument("--at", type=_instant, metavar="TIME", help="judge its age as of this instant")


def _into(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--into", type=Path, required=True, metavar="DIR", help="what is brought to the new state"
    )
    parser.add_argument(
        "--allow-stale", action="store_true", help="take what its freshness statement calls too old, too"
    )


def _verify(given: argparse.Namespace) -> int:
    at = given.at or datetime.now(UTC)
    identities = key_files.identities(given.identities)
    report = verify_path(given.path, _trusted(given), max_age=given.max_age, at=at, identities=identities)
    _print_report(given, report)
    return 0 if report.verdict == "ok" else _NOT_TRUSTED


def _apply(given: argparse.Namespace) -> int:
    return _told(given, apply_delta(given.archive, given.into, _trust(given), _progress))


def _restore(given: argparse.Namespace) -> int:
    return _told(given, restore(given.archives, given.into, _trust(given), _progress))


def _told(given: argparse.Namespace, done: Applied) -> int:
    for warning in done.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    wire = done.to_wire()
    if given.format != "json":
        del wire["warnings"]  # they stand above
    _print(given, wire)
    return 0


def _decrypt(given: argparse.Namespace) -> int:
    head = decrypt(given.path, given.to, _trust(given), _progress)
    wire = {
        "exportId": head.manifest.export_id,
        "archiveId": head.archive_id,
        "path": str(given.to.absolute()),
    }
    _print(given, wire)
    return 0


def _join(given: argparse.Namespace) -> int:
    joined = chunks.join(given.places, given.to)
    _print(given, {"files": [str(path) for path in joined]})
    return 0


def _import(given: argparse.Namespace) -> int:
    trivy_cache.demand_trusted(given.bundle, _trusted(given), (), given.signature)
    database = trivy_cache.load(given.bundle, given.cache_dir, downloaded_at=datetime.now(UTC))
    _print(given, {"cacheDir": str(given.cache_dir.absolute()), "database": str(database.absolute())})
    return 0


def _trusted(given: argparse.Namespace) -> tuple[bytes, ...]:
    if given.keys:
        return tuple(pem for path in given.keys for pem in key_files.public_keys(path))
    return key_files.public_keys_in(given.kit_keys)


def _trust(given: argparse.Namespace) -> Trust:
    identities = key_files.identities(given.identities)
    return Trust(_trusted(given), (), identities, datetime.now(UTC), getattr(given, "allow_stale", False))


def _progress(step: str) -> None:
    if sys.stderr is not None and sys.stderr.isatty():
        _say(step)


def _print(given: argparse.Namespace, wire: dict[str, Any]) -> None:
    if given.format == "json":
        _put(harmless.json_text(json.dumps(wire, indent=2, ensure_ascii=False)))
        return
    for name, value in wire.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        if value is not None:
            _put(harmless.line(f"{name:<12} {shown}"))


def _print_report(given: argparse.Namespace, report: Report) -> None:
    if given.format == "json":
        _print(given, report.to_wire())
        return
    for check in report.checks:
        told = f"{check.id}  {check.status:<8} {check.name:<14} {check.detail}"
        _put(harmless.line(told))
    _put(harmless.line(f"verdict {report.verdict}: {given.path}"))


def _duration(text: str) -> timedelta:
    found = durations.parse(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration such as 24h, 90m or 7d")
    return found


def _instant(text: str) -> datetime:
    found = timestamps.parse(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no instant such as 2026-01-31T12:00:00Z")
    return found
