"""Decisions with the alerts that they were taken on, as a table for other programs: nothing in it is a formula."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import pandas as pd

from riskmodel.alerts.history import ScoredMonth
from riskmodel.alerts.spreadsheet import write_excel
from riskmodel.display import cells
from riskmodel.errors import UsageError
from riskmodel.register import commit_file
from riskmodel.review.decisions import COLUMNS, KEY

FORMATS = (".csv", ".parquet", ".xlsx")


def decisions_with_alerts(folder: Path, decisions: pd.DataFrame) -> pd.DataFrame:
    """Every alert of a month with every decision on it; both alerts without decisions and decisions without alerts stay.

    Parameters
    ----------
    folder
        From `riskmodel score`.
    decisions
        From `Decisions.table`; those of other months are left out.

    Returns
    -------
    pandas.DataFrame
        The columns of the alert table, then those of the decisions as `decision_<name>`, by county, rank and time.

    Raises
    ------
    NotFound
        If the folder holds no scores, or nobody was ranked.
    """
    month = ScoredMonth.open(folder)
    alerts = month.alerts()
    own = [c for c in COLUMNS if c not in KEY]
    of_month = decisions[decisions["as_of"] == month.as_of].rename(columns={c: f"decision_{c}" for c in own})
    frame = alerts.merge(of_month, on=list(KEY), how="outer", sort=False)
    return frame.sort_values(["county_id", "rank", "household_id", "decision_seq"], kind="stable").reset_index(drop=True)


def write_decisions(frame: pd.DataFrame, out: Path) -> None:
    """Write the table whole or not at all, in the format of the file's ending.

    Raises
    ------
    UsageError
        If the ending is none of `FORMATS`.
    """
    if out.suffix == ".csv":
        text = cells(frame).to_csv(index=False, lineterminator="\n")
        commit_file(out, text.encode("utf-8-sig"))
    elif out.suffix == ".parquet":
        buffer = io.BytesIO()
        frame.to_parquet(buffer, index=False)
        commit_file(out, buffer.getvalue())
    elif out.suffix == ".xlsx":
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / out.name
            write_excel(frame, file)
            commit_file(out, file.read_bytes())
    else:
        raise UsageError(f"--out {out.name}: choose a name that ends in {', '.join(FORMATS)}.")
