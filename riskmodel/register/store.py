"""A register on disk: where its files lie, and how they are read."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from riskmodel.errors import IntegrityError, NotFound
from riskmodel.months import month_number, month_text, period_of
from riskmodel.register.commit import checked_file, commit_directory, commit_file, read_manifest, verify
from riskmodel.register.contract import load_contract

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = [
    "Register", "commit_directory", "commit_file", "county_of", "read_manifest", "table_file", "verify"
]  # fmt: skip


class Register:
    """A household register on disk.

    Attributes
    ----------
    path : Path
    manifest : dict
        As written by `ingest`.
    step_months : int
        Months of one period.
    reporting_lag_days : int
    counties : list of str
        Sorted.
    first_month, last_month : str
        `YYYY-MM`, first months of the first and the last period in `records`.
    last_as_of : str
        `YYYY-MM`, first month of the last period that can be as-of: that in which the last record came to be known, at least
        `last_month`. Registers that earlier versions wrote do not tell, and end with `last_month`.
    revised : frozenset of str
        Tables in which something is told more than once, known on different days.
    has_revisions : bool
        Whether `records` is one of them.
    extra_columns : dict
        For each table, the columns outside the contract: `{name: {"type", "en", "zh"}}`.
    """

    def __init__(self, path: Path, manifest: dict[str, Any], committed: bool = False) -> None:
        self.path = path
        self.manifest = manifest
        self._to_hold = set(manifest["files"]) if committed else set()  # a passing register has no hashes of its own
        about = manifest["about"]
        self.step_months: int = about["step_months"]
        self.reporting_lag_days: int = about["reporting_lag_days"]
        self.counties: list[str] = about["counties"]
        self.first_month: str = about["first_month"]
        self.last_month: str = about["last_month"]
        known = month_number(about.get("last_known_month", self.last_month))
        known = period_of(known, month_number(self.first_month), self.step_months)
        self.last_as_of: str = month_text(max(known, month_number(self.last_month)))
        self.revised: frozenset[str] = frozenset(about.get("revised", load_contract().tables))  # not told: perhaps any
        self.extra_columns: dict[str, dict[str, dict[str, str]]] = about["extra_columns"]

    @classmethod
    def open(cls, path: Path | str) -> Register:
        """Open a register that `ingest` wrote.

        Raises
        ------
        NotFound
            If there is no register.
        """
        return cls(Path(path), read_manifest(path, kind="register"), committed=True)

    @contextmanager
    def read_whole(self) -> Iterator[None]:
        """All that is read inside is of the register that was opened: files of two belong together nowhere.

        Raises
        ------
        IntegrityError
            At the end, or in place of an error inside, if another register has taken the place of this one.
        """
        try:
            yield
        except Exception:
            self._refuse_if_replaced()
            raise
        self._refuse_if_replaced()

    def _refuse_if_replaced(self) -> None:
        if read_manifest(self.path, kind="register")["files"] != self.manifest["files"]:
            raise IntegrityError(
                f"{self.path}: another register was written there while this one was read. Run the same command again."
            )

    @property
    def has_revisions(self) -> bool:
        """Whether some household-month is recorded more than once, known on different days."""
        return "records" in self.revised

    @contextmanager
    def as_written(self, county: str) -> Iterator[None]:
        """What is read of a county inside is what was written: its files are held against their hashes beside the reading.

        A register from `open` does it once a county.

        Raises
        ------
        IntegrityError
            At the end, or in place of an error inside, if a file is missing or has changed.
        """
        names = {table_file(table, county) for table in self.tables} & self._to_hold
        with ThreadPoolExecutor(1) as beside:
            held = [beside.submit(checked_file, self.path, self.manifest, name) for name in sorted(names)]
            try:
                yield
            except Exception:
                for file in held:
                    file.result()
                raise
            for file in held:
                file.result()
        self._to_hold -= names

    @cached_property
    def tables(self) -> list[str]:
        """Names of the tables that hold rows."""
        return list(self.manifest["about"]["columns"])

    def has(self, table: str) -> bool:
        """Whether the register holds rows of a table."""
        return table in self.tables

    def columns(self, table: str) -> list[str]:
        """Columns of a table that really hold values, extra ones included; empty without such a table."""
        return list(self.manifest["about"]["columns"].get(table, []))

    def file(self, table: str, county: str) -> Path | None:
        """The Parquet file of a table for one county; None where that county has no rows of it.

        `lines` is one file for all counties.
        """
        name = table_file(table, county)
        return self.path / name if name in self.manifest["files"] else None

    def rows(self, table: str, county: str) -> int:
        """Number of rows of a table for one county."""
        return self.manifest["files"].get(table_file(table, county), {"rows": 0})["rows"]

    def files(self, table: str) -> list[Path]:
        """All Parquet files of a table, by county."""
        found = dict.fromkeys(self.file(table, county) for county in self.counties)
        return [file for file in found if file is not None]

    def read(self, table: str, county: str | None = None) -> pd.DataFrame:
        """Rows of a table, of one county or of all, in the order in which they lie on disk.

        Dates become `datetime64`; booleans and integers keep their nulls (`boolean`, `Int64`).

        Raises
        ------
        NotFound
            If the register has no such table or county.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        if county is not None and county not in self.counties:
            raise NotFound(f"{self.path}: no county {county!r}. Known: {', '.join(self.counties[:10])}.")
        files = self.files(table) if county is None else [f for f in [self.file(table, county)] if f]
        if not files and not self.has(table):
            raise NotFound(f"{self.path}: no table {table!r}. It holds: {', '.join(self.tables)}.")
        rows = pa.concat_tables([pq.read_table(f, partitioning=None) for f in files or self.files(table)[:1]])
        return as_frame(rows if files else rows.slice(0, 0))

    def read_last(self, table: str, county: str | None = None) -> pd.DataFrame:
        """`read`, but of what is told more than once only the version known last."""
        rows = self.read(table, county)
        if "known_at" not in rows or table not in self.revised:
            return rows
        key = [c for c in load_contract().tables[table].key if c in rows]
        return rows.sort_values("known_at", kind="stable").drop_duplicates(key, keep="last").sort_index()

    def __repr__(self) -> str:
        months = f"{self.first_month} to {self.last_month}"
        return f"Register({str(self.path)!r}, {len(self.counties)} counties, {months})"


def as_frame(rows: pa.Table) -> pd.DataFrame:
    """Rows of a register in the types of `Register.read`."""
    import pandas as pd
    import pyarrow as pa

    kept = {pa.bool_(): pd.BooleanDtype(), pa.int32(): pd.Int64Dtype(), pa.int64(): pd.Int64Dtype()}
    return rows.to_pandas(date_as_object=False, types_mapper=kept.get)


def table_file(table: str, county: str) -> str:
    """Where a table of one county lies below the register.

    >>> table_file("records", "a/b")
    'tables/records/a%2Fb.parquet'
    """
    return f"tables/{table}/{'all' if table == 'lines' else as_name(county)}.parquet"


def as_name(county: str) -> str:
    """A county as the name of a file or folder, whatever characters it is written with.

    >>> as_name("a/b.c")
    'a%2Fb%2Ec'
    """
    return quote(county, safe="").replace(".", "%2E")


def county_of(file: Path) -> str:
    """The county whose rows a table file holds.

    >>> county_of(Path("tables/records/a%2Fb.parquet"))
    'a/b'
    """
    return unquote(file.stem)
