"""Saved servers: address, tenant and login, by name, in one file that only its owner can read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
import yaml

from stellaops.adapters.keys import disk
from stellaops.client.errors import ContextNotFound, ContextsUnusable
from stellaops.core.errors import InvalidInput

LOCAL = "local"
"""The name that always stands for the data directory of this machine."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class Context(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, rename="camel"):
    """A server.

    Attributes:
        server: its address.
        tenant: whom is acted for; the token's first when None.
        client: whose token is used.
        secret_file: where its secret lies.
    """

    server: str
    tenant: str | None = None
    client: str | None = None
    secret_file: str | None = None


class _File(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    current: str | None = None
    contexts: dict[str, Context] = {}


class BadContextName(InvalidInput):
    """A name that no server can be saved under."""

    code = "ERR_CONTEXT_NAME"
    hint = "Use 1 to 63 of letters, digits, dot, hyphen and underscore; `local` is the data directory's."


class Contexts:
    """The file of saved servers."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @property
    def current(self) -> str | None:
        """The one that is used where none is named."""
        return self._read().current

    def all(self) -> Mapping[str, Context]:
        """Every one, by name."""
        return self._read().contexts

    def get(self, name: str) -> Context:
        """One by name.

        Raises:
            ContextNotFound: see there.
        """
        found = self._read().contexts.get(name)
        if found is None:
            raise ContextNotFound(f"no server is saved as {name[:80]!r} in {self._file}")
        return found

    def save(self, name: str, context: Context, *, use: bool) -> None:
        """Keep one, in place of another of its name.

        Raises:
            BadContextName: see there.
        """
        if not _NAME.fullmatch(name) or name == LOCAL:
            raise BadContextName(f"{name[:80]!r} cannot be the name of a saved server")
        held = self._read()
        current = name if use else held.current
        self._write(_File(current, {**held.contexts, name: context}))

    def use(self, name: str) -> None:
        """Make one the current one; `local` for none.

        Raises:
            ContextNotFound: see there.
        """
        if name != LOCAL:
            self.get(name)
        self._write(_File(None if name == LOCAL else name, self._read().contexts))

    def remove(self, name: str) -> None:
        """Forget one.

        Raises:
            ContextNotFound: see there.
        """
        self.get(name)
        held = self._read()
        rest = {each: context for each, context in held.contexts.items() if each != name}
        self._write(_File(None if held.current == name else held.current, rest))

    def _read(self) -> _File:
        try:
            text = self._file.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return _File()
        except (OSError, UnicodeDecodeError) as error:
            raise ContextsUnusable(f"{self._file}: {error}") from error
        try:
            return msgspec.convert(yaml.safe_load(text) or {}, _File)
        except (yaml.YAMLError, msgspec.ValidationError) as error:
            raise ContextsUnusable(f"{self._file}: {error}") from error

    def _write(self, held: _File) -> None:
        text = yaml.safe_dump(msgspec.to_builtins(held), sort_keys=True, allow_unicode=True)
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            disk.write(self._file, text.encode(), mode=0o600)
        except OSError as error:
            raise ContextsUnusable(f"{self._file} cannot be written: {error.strerror}") from error
        except disk.KeyFileNotWritten as error:
            raise ContextsUnusable(error.what) from error
