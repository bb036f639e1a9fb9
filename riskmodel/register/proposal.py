"""A first source mapping for a county's own files: what they may hold, by the names of columns, and whether it is taken in.

A name is known by the contract or by `configs/names.yaml`, and nothing is mapped that is not. What a column means only the
county knows: the proposal is there to be read line by line.
"""

from __future__ import annotations

import os
import re
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from math import gcd
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import duckdb
import yaml

from riskmodel.errors import CatalogueError, ContractError, NotFound, UsageError
from riskmodel.months import month_number
from riskmodel.register.blocked import blocked_by_name, protected_by_name
from riskmodel.register.commit import commit_file
from riskmodel.register.contract import INCOME, Column, Table, load_contract, meant
from riskmodel.register.intake import ingest
from riskmodel.register.reading import NO_DATA, WORKBOOKS, Reader, open_workbook
from riskmodel.register.source import Source, TableSource, destinations
from riskmodel.register.store import Register
from riskmodel.settings import Loader, find_config, read_config

if TYPE_CHECKING:
    from riskmodel.register.intake import IntakeReport

FILE = "source.yaml"
_KINDS = (".csv", ".tsv", ".txt", ".gz", ".parquet", *WORKBOOKS)
_TITLES = 6
"""Rows that may stand above a header: a title, a date, who filled it in."""
_FEW_YUAN = 100
"""Half of a column of yearly amounts below this: they are hardly in yuan."""
_STEPS = (3, 6, 12)
"""Months of a period, where they are not one."""


@dataclass(frozen=True)
class Names:
    """Names by which books call tables, columns and units, as `read` gives them; each with what it names."""

    tables: Mapping[str, str]
    columns: Mapping[str, tuple[str, ...]]
    units: Mapping[str, str]


@dataclass(frozen=True)
class Guess:
    """A raw column and the column of the contract that it may be, with the unit in its name."""

    raw: str
    column: Column
    unit: str | None = None


@dataclass(frozen=True)
class Sheet:
    """One file, or one sheet of a workbook, and the table that it may be.

    Attributes
    ----------
    files
        Files of the same columns that one pattern names.
    pattern
        File or pattern, relative to the folder of all.
    header_row
        Row of the column names.
    table
        Table of the contract, None where it is not told.
    mapped
        What its columns may be.
    left
        For each other column, why it is not mapped, or ''.
    lacking
        Required columns of the table that no column was told to be.
    """

    files: tuple[Path, ...]
    pattern: str
    sheet: str | None
    header_row: int
    table: str | None
    mapped: tuple[Guess, ...]
    left: Mapping[str, str]
    lacking: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """What messages call it."""
        return f"{self.pattern}, sheet {self.sheet}" if self.sheet else self.pattern


@dataclass
class Proposal:
    """What `propose_source` proposes.

    Attributes
    ----------
    path
        The mapping that was written.
    data
        Folder of the files.
    sheets
        What was found in them, in the order of the contract's tables; those of no table last.
    step_months
        Months of one period, as the records tell.
    trial
        What the intake made of the files by this mapping, in a register that was not kept; None where it refused them.
    refused
        Why it did.
    doubts
        What to look at: a sentence each.
    """

    path: Path
    data: Path
    sheets: tuple[Sheet, ...] = ()
    step_months: int = 1
    trial: IntakeReport | None = None
    refused: str = ""
    doubts: list[str] = field(default_factory=list)

    @property
    def proposed(self) -> list[Sheet]:
        """The sheet of each table: the first that has what the table requires."""
        found: dict[str, Sheet] = {}
        for sheet in self.sheets:
            if sheet.table is not None and not sheet.lacking:
                found.setdefault(sheet.table, sheet)
        return list(found.values())


def propose_source(files: Sequence[Path], folder: Path) -> Proposal:
    """Write a source mapping for a county's files into `folder/source.yaml`, and try it.

    Parameters
    ----------
    files
        Files, or folders of files: CSV, Excel, Parquet.
    folder
        Where the mapping is written; nothing else is.

    Raises
    ------
    NotFound
        If a file is not there, or a folder holds none that can be read.
    UsageError
        If there is a mapping already: somebody may have worked on it.
    ContractError
        If a file that was named cannot be read, or none of them is any table of the contract.
    """
    path = folder / FILE
    if path.exists():
        raise UsageError(f"{path} is there already, and may hold your own work. Give another folder, or move it away.")
    found = list(_listed(files))
    data = Path(os.path.commonpath([file.resolve().parent for file in found]))
    sheets, doubts = [], []
    for file in found:
        try:
            sheets += _sheets(file)
        except ContractError as fault:
            if file in files:
                raise
            doubts.append(f"left out: {fault}")  # what else lies in a folder
    if all(sheet.table is None for sheet in sheets):
        raise ContractError(
            f"{', '.join(file.name for file in found[:3])}: no table of the register is told by the names of the columns. "
            "Write the mapping by hand, from configs/sources/template.yaml, or add your names to configs/names.yaml."
        )
    proposal = Proposal(path, data, _put_together(sheets, data), doubts=doubts)
    _try(proposal)
    commit_file(path, written(proposal).encode())
    return proposal


def _listed(given: Sequence[Path]) -> Iterator[Path]:
    for path in given:
        if path.is_dir():
            inside = [
                p for p in sorted(path.iterdir()) if p.suffix.lower() in _KINDS and not p.name.startswith((".", *NO_DATA))
            ]
            if not inside:
                raise NotFound(f"{path}: the folder holds no CSV, Excel or Parquet file.")
            yield from inside
        elif path.is_file():
            yield path
        else:
            raise NotFound(f"{path}: no such file or folder.")


def _sheets(file: Path) -> Iterator[Sheet]:
    """Each sheet of a file, by the header that names most columns; the first that names most of its own will do."""
    names: list[str | None] = [None]
    if file.suffix.lower() in WORKBOOKS and len(book := open_workbook(file).sheet_names) > 1:
        names = list(book)
    for name in names:
        readings, faults = [], []
        for row in range(1, _TITLES + 1):
            try:
                readings.append(_guessed(file, name, row, _columns(file, name, row)))
            except ContractError as fault:  # a title above the header has fewer fields than the rows
                faults.append(fault)
                continue
            if len(readings[-1].mapped) > len(readings[-1].left):
                break
        if readings:
            yield max(readings, key=lambda sheet: (len(sheet.mapped), -sheet.header_row))
        elif name is None:  # of a workbook some sheets may be empty
            raise faults[0]


def _columns(file: Path, sheet: str | None, header_row: int) -> list[str]:
    source = Source("init", file.name, file.parent, "", MappingProxyType({}))
    table = TableSource("records", sheet=sheet, header_row=header_row, fields=())
    with tempfile.TemporaryDirectory(prefix="riskmodel-") as scratch, duckdb.connect() as connection:
        raw = Reader(connection, source, file, Path(scratch)).open(table, lambda columns: [])
        assert raw is not None
        return list(raw.columns)


def _guessed(file: Path, sheet: str | None, header_row: int, columns: Sequence[str]) -> Sheet:
    """The table of which a sheet names most columns, of those whose required columns it names."""
    hint = read(f"{file.stem} {sheet or ''}")
    contract = load_contract().tables
    best: tuple[tuple, Sheet] | None = None
    for place, (name, table) in enumerate(contract.items()):
        mapped = _mapped(columns, name)
        held = {guess.column.name for guess in mapped}
        lacking = tuple(c for c in table.required if c not in held)
        if not lacking and table.one_of and not held & set(table.one_of):
            lacking = table.one_of[:1]
        hinted = any(word in hint for word, of in names().tables.items() if of == name)
        if len(mapped) < 2 or (lacking and not (hinted or len(mapped) > 3)):
            continue
        own = sum(guess.column.name in table.columns for guess in mapped)
        rank = (not lacking, own, hinted, len(mapped), -place)
        if best is None or rank > best[0]:
            told = {guess.raw for guess in mapped}
            left = {c: _why_left(c, name, held) for c in columns if c not in told}
            best = rank, Sheet((file,), "", sheet, header_row, name, mapped, MappingProxyType(left), lacking)
    if best is not None:
        return best[1]
    return Sheet((file,), "", sheet, header_row, None, (), MappingProxyType(dict.fromkeys(columns, "")))


def _mapped(columns: Sequence[str], table: str) -> tuple[Guess, ...]:
    """For each column of a table the first raw column that bears its name, its label, or another name of it."""
    known = destinations(table)
    by_name: dict[str, list[str]] = {}
    for raw in columns:
        if blocked_by_name(raw) is None:
            by_name.setdefault(read(raw), []).append(raw)
    taken: set[str] = set()
    found = []
    for rank in range(2):  # what the contract itself calls a column goes before what books do
        for name, (_, column) in known.items():
            if any(guess.column is column for guess in found):
                continue
            words = (read(name), read(column.zh)) if rank == 0 else names().columns.get(name, ())
            raw = next((r for word in words for r in by_name.get(word, ()) if r not in taken), None)
            if raw is not None:
                taken.add(raw)
                found.append(Guess(raw, column, _unit(raw, column)))
    order = {name: place for place, name in enumerate(known)}
    return tuple(sorted(found, key=lambda guess: order[guess.column.name]))


def _why_left(raw: str, table: str, held: set[str]) -> str:
    """Why a column is not mapped, in a few words."""
    if what := blocked_by_name(raw):
        return f"{what}, which no register takes; a pseudonym in its place it does 拒收，请先替换为假名编号"
    if protected_by_name(raw):
        audit = [c for c, (_, column) in destinations(table).items() if column.audit]
        return f"a protected attribute, for the audit alone, as {', '.join(audit)}" if audit else "a protected attribute"
    known = destinations(table)
    close = meant(raw, [column.zh for _, column in known.values()])
    column = next((name for name, (_, c) in known.items() if close.endswith(f"{c.zh!r}?")), None)
    if column is not None and column not in held:
        return f"perhaps {column} {known[column][1].zh}?"
    return ""


def _unit(raw: str, column: Column) -> str | None:
    """The unit in the name of a column, where the contract can convert it."""
    allowed = load_contract().units.get(column.dimension or "", {})
    bracket = re.search(r"[(\[/]([^()\[\]/]+)[)\]]?$", unicodedata.normalize("NFKC", raw).strip())
    unit = names().units.get(read(bracket[1])) if bracket else None
    return unit if unit in allowed and allowed[unit] != 1 else None


def read(name: str) -> str:
    """A name as it is compared: without width, case, blanks, 是否, and what stands in brackets at its end.

    >>> read("工资性收入（万元）"), read("是否 易地搬迁户"), read("Household_ID")
    ('工资性收入', '易地搬迁户', 'householdid')
    """
    text = unicodedata.normalize("NFKC", name).strip().casefold()
    text = re.sub(r"[(\[][^()\[\]]*[)\]]$|/[^/]+$", "", text) or text
    return re.sub(r"[\W_]|^是否", "", re.sub(r"^\s*是否", "", text)) or text


@cache
def names() -> Names:
    """The names of `configs/names.yaml`, checked.

    Raises
    ------
    CatalogueError
        If a table, column or unit is not of the contract, or a name would mean two columns of one table.
    """
    file = find_config("names.yaml")
    content: dict[str, Any] = yaml.load(read_config(file), Loader)
    contract = load_contract()
    of_unit = {unit for units in contract.units.values() for unit in units}
    of_table = {name for table in contract.tables for name in destinations(table)}
    for part, known in (("tables", set(contract.tables)), ("columns", of_table), ("units", of_unit)):
        for key in content[part]:
            if key not in known:
                raise CatalogueError(f"{file.name}, {part}: the contract has no {key!r}{meant(str(key), known)}.")
    columns = {name: tuple(map(read, words)) for name, words in content["columns"].items()}
    for table in contract.tables:
        seen: dict[str, str] = {}
        for name, (_, column) in destinations(table).items():
            for word in dict.fromkeys((read(name), read(column.zh), *columns.get(name, ()))):
                if seen.setdefault(word, name) != name:
                    raise CatalogueError(f"{file.name}, columns: {word!r} means {seen[word]} and {name} of {table}.")
    return Names(
        tables=MappingProxyType({read(word): name for name, words in content["tables"].items() for word in words}),
        columns=MappingProxyType(columns),
        units=MappingProxyType({read(word): unit for unit, words in content["units"].items() for word in words}),
    )


def _put_together(sheets: Sequence[Sheet], data: Path) -> tuple[Sheet, ...]:
    """Sheets in the order of the tables; files of the same columns as one, by a pattern that names no other file."""
    order = {name: place for place, name in enumerate(load_contract().tables)}
    groups: dict[tuple, list[Sheet]] = {}
    for sheet in sheets:
        columns = frozenset([*(guess.raw for guess in sheet.mapped), *sheet.left])
        same = (sheet.table, sheet.sheet, sheet.header_row, sheet.files[0].suffix.lower(), columns)
        groups.setdefault(same if sheet.table else (sheet.files[0], sheet.sheet), []).append(sheet)
    found = []
    for group in groups.values():
        files = [file for sheet in group for file in sheet.files]
        relative = [file.resolve().relative_to(data).as_posix() for file in files]
        pattern = relative[0]
        if len(files) > 1:
            head = os.path.commonprefix(relative)
            tail = os.path.commonprefix([name[len(head) :][::-1] for name in relative])[::-1]
            pattern = f"{head}*{tail}"
            if "/" in pattern[len(head) :] or {p.resolve() for p in data.glob(pattern)} != {f.resolve() for f in files}:
                found += [replace(sheet, pattern=name) for sheet, name in zip(group, relative, strict=True)]
                continue
        found.append(replace(group[0], files=tuple(files), pattern=pattern))
    return tuple(sorted(found, key=lambda sheet: (order.get(sheet.table or "", len(order)), bool(sheet.lacking))))


def _try(proposal: Proposal) -> None:
    """Take the files in by the proposal, into a register that is thrown away, and note what to look at."""
    proposed = proposal.proposed
    held = {sheet.table for sheet in proposed}
    for sheet in proposal.sheets:
        if sheet.table is None:
            proposal.doubts.append(f"{sheet.place}: no table of the register is told by the names of its columns.")
        elif sheet.lacking:
            proposal.doubts.append(
                f"{sheet.place}: it looks like {sheet.table}, and no column is told for {_labelled(sheet)}."
            )
        elif sheet not in proposed:
            proposal.doubts.append(f"{sheet.place}: it looks like {sheet.table} too, of which another is proposed.")
    if "records" not in held:
        proposal.refused = "there are no records: one row a household and month, with its income"
        return
    records = next(sheet for sheet in proposed if sheet.table == "records")
    columns = {guess.column.name for guess in records.mapped}
    if not columns & {"welfare", *INCOME}:
        proposal.doubts.append(f"{records.place}: no column is told to be an income.")
    if "known_at" not in columns:
        proposal.doubts.append(
            "records do not say on which day the office knew them: give reporting_lag_days, the days after the end of the "
            "month by which a row is in."
        )
    with tempfile.TemporaryDirectory(prefix="riskmodel-") as scratch:
        mapping, register = Path(scratch) / FILE, Path(scratch) / "register"
        try:
            proposal.trial = _taken_in(proposal, mapping, register)
            if (step := _step(Register.open(register))) in _STEPS:
                proposal.step_months = step
                proposal.trial = _taken_in(proposal, mapping, register)
        except ContractError as fault:
            proposal.refused = str(fault)
            return
        proposal.doubts += _small_amounts(Register.open(register), records)


def _taken_in(proposal: Proposal, mapping: Path, register: Path) -> IntakeReport:
    mapping.write_text(written(proposal), encoding="utf-8")
    return ingest(mapping, proposal.data, register)


def _labelled(sheet: Sheet) -> str:
    table: Table = load_contract().tables[str(sheet.table)]
    return ", ".join(f"{name} ({table.columns[name].zh})" for name in sheet.lacking)


def _step(register: Register) -> int:
    """Months between the periods of the records."""
    files = list(map(str, register.files("records")))
    with duckdb.connect() as connection:
        months = connection.execute(
            "SELECT DISTINCT strftime(month, '%Y-%m') FROM read_parquet(?, hive_partitioning = false) ORDER BY 1", [files]
        ).fetchall()
    numbers = [month_number(month) for (month,) in months]
    return gcd(*(later - before for before, later in zip(numbers, numbers[1:], strict=False))) or 1


def _small_amounts(register: Register, records: Sheet) -> list[str]:
    """Columns of yearly amounts that are hardly in yuan."""
    money = [g for g in records.mapped if g.column.unit == "yuan/12m" and g.column.name in register.columns("records")]
    files = list(map(str, register.files("records")))
    found = []
    with duckdb.connect() as connection:
        for guess in money:
            name = guess.column.name
            middle = connection.execute(
                f"SELECT median({name}) FROM read_parquet(?, hive_partitioning = false) WHERE {name} > 0", [files]
            ).fetchall()[0][0]
            if middle is not None and middle < _FEW_YUAN:
                found.append(
                    f"{name} from {guess.raw}: half of the amounts are below {_FEW_YUAN} yuan a year. Check the "
                    "unit, such as 10k_yuan 万元."
                )
    return found


def written(proposal: Proposal) -> str:
    """The proposal as the text of a source file, with what is not mapped as comments."""
    lines = [
        "# Proposed by the names of columns. Read every line: what a column means, only you know.",
        "# 按列名推荐的映射，请逐行核对：各列的含义只有您清楚。写法见 configs/sources/template.yaml。",
        "",
        f"source: {_quoted(proposal.data.name or 'my_county')}",
        f"step_months: {proposal.step_months}  # months of one period 每期月数",
        "reporting_lag_days: 0  # days from the end of the month until the office knows a row 报送滞后天数",
        "pseudonymised: false  # true: the ids are pseudonyms 编号已假名化",
        "",
        "tables:",
    ]
    proposed = proposal.proposed
    for sheet in proposed:
        table = load_contract().tables[str(sheet.table)]
        lines += ["", f"  {sheet.table}:  # {table.en} {table.zh}", f"    file: {_quoted(sheet.pattern)}"]
        if sheet.sheet is not None:
            lines.append(f"    sheet: {_quoted(sheet.sheet)}")
        if sheet.header_row != 1:
            lines.append(f"    header_row: {sheet.header_row}")
        lines.append("    columns:")
        for guess in sheet.mapped:
            origin = f"{{from: {_quoted(guess.raw)}, unit: {guess.unit}}}" if guess.unit else _quoted(guess.raw)
            lines.append(f"      {guess.column.name}: {origin}  # {guess.column.en} {guess.column.zh}")
        if sheet.left:
            lines.append("      # not mapped 未映射:")
            lines += [f"      #   {_noted(raw, why)}" for raw, why in sheet.left.items()]
    for sheet in proposal.sheets:
        if sheet not in proposed:
            lines += ["", f"  # {sheet.place}: {sheet.table or 'no table of the register'} is not proposed 未推荐"]
            lines += [f"  #   {_noted(guess.raw, f'it may be {guess.column.name}')}" for guess in sheet.mapped]
            lines += [f"  #   {_noted(raw, why)}" for raw, why in sheet.left.items()]
    return "\n".join(lines) + "\n"


def _noted(raw: str, why: str) -> str:
    """A raw column in a comment; in a workbook its name may go over lines."""
    return " ".join(f"{raw}: {why}".split()) if why else " ".join(raw.split())


def _quoted(text: str) -> str:
    """A text as YAML takes it within braces and before a comment."""
    return yaml.safe_dump([text], allow_unicode=True, default_flow_style=True, width=10**6).strip()[1:-1]
