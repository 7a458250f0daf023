"""Whatever stands in a bundle's files, a verification ends in a report."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stellaops.bundles import files_manifest, layout, manifest
from stellaops.core import canonical_json, digests
from stellaops.kit import signatures
from stellaops.kit.verify import verify_bundle
from tests.unit.kit.small_bundle import SENDER, SmallBundle

TRUSTED = [SENDER.public_key_pem()]
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.text(max_size=8)
    | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return SmallBundle().write(tmp_path_factory.mktemp("hostile") / "bundle")


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [at] if at else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += paths(item, (*at, key))
    return found


def replaced(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    if not at:
        return new
    copy = value.copy()
    copy[at[0]] = replaced(value[at[0]], at[1:], new)
    return copy


@settings(max_examples=80)
@given(data=st.data(), name=st.sampled_from(["export.json", "files.json"]), new=_JSON)
def test_a_signed_manifest_with_any_value_anywhere_is_judged(
    root: Path, data: st.DataObject, name: str, new: Any
) -> None:
    held = {path: path.read_bytes() for path in [root / name, *(root / "signatures").iterdir()]}
    honest = json.loads(held[root / name])
    place = data.draw(st.sampled_from(paths(honest)), label="place")
    changed = json.dumps(replaced(honest, place, new)).encode()
    with contextlib.suppress(canonical_json.NotCanonical):
        changed = canonical_json.encode(json.loads(changed))
    try:
        (root / name).write_bytes(changed)
        for made, signature in signatures.make(SENDER, {name: digests.sha256(changed)}, None).items():
            (root / made).write_bytes(signature)
        verdict = verify_bundle(root, TRUSTED).verdict
        assert verdict == ("ok" if changed == held[root / name] else "failed")
    finally:
        for path, before in held.items():
            path.write_bytes(before)


@given(data=st.binary(max_size=300) | _JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_manifest_or_a_bad_one(data: bytes) -> None:
    with pytest.raises(manifest.BadManifest):
        manifest.parse(data)
    with pytest.raises(files_manifest.BadFilesManifest):
        files_manifest.parse(data)


@settings(max_examples=50)
@given(
    junk=st.binary(max_size=200),
    name=st.sampled_from(["export.sig", "export.sigstore.json", "provenance.sigstore.json"]),
)
def test_any_bytes_as_a_signature_are_refused(root: Path, junk: bytes, name: str) -> None:
    path = root / layout.SIGNATURES / name
    held = path.read_bytes()
    try:
        path.write_bytes(junk)
        assert verify_bundle(root, TRUSTED).verdict == "failed"
    finally:
        path.write_bytes(held)
