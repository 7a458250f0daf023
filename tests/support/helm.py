"""The Helm chart as Helm's own library renders it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import helm_python as helm
import yaml

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "stellaops"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as quick where libyaml is there
Values = Mapping[str, Any]
Document = dict[str, Any]

IMAGE = {"repository": "registry.example.org/stellaops", "digest": "sha256:" + "5" * 64}
PUBLIC_KEY = "-----BEGIN PUBLIC KEY-----\nMFkwEw==\n-----END PUBLIC KEY-----\n"


def merged(first: Values, second: Values) -> dict[str, Any]:
    """Values over others, as Helm takes several files: mappings one by one, everything else whole; None removes."""
    result = dict(first)
    for name, value in second.items():
        before = result.get(name)
        if value is None:
            result.pop(name, None)
            continue
        both = isinstance(value, Mapping) and isinstance(before, Mapping)
        result[name] = merged(before, value) if both else value  # type: ignore[arg-type]
    return result


def values_file(name: str) -> dict[str, Any]:
    """A file of values of the chart."""
    found: dict[str, Any] = yaml.safe_load((CHART / name).read_text(encoding="utf-8"))
    return found


def mirror(**more: Any) -> dict[str, Any]:
    """A mirror host, by its file of values and the little that an operator has to add."""
    own = {"image": IMAGE, "sync": {"publicKeys": {"mirror-key.pub": PUBLIC_KEY}}}
    return merged(merged(values_file("values-mirror.yaml"), own), more)


def whole(**more: Any) -> dict[str, Any]:
    """The whole service on stores that are there, and nothing else."""
    address = "postgresql://stella@db.example.org:5432/stella?sslmode=verify-full"
    own = {
        "image": IMAGE,
        "store": {"evidence": address, "service": address, "passwordSecret": {"name": "stella-db"}},
        "artefacts": {"store": "s3://bundles/exports", "keySecret": {"name": "bundles-key"}},
    }
    return merged(own, more)


@cache
def _chart() -> helm.Chart:
    return helm.Chart.load(CHART)


def render(values: Values, release: str = "mirror") -> dict[str, str]:
    """Text by template.

    Raises:
        HelmError: the values are wrong.
    """
    _chart().validate_schema(dict(values))
    return _chart().render(dict(values), name=release, namespace="stella")


def documents(values: Values, release: str = "mirror") -> list[Document]:
    """What would be sent to a cluster, hooks too."""
    return [each for text in templates(values, release).values() for each in parsed(text)]


def templates(values: Values, release: str = "mirror") -> Mapping[str, str]:
    """What `documents` is parsed from, by template."""
    return _templates(json.dumps(values, sort_keys=True), release)


@cache
def _templates(values: str, release: str) -> Mapping[str, str]:
    made = render(json.loads(values), release)
    return {name: text for name, text in sorted(made.items()) if not name.endswith((".txt", ".tpl"))}


@cache
def parsed(text: str) -> Sequence[Document]:
    """The documents of one template."""
    return [each for each in yaml.load_all(text, Loader=_LOADER) if each]


def named(found: Sequence[Document], kind: str, name: str) -> Document:
    """One document."""
    (one,) = [each for each in found if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return one


def names(found: Sequence[Document]) -> set[str]:
    """All documents as `Kind/name`."""
    return {f"{each['kind']}/{each['metadata']['name']}" for each in found}


def pod_templates(found: Sequence[Document]) -> Iterator[tuple[str, Document]]:
    """Every pod with the name of what makes it: `metadata` and `spec`."""
    for each in found:
        match each["kind"]:
            case "Deployment" | "StatefulSet":
                yield each["metadata"]["name"], each["spec"]["template"]
            case "CronJob":
                yield each["metadata"]["name"], each["spec"]["jobTemplate"]["spec"]["template"]
            case "Pod":
                yield each["metadata"]["name"], each


def containers(template: Document) -> list[Document]:
    """Those of a pod, in the order in which they start."""
    return [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]


def leaves(values: Values, before: str = "") -> Iterator[tuple[str, Any]]:
    """Every value with its path, as `gateway.service.port`; empty mappings and lists count as values."""
    for name, value in values.items():
        path = f"{before}{name}"
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{path}.")
        else:
            yield path, value


def at(path: str, value: Any) -> dict[str, Any]:
    """Values in which one path is set."""
    for name in reversed(path.split(".")):
        value = {name: value}
    return value  # type: ignore[no-any-return]
