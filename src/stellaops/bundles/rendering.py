"""`manifest.yaml` and `README.md`: for people, and functions of `export.json` alone.

A verifier never parses them: it renders them again and compares. So nothing here may depend on a locale, a library's
version or Unicode tables; everything that is not printable ASCII is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from stellaops.bundles import layout
from stellaops.bundles.content import Content
from stellaops.bundles.manifest import ExportManifest, Source
from stellaops.core import timestamps

_PLAIN_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_NOT_PLAIN = frozenset(["true", "false", "null", "yes", "no", "on", "off", "y", "n"])


def manifest_yaml(manifest: ExportManifest) -> bytes:
    """The manifest as YAML 1.1 and 1.2: the same value, keys in the same order."""
    value = msgspec.json.decode(manifest.data)
    return "".join(f"{line}\n" for line in _yaml(value, 0)).encode("ascii")


def _yaml(value: Any, depth: int) -> Iterator[str]:
    """Lines of a non-empty object or array; its items stand at `depth`."""
    indent = "  " * depth
    entries = (
        [(f"{indent}{_yaml_key(key)}:", item) for key, item in value.items()]
        if isinstance(value, dict)
        else [(f"{indent}-", item) for item in value]
    )
    for head, item in entries:
        if isinstance(item, dict | list) and item:
            yield head
            yield from _yaml(item, depth + 1)
        else:
            yield f"{head} {_yaml_scalar(item)}"


def _yaml_key(key: str) -> str:
    return key if _PLAIN_KEY.fullmatch(key) and key.lower() not in _NOT_PLAIN else _yaml_scalar(key)


def _yaml_scalar(value: Any) -> str:
    if isinstance(value, str):
        return '"' + "".join(_yaml_character(character) for character in value) + '"'
    return msgspec.json.encode(value).decode("ascii")


def _yaml_character(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if " " <= character <= "~":
        return character
    code = ord(character)
    return f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"


def readme(manifest: ExportManifest) -> bytes:
    """What the receiver should know: what this is, how to check it, how to use it. Markdown."""
    sections = [_introduction(manifest), _VERIFY]
    if manifest.profile.kind == "mirror":
        sections.append(_MIRROR)
    if manifest.content(layout.TRIVY_DB) is not None:
        sections += [_VERIFY_TRIVY, _trivy(manifest)]
    if manifest.content(layout.TRIVY_JAVA_DB) is not None:
        sections += [_VERIFY_JAVA, _java(manifest)]
    if any(layout.is_row_set(content.path) for content in manifest.contents):
        sections.append(_ROWS)
    if manifest.content(layout.CONSENSUS) is not None:
        sections.append(_CONSENSUS)
    sections += [
        text for name, text in _PARTS if any(each.path.startswith(name) for each in manifest.contents)
    ]
    if manifest.policy_snapshot is not None:
        sections.append(_policy(manifest))
    sections += [_contents(manifest.contents), _sources(manifest.sources), _FILES]
    return "\n".join(sections).encode("ascii")


def _text(text: str) -> str:
    """A text that Markdown and a terminal show as it is, in a table cell too."""
    return "".join(
        character
        if character.isascii() and (character.isalnum() or character in " .,:/+@_()-")
        else f"&#{ord(character)};"
        for character in text
    )


def _introduction(manifest: ExportManifest) -> str:
    profile = manifest.profile
    return f"""\
# Export {manifest.export_id}

Vulnerability evidence that StellaOps Export Center packed for tenant {_text(manifest.tenant)}, by profile
{_text(profile.name)} ({_text(profile.kind)}:{_text(profile.variant)}). Its newest document states
{timestamps.render(manifest.generated_at)}; nothing in it depends on when or where it was packed.

- export id: `{manifest.export_id}`, from the content: equal ids are equal exports
- rerun hash: `{manifest.rerun_hash}`
- snapshot: `{manifest.snapshot}`
"""


_VERIFY = """\
## Check it before use

Get the sender's public key, `export-center.pub`, by another way than this bundle, and compare its id with what the
sender tells you: `openssl pkey -pubin -in export-center.pub -outform DER | sha256sum`. No step below needs a network.

Everything at once (signatures, every file, every row, the database):

    stella export verify . --key ../export-center.pub

The manifest's signature with cosign 2 or 3, with cosign 3's bundle form, and with openssl:

    cosign verify-blob --key ../export-center.pub --signature signatures/export.sig \\
      --insecure-ignore-tlog=true export.json
    cosign verify-blob --key ../export-center.pub --bundle signatures/export.sigstore.json \\
      --insecure-ignore-tlog=true export.json
    base64 -d signatures/export.sig > ../export.der
    openssl dgst -sha256 -verify ../export-center.pub -signature ../export.der export.json

`files.json` is signed in the same way and holds the SHA-256 of every other file; `provenance.json` is signed as an
attestation of both, which cosign 3 checks:

    cosign verify-blob --key ../export-center.pub --signature signatures/files.sig \\
      --insecure-ignore-tlog=true files.json
    cosign verify-blob-attestation --key ../export-center.pub --bundle signatures/provenance.sigstore.json \\
      --type slsaprovenance1 --insecure-ignore-tlog=true export.json

Keep keys and other files out of this directory: a file that nothing explains fails the check.
`--insecure-ignore-tlog=true` says that the signature stands in no public log, which is so: trust comes from the key.
"""

_MIRROR = """\
Packed, in the archive that it came in, all this is checked in one pass, and nothing needs to be unpacked:

    mirror verify mirror-YYYYMMDD-full.tar.zst --key export-center.pub
"""

_VERIFY_TRIVY = """\
The database has signatures of its own:

    cosign verify-blob --key ../export-center.pub --signature signatures/trivy-db.sig \\
      --insecure-ignore-tlog=true trivy/db.bundle
"""


def _trivy(manifest: ExportManifest) -> str:
    return f"""\
## Use it with Trivy

Check and install into Trivy's cache, then scan without a network:

    stella trivy import trivy/db.bundle --key ../export-center.pub --cache-dir CACHE
    trivy image --cache-dir CACHE --skip-db-update --offline-scan IMAGE

Without StellaOps, `trivy/db.bundle` is a gzip tar of `trivy.db` and `metadata.json`, as Trivy publishes its own:

    mkdir -p CACHE/db && tar -xzf trivy/db.bundle -C CACHE/db

Keep `--skip-db-update`: the database states {timestamps.render(manifest.generated_at)} as its time and a next update
(`NextUpdate`) soon after, and as downloaded by Trivy never, so without that flag Trivy would fetch another database in
its place. With it, Trivy says nothing about the age of a database: look at that time yourself.
`trivy/sentinels.json` lists packages in which a working database must find something:
`stella trivy smoke trivy/db.bundle` asks Trivy for every one.
"""


_VERIFY_JAVA = """\
The Java database has signatures of its own:

    cosign verify-blob --key ../export-center.pub --signature signatures/trivy-java-db.sig \\
      --insecure-ignore-tlog=true trivy/java-db.bundle
"""


def _java(manifest: ExportManifest) -> str:
    return f"""\
## Use it with Trivy

The Java database tells of which Maven artefact a jar is that does not say so itself; it holds no vulnerability. Check
and install it beside the vulnerability database, then scan what is deployed without a network:

    stella trivy import trivy/java-db.bundle --key ../export-center.pub --cache-dir CACHE
    trivy rootfs --cache-dir CACHE --skip-db-update --skip-java-db-update --offline-scan DIRECTORY

Without StellaOps, `trivy/java-db.bundle` is a gzip tar of `trivy-java.db` and `metadata.json`:

    mkdir -p CACHE/java-db && tar -xzf trivy/java-db.bundle -C CACHE/java-db

Keep `--skip-java-db-update`: the database states {timestamps.render(manifest.generated_at)} as its time and a next
update (`NextUpdate`) soon after; without that flag Trivy would fetch another database in its place.
`trivy/java-sentinels.json` lists artefacts that a working database must recognise by the names of their files:
`stella trivy smoke trivy/java-db.bundle` asks Trivy for every one.
"""


_ROWS = """\
## Read the rows

Row sets are JSON lines, sorted by source and key, packed with zstd: `zstd -dc data/raw/advisories/*.jsonl.zst`. A raw
line has the record's `source` and `key`, its `document` in canonical JSON (RFC 8785) with the `digest` of exactly
those bytes, or, where that form would change a value, the record's own bytes as base64 in `verbatim`; `rawDigest` is
the digest of the record as it was fetched. An index line has `source`, `key` and `digest`, and what the document
says in short.
"""


_CONSENSUS = """\
`data/raw/vex` holds VEX documents as their issuers wrote them. `data/consensus/vex_consensus.jsonl.zst` has one line
for each product and vulnerability: the `status` that counts, `reason` why, `voices` with every issuer's newest
statement and its weight, and `superseded` ones. It is worked out from the documents of this export alone.
"""


_PARTS = (
    (
        layout.UPSTREAM,
        """\
`data/upstream` holds the records as they were fetched: `text`, or `bytes` in base64, with the digest in `rawDigest`.
""",
    ),
    (
        layout.NORMALIZED,
        """\
`data/normalized` holds advisories as OSV 1.7 and VEX as OpenVEX 0.2.0, whatever form they came in.
""",
    ),
    (
        layout.RAW_SBOMS,
        """\
`data/raw/sboms` holds bills of materials, each below the SHA-256 of what it is about; `indexes/sbom.index.jsonl.zst`
names the file of each.
""",
    ),
    (
        layout.VEX_REPOSITORY,
        """\
`vex-repository/vex-repository.tar.gz` is the consensus as `trivy --vex repo` reads it: the archive that the manifest of
a VEX repository (specification 0.1) points to.
""",
    ),
)
"""What the README says of parts that a bundle may have, by the beginning of their paths."""


def _policy(manifest: ExportManifest) -> str:
    text = f"""\
## Policy

The rules of policy snapshot `{manifest.policy_snapshot}` were applied, as they were in force when it was taken.
"""
    if manifest.content(layout.POLICY_SNAPSHOT) is None:
        return text
    return f"""\
{text}They stand in `data/policy/snapshot.json`. `data/policy/evaluations.jsonl.zst` has one line for each finding in
the tenant's bills of materials: the component, the documents and ranges that make it, what VEX and the rules say of it.
"""


def _contents(contents: tuple[Content, ...]) -> str:
    rows = "".join(
        f"| {_text(content.path)} | {content.records} | {_text(content.content_type)} | `{content.content_digest}` |\n"
        for content in contents
    )
    return f"## Contents\n\n| path | records | type | content digest |\n|---|---|---|---|\n{rows}"


def _sources(sources: tuple[Source, ...]) -> str:
    rows = "".join(
        f"| {_text(source.name)} | {_text(source.database)} | {_text(source.licence)} | "
        f"{'not stated' if source.updated_at is None else timestamps.render(source.updated_at)} |\n"
        for source in sources
    )
    return f"## Sources\n\n| source | database | licence | newest instant |\n|---|---|---|---|\n{rows}"


_FILES = """\
## Files

| file | what |
|---|---|
| `export.json` | the manifest: what this export holds, by content |
| `manifest.yaml`, `README.md` | the same for people; made from `export.json` alone |
| `files.json` | every file of this archive with size and SHA-256, and the tools that packed it |
| `provenance.json` | SLSA v1 provenance in an in-toto statement |
| `signatures/` | `.sig`: base64 DER, ECDSA P-256 with SHA-256; `.sigstore.json`: Sigstore bundle v0.3 |
| `signatures/*.jws` | only where the sender's profile asks: detached JWS (RFC 7797) over both manifests |
"""
