"""Channels: where messages go. What opens them is a secret in a file, which a channel only names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stellaops.notify.errors import InvalidChannel

_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_SECRET = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_LONGEST_NAME = 200

Judge = Callable[[Mapping[str, Any]], Sequence[str]]
"""Says what is wrong with the settings of a kind of channels, a sentence each."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A place that messages go to.

    Attributes:
        kind: which provider sends there: `email`, `slack`, `teams`, `webhook`.
        settings: what the provider is told: addresses, and the names of secrets.
        name: for people.
    """

    tenant: str
    id: str
    kind: str
    settings: Mapping[str, Any]
    name: str = ""
    enabled: bool = True

    def to_wire(self) -> dict[str, Any]:
        """The channel as scripts read it; there is no secret in it."""
        return {
            "id": self.id,
            "kind": self.kind,
            "name": self.name or None,
            "enabled": self.enabled,
            "settings": dict(self.settings),
        }


def demand_sound(channel: Channel, judges: Mapping[str, Judge]) -> Channel:
    """The channel, if it can be.

    Args:
        judges: of each kind that there is.

    Raises:
        InvalidChannel: with all that is wrong.
    """
    if problems := list(_problems(channel, judges)):
        raise InvalidChannel(f"channel {channel.id[:80]}: {'; '.join(problems)}", details=problems)
    return channel


def is_id(text: str) -> bool:
    """Whether a text can be the id of a channel or a rule."""
    return _ID.fullmatch(text) is not None


def is_line(text: str) -> bool:
    """Whether a text can be a name for people."""
    return len(text) <= _LONGEST_NAME and (text.isprintable() or not text)


def secret_problem(field: str, name: str) -> Iterator[str]:
    """What is wrong with the name of a secret."""
    if not _SECRET.fullmatch(name):
        yield f"{field}: a secret's name is 1 to 63 of a-z, 0-9, - and _, not {name[:80]!r}"


def _problems(channel: Channel, judges: Mapping[str, Judge]) -> Iterator[str]:
    if not is_id(channel.id):
        yield f"id: 1 to 63 of a-z, 0-9 and - are needed, not {channel.id[:80]!r}"
    if not is_line(channel.name):
        yield f"name: one line of at most {_LONGEST_NAME} characters is needed"
    judge = judges.get(channel.kind)
    if judge is None:
        yield f"kind: {channel.kind[:80]!r} is none of {', '.join(sorted(judges))}"
    else:
        yield from judge(channel.settings)
