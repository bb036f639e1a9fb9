"""Files of any accepted kind become views in DuckDB, with the file and the row that each line came from.

CSV and Excel are read as text, so that ids keep leading zeros and all their digits; Parquet, DataFrames and tables of a
database keep their types. No message shows a value.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import duckdb

from riskmodel.engine import literal, one_file
from riskmodel.errors import ContractError, NotFound, UsageError, refused_by_disk
from riskmodel.register.clocks import Clock, clock_of, is_moment, zones_in, zones_of
from riskmodel.register.formulas import uncomputed
from riskmodel.register.source import Source, TableSource, columns_read

if TYPE_CHECKING:
    import fastexcel
    import pandas as pd
    import pyarrow as pa

    from riskmodel.register.postgres import Snapshot

FILE, ROW = "__file", "__row"
_KINDS = ("parquet", "csv", "tsv", "xlsx", "xls", "csv.gz", "tsv.gz")
WORKBOOKS = (".xlsx", ".xlsm", ".xls")
_IN_A_CELL = {
    "Div0": "#DIV/0!", "NA": "#N/A", "Name": "#NAME?", "Null": "#NULL!", "Num": "#NUM!", "Ref": "#REF!", "Value": "#VALUE!",
}  # fmt: skip
NO_DATA = ("~$", "._")  # what Excel keeps beside a workbook that is open, and macOS beside every file on a stick
_MOST_LINES_OF_A_HEADER = 100
_TORN = ": the row has more or fewer fields than the header, or a quotation mark that is never closed. Correct the row."
MOST_EXACT = 10**15  # beyond it, a spreadsheet's number has lost digits


@dataclass(frozen=True)
class Raw:
    """A view of what the files of one table hold.

    `columns` maps names to DuckDB types; `labels` are the names of the files in messages; `text` says that
    there are no types, as in CSV and Excel. `clocks` says of columns of points in time how they are read. `parts` is the
    SQL of each file's rows, by its label, `held` its columns with their types, `separators` what stands between its fields,
    where it is a CSV file.
    """

    view: str
    columns: Mapping[str, str]
    files: tuple[Path, ...]
    labels: tuple[str, ...]
    text: bool
    clocks: Mapping[str, Clock] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)
    held: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    separators: Mapping[str, str] = field(default_factory=dict)


class Reader:
    """Opens the files of a source as views on one connection; a file that serves two tables is read once.

    Parameters
    ----------
    connection
        DuckDB connection that holds the views.
    source
        The source; its file names are looked up below `data`.
    data
        A folder, a file, DataFrames by table name, a database, or None for files beside the source.
    scratch
        Directory for transcoded copies, and for what was read from a database.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        source: Source,
        data: Path | Mapping[str, pd.DataFrame] | Snapshot | None,
        scratch: Path,
    ) -> None:
        self.connection = connection
        self.source = source
        self.data = data
        self.scratch = scratch
        self._made: dict[tuple, Raw] = {}
        self._sheets = 0
        self._separators: dict[str, str] = {}

    def open(self, table: TableSource, exact: Callable[[list[str]], list[str]]) -> Raw | None:
        """The raw rows of a table, or None where the data hold nothing for it.

        Parameters
        ----------
        table
            What to read.
        exact
            Given the column names of a spreadsheet, says which of them hold ids.

        Raises
        ------
        ContractError
            If a file is empty, broken, in an unknown encoding, or a spreadsheet stores ids as numbers.
        PermissionError
            If a file or folder may not be read.
        """
        if isinstance(self.data, Mapping):
            frame = self.data.get(table.name)
            return None if frame is None else self._frame(table, frame)
        if self.data is not None and not isinstance(self.data, Path):
            return self._database(self.data, table)
        paths = self._paths(table)
        if not paths:
            return None
        key = (tuple(paths), table.sheet, table.header_row)
        if key not in self._made or paths[0].suffix.lower() in WORKBOOKS:
            self._made[key] = self._view(paths, table, exact)
        return self._made[key]

    def _paths(self, table: TableSource) -> list[Path]:
        data = self.data if isinstance(self.data, Path) else self.source.folder
        if not data.exists():
            raise NotFound(f"{data}: no such file or folder. Check --data.")
        if data.is_file():
            if table.file is None or fnmatch(data.name, Path(table.file).name):
                return [data]
            data = data.parent
        os.listdir(data)  # a pattern finds nothing in a folder that may not be read
        if table.file is not None:
            pattern = Path(table.file)
            try:
                found = pattern.parent.glob(pattern.name) if pattern.is_absolute() else data.glob(table.file)
                return sorted(p for p in found if p.is_file() and not p.name.startswith(NO_DATA))
            except ValueError:
                where = f"{self.source.label}, tables.{table.name}.file"
                raise ContractError(f"{where}: not a pattern of file names. Write such as records*.csv.") from None
        beside = [data / f"{table.name}.{kind}" for kind in _KINDS]
        return [p for p in beside if p.is_file()][:1]

    def _view(self, paths: list[Path], table: TableSource, exact: Callable[[list[str]], list[str]]) -> Raw:
        parts = [self._relation(path, table, exact) for path in paths]
        view = f"raw_{len(self._made)}_{table.name}"
        self.connection.execute(f"CREATE OR REPLACE VIEW {view} AS " + " UNION ALL BY NAME ".join(parts))
        text = all(not _is_parquet(path) for path in paths)
        columns, labels = self._columns(view), tuple(map(self._label, paths))
        zones = {}
        if any(map(is_moment, columns.values())):
            zones = {label: zones_in(path) for label, path in zip(labels, paths, strict=True) if _is_parquet(path)}
        by_file = dict(zip(labels, parts, strict=True))
        held = {label: self._columns(f"(FROM ({part}))") for label, part in by_file.items()}
        separators = {label: self._separators[label] for label in labels if label in self._separators}
        return Raw(view, columns, tuple(paths), labels, text, _clocks(columns, zones), by_file, held, separators)

    def refuse_unreadable(self, raw: Raw) -> None:
        """Name the file whose values cannot be read, or the columns that its files hold as different types.

        Raises
        ------
        ContractError
            If there is such a file or column.
        """
        for label, part in raw.parts.items():
            try:
                self.connection.execute(f"SELECT bit_xor(hash(one)) FROM ({part}) AS one").fetchall()
            except duckdb.Error as fault:
                if refused_by_disk(fault):
                    raise
                raise ContractError(
                    f"{label}: the file is damaged, some of its values cannot be read. Write it again."
                ) from None
        for name in raw.columns:
            kinds = list(dict.fromkeys(columns[name] for columns in raw.held.values() if name in columns))
            if len(kinds) > 1:
                raise ContractError(
                    f"{', '.join(raw.labels[:3])}, column {name}: the files hold it as {' and as '.join(kinds)}. "
                    "Store it alike in all of them."
                )

    def _relation(self, path: Path, table: TableSource, exact: Callable[[list[str]], list[str]]) -> str:
        with path.open("rb") as file:  # a reader would say of a file that may not be read that it is damaged
            if not file.read(1):
                raise ContractError(f"{path.name}: the file is empty.")
        match path.with_suffix("").suffix.lower() + ".gz" if path.suffix.lower() == ".gz" else path.suffix.lower():
            case ".parquet":
                return self._parquet(path, self._label(path), table)
            case suffix if suffix in WORKBOOKS:
                return self._excel(path, table, exact)
            case ".csv" | ".tsv" | ".txt" | ".csv.gz" | ".tsv.gz" | ".txt.gz":
                return self._csv(path, table)
            case ".ods" | ".et" | ".xlsb" | ".numbers":  # an error in an .ods cannot be told from a blank
                raise ContractError(f"{path.name}: a spreadsheet of a kind that is not read. Save it as .xlsx.")
        raise ContractError(f"{path.name}: unknown kind of file. Use csv, tsv (also .gz), parquet, xlsx or xls.")

    def _label(self, path: Path) -> str:
        folder = self.data if isinstance(self.data, Path) and self.data.is_dir() else path.parent
        return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name

    def _columns(self, view: str) -> dict[str, str]:
        rows = self.connection.execute(f"DESCRIBE {view}").fetchall()
        return {name: kind for name, kind, *_ in rows if name not in (FILE, ROW)}

    def _parquet(self, path: Path, label: str, table: TableSource) -> str:
        import pyarrow as pa
        import pyarrow.parquet as pq

        relation = f"read_parquet({one_file(path)}, file_row_number = true, hive_partitioning = false)"
        try:
            _told_apart(pq.read_schema(path).names, label, table)
            self.connection.execute(f"SELECT * FROM {relation} LIMIT 0").fetchall()
        except (duckdb.Error, pa.ArrowException, OSError):
            raise ContractError(f"{path.name}: not a readable Parquet file.") from None
        return (
            f"SELECT {literal(label)} AS {FILE}, file_row_number + 1 AS {ROW}, * EXCLUDE (file_row_number) FROM {relation}"
        )

    def _csv(self, path: Path, table: TableSource) -> str:
        readable, label, header_row = self._as_utf8(path), self._label(path), table.header_row
        if _counted_otherwise(readable):
            readable = self._with_one_line_end(readable)
        names, separator = _csv_header(readable, path, header_row)
        names = _told_apart(names, label, table)
        self._separators[label] = separator
        filled = ", ".join(identifier(name) for name in names)
        rows = f"SELECT * FROM {_read_csv(readable, names, separator, header_row)}"
        number = f"row_number() OVER () + {header_row}"
        if self._counted(rows) != _lines(readable) - header_row:  # some lines are blank, torn, or parts of a row
            copy = self._scratch_file()
            _write_numbered(readable, path.name, len(names), separator, header_row, copy)
            rows, number = f"SELECT * FROM {_read_csv(copy, [ROW, *names], ',', 0)}", f"CAST({ROW} AS BIGINT)"
            if self._counted(rows) is None:
                raise ContractError(f"{path.name}{_TORN}")
        return (
            f"SELECT {literal(label)} AS {FILE}, * FROM (SELECT {number} AS {ROW}, {filled} FROM ({rows})) "
            f"WHERE coalesce({filled}) IS NOT NULL"
        )

    def _counted(self, rows: str) -> int | None:
        """How many rows there are; None where one cannot be read."""
        try:
            return self.connection.execute(f"SELECT count(*) FROM ({rows})").fetchall()[0][0]
        except duckdb.Error:
            return None

    def _with_one_line_end(self, readable: Path) -> Path:
        """A copy; a file may be put together from several, and Excel breaks lines within a cell otherwise than rows."""
        copy = self._scratch_file()
        with readable.open(encoding="utf-8-sig") as lines, copy.open("w", encoding="utf-8", newline="\n") as file:
            shutil.copyfileobj(lines, file, 1 << 20)
        return copy

    def _as_utf8(self, path: Path) -> Path:
        """The file itself where it is UTF-8, else an unpacked or transcoded copy."""
        encoding = self.source.encoding.lower().replace("_", "-")
        name, path = path.name, self._unpacked(path)
        with path.open("rb") as file:
            start = file.read(4)
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            candidates = ["utf-16"]
        else:
            candidates = ["utf-8", "gb18030"] if encoding == "auto" else [encoding]
        for candidate in candidates:
            if candidate in ("utf-8", "utf-8-sig", "utf8"):
                if None not in _decoded(path, "utf-8"):
                    return path
                continue
            copy = self._scratch_file()
            if _transcode(path, candidate, copy):
                return copy
        raise ContractError(
            f"{name}: its text is not {' or '.join(c.upper() for c in candidates)}, or it holds zero bytes. "
            "Save it as UTF-8, or name the encoding in the source."
        )

    def _scratch_file(self) -> Path:
        return self.scratch / f"{len(list(self.scratch.iterdir()))}.csv"

    def _unpacked(self, path: Path) -> Path:
        """The file itself, or what a .gz holds."""
        if path.suffix.lower() != ".gz":
            return path
        copy = self._scratch_file()
        try:
            with gzip.open(path) as packed, copy.open("wb") as file:
                shutil.copyfileobj(packed, file, 1 << 20)
        except (gzip.BadGzipFile, EOFError, zlib.error):
            raise ContractError(f"{path.name}: not a readable gzip file, or cut short. Pack it again.") from None
        return copy

    def _excel(self, path: Path, table: TableSource, exact: Callable[[list[str]], list[str]]) -> str:
        import fastexcel

        book = open_workbook(path)
        if table.sheet is not None and table.sheet not in book.sheet_names:
            raise ContractError(f"{path.name}: it has no sheet {table.sheet!r}. Its sheets: {', '.join(book.sheet_names)}.")
        sheet = table.sheet if table.sheet is not None else 0
        no_rows = (
            f"{path.name}: the sheet is empty or damaged, or has no row {table.header_row}, where its header should be."
        )
        place = {"header_row": table.header_row - 1, "schema_sample_rows": None}
        try:
            loaded = book.load_sheet(sheet, dtypes="string", **place)
            rows = _with_errors(*loaded.to_arrow_with_errors())
        except fastexcel.FastExcelError:
            raise ContractError(no_rows) from None
        given = rows.column_names
        if not given:
            raise ContractError(no_rows)
        if any(name.rsplit("_", 1)[0] in given for name in given if "_" in name):  # how the reader tells twins apart
            above = {**place, "header_row": None, "skip_rows": table.header_row - 1}
            header = book.load_sheet(sheet, dtypes="string", n_rows=1, **above).to_arrow().slice(0, 1).to_pylist()
            _told_apart([name or "" for name in header[0].values()] if header else [], self._label(path), table)
        rows = rows.rename_columns(_told_apart([name.strip() for name in given], self._label(path), table))
        places = {c.absolute_index: name for c, name in zip(loaded.selected_columns, rows.column_names, strict=True)}
        _refuse_uncomputed(path, loaded.name, places, table)
        as_given = dict(zip(rows.column_names, given, strict=True))
        for name in exact(rows.column_names):
            try:
                alone = book.load_sheet(sheet, use_columns=[as_given[name]], dtype_coercion="strict", **place).to_arrow()
            except fastexcel.FastExcelError:
                raise ContractError(
                    f"{path.name}, column {name}: some ids are stored as numbers and some as text, so that "
                    "leading zeros may be lost. Store the whole column as text."
                ) from None
            values = alone.column(0)
            if str(values.type) in ("double", "int64") and any(
                v is not None and abs(v) >= MOST_EXACT for v in values.to_pylist()
            ):
                raise ContractError(
                    f"{path.name}, column {name}: ids of more than 15 digits are stored as numbers, and the "
                    "last digits are lost. Store the column as text and enter the ids again."
                )
        self._sheets += 1
        name = f"sheet_{self._sheets}_{table.name}"
        return self._arrow(name, self._label(path), rows, first_row=table.header_row + 1)

    def _database(self, snapshot: Snapshot, table: TableSource) -> Raw | None:
        """A copy, in Parquet, of the columns that the source maps; no other leaves the database."""
        place = (table.table or table.name) if table.query is None else None
        columns = snapshot.columns(place, table.query)
        if columns is None:
            return None
        wanted = _wanted(table, columns)
        chosen = {name: kind for name, kind in columns.items() if name in wanted}
        path = self.scratch / f"{table.name}.parquet"
        view, label = f"raw_{table.name}", place or f"query of {table.name}"
        if chosen:
            snapshot.copy(place, table.query, chosen, path)
            self.connection.execute(f"CREATE OR REPLACE VIEW {view} AS {self._parquet(path, label, table)}")
        return Raw(view, columns, (path,), (label,), text=False)

    def _frame(self, table: TableSource, frame: pd.DataFrame) -> Raw:
        import pandas as pd
        import pyarrow as pa

        name, label = table.name, f"DataFrame {table.name}"
        if not isinstance(frame, pd.DataFrame):
            raise UsageError(
                f"{label}: the data are a {type(frame).__name__}. Give a DataFrame, or the path of a file or folder."
            )
        names = _told_apart([str(column) for column in frame.columns], label, table)
        columns = []
        for place in range(frame.shape[1]):
            column = frame.iloc[:, place]
            if isinstance(column.dtype, pd.PeriodDtype):
                column = column.dt.start_time
            elif column.dtype == "float16":  # which DuckDB does not know
                column = column.astype("float32")
            try:
                columns.append(pa.array(column, from_pandas=True))
            except (pa.ArrowException, OverflowError):  # values of several types: read them as text
                columns.append(pa.array([_typed(value) for value in column], pa.string()))
        rows = pa.table(columns, names=names)
        view = f"raw_{name}"
        select = self._arrow(f"frame_{name}", label, rows, first_row=1)
        self.connection.execute(f"CREATE OR REPLACE VIEW {view} AS {select}")
        held = self._columns(view)
        return Raw(view, held, (), (), text=False, clocks=_clocks(held, {label: zones_of(rows.schema)}))

    def _arrow(self, name: str, label: str, rows: pa.Table, first_row: int) -> str:
        import pyarrow as pa

        numbered = rows.append_column(ROW, pa.array(range(first_row, first_row + rows.num_rows), pa.int64()))
        self.connection.register(name, numbered)
        filled = ", ".join(identifier(c) for c in rows.column_names) or "NULL"
        blank = f"coalesce({', '.join(f'CAST({identifier(c)} AS VARCHAR)' for c in rows.column_names) or 'NULL'})"
        return f"SELECT {literal(label)} AS {FILE}, {ROW}, {filled} FROM {identifier(name)} WHERE {blank} IS NOT NULL"


def open_workbook(path: Path) -> fastexcel.ExcelReader:
    """A spreadsheet, to load its sheets from.

    Raises
    ------
    ContractError
        If it cannot be read.
    """
    import fastexcel

    try:
        return fastexcel.read_excel(path)
    except fastexcel.FastExcelError:
        raise ContractError(f"{path.name}: not a readable Excel workbook ({path.suffix}).") from None


def identifier(name: str) -> str:
    """A name as SQL writes it.

    >>> identifier('户"编号')
    '"户""编号"'
    """
    return '"' + name.replace('"', '""') + '"'


def _typed(value: object) -> str | None:
    """A value as a person would have typed it; None where there is none."""
    import pandas as pd

    if pd.api.types.is_scalar(value) and pd.isna(value):
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < MOST_EXACT else str(value)


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() == ".parquet"


def _clocks(columns: Mapping[str, str], zones: Mapping[str, Mapping[str, str | None]]) -> dict[str, Clock]:
    """How columns of points in time are read, given the zone of each by file."""
    return {
        name: clock_of(identifier(name), FILE, {label: of[name] for label, of in zones.items() if name in of})
        for name, kind in columns.items()
        if is_moment(kind)
    }


def _decoded(path: Path, encoding: str) -> Iterator[str | None]:
    """Chunks of text; None where the bytes are not in that encoding, or are zero: UTF-16 without its mark, or no text."""
    decoder = codecs.getincrementaldecoder(encoding)()
    with path.open("rb") as file:
        while True:
            chunk = file.read(1 << 20)
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError:
                text = None
            yield None if text is None or "\0" in text else text
            if text is None:
                return
            if not chunk:
                return


def _transcode(path: Path, encoding: str, copy: Path) -> bool:
    """Write a UTF-8 copy; False where the bytes are not in that encoding."""
    with copy.open("w", encoding="utf-8", newline="") as file:
        for chunk in _decoded(path, encoding):
            if chunk is None:
                return False
            file.write(chunk)
    return True


def _counted_otherwise(path: Path) -> bool:
    """Whether DuckDB would skip or lose rows and say nothing: lines end in several ways, or a mark hides a quotation."""
    returns = ends = both = 0
    with path.open("rb") as file:
        if file.read(4) == codecs.BOM_UTF8 + b'"':
            return True
        file.seek(0)
        while chunk := file.read(1 << 20):
            returns, ends, both = returns + chunk.count(b"\r"), ends + chunk.count(b"\n"), both + chunk.count(b"\r\n")
    return returns > 0 and ends > 0 and not returns == ends == both


def _lines(path: Path) -> int:
    """Lines of a file whose lines end in one way, without blank ones at its end."""
    ends, last = 0, b""
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            ends += max(chunk.count(b"\n"), chunk.count(b"\r"))
            last = (last + chunk)[-1024:]
    trailing = last[len(last.rstrip(b"\r\n")) :]
    return ends + 1 - max(trailing.count(b"\n"), trailing.count(b"\r"))


def _read_csv(path: Path, names: list[str], separator: str, skip: int) -> str:
    """The rows of a CSV file as DuckDB reads them, all as text."""
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
    return (
        f"read_csv({one_file(path)}, columns = {{{columns}}}, header = false, hive_partitioning = false, "
        f"skip = {skip}, auto_detect = false, delim = {literal(separator)}, nullstr = '', "
        "quote = '\"', escape = '\"', strict_mode = true, null_padding = false, max_line_size = 16777216)"
    )


def _write_numbered(path: Path, name: str, width: int, separator: str, header_row: int, copy: Path) -> None:
    """Write the rows below the header with the line on which each begins before it, blank lines left out.

    Raises
    ------
    ContractError
        If a row has more or fewer fields than the header; names its line.
    """
    csv.field_size_limit(1 << 24)
    with path.open(encoding="utf-8-sig", newline="") as file, copy.open("w", encoding="utf-8", newline="") as numbered:
        rows = csv.reader(file, delimiter=separator, strict=True)
        writer = csv.writer(numbered, lineterminator="\n")
        line, number = 1, 0
        try:
            for number, row in enumerate(rows, 1):
                if number > header_row and row:
                    if len(row) != width:
                        raise ContractError(f"{name}, row {line:,}{_TORN}")
                    writer.writerow([line, *row])
                line = rows.line_num + 1
        except csv.Error:
            raise ContractError(f"{name}, row {line:,}{_TORN}") from None


def _csv_header(readable: Path, path: Path, header_row: int) -> tuple[list[str], str]:
    """Names of the columns and the delimiter; in quotation marks a name may go over lines, as in Excel."""
    names, delimiter = [], ","
    for candidate in (",", "\t", ";"):
        with readable.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(islice(file, header_row + _MOST_LINES_OF_A_HEADER), delimiter=candidate)
            try:
                found = next(islice(rows, header_row - 1, None), [])
            except csv.Error:
                continue
        if len(found) > len(names):
            names, delimiter = [name.strip() for name in found], candidate
    if not any(names):
        raise ContractError(f"{path.name}, row {header_row}: the file is empty, or its header is missing.")
    return names, delimiter


def _with_errors(rows: pa.RecordBatch, errors: fastexcel.CellErrors | None) -> pa.RecordBatch:
    """A sheet with its errors as the texts that people see in the cells; the reader leaves the cells empty."""
    import pyarrow as pa

    by_column: dict[int, dict[int, str]] = {}
    for error in errors.errors if errors else ():
        row, column = error.offset_position
        kind = re.search(r"Error\((\w+)\)", error.detail)
        by_column.setdefault(column, {})[row] = _IN_A_CELL.get(kind[1] if kind else "", "#ERROR!")
    for column, texts in by_column.items():
        values = rows.column(column).to_pylist()
        for row, text in texts.items():
            values[row] = text
        rows = rows.set_column(column, rows.schema.names[column], pa.array(values, pa.string()))
    return rows


def _wanted(table: TableSource, columns: Iterable[str]) -> set[str]:
    """Of the columns of a file those that the source maps or its filter reads."""
    return {name for f in table.resolved(columns) for name in f.reads} | set(columns_read(table.where or "1"))


def _refuse_uncomputed(path: Path, sheet: str, places: Mapping[int, str], table: TableSource) -> None:
    """Name the first formula below a header that no spreadsheet has computed, in a column that is wanted.

    Raises
    ------
    ContractError
        If there is one: it would read as unknown.
    """
    wanted = {name.casefold() for name in _wanted(table, list(places.values()))}
    read = {place: name for place, name in places.items() if name.casefold() in wanted}
    try:
        found = next((c for c in uncomputed(path, sheet) if c[0] in read and c[1] > table.header_row), None)
    except (ElementTree.ParseError, zipfile.BadZipFile, zlib.error):
        raise ContractError(f"{path.name}: the workbook is damaged. Save it again.") from None
    if found is not None:
        raise ContractError(
            f"{path.name}, sheet {sheet}, column {read[found[0]]}, row {found[1]:,}: a formula that was never computed, "
            "as a program writes it, so that the cell holds no value. Open the workbook in Excel, WPS or LibreOffice, save "
            "it there, and take it in again."
        )


def _told_apart(names: list[str], label: str, table: TableSource) -> list[str]:
    """Names for the columns of a file, no two alike in whatever case; those without one are called by their place.

    Raises
    ------
    ContractError
        If the source reads a name that two columns bear, or one that reading itself needs.
    """
    names = [name or f"column_{place}" for place, name in enumerate(names, 1)]
    read = {name.casefold() for f in table.resolved(names) for name in f.reads}
    unique: dict[str, str] = {}
    for place, name in enumerate(names, 1):
        own = name
        if (twin := unique.get(name.casefold())) is not None:
            if name.casefold() in read:
                also = f"two columns are called {name!r}" if twin == name else f"{twin!r} and {name!r} differ in case alone"
                raise ContractError(f"{label}: {also}. Rename one.")
            own = f"{name} (column {place})"
        unique[own.casefold()] = own
    if taken := {FILE, ROW, "file_row_number"} & unique.keys():
        raise ContractError(f"{label}: a column is called {taken.pop()!r}, which is kept for reading. Rename it.")
    return list(unique.values())
