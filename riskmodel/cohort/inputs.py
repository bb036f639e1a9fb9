"""Model inputs of some rows, gathered in blocks when they are read: only a model that needs them all at once holds them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

BLOCK = 262_144


@dataclass(frozen=True)
class Inputs:
    """Some columns and rows of a table, read like a table: `columns`, `len`, `X[name]`, `X[names]`, `blocks`.

    Attributes
    ----------
    frame
        The whole table.
    names
        Columns in the order in which models take them.
    rows
        Positions of the rows, shape (n,).
    kept
        Folder for what is made of these columns and may serve again; None where the table is not kept on disk.
    """

    frame: pd.DataFrame
    names: tuple[str, ...]
    rows: np.ndarray
    kept: Path | None = None

    @classmethod
    def of(cls, table: pd.DataFrame | Inputs) -> Inputs:
        """A table as inputs, all of its columns and rows.

        >>> Inputs.of(pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})).block(1, 2)["b"].tolist()
        [4.0]
        """
        return table if isinstance(table, cls) else cls(table, tuple(table.columns), np.arange(len(table)))

    @property
    def columns(self) -> pd.Index:
        """Names as a table has them."""
        return pd.Index(self.names)

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def __getitem__(self, wanted: str | Sequence[str]) -> pd.Series | pd.DataFrame:
        """One column, or some, of all rows."""
        if isinstance(wanted, str):
            return pd.Series(self.frame[wanted].to_numpy(np.float32)[self.rows])
        return self._gathered(list(wanted), self.rows)

    def block(self, start: int, stop: int) -> pd.DataFrame:
        """All columns of the rows from `start` to before `stop`, float32."""
        return self._gathered(list(self.names), self.rows[start:stop])

    def blocks(self, size: int = BLOCK) -> Iterator[pd.DataFrame]:
        """All rows, block by block; at least one."""
        for start in range(0, max(len(self), 1), size):
            yield self.block(start, start + size)

    def _gathered(self, names: list[str], rows: np.ndarray) -> pd.DataFrame:
        found = np.empty((len(names), len(rows)), np.float32)
        for into, name in zip(found, names, strict=True):
            into[:] = self.frame[name].to_numpy(np.float32)[rows]
        return pd.DataFrame(found.T, columns=names)
