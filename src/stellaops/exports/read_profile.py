"""Profiles out of documents: what is wrong with one is told all at once."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from stellaops.bundles.encryption import age, envelope
from stellaops.bundles.encryption.errors import InvalidRecipient
from stellaops.exports import selectors
from stellaops.exports.errors import InvalidProfile, InvalidSelector, UnsupportedSchema
from stellaops.exports.profile import (
    API_VERSION,
    DELTA,
    DRIVERS,
    HIGHEST_LEVEL,
    HTTP,
    INCLUDABLE,
    KIND,
    KINDS,
    MOST_RETAINED,
    OF_ROWS,
    TRIVY_SCHEMAS,
    Encryption,
    ProfileDocument,
    Signing,
    Spec,
    Target,
    duration,
    percent,
    usual_next_update,
)
from stellaops.exports.schedule import check_schedule
from stellaops.signing import key_uri
from stellaops.signing.key_uri import BadKeyUri

_OF_THE_STATE = ("selectors", "include", "schema_version", "next_update", "policy_snapshot_mode")
"""What a delta has from the full profile whose state it carries."""
_KEY_ID = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[a-z0-9][a-z0-9:._-]{0,62}")
_TARGET = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def read(wire: object) -> ProfileDocument:
    """A profile document from parsed YAML or JSON, checked.

    Raises:
        InvalidProfile: with everything that is wrong.
        UnsupportedSchema: a Trivy schema that is not written here.
    """
    problems = _form_problems(wire, ProfileDocument, "")
    if problems:
        raise InvalidProfile("; ".join(problems), details=problems)
    document = msgspec.convert(wire, ProfileDocument)
    if document.api_version != API_VERSION:
        problems.append(f"apiVersion must be {API_VERSION}, not {document.api_version!r}")
    if document.kind != KIND:
        problems.append(f"kind must be {KIND}, not {document.kind!r}")
    if not _NAME.fullmatch(document.metadata.name):
        problems.append(f"metadata.name {document.metadata.name!r} must be 1 to 63 of a-z, 0-9, : . _ -")
    problems += _spec_problems(document.spec)
    if problems:
        raise InvalidProfile("; ".join(problems), details=problems)
    check_schema(document.spec)
    return msgspec.structs.replace(document, spec=_without_defaults(document.spec))


def _without_defaults(spec: Spec) -> Spec:
    """A value that is the kind's own says nothing: with it or without it, the profile is the same."""
    usual = usual_next_update(f"{spec.kind}:{spec.variant}")
    return msgspec.structs.replace(
        spec,
        schema_version=None,  # `check_schema` lets no other pass
        next_update=None if spec.next_update == usual else spec.next_update,
    )


def check_name(name: str) -> None:
    """Refuse a name that would not pass through file names, logs and manifests as it is.

    Raises:
        InvalidProfile: see there.
    """
    if not _NAME.fullmatch(name):
        raise InvalidProfile(
            f"the name {name[:80]!r} must be 1 to 63 of a-z, 0-9, : . _ -, and begin with a-z or 0-9"
        )


def check_schema(spec: Spec) -> None:
    """Refuse a Trivy schema that is not written here.

    Raises:
        UnsupportedSchema: any other than the one of the profile's variant.
    """
    written = TRIVY_SCHEMAS.get(spec.variant)
    if spec.kind == "trivy" and written is not None and spec.schema_version not in (None, written):
        raise UnsupportedSchema(
            f"schema {spec.schema_version} of trivy:{spec.variant} is not supported; this release writes {written}"
        )


def _form_problems(wire: object, form: type[msgspec.Struct], where: str) -> list[str]:
    """Every field that is unknown, missing or of another type; the library's own error names the first only."""
    if not isinstance(wire, dict):
        return [f"{where.rstrip('.') or 'the profile'} must be an object, not {type(wire).__name__}"]
    known = {field.encode_name: field for field in msgspec.structs.fields(form)}
    problems = [
        f"{where}{name} is not a field; there are {', '.join(known)}" for name in wire if name not in known
    ]
    for name, field in known.items():
        if name not in wire:
            problems += [f"{where}{name} is missing"] if field.required else []
        elif isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            problems += _form_problems(wire[name], field.type, f"{where}{name}.")
        else:
            try:
                msgspec.convert(wire[name], field.type)
            except msgspec.ValidationError as error:
                problems.append(f"{where}{name}: {error}")
    return problems


def _value_problems(name: str, value: str | None, reader: Callable[[str], object]) -> list[str]:
    try:
        if value is not None:
            reader(value)
    except InvalidProfile as error:
        return [f"spec.{name}: {error.what}"]
    return []


def _spec_problems(spec: Spec) -> list[str]:
    problems = []
    if f"{spec.kind}:{spec.variant}" not in KINDS:
        problems.append(f"spec.kind and spec.variant must be one of {', '.join(KINDS)}")
    for name, value, reader in (
        ("nextUpdate", spec.next_update, duration),
        ("gate.maxSourceAge", spec.gate.max_source_age, duration),
        ("gate.maxShrink", spec.gate.max_shrink, percent),
        ("timeLimit", spec.time_limit, duration),
        ("maxShare", spec.max_share, percent),
        ("schedule", spec.schedule, check_schedule),
    ):
        problems += _value_problems(name, value, reader)
    problems += _distribution_problems(spec)
    try:
        selectors.parse(spec.selectors)
    except InvalidSelector as error:
        problems += [f"spec.selectors.{detail}" for detail in error.details or (error.what,)]
    if spec.retention is not None and not 1 <= spec.retention.value <= MOST_RETAINED:
        problems.append(f"spec.retention.value must be 1 to {MOST_RETAINED}, not {spec.retention.value}")
    problems += _include_problems(spec) + _compression_problems(spec) + _encryption_problems(spec.encryption)
    problems += _signing_problems(spec.signing)
    return problems + _delta_problems(spec)


def _distribution_problems(spec: Spec) -> list[str]:
    """What is wrong wherever the targets are; whether the installation has them, `check_destinations` says."""
    problems, names = [], list[str]()
    for each in spec.distribution:
        target = Target(each) if isinstance(each, str) else each
        name = target.name or target.driver
        if target.driver not in DRIVERS:
            problems.append(f"{target.driver!r} is not available; there is {', '.join(DRIVERS)}")
        elif not _TARGET.fullmatch(name):
            problems.append(f"the target's name {name[:80]!r} must be 1 to 63 of a-z, 0-9, -")
        elif name != target.driver and (name in DRIVERS or target.driver == HTTP.driver):
            problems.append(f"{name!r} is no target of the driver {target.driver}")
        elif target.driver == HTTP.driver and target.settings:
            problems.append("http takes no settings")
        if name in names:
            problems.append(f"{name!r} stands in it twice")
        names.append(name)
    return [f"spec.distribution: {problem}" for problem in problems]


def _encryption_problems(encryption: Encryption) -> list[str]:
    keys = encryption.recipient_keys
    problems = []
    if encryption.enabled and not keys:
        problems.append(
            "spec.encryption.recipientKeys names nobody; at least one public key of age, or URI, is needed"
        )
    if len(keys) > envelope.MOST_RECIPIENTS:
        problems.append(f"spec.encryption.recipientKeys names more than {envelope.MOST_RECIPIENTS}")
    for key in keys:
        try:
            _check_recipient(key, encryption.mode)
        except (InvalidRecipient, BadKeyUri) as error:
            problems.append(f"spec.encryption.recipientKeys: {error.what}")
    return problems


def _check_recipient(key: str, mode: str) -> None:
    if not key_uri.is_uri(key):
        age.Recipient.parse(key)
    elif key_uri.parse(key).scheme not in key_uri.WRAPPING:
        services = ", ".join(key_uri.WRAPPING)
        raise BadKeyUri(
            f"{key} can sign and wraps no content key; {services} can, and recipients of age (age1…)"
        )
    elif mode != "aes-gcm":
        raise BadKeyUri(f"{key} needs mode aes-gcm: a file of age has no recipients in key services")


def _signing_problems(signing: Signing) -> list[str]:
    key = signing.key_ref
    if key is None or _KEY_ID.fullmatch(key):
        return []
    try:
        key_uri.parse(key)
    except BadKeyUri as error:
        return [f"spec.signing.keyRef is no id of a key (64 hexadecimal digits), and {error.what}"]
    return []


def _delta_problems(spec: Spec) -> list[str]:
    """What a delta leaves to the full profile, and what only a delta has."""
    fresh = Spec(spec.kind, spec.variant)
    is_delta = f"{spec.kind}:{spec.variant}" == DELTA
    names = _OF_THE_STATE if is_delta else ("of", "full_instead", "max_share")
    where = "the full profile that it names by `of` says it" if is_delta else f"only {DELTA} has it"
    fields = {field.name: field.encode_name for field in msgspec.structs.fields(Spec)}
    return [
        f"spec.{fields[name]} is not for {spec.kind}:{spec.variant}: {where}"
        for name in names
        if getattr(spec, name) != getattr(fresh, name)
    ]


def _include_problems(spec: Spec) -> list[str]:
    includable = tuple(INCLUDABLE) if spec.kind in OF_ROWS else ("advisories",)
    problems = [
        f"spec.include: {item!r} is none of {', '.join(includable)}"
        for item in spec.include
        if item not in includable
    ]
    if spec.include and not problems and not any(INCLUDABLE[item] for item in spec.include):
        evidence = ", ".join(item for item, kinds in INCLUDABLE.items() if kinds)
        problems.append(f"spec.include names no evidence: at least one of {evidence} must be in it")
    return problems


def _compression_problems(spec: Spec) -> list[str]:
    level = spec.compression.level
    if level is None:
        return []
    if spec.kind not in OF_ROWS:
        return ["spec.compression is for json and mirror: databases are packed as Trivy's own are"]
    if not 1 <= level <= HIGHEST_LEVEL:
        return [f"spec.compression.level must be 1 to {HIGHEST_LEVEL}, not {level}"]
    return []
