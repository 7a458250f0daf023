"""A visit: one domain of a mirror under check, with what asks, judges and is trusted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

import msgspec

from stellaops.mirrors.checks.ports import KEPT, Asker, CheckThrottled, Login, Question, Seen
from stellaops.mirrors.checks.report import Notes
from stellaops.mirrors.domain import Side
from stellaops.mirrors.signed_files import JWS, SIG, SIGSTORE
from stellaops.signing import cosign_blob, detached_jws, sigstore_bundle
from stellaops.signing.ecdsa_p256 import BadSignature, PublicKey

SIGNATURES = (SIG, SIGSTORE, JWS)
_SMALL = 64 << 10

_Form = TypeVar("_Form")


@dataclass(frozen=True, slots=True)
class File:
    """A file that was fetched whole, with what checking its signatures needs.

    Attributes:
        jws: hashers that were given the body, by key id.
    """

    seen: Seen
    jws: Mapping[str, hashlib._Hash] = field(default_factory=dict)


class _All:
    """Hands a body to several hashers."""

    def __init__(self, hashers: Mapping[str, hashlib._Hash]) -> None:
        self._hashers = hashers

    def update(self, data: bytes, /) -> None:
        for each in self._hashers.values():
            each.update(data)


@dataclass(frozen=True, slots=True)
class Visit:
    """What the checks of one domain work with.

    Attributes:
        keys: that are trusted, by key id; those of the mirror itself where the checker has none.
        closed: sides on which the domain asks for credentials.
        every: fetch every file that is listed, not a few.
    """

    asker: Asker
    notes: Notes
    domain: str
    sides: Sequence[Side]
    keys: Mapping[str, PublicKey]
    now: datetime
    closed: Collection[Side]
    every: bool = False

    def is_closed(self, path: str) -> bool:
        """Whether a path is of a side on which the domain asks for credentials."""
        side: Side = "excititor" if path.startswith(("/excititor/", "/vex/")) else "concelier"
        return side in self.closed

    def get(self, path: str, login: Login = Login.GOOD, **headers: str) -> Seen:
        """A small answer. Headers have underscores for hyphens."""
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask(Question(path, login, headers=told))

    def ask(self, question: Question) -> Seen:
        """One request.

        Raises:
            CheckThrottled: the budget is used up.
            CheckUnreachable, CheckNotTrusted: see there.
        """
        return ask(self.asker, question)

    def whole(self, path: str, keep: int = KEPT) -> File:
        """A file of any size; of a long one the first bytes are kept."""
        hashers = {key: detached_jws.begin(key) for key in self.keys}
        return File(self.ask(Question(path, keep=keep, hasher=_All(hashers))), hashers)

    def signed(self, name: str, path: str, file: File, kinds: Sequence[str] = (SIG, SIGSTORE)) -> None:
        """Judge the signatures beside a file by a requirement."""
        for kind in kinds:
            seen = self.get(path + kind)
            if not self.notes.demand(name, seen.status == 200, f"{path}{kind} answers {seen.status}"):
                continue
            holds = seen.size <= _SMALL and any(
                _holds(kind, seen.body, file, key) for key in self.keys.values()
            )
            self.notes.demand(name, holds, f"{path}{kind} is no signature of it by a trusted key")

    def decoded(self, name: str, path: str, seen: Seen, form: type[_Form]) -> _Form | None:
        """A JSON document in its form; a finding where it is none."""
        if not self.notes.demand(name, seen.status == 200, f"{path} answers {seen.status}"):
            return None
        try:
            return msgspec.json.decode(seen.body, type=form)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self.notes.demand(name, False, f"{path}: {error}")
            return None

    def same(self, name: str, path: str, seen: Seen, digest: str, size: int) -> bool:
        """Judge whether a file is what was described."""
        demand = self.notes.demand
        return (
            demand(name, seen.status == 200, f"{path} answers {seen.status}")
            and demand(name, seen.size == size, f"{path} has {seen.size:,} bytes instead of {size:,}")
            and demand(name, f"sha256:{seen.sha256}" == digest, f"{path} is not the file of the digest {digest}")
        )  # fmt: skip

    def is_of_another(self, name: str, path: str, seen: Seen, export: str) -> bool:
        """Whether an answer under a stable name is of another export than the index, which caches keep for a minute.

        Then it is judged by the path that it names itself.
        """
        told, place = seen.header("x-stella-export-id"), seen.header("content-location")
        if told in ("", export):
            return False
        right = place.startswith("/") and place.split("/")[3:4] == [told]
        own = self.ask(Question(place, method="HEAD")) if right else None
        same = own is not None and (own.status, own.header("etag")) == (200, seen.header("etag"))
        self.notes.demand(name, same, f"{path} is of export {told[:80]}, and not what {place[:200]} gives")
        return True


def ask(asker: Asker, question: Question) -> Seen:
    """One request that counts in no requirement.

    Raises:
        CheckThrottled: the budget is used up.
        CheckUnreachable, CheckNotTrusted: see there.
    """
    seen = asker.ask(question)
    if seen.status == 429:
        after = seen.header("retry-after")
        wait = f"; it asks to wait {after} s" if after.isdecimal() else ""
        raise CheckThrottled(f"{asker.place}{question.path} answers 429{wait}")
    return seen


def _holds(kind: str, signature: bytes, file: File, key: PublicKey) -> bool:
    checks: dict[str, Callable[[], None]] = {
        SIG: lambda: cosign_blob.verify(signature, bytes.fromhex(file.seen.sha256), key),
        SIGSTORE: lambda: sigstore_bundle.verify_blob(signature, bytes.fromhex(file.seen.sha256), key),
        JWS: lambda: detached_jws.verify_hashed(signature, file.jws[key.key_id].copy(), key),
    }
    with suppress(BadSignature, KeyError, ValueError):
        checks[kind]()
        return True
    return False
