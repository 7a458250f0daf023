"""Files of sentinels: canonical JSON, an array of objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec

from stellaops.bundles.packed import BadPacking
from stellaops.core import canonical_json

T = TypeVar("T")


def read(
    name: str, data: bytes, form: type[T], write: Callable[[Iterable[T]], bytes], damaged: type[BadPacking]
) -> tuple[T, ...]:
    """The sentinels of a file.

    Raises:
        BadPacking: of the type `damaged`: anything but what `write` writes.
    """
    try:
        sentinels = tuple(msgspec.convert(canonical_json.decode(data), list[form], strict=True))  # type: ignore[valid-type]
        if write(sentinels) == data:
            return sentinels
    except (canonical_json.NotCanonical, msgspec.ValidationError, RecursionError) as error:
        raise damaged(f"{name}: {error}") from error
    raise damaged(f"{name} is not in its canonical form")
