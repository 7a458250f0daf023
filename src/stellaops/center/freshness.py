"""Freshness of the local stores: the newest export of a mirror is said anew to be the newest."""

from __future__ import annotations

from stellaops.authority.audit import Noting
from stellaops.bootstrap import Local
from stellaops.core import digests
from stellaops.exports import issue_freshness
from stellaops.exports.issue_freshness import Signed
from stellaops.exports.run import Run


def renew(local: Local, run: Run, noting: Noting) -> Signed:
    """Issue the next statement about a run's export.

    Raises:
        NoStatement: there was none before.
    """
    before = issue_freshness.stated(run, local.statements)
    with noting("freshness.renewed", f"run/{run.id}/freshness") as told:
        issue_freshness.say_fresh(run, local.freshness_tools)
        after = issue_freshness.stated(run, local.statements)
        told.before, told.after = digests.sha256(before.statement), digests.sha256(after.statement)
    return after
