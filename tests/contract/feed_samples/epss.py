"""EPSS: a file a day."""

from __future__ import annotations

from tests.support.cves import epss

SAMPLE = {
    "epss_scores-2024-10-08.csv": epss("2024-10-08", {"CVE-1999-0001": ("0.01140", "0.84550")}),
    "epss_scores-2024-10-09.csv": epss(
        "2024-10-09",
        {
            "CVE-1999-0001": ("0.01141", "0.84551"),
            "CVE-2021-44228": ("0.97565", "1.0"),
            "CVE-2024-1234": ("1e-05", "0"),
        },
    ),
}
EXPECTED_KEYS = ["2024-10-09"]
BROKEN = {
    "undated.csv": (b"cve,epss,percentile\nCVE-1999-0001,0.1,0.2\n", "no-id"),
    "doubled.csv": (
        epss("2024-10-09", {"CVE-1999-0001": ("0.1", "0.2")}) + b"CVE-1999-0001,0.1,0.2\n",
        "duplicate-key",
    ),
    "text.csv": (epss("2024-10-09", {"CVE-1999-0001": ("high", "0.2")}), "schema"),
}
QUIRKS = {
    "windows ends its lines otherwise": (
        "epss.csv",
        epss("2024-10-10", {"CVE-1999-0001": ("0.01141", "0.84551")}).replace(b"\n", b"\r\n"),
        ["2024-10-10"],
    ),
}
NO_DOCUMENTS = {"other.csv": "cve,score\nCVE-1999-0001,1\n"}
SHARED = None
