"""Made-up advisories in the OSV form, the same for everybody, in any number.

They have the size and the make-up of what large databases publish and nothing of their content: 3 KB on average,
indented, keys in no order, Markdown prose, one in twenty not all ASCII, CVSS vectors of which a few are most common,
CWE ids, references, one to three packages, a list of versions now and then, one in fifty withdrawn.
"""

from __future__ import annotations

import random
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

_ECOSYSTEMS = ("npm", "PyPI", "Maven", "Go", "Packagist", "crates.io", "RubyGems", "NuGet")
_SHARES = (30, 20, 15, 12, 10, 5, 5, 3)
_PACKAGES = 20_000
_SENTENCES = 20_000
_VECTORS = 800
_SYLLABLES = (
    "ba", "cor", "den", "fil", "gra", "hex", "im", "jo", "kel", "lum", "mar", "nex", "or", "pro", "qui", "ret",
    "ser", "tor", "un", "ver", "wor", "xan", "yel", "zip",
)  # fmt: skip
_METRICS = (
    ("AV", "NNNALP"), ("AC", "L"), ("PR", "NNL"), ("UI", "NNR"), ("S", "UUC"), ("C", "HHLN"), ("I", "HLN"),
    ("A", "HLN"),
)  # fmt: skip
_DATE_AND_TIME = (1980, 1, 1, 0, 0, 0)

_SEED = 20_261_122


def write_zip(path: Path, count: int) -> int:
    """A deflated archive of `count` documents; how many bytes they have unpacked."""
    total = 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, content in documents(count):
            archive.writestr(zipfile.ZipInfo(name, _DATE_AND_TIME), content, zipfile.ZIP_DEFLATED)
            total += len(content)
    return total


def documents(count: int) -> Iterator[tuple[str, bytes]]:
    """Paths and contents of the first `count` documents."""
    text = _Text()
    for number in range(count):
        document = _document(number, text)
        content = msgspec.json.format(msgspec.json.encode(document), indent=2)
        yield f"advisories/{document['published'][:4]}/{document['id']}.json", content


class _Text:
    """Words and sentences to draw from."""

    def __init__(self) -> None:
        chance = random.Random(_SEED)
        made = sorted({"".join(chance.choices(_SYLLABLES, k=chance.randint(1, 4))) for _ in range(6000)})
        chance.shuffle(made)
        # The first words come often and the last seldom, as in any language.
        self.words = [word for place, word in enumerate(made) for _ in range(1 + 500 // (place + 5))]
        self.sentences = [self._sentence(chance) for _ in range(_SENTENCES)]
        # Twenty vectors make up more than half of what is published.
        vectors = list(dict.fromkeys(_vector(chance) for _ in range(_VECTORS)))
        self.vectors = [vector for place, vector in enumerate(vectors) for _ in range(1 + 400 // (place + 1))]

    def _sentence(self, chance: random.Random) -> str:
        end = chance.choices((".", ".\n\n### ", ".\n * ", ": `x()`.", " \u2014"), (120, 10, 30, 20, 1))[0]
        return " ".join(chance.choices(self.words, k=chance.randint(6, 20))).capitalize() + end


def _document(number: int, text: _Text) -> dict[str, Any]:
    chance = random.Random(_SEED + number)
    year = 2016 + number % 10
    identifier = f"BENCH-{year}-{number:07d}"
    published = (
        f"{year}-{chance.randint(1, 12):02d}-{chance.randint(1, 28):02d}T{chance.randint(0, 23):02d}:07:43Z"
    )
    modified = (
        f"{year}-12-{chance.randint(28, 31)}T{chance.randint(0, 23):02d}:{number % 60:02d}:11.{number:06d}Z"
    )
    ecosystem = chance.choices(_ECOSYSTEMS, _SHARES)[0]
    vector = chance.choice(text.vectors)
    document: dict[str, Any] = {
        "schema_version": "1.4.0",
        "id": identifier,
        "modified": modified,
        "published": published,
        "aliases": [f"CVE-{year}-{1_000_000 + number}"] if number % 10 else [],
        "summary": chance.choice(text.sentences)[:80],
        "details": "### Impact\n" + " ".join(chance.choices(text.sentences, k=chance.randint(3, 14))),
        "severity": [{"type": "CVSS_V3", "score": vector}],
        "affected": [_affected(chance, text, ecosystem) for _ in range(chance.choice((1, 1, 1, 2, 3)))],
        "references": [_reference(chance, text) for _ in range(chance.randint(3, 8))],
        "database_specific": {
            "cwe_ids": [f"CWE-{chance.randint(1, 1300)}" for _ in range(chance.randint(1, 2))],
            "severity": ("LOW", "MODERATE", "HIGH", "CRITICAL")[vector.count(":H")],
            "github_reviewed": True,
            "github_reviewed_at": published,
            "nvd_published_at": published,
        },
    }
    if number % 50 == 49:
        document["withdrawn"] = modified
    return document


def _vector(chance: random.Random) -> str:
    return "CVSS:3.1/" + "/".join(f"{name}:{chance.choice(values)}" for name, values in _METRICS)


def _reference(chance: random.Random, text: _Text) -> dict[str, str]:
    path = "/".join(chance.choices(text.words, k=3))
    url = f"https://example.org/{path}/{chance.getrandbits(64):016x}"
    return {"type": chance.choice(("WEB", "ADVISORY", "PACKAGE")), "url": url}


def _affected(chance: random.Random, text: _Text, ecosystem: str) -> dict[str, Any]:
    place = int(_PACKAGES * chance.random() ** 2)
    words = text.words
    name = f"{words[place % len(words)]}-{place}"
    if ecosystem == "Maven":
        name = f"org.example.{name}:{words[place // 2 % len(words)]}"
    elif ecosystem in ("Go", "Packagist"):
        name = f"{'example.org/' if ecosystem == 'Go' else ''}{words[place // 3 % len(words)]}/{name}"
    major, minor, patch = chance.randint(0, 12), chance.randint(0, 30), chance.randint(1, 20)
    start = "0" if chance.random() < 0.6 else f"{major}.0.0"
    events = [{"introduced": start}]
    if chance.random() < 0.9:
        events.append({"fixed": f"{major}.{minor}.{patch}"})
    entry: dict[str, Any] = {
        "package": {"ecosystem": ecosystem, "name": name},
        "ranges": [{"type": "ECOSYSTEM", "events": events}],
    }
    if ecosystem == "PyPI":
        entry["versions"] = [f"{major}.{minor}.{number}" for number in range(patch)]
    return entry
