"""Hashes, signatures and listings beside documents."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import pytest

from stellaops.adapters.files.inputs import FileInputs
from stellaops.advisories.documents.registry import FEEDS
from stellaops.ingest.companions import CheckedInputs, NoSignatures, checked
from stellaops.ingest.model import Checks
from stellaops.ingest.ports import Member

FEED = FEEDS["csaf"]
DOCUMENT = b'{"document": {"tracking": {"id": "EX-1"}}}'
NAME = "white/2024/ex-1.json"


class Files:
    """Inputs in memory, in the order given."""

    def __init__(self, files: Mapping[str, bytes], archive: str = "") -> None:
        self.members_given = [
            Member(
                path, content, archive or f"file:///{path}", "sha256:00" if archive else None, len(content)
            )
            for path, content in files.items()
        ]

    def fingerprint(self) -> str:
        return "sha256:ff"

    def members(self, skip: int = 0) -> Iterator[Member]:
        return islice(iter(self.members_given), skip, None)


class Seal:
    """Stands in for a library: a signature is the key's fingerprint, a colon, and the content."""

    def __init__(self, fingerprints: list[bytes]) -> None:
        self.fingerprints = fingerprints

    def trouble(self, content: bytes, signature: bytes) -> str:
        good = [fingerprint + b":" + content for fingerprint in self.fingerprints]
        return "" if signature in good else "no valid signature"


class Seals:
    """A key's last line is its fingerprint."""

    def keyring(self, keys: Sequence[bytes], only: frozenset[str] | None = None) -> Seal | None:
        told = [key.rpartition(b"\n")[2] for key in keys]
        chosen = [fingerprint for fingerprint in told if only is None or fingerprint.decode() in only]
        return Seal(chosen) if chosen else None


def problems(inputs: CheckedInputs) -> dict[str, str]:
    return {member.path: member.problem.partition(":")[0] for member in inputs.members() if member.problem}


def hash_file(algorithm: str, content: bytes = DOCUMENT) -> bytes:
    return f"{hashlib.new(algorithm, content).hexdigest()}  ex-1.json".encode()


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("archive", ["", "file:///csaf.tar"])
@pytest.mark.parametrize("hash_first", [True, False])
def test_a_hash_is_checked_wherever_it_comes(algorithm: str, archive: str, hash_first: bool) -> None:
    for stated, expected in ((DOCUMENT, {}), (b"other", {NAME: "checksum"})):
        files = [(NAME, DOCUMENT), (f"{NAME}.{algorithm}", hash_file(algorithm, stated))]
        inputs = CheckedInputs(Files(dict(files[::-1] if hash_first else files), archive), FEED)
        assert problems(inputs) == expected
        assert inputs.checks.hashes_good == (not expected)
        assert inputs.checks.hashes_wrong == bool(expected)


def test_every_hash_must_hold() -> None:
    files = {
        NAME: DOCUMENT,
        f"{NAME}.sha512": hash_file("sha512"),
        f"{NAME}.sha256": hash_file("sha256", b"other"),
    }
    (member,) = (found for found in CheckedInputs(Files(files), FEED).members() if found.problem)
    assert member.problem.startswith(f"checksum: {NAME}.sha256 states d9298a10d1b07358…")
    assert member.content == DOCUMENT


def test_a_hash_file_that_states_no_hash_is_no_confirmation() -> None:
    assert problems(CheckedInputs(Files({NAME: DOCUMENT, f"{NAME}.sha512": b"404 Not Found"}), FEED)) == {
        NAME: "checksum"
    }


def test_documents_of_two_archives_have_their_own_hashes() -> None:
    one, other = Files({NAME: DOCUMENT, f"{NAME}.sha256": hash_file("sha256")}, "file:///a.tar"), b"another"
    two = Files({NAME: other, f"{NAME}.sha256": hash_file("sha256", other)}, "file:///b.tar")
    both = Files({})
    both.members_given = [*one.members_given, *two.members_given]
    inputs = CheckedInputs(both, FEED)
    assert problems(inputs) == {}
    assert inputs.checks.hashes_good == 2


def test_no_member_is_added_or_lost_and_skipping_counts_the_same() -> None:
    files = {
        f"{NAME}.sha256": hash_file("sha256", b"x"),
        NAME: DOCUMENT,
        f"{NAME}.asc": b"sig",
        "index.txt": b"",
    }
    paths = [member.path for member in CheckedInputs(Files(files), FEED).members()]
    assert paths == list(files)
    for skip in range(5):
        rest = list(CheckedInputs(Files(files), FEED).members(skip))
        assert [member.path for member in rest] == paths[skip:]
        assert [member.path for member in rest if member.problem] == ([NAME] if skip < 2 else [])


def test_signatures_are_counted_as_not_verified_where_there_is_no_key() -> None:
    for openpgp in (None, Seals()):
        inputs = CheckedInputs(Files({NAME: DOCUMENT, f"{NAME}.asc": b"whatever"}), FEED, openpgp=openpgp)
        assert problems(inputs) == {}
        assert inputs.checks == Checks(signatures_unverified=1)


@pytest.mark.parametrize(
    ("signature", "expected"),
    [(b"key:" + DOCUMENT, {}), (b"other:" + DOCUMENT, {NAME: "signature"}), (None, {NAME: "signature"})],
)
def test_with_a_given_key_every_document_needs_a_good_signature(
    signature: bytes | None, expected: dict[str, str]
) -> None:
    files = {NAME: DOCUMENT} | ({f"{NAME}.asc": signature} if signature else {})
    inputs = CheckedInputs(Files(files), FEED, keys=(b"key",), openpgp=Seals())
    assert problems(inputs) == expected
    wrong, missing = bool(expected) and signature is not None, signature is None
    told = Checks(signatures_good=not expected, signatures_wrong=wrong, unsigned=missing)
    assert inputs.checks == told


BLOCK = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\nABCD"
METADATA = json.dumps(
    {
        "publisher": {"name": "Example"},
        "public_openpgp_keys": [{"fingerprint": "ab cd", "url": "https://x.example/k.asc"}],
    }
).encode()


@pytest.mark.parametrize(
    ("files", "good", "unverified"),
    [
        ({"provider-metadata.json": METADATA, "openpgp/k.asc": BLOCK}, 1, 0),
        ({"provider-metadata.json": METADATA, "openpgp/k.asc": BLOCK.replace(b"ABCD", b"EEEE")}, 0, 1),
        ({"openpgp/k.asc": BLOCK}, 0, 1),
        ({"provider-metadata.json": METADATA}, 0, 1),
        ({"provider-metadata.json": b"{}", "openpgp/k.asc": BLOCK}, 0, 1),
    ],
)
def test_the_key_that_the_folders_own_metadata_names_is_used_where_it_is_there(
    files: dict[str, bytes], good: int, unverified: int
) -> None:
    signed = {NAME: DOCUMENT, f"{NAME}.asc": b"ABCD:" + DOCUMENT}
    inputs = CheckedInputs(Files(signed | files), FEED, openpgp=Seals())
    assert problems(inputs) == {}
    assert inputs.checks == Checks(signatures_good=good, signatures_unverified=unverified)


def test_a_wrong_signature_by_the_folders_own_key_is_wrong_all_the_same() -> None:
    files = {
        f"{NAME}.asc": b"ABCD:another",
        NAME: DOCUMENT,
        "k.asc": BLOCK,
        "provider-metadata.json": METADATA,
    }
    inputs = CheckedInputs(Files(files), FEED, openpgp=Seals())
    assert problems(inputs) == {NAME: "signature"}
    assert inputs.checks == Checks(signatures_wrong=1)


def test_a_document_without_signature_is_only_counted_where_the_key_is_the_folders_own() -> None:
    files = {NAME: DOCUMENT, "provider-metadata.json": METADATA, "openpgp/k.asc": BLOCK}
    inputs = CheckedInputs(Files(files), FEED, openpgp=Seals())
    assert problems(inputs) == {}
    assert inputs.checks == Checks(unsigned=1)


@pytest.mark.parametrize(
    ("listing", "content", "absent"),
    [
        ("white/index.txt", b"2024/ex-1.json\n2024/ex-2.json\n", 1),
        (
            "white/changes.csv",
            b'"2024/ex-1.json","2024-01-01T00:00:00Z"\n2024/ex-1.json,2023-01-01T00:00:00Z\n',
            0,
        ),
        ("white/index.txt", b"csaf_files/OT/white/2024/ex-1.json\n", 0),
        ("white/index.txt", b"white/2024/ex-1.json\n", 0),
        ("white/index.txt", b"../../2024/ex-9.json\n", 1),
        ("index.txt", b"white/2024/ex-1.json\nwhite/2024/ex-2.json\nwhite/2024/ex-3.json\n", 2),
    ],
)
def test_documents_that_a_listing_names_and_that_are_absent_are_counted(
    listing: str, content: bytes, absent: int
) -> None:
    inputs = CheckedInputs(Files({listing: content, NAME: DOCUMENT}), FEED)
    assert problems(inputs) == {}
    assert inputs.checks == Checks(listed_but_absent=absent)


def test_other_keys_make_another_import() -> None:
    inputs = Files({NAME: DOCUMENT})
    fingerprints = {
        CheckedInputs(inputs, FEED, keys=keys, openpgp=Seals()).fingerprint()
        for keys in ((), (b"a",), (b"b",))
    }
    assert len(fingerprints) == 3
    assert inputs.fingerprint() in fingerprints


def test_a_key_for_a_form_without_signatures_is_refused() -> None:
    inputs = Files({NAME: DOCUMENT})
    assert checked(FEEDS["osv"], inputs, (), None) is None
    with pytest.raises(NoSignatures, match="OSV"):
        checked(FEEDS["osv"], inputs, (b"key",), Seals())


def test_the_files_of_a_folder_and_of_an_archive_are_paired_alike(tmp_path: Path) -> None:
    files = {
        NAME: DOCUMENT,
        f"{NAME}.sha512": hash_file("sha512", b"other"),
        f"{NAME}.sha256": hash_file("sha256"),
    }
    folder = tmp_path / "a folder"
    with tarfile.open(tmp_path / "csaf.tar.gz", "w:gz") as archive:
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
            header = tarfile.TarInfo(path)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    for place in (folder, tmp_path / "csaf.tar.gz"):
        assert problems(CheckedInputs(FileInputs([place]), FEED)) == {NAME: "checksum"}
