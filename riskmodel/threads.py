"""Sums on one thread: shared out among threads they round by the number of the machine's cores, in the last digits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


@contextmanager
def one_thread() -> Iterator[None]:
    """Whatever adds up or fits inside, of numpy, SciPy and scikit-learn, does so on one thread; also a decorator.

    The limit is of the whole process and is lifted by whoever leaves first: what is shared out to threads stands inside one
    that all of them share.

    >>> with one_thread():
    ...     float(sum([0.5, 0.25]))
    0.75
    """
    import scipy.linalg  # noqa: F401, it brings linear algebra of its own, which can be limited only once it is there

    with threadpool_limits(1):
        yield
