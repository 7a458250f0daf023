"""Where the commands' processes begin: `stella` and `mirror`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from stellaops.core import collecting

if TYPE_CHECKING:
    import click


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; never returns."""
    _prepare()
    from stellaops.cli.main import stella  # noqa: PLC0415 - after what makes it quick

    _run(stella, arguments, "stella")


def main_mirror(arguments: list[str] | None = None) -> Any:
    """Run `mirror`, which is `stella mirror`; never returns."""
    _prepare()
    from stellaops.cli.mirror import mirror  # noqa: PLC0415 - as above

    _run(mirror, arguments, "mirror")


def _prepare() -> None:
    collecting.look_seldom()
    # Nothing that is made here may be written by others: whoever can exchange a key file can sign.
    os.umask(os.umask(0o022) | 0o022)


def _run(command: click.Command, arguments: list[str] | None, name: str) -> None:
    from stellaops.cli.frame import run  # noqa: PLC0415 - as above

    collecting.keep_all()
    try:
        run(command, arguments, name)
    finally:
        collecting.keep_all()
