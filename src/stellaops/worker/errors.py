"""What can go wrong between a worker and its child processes."""

from __future__ import annotations

from stellaops.core.errors import DependencyFailed
from stellaops.exports.errors import AdapterFailed


class ChildDied(DependencyFailed):
    """The process that worked on a run died; another attempt is made."""

    code = "ERR_EXPORT_CHILD_DIED"
    hint = "See the worker's log, and whether the machine had memory left."


class RunSetAside(AdapterFailed):
    """Work on the run killed its process, or its worker, again and again; it is not tried any more."""

    code = "ERR_EXPORT_SET_ASIDE"
    hint = "See the workers' logs and the memory of their machines; `stella export run replay` tries again."
