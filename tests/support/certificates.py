"""Certificates of servers under test, made when the test runs: each is its own authority."""

from __future__ import annotations

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def certify(place: Path, name: str, host: str, serial: int, days: int = 90) -> Path:
    """Write `NAME.crt` and `NAME.key` for a host name, over those that are there; the certificate's path."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(serial).not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False).sign(key, hashes.SHA256())
    )  # fmt: skip
    form = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    for ending, data in (("key", pem), ("crt", made.public_bytes(serialization.Encoding.PEM))):
        coming = place / f"{name}.{ending}.coming"
        coming.write_bytes(data)
        coming.rename(place / f"{name}.{ending}")
    return place / f"{name}.crt"
