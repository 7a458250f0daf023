"""Routes of profiles."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec
from starlette.responses import Response

from stellaops.api.forms import (
    ProfileChange,
    ProfileChecked,
    ProfileClone,
    ProfileForm,
    ProfileRemoved,
    ProfileRevision,
)
from stellaops.api.frame.answers import answer
from stellaops.api.frame.errors import InvalidRequest
from stellaops.api.operation import Answer, Call, Operation
from stellaops.api.paging import Page
from stellaops.bootstrap import now
from stellaops.center.changes import expected_bytes, profile_changed
from stellaops.core import timestamps
from stellaops.core.errors import AlreadyExists
from stellaops.exports import manage_profiles
from stellaops.exports.distribution.manage_targets import check_destinations
from stellaops.exports.errors import InvalidProfile, InvalidSelector, ProfileNotFound, UnsupportedSchema
from stellaops.exports.profile import Profile, Spec
from stellaops.exports.read_profile import read
from stellaops.signing import key_uri
from stellaops.signing.key_uri import KeyUriRefused

READ, MANAGE = "export:read", "export:profile:manage"
_INVALID = (InvalidProfile, InvalidSelector, UnsupportedSchema)


class DryRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """`dryRun=true` only says what would be removed."""

    dry_run: bool = False


def list_profiles(call: Call) -> Response:
    """The newest revision of every profile."""
    found = manage_profiles.list_profiles(call.tenant, call.local.profiles)
    return answer(Page([each.to_wire() for each in found]))


def show(call: Call) -> Response:
    """One profile."""
    return answer(_find(call).to_wire())


def history(call: Call) -> Response:
    """Every revision of a profile."""
    revisions = manage_profiles.profile_history(call.tenant, call.path["id"], call.local.profiles)
    return answer(Page([_revision(each) for each in revisions]))


def create(call: Call) -> Response:
    """Store a profile."""
    document = read(call.body)
    check_destinations(call.tenant, document.spec, call.local.targets)
    _demand_recipients(call, document.spec)
    made = manage_profiles.create_profile(
        call.tenant, document, call.local.profiles, now=now(), by=call.principal.client
    )
    return _made(call, made)


def change(call: Call) -> Response:
    """Store the next revision of a profile."""
    current = _find(call)
    wanted: ProfileChange = call.body
    document = read(_changed(current, wanted))
    check_destinations(call.tenant, document.spec, call.local.targets)
    _demand_recipients(call, document.spec, current.spec)
    changed = manage_profiles.update_profile(
        call.tenant,
        document,
        wanted.change_reason,
        call.local.profiles,
        now=now(),
        by=call.principal.client,
    )
    profile_changed(call.change, call.local, current, changed, wanted.change_reason)
    return answer(changed.to_wire())


def check(call: Call) -> Response:
    """Whether a profile could be stored, as it is or as the next revision of the one of its name."""
    document = read(call.body)
    check_destinations(call.tenant, document.spec, call.local.targets)
    name, kind = document.metadata.name, f"{document.spec.kind}:{document.spec.variant}"
    try:
        before = manage_profiles.find_profile(call.tenant, name, call.local.profiles).spec
    except ProfileNotFound:
        before = None
    _demand_recipients(call, document.spec, before)
    return answer(
        ProfileChecked(name, kind, before is not None, expected_bytes(call.local, call.tenant, name))
    )


def clone(call: Call) -> Response:
    """Store a copy of a profile under another name."""
    made = manage_profiles.clone_profile(
        call.tenant,
        call.path["id"],
        call.body.name,
        call.local.profiles,
        now=now(),
        by=call.principal.client,
    )
    return _made(call, made)


def delete(call: Call) -> Response:
    """Remove a profile; its runs and bundles stay."""
    found = _find(call)
    if not call.query.dry_run:
        manage_profiles.delete_profile(call.tenant, found.name, call.local.profiles)
    profile_changed(call.change, call.local, found, None, "")
    call.change.none = call.query.dry_run
    return answer({"profile": found.name, "revision": found.revision, "removed": not call.query.dry_run})


def _demand_recipients(call: Call, spec: Spec, before: Spec | None = None) -> None:
    """Refuse keys of key services as recipients that the tenant may not use; those that are there already stay."""
    kept = () if before is None else before.encryption.recipient_keys
    named = [key for key in spec.encryption.recipient_keys if key_uri.is_uri(key) and key not in kept]
    call.local.key_services.demand_from_afar(call.tenant, named)


def _find(call: Call) -> Profile:
    return manage_profiles.find_profile(call.tenant, call.path["id"], call.local.profiles)


def _made(call: Call, made: Profile) -> Response:
    profile_changed(call.change, call.local, None, made, made.reason)
    return answer(made.to_wire(), 201, {"location": f"/api/export/profiles/{quote(made.name, safe=':')}"})


def _changed(current: Profile, wanted: ProfileChange) -> dict[str, Any]:
    """The whole document that is asked for."""
    if wanted.profile is not None:
        if wanted.spec is not None or wanted.labels is not None:
            raise InvalidRequest("body: give `profile`, or patches in `spec` and `labels`; not both")
        metadata = wanted.profile.get("metadata")
        if isinstance(metadata, dict) and metadata.get("name") != current.name:
            raise InvalidRequest(f"body: metadata.name must stay {current.name}")
        return wanted.profile
    wire = current.to_wire()
    wire["spec"] = _merged(wire["spec"], wanted.spec or {})
    wire["metadata"] = wire["metadata"] | {
        "labels": _merged(wire["metadata"].get("labels", {}), wanted.labels or {})
    }
    return wire


def _merged(whole: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7396) applied."""
    if not isinstance(patch, dict):
        return patch
    found = dict(whole) if isinstance(whole, dict) else {}
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = _merged(found.get(name), value)
    return found


def _revision(each: Profile) -> dict[str, Any]:
    return {
        "revision": each.revision,
        "createdAt": timestamps.render(each.created_at) if each.created_at else None,
        "createdBy": each.created_by or None,
        "reason": each.reason or None,
        "profile": each.to_wire(),
    }


_MADE = Answer("It is stored", ProfileForm, headers={"location": "where it is found"})
_PROFILE = Answer("The profile", ProfileForm)
_PATH = "/api/export/profiles"
OPERATIONS = (
    Operation(
        "listProfiles", "GET", _PATH, "The newest revision of every profile", list_profiles, READ,
        answers={200: Answer("By name", Page[ProfileForm])},
    ),
    Operation(
        "createProfile", "POST", _PATH, "Store a profile", create, MANAGE, body=dict[str, Any],
        answers={201: _MADE}, errors=(*_INVALID, AlreadyExists, KeyUriRefused), mutating=True, action="profile.created",
    ),
    Operation(
        "getProfile", "GET", f"{_PATH}/{{id}}", "A profile", show, READ,
        answers={200: _PROFILE}, errors=(ProfileNotFound,),
    ),
    Operation(
        "changeProfile", "PATCH", f"{_PATH}/{{id}}", "Store the next revision of a profile", change, MANAGE,
        body=ProfileChange, answers={200: _PROFILE}, errors=(*_INVALID, ProfileNotFound, KeyUriRefused), mutating=True,
        action="profile.changed",
    ),
    Operation(
        "checkProfile", "POST", "/api/export/profile-check", "Whether a profile could be stored", check, READ,
        body=dict[str, Any], answers={200: Answer("It could be", ProfileChecked)}, errors=(*_INVALID, KeyUriRefused),
    ),
    Operation(
        "deleteProfile", "DELETE", f"{_PATH}/{{id}}", "Remove a profile; its runs and bundles stay", delete, MANAGE,
        query=DryRun, answers={200: Answer("It is removed", ProfileRemoved)},
        errors=(InvalidProfile, ProfileNotFound), mutating=True, action="profile.deleted",
    ),
    Operation(
        "cloneProfile", "POST", f"{_PATH}/{{id}}/clone", "Store a copy of a profile under another name", clone,
        MANAGE, body=ProfileClone, answers={201: _MADE}, errors=(*_INVALID, ProfileNotFound, AlreadyExists),
        mutating=True, action="profile.created",
    ),
    Operation(
        "getProfileHistory", "GET", f"{_PATH}/{{id}}/history", "Who changed a profile, when and why", history,
        READ, answers={200: Answer("The oldest first", Page[ProfileRevision])}, errors=(ProfileNotFound,),
    ),
)  # fmt: skip
