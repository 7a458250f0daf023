"""Small documents about real CVEs in the forms of the CVE list, the NVD, the KEV catalogue and EPSS."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

V2 = "AV:N/AC:L/Au:N/C:C/I:C/A:C"
V31 = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
V31_MEDIUM = "CVSS:3.1/AV:N/AC:H/PR:N/UI:R/S:C/C:H/I:N/A:N"
V40 = "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:L/VI:N/VA:N/SC:N/SI:N/SA:N"


def cve(identifier: str, *adp: Mapping[str, Any], state: str = "PUBLISHED", **cna: Any) -> dict[str, Any]:
    """A CVE record; what is named `cna` goes into the CNA's container."""
    metadata = {
        "cveId": identifier,
        "assignerOrgId": "a0819718-46f1-4df5-94e2-005712e83aaa",
        "assignerShortName": "GitHub_M",
        "state": state,
        "dateReserved": "2023-05-11T16:33:45.730Z",
        "datePublished": "2023-05-26T17:02:52.899Z",
        "dateUpdated": "2024-08-02T15:25:36.892Z",
    }
    container: dict[str, Any] = {
        "providerMetadata": {"orgId": "a0819718-46f1-4df5-94e2-005712e83aaa", "shortName": "GitHub_M"}
    }
    if state == "REJECTED":
        metadata["dateRejected"] = "2024-08-31T05:37:21.787Z"
        container["rejectedReasons"] = [{"lang": "en", "value": "This CVE ID has been rejected."}]
    else:
        container["descriptions"] = [{"lang": "en", "value": f"All about {identifier}."}]
    containers: dict[str, Any] = {"cna": container | cna}
    if adp:
        containers["adp"] = list(adp)
    return {
        "dataType": "CVE_RECORD",
        "dataVersion": "5.1",
        "cveMetadata": metadata,
        "containers": containers,
    }


def cvss(vector: str, score: float, word: str, name: str = "cvssV3_1") -> dict[str, Any]:
    """A metric of a CVE record."""
    return {"format": "CVSS", name: {"vectorString": vector, "baseScore": score, "baseSeverity": word}}


def cisa(*metrics: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """CISA's container, with its SSVC decision and what else it says."""
    options = [{"Exploitation": "poc"}, {"Automatable": "no"}, {"Technical Impact": "partial"}]
    ssvc = {"other": {"type": "ssvc", "content": {"role": "CISA Coordinator", "options": options}}}
    return {
        "title": "CISA ADP Vulnrichment",
        "providerMetadata": {"orgId": "134c704f-9b21-4f2e-91b3-4a467353bcc0", "shortName": "CISA-ADP"},
        "metrics": [*metrics, ssvc],
        **more,
    }


def nvd(identifier: str, metrics: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A CVE of the NVD."""
    return {
        "id": identifier,
        "sourceIdentifier": "security-advisories@github.com",
        "published": "2023-05-26T18:15:14.147",
        "lastModified": "2023-09-17T09:15:12.267",
        "vulnStatus": "Modified",
        "descriptions": [
            {"lang": "es", "value": f"Todo sobre {identifier}."},
            {"lang": "en", "value": f"The NVD on {identifier}."},
        ],
        "metrics": metrics or {},
        "weaknesses": [
            {
                "source": "nvd@nist.gov",
                "type": "Primary",
                "description": [
                    {"lang": "en", "value": "CWE-200"},
                    {"lang": "en", "value": "NVD-CWE-noinfo"},
                ],
            }
        ],
        "references": [{"url": f"https://nvd.example/{identifier}", "source": "nvd@nist.gov"}],
        **more,
    }


def nvd_metric(vector: str, score: float, word: str, kind: str = "Primary") -> dict[str, Any]:
    """A metric of version 3 or 4 of the NVD."""
    data = {"version": "3.1", "vectorString": vector, "baseScore": score, "baseSeverity": word}
    return {"source": "nvd@nist.gov", "type": kind, "cvssData": data}


def nvd_metric_2(vector: str, score: float, word: str) -> dict[str, Any]:
    """A metric of version 2 of the NVD, which has its word elsewhere."""
    data = {"version": "2.0", "vectorString": vector, "baseScore": score}
    return {"source": "nvd@nist.gov", "type": "Primary", "cvssData": data, "baseSeverity": word}


def page(*cves: Mapping[str, Any], indent: int | None = None) -> bytes:
    """A page of the NVD's API 2.0."""
    listed = [{"cve": each} for each in cves]
    return json.dumps(
        {
            "resultsPerPage": len(listed),
            "startIndex": 0,
            "totalResults": len(listed),
            "format": "NVD_CVE",
            "version": "2.0",
            "timestamp": "2024-10-09T12:00:00.000",
            "vulnerabilities": listed,
        },
        indent=indent,
    ).encode()


COLUMNS = (
    "cveID", "vendorProject", "product", "vulnerabilityName", "dateAdded", "shortDescription", "requiredAction",
    "dueDate", "knownRansomwareCampaignUse", "notes", "cwes",
)  # fmt: skip


def known(identifier: str, added: str = "2021-12-10", **more: Any) -> dict[str, Any]:
    """An entry of the KEV catalogue."""
    return {
        "cveID": identifier,
        "vendorProject": "Apache",
        "product": "Log4j2",
        "vulnerabilityName": f"The name of {identifier}, in short",
        "dateAdded": added,
        "shortDescription": 'A description with a "quoted" word.',
        "requiredAction": "Apply updates.",
        "dueDate": "2021-12-24",
        "knownRansomwareCampaignUse": "Known",
        "notes": f"https://nvd.nist.gov/vuln/detail/{identifier}",
        "cwes": ["CWE-20", "CWE-400"],
        **more,
    }


def catalogue(released: str, *entries: Mapping[str, Any], count: int | None = None) -> bytes:
    """The KEV catalogue as JSON."""
    return json.dumps(
        {
            "title": "CISA Catalog of Known Exploited Vulnerabilities",
            "catalogVersion": released[:10].replace("-", "."),
            "dateReleased": released,
            "count": len(entries) if count is None else count,
            "vulnerabilities": list(entries),
        },
        indent=4,
    ).encode()


def catalogue_csv(*entries: Mapping[str, Any], columns: Sequence[str] = COLUMNS) -> bytes:
    """The KEV catalogue as CSV."""

    def cell(value: object) -> str:
        text = ", ".join(value) if isinstance(value, list) else str(value)
        quoted = text.replace('"', '""')
        return f'"{quoted}"' if set(text) & set(', "\n') else text

    rows = [",".join(cell(entry[column]) for column in columns) for entry in entries]
    return "\r\n".join([",".join(columns), *rows, ""]).encode()


def epss(day: str, scores: Mapping[str, tuple[str, str]]) -> bytes:
    """A day of EPSS."""
    rows = "".join(f"{name},{score},{percentile}\n" for name, (score, percentile) in scores.items())
    return f"#model_version:v2023.03.01,score_date:{day}T00:00:00+0000\ncve,epss,percentile\n{rows}".encode()
