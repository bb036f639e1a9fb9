"""Assessments and runs are read alike however a file lies, and as they were known on the day."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from riskmodel.cohort.runs import Assessments
from riskmodel.months import as_of_day, month_number

AS_OF = month_number("2023-12")
LINE = 5000.0


def written(folder: Path, rows: pd.DataFrame) -> Path:
    days = pa.schema([
        ("household_id", pa.string()), ("month", pa.date32()), ("known_at", pa.date32()),
        ("welfare", pa.float64()), ("line", pa.float64()),
    ])  # fmt: skip
    file = folder / f"{len(list(folder.iterdir()))}.parquet"
    pa.parquet.write_table(pa.Table.from_pandas(rows, days, preserve_index=False), file, row_group_size=7)
    return file


@pytest.fixture
def rows() -> pd.DataFrame:
    """Five households over two years: gaps, a month told twice, income or line unknown, a line of nothing."""
    draw = np.random.default_rng(3)
    made = []
    for household in "abcde":
        for month in range(AS_OF - 23, AS_OF + 1):
            if draw.random() < 0.2:
                continue
            first = dt.date(month // 12, month % 12 + 1, 1)
            for version in range(1 + (draw.random() < 0.2)):
                known = as_of_day(month, 1) + dt.timedelta(days=40 * version)
                income = None if draw.random() < 0.1 else 4000.0 + 2000 * draw.random()
                line = draw.choice([LINE, LINE, LINE, LINE, np.nan, 0.0])
                made.append((household, first, known, income, line))
    return pd.DataFrame(made, columns=["household_id", "month", "known_at", "welfare", "line"])


def told(file: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    known = Assessments.read(file, 1, True).known_by(AS_OF - 1)
    tables = known.table(AS_OF), known.runs(AS_OF, 2), known.standing(AS_OF, 12)
    return tuple(table.to_pandas().astype({"household_id": object}) for table in tables)


def test_a_file_in_any_order_gives_the_same_runs(tmp_path: Path, rows: pd.DataFrame) -> None:
    in_order, shuffled = told(written(tmp_path, rows)), told(written(tmp_path, rows.sample(frac=1, random_state=1)))
    for one, other in zip(in_order, shuffled, strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_of_a_month_told_twice_the_last_version_known_counts(tmp_path: Path, rows: pd.DataFrame) -> None:
    assessed, _, _ = told(written(tmp_path, rows))
    day = as_of_day(AS_OF - 1, 1)
    last = rows[(rows["known_at"] <= day) & (rows["month"] <= day)].drop_duplicates(["household_id", "month"], keep="last")
    last = last.dropna(subset=["welfare", "line"]).reset_index(drop=True)
    assert assessed["household_id"].tolist() == last["household_id"].tolist()
    assert assessed["below"].tolist() == (last["welfare"] < last["line"]).tolist()
    ratio = (last["welfare"] / last["line"]).where(last["line"] != 0)
    np.testing.assert_array_equal(assessed["ratio"], ratio)


def test_a_household_stands_where_its_last_and_lowest_assessments_say(tmp_path: Path, rows: pd.DataFrame) -> None:
    assessed, runs, standing = told(written(tmp_path, rows))
    by = assessed.groupby("household_id")
    assert standing["watched_no"].tolist() == by["month_no"].max().tolist()
    np.testing.assert_array_equal(standing["ratio"], by["ratio"].last())
    recent = assessed[assessed["month_no"] > AS_OF - 12].groupby("household_id")["ratio"].min()
    np.testing.assert_array_equal(standing["low_ratio"], recent.reindex(standing["household_id"]))
    last = runs.drop_duplicates("household_id", keep="last")
    assert last["last_no"].tolist() == standing["watched_no"].tolist()
    assert runs["assessments"].sum() == len(assessed)


def test_a_county_without_records_has_no_runs() -> None:
    none = Assessments.read(None, 1, True).known_by(AS_OF)
    assert [t.num_rows for t in (none.table(AS_OF), none.runs(AS_OF, 3), none.standing(AS_OF, 12))] == [0, 0, 0]
