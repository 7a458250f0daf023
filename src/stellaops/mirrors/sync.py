"""Syncing: a mirror host's copy of a published tree, by its signed list and never by sizes or times.

    1. The freshness statement of each domain: signed by a trusted key, not expired, not older than the one held.
    2. The list of the domain's files: signed by the same keys.
    3. Files that are held already are linked; the others are fetched, several at once, each checked by its digest.
    4. The index is written from the manifests. Then the tree gets its name, the statements are put beside it, and
       `latest` is switched. Trees that have not been followed for a while go.

What lies under an export id only ever grows: domains that the tree of this id has already stay in it, whichever are
brought. Readers do not lose a domain by another tree either, unless whoever syncs says that it may go.

A sync that is interrupted leaves the tree in force as it was; the next one goes on with what was fetched.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from stellaops.bundles import freshness, layout, precompressed
from stellaops.bundles.freshness import BadFreshness, Freshness
from stellaops.core.errors import StellaError
from stellaops.exports.ports import Staging
from stellaops.mirrors import forms, sync_state
from stellaops.mirrors.domain import Side, is_domain_id
from stellaops.mirrors.errors import BadTree, DomainsLost, SourceUnreachable, StaleTree
from stellaops.mirrors.forms import Entry, TreeList
from stellaops.mirrors.publish import KEEP
from stellaops.mirrors.signed_files import SIG, SIGSTORE, measure, verify_bytes
from stellaops.mirrors.sync_ports import Destination, TreeSource
from stellaops.mirrors.sync_state import SyncState
from stellaops.signing import cosign_blob, ecdsa_p256
from stellaops.signing.ecdsa_p256 import BadSignature, PublicKey

_SIGNATURE_BYTES = 8 << 10
_PARTIAL = ".partial"
_LIST = ("", SIG, SIGSTORE)
"""What follows the name of a list of files in the names of itself and its signatures."""
_ROUNDS = 5
_OTHER_KEY = (
    "Where the publisher's key was rotated, get the public key that signs at present by a way that you trust, and name "
    "it beside the earlier one: --key EARLIER --key PRESENT. Where it was not, do not use this tree."
)
_PAUSE = 1.0
"""Seconds before a source is asked again whose domains name different trees: it is being published there."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is synced.

    Attributes:
        domains: all that the source tells of where empty.
        allow_stale: also take a statement that is missing, expired, or older than the one that is held.
        check_held: hash what is held, and fetch again what is not as it was signed.
        drops: domains of the tree in force that another tree may come without.
        at_once: files that are fetched at a time.
    """

    sides: Sequence[Side]
    domains: Sequence[str] = ()
    allow_stale: bool = False
    check_held: bool = False
    dry_run: bool = False
    at_once: int = 4
    keep: timedelta = KEEP
    drops: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Trusted:
    """Public keys that are believed, by key id; those of `revoked` verify nothing."""

    keys: Mapping[str, PublicKey]

    @classmethod
    def of(cls, pems: Iterable[bytes], revoked: Iterable[str]) -> Trusted:
        """From PEM."""
        found = (ecdsa_p256.load_public_key(pem) for pem in pems)
        gone = frozenset(revoked)
        return cls({key.key_id: key for key in found if key.key_id not in gone})


@dataclass(frozen=True, slots=True)
class Synced:
    """What came of one domain's side.

    Attributes:
        changed: whether readers of the domain follow another tree than before, or have one for the first time.
        bytes: that were fetched; of a dry run, that would be.
        files: that were fetched.
        statement: None where the source has none, which `allow_stale` let pass.
        synced_at: when it was synced last: this time, or of a dry run the time before; None where it never was.
    """

    side: Side
    domain: str
    export_id: str
    changed: bool
    bytes: int
    files: int
    statement: Freshness | None
    synced_at: datetime | None

    def lag(self, now: datetime) -> int | None:
        """Seconds since the domain was synced last."""
        return None if self.synced_at is None else max(0, int((now - self.synced_at).total_seconds()))

    def age(self, now: datetime) -> int | None:
        """Seconds since the publisher last said that this is the newest."""
        return None if self.statement is None else max(0, int((now - self.statement.issued).total_seconds()))


@dataclass(frozen=True, slots=True)
class SyncTools:
    """With what a mirror is synced."""

    source: TreeSource
    destination: Destination
    trusted: Trusted
    now: Callable[[], datetime]
    sleep: Callable[[float], None]
    told: Callable[[str], None] = lambda _: None


def sync(wish: Wish, tools: SyncTools) -> tuple[Synced, ...]:
    """Bring the trees of a source to a directory.

    Raises:
        BadTree, BadSignature, StaleTree: what the source has is not what a trusted key signed, or not the newest.
        DomainsLost: its tree would come without domains that are in force.
        SourceUnreachable, SyncRuns: see there. The tree in force stays as it was.
    """
    done: list[Synced] = []
    with tools.destination.turn():
        for side in wish.sides:
            domains = tuple(wish.domains) or tuple(tools.source.domains(side))
            foreign = [name for name in domains if not is_domain_id(name)]
            if foreign:
                raise BadTree(f"{tools.source.place} names the domain {foreign[0][:80]!r}")
            if domains:
                done += _sync_side(side, domains, wish, tools)
    if not done:
        raise SourceUnreachable(f"{tools.source.place} has no published domain")
    return tuple(done)


@dataclass(frozen=True, slots=True)
class _Claim:
    """What the source says of a domain, with a signature that holds."""

    domain: str
    export_id: str
    statement: Freshness | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Part:
    """One domain of the tree.

    Attributes:
        own: the list of its files with its signatures, by path.
        key: that signed it.
        held: files that can be linked, by digest.
        missing: what has to be fetched.
    """

    claim: _Claim
    tree: TreeList
    own: Mapping[str, bytes]
    key: PublicKey
    held: Mapping[str, Path] = field(default_factory=dict)
    missing: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class _Work:
    """One side's tree under way."""

    side: Side
    export_id: str
    wish: Wish
    tools: SyncTools


def _sync_side(side: Side, domains: Sequence[str], wish: Wish, tools: SyncTools) -> list[Synced]:
    claims = _claims(side, domains, wish, tools)
    work, there = _Work(side, claims[0].export_id, wish, tools), tools.destination
    before = there.latest(side)
    known = set() if before is None else set(there.domains(side, before))
    if before != work.export_id:
        _demand_all(known, domains, work)
    parts = [_compared(_listing(claim, work), before, work) for claim in claims]
    if not wish.dry_run:
        whole = before == work.export_id and known.issuperset(domains)
        if not whole or any(each.missing for each in parts):
            _bring(parts, work)
        _put_in_force(claims, work)
    return [
        Synced(
            side,
            each.claim.domain,
            work.export_id,
            before != work.export_id or each.claim.domain not in known,
            sum(entry.bytes for entry in each.missing),
            len(each.missing),
            each.claim.statement,
            _synced_at(there.synced(side, each.claim.domain)),
        )
        for each in parts
    ]


def _demand_all(known: Collection[str], domains: Collection[str], work: _Work) -> None:
    """Let no domain be lost that readers have.

    Raises:
        DomainsLost: see there.
    """
    lost = sorted(set(known) - set(domains) - set(work.wish.drops))
    if lost:
        source, options = work.tools.source.place, " ".join(f"--drop {name}" for name in lost)
        raise DomainsLost(
            f"the tree {work.export_id} of {work.side} would come from {source} without {', '.join(lost)}, "
            "which readers of this host have",
            hint=f"Sync all of the host's domains at once, with credentials that may read them all; where they are "
            f"to go, say so: {options}",
        )


def _put_in_force(claims: Sequence[_Claim], work: _Work) -> None:
    """Let readers follow the tree, and note that this sync went through."""
    there, side = work.tools.destination, work.side
    here = sorted(there.domains(side, work.export_id))
    for claim in claims:
        there.put_freshness(side, claim.domain, claim.files)
    there.switch(side, work.export_id)
    there.drop_freshness(side, here)
    state = SyncState(work.export_id, work.tools.now()).encode()
    for claim in claims:
        there.note_synced(side, claim.domain, state)
    there.drop_synced(side, here)
    _clear(work)


def _synced_at(noted: bytes | None) -> datetime | None:
    state = sync_state.decode(noted)
    return None if state is None else state.synced_at


def _claims(side: Side, domains: Sequence[str], wish: Wish, tools: SyncTools) -> list[_Claim]:
    """What is the newest of each domain: all of one tree. While the source is being published, it is asked again."""
    claims: list[_Claim] = []
    for number in range(_ROUNDS):
        if number:
            tools.sleep(_PAUSE)
        claims = [_claim(side, domain, wish, tools) for domain in domains]
        if len({each.export_id for each in claims}) == 1:
            return claims
    told = ", ".join(f"{each.domain} {each.export_id}" for each in claims)
    raise SourceUnreachable(f"{tools.source.place}: the domains of {side} name different trees: {told}")


def _claim(side: Side, domain: str, wish: Wish, tools: SyncTools) -> _Claim:
    path = f"{forms.FRESHNESS}/{domain}.json"
    data = tools.source.small(side, path, freshness.LARGEST)
    signature = tools.source.small(side, path + SIG, _SIGNATURE_BYTES)
    if data is None or signature is None:
        latest = tools.source.latest(side, domain)
        if latest is None or not (wish.allow_stale or domain in tools.source.domains(side)):
            raise SourceUnreachable(f"{tools.source.place} has no domain {domain} on the side of {side}")
        if not wish.allow_stale:
            raise StaleTree(f"{tools.source.place} has no freshness statement for {domain} of {side}")
        return _Claim(domain, _sound_id(latest, tools))
    digest = hashlib.sha256(data).digest()
    _signed_by(tools.trusted, lambda key: cosign_blob.verify(signature, digest, key))
    statement = freshness.parse(data)
    if statement.profile != forms.freshness_profile(side, domain):
        raise BadTree(f"the freshness statement of {domain} of {side} is about {statement.profile[:100]!r}")
    if not wish.allow_stale:
        _demand_fresh(side, domain, statement, tools)
    return _Claim(domain, _sound_id(statement.export_id, tools), statement, {"": data, SIG: signature})


def _sound_id(export_id: str, tools: SyncTools) -> str:
    if not layout.is_content_id(export_id):
        raise BadTree(f"{tools.source.place} names the export {export_id[:80]!r}")
    return export_id


def _demand_fresh(side: Side, domain: str, statement: Freshness, tools: SyncTools) -> None:
    """Refuse what has expired, and what is older than what is held.

    Raises:
        StaleTree: see there.
    """
    if statement.expires < tools.now():
        raise StaleTree(f"the freshness statement of {domain} of {side} expired at {statement.expires}")
    known = tools.destination.freshness(side, domain)
    if known is None:
        return
    with suppress(BadFreshness):  # one that is damaged here says nothing
        held = freshness.parse(known)
        if held.version > statement.version:
            raise StaleTree(
                f"{domain} of {side}: version {statement.version} is offered, and {held.version} is held"
            )


def _signed_by(trusted: Trusted, check: Callable[[PublicKey], None]) -> PublicKey:
    """The trusted key that signed something.

    Raises:
        BadSignature: none did.
    """
    for key in trusted.keys.values():
        with suppress(BadSignature):
            check(key)
            return key
    raise BadSignature("no trusted key has signed what the source offers", hint=_OTHER_KEY)


def _listing(claim: _Claim, work: _Work) -> _Part:
    """The signed list of a domain's files."""
    source, place = work.tools.source, f"{forms.place(claim.domain)}/{forms.TREE}"
    own = {}
    for suffix, most in (("", forms.LARGEST_TREE), (SIG, _SIGNATURE_BYTES), (SIGSTORE, _SIGNATURE_BYTES)):
        found = source.small(work.side, f"{claim.export_id}/{place}{suffix}", most)
        if found is None:
            raise SourceUnreachable(f"{source.place} has no {place}{suffix} of {work.side} {claim.export_id}")
        own[place + suffix] = found
    data, signature, bundle = own.values()
    key = _signed_by(work.tools.trusted, lambda key: verify_bytes(data, signature, bundle, key))
    tree = forms.parse_tree(data)
    if (tree.side, tree.domain, tree.export_id) != (work.side, claim.domain, claim.export_id):
        raise BadTree(f"the list of {claim.domain} of {work.side} is of {tree.domain} of {tree.side}")
    return _Part(claim, tree, own, key)


def _compared(part: _Part, before: str | None, work: _Work) -> _Part:
    """The same with what is held of it: in the tree in force, or in this very one, brought by a sync that died then.

    Their lists were checked when they came.
    """
    there, domain = work.tools.destination, part.claim.domain
    work.tools.told(f"comparing {domain}")
    held: dict[str, Path] = {}
    for export_id in {before or work.export_id, work.export_id}:
        with suppress(OSError, BadTree):
            file = there.file(work.side, export_id, f"{forms.place(domain)}/{forms.TREE}")
            for entry in forms.parse_tree(file.read_bytes()).files:
                held[entry.sha256] = there.file(work.side, export_id, entry.path)
    missing = [entry for entry in part.tree.files if not _is_sound(held.get(entry.sha256), entry, work.wish)]
    return replace(part, held=held, missing=tuple(missing))


def _is_sound(file: Path | None, entry: Entry, wish: Wish) -> bool:
    """Whether a file that is held can be linked."""
    try:
        if file is None or file.stat().st_size != entry.bytes:
            return False
        return not wish.check_held or measure(file).sha256 == entry.sha256
    except OSError:
        return False


def _staying(brought: Sequence[_Part], work: _Work) -> list[_Part]:
    """The other domains that the tree of this id has already.

    Their lists were checked when they came; whoever brings other domains need not have the keys that signed these.

    Raises:
        BadTree: one of them is damaged here.
    """
    brought_now = {each.claim.domain for each in brought}
    here = work.tools.destination.domains(work.side, work.export_id)
    return [_held(domain, work) for domain in sorted(set(here) - brought_now)]


def _held(domain: str, work: _Work) -> _Part:
    def file(path: str) -> Path:
        return work.tools.destination.file(work.side, work.export_id, path)

    folder, rough = forms.place(domain), replace(work.wish, check_held=False)
    try:
        own = {name: file(name).read_bytes() for name in (f"{folder}/{forms.TREE}{each}" for each in _LIST)}
        tree = forms.parse_tree(own[f"{folder}/{forms.TREE}"])
        key = ecdsa_p256.load_public_key(file(f"{folder}/{forms.KEY}").read_bytes())
    except (OSError, StellaError) as error:
        raise _damaged(domain, work) from error
    held = {each.sha256: file(each.path) for each in tree.files}
    if not all(_is_sound(held[each.sha256], each, rough) for each in tree.files):
        raise _damaged(domain, work)
    return _Part(_Claim(domain, work.export_id), tree, own, key, held)


def _damaged(domain: str, work: _Work) -> BadTree:
    return BadTree(
        f"{domain} of {work.side} {work.export_id} is damaged here",
        hint="Sync this domain together with the others: what it lacks is fetched again.",
    )


def _bring(brought: Sequence[_Part], work: _Work) -> None:
    """Gather the tree, with what its id has of other domains, and give it its name."""
    parts = [*brought, *_staying(brought, work)]
    with work.tools.destination.gather(work.side, work.export_id) as staging:
        root = staging.root
        for part in parts:
            wanted = {entry.path for entry in part.missing}
            for entry in part.tree.files:
                if entry.path not in wanted:
                    _link(part.held[entry.sha256], root / entry.path)
            if part.missing:
                work.tools.told(f"fetching {part.claim.domain}: {len(wanted)} files")
                _fetch_all(part.missing, staging, work)
            for path, data in part.own.items():
                _write(root / path, data)
            _pack(root / forms.place(part.claim.domain) / forms.TREE)
        _remove_unlisted(root, parts)
        if work.side == "concelier":
            _write(root / forms.INDEX, _index(work.export_id, parts, root))
            _pack(root / forms.INDEX)
        work.tools.destination.replace(work.side, work.export_id, staging)


def _fetch_all(entries: Sequence[Entry], staging: Staging, work: _Work) -> None:
    root = staging.root
    if entries:
        wanted = [f"{work.export_id}/{entry.path}" for entry in entries if not (root / entry.path).is_file()]
        work.tools.source.ahead(work.side, wanted, staging.scratch)
    with ThreadPoolExecutor(work.wish.at_once) as pool:
        waiting = [pool.submit(_fetch, entry, root, work) for entry in entries]
        try:
            for each in waiting:
                each.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _fetch(entry: Entry, root: Path, work: _Work) -> None:
    """Get a file; one that an earlier attempt got is hashed and kept.

    Raises:
        BadTree: what came is not what was signed.
    """
    target = root / entry.path
    if target.is_file():
        measured = measure(target)
        if (measured.sha256, measured.bytes) == (entry.sha256, entry.bytes):
            return
        target.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    growing = target.with_name(target.name + _PARTIAL)
    hasher, size = hashlib.sha256(), 0
    with growing.open("wb") as out:
        for piece in work.tools.source.pieces(work.side, f"{work.export_id}/{entry.path}"):
            size += len(piece)
            if size > entry.bytes:
                break
            hasher.update(piece)
            out.write(piece)
    if (hasher.hexdigest(), size) != (entry.sha256, entry.bytes):
        growing.unlink()
        source = work.tools.source.place
        raise BadTree(f"{source}: {entry.path} of {work.export_id} is not what its publisher signed")
    growing.rename(target)


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        target.write_bytes(source.read_bytes())


def _write(target: Path, data: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    target.write_bytes(data)


def _pack(file: Path) -> None:
    for suffix in precompressed.SUFFIXES:
        file.with_name(file.name + suffix).unlink(missing_ok=True)
    precompressed.pack_beside(file)


def _remove_unlisted(root: Path, parts: Sequence[_Part]) -> None:
    """What an earlier attempt left that no list names."""
    listed = {entry.path for part in parts for entry in part.tree.files}
    listed |= {
        path + suffix for part in parts for path in part.own for suffix in ("", *precompressed.SUFFIXES)
    }
    for place, _, names in os.walk(root):
        for name in names:
            file = Path(place) / name
            if file.relative_to(root).as_posix() not in listed:
                file.unlink()


def _index(export_id: str, parts: Sequence[_Part], root: Path) -> bytes:
    """The index of the domains that the tree has, from their manifests."""
    described = []
    for part in sorted(parts, key=lambda part: part.claim.domain):
        folder = root / forms.place(part.claim.domain)
        try:
            told = msgspec.json.decode((folder / forms.MANIFEST).read_bytes(), type=forms.Manifest)
            manifest, bundle = measure(folder / forms.MANIFEST), measure(folder / forms.BUNDLE)
        except (OSError, msgspec.DecodeError) as error:
            raise BadTree(f"the manifest of {part.claim.domain} cannot be read: {error}") from error
        described.append(forms.Listed(told, part.key.key_id, manifest, bundle))
    return forms.index(export_id, described)


def _clear(work: _Work) -> None:
    """Remove trees that have not been followed for long enough."""
    there, now = work.tools.destination, work.tools.now()
    for each in there.ids(work.side):
        if each != work.export_id:
            there.retire(work.side, each, now)
    for each in there.retired(work.side, now - work.wish.keep):
        if each != work.export_id:
            there.remove(work.side, each)
