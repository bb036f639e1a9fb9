"""Villages and townships: what makes one village one, wherever places are counted, listed, drawn or averaged over."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

WITHIN = MappingProxyType(
    {"village_id": ("township_id", "village_id"), "township_id": ("township_id",), "county_id": ("county_id",)}
)
"""Columns that tell one such place of a county from another: two townships may each have a village of the same name."""


def place_codes(frame: pd.DataFrame, place: str, apart: Sequence[str] = ()) -> np.ndarray:
    """A number for the place of each row, from 0 in the order of their names.

    A village is told by county, township and name, as far as the frame holds them. A township that is blank is no other
    one: the village of that name without a township is a village of its own.

    Parameters
    ----------
    frame
        One row per household, or household and month.
    place
        `village_id`, `township_id` or `county_id`: a column of the frame.
    apart
        Further columns whose values keep places apart.

    Returns
    -------
    numpy.ndarray
        Shape (n,); -1 where the place is not on record.

    >>> import pandas as pd
    >>> homes = pd.DataFrame({"township_id": ["b", "a", "a", None, "a"], "village_id": ["x", "x", None, "x", "x"]})
    >>> place_codes(homes, "village_id").tolist(), place_codes(homes, "township_id").tolist()
    ([1, 0, -1, 2, 0], [1, 0, 0, -1, 0])
    """
    told_by = [*apart, *(c for c in dict.fromkeys(["county_id", *WITHIN[place]]) if c in frame)]
    known = frame[place].notna().to_numpy()
    code = known.astype(int) - 1
    code[known] = frame.loc[known, told_by].groupby(told_by, dropna=False, observed=True).ngroup()
    return code
