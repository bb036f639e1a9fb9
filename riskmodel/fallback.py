"""What is said once in a process, also that a slower way does the work, to the same figures, where a fast one does not."""

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
