"""Apache's `htpasswd` as far as our pages use it: `-i [-c] -B -C COST FILE USER < PASSWORD`, `-D FILE USER`.

Stands in for the program where a machine lacks it. The lines are those that it writes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import bcrypt


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(prog="htpasswd")
    for flag in "icBD":
        parser.add_argument(f"-{flag}", action="store_true")
    parser.add_argument("-C", type=int, default=5)
    parser.add_argument("file", type=Path)
    parser.add_argument("user")
    told = parser.parse_args()
    lines = [] if told.c else told.file.read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if not line.startswith(f"{told.user}:")]
    if not told.D:
        password = sys.stdin.readline().rstrip("\n").encode()
        hashed = bcrypt.hashpw(password, bcrypt.gensalt(told.C)).decode().replace("$2b$", "$2y$")
        lines.append(f"{told.user}:{hashed}")
    told.file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
