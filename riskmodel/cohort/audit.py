"""Columns kept for audit, joined to cohorts for that alone: they are no features, and no model sees them."""

from __future__ import annotations

import pandas as pd

from riskmodel.register import Register
from riskmodel.register.contract import load_contract


def audit_columns(register: Register, rows: pd.DataFrame) -> pd.DataFrame:
    """Sex, ethnicity and religion of the head and remoteness, as far as the register holds them.

    Parameters
    ----------
    rows
        `household_id` and `county_id`, such as `Cohorts.frame`.

    Returns
    -------
    pandas.DataFrame
        One row per row, index of `rows`; without columns where the register keeps none for audit.
    """
    kept = set(register.columns("households"))
    names = [name for name, column in load_contract().tables["households"].columns.items() if column.audit and name in kept]
    if not names:
        return pd.DataFrame(index=rows.index)
    standing = pd.concat([register.read("households", c)[["household_id", *names]] for c in rows["county_id"].unique()])
    found = rows[["household_id"]].merge(standing.drop_duplicates("household_id"), on="household_id", how="left")
    return found[names].set_axis(rows.index)
