"""TLS of a mirror host: a certificate for each domain, chosen by the name that a client asks for, changed in flight."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

from stellaops.adapters.settings.mirrors import MirrorHost
from stellaops.core.errors import MissingPrerequisite


class CertificateUnusable(MissingPrerequisite):
    """A certificate or its key cannot be used."""

    code = "ERR_TLS_CERTIFICATE"
    hint = "Give PEM files that belong together, the certificate first and those above it after it."


_WITHOUT = (
    "Put mirror-<domain>.crt and mirror-<domain>.key there. Behind a proxy that ends TLS, leave GATEWAY__TLSDIR empty "
    "or give --plain."
)


class Certificates:
    """The contexts of all names. What begins after `load` has the new ones; connections that are open stay.

    Raises:
        CertificateUnusable: see there.
    """

    def __init__(self, settings: MirrorHost) -> None:
        self._by_name: Mapping[str, ssl.SSLContext] = {}
        self._first: ssl.SSLContext | None = None
        self.load(settings)

    @property
    def context(self) -> ssl.SSLContext | None:
        """What to listen with; None where no domain has a certificate."""
        if self._first is None:
            return None
        listening = _context()
        # Clients that name no host get the first domain's certificate, through the same door.
        listening.sni_callback = self._choose
        return listening

    def load(self, settings: MirrorHost) -> None:
        """Read every certificate again.

        Raises:
            CertificateUnusable: see there; then all stay as they were.
        """
        contexts: dict[tuple[Path, Path], ssl.SSLContext] = {}
        names: dict[str, ssl.SSLContext] = {}
        for domain in settings.domains.values():
            chain, key = domain.tls_certificate_file, domain.tls_key_file
            if chain is not None and key is not None:
                if (chain, key) not in contexts:
                    contexts[chain, key] = _loaded(chain, key)
                names.update(dict.fromkeys(domain.hosts, contexts[chain, key]))
        if not contexts:
            _demand_open(settings)
        self._first = next(iter(contexts.values()), None)
        self._by_name = names

    def _choose(self, connection: ssl.SSLObject, name: str | None, listening: ssl.SSLContext) -> None:
        chosen = self._by_name.get((name or "").lower(), self._first)
        if chosen is not None:
            connection.context = chosen


def _demand_open(settings: MirrorHost) -> None:
    """Passwords do not go in the clear because a file is missing: who wants that, says so."""
    closed = [name for name in settings.domains if settings.is_closed(name)]
    if settings.tls_dir is not None and closed:
        text = f"{settings.tls_dir} holds no mirror-<domain>.crt, and credentials are asked for: {', '.join(closed)}"
        raise CertificateUnusable(text, hint=_WITHOUT)


def _context() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["http/1.1"])
    made.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    return made


def _loaded(chain: Path, key: Path) -> ssl.SSLContext:
    made = _context()
    try:
        made.load_cert_chain(chain, key, password=_no_password)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise CertificateUnusable(f"{chain} and {key}: {error}") from error
    return made


def _no_password() -> str:
    raise ValueError("the key is under a passphrase, and nobody is there to give it")
