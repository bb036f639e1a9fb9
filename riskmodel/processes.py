"""Processes that counties are shared out to.

Where the system can, they are forked from a server that has imported what they need, which it does beside the command's own
work; elsewhere each process imports for itself.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from multiprocessing.context import BaseContext
from typing import TYPE_CHECKING

from riskmodel.errors import WorkerLost

if TYPE_CHECKING:
    from riskmodel.register import Register

SCORING, MONITORING = "riskmodel.alerts.worker", "riskmodel.monitoring.worker"
"""Modules with what processes have at hand that score counties, or report on them."""
_FOR_A_POOL = 1_000_000
"""Records from which on a pool of processes is worth its start."""
_TOGETHER = 10_000
"""Households up to which counties are worked on together; no figure depends on it."""

Batch = tuple[str, ...]
"""Counties that are worked on together: one, or several small ones."""


def worth(register: Register, counties: Sequence[str], most: int) -> int:
    """Processes that some counties of a register are worth, `most` at most; 1 is this process alone."""
    rows = sum(register.rows("records", county) for county in counties)
    return min(most, len(counties)) if rows >= _FOR_A_POOL else 1


def batches_of(register: Register) -> list[Batch]:
    """The counties of a register in their order, small ones together."""
    found: list[Batch] = []
    room = 0
    for county in register.counties:
        room -= (size := register.rows("households", county))
        if not found or room < 0:
            found.append(())
            room = _TOGETHER - size
        found[-1] += (county,)
    return found


def named(batch: Batch) -> str:
    """Counties as a message names them.

    >>> named(("350101",)), named(("350101", "350102", "350103"))
    ('county 350101', 'counties 350101 to 350103')
    """
    return f"county {batch[0]}" if len(batch) == 1 else f"counties {batch[0]} to {batch[-1]}"


def have_at_hand(*modules: str) -> None:
    """Import what processes need, for a module that their server imports.

    Garbage is not looked for in between, which would take a fifth of the time: what is imported stays.
    """
    collected = gc.isenabled()
    gc.disable()
    try:
        for module in modules:
            import_module(module)
    finally:
        if collected:
            gc.enable()


def get_ready(at_hand: str) -> None:
    """Have the server start now, beside what this process does until it asks for a pool.

    `at_hand` is the module that the server imports. There is one server: it keeps what it was first asked to have at hand.
    """
    _context(at_hand)


def pool(
    size: int, at_hand: str, begin: Callable[..., None] | None = None, given: tuple[object, ...] = ()
) -> ProcessPoolExecutor:
    """A pool of processes, none of them with a copy of this one's memory; each calls `begin(*given)` first.

    They end with this process, however it ends: none goes on beside the next run.
    """
    return ProcessPoolExecutor(size, mp_context=_context(at_hand), initializer=_first, initargs=(begin, given))


def _first(begin: Callable[..., None] | None, given: tuple[object, ...]) -> None:
    gc.freeze()  # no collection goes through what the server imported, whose memory stays shared
    threading.Thread(target=_end_with_parent, name="riskmodel end with parent", daemon=True).start()
    if begin is not None:
        begin(*given)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def said_if_lost(advice: str = "") -> Iterator[None]:
    """Say in a sentence that a process was ended from outside, as systems do that run out of memory.

    Parameters
    ----------
    advice
        Goes on after "run the same command again".

    Raises
    ------
    WorkerLost
        If a process of a pool was.
    """
    try:
        yield
    except BrokenProcessPool:
        guard = ' In a script of your own, call it below `if __name__ == "__main__":`.' if _in_a_script() else ""
        raise WorkerLost(
            f"a worker was ended from outside, perhaps for want of memory: run the same command again{advice}.{guard}"
        ) from None


def _in_a_script() -> bool:
    """Whether this is somebody's script, which every process runs again; modules, notebooks and the command are not."""
    main = sys.modules["__main__"]
    return main.__spec__ is None and hasattr(main, "__file__") and "riskmodel.cli" not in sys.modules


def give_back() -> None:
    """Have the system's library give back what memory is free within this process, where it knows how to."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


@cache
def _context(at_hand: str) -> BaseContext:
    try:
        from multiprocessing.forkserver import ensure_running

        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([at_hand])
        ensure_running()
    except (ImportError, ValueError, OSError):  # no such system, or no room for its socket (a long path to temporary files)
        return multiprocessing.get_context("spawn")
    return context
