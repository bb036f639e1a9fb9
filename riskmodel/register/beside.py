"""Small files that are given to a command beside the register, read as the intake reads a county's own."""

from __future__ import annotations

import datetime as dt
import tempfile
from pathlib import Path
from types import MappingProxyType
from typing import Any

import duckdb

from riskmodel.errors import ContractError
from riskmodel.register.checks import MACROS, Compiler, in_words, kind_of, texts_of
from riskmodel.register.contract import load_contract
from riskmodel.register.reading import ROW, Reader
from riskmodel.register.source import Source, TableSource


def read_beside(path: Path, name: str) -> list[dict[str, Any]]:
    """The rows of a small file: CSV in UTF-8 or GB18030, Excel or Parquet, its columns named as in the contract.

    Parameters
    ----------
    path
        The file.
    name
        Which of the contract's files `beside` the register it is.

    Returns
    -------
    list of dict
        A row each, in the order of the file: the columns of the contract, and `row`, where it stands in the file.

    Raises
    ------
    ContractError
        If the file cannot be read, a required column is not there, or a value breaks the contract; names the row, never
        the value.
    """
    table = load_contract().beside[name]
    source = Source(name, path.name, path.parent, sha256="", tables=MappingProxyType({}))
    origin = TableSource(name)
    with tempfile.TemporaryDirectory(prefix="riskmodel-") as scratch, duckdb.connect() as connection:
        connection.execute(MACROS)
        raw = Reader(connection, source, path, Path(scratch)).open(origin, origin.ids)
        assert raw is not None
        fields = origin.resolved(raw.columns)
        if lacking := {*table.required} - {field.name for field in fields}:
            lacks = next(table.columns[c] for c in table.required if c in lacking)
            wanted = ", ".join(f"{c} ({table.columns[c].zh})" for c in table.required)
            raise ContractError(f"{path.name}: no column {lacks.name} ({lacks.zh}). The first line must name {wanted}.")
        kinds = {field.name: kind_of(raw.columns[str(field.raw)]) for field in fields}
        compiler = Compiler(table, fields, kinds, not raw.text, texts_of(raw), 1, 0, "auto", dt.date.today())
        try:
            found = connection.execute(f"{compiler.select(raw.view, None)} ORDER BY {ROW}")
            names = [column[0] for column in found.description or ()]
            rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        except duckdb.Error:  # its own text may quote values
            raise ContractError(f"{path.name}: the file is damaged, some of its values cannot be read.") from None
    for row in rows:
        for reason in row["__reasons"]:
            column = next(f.raw for f in fields if f.name == reason.split(":")[1])
            raise ContractError(f"{path.name}, row {row[ROW]:,}, column {column}: {in_words(reason)}.")
    return [{"row": row[ROW], **{c: row[c] for c in table.columns}} for row in rows]
