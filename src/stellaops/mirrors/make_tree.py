"""The tree of a side: planned, built or taken over domain by domain, named by its content, listed and signed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from stellaops.bundles import precompressed
from stellaops.core import canonical_json, digests, timestamps
from stellaops.core.digests import Digest
from stellaops.exports.plan_run import Tools
from stellaops.mirrors import build_advisories, build_vex, domain_list, forms
from stellaops.mirrors.domain import Domain, Side
from stellaops.mirrors.forms import Entry, Listed
from stellaops.mirrors.signed_files import SIG, SUFFIXES, measure, sign_file
from stellaops.mirrors.tree import Tree
from stellaops.signing.interface import Signer

Plan = build_advisories.Plan | build_vex.Plan
Part = build_advisories.Part | build_vex.Part

_PACKED = (".zip", ".pub", *precompressed.SUFFIXES, *SUFFIXES)


def plan(side: Side, domain: Domain, sequence: int, key_id: str, tools: Tools) -> Plan:
    """What a domain will hold on a side.

    Raises:
        EmptyDomain: see there.
    """
    made = build_advisories.plan if side == "concelier" else build_vex.plan
    return made(domain, sequence, key_id, tools)


def states(plans: Sequence[Plan], given_up: Sequence[str]) -> Digest:
    """Digest of all that decides a tree: while it is the same, so is the tree."""
    wire = {
        "domains": [each.state.digest for each in plans],
        "domainList": domain_list.SCHEMA,
        "givenUp": sorted(given_up),
    }
    return digests.sha256(canonical_json.encode(wire))


def build(made: Plan, tree: Tree, tools: Tools) -> Part:
    """Write what a domain holds but for what bears the export id; from the tree in force where nothing changed."""
    if isinstance(made, build_advisories.Plan):
        content = build_advisories.unchanged(made, tree)
        if content is not None:
            return build_advisories.take_over(made, tree, content)
        return build_advisories.build(made, tree, tools)
    exports = build_vex.unchanged(made, tree)
    if exports is not None:
        return build_vex.take_over(made, tree, exports)
    return build_vex.build(made, tree, tools)


def identify(side: Side, parts: Sequence[Part], tree: Tree, given_up: Sequence[str]) -> str:
    """The export id of what was built."""
    return forms.export_id(side, [_identity(side, part, tree) for part in parts], given_up)


def _identity(side: Side, part: Part, tree: Tree) -> dict[str, Any]:
    state = part.plan.state
    wire: dict[str, Any] = {
        "id": state.id,
        "displayName": state.display_name,
        "key": state.key_id,
        "generatedAt": timestamps.render(state.generated_at),
        "selectors": dict(state.selectors),
        "sources": state.source_wires(),
        "files": [[path, measure(tree.root / path).sha256] for path in _telling(side, state.id, tree)],
    }
    if isinstance(part, build_advisories.Part):
        return wire | {"advisories": part.content.digest, "formats": list(part.plan.formats)}
    exports = [
        [each.key, each.format, each.measured.sha256, each.revision, timestamps.render(each.created_at)]
        for each in part.exports
    ]
    return wire | {"exports": exports}


def _telling(side: Side, domain: str, tree: Tree) -> Iterator[str]:
    """Files that tell what a domain holds: not the single documents that stand in archives too, nor packed forms."""
    own = set(tree.files(*forms.folders(side, domain)[1:]))
    for path in sorted(own):
        packed = any(
            path.endswith(suffix) and path.removesuffix(suffix) in own for suffix in precompressed.SUFFIXES
        )
        if not packed and not _is_single(path):
            yield path


def _is_single(path: str) -> bool:
    return path.startswith("osv/") and path.endswith(".json")


def finish(
    side: Side,
    export_id: str,
    parts: Sequence[Part],
    tree: Tree,
    signers: Mapping[str, Signer],
    *,
    given_up: Sequence[str],
) -> None:
    """Write what bears the export id, then packed forms, signatures and lists.

    Raises:
        StellaError: a signer cannot sign.
    """
    listed = []
    domains = domain_list.encode(side, export_id, (part.plan.state.id for part in parts), given_up)
    for part in parts:
        signer = signers[part.plan.domain.id]
        folder = forms.place(part.plan.state.id)
        tree.put(f"{folder}/{forms.KEY}", signer.public_key_pem())
        tree.put(f"{folder}/{domain_list.FILE}", domains)
        if isinstance(part, build_advisories.Part):
            listed.append(_finish_bundle(part, tree, export_id, signer))
        elif isinstance(part, build_vex.Part):
            _finish_exports(part, tree, export_id, signer)
    if side == "concelier":
        tree.put(forms.INDEX, forms.index(export_id, listed))
        precompressed.pack_beside(tree.root / forms.INDEX)
    for part in parts:
        _list(side, part.plan.domain, export_id, tree, signers[part.plan.domain.id])


def _finish_bundle(part: build_advisories.Part, tree: Tree, export_id: str, signer: Signer) -> Listed:
    state = part.plan.state
    folder = tree.root / forms.place(state.id)
    build_advisories.name_export(folder / forms.BUNDLE, export_id)
    bundle = sign_file(folder / forms.BUNDLE, signer)
    body = forms.manifest(state, part.content, bundle, part.plan.formats, export_id)
    tree.put(f"{forms.place(state.id)}/{forms.MANIFEST}", body)
    about = msgspec.json.decode(body, type=forms.Manifest)
    return Listed(about, state.key_id, sign_file(folder / forms.MANIFEST, signer), bundle)


def _finish_exports(part: build_vex.Part, tree: Tree, export_id: str, signer: Signer) -> None:
    state = part.plan.state
    folder = tree.root / forms.place(state.id)
    for each in part.exports:
        file = folder / "exports" / each.file
        if not file.with_name(file.name + SIG).exists():  # else taken over with the file, by the same key
            sign_file(file, signer)
    body = forms.exports_index(state, export_id, part.exports)
    tree.put(f"{forms.place(state.id)}/{forms.INDEX}", body)
    sign_file(folder / forms.INDEX, signer)


def _list(side: Side, domain: Domain, export_id: str, tree: Tree, signer: Signer) -> None:
    """Pack a domain's files, then write the signed list of all of them."""
    folders = forms.folders(side, domain.id)
    paths = list(tree.files(*folders))
    known = set(paths)
    for path in paths:
        taken_over = any(path + suffix in known for suffix in precompressed.SUFFIXES)
        if not (taken_over or path.endswith(_PACKED) or path.startswith("oci/") or _is_single(path)):
            precompressed.pack_beside(tree.root / path)
    place = f"{forms.place(domain.id)}/{forms.TREE}"
    with tree.create(place) as out:
        out.writelines(forms.tree_lines(side, domain.id, export_id, _entries(tree, folders, place)))
    precompressed.pack_beside(tree.root / place)
    sign_file(tree.root / place, signer, jws=False)


def _entries(tree: Tree, folders: Sequence[str], but: str) -> Iterator[Entry]:
    for path in tree.files(*folders):
        if path != but:
            measured = measure(tree.root / path)
            yield Entry(path, measured.sha256, measured.bytes)
