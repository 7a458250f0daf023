"""The KEV catalogue: two releases as JSON, one of them as CSV too."""

from __future__ import annotations

import json

from tests.support.cves import COLUMNS, catalogue, catalogue_csv, known

LOG4J = known("CVE-2021-44228")
STRUTS = known("CVE-2017-5638", "2021-11-03", cwes=[])
PHP = known("CVE-2024-4577", "2024-06-12", shortDescription="Of two\nlines, and a comma.")
SAMPLE = {
    "kev-2023.json": catalogue("2023-10-09T14:00:37.7242Z", LOG4J, STRUTS, known("CVE-2021-4043")),
    "kev-2024.json": catalogue("2024-06-12T17:04:19.9796Z", LOG4J, STRUTS, PHP),
    "kev-2024.csv": catalogue_csv(LOG4J, STRUTS, PHP),
}
EXPECTED_KEYS = ["CVE-2017-5638", "CVE-2021-44228", "CVE-2024-4577"]
BROKEN = {
    "no-id.json": (catalogue("2022-01-01T00:00:00Z", LOG4J | {"cveID": "none"}), "no-id"),
    "cut.json": (catalogue("2022-01-01T00:00:00Z", LOG4J)[:-9], "not-json"),
    "short.csv": (catalogue_csv() + b"CVE-2021-44228,Apache\r\n", "not-csv"),
}
QUIRKS = {
    "a catalogue before the column of weaknesses has the same entries": (
        "2022.csv",
        catalogue_csv(LOG4J, PHP, columns=COLUMNS[:-1]),
        ["CVE-2021-44228", "CVE-2024-4577"],
    ),
    "an entry vanishes between two releases": (
        "2025.json",
        catalogue("2025-08-25T17:04:19.9796Z", LOG4J),
        ["CVE-2021-44228"],
    ),
}
NO_DOCUMENTS = {
    "known_exploited_vulnerabilities_schema.json": json.dumps(
        {"title": "CISA Catalog", "properties": {"catalogVersion": {"type": "string"}, "cveID": {}}}
    ),
    "other.csv": "a,b\n1,2\n",
}
SHARED = ("kev", 1404, 0)
COUNTS = {"read": 4001, "added": 1405, "changed": 50, "vanished": 1, "equalKeys": 0}
