"""Counties worked on two at a time: in threads, and of a large register in processes that all parts of the report share.

A part gives a function of what is asked and of one county; what it gives comes back in the order of the counties, whatever
the number of workers and whichever is done first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

import pyarrow as pa

from riskmodel import processes
from riskmodel.monitoring.part import Asked
from riskmodel.processes import Batch, batches_of, named
from riskmodel.register import Register
from riskmodel.threads import one_thread

WORKERS = 2

T = TypeVar("T")


def get_ready(register: Register) -> None:
    """Have processes made ready beside what this one does, where the register is worth them."""
    if processes.worth(register, register.counties, WORKERS) > 1:
        processes.get_ready(processes.MONITORING)


@contextmanager
def with_workers(asked: Asked) -> Iterator[Asked]:
    """What is asked, with processes at hand where the register is large and has counties to share out."""
    workers = processes.worth(asked.register, asked.counties, WORKERS)
    if workers < 2:
        yield asked
        return
    alone = replace(asked, progress=_silent)
    with _memory_given_back(), processes.pool(workers, processes.MONITORING, _begin, (alone,)) as pool:
        yield replace(asked, pool=pool)


@contextmanager
def _memory_given_back() -> Iterator[None]:
    """What Arrow no longer needs goes back to the system at once, not to a store of its own."""
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


def by_county(asked: Asked, one: Callable[[Asked, str], T], what: str, counties: Sequence[str] | None = None) -> Iterator[T]:
    """`one(asked, county)` of each county, in order; the work begins at once, and what it gives is read as it comes.

    Parameters
    ----------
    one
        A function of a module, or a `partial` of one. It tells no progress.
    what
        Goes before the name of the county in what is told of the progress.
    counties
        All by default.

    Raises
    ------
    WorkerLost
        If a process was ended from outside, as systems do that run out of memory.
    """
    chosen = list(asked.counties if counties is None else counties)
    return side_by_side(asked, one, {f"{what} of {county}": (county,) for county in chosen})


def by_batch(asked: Asked, one: Callable[[Asked, Batch], T], what: str) -> Iterator[T]:
    """`by_county` for a function of several counties: all of the register, small ones together (`batches_of`)."""
    return side_by_side(asked, one, {f"{what} of {named(batch)}": (batch,) for batch in batches_of(asked.register)})


def side_by_side(asked: Asked, one: Callable[..., T], given: Mapping[str, tuple]) -> Iterator[T]:
    """`one(asked, *what is given)` for each thing given, in order, as `by_county` does; keys are told as progress."""
    if asked.pool is not None:
        with processes.said_if_lost():  # it may have been while another part used it
            waiting = [asked.pool.submit(_in_a_process, one, *what) for what in given.values()]
    else:
        with ThreadPoolExecutor(WORKERS) as pool:
            alone = replace(asked, progress=_silent)
            waiting = [pool.submit(one, alone, *what) for what in given.values()]
    return _read(asked, list(given), waiting)


def _read(asked: Asked, told: Sequence[str], waiting: list) -> Iterator[T]:
    try:
        with processes.said_if_lost():
            for what, found in zip(told, waiting, strict=True):
                yield found.result()
                asked.progress(what)
    finally:
        for found in waiting:
            found.cancel()


def _silent(what: str) -> None:
    pass


_asked: Asked


def _begin(asked: Asked) -> None:
    """What every county is asked, kept by each process."""
    global _asked
    _asked = asked
    pa.set_memory_pool(pa.system_memory_pool())


def _in_a_process(one: Callable[..., T], *what: object) -> T:
    with one_thread():
        return one(_asked, *what)
