"""Credentials of sources, read from files when they are used: never stored, logged or shown."""

from __future__ import annotations

import base64
import configparser
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from stellaops.adapters.web.sigv4 import AccessKey, signed_headers
from stellaops.core.errors import InvalidInput, MissingPrerequisite
from stellaops.ingest.pull_model import Authentication

_HEADER = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]+):[ \t]*(\S(?:.*\S)?)")
_LARGEST = 64 << 10


class CredentialsMissing(MissingPrerequisite):
    """A file with credentials cannot be read."""

    code = "ERR_PULL_CREDENTIALS_MISSING"
    hint = "Provide the file that the source's definition names, readable for the user that runs stella."


class CredentialsInvalid(InvalidInput):
    """A file with credentials does not have the form of its kind."""

    code = "ERR_PULL_CREDENTIALS_INVALID"
    hint = "See docs/use/pull.md for the forms: `user:password`, a token, `Name: value`, or an S3 access key."


@dataclass(frozen=True, slots=True)
class Signer:
    """Adds credentials to requests for one origin. It holds no secret: the file is read for each pull."""

    authentication: Authentication | None
    now: Callable[[], datetime]

    def headers(self, url: str, headers: Mapping[str, str]) -> dict[str, str]:
        """What to add to a request; names in lower case.

        Raises:
            CredentialsMissing, CredentialsInvalid: see there.
        """
        if self.authentication is None:
            return {}
        text = _read(Path(self.authentication.file))
        match self.authentication.kind:
            case "basic":
                _require(":" in text, self.authentication)
                return {"authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}
            case "bearer":
                _require(bool(re.fullmatch(r"[\x21-\x7e]+", text)), self.authentication)
                return {"authorization": f"Bearer {text}"}
            case "header":
                found = _HEADER.fullmatch(text)
                _require(found is not None, self.authentication)
                return {found[1].lower(): found[2]} if found else {}
            case "s3":
                return signed_headers("GET", url, headers, _access_key(text, self.authentication), self.now())
        raise CredentialsInvalid(f"{self.authentication.kind!r} is no kind of credentials")


def user_and_password(authentication: Authentication) -> tuple[str, str]:
    """The two parts of basic credentials, for protocols other than HTTP.

    Raises:
        CredentialsMissing, CredentialsInvalid: see there; the latter of credentials of another kind, too.
    """
    text = _read(Path(authentication.file))
    _require(authentication.kind == "basic" and ":" in text, authentication)
    user, _, password = text.partition(":")
    return user, password


def read_secret(file: Path) -> str:
    """The one secret that a file holds, without the white space around it.

    Raises:
        CredentialsMissing, CredentialsInvalid: see there.
    """
    text = _read(file)
    if not text or "\n" in text:
        raise CredentialsInvalid(f"{file} does not hold one secret")
    return text


def _read(file: Path) -> str:
    try:
        with file.open("rb") as content:
            return content.read(_LARGEST).decode("utf-8").strip()
    except OSError as error:
        raise CredentialsMissing(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise CredentialsInvalid(f"{file} is no text") from None


def _require(sound: bool, authentication: Authentication) -> None:
    # The content is not shown: it may be the secret, one character off.
    if not sound:
        raise CredentialsInvalid(f"{authentication.file} does not hold {authentication.kind} credentials")


def _access_key(text: str, authentication: Authentication) -> AccessKey:
    found = access_key(text)
    if found is None:
        raise CredentialsInvalid(f"{authentication.file} does not hold {authentication.kind} credentials")
    return found


def access_key(text: str) -> AccessKey | None:
    """The S3 access key in the text of a credentials file as AWS's tools have it; None where there is none."""
    parser = configparser.ConfigParser(interpolation=None, default_section="\0")
    try:
        parser.read_string(text if text.startswith("[") else f"[default]\n{text}")
        section = parser["default"] if parser.has_section("default") else parser[parser.sections()[0]]
    except (configparser.Error, IndexError):
        return None
    found = {name.removeprefix("aws_"): value.strip() for name, value in section.items()}
    if not found.get("access_key_id") or not found.get("secret_access_key"):
        return None
    return AccessKey(
        found["access_key_id"],
        found["secret_access_key"],
        found.get("session_token", ""),
        found.get("region") or "us-east-1",
    )
