"""Profiles of a tenant: the built-in ones, and stored ones whose every change is a new revision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from stellaops.core.errors import AlreadyExists
from stellaops.exports.errors import InvalidProfile, ProfileNotFound
from stellaops.exports.ports import Profiles
from stellaops.exports.profile import Profile, ProfileDocument, built_in
from stellaops.exports.read_profile import check_name


def list_profiles(tenant: str, profiles: Profiles) -> list[Profile]:
    """The newest revision of every profile, by name."""
    stored = [profiles.history(tenant, name)[-1] for name in profiles.names(tenant)]
    return sorted([*built_in(tenant), *stored], key=lambda profile: profile.name)


def find_profile(tenant: str, name: str, profiles: Profiles) -> Profile:
    """The newest revision of a profile.

    Raises:
        ProfileNotFound: the tenant has none of this name.
    """
    return profile_history(tenant, name, profiles)[-1]


def profile_history(tenant: str, name: str, profiles: Profiles) -> Sequence[Profile]:
    """All revisions of a profile, oldest first.

    Raises:
        ProfileNotFound: the tenant has none of this name.
    """
    own = [profile for profile in built_in(tenant) if profile.name == name]
    found = own or profiles.history(tenant, name)
    if not found:
        names = ", ".join(profile.name for profile in list_profiles(tenant, profiles))
        raise ProfileNotFound(f"tenant {tenant} has no profile {name!r}; it has {names}")
    return found


def create_profile(
    tenant: str, document: ProfileDocument, profiles: Profiles, *, now: datetime, by: str
) -> Profile:
    """Store a new profile; its first revision is `r1` unless the name was used before.

    Raises:
        AlreadyExists: the name is taken, perhaps by a built-in profile.
    """
    name = document.metadata.name
    if name in {profile.name for profile in list_profiles(tenant, profiles)}:
        raise AlreadyExists(f"tenant {tenant} has a profile {name!r} already")
    profile = _revision(
        tenant, document, profiles.next_number(tenant, name), now=now, by=by, reason="created"
    )
    profiles.add(profile)
    return profile


def update_profile(
    tenant: str, document: ProfileDocument, reason: str, profiles: Profiles, *, now: datetime, by: str
) -> Profile:
    """Store the next revision; a document that says nothing new is no change.

    Raises:
        ProfileNotFound: there is no such profile.
        InvalidProfile: a built-in profile, or no reason is given.
    """
    current = find_profile(tenant, document.metadata.name, profiles)
    if current.revision == "r0":
        raise InvalidProfile(f"{current.name} is built in; clone it and change the clone")
    if not reason.strip():
        raise InvalidProfile("a change needs its reason")
    if current.spec == document.spec and dict(current.labels) == document.metadata.labels:
        return current
    profile = _revision(tenant, document, int(current.revision[1:]) + 1, now=now, by=by, reason=reason)
    profiles.add(profile)
    return profile


def clone_profile(
    tenant: str, name: str, target: str, profiles: Profiles, *, now: datetime, by: str
) -> Profile:
    """Store a copy of a profile under another name."""
    origin = find_profile(tenant, name, profiles)
    check_name(target)
    if target in {profile.name for profile in list_profiles(tenant, profiles)}:
        raise AlreadyExists(f"tenant {tenant} has a profile {target!r} already")
    profile = replace(
        origin,
        name=target,
        revision=f"r{profiles.next_number(tenant, target)}",
        created_at=now,
        created_by=by,
        reason=f"cloned from {name}",
    )
    profiles.add(profile)
    return profile


def delete_profile(tenant: str, name: str, profiles: Profiles) -> None:
    """Remove a profile; its runs and bundles stay.

    Raises:
        ProfileNotFound, InvalidProfile: there is none, or it is built in.
    """
    if find_profile(tenant, name, profiles).revision == "r0":
        raise InvalidProfile(f"{name} is built in and stays")
    profiles.delete(tenant, name)


def _revision(
    tenant: str, document: ProfileDocument, number: int, *, now: datetime, by: str, reason: str
) -> Profile:
    return Profile(
        name=document.metadata.name,
        tenant=tenant,
        revision=f"r{number}",
        spec=document.spec,
        labels=tuple(sorted(document.metadata.labels.items())),
        created_at=now,
        created_by=by,
        reason=reason,
    )
