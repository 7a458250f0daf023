"""Look through every file of the repository for what must not be there.

Private keys and tokens, paths of somebody's home or of this very checkout, names of package registries' hosts,
requirements without hashes, and files too large for a source repository. Exit 1 with a list of places, else 0.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LARGEST = 1024 * 1024

# Upstream's own documents say what they say; only what could be a secret is looked for in them.
UPSTREAM = ("tests/data/",)

SECRETS = {
    # A header alone may stand in code that reads keys; with a body it is a key.
    "a private key": re.compile(
        rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+(?:[\w-]+: .*\s+)*[A-Za-z0-9+/=]{32}"
    ),
    "an age identity": re.compile(rb"AGE-SECRET-KEY-1[0-9A-Z]{50}"),
    "an access key": re.compile(rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a client's secret": re.compile(rb"\bstella_[A-Za-z0-9_-]{43}(?![\w-])"),
    "a token": re.compile(
        rb"\b(?:gh[opsu]_[A-Za-z0-9]{36}|github_pat_\w{60}|xox[abp]-[\w-]{20}|pypi-Ag[\w-]{50})"
    ),
}
PLACES = {
    "a path in somebody's home": re.compile(
        rb"(?<![\w.$}>-])/(?:home/[a-z_][\w.-]*|Users/[A-Za-z]\w*|root)/[\w.]"
    ),
    "a package registry's host": re.compile(
        rb"pypi\.org/simple|files\.pythonhosted\.org|deb\.debian\.org|registry\.npmjs\.org|proxy\.golang\.org"
    ),
}


def files(root: Path) -> Iterator[Path]:
    """Files that are in the repository or would be with the next commit."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
    )
    for name in sorted(set(listed.stdout.decode().split("\0")) - {""}):
        if (root / name).is_file() and not (root / name).is_symlink():
            yield Path(name)


def in_text(name: str, data: bytes, checkout: Path) -> Iterator[str]:
    """What is wrong with the text of one file: `line: what`."""
    patterns = dict(SECRETS)
    if not name.startswith(UPSTREAM):
        patterns |= PLACES
        if len(checkout.parts) > 2:
            patterns["the path of this checkout"] = re.compile(re.escape(bytes(checkout)) + rb"\b")
    for what, pattern in patterns.items():
        for found in pattern.finditer(data):
            line = 1 + data.count(b"\n", 0, found.start())
            yield f"{line}: {what}"


def in_requirements(data: bytes) -> Iterator[str]:
    """Lines of a compiled requirements file that pin no version, have no hash, or name an index."""
    logical = re.sub(rb"\\\n", b" ", data)
    for line in logical.decode("utf-8").splitlines():
        text = line.split(" #", 1)[0].strip()
        if not text or text.startswith("#"):
            continue
        if text.startswith("-"):
            yield f"an option in requirements: {text.split()[0]}"
        elif not re.match(r"[A-Za-z0-9._-]+(?:\[[\w,-]+\])?==\S+ .*--hash=sha256:[0-9a-f]{64}", text):
            yield f"not pinned with a hash: {text.split()[0]}"


def problems(root: Path) -> Iterator[str]:
    """Everything wrong in a checkout: `path:line: what`."""
    for path in files(root):
        name = path.as_posix()
        data = (root / path).read_bytes()
        if len(data) > LARGEST:
            yield f"{name}: {len(data)} bytes, more than {LARGEST}"
        for found in in_text(name, data, root):
            yield f"{name}:{found}"
        if path.parent.name == "requirements" and path.suffix == ".txt":
            for wrong in in_requirements(data):
                yield f"{name}: {wrong}"


def main() -> int:
    """Print what is wrong."""
    found = list(problems(ROOT))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
