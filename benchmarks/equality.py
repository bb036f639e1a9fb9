"""Whether a month is the same to the last bit however the work is cut: whole, in blocks, among workers, on Spark, alone.

    python benchmarks/equality.py --households 300000 [--all-tables] [--json FILE] [--data FOLDER]

Makes a register of six unequal counties (`national.py`; with `--all-tables` copies of simulated counties, which have help,
visits, projects and monitoring spells too, and a record in thirty corrected later: `county_copies.py`) and a model of 500
trees on the shipped catalogue, with peers and intervals, and scores the last month by `riskmodel score`: in one, two and
four processes with other blocks, each county at once, on a standalone Spark cluster of two workers (files sent, or read
there), and a county whose register holds no other. Every column of every table is compared bit by bit, every other file
byte by byte, and what `riskmodel explain` prints. Needs `pip install 'household-riskmodel[spark]'` and Java 17. With fewer
than 42,000 households no pool of processes is used.

Then counties are taken apart. The largest is cut at the borders of its villages: every feature but those that reach over the
county. Households of a sample stand in a register that holds each alone: every feature but those that reach over others.
Each is asked for alone, and its risk, drivers, verdict, measures and words are found from its row alone: every column but
rank and action, which belong to the list. Ends with exit code 1 where anything differs.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import county_copies
import national
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from figures import tell
from scale import AS_OF, MONTH_NO, machine, train

from riskmodel.alerts.alerts import explain_alerts
from riskmodel.alerts.month import TABLES, tables_of
from riskmodel.alerts.scoring import INTERVAL_COLUMNS, Scores
from riskmodel.catalogue import Catalogue, Feature
from riskmodel.cohort.features import BLOCK, available_in, county_blocks
from riskmodel.explain.margins import risks
from riskmodel.model.bundle import RiskModel
from riskmodel.model.intervals import VennAbers
from riskmodel.model.peers import Peers
from riskmodel.register import Register, commit_directory, read_manifest
from riskmodel.register.store import table_file

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.alerts.cluster import cluster, environment  # noqa: E402

SHARES = (0.4, 0.25, 0.15, 0.1, 0.07, 0.03)
CAPACITY = "5%"
SAMPLE = 200
PARTS = 3
EXPLAINED = 3
COPIES, REVISED = 40, 1 / 30
OF_THE_LIST = ("rank", "action")
Differences = dict[str, int]
"""Rows that differ, by column; a column that is missing, or of another type or length, differs in all rows."""


def differences(one: pa.Table, other: pa.Table) -> Differences:
    """Where two tables differ: in the bits of numbers (a NaN is a NaN), in texts, in what is null, in type or length."""
    found = {}
    for name in dict.fromkeys((*one.column_names, *other.column_names)):
        alike = name in one.column_names and name in other.column_names and len(one) == len(other)
        if alike and one[name].type == other[name].type:
            found[name] = _rows_that_differ(one[name].combine_chunks(), other[name].combine_chunks())
        else:
            found[name] = max(len(one), len(other), 1)
    return found


def _rows_that_differ(one: pa.Array, other: pa.Array) -> int:
    nulls = [np.asarray(side.is_null()) for side in (one, other)]
    if pa.types.is_floating(one.type):
        numbers = [side.to_numpy(zero_copy_only=False) for side in (one, other)]
        bits = [np.where(np.isnan(n), np.array(np.nan, n.dtype), n).view(f"u{n.dtype.itemsize}") for n in numbers]
        values = bits[0] != bits[1]
    else:
        values = np.asarray(pc.fill_null(pc.not_equal(one, other), False))
    return int(((nulls[0] != nulls[1]) | (values & ~nulls[0])).sum())


def months_differ(one: Path, other: Path) -> Differences:
    """Where two scored months differ: columns as `table.column`, other files by their bytes, manifests but for the time.

    Manifests hold the hash of every file, so that months without a difference are the same bytes.
    """
    found: Differences = {}
    manifests = [read_manifest(folder, kind="scores") for folder in (one, other)]
    for name in sorted(set(manifests[0]["files"]) | set(manifests[1]["files"])):
        there = [name in manifest["files"] for manifest in manifests]
        if not all(there):
            found[name] = 1
        elif name.endswith(".parquet"):
            tables = [pq.read_table(folder / name, partitioning=None) for folder in (one, other)]
            found |= {f"{Path(name).stem}.{column}": rows for column, rows in differences(*tables).items()}
        else:
            found[name] = int((one / name).read_bytes() != (other / name).read_bytes())
    one_says, other_says = (manifest | {"created_at": ""} for manifest in manifests)
    return found | {"manifest": int(one_says != other_says)}


def rows_of(table: pa.Table, column: str, values: Sequence[str]) -> pa.Table:
    """Rows of a table with some values in a column, in the table's order."""
    return table.filter(pc.is_in(table[column], pa.array(values, table[column].type)))


def cut(register: Register, out: Path, parts: Mapping[str, tuple[str, Sequence[str] | None]]) -> Register:
    """A register whose counties are parts of those of another.

    Parameters
    ----------
    parts
        By the name of the new county, the county it is taken from and the ids of its households, None for all.
    """
    wanted: dict[str, list[str]] = {}
    for name, (county, _) in parts.items():
        wanted.setdefault(county, []).append(name)

    def write(stage: Path) -> None:
        for table in register.tables:
            (stage / "tables" / table).mkdir(parents=True)
        for county, names in wanted.items():
            tables = {t: pq.read_table(f, partitioning=None) for t in register.tables if (f := register.file(t, county))}
            if all(parts[name][1] is not None for name in names):
                tables = part_of(tables, [household for name in names for household in parts[name][1]])
            for name in names:
                chosen = parts[name][1]
                for table, part in (tables if chosen is None else part_of(tables, chosen)).items():
                    if len(part):
                        pq.write_table(part, stage / table_file(table, name), compression="zstd")

    about = register.manifest["about"] | {"counties": sorted(parts), "counts": {}}
    commit_directory(out, write, kind="register", about=about)
    return Register.open(out)


def part_of(tables: Mapping[str, pa.Table], households: Sequence[str]) -> dict[str, pa.Table]:
    """What the tables of a county hold of some households: their rows, and those of their villages and projects."""
    here = rows_of(tables["households"], "household_id", households)
    known = {"household_id": households, "village_id": pc.unique(here["village_id"]).to_pylist()}
    if "household_projects" in tables:
        links = rows_of(tables["household_projects"], "household_id", households)
        known["project_id"] = pc.unique(links["project_id"]).to_pylist()

    def own(rows: pa.Table) -> pa.Table:
        """Rows of the households; of what belongs to none, those of their villages and projects; of all, every row."""
        among = {
            name: pc.is_in(rows[name], pa.array(ids, pa.string()))
            for name, ids in known.items()
            if name in rows.column_names
        }
        kept = among.pop("household_id", None)
        of_none = pc.is_null(rows["household_id"]) if kept is not None else True
        for other in among.values():
            other = pc.and_(other, of_none)
            kept = other if kept is None else pc.or_(kept, other)
        return rows if kept is None else rows.filter(kept)

    return {table: own(rows) for table, rows in tables.items()}


def features_of(
    register: Register, county: str, catalogue: Catalogue, block: int = BLOCK, households: Sequence[str] | None = None
) -> pa.Table:
    """Features of a county at the scored month."""
    given, _ = available_in(register, catalogue)
    asked = None if households is None else pa.array(households, pa.string())
    frames = list(county_blocks(register, county, [MONTH_NO], given, block, households=asked))
    return pa.Table.from_pandas(pd.concat(frames, ignore_index=True), preserve_index=False)


def reaching_over(features: Sequence[Feature], over: set[str]) -> set[str]:
    """Features that are averages over all households of an area, and those that are computed from such."""
    found: set[str] = set()
    for feature in features:  # in the order of computation
        if feature.over in over or found & feature.needs:
            found.add(feature.name)
    return found


def complete(register: Register, folder: Path) -> RiskModel:
    """The model of `scale.py` with peers and intervals, so that no column of an alert is empty for want of them."""
    model = RiskModel.load(folder)
    given, _ = available_in(register, model.catalogue)
    blocks = county_blocks(register, register.counties[0], [MONTH_NO - 6], given)
    frame = pd.concat(list(blocks), ignore_index=True).head(40_000)
    risk = risks(model, frame)
    fell = np.random.default_rng(1).random(len(risk)) < risk
    ids = frame["household_id"].to_numpy()
    model = replace(model, peers=Peers.fit(model.catalogue, frame, ids), intervals=VennAbers.fit(risk, fell, ids))
    model.save(folder)
    return RiskModel.load(folder)


def alone(model: RiskModel, row: pd.DataFrame, county: str) -> dict[str, pa.Table]:
    """The tables of a month of one household, found from its row of features alone."""
    risk = risks(model, row)
    frame = row[["household_id"]].assign(
        county_id=county, as_of=AS_OF, risk=risk, rank=1, model_version=model.version,
        **dict(zip(INTERVAL_COLUMNS, model.interval_of(risk).to_numpy().T, strict=True)),
    )  # fmt: skip
    scores = Scores(
        frame=frame, features=row, kept=np.zeros(1, np.int64), places=row[["township_id", "village_id"]],
        by_hand=row.iloc[:0][["household_id"]], model=model, available=(), lacking={},
    )  # fmt: skip
    found = tables_of(scores, explain_alerts(scores, 1))
    return {name: pa.Table.from_pandas(found[name], preserve_index=False) for name in ("scores", "alerts", "drivers")}


class Month:
    """A scored month as tables, by household."""

    def __init__(self, folder: Path) -> None:
        self.tables = {name: pq.read_table(folder / f"{name}.parquet", partitioning=None) for name in TABLES}

    def of(self, name: str, households: Sequence[str]) -> pa.Table:
        return rows_of(self.tables[name], "household_id", households)

    def sample(self, county: str, size: int, rng: np.random.Generator) -> tuple[list[str], list[str]]:
        """Households of a county, half on its list and half beyond."""
        here = pc.field("county_id") == county
        listed = self.tables["alerts"].filter(here)["household_id"].to_numpy()
        scored = self.tables["scores"].filter(here)["household_id"].to_numpy()
        beyond = scored[~np.isin(scored, listed)]
        halves = (listed, size // 2), (beyond, size - size // 2)
        return tuple(sorted(rng.choice(ids, min(len(ids), most), replace=False)) for ids, most in halves)


def add(total: Differences, found: Differences) -> None:
    for name, rows in found.items():
        total[name] = total.get(name, 0) + rows


def county_cut_at_villages(register: Register, catalogue: Catalogue, folder: Path) -> Differences:
    """The largest county in parts of whole villages, against it whole: features that do not reach over the county."""
    county = register.counties[0]
    households = pq.read_table(register.file("households", county), columns=["household_id", "village_id"])
    villages = pc.unique(households["village_id"]).to_pylist()
    parts = [list(part) for part in np.array_split(np.array(villages), PARTS)]
    ids = [rows_of(households, "village_id", part)["household_id"].to_pylist() for part in parts]
    apart = cut(register, folder, {f"{county}-{number}": (county, part) for number, part in enumerate(ids)})
    given, _ = available_in(register, catalogue)
    whole = features_of(register, county, catalogue)
    own = [name for name in whole.column_names if name not in reaching_over(given, {"county_id"})]
    pieces = pa.concat_tables([features_of(apart, part, catalogue) for part in apart.counties])
    return differences(whole.select(own), pieces.select(own))


def households_alone(register: Register, model: RiskModel, month: Month, folder: Path, size: int) -> dict[str, Differences]:
    """Households of a sample against their county: in a register of their own, asked for alone, and judged alone.

    First the county's features, as they are held against here, against those that the month has kept.
    """
    rng = np.random.default_rng(7)
    given, _ = available_in(register, model.catalogue)
    shared = reaching_over(given, {f.over for f in given if f.over})
    drawn = {
        county: month.sample(county, len(part), rng)
        for county, part in zip(register.counties, np.array_split(np.arange(size), len(register.counties)), strict=True)
    }
    of = {household: county for county, both in drawn.items() for ids in both for household in ids}
    lonely = cut(register, folder, {household: (county, [household]) for household, county in of.items()})
    found: dict[str, Differences] = {"kept_features": {}, "own_register": {}, "asked_alone": {}, "judged_alone": {}}
    for county, (listed, beyond) in drawn.items():
        whole = features_of(register, county, model.catalogue)
        kept = month.of("features", listed)
        among = [name for name in whole.column_names if name in kept.column_names]
        kept, given_there = kept.select(among), rows_of(whole, "household_id", listed).select(among)
        kept, given_there = (side.sort_by("household_id") for side in (kept, given_there.cast(kept.schema)))
        add(found["kept_features"], differences(kept, given_there))
        for household in (*listed, *beyond):
            row = rows_of(whole, "household_id", [household])
            own = [name for name in row.column_names if name not in shared]
            there = features_of(lonely, household, model.catalogue)
            add(found["own_register"], differences(row.select(own), there.select(own)))
            asked = features_of(register, county, model.catalogue, households=[household])
            add(found["asked_alone"], differences(row, asked))
            for name, table in alone(model, row.to_pandas(), county).items():
                expected = month.of(name, [household])
                if name != "scores" and household in beyond:
                    continue
                columns = [column for column in expected.column_names if column not in OF_THE_LIST]
                expected = expected.select(columns)
                got = table.select(columns).cast(expected.schema)
                add(found["judged_alone"], {f"{name}.{c}": n for c, n in differences(expected, got).items()})
    return found


def county_alone(register: Register, model: Path, month: Month, folder: Path) -> Differences:
    """A county whose register holds no other, scored by the command, against its rows of the month."""
    county = register.counties[2]
    single = cut(register, folder / "register", {county: (county, None)})
    score(single.path, model, folder / "out")
    here = {name: table.filter(pc.field("county_id") == county) for name, table in month.tables.items() if name != "drivers"}
    here["drivers"] = month.of("drivers", here["alerts"]["household_id"].to_pylist())
    there = Month(folder / "out").tables
    found = {name: differences(table, there[name]) for name, table in here.items()}
    return {f"{name}.{column}": rows for name, columns in found.items() for column, rows in columns.items()}


def score(register: Path | str, model: Path, out: Path, *how: str, env: dict[str, str] | None = None) -> None:
    """`riskmodel score` in a process of its own."""
    command = [sys.executable, "-m", "riskmodel.cli", "score", str(register), "--model", str(model), "--as-of", AS_OF]
    command += ["--out", str(out), "--capacity", CAPACITY, *how]
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    if done.returncode:
        raise SystemExit(f"riskmodel score {' '.join(how)}: exit code {done.returncode}\n{done.stderr[-4000:]}")


def told(folder: Path, household: str) -> str:
    """What `riskmodel explain` prints of a household, without the folder's name."""
    command = [sys.executable, "-m", "riskmodel.cli", "explain", str(folder), "--household", household]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.replace(str(folder), "")


def explanations_differ(one: Path, other: Path) -> Differences:
    """Whether `riskmodel explain` prints and draws the same of some alerts of two months."""
    ids = pq.read_table(one / "alerts.parquet", columns=["household_id"])["household_id"].to_pylist()
    found = {f"alert {n}": int(told(one, i) != told(other, i)) for n, i in enumerate(ids[:: -(-len(ids) // EXPLAINED)])}
    drawn = [{file.name: file.read_bytes() for file in (folder / "explain").iterdir()} for folder in (one, other)]
    return found | {"waterfalls": int(drawn[0] != drawn[1])}


class Compared:
    """What was compared in which way, how long it took, and where it differed."""

    def __init__(self) -> None:
        self.ways: dict[str, Differences] = {}
        self.took: dict[str, float] = {}

    @contextmanager
    def timed(self, way: str) -> Iterator[None]:
        """Take the seconds of a way, and the CPU seconds of the processes that it started and waited for."""
        start, before = time.perf_counter(), cpu_seconds()
        yield
        self.took |= {f"{way}_s": time.perf_counter() - start, f"{way}_cpu_s": cpu_seconds() - before}

    def keep(self, way: str, where: Differences) -> None:
        self.ways[way] = where
        differing = {name: rows for name, rows in where.items() if rows}
        print(f"{way}: {len(where)} compared, differing: {differing or 'none'}", file=sys.stderr, flush=True)

    def figures(self) -> dict[str, Any]:
        """Flat, with the sum of all differences."""
        found: dict[str, Any] = {name: round(seconds, 1) for name, seconds in self.took.items()}
        for way, where in self.ways.items():
            found |= {f"{way}_compared": len(where), f"{way}_differences": sum(where.values())}
        return found | {"differences": sum(sum(where.values()) for where in self.ways.values())}


def cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def make_register(folder: Path, sizes: Sequence[int], all_tables: bool) -> Register:
    """Counties of about these sizes; with all tables of copies of four pieces, of which the largest county has forty."""
    if not all_tables:
        national.make_register(folder / "register", sizes)
        return Register.open(folder / "register")
    parts = county_copies.pieces(folder, national.MONTHS, max(sizes) // COPIES, first_month=f"{national.FIRST_YEAR}-01")
    size = sum(map(county_copies.count, parts)) / len(parts)
    return county_copies.copied(folder / "register", parts, [max(1, round(n / size)) for n in sizes], REVISED)


def measure(households: int, data: Path | None, sample: int, all_tables: bool) -> dict[str, Any]:
    """All figures, flat."""
    sizes = [round(households * share) for share in SHARES]
    compared = Compared()
    with tempfile.TemporaryDirectory(prefix="equality-", dir=data) as name:
        folder = Path(name)
        first, bundle = folder / "one_process", folder / "model"
        register = make_register(folder, sizes, all_tables)
        train(register.path, bundle)
        model = complete(register, bundle)
        with compared.timed("one_process"):
            score(register.path, bundle, first, "--workers", "1")
        for way, how in {
            "two_processes": ("--workers", "2", "--block", "7001"),
            "four_processes": ("--workers", "4", "--block", "1009"),
            "county_at_once": ("--workers", "1", "--block", str(households)),
        }.items():
            with compared.timed(way):
                score(register.path, bundle, folder / way, *how)
            compared.keep(way, months_differ(first, folder / way))
        (folder / "cluster").mkdir()
        with cluster(folder / "cluster", workers=2) as running:
            env = environment(running.folder)
            for way, asked in {"spark_sent": register.path, "spark_read_there": register.path.as_uri()}.items():
                with compared.timed(way):
                    score(asked, bundle, folder / way, "--engine", "spark", "--master", running.master, env=env)
                del compared.took[f"{way}_cpu_s"]  # executors are children of the cluster
                compared.keep(way, months_differ(first, folder / way))
        month = Month(first)
        for way, comparison in {
            "explain": lambda: explanations_differ(first, folder / "spark_sent"),
            "county_alone": lambda: county_alone(register, bundle, month, folder / "alone"),
            "cut_at_villages": lambda: county_cut_at_villages(register, model.catalogue, folder / "villages"),
        }.items():
            with compared.timed(way):
                found = comparison()
            compared.keep(way, found)
        with compared.timed("households_alone"):
            alone = households_alone(register, model, month, folder / "lonely", sample)
        for way, where in alone.items():
            compared.keep(way, where)
    in_counties = [register.rows("households", county) for county in register.counties]
    about: dict[str, Any] = {
        "households": sum(in_counties),
        "counties": len(in_counties),
        "largest_county": max(in_counties),
        "sample": sample,
        **{
            f"register_{table}": sum(register.rows(table, c) for c in register.counties)
            for table in register.tables
            if table != "lines"
        },
    }
    for table, rows in month.tables.items():
        about |= {f"{table}_rows": len(rows), f"{table}_columns": rows.num_columns}
    return about | compared.figures()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--households", type=int, default=300_000)
    parser.add_argument("--all-tables", action="store_true", help="copies of simulated counties, with corrected records")
    parser.add_argument("--sample", type=int, default=SAMPLE, help="households that are taken alone")
    parser.add_argument("--data", type=Path, help="folder for the register; default: the system's temporary folder")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = {"machine": machine(), **measure(given.households, given.data, given.sample, given.all_tables)}
    tell(found, given.json)
    sys.exit(found["differences"] > 0)


if __name__ == "__main__":
    main()
