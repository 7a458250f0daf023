"""What the signer says: the two manifests, their signatures, the provenance, the texts, the freshness statement."""

from __future__ import annotations

import hashlib

from stellaops.bundles import files_manifest, layout, manifest, provenance, rendering
from stellaops.bundles.manifest import ExportManifest
from stellaops.core import digests, timestamps
from stellaops.core.counting import counted
from stellaops.core.digests import Digest
from stellaops.kit import contents, delta, freshness, signatures
from stellaops.kit.checks.inspection import (
    Doubtful,
    Inspection,
    NotApplicable,
    Refused,
    established,
    refuse_any,
)
from stellaops.kit.opening import opening_of
from stellaops.kit.tree import Tree
from stellaops.signing import cosign_blob
from stellaops.signing.ecdsa_p256 import BadSignature


def signer(seen: Inspection) -> str:
    """Who signed `export.json`, of the keys that the receiver trusts."""
    seen.raw = seen.tree.read(layout.MANIFEST, manifest.LARGEST)
    key = signatures.signer_of(seen.tree, seen.raw, seen.trusted)
    remark = seen.remarks.get(key.key_id, "")
    said = f"export.json is signed by key {key.key_id}"
    if key.key_id in seen.revoked:
        raise Refused([f"{said}, which verifies nothing: {remark or 'revoked'}"])
    seen.key = key
    return f"{said} ({remark})" if remark else said


def manifest_form(seen: Inspection) -> str:
    """Whether `export.json` is its own canonical form; what it says is believed from here on."""
    seen.manifest = manifest.parse(seen.raw)
    return f"tenant {seen.manifest.tenant!a}, {len(seen.manifest.contents)} contents"


def export_id(seen: Inspection) -> str:
    """Whether the export's id is what its content gives."""
    stated, true = established(seen.manifest).export_id, established(seen.manifest).true_export_id()
    refuse_any([f"it states {stated}, its content gives {true}"] if stated != true else [])
    return stated


def rerun_hash(seen: Inspection) -> str:
    """Whether the rerun hash is what the contents give."""
    stated, true = established(seen.manifest).rerun_hash, established(seen.manifest).true_rerun_hash()
    refuse_any([f"it states {stated}, its contents give {true}"] if stated != true else [])
    return stated


def files_manifest_form(seen: Inspection) -> str:
    """Whether `files.json` is signed by the same key and fits `export.json`."""
    raw = seen.tree.read(layout.FILES, files_manifest.LARGEST)
    plain, _ = layout.signature_paths(layout.FILES)
    signature = seen.tree.read(plain, cosign_blob.LARGEST)
    try:
        cosign_blob.verify(signature, hashlib.sha256(raw).digest(), established(seen.key))
    except BadSignature as error:
        raise Refused([f"{plain}: {error}"]) from error
    files = files_manifest.parse(raw)
    explained = delta.unexplained if delta.is_delta(files) else contents.unexplained
    refuse_any(explained(established(seen.manifest), files))
    seen.files = files
    known = established(seen.manifest)
    seen.opening = opening_of(seen.tree, established(seen.key), known.export_id, seen.identities)
    return f"archive {files.archive_id}, {counted(len(files.files), 'file')}"


def all_signatures(seen: Inspection) -> str:
    """Every other signature, in every form that there must be."""
    files = established(seen.files)
    signed: dict[str, Digest] = {entry.path: entry.digest for entry in files.files}
    signed[layout.MANIFEST] = digests.sha256(seen.raw)
    signed[layout.FILES] = digests.sha256(files.data)
    problems = signatures.problems(seen.tree, established(seen.key), signed)
    if seen.jws:
        manifests = {layout.MANIFEST: seen.raw, layout.FILES: files.data}
        problems += signatures.jws_problems(seen.tree, established(seen.key), manifests)
    refuse_any(problems)
    made = f"{sum(layout.signed_stem(path) is not None for path in signed)} files in 2 forms"
    return f"{made}, both manifests as JWS" if seen.jws else made


def applied_signatures(seen: Inspection) -> str:
    """Those over a database may be of another key than those over the manifest, since it may have come before."""
    assert isinstance(seen.tree, Tree)  # noqa: S101 - the form says so
    files = seen.tree.listing().files
    problems = signatures.problems(
        seen.tree, established(seen.key), {layout.MANIFEST: digests.sha256(seen.raw)}
    )
    made = 1
    if layout.JWS_PATHS[layout.MANIFEST] in files:
        problems += signatures.jws_problems(seen.tree, established(seen.key), {layout.MANIFEST: seen.raw})
    for path in sorted(files):
        if layout.signed_stem(path) is None or path == layout.MANIFEST:
            continue
        if not set(layout.signature_paths(path)) & files:
            continue
        digest, _ = seen.tree.measure(path, 1 << 62)
        found = [
            signatures.problems(seen.tree, key, {path: digest})
            for key in seen.trusted
            if key.key_id not in seen.revoked
        ]
        made += 1
        if all(found):
            problems += found[0]
    refuse_any(problems)
    return f"{made} files in 2 forms"


def provenance_statement(seen: Inspection) -> str:
    """Whether the provenance is signed, and what both manifests give."""
    statement = seen.tree.read(layout.PROVENANCE, provenance.LARGEST)
    problems = list(signatures.statement_problems(seen.tree, established(seen.key), statement))
    environment = established(seen.opening).environment
    if statement != provenance.build(established(seen.manifest), established(seen.files), environment):
        problems.append("provenance.json is not what export.json and files.json give")
    refuse_any(problems)
    return "signed, and what export.json and files.json give"


def documents(seen: Inspection) -> str:
    """Whether the texts are what `export.json` gives."""
    refuse_any(
        f"{path} is not what export.json gives"
        for path, data in rendered(established(seen.manifest)).items()
        if seen.tree.read(path, len(data) + 1) != data
    )
    return "manifest.yaml and README.md are what export.json gives"


def rendered(known: ExportManifest) -> dict[str, bytes]:
    """The texts that are made from a manifest, by path."""
    return {
        layout.MANIFEST_YAML: rendering.manifest_yaml(known),
        layout.README: rendering.readme(known),
    }


def freshness_statement(seen: Inspection) -> str:
    """What is said of the sources' age, and whether that is enough."""
    if established(seen.manifest).profile.kind != "mirror":
        raise NotApplicable("only mirrors state when their sources were checked")
    known = established(seen.manifest)
    keys = [key for key in seen.trusted if key.key_id not in seen.revoked]
    statement = freshness.find(freshness.beside(seen.found), keys)
    if statement is None or statement.export_id != known.export_id:
        about = "about this export" if statement else "beside it"
        reason = f"there is no freshness statement {about}, so nothing tells how old it is"
        raise Refused([reason]) if seen.max_age is not None else Doubtful(reason)
    if seen.at is not None:
        demands = freshness.Demands(seen.at, seen.max_age)
        refuse_any(freshness.problems(statement, known.export_id, known.tenant, demands))
    until = timestamps.render(statement.expires)
    return f"version {statement.version}, issued {timestamps.render(statement.issued)}, holds until {until}"
