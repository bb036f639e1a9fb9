"""How a command ends that is told to: Ctrl-C and SIGTERM, in order if that goes quickly, and at once where it does not.

In order, temporary folders go and a session on a cluster is closed. What is under way in other threads or in a library can
take minutes; nothing that is written needs it (`register/commit.py`), so that nobody has to wait. Nor does anybody wait for
Python to take apart all that a command imported, once it is done.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

SECONDS = 5
"""Time to end in order; a second signal cuts it short."""
_SHOW_CURSOR = "\x1b[?25h"
_LOST_OUTPUT = 120
"""Python's own exit code where what was printed could not be written."""
_exit_code: int | None = None


def stop_when_told() -> None:
    """Have this process end within `SECONDS` of Ctrl-C (exit code 130) or SIGTERM (143)."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)  # told of a signal also while a library keeps the main thread
    for number, usual in ((signal.SIGTERM, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
        if signal.getsignal(number) is usual:
            signal.signal(number, _in_order)
    threading.Thread(target=_at_once, args=(read,), name="riskmodel stop", daemon=True).start()


def end_after(command: Callable[[], None]) -> None:
    """Run a command and have this process end with it: threads are waited for, what is registered for the end is done.

    Not done is Python's search for garbage in all that was imported, for half a second. To be called by a process whose only
    work the command is.
    """
    code = 1

    def end() -> None:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except OSError:
            os._exit(code or _LOST_OUTPUT)
        os._exit(code)

    atexit.register(end)
    try:
        command()
        code = 0
    except SystemExit as told:
        code = told.code if isinstance(told.code, int) else int(told.code is not None)
        raise
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
        raise


def exit_code() -> int | None:
    """The exit code of a command that was told to stop, whatever it ends with; None where nobody told it.

    A library that is asked for a signal while it works may end with an error of its own, as DuckDB does.
    """
    return _exit_code


def _in_order(number: int, frame: FrameType | None) -> None:
    global _exit_code
    _exit_code = 128 + number
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(_exit_code)


def _at_once(told: int) -> None:
    while (number := os.read(told, 1)[0]) not in (signal.SIGINT, signal.SIGTERM):
        pass
    select.select([told], [], [], SECONDS)
    if sys.stderr.isatty():  # a progress bar may have hidden it
        sys.stderr.write(_SHOW_CURSOR)
        sys.stderr.flush()
    os._exit(128 + number)
