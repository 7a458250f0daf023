"""Constraints as Trivy's comparers read them. Needs the standard library only, but for `merge`, which is apart.

`problem` finds what Trivy cannot parse, `misreading` what it parses as something else, `version_problem` an installed
version that it cannot compare.
"""

from stellaops.bundles.trivy.constraints.rules import (
    UnknownComparer,
    misreading,
    problem,
    version_problem,
)

__all__ = ["UnknownComparer", "misreading", "problem", "version_problem"]
