"""The databases for Trivy, each read by itself."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import closing, contextmanager

from stellaops.bundles import layout
from stellaops.bundles.trivy import inspect, java_db
from stellaops.kit.checks.inspection import Inspection, NotApplicable, Refused, established, refuse_any
from stellaops.kit.contents import UnpackedDatabase


def trivy_metadata(seen: Inspection) -> str:
    """Whether `metadata.json` is what the export gives."""
    known = established(seen.manifest)
    refuse_any(inspect.metadata_problems(_database(seen).metadata, known.generated_at))
    return "schema 2, times as they must be"


def trivy_database(seen: Inspection) -> str:
    """Pages, buckets and counts."""
    with _mapped(_database(seen)) as data:
        survey = inspect.survey(data)
    problems = list(survey.problems)
    stated = established(seen.manifest).content(layout.TRIVY_DB)
    if stated is not None and survey.advisories != stated.records:
        problems.append(f"it has {survey.advisories} advisories, export.json states {stated.records}")
    refuse_any(problems)
    return f"{survey.advisories} advisories, {survey.vulnerabilities} vulnerabilities, {len(survey.buckets)} buckets"


def trivy_sentinels(seen: Inspection) -> str:
    """Whether what a scan must find is in it."""
    sentinels = established(seen.examined).sentinels
    stated = established(seen.manifest).content(layout.TRIVY_DB)
    if not sentinels and stated is not None and stated.records:
        raise Refused(["the database has advisories, but there is no sentinel to look for"])
    with _mapped(_database(seen)) as data:
        refuse_any(inspect.sentinel_problems(data, sentinels))
    return f"{len(sentinels)} sentinels found"


def _database(seen: Inspection) -> UnpackedDatabase:
    database = established(seen.examined).trivy
    if database is None:
        raise NotApplicable("the bundle holds no Trivy database")
    return database


def java_metadata(seen: Inspection) -> str:
    """Whether `metadata.json` is what the export gives."""
    known = established(seen.manifest)
    metadata = _java(seen).metadata
    refuse_any(inspect.metadata_problems(metadata, known.generated_at, java_db.SCHEMA_VERSION))
    return "schema 1, times as they must be"


def java_database(seen: Inspection) -> str:
    """Pages and indices."""
    refuse_any(java_db.database_problems(_java(seen).path))
    return f"{established(seen.examined).records[layout.TRIVY_JAVA_DB]} artefacts, pages and indices sound"


def java_sentinels(seen: Inspection) -> str:
    """Whether what a scan must find is in it."""
    sentinels = established(seen.examined).java_sentinels
    with closing(java_db.open_database(_java(seen).path)) as connection:
        refuse_any(java_db.sentinel_problems(connection, sentinels))
    return f"{len(sentinels)} sentinels found"


def _java(seen: Inspection) -> UnpackedDatabase:
    database = established(seen.examined).java
    if database is None:
        raise NotApplicable("the bundle holds no Java database")
    return database


@contextmanager
def _mapped(database: UnpackedDatabase) -> Iterator[mmap.mmap]:
    with database.path.open("rb") as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:
            raise Refused(["trivy.db is empty"]) from error
        with data:
            yield data
