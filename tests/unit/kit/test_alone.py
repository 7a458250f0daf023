from __future__ import annotations

import subprocess
import sys


def test_the_verifier_loads_nothing_but_what_the_far_side_has() -> None:
    program = (
        "import sys, stellaops.kit.verify\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    own = {name for name in done.stdout.split() if not name.startswith(("__", "_"))}
    taken_along = {"bcrypt"}  # cryptography looks for it, and does without
    assert own - taken_along <= {
        "stellaops", "msgspec", "cryptography", "backports", "cffi", "typing_extensions",
    }  # fmt: skip
