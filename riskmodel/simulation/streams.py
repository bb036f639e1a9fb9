"""Random numbers by process: each process draws from its own stream, a value per household and month, whatever others do."""

from __future__ import annotations

import zlib

import numpy as np


class Streams:
    """Independent streams of one seed, by name."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def generator(self, process: str) -> np.random.Generator:
        """A fresh generator of a process; the same each time it is asked for."""
        return np.random.Generator(np.random.Philox(key=[self._seed, zlib.crc32(process.encode())]))

    def uniform(self, process: str, *shape: int) -> np.ndarray:
        """Uniform numbers of a process."""
        return self.generator(process).random(shape)

    def normal(self, process: str, *shape: int) -> np.ndarray:
        """Standard normal numbers of a process."""
        return self.generator(process).standard_normal(shape)
