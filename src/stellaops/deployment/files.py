"""Checks of files that services name: secrets, users of domains, certificates."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from stellaops.adapters.files import htpasswd
from stellaops.adapters.settings.mirrors import Domain, MirrorHost
from stellaops.core.errors import StellaError
from stellaops.deployment.services import Service, option
from stellaops.ingest.doctor import Finding, Verdict

OK, WARNING, FAILED = Verdict.OK, Verdict.WARNING, Verdict.FAILED

_SECRET = re.compile(r"\w*(SECRET|PASSWORD|PASSPHRASE|TOKEN|KEY|PIN)_?FILE")
_SOON = timedelta(days=30)
"""A certificate that ends within this time should be renewed."""
_LEAST_COST = 10
_LEAST_AGE_KNOWN = "# recipient: WHO; issued: 2026-09-01; expires: 2026-12-01"


def check_secrets(service: Service) -> Iterator[Finding]:
    """Files that variables and options name as secrets, and public keys that are trusted."""
    named = {name: value for name, value in service.environment.items() if value.startswith("/")}
    for variable, path in sorted(named.items()):
        if _SECRET.fullmatch(variable) and "TLS" not in variable:
            yield _secret(service, variable, path, private=True)
    for path in option(service.command, "--secret-from"):
        yield _secret(service, "--secret-from", path, private=True)
    for path in option(service.command, "--key"):
        yield _secret(service, "--key", path, private=False)


def _secret(service: Service, why: str, path: str, *, private: bool) -> Finding:
    name = f"{service.name}: {why}"
    file = service.here(path)
    if file is None:
        return Finding(name, OK, f"{path} lies in a volume of the engine and is not looked at")
    problem = unreadable(service, file)
    if problem:
        return Finding(name, FAILED, problem, _put_there(service, file, private=private))
    mode = file.stat().st_mode
    if file.stat().st_size == 0:
        return Finding(name, FAILED, f"{file} is empty", "Put the secret there, in one line.")
    if private and mode & 0o007:
        text = f"{file} is open to everybody (mode {stat.S_IMODE(mode):04o})"
        return Finding(
            name, FAILED, text, f"Close it with `chmod o= {file}`, and replace the secret if others had it."
        )
    return Finding(name, OK, f"{file}")


def unreadable(service: Service, file: Path) -> str:
    """Why a service cannot read a file; nothing where it can."""
    try:
        state = file.stat()
        if not stat.S_ISREG(state.st_mode):
            return f"{file} is no file"
        if service.owner is not None and not service.owner.may(state, 4):
            whose = f"mode {stat.S_IMODE(state.st_mode):04o}, {state.st_uid}:{state.st_gid}"
            return f"{file} ({whose}) cannot be read by user {service.owner.uid}"
        if service.owner is None:
            with file.open("rb"):
                pass
    except OSError as error:
        return f"{file}: {(error.strerror or str(error)).lower()}"
    return ""


def _put_there(service: Service, file: Path, *, private: bool) -> str:
    owner = service.owner
    group = "" if owner is None or not owner.groups else f"root:{min(owner.groups)}"
    made = f"chown {group} {file} && " if group else ""
    return f"Put it there, then `{made}chmod {'0640' if private else '0644'} {file}`."


def check_users(service: Service, host: MirrorHost, now: datetime) -> Iterator[Finding]:
    """The htpasswd file of each domain: bcrypt alone, nobody's for ever, readable for the service."""
    for domain in host.domains.values():
        if host.is_closed(domain.id):
            yield from _users(service, host, domain, now)


def _users(service: Service, host: MirrorHost, domain: Domain, now: datetime) -> Iterator[Finding]:
    name = f"{service.name}: users of {domain.id}"
    file = domain.htpasswd_file
    if file is None:
        if host.authority is None:
            text = "the domain asks for credentials, and there are neither users nor an authority"
            yield Finding(name, FAILED, text, "Set GATEWAY__SECRETSDIR, or the HTPASSWDFILE of the domain.")
        return
    problem = unreadable(service, file)
    if problem:
        yield Finding(name, FAILED, problem, f"Make it: `htpasswd -B -C {_LEAST_COST} -c {file} USER`.")
        return
    try:
        users = list(htpasswd.read(file).values())
    except StellaError as error:
        yield Finding(name, FAILED, error.what, error.hint)
        return
    yield _judged(name, file, users, now)


def _judged(name: str, file: Path, users: Sequence[htpasswd.Credential], now: datetime) -> Finding:
    gone = [each.user for each in users if each.has_expired(now)]
    if len(gone) == len(users):
        text = f"{file} has no user whose credential holds"
        return Finding(name, FAILED, text, f"Add one: `htpasswd -B -C {_LEAST_COST} {file} USER`.")
    remarks = []
    for what, found in (
        ("expired", gone),
        ("older than 90 days, replace them", [each.user for each in users if each.is_old(now)]),
        (
            f"hashed cheaply (cost below {_LEAST_COST})",
            [each.user for each in users if _cost(each) < _LEAST_COST],
        ),
        ("without a date of issue", [each.user for each in users if each.issued is None]),
    ):
        if found:
            remarks.append(f"{what}: {', '.join(sorted(found))}")
    if remarks:
        hint = f"Rotate quarterly, and say above each user: `{_LEAST_AGE_KNOWN}`."
        return Finding(name, WARNING, f"{file}: {'; '.join(remarks)}", hint)
    return Finding(name, OK, f"{file}: {len(users)} users")


def _cost(user: htpasswd.Credential) -> int:
    return int(user.hash[4:6])


def check_certificates(service: Service, host: MirrorHost, now: datetime) -> Iterator[Finding]:
    """The certificate of each domain: its dates, its key, and the host names that it is for."""
    domains = host.domains.values()
    with_tls = [each for each in domains if each.tls_certificate_file is not None]
    for domain in with_tls:
        yield _certificate(service, domain, now)
    for domain in domains:
        if with_tls and domain.tls_certificate_file is None:
            text = "other domains have a certificate, and this one has none"
            hint = f"Put mirror-{domain.id}.crt and mirror-{domain.id}.key beside the others."
            yield Finding(f"{service.name}: certificate of {domain.id}", FAILED, text, hint)
    if not with_tls and host.tls_dir is not None and "--plain" not in service.command:
        yield _without_tls(service, host, host.tls_dir)


def _without_tls(service: Service, host: MirrorHost, place: Path) -> Finding:
    name, text = f"{service.name}: certificates", f"{place} holds no certificate"
    hint = "Put mirror-<domain>.crt and mirror-<domain>.key there, or leave GATEWAY__TLSDIR empty and end TLS in front."
    closed = [each for each in host.domains if host.is_closed(each)]
    if closed:
        told = f"{text}: credentials of {', '.join(closed)} would go in the clear"
        return Finding(name, FAILED, told, hint)
    return Finding(name, WARNING, f"{text}: the gateway speaks without TLS", hint)


def _certificate(service: Service, domain: Domain, now: datetime) -> Finding:
    name = f"{service.name}: certificate of {domain.id}"
    chain, key = domain.tls_certificate_file, domain.tls_key_file
    assert chain is not None and key is not None  # noqa: S101, PT018 - the settings give both or none
    renew = f"Issue it anew, put it at {chain} and {key}; the gateway takes it within a second."
    for file in (chain, key):
        problem = unreadable(service, file)
        if problem:
            return Finding(name, FAILED, problem, _put_there(service, file, private=file == key))
    try:
        first = x509.load_pem_x509_certificates(chain.read_bytes())[0]
        public = load_pem_private_key(key.read_bytes(), None).public_key()
    except (ValueError, TypeError, IndexError) as error:
        return Finding(
            name, FAILED, f"{chain}, {key}: {error}", "Give PEM files; the key without a passphrase."
        )
    wrong = _wrong(first, domain, now)
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if public.public_bytes(*form) != first.public_key().public_bytes(*form):
        wrong = f"{key} is not the key of {chain}"
    if wrong:
        return Finding(name, FAILED, wrong, renew)
    if key.stat().st_mode & 0o007:
        return Finding(name, FAILED, f"{key} is open to everybody", f"Close it with `chmod o= {key}`.")
    end = first.not_valid_after_utc
    if end - now < _SOON:
        return Finding(name, WARNING, f"{chain} ends at {end:%Y-%m-%d}", renew)
    return Finding(name, OK, f"{chain}: until {end:%Y-%m-%d}, for {', '.join(_names(first))}")


def _wrong(first: x509.Certificate, domain: Domain, now: datetime) -> str:
    if now >= first.not_valid_after_utc:
        return f"{domain.tls_certificate_file} ended at {first.not_valid_after_utc:%Y-%m-%d}"
    if now < first.not_valid_before_utc:
        return f"{domain.tls_certificate_file} holds only from {first.not_valid_before_utc:%Y-%m-%d} on"
    missing = [host for host in domain.hosts if not any(_covers(each, host) for each in _names(first))]
    if missing:
        return f"{domain.tls_certificate_file} is not for {', '.join(missing)}, but for {', '.join(_names(first))}"
    return ""


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return found.value.get_values_for_type(x509.DNSName)


def _covers(pattern: str, host: str) -> bool:
    """As clients compare (RFC 6125): a star stands for the whole first part."""
    pattern = pattern.lower()
    return pattern == host or (pattern.startswith("*.") and host.partition(".")[2] == pattern[2:])
