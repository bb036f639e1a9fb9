"""The engine, DuckDB, one for this process: to start another takes longer than most questions do."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path

import duckdb

BOUNDS = {
    "floor_at": "CREATE TEMP MACRO floor_at(x, lowest) AS CASE WHEN x < lowest THEN lowest WHEN x >= lowest THEN x END",
    "cap_at": "CREATE TEMP MACRO cap_at(x, most) AS CASE WHEN x > most THEN most WHEN x <= most THEN x END",
}
"""A value held within a bound; missing where either is, where DuckDB's `greatest` and `least` give the other instead."""
_NUMBERS = count()
_GIVE_BACK = "RESET memory_limit"
"""Setting the limit has the allocator give back to the system what is free; by itself it may keep that for minutes."""


@contextmanager
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with tables of its own, which are gone with it; on one thread, so that sums run in a fixed order.

    What memory they took goes back to the system.

    >>> with engine() as connection:
    ...     connection.execute("CREATE TABLE incomes AS SELECT 2000 AS welfare")
    ...     connection.execute("SELECT floor_at(welfare, 3000) FROM incomes").fetchall()  # doctest: +ELLIPSIS
    <...>
    [(3000,)]
    """
    own = f"own_{next(_NUMBERS)}"
    with database().cursor() as connection:
        connection.execute(f"ATTACH ':memory:' AS {own}; USE {own}; {'; '.join(BOUNDS.values())}")
        if connection.execute("SELECT current_setting('enable_progress_bar')").fetchall()[0][0]:
            connection.execute("SET enable_progress_bar = false")  # on a terminal; a notebook would refuse to be asked
        try:
            yield connection
        finally:
            try:
                connection.execute(f"USE memory; DETACH {own}; {_GIVE_BACK}")
            except duckdb.Error:  # it answers no more, as after an error of its own
                _started.cache_clear()


def rows_of(*files: Path | str) -> str:
    """SQL of the rows of Parquet files, for FROM: of the files so named, with the columns that they hold.

    DuckDB by itself takes `[1]`, `*` and `?` in a path for a pattern, which other files match too, and puts columns in the
    place of a file's own where a folder above is called such as `month=2023-05`.

    >>> rows_of("taken [1]/records.parquet")
    "read_parquet(['taken [[]1]/records.parquet'], hive_partitioning = false)"
    """
    return f"read_parquet([{', '.join(map(one_file, files))}], hive_partitioning = false)"


def one_file(path: Path | str) -> str:
    """A path as an SQL literal that names this one file, never a pattern."""
    return literal(re.sub(r"([*?\[])", r"[\1]", str(path)))


def literal(text: str) -> str:
    """A text as SQL writes it.

    >>> literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def known_last(*told: str) -> str:
    """SQL that keeps, of rows of a table that tell the same again, the one known last; `told` says of what they tell."""
    return _one_of(told, "known_at DESC")


def known_first(*told: str) -> str:
    """SQL that keeps, of rows of a table that tell the same again, the one known first; `told` says of what they tell."""
    return _one_of(told, "known_at")


def _one_of(told: Sequence[str], order: str) -> str:
    return f"QUALIFY row_number() OVER (PARTITION BY {', '.join(told)} ORDER BY {order}) = 1"


def database() -> duckdb.DuckDBPyConnection:
    """This process's engine, for cursors."""
    return _started(os.getpid())  # a forked process cannot use its parent's


@cache
def _started(process: int) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET threads = 1; SET preserve_insertion_order = true; SET enable_external_file_cache = false")
    return connection
