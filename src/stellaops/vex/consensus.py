"""What several statements about one product and one vulnerability come down to, and why.

1. Of the statements of one issuer the newest counts, by the instant that it states; one without an instant is older
   than any other. Of equally old ones the more cautious counts.
2. Of several issuers the one of the greatest weight decides; of equally weighty ones the more cautious status.
3. Whoever is outvoted with another status is a conflict: kept, and shown.

Caution is in this order: affected, under investigation, fixed, not affected.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from operator import attrgetter

import msgspec
from msgspec import Struct

from stellaops.vex.statement import Status
from stellaops.vex.weights import Weights

VERSION = 1
"""Version of these rules; another value makes the store work out every state again."""

_CAUTION = {status.value: place for place, status in enumerate(reversed(Status))}
_NO_TIME = -(1 << 62)
_ENCODER = msgspec.json.Encoder()


class Held(Struct, frozen=True, gc=False):
    """A statement about one product, as the store holds it.

    Attributes:
        vulnerability: the name that it was stated under, or the CVE that it names itself.
        subcomponents: identities, empty where the whole product is meant.
        stated_at: microseconds since 1970; None where neither the statement nor its document has a usable instant.
        words: the number of its texts; None where it has none.
        revision, position, number: its place.
    """

    vulnerability: str
    package: str
    product: str
    platform: str
    subcomponents: tuple[str, ...]
    status: str
    justification: str
    stated_at: int | None
    issuer: str
    role: str
    source: str
    key: str
    words: int | None
    revision: int
    position: int
    number: int


class Subject(Struct, frozen=True, order=True, gc=False):
    """What a consensus is about."""

    vulnerability: str
    package: str
    product: str
    platform: str = ""
    subcomponent: str = ""

    def id(self) -> bytes:
        """A name of fixed length."""
        told = (self.vulnerability, self.product, self.platform, self.subcomponent)
        return hashlib.sha256(_ENCODER.encode(told)).digest()


class Voice(Struct, frozen=True, gc=False):
    """What one issuer says: its newest statement, with its weight."""

    weight: int
    held: Held


class Consensus(Struct, frozen=True, gc=False):
    """The state for one subject.

    Attributes:
        decided: the statement that decides.
        conflict: whether an issuer that counts says another status.
        voices: of every issuer, the decisive first.
        superseded: older statements of the same issuers, newest first.
        digest: identifies the state: equal statements give equal states, whatever their order and place.
    """

    decided: Held
    conflict: bool
    voices: tuple[Voice, ...]
    superseded: tuple[Held, ...]
    digest: bytes

    @property
    def revision(self) -> str:
        """The digest as text."""
        return f"sha256:{self.digest.hex()}"


def subjects(vulnerability: str, held: Held, product: str | None = None) -> list[Subject]:
    """What a statement has a say on.

    Args:
        vulnerability: the name that stands for all names of it.
        product: the product that is asked for, where the statement holds for more than that.
    """
    about = vulnerability, held.package, product or held.product, held.platform
    return [Subject(*about, name) for name in held.subcomponents] if held.subcomponents else [Subject(*about)]


def decide(subject: Subject, statements: Sequence[Held], weights: Weights) -> Consensus | None:
    """The consensus of all statements on a subject; None where no issuer counts.

    The order of the statements does not matter, and equal ones count once.
    """
    if len(statements) == 1:
        return _only(subject, statements[0], weights)
    by_issuer: dict[str, list[Held]] = {}
    for held in statements:
        by_issuer.setdefault(_issuer(held), []).append(held)
    voices: list[Voice] = []
    older: list[Held] = []
    for said in by_issuer.values():
        counted = [(weights.of(held.issuer, held.role, held.source), held) for held in said]
        told = [(weight, held) for weight, held in counted if weight > 0]
        if not told:
            continue
        newest = told[0] if len(told) == 1 else max(told, key=lambda each: _newness(each[1]))
        voices.append(Voice(*newest))
        older += [held for _, held in told if held is not newest[1]]
    if not voices:
        return None
    if len(voices) > 1:
        voices.sort(key=_authority, reverse=True)
    if len(older) > 1:
        older.sort(key=_newness, reverse=True)
    decided = voices[0].held
    conflict = any(voice.held.status != decided.status for voice in voices)
    return Consensus(decided, conflict, tuple(voices), tuple(older), _digest(subject, voices))


def _only(subject: Subject, held: Held, weights: Weights) -> Consensus | None:
    weight = weights.of(held.issuer, held.role, held.source)
    if not weight:
        return None
    voices = (Voice(weight, held),)
    return Consensus(held, False, voices, (), _digest(subject, voices))


def reason(found: Consensus) -> str:
    """Why the verdict is what it is, in words."""
    first, *others = found.voices
    told = [f"{name(first.held)} ({first.held.role}, weight {first.weight}) says {first.held.status}"]
    older = [held for held in found.superseded if _issuer(held) == _issuer(first.held)]
    if any(held.status != first.held.status for held in older):
        told.append(f"its newest of {len(older) + 1} statements")
    against = [voice for voice in others if voice.held.status != first.held.status]
    if against and against[0].weight == first.weight:
        told.append("among equal weights the more cautious status counts")
    elif against:
        told.append(f"outweighs {', '.join(name(voice.held) for voice in against)}")
    elif others:
        told.append("no issuer says otherwise")
    return "; ".join(told)


def name(held: Held) -> str:
    """Who says it; where a document names nobody, the source stands for its issuer."""
    return held.issuer or f"the unnamed issuer of {held.source}"


def revision(states: Iterable[tuple[Subject, Consensus]]) -> str:
    """What identifies many states as a whole."""
    hasher = hashlib.sha256()
    for digest in sorted(state.digest for _, state in states):
        hasher.update(digest)
    return f"sha256:{hasher.hexdigest()}"


def _issuer(held: Held) -> str:
    # One issuer writes itself with other blanks and capitals from document to document.
    return " ".join(held.issuer.casefold().split()) or f"\0{held.source}"


def _newness(held: Held) -> tuple[object, ...]:
    at = _NO_TIME if held.stated_at is None else held.stated_at
    return (at, *_order(held))


def _authority(voice: Voice) -> tuple[object, ...]:
    return (voice.weight, _CAUTION[voice.held.status], *_newness(voice.held))


def _order(held: Held) -> tuple[object, ...]:
    """A total order: caution, then what is said, and only then where it stands."""
    words = -1 if held.words is None else held.words
    return (_CAUTION[held.status], held.justification, words, *_REST(held))


_REST = attrgetter("source", "key", "position", "number", "product", "issuer", "role", "revision")


def _digest(subject: Subject, voices: Sequence[Voice]) -> bytes:
    told = [
        (
            voice.weight,
            held.issuer,
            held.role,
            held.status,
            held.justification,
            held.stated_at,
            held.words,
            held.source,
        )
        for voice in voices
        for held in (voice.held,)
    ]
    about = (subject.vulnerability, subject.product, subject.platform, subject.subcomponent)
    return hashlib.sha256(_ENCODER.encode((VERSION, about, told))).digest()
