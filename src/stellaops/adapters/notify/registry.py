"""Every provider that there is: whatever module lies in `providers`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from functools import cache

from stellaops.adapters.notify import providers
from stellaops.adapters.notify.context import NotifyContext
from stellaops.notify.errors import InvalidChannel
from stellaops.notify.ports import Provider

Opener = Callable[[NotifyContext], Provider]


@cache
def openers() -> Mapping[str, Opener]:
    """How the provider of each kind is opened."""
    found: dict[str, Opener] = {}
    for each in pkgutil.iter_modules(providers.__path__):
        module = importlib.import_module(f"{providers.__name__}.{each.name}")
        found[module.KIND] = module.open_provider
    return dict(sorted(found.items()))


class KnownProviders:
    """`notify.ports.Providers`; each is opened when it is first used."""

    def __init__(self, context: NotifyContext) -> None:
        self._context = context
        self._opened: dict[str, Provider] = {}

    def of(self, kind: str) -> Provider:
        """See the port."""
        opener = openers().get(kind)
        if opener is None:
            raise InvalidChannel(f"{kind[:80]!r} is no kind of channels; there are {', '.join(openers())}")
        return (
            self._opened.setdefault(kind, opener(self._context))
            if kind not in self._opened
            else self._opened[kind]
        )

    def kinds(self) -> Sequence[str]:
        """See the port."""
        return tuple(openers())
