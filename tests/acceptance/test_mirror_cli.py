"""`stella mirror apply | restore | verify` as a user of the far side types them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from tests.acceptance.importing import called, failed, stella
from tests.support.mirrors import State, delta_of, full, key_pem

FIRST = State({("a", f"K{number}"): f"text {number}" for number in range(20)}, rules=1)
SECOND = replace(FIRST, documents={**FIRST.documents, ("a", "K3"): "other"})


def test_a_directory_is_restored_updated_and_verified(tmp_path: Path) -> None:
    sent = tmp_path / "sent"
    base = full(FIRST, sent)
    update = delta_of(base, SECOND, sent)
    key, into, data = tmp_path / "export-center.pub", tmp_path / "into", tmp_path / "data"
    key.write_bytes(key_pem())

    answer = stella(data, "mirror", "verify", sent, "--key", key)
    assert answer.code == 0, answer.err
    assert {check["name"]: check["status"] for check in answer.value["checks"]}["chain"] == "ok"

    failed(
        called(data, "mirror", "apply", update.path, "--into", into, "--key", key),
        6,
        "ERR_MIRROR_DELTA_APPLY",
    )
    answer = called(data, "mirror", "restore", base.path, "--into", into, "--key", key)
    assert answer.code == 0, answer.err
    answer = called(data, "mirror", "apply", update.path, "--into", into, "--key", key)
    assert answer.code == 0, answer.err
    assert answer.value == {
        "domain": None,
        "exportId": update.export_id,
        "archiveId": update.archive_id,
        "changed": True,
        "bytes": update.path.stat().st_size,
        "applied": [update.archive_id],
        "lagSeconds": None,
        "warnings": [answer.err.strip().removeprefix("warning: ")],
    }
    assert answer.err.startswith("warning: no freshness statement about mirror-")
    state = json.loads((into / "state.json").read_bytes())
    assert (state["archiveId"], state["exportId"]) == (update.archive_id, update.export_id)
    answer = called(data, "mirror", "verify", into, "--key", key)
    assert (answer.code, answer.value["exportId"]) == (0, update.export_id)
    failed(
        called(data, "mirror", "apply", update.path, "--into", into, "--key", key),
        6,
        "ERR_MIRROR_DELTA_APPLY",
    )
    failed(
        called(data, "mirror", "apply", tmp_path / "none", "--into", into, "--key", key),
        4,
        "ERR_EXPORT_BUNDLE_MISSING",
    )
