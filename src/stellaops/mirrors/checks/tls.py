"""What connections are protected by."""

from __future__ import annotations

from datetime import datetime, timedelta

from stellaops.mirrors.checks.ports import Asker
from stellaops.mirrors.checks.report import Notes

LASTING = timedelta(days=14)
NAMES = ("https", "tls-version", "certificate-lasts")


def judge_tls(asker: Asker, notes: Notes, now: datetime, *, inside: bool) -> None:
    """Judge the first three requirements.

    Args:
        inside: the address is behind what ends TLS, so that there is none to judge.

    Raises:
        CheckUnreachable, CheckNotTrusted: see there.
    """
    if not asker.is_secure:
        if inside:
            notes.skip("the check was told that TLS ends in front of this address", *NAMES)
        else:
            notes.demand("https", False, f"{asker.place} is no https address: passwords travel in clear")
            notes.skip("there is no TLS", *NAMES)
        return
    seen = asker.tls()
    notes.demand("https", True, "")
    notes.demand("tls-version", seen.version in ("TLSv1.2", "TLSv1.3"), f"{seen.version} is spoken")
    if seen.old is not None:
        notes.demand("tls-version", not seen.old, f"{seen.old} is spoken too")
    left = seen.expires - now
    notes.demand("certificate-lasts", left >= LASTING, f"the certificate ends in {left.days} days")
