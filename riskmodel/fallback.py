"""Where a fast way does not cover what it meets, a slower one does the work, to the same figures, and that is said once."""

from __future__ import annotations

import logging
from functools import cache

log = logging.getLogger(__name__)


class NotCovered(Exception):
    """What was met is left to the slower way; the message says why."""


@cache
def say_once(line: str) -> None:
    """Warn, once in a process."""
    log.warning(line)
