"""A version that an entry of the database must match, for the entries that a smoke scan looks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from stellaops.bundles.trivy.bolt.pages import Data
from stellaops.bundles.trivy.bolt.reader import BoltReader
from stellaops.bundles.trivy.buckets import Bucket
from stellaops.bundles.trivy.constraints import version_problem
from stellaops.bundles.trivy.constraints.reading import read
from stellaops.bundles.trivy.inspect import Sentinel
from stellaops.bundles.trivy.ranges import sort_key
from stellaops.matching.ranges import contains


class _Value(msgspec.Struct, frozen=True):
    FixedVersion: str = ""
    AffectedVersion: str = ""
    VulnerableVersions: list[str] = []
    PatchedVersions: list[str] = []
    UnaffectedVersions: list[str] = []


_VALUES = msgspec.json.Decoder(_Value)
_LOW = "0.0.1"
# Below every version that is really fixed somewhere.
_LOWEST = {"dpkg": "0.0.0-0", "rpm": "0.0.0-0", "apk": "0.0.0-r0"}
_APK = frozenset(("alpine", "chainguard", "minimos", "wolfi"))
_DEB = frozenset(("debian", "echo", "ubuntu"))


def vulnerable_version(bucket: Bucket, value: bytes) -> str | None:
    """A version that the scanner must report by this entry; None where none is plain to see.

    A version that the entry itself names is taken first: a listed one, an inclusive bound of a range. Else a very low
    one, where a range goes down so far.
    """
    entry = _VALUES.decode(value)
    if not bucket.language:
        return _below(bucket, entry)
    secure = [*entry.PatchedVersions, *entry.UnaffectedVersions]
    choices = [(version, text) for text in entry.VulnerableVersions for version in _inclusive(text)]
    choices += [(_LOW, text) for text in entry.VulnerableVersions]
    if not entry.VulnerableVersions:
        # All is vulnerable but what is called secure, which often ends just before the first vulnerable version.
        choices += [(version, "") for text in secure for version in _bounds(text)] + [(_LOW, "")]
    for version, constraint in choices:
        if not _clean(version) or version_problem(bucket.scheme, version) is not None:
            continue
        inside = all(
            _holds(part.strip(), version, bucket.scheme) for part in constraint.split(",") if constraint
        )
        if inside and not _is_secure(secure, version, bucket.scheme):
            return version
    return None


def _is_secure(constraints: Sequence[str], version: str, scheme: str) -> bool:
    """Whether the scanner may take a version out by one of the constraints."""
    key = sort_key(version, scheme)
    return key is None or any(contains(read(scheme, text).outer, key) for text in constraints)


def _bounds(constraint: str) -> Iterator[str]:
    for part in constraint.split(","):
        yield part.strip().lstrip("<>=~^! ")


def _inclusive(constraint: str) -> Iterator[str]:
    for part in constraint.split(","):
        if part.strip().startswith((">=", "<=", "=")):
            yield part.strip().lstrip("<>= ")


def choose_sentinels(candidates: Mapping[str, Sequence[Sentinel]], data: Data) -> list[Sentinel]:
    """One sentinel for each bucket that has one, sorted.

    Where two buckets of an ecosystem speak of one id for one package, Trivy lets the bytewise last bucket decide: an
    entry that is so overruled is no sentinel.
    """
    reader = BoltReader(data)
    names = [name.decode() for name, _ in reader.buckets()]
    chosen = []
    for bucket, found in sorted(candidates.items()):
        ecosystem, colons, _ = bucket.partition("::")
        later = [name for name in names if colons and name.startswith(f"{ecosystem}::") and name > bucket]
        for sentinel in found:
            if not any(_holds_entry(reader, name, sentinel) for name in later):
                chosen.append(sentinel)
                break
    return chosen


def _holds_entry(reader: BoltReader, bucket: str, sentinel: Sentinel) -> bool:
    package = reader.at(bucket.encode(), sentinel.package.encode())
    return package is not None and package.get(sentinel.id.encode()) is not None


def _below(bucket: Bucket, entry: _Value) -> str | None:
    kind = "apk" if bucket.scheme in _APK else "dpkg" if bucket.scheme in _DEB else "rpm"
    if not entry.FixedVersion or entry.AffectedVersion:
        return None
    low, fixed = sort_key(_LOWEST[kind], bucket.scheme), sort_key(entry.FixedVersion, bucket.scheme)
    return _LOWEST[kind] if low is not None and fixed is not None and low < fixed else None


def _holds(bound: str, version: str, scheme: str) -> bool:
    operator = bound[: len(bound) - len(bound.lstrip("<>="))]
    key, other = sort_key(version, scheme), sort_key(bound.lstrip("<>= "), scheme)
    if key is None or other is None:
        return False
    match operator:
        case ">=":
            return bool(key >= other)
        case ">":
            return bool(key > other)
        case "<=":
            return bool(key <= other)
        case "<":
            return bool(key < other)
        case _:
            return bool(key == other)


def _clean(version: str) -> bool:
    """Whether a version passes through a package URL and every comparer as it is."""
    return bool(version) and version[0].isdigit() and all(c.isalnum() or c in "._" for c in version)
