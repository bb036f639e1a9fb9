"""Inner loops that numba compiles: at first use, and kept in its cache where there is a place for one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from numba import config, njit
from numba.core.caching import FunctionCache

log = logging.getLogger(__name__)


def compiled(function: Callable | None = None, **options: Any) -> Callable:
    """Compile a loop that does not hold Python's lock; `options` as for `numba.njit`.

    Where its cache cannot be written or read, each process compiles for itself.

    Raises
    ------
    ImportError
        If numba was told not to compile: in plain Python some loops take hours, and others do not run.
    """
    if config.DISABLE_JIT:
        raise ImportError("NUMBA_DISABLE_JIT is set")
    if function is None:
        return partial(compiled, **options)
    found = njit(nogil=True, **options)(function)
    with suppress(RuntimeError):  # no place to keep the cache can be written to
        found._cache = _Cache(function)
    return found


class _Cache(FunctionCache):
    """Numba's cache of a function, which a full disk or a file that was cut short stops from being of use, and no more.

    Numba does not wait for its files to be on disk, so that a power cut can leave empty ones.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception as fault:  # whatever pickle makes of a damaged file
            log.debug("numba's cache %s is begun anew (%s)", self.cache_path, type(fault).__name__)
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as fault:
            log.debug("numba's cache %s cannot be written (%s)", self.cache_path, type(fault).__name__)
