"""Libraries that only some installations have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from stellaops.core.errors import MissingPrerequisite


class ServerExtraMissing(MissingPrerequisite):
    """The libraries of the service are not installed: clients and verifiers do without them."""

    code = "ERR_SERVER_EXTRA_MISSING"
    hint = "Install them: `pip install 'stellaops[server]'`."


@contextmanager
def server_extra() -> Iterator[None]:
    """Around imports of what the extra `server` brings.

    Raises:
        ServerExtraMissing: see there.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ServerExtraMissing(f"the library {error.name} is not installed") from error
