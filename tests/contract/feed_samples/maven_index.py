"""Lists of artefacts in each form. The digests are made up, but for that of the empty file."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def _sha1(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


_TEXT = "org.apache.commons", "commons-text", "1.9"
_LANG = "org.apache.commons", "commons-lang3", "3.12.0"
_ROOM = "androidx.room", "room-runtime", "2.6.1"
_LOG = "org.apache.logging.log4j", "log4j-core", "2.14.1"
_FILE_LOG = "ch.qos.logback", "logback-core", "1.2.3"


def _row(place: tuple[str, str, str], kind: str = "jar") -> str:
    return ",".join((*place, kind, _sha1(":".join(place))))


def _key(place: tuple[str, str, str], kind: str = "jar") -> str:
    return f"{':'.join(place)}:{kind}:{_sha1(':'.join(place))}"


def _fields(place: tuple[str, str, str], **more: Any) -> dict[str, Any]:
    names = ("groupId", "artifactId", "version")
    return dict(zip(names, place, strict=True)) | {"sha1": _sha1(":".join(place))} | more


def _component(place: tuple[str, str, str], qualifiers: str = "", **more: Any) -> dict[str, Any]:
    group, name, version = place
    return {
        "type": "library",
        "purl": f"pkg:maven/{group}/{name}@{version}{qualifiers}",
        "hashes": [
            {"alg": "MD5", "content": "d41d8cd98f00b204e9800998ecf8427e"},
            {"alg": "SHA-1", "content": _sha1(":".join(place))},
        ],
        **more,
    }


def _bom(*components: dict[str, Any]) -> str:
    npm = {"type": "library", "purl": "pkg:npm/left-pad@1.3.0"}
    return json.dumps(
        {"bomFormat": "CycloneDX", "specVersion": "1.5", "metadata": {}, "components": [npm, *components]}
    )


_HEADER = "groupId,artifactId,version,packaging,sha1\n"

SAMPLE = {
    "central.csv": f"{_HEADER}{_row(_TEXT)}\r\n{_row(_ROOM, 'aar')}\n",
    "more/central.jsonl": f"{json.dumps(_fields(_LANG))}\n{json.dumps(_fields(_LOG, packaging='bundle'))}\n",
    "app.cdx.json": _bom(_component(_FILE_LOG)),
}
EXPECTED_KEYS = (_key(_TEXT), _key(_ROOM, "aar"), _key(_LANG), _key(_LOG), _key(_FILE_LOG))
BROKEN = {
    "short.csv": (f"{_HEADER}org.a,b,1.0,jar,0123\n", "bad-sha1"),
    "no-digest.csv": (f"{_HEADER}org.a,b,1.0,jar,\n", "no-sha1"),
    "no-version.csv": (f"{_HEADER}org.a,b,,jar,{_sha1('a')}\n", "no-version"),
    "no-group.csv": (f"{_HEADER},b,1.0,jar,{_sha1('a')}\n", "no-group"),
    "odd.csv": (f"{_HEADER}org/a,b,1.0,jar,{_sha1('a')}\n", "bad-coordinate"),
    "wide.csv": (f"{_HEADER}org.a,b,1.0,jar,{_sha1('a')},more\n", "columns"),
    "quotes.csv": (f'{_HEADER}org.a,"b,1.0,jar,{_sha1("a")}\n', "not-csv"),
    "latin.csv": (f"{_HEADER}org.a,b\xe9,1.0,jar,{_sha1('a')}\n".encode("latin-1"), "not-utf-8"),
    "columns.csv": ("name,age\nx,1\n", "no-header"),
    "cut.jsonl": (json.dumps(_fields(_LANG))[:-9], "not-json"),
    "number.jsonl": (json.dumps(_fields(_LANG, version=1.5)), "schema"),
    "list.jsonl": ("[1]", "schema"),
    "nameless.jsonl": (json.dumps(_fields(("", "b", "1"))), "no-group"),
    "digestless.cdx.json": (_bom(_component(_LOG, hashes=[])), "no-sha1"),
    "versionless.cdx.json": (_bom(_component(("org.a", "b", ""))), "no-version"),
    "cut.cdx.json": (_bom(_component(_LOG))[:-9], "not-json"),
    "twice.cdx.json": (_bom()[:-1] + ', "specVersion": "1.4", "components": [{}]}', "duplicate-key"),
}
SHARED = None
QUIRKS = {
    "a list has the columns of Trivy's own database": (
        "a.csv",
        f"group_id,artifact_id,version,sha1,archive_type\n{','.join(_TEXT)},{_sha1(':'.join(_TEXT)).upper()},jar\n",
        [_key(_TEXT)],
    ),
    "a list begins with a byte order mark, and quotes its cells": (
        "b.csv",
        f'\ufeff"groupId","artifactId","version","sha1"\n"{_TEXT[0]}","{_TEXT[1]}","1.9","{_sha1(":".join(_TEXT))}"\n',
        [_key(_TEXT)],
    ),
    "a list holds poms, sources and archives that Trivy does not look up": (
        "c.csv",
        "groupId,artifactId,version,classifier,packaging,sha1\n"
        + "".join(
            f"org.a,b,1,{classifier},{kind},{_sha1(classifier + kind)}\n"
            for classifier, kind in (("", "pom"), ("sources", "jar"), ("javadoc", "jar"), ("", "war"), ("jdk8", "jar"))
        ),
        [f"org.a:b:1:jar:{_sha1('jdk8jar')}"],
    ),
    "the file's extension says more than the packaging": (
        "d.csv",
        f"groupId,artifactId,version,packaging,fileExtension,sha1\norg.a,b,1,takari-lifecycle,jar,{_sha1('x')}\n",
        [f"org.a:b:1:jar:{_sha1('x')}"],
    ),
    "one version has two files": (
        "e.csv",
        f"{_HEADER}org.a,b,1,jar,{_sha1('x')}\norg.a,b,1,jar,{_sha1('y')}\n",
        [f"org.a:b:1:jar:{_sha1(word)}" for word in "xy"],
    ),
    "components are nested, with what is no Maven artefact between": (
        "f.json",
        _bom({"type": "application", "name": "x", "components": [_component(_LOG, components=[_component(_TEXT)])]}),
        [_key(_LOG), _key(_TEXT)],
    ),
    "a package URL has a type, and percent signs": (
        "g.json",
        _bom(_component(("androidx.room", "room%2Druntime", "2.6.1"), "?type=aar")),
        [f"androidx.room:room-runtime:2.6.1:aar:{_sha1('androidx.room:room%2Druntime:2.6.1')}"],
    ),
}  # fmt: skip
NO_DOCUMENTS = {"other.json": '{"name": "left-pad"}', "npm.cdx.json": _bom()}
