"""What a bill of materials says: components, the operating system they are installed on, and what it is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from stellaops.sboms.purl import parse


class Platform(Struct, frozen=True, order=True):
    """A distribution and its release, in the words of the document (`debian`, `12.4`)."""

    family: str
    release: str


class Component(Struct, frozen=True, order=True):
    """One component.

    Attributes:
        purl: the canonical package URL with version and qualifiers; empty where the document gives none.
        version: of the package URL, else the component's own.
        source_name, source_version: of the source package it was built from, where that is stated.
    """

    purl: str
    name: str
    version: str
    source_name: str = ""
    source_version: str = ""


class Sbom(Struct, frozen=True):
    """One bill of materials.

    Attributes:
        id: what it is about: a package URL, else a name with its version, else the document's own number.
        form: `CycloneDX 1.5`, `SPDX-2.3`.
        components: sorted, each once.
        parents: for each component the places of those that contain it or depend on it.
        platform: as the document states it; None where it states none.
        published, modified: when it was made, as stated.
    """

    id: str
    form: str
    name: str
    components: tuple[Component, ...]
    parents: tuple[tuple[int, ...], ...] = ()
    platform: Platform | None = None
    published: str | None = None
    modified: str | None = None
    withdrawn: str | None = None
    tlp: str | None = None
    publisher: str | None = None


def component(
    purl: str, name: str, version: str, source_name: str = "", source_version: str = ""
) -> Component | None:
    """A component from what a document states; None where nothing tells what it is."""
    parsed = parse(purl.strip())
    if parsed is None:
        return Component("", name, version, source_name, source_version) if name else None
    upstream, _, upstream_version = parsed.qualifier("upstream").partition("@")
    return Component(
        str(parsed),
        name or parsed.full_name,
        parsed.version or version,
        source_name or upstream,
        source_version or upstream_version,
    )


def above(parents: Mapping[int, Iterable[int]], number: int) -> frozenset[int]:
    """The places of everything that a component is a part of, directly or not."""
    found: set[int] = set()
    border = [number]
    while border:
        fresh = set(parents.get(border.pop(), ())) - found
        found |= fresh
        border += fresh
    return frozenset(found - {number})


def arranged(
    named: Mapping[str, Component], edges: Iterable[tuple[str, str]], others: Iterable[Component] = ()
) -> tuple[tuple[Component, ...], tuple[tuple[int, ...], ...]]:
    """Components in order, and the parents of each.

    Args:
        named: by the reference that the document gives to each.
        edges: references of parents and children.
        others: components without a reference.
    """
    components = tuple(sorted({*named.values(), *others}))
    places = {each: place for place, each in enumerate(components)}
    parents: list[set[int]] = [set() for _ in components]
    for parent, child in edges:
        if parent in named and child in named and named[parent] != named[child]:
            parents[places[named[child]]].add(places[named[parent]])
    return components, tuple(tuple(sorted(each)) for each in parents)


def as_platform(purl: str) -> Platform | None:
    """The platform that the `distro` qualifier of a package URL names (`debian-11`, `alpine-3.16.2`)."""
    parsed = parse(purl)
    distro = parsed.qualifier("distro") if parsed else ""
    family, _, release = distro.rpartition("-")
    if family:
        return Platform(family.lower(), release)
    return Platform(distro.lower(), "") if distro else None
