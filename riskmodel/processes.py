"""Processes that counties are shared out to.

Where the system can, they are forked from a server that has imported what they need, which it does beside the command's own
work; elsewhere each process imports for itself.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing.context import BaseContext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from riskmodel.register import Register

_FOR_A_POOL = 1_000_000
"""Records from which on a pool of processes is worth its start."""
_AT_HAND = "riskmodel.alerts.worker"


def worth(register: Register, counties: Sequence[str], most: int) -> int:
    """Processes that some counties of a register are worth, `most` at most; 1 is this process alone."""
    rows = sum(register.rows("records", county) for county in counties)
    return min(most, len(counties)) if rows >= _FOR_A_POOL else 1


def get_ready() -> None:
    """Have the server start now, beside what this process does until it asks for a pool."""
    _context()


def pool(size: int) -> ProcessPoolExecutor:
    """A pool of processes, none of them with a copy of this one's memory."""
    return ProcessPoolExecutor(size, mp_context=_context())


@cache
def _context() -> BaseContext:
    try:
        from multiprocessing.forkserver import ensure_running

        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([_AT_HAND])
        ensure_running()
    except (ImportError, ValueError, OSError):  # no such system, or no room for its socket (a long path to temporary files)
        return multiprocessing.get_context("spawn")
    return context
