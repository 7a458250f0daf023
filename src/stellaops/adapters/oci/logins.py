"""Registry logins from a file as docker's `config.json`, read when they are used and kept nowhere."""

from __future__ import annotations

import base64
import binascii
import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from stellaops.adapters.oci.errors import LoginsUnusable
from stellaops.bundles.oci.names import Repository

_LARGEST = 1 << 20
_MOMENT = 0.2
_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")


@dataclass(frozen=True, slots=True)
class Login:
    """A user's name with a password, or an identity token; neither is shown."""

    user: str
    password: str = field(repr=False)
    identity_token: str = field(default="", repr=False)

    def basic(self) -> str:
        """The header for HTTP's Basic scheme."""
        return f"Basic {base64.b64encode(f'{self.user}:{self.password}'.encode()).decode('ascii')}"


class _Auth(msgspec.Struct, frozen=True):
    auth: str = ""
    username: str = ""
    password: str = ""
    identitytoken: str = ""


class _Config(msgspec.Struct, frozen=True):
    auths: dict[str, _Auth] = {}
    cred_helpers: dict[str, str] = msgspec.field(name="credHelpers", default_factory=dict)
    creds_store: str = msgspec.field(name="credsStore", default="")


def read_login(file: Path | None, repository: Repository) -> Login | None:
    """The login for a repository; None where no file is named, so that one asks as nobody.

    An entry may be for a registry, or for a path below it, as Podman writes it; the longest that fits counts.

    Raises:
        LoginsUnusable: see there. Nothing of the file stands in the message.
    """
    if file is None:
        return None
    config = _config(file)
    found = max(
        ((_fits(key, repository), auth) for key, auth in config.auths.items()),
        key=lambda each: each[0],
        default=None,
    )
    if found is not None and found[0]:
        login = _login(found[1])
        if login is not None:
            return login
    helper = config.cred_helpers.get(repository.registry) or config.creds_store
    if helper:
        what = f"has a credential helper ({helper[:60]}) for {repository.registry}; helpers are not run here"
        hint = "Put the login itself under `auths`, as `docker login` does without a helper."
        raise LoginsUnusable(f"{file} {what}", hint=hint)
    raise LoginsUnusable(f"{file} has no login for {repository.registry}")


def _config(file: Path) -> _Config:
    try:
        content = _read(file)
        if not content:  # as a file is for a moment that is written anew in its place
            time.sleep(_MOMENT)
            content = _read(file)
        return msgspec.json.decode(content, type=_Config)
    except OSError as error:
        raise LoginsUnusable(f"{file}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise LoginsUnusable(f"{file} is not of the form of docker's config.json") from None


def _read(file: Path) -> bytes:
    with file.open("rb") as content:
        return content.read(_LARGEST)


def _fits(key: str, repository: Repository) -> int:
    """How long the part of a repository's name is that an entry is for; 0 where it is for another."""
    name = key.partition("://")[2] or key
    host, _, path = name.rstrip("/").partition("/")
    if path in ("v1", "v2"):
        path = ""
    same = host == repository.registry or (host in _HUB and repository.registry in _HUB)
    if not same or not (f"{repository.path}/".startswith(f"{path}/") or not path):
        return 0
    return len(host) + len(path)


def _login(auth: _Auth) -> Login | None:
    if auth.identitytoken:
        return Login(auth.username, "", auth.identitytoken)
    if auth.username:
        return Login(auth.username, auth.password)
    try:
        user, colon, password = base64.b64decode(auth.auth, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return Login(user, password.rstrip("\0")) if colon else None
