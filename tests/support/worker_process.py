"""A worker process as `tests.support.workers` starts it: `main`, with [--slots N] [--limit SECONDS]."""

from __future__ import annotations

import argparse
import logging
import sys

from stellaops.adapters.settings import load as settings
from stellaops.bootstrap import Local
from stellaops.worker import process


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--slots", type=int)
    parser.add_argument("--limit", type=float)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(asctime)s %(name)s %(message)s")
    if given.limit is not None:
        # Profiles say it in minutes, which is too long for a test.
        process.Worker._seconds = lambda self, run: given.limit  # type: ignore[method-assign]
    process.serve(
        Local(settings.load({})),
        slots=given.slots,
        ready=lambda name: print(f"ready {name}", flush=True),  # noqa: T201 - read by the test
    )
