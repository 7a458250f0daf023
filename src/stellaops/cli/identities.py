"""What encrypted bundles are opened with: files of private keys of age, and keys in key services by their URIs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import click

from stellaops.bundles.encryption.envelope import Opener, ServiceIdentity
from stellaops.cli.frame import App
from stellaops.kit import key_files
from stellaops.signing import key_uri

IDENTITY = click.option(
    "--identity",
    "identities",
    multiple=True,
    metavar="FILE|URI",
    help="A file with a private key of age, or the URI of a key in a key service, for what is encrypted.",
)


def openers(app: App, texts: Sequence[str]) -> tuple[Opener, ...]:
    """What some texts name; a key service is asked when something is opened, and by this machine's settings.

    Raises:
        KeyFileMissing, InvalidIdentity, BadKeyUri: see there.
    """
    files = key_files.identities([text for text in texts if not key_uri.is_uri(text)])
    return (*files, *(_service(app, text) for text in texts if key_uri.is_uri(text)))


def _service(app: App, text: str) -> ServiceIdentity:
    uri = key_uri.parse(text).text
    return ServiceIdentity(uri, partial(app.home.key_services.unwrap, app.tenant, uri))
