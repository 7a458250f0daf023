"""What use cases of runs work with when they are asked for over the network: there is always a queue."""

from __future__ import annotations

from dataclasses import replace

from stellaops.api.operation import Call
from stellaops.exports.control_runs import ControlTools
from stellaops.exports.submit_run import SubmitTools


def submit_tools(call: Call, run_id: str) -> SubmitTools:
    """For a submission whose run has an id already."""
    return replace(call.local.submit_tools, new_id=lambda: run_id)


def control_tools(call: Call) -> ControlTools:
    """For controls of runs."""
    return replace(call.local.control_tools, queue=call.local.queue)
