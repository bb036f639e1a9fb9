"""Random numbers that belong to one process and one household.

Every process (the onset of illness, the answer to an offer, ...) has its own counter-based generator
(Philox), keyed by the seed and the name of the process, and all its numbers are drawn at once as an array of
months x households. What one process does with its numbers can therefore not shift those of another process,
month or household: the same county can be lived again with a process switched off, and everything that it
does not touch stays as it was, bit for bit.
"""

from __future__ import annotations

import zlib

import numpy as np
from scipy.special import ndtri

_HALF_STEP = np.float32(2.0**-25)


def _normal(uniform: np.ndarray) -> np.ndarray:
    """Standard normal numbers of uniform ones, all finite: half a step above zero, a step below one."""
    return ndtri(np.minimum(uniform + _HALF_STEP, np.nextafter(np.float32(1), np.float32(0))))


class Streams:
    """Random numbers of a county.

    Parameters
    ----------
    seed
        Any whole number; its lowest 64 bits count.
    months, households
        Size of the county's arrays.
    """

    def __init__(self, seed: int, months: int, households: int) -> None:
        self.seed = seed & (2**64 - 1)
        self.months, self.households = months, households
        self._drawn: dict[tuple[str, str], np.ndarray] | None = {}
        self._whole: Streams | None = None
        self._kept: np.ndarray | None = None

    def only(self, households: np.ndarray) -> Streams:
        """The same numbers for some of the households, given by position."""
        part = Streams(self.seed, self.months, len(households))
        part._whole, part._kept = self, households
        return part

    def passing(self) -> Streams:
        """The same numbers, drawn anew each time and not kept: for what is asked once."""
        other = Streams(self.seed, self.months, self.households)
        other._drawn = None
        return other

    def forget(self) -> None:
        """Let go of the numbers kept so far; they are drawn again when asked for."""
        self._drawn = None if self._drawn is None else {}

    def monthly(self, process: str) -> np.ndarray:
        """Uniform numbers in [0, 1), months x households, float32."""
        return self._remember("monthly", process)

    def monthly_normal(self, process: str) -> np.ndarray:
        """Standard normal numbers, months x households, float32, by inversion of `monthly`."""
        return self._remember("monthly_normal", process)

    def once(self, process: str) -> np.ndarray:
        """One uniform number per household."""
        return self._remember("once", process)

    def once_normal(self, process: str) -> np.ndarray:
        """One standard normal number per household."""
        return self._remember("once_normal", process)

    def places(self, process: str, *shape: int) -> np.ndarray:
        """Uniform numbers for places (villages, markets), of any shape; the same for every choice of
        households."""
        whole = self._whole or self
        return whole._draw(f"places:{process}", shape)

    def _remember(self, kind: str, process: str) -> np.ndarray:
        if self._drawn is None:
            return self._made(kind, process)
        if (kind, process) not in self._drawn:
            self._drawn[kind, process] = self._made(kind, process)
        return self._drawn[kind, process]

    def _made(self, kind: str, process: str) -> np.ndarray:
        if self._whole is not None:
            numbers = np.ascontiguousarray(self._whole._made(kind, process)[..., self._kept])
        else:
            monthly = kind.startswith("monthly")
            shape = (self.months, self.households) if monthly else (self.households,)
            numbers = self._draw(f"{kind.removesuffix('_normal')}:{process}", shape)
            if kind.endswith("_normal"):
                numbers = _normal(numbers)
        numbers.setflags(write=False)
        return numbers

    def _draw(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        key = np.array([self.seed, zlib.crc32(name.encode())], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=key)).random(shape, dtype=np.float32)
