"""The product tree: what the ids that statements name stand for.

A product is defined in a branch (vendor, product, version, architecture …), in the list of full product names, or by a
relationship: "this package as a default component of that platform". Documents of large vendors name nearly all of
theirs by relationships, thousands in one document, so a relationship is resolved when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

from msgspec import Struct

from stellaops.csaf import vers
from stellaops.csaf.values import obj, objects, text, texts

# No real document comes near; without bounds a hostile one could make the work grow with the square of its size.
_MOST_STEPS = 32
_MOST_MEANINGS = 32

_Path = tuple[tuple[str, str], ...]
_VERSION = ("product_version", "service_pack", "patch_level")


class FileHash(Struct, frozen=True):
    """A hash of one file of a product, with the algorithm's name in lower case."""

    file: str
    algorithm: str
    value: str


class Helper(Struct, frozen=True):
    """What identifies a product beside its name (`product_identification_helper`).

    Attributes:
        purls: of version 2.0 one at most.
        cpe: a CPE 2.2 or 2.3 name, also of forms that the schema would refuse.
    """

    purls: tuple[str, ...] = ()
    cpe: str = ""
    hashes: tuple[FileHash, ...] = ()
    model_numbers: tuple[str, ...] = ()
    serial_numbers: tuple[str, ...] = ()
    skus: tuple[str, ...] = ()
    sbom_urls: tuple[str, ...] = ()


class Product(Struct, frozen=True):
    """One definition of a product id.

    Attributes:
        branches: category and name of the branches that lead to it, from the root.
        relation: category of the relationship that defines it, such as `default_component_of`; else empty.
        component: product id of the thing itself, where a relationship defines it.
        platform: product id of what it is a part of, installed on or installed with.
    """

    id: str
    name: str
    branches: _Path = ()
    helper: Helper = Helper()
    relation: str = ""
    component: str = ""
    platform: str = ""

    def branch(self, *categories: str) -> str:
        """The name of the innermost branch of one of these categories; empty where there is none."""
        return next((name for category, name in reversed(self.branches) if category in categories), "")

    @property
    def vendor(self) -> str:
        """The vendor's name."""
        return self.branch("vendor")

    @property
    def version(self) -> str:
        """The single version that is meant; empty where it is none, or a range."""
        return self.branch(*_VERSION)

    @property
    def versions(self) -> vers.VersionRange | None:
        """The versions that are meant: a range, or a single one; None where the branches say nothing readable."""
        told = self.branch("product_version_range", *_VERSION)
        if told and told == self.branch("product_version_range"):
            return vers.parse(told)
        return vers.VersionRange("", (vers.Bound("=", told),)) if told else None


class Identity(Struct, frozen=True):
    """What a product id comes down to.

    Attributes:
        component: the thing itself, with all relationships followed; several where the id is defined several times.
        platforms: what the component stands in, from the nearest outwards.
        purls, cpes: of the component, or of the relationship where that has its own.
        platform_cpes: of the platforms.
    """

    component: tuple[Product, ...]
    platforms: tuple[Product, ...] = ()
    purls: tuple[str, ...] = ()
    cpes: tuple[str, ...] = ()
    platform_cpes: tuple[str, ...] = ()


class ProductTree(Struct, frozen=True):
    """The products and the groups of a document.

    Attributes:
        products: the definitions of each id. Ids are unique by the standard; where they are not, all count.
    """

    products: dict[str, tuple[Product, ...]]
    groups: dict[str, tuple[str, ...]]

    def expand(self, product_ids: Iterable[str], group_ids: Iterable[str] = ()) -> tuple[str, ...]:
        """Product ids with those of the groups, each once; ids that nothing defines stay."""
        members = (member for group in group_ids for member in self.groups.get(group, ()))
        return tuple(dict.fromkeys((*product_ids, *members)))

    def identify(self, product_id: str) -> Identity:
        """Follow relationships from a product id to the thing itself.

        Circles, undefined ids and more steps than any product has end the way.
        """
        components: list[Product] = []
        purls: dict[str, None] = {}
        cpes: dict[str, None] = {}
        platforms: dict[str, None] = {}
        for product in self._walk([product_id], lambda product: (product.component,)):
            purls.update(dict.fromkeys(product.helper.purls))
            if product.helper.cpe:
                cpes[product.helper.cpe] = None
            if product.component:
                platforms[product.platform] = None
            else:
                components.append(product)
        around = tuple(self._walk(platforms, lambda product: (product.component, product.platform)))
        platform_cpes = tuple(dict.fromkeys(found.helper.cpe for found in around if found.helper.cpe))
        return Identity(tuple(components), around, tuple(purls), tuple(cpes), platform_cpes)

    def _walk(
        self, product_ids: Iterable[str], following: Callable[[Product], tuple[str, ...]]
    ) -> Iterator[Product]:
        """The products of some ids, and of the ids that each of them leads to."""
        pending = list(product_ids)[:_MOST_STEPS]
        seen = set(pending)
        for _ in range(_MOST_STEPS):
            if not pending:
                return
            for product in self.products.get(pending.pop(0), ()):
                yield product
                more = [name for name in following(product) if name and name not in seen]
                seen.update(more)
                pending.extend(more)


def read_tree(value: Any) -> ProductTree:
    """The product tree of a document from its parsed value; empty where it has none."""
    found: dict[str, dict[Product, None]] = {}
    for product in chain(_in_branches(value), _by_name(value), _related(value)):
        known = found.setdefault(product.id, {})
        if product.id and len(known) < _MOST_MEANINGS:
            known[product] = None
    found.pop("", None)
    groups = {
        name: texts(group, "product_ids")
        for group in objects(value, "product_groups")
        if (name := text(group, "group_id"))
    }
    return ProductTree({name: tuple(products) for name, products in found.items()}, groups)


def _in_branches(value: Any) -> Iterator[Product]:
    pending: list[tuple[dict[str, Any], _Path]] = [(branch, ()) for branch in _reversed_branches(value)]
    while pending:
        branch, above = pending.pop()
        here = (*above, (text(branch, "category"), text(branch, "name")))
        if obj(branch, "product"):
            yield _product(branch["product"], here)
        pending.extend((inner, here) for inner in _reversed_branches(branch))


def _reversed_branches(value: Any) -> list[dict[str, Any]]:
    return list(objects(value, "branches"))[::-1]


def _by_name(value: Any) -> Iterator[Product]:
    return (_product(named) for named in objects(value, "full_product_names"))


def _related(value: Any) -> Iterator[Product]:
    for relationship in objects(value, "relationships"):
        named = obj(relationship, "full_product_name")
        yield Product(
            id=text(named, "product_id"),
            name=text(named, "name"),
            helper=_helper(named),
            relation=text(relationship, "category"),
            component=text(relationship, "product_reference"),
            platform=text(relationship, "relates_to_product_reference"),
        )


def _product(value: dict[str, Any], branches: _Path = ()) -> Product:
    return Product(text(value, "product_id"), text(value, "name"), branches, _helper(value))


def _helper(value: dict[str, Any]) -> Helper:
    told = obj(value, "product_identification_helper")
    if not told:
        return Helper()
    return Helper(
        purls=tuple(dict.fromkeys((*texts(told, "purl"), *texts(told, "purls")))),
        cpe=text(told, "cpe"),
        hashes=tuple(_hashes(told)),
        model_numbers=texts(told, "model_numbers"),
        serial_numbers=texts(told, "serial_numbers"),
        skus=texts(told, "skus"),
        sbom_urls=texts(told, "sbom_urls"),
    )


def _hashes(told: dict[str, Any]) -> Iterator[FileHash]:
    for entry in objects(told, "hashes"):
        for value in objects(entry, "file_hashes"):
            yield FileHash(
                text(entry, "filename"), text(value, "algorithm").lower(), text(value, "value").lower()
            )
