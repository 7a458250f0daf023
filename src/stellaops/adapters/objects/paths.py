"""Paths of files inside bundles, as anyone may have written them."""

from __future__ import annotations

from pathlib import PurePosixPath


def is_inside(path: str) -> bool:
    """Whether a path names something inside a bundle root, and can have no other meaning anywhere."""
    parts = path.split("/")
    return (
        "\x00" not in path
        and "\\" not in path
        and all(part not in ("", ".", "..") for part in parts)
        and str(PurePosixPath(path)) == path
        and len(path.encode("utf-8", "surrogatepass")) <= 1024
    )
