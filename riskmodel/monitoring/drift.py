"""Drift: whether this month's register, scores, calibration and causes are still those that the model knows.

A month is held against the same month of the last year, and with a model against the same calendar month of its training, so
that seasons are no drift. Every month is taken as it was known on its own as-of day: late rows of this month are not held
against a last year that has long been filled in. An alarm needs both: a change that matters (the least effects of the rules)
and one that chance does not give. Chance is told by the spread between villages (between households where villages are few):
the same village stands on both sides, so that a drought that strikes a whole village counts as one (cluster-robust t, Liang
& Zeger 1986). All tests of a report share one chance of a false alarm (`false_alarms`, Bonferroni).

A change of a column is told apart by what mends it: rows that are missing, values that are missing, values nobody knew,
single values in another unit (`units`), a whole column that moved (`level`), another distribution once that is taken out
(`shape`). What has moved alike in equal stretches of the past (`stretches`) is a trend, and no alarm. The shape is measured
by the population stability index (Siddiqi 2006), which is never read without the test, and shown with the
Kolmogorov-Smirnov distance.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy import special, stats

from riskmodel.alerts.scoring import score_county
from riskmodel.catalogue.catalogue import in_order
from riskmodel.cohort.labels import build_labels
from riskmodel.cohort.splits import embargo_months
from riskmodel.errors import UsageError
from riskmodel.evaluation.calibration import calibration_in_the_large
from riskmodel.model.bundle import RiskModel
from riskmodel.monitoring.part import Asked, Found
from riskmodel.months import as_of_day, first_day, month_number, month_text
from riskmodel.register import Register, load_contract

LAST_YEAR, TRAINING, MONTH_BEFORE = "last_year", "training", "month_before"
INPUTS, FEATURES, SCORES, CALIBRATION, CAUSES = "inputs", "features", "scores", "calibration", "causes"
ROWS, MISSING, VALUES, UNITS, LEVEL, SHAPE, RATIO = "rows", "missing", "values", "units", "level", "shape", "ratio"
_LEAST_CLUSTERS = 12
_FEW_VALUES = 12
_OWN_BIN = 0.1
_TYPES = frozenset({"number", "integer", "boolean", "category"})
_NOT_COMPARED = {"household_id", "month", "known_at", "county_id", "township_id", "village_id", "visited_on"}


@dataclass(frozen=True)
class Comparison:
    """One test: what is compared with what, how large the change is, and how likely by chance."""

    about: str
    name: str
    check: str
    reference: str
    reference_month: str
    now: float
    then: float
    effect: float
    least_effect: float
    p_value: float
    psi: float = np.nan
    ks: float = np.nan
    detail: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def alarms(self, limit: float) -> bool:
        """Whether it is large enough, and unlikely enough by chance."""
        return bool(self.effect >= self.least_effect and self.p_value <= limit)


@dataclass(frozen=True)
class Month:
    """Rows of one month as they were known at its end, household by household of the sample.

    Attributes
    ----------
    there
        Whether a household has a row, shape (households,).
    columns
        Numbers as float64 with NaN; other columns as objects with None; shape (households,) each.
    """

    there: np.ndarray
    columns: Mapping[str, np.ndarray]


Course = Callable[[], Sequence[np.ndarray]]
"""Samples of a column at the months of `stretches`, made only where something moved."""


@dataclass(frozen=True)
class _Columns(Mapping[str, np.ndarray]):
    """Columns of a month, each made when it is asked for: all of all months would be held twice.

    `rows`: rows of each county, which of them are of the month, and whose; `size` households.
    """

    rows: tuple[tuple[Mapping[str, np.ndarray], np.ndarray, np.ndarray], ...]
    kinds: Mapping[str, str]
    size: int

    def __getitem__(self, name: str) -> np.ndarray:
        number = self.kinds[name] == "number"
        values = np.full(self.size, np.nan) if number else np.full(self.size, None, object)
        for part, at, whose in self.rows:
            values[whose] = part[name][at]
        return values

    def __iter__(self) -> Iterator[str]:
        return iter(self.kinds)

    def __len__(self) -> int:
        return len(self.kinds)


def report_drift(asked: Asked) -> Found:
    """Hold the month against last year and against training.

    Returns
    -------
    Found
        Tables `alarms` (each with what to do) and `comparisons` (all tests); figures `alarms`, `tests`.
    """
    notes = [_READING]
    tests = list(_of_inputs(asked, notes))
    if asked.model is None:
        notes.append(_NO_MODEL)
    else:
        tests += _of_model(asked, notes)
    tests += _of_causes(asked, notes)
    check = _calibration(asked, notes)
    limits = _limits([test.check for test in tests] + [RATIO] * (check is not None), asked.rules.drift.false_alarms)
    if check is not None:
        tests.append(_ratio(asked, *check, limits[False]))
    table = comparisons_of(tests, limits)
    alarms = _alarms(asked, tests, limits)
    figures = {"alarms": len(alarms), "tests": len(tests)}
    figures |= {
        f"alarms_{about}": int(alarms["about"].eq(about).sum()) for about in (INPUTS, FEATURES, SCORES, CALIBRATION, CAUSES)
    }
    return Found({"alarms": alarms, "comparisons": table}, figures, notes)


def _limits(checks: Sequence[str], chance: float) -> dict[bool, float]:
    """P-value at which a test alarms, by whether it is of units: these few share half of the chance, all others the rest."""
    units = sum(check == UNITS for check in checks)
    share = chance / 2 if 0 < units < len(checks) else chance
    return {True: share / max(units, 1), False: share / max(len(checks) - units, 1)}


def comparisons_of(tests: Sequence[Comparison], limits: Mapping[bool, float]) -> pd.DataFrame:
    """All tests as a table, alarms first, then by p-value."""
    columns = [c for c in Comparison.__dataclass_fields__ if c != "extra"]
    rows = pd.DataFrame([{c: getattr(test, c) for c in columns} for test in tests], columns=columns)
    rows["limit"] = [limits[test.check == UNITS] for test in tests]
    rows["alarm"] = [test.alarms(limit) for test, limit in zip(tests, rows["limit"], strict=True)]
    return rows.sort_values(["alarm", "p_value"], ascending=[False, True], kind="stable", ignore_index=True)


# --- the arithmetic


def shares_differ(
    now: np.ndarray, of_now: np.ndarray, then: np.ndarray, of_then: np.ndarray, bins: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shares of each bin in two samples, and the chance of a difference so large, by the spread between clusters.

    Parameters
    ----------
    now, then
        Bin of each row, 0 to bins - 1; -1 is left out.
    of_now, of_then
        Cluster of each row; the same numbers mean the same clusters.

    Returns
    -------
    tuple of numpy.ndarray
        Shares now, shares then, two-sided p-values, shape (bins,) each. Without two clusters the p-values are 1.

    >>> a, b = np.repeat([0, 1], [90, 10]), np.repeat([0, 1], [50, 50])
    >>> share, before, p = shares_differ(a, np.arange(100), b, np.arange(100), 2)
    >>> share.tolist(), before.tolist(), bool(p[0] < 1e-6)
    ([0.9, 0.1], [0.5, 0.5], True)
    """
    number = int(max(of_now.max(initial=-1), of_then.max(initial=-1))) + 1
    counts = []
    for bin_, cluster in ((now, of_now), (then, of_then)):
        known = bin_ >= 0
        cells = cluster[known].astype(np.int64) * bins + bin_[known]
        counts.append(np.bincount(cells, minlength=number * bins).reshape(number, bins).astype(float))
    (a, b), totals = counts, [max(c.sum(), 1.0) for c in counts]
    there = (a.sum(axis=1) + b.sum(axis=1)) > 0
    a, b = a[there], b[there]
    pooled = (a.sum(axis=0) + b.sum(axis=0)) / max(a.sum() + b.sum(), 1.0)
    excess = (a - a.sum(axis=1, keepdims=True) * pooled) / totals[0] - (b - b.sum(axis=1, keepdims=True) * pooled) / totals[
        1
    ]
    return a.sum(axis=0) / totals[0], b.sum(axis=0) / totals[1], _chance(excess)


def _chance(excess: np.ndarray) -> np.ndarray:
    """Two-sided p-value of the sum of each column over clusters being 0, shape (bins,)."""
    clusters = len(excess)
    if clusters < 2:
        return np.ones(excess.shape[1])
    whole, error = excess.sum(axis=0), np.sqrt(clusters) * excess.std(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(np.abs(whole) > 1e-12, np.abs(whole) / error, 0.0)
    return 2 * stats.t.sf(t, clusters - 1)


def stability_index(now: np.ndarray, then: np.ndarray, rows_now: int, rows_then: int) -> float:
    """Population stability index of two sets of shares; an empty bin counts as half a row.

    >>> round(stability_index(np.array([0.5, 0.5]), np.array([0.9, 0.1]), 100, 100), 3)
    0.879
    """
    a, b = np.maximum(now, 0.5 / max(rows_now, 1)), np.maximum(then, 0.5 / max(rows_then, 1))
    return float(((a - b) * np.log(a / b)).sum())


def ks_distance(now: np.ndarray, then: np.ndarray) -> float:
    """Largest distance of two distribution functions (Kolmogorov-Smirnov).

    >>> ks_distance(np.array([1.0, 2, 3, 4]), np.array([3.0, 4, 5, 6]))
    0.5
    """
    if not len(now) or not len(then):
        return np.nan
    a, b = np.sort(now), np.sort(then)
    at = np.concatenate([a, b])
    return float(np.abs(np.searchsorted(a, at, "right") / len(a) - np.searchsorted(b, at, "right") / len(b)).max())


def bins_of(then: np.ndarray, *others: np.ndarray) -> tuple[int, list[np.ndarray]]:
    """Bins by the reference: each value where they are few, else tenths, with a value that many hold in a bin of its own.

    Returns
    -------
    tuple
        The number of bins, and for the reference and each other sample the bin of each value, -1 where it is NaN.
    """
    known = then[np.isfinite(then)]
    values, counts = np.unique(known, return_counts=True)
    if len(values) <= _FEW_VALUES:
        edges = (values[1:] + values[:-1]) / 2
        return len(edges) + 1, [_binned(sample, edges) for sample in (then, *others)]
    most = counts.argmax()
    held = values[most] if counts[most] >= _OWN_BIN * len(known) else None
    rest = known if held is None else known[known != held]
    edges = np.unique(np.quantile(rest, np.linspace(0.1, 0.9, 9)))
    found = [_binned(sample, edges) for sample in (then, *others)]
    if held is None:
        return len(edges) + 1, found
    own = len(edges) + 1
    return own + 1, [np.where(sample == held, own, code) for sample, code in zip((then, *others), found, strict=True)]


def _binned(sample: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(sample), np.searchsorted(edges, sample, side="left"), -1)


def unit_steps(now: np.ndarray, then: np.ndarray, factors: Sequence[float], window: float) -> np.ndarray:
    """Which step of a unit each value made: bin 0 for none, then each factor up, then each down; -1 where not compared.

    The usual step of the column, its median, is taken out: where all values grow or shrink, those in another unit stand out
    from them. A median as large as half the least factor is no growth and stays.

    Parameters
    ----------
    now, then
        Values of the same households, shape (n,).
    window
        Half-width, in logarithms, of what counts as the factor: a household's own change comes on top.

    >>> unit_steps(np.array([10000.0, 110, 1, 0, 90]), np.array([100.0, 100, 100, 5, 90]), [12, 100], 0.6).tolist()
    [2, 0, 4, -1, 0]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        step = np.log(now / then)
    compared = (now > 0) & (then > 0) & np.isfinite(step)
    steps = np.log(np.asarray(factors, float))
    usual = float(np.median(step[compared])) if compared.any() else 0.0
    step = np.where(compared, step - (usual if abs(usual) < steps.min() / 2 else 0.0), 0.0)
    code = np.zeros(len(now), int)
    large = np.flatnonzero(np.abs(step) >= steps.min() - window)
    away = np.abs(step[large, None] - np.concatenate([steps, -steps]))
    nearest = away.argmin(axis=1)
    code[large] = np.where(away[np.arange(len(large)), nearest] <= window, nearest + 1, 0)
    return np.where(compared, code, -1)


def more_than_usual(
    now: np.ndarray, usual: Sequence[np.ndarray], cluster: np.ndarray, bins: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shares of each bin now and in the usual months, and the chance of so many more now.

    Rare steps are counts: of all made now and in the usual months together, those now are binomial where nothing changed
    (Przyborowski & Wilenski 1940). Where they come in bunches, of villages or of months, a bunch counts as one
    (quasi-Poisson).

    Parameters
    ----------
    now, usual
        Bin of each household's value, -1 where not compared, shape (households,) each.
    cluster
        Cluster of each household, shape (households,).

    Returns
    -------
    tuple of numpy.ndarray
        Share now, share in the usual months, one-sided p-values, shape (bins,) each.

    >>> rare = np.zeros(300, int)
    >>> hit = np.where(np.arange(300) % 20 == 0, 1, 0)
    >>> share, before, p = more_than_usual(hit, [rare, rare, rare], np.arange(300) // 10, 2)
    >>> float(share[1]), float(before[1]), bool(p[1] < 1e-8)
    (0.05, 0.0, True)
    """
    number = int(cluster.max(initial=-1)) + 1

    def counted(code: np.ndarray) -> np.ndarray:
        known = code >= 0
        cells = cluster[known].astype(np.int64) * bins + code[known]
        return np.bincount(cells, minlength=number * bins).reshape(number, bins).astype(float)

    cells = [counted(now), *map(counted, usual)]
    of = [cell.sum(axis=1, keepdims=True) for cell in cells]
    here, there = cells[0].sum(axis=0), sum(cell.sum(axis=0) for cell in cells[1:])
    n_here, n_there = max(of[0].sum(), 1.0), max(sum(n.sum() for n in of[1:]), 1.0)
    share, before = here / n_here, there / n_there
    by_month = [(cell.sum(axis=0), n.sum() * before) for cell, n in zip(cells[1:], of[1:], strict=True)]
    bunched = [
        _bunching(cells[0], of[0] * share),
        _bunching(np.vstack(cells[1:]), np.vstack(of[1:]) * before),
        _bunching(*(np.vstack(side) for side in zip(*by_month, strict=True))),
    ]
    count_as = np.maximum(np.max(bunched, axis=0), 1.0)
    made = np.maximum(here, 1e-9) / count_as
    return share, before, special.betainc(made, there / count_as + 1, n_here / (n_here + n_there))


def _bunching(counts: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Variance of the counts of cells over that of independent ones, shape (bins,); 0 where it cannot be told."""
    cells, whole = int((expected.sum(axis=1) > 0).sum()), expected.sum(axis=0)
    if cells < 2:
        return np.zeros(counts.shape[1])
    spread = ((counts - expected) ** 2).sum(axis=0)
    return np.divide(spread, whole, out=np.zeros_like(whole), where=whole > 0) * cells / (cells - 1)


# --- the register's columns


def _of_inputs(asked: Asked, notes: list[tuple[str, str]]) -> Iterator[Comparison]:
    register, rules, now = asked.register, asked.rules.drift, asked.as_of
    first, step = month_number(register.first_month), register.step_months
    references: dict[str, int] = {}
    if now - 12 >= first:
        references[LAST_YEAR] = now - 12
    else:
        notes.append(_NO_YEAR)
    trained = _training_month(asked, first)
    if trained is not None and trained not in references.values():
        references[TRAINING] = trained
    asked.progress("drift of the register's columns")
    trends = {reference: stretches(now, month, first, step) for reference, month in references.items()}
    looked_at = sorted({now, *references.values(), *(m for trend in trends.values() for m in trend)})
    sample = _sampled(asked, looked_at, rules.households)
    if sample.drawn:
        notes.append(_drawn(len(sample.counties)))
    for reference, month in references.items():
        yield _rows(sample, now, month, reference, rules.rows_change)
    for name in sample.kinds:
        for reference, month in references.items():
            yield from _column(sample, name, now, month, reference, trends[reference], rules)
    del sample
    yield from _of_units(asked, first, step, notes)


def _of_units(asked: Asked, first: int, step: int, notes: list[tuple[str, str]]) -> Iterator[Comparison]:
    """Single values in another unit: each against the household's own values of the months before and of the year before.

    What is usual is told by the same steps at every earlier month that is read, the same month of last year among them.
    """
    now = asked.as_of
    read = [m for year, many in ((0, 6), (12, 4)) for k in range(many) if (m := now - year - k * step) >= first]
    lately = {m: [e for k in (1, 2, 3) if (e := m - k * step) in read] for m in read}
    steps = {MONTH_BEFORE: {m: months for m, months in lately.items() if months}}
    told_by = now - 12 if now - 24 >= first else now - step  # steps of last month may be those of an error that stayed
    steps[LAST_YEAR] = {m: [m - 12] for m in (now, told_by) if m - 12 >= first}
    steps = {reference: made for reference, made in steps.items() if now in made and len(made) > 1}
    if not steps:
        notes.append(_NO_UNITS)
        return
    months = sorted({m for made in steps.values() for late, early in made.items() for m in (late, *early)})
    sample = _sampled(asked, months, asked.rules.drift.unit_households, {"number"})
    columns = load_contract().tables["records"].columns
    for name in sample.kinds:
        if columns[name].unit == "share":
            continue  # a share in percent lies beyond 1, which intake refuses; small ones change twelvefold by themselves
        yield min((_units(sample, name, now, step, *made, len(steps), asked.rules.drift) for made in steps.items()),
                  key=lambda test: (test.effect < test.least_effect, test.p_value))  # fmt: skip


def _training_month(asked: Asked, first: int) -> int | None:
    """The last month of training of the same calendar month."""
    if asked.model is None or "trained_to" not in asked.model.evidence:
        return None
    last = month_number(asked.model.evidence["trained_to"])
    month = asked.as_of - 12 * max(1, -(-(asked.as_of - last) // 12))
    return month if first <= month < asked.as_of else None


def stretches(now: int, then: int, first: int, step: int) -> tuple[int, ...]:
    """Months, latest first, that cut the past into equal stretches, by which a steady trend is told; () where none can be.

    The stretch from `then` to now and the one before it; where the register begins too late for that, the years in between,
    or of a single year its quarters, which no season makes all alike.

    >>> stretches(36, 24, 0, 1), stretches(36, 12, 0, 1), stretches(36, 24, 20, 1), stretches(60, 24, 20, 1)
    ((36, 24, 12), (36, 24, 12), (36, 33, 30, 27, 24), ())
    """
    gap = now - then
    if then - gap >= first:
        return now, then, then - gap
    if gap % 24 == 0:
        return now, now - gap // 2, then
    return tuple(range(now, then - 1, -3)) if gap == 12 and 3 % step == 0 else ()


@dataclass(frozen=True)
class Sample:
    """Households of the sample, their clusters and counties, and their rows by month."""

    months: dict[int, Month]
    cluster: np.ndarray
    county: np.ndarray
    counties: list[str]
    kinds: dict[str, str]
    drawn: bool


def _sampled(asked: Asked, months: Sequence[int], households: int, types: Container[str] = _TYPES) -> Sample:
    """Read the columns of these types of the months.

    Of a larger register every k-th group of rows of each county is read, so that about so many households are seen.
    """
    register = asked.register
    contract = load_contract().tables["records"].columns
    held = [c for c in register.columns("records") if c in contract and c not in _NOT_COMPARED]
    kinds = {}
    for name in held:
        kind = contract[name].type
        if kind in types:
            kinds[name] = "category" if kind == "category" else "number"
    files = [(county, file) for county in register.counties if (file := register.file("records", county))]
    rows = sum(pq.read_metadata(file).num_rows for _, file in files)
    span = (month_number(register.last_month) - month_number(register.first_month)) // register.step_months + 1
    every = max(1, int(rows / span / households))
    with ThreadPoolExecutor(2) as pool:
        parts = list(pool.map(lambda pair: _rows_of(register, *pair, months, list(kinds), every), files))
    sizes = [len(part["household_id"]) for part in parts]
    household, ids = pd.factorize(np.concatenate([part["household_id"] for part in parts]))
    of_county = np.repeat(np.arange(len(parts)), sizes)
    county = np.zeros(len(ids), int)
    county[household] = of_county
    mine = np.split(household, np.cumsum(sizes)[:-1])
    found = {}
    for month in months:
        at = [np.flatnonzero(part["month_no"] == month) for part in parts]
        whose = [households[rows] for households, rows in zip(mine, at, strict=True)]
        there = np.zeros(len(ids), bool)
        there[np.concatenate(whose)] = True
        found[month] = Month(there, _Columns(tuple(zip(parts, at, whose, strict=True)), kinds, len(ids)))
    counties = [county for county, _ in files]
    cluster = _clusters(register, counties, ids, county)
    return Sample(found, cluster, county, counties, kinds, every > 1)


def _rows_of(
    register: Register, county: str, file: Any, months: Sequence[int], columns: list[str], every: int
) -> dict[str, np.ndarray]:
    """Columns of the rows of the months in some groups of rows, each as known at the end of its month, its last version."""
    source = pq.ParquetFile(file)
    known = ["known_at"] if "known_at" in source.schema_arrow.names else []
    groups = range(0, source.num_row_groups, min(every, max(source.num_row_groups, 1)))
    pieces = []
    for group in groups:
        piece = source.read_row_group(group, columns=["household_id", "month", *known], use_threads=False)
        keep = None
        for month in months:
            this = pc.equal(piece["month"], pa.scalar(first_day(month), pa.date32()))
            if known:
                day = pa.scalar(as_of_day(month, register.step_months), pa.date32())
                this = pc.and_(this, pc.less_equal(piece["known_at"], day))
            keep = this if keep is None else pc.or_(keep, this)
        piece = piece.filter(keep)
        for name in columns:  # one at a time: of a group of rows a tenth is kept
            piece = piece.append_column(name, source.read_row_group(group, [name], use_threads=False).filter(keep)[name])
        pieces.append(piece)
    table = pa.concat_tables(pieces)
    del pieces
    day = pd.to_datetime(table["month"].to_pandas())
    month_no = (day.dt.year * 12 + day.dt.month - 1).to_numpy()
    if known:
        order = np.argsort(table["known_at"].cast(pa.int32()).to_numpy(), kind="stable")
        ordered = pd.DataFrame({"household_id": table["household_id"].to_pandas(), "month_no": month_no}).iloc[order]
        rows = order[~ordered.duplicated(keep="last").to_numpy()]
        table, month_no = table.take(pa.array(rows)), month_no[rows]
    found = {"household_id": table["household_id"].to_numpy(), "month_no": month_no}
    for name in columns:  # each is let go as it is turned into an array
        values, table = table[name], table.drop_columns([name])
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type) or pa.types.is_dictionary(values.type):
            found[name] = values.to_pandas().astype(object).where(pc.is_valid(values).to_pandas(), None).to_numpy()
        else:
            found[name] = values.cast(pa.float64()).to_numpy()
    return found


def _clusters(register: Register, counties: Sequence[str], ids: np.ndarray, county: np.ndarray) -> np.ndarray:
    """Village of each household; the household itself where villages are fewer than a spread can be told from."""
    own = np.arange(len(ids))
    if "village_id" not in register.columns("households"):
        return own
    cluster = np.full(len(ids), -1)
    before = 0
    for number, name in enumerate(counties):
        file = register.file("households", name)
        here = np.flatnonzero(county == number)
        if file is None or not len(here):
            continue
        homes = pq.read_table(file, columns=["household_id", "village_id"], partitioning=None).to_pandas()
        code, villages = pd.factorize(homes["village_id"])
        lived = pd.Series(code, index=homes["household_id"]).reindex(ids[here]).fillna(-1).to_numpy(int)
        cluster[here] = np.where(lived >= 0, lived + before, -1)
        before += len(villages)
    lost = cluster < 0
    cluster[lost] = before + np.arange(lost.sum())
    code, found = pd.factorize(cluster)
    return code if len(found) >= _LEAST_CLUSTERS else own


def _rows(sample: Sample, now: int, month: int, reference: str, least: float) -> Comparison:
    """Whether households are there as they were."""
    a, b = sample.months[now].there, sample.months[month].there
    number = sample.cluster.max(initial=0) + 1
    more = np.bincount(sample.cluster, weights=a.astype(float) - b, minlength=number)
    whole = max(int(b.sum()), 1)
    return Comparison(
        INPUTS, "*", ROWS, reference, month_text(month), float(a.sum()), float(b.sum()),
        abs(float(a.sum()) / whole - 1), least, float(_chance(more[:, None])[0]),
    )  # fmt: skip


def _column(
    sample: Sample, name: str, now: int, month: int, reference: str, trend: Sequence[int], rules: Any
) -> Iterator[Comparison]:
    here, there = sample.months[now], sample.months[month]
    at, of = np.flatnonzero(here.there), np.flatnonzero(there.there)
    a, b, of_a, of_b = here.columns[name][at], there.columns[name][of], sample.cluster[at], sample.cluster[of]
    whose = {"about": INPUTS, "name": name, "reference": reference, "reference_month": month_text(month)}
    if sample.kinds[name] == "category":
        missing_a, missing_b = np.array([x is None for x in a], bool), np.array([x is None for x in b], bool)
        yield _missing(missing_a, of_a, missing_b, of_b, whose, rules.missing_change)
        yield from _categories(a, of_a, b, of_b, whose, rules)
        return
    yield _missing(np.isnan(a), of_a, np.isnan(b), of_b, whose, rules.missing_change)

    def course() -> list[np.ndarray]:
        return [sample.months[m].columns[name] for m in trend]

    if not is_amount(name):
        yield _shape(a, of_a, b, of_b, whose, rules.psi, course)
        return
    yield _level(a, of_a, b, of_b, whose, rules.level, course)
    levelled = a / _typical(a), of_a, b / _typical(b), of_b
    moved = _shape(*levelled, whose, rules.psi, lambda: [x / _typical(x) for x in course()])
    still = _shape(a, of_a, b, of_b, whose, rules.psi, course)
    yield min(moved, still, key=lambda shape: shape.effect)  # sums fixed by a rule stay where the level of others moves


def _typical(values: np.ndarray) -> float:
    """Median of those that are more than nothing, 1 where there are none."""
    return float(np.median(values[values > 0])) if (values > 0).any() else 1.0


def _level(
    a: np.ndarray, of_a: np.ndarray, b: np.ndarray, of_b: np.ndarray, whose: Mapping[str, Any], least: float, course: Course
) -> Comparison:
    """Whether the median of an amount moved, beyond a trend that it has had all along."""
    known = (a > 0).any() and (b > 0).any()
    now, then = (_typical(x) if (x > 0).any() else np.nan for x in (a, b))
    side_a, side_b = (np.where(x > 0, (x > then).astype(int), -1) for x in (a, b))
    _, _, p = shares_differ(side_a, of_a, side_b, of_b, 2)
    effect = float(np.exp(abs(np.log(now / then)))) if known else 1.0
    if effect >= least and len(samples := course()) > 2 and all((x > 0).any() for x in samples):
        levels = np.log([_typical(x) for x in samples])
        straight = np.linspace(levels[0], levels[-1], len(levels))
        effect = min(effect, float(np.exp(2 * np.abs(levels - straight).max())))  # a jump in the middle: the whole of it
    return Comparison(check=LEVEL, now=now, then=then, effect=effect, least_effect=least, p_value=p[0], **whose)


def is_amount(name: str) -> bool:
    """Whether a column is an amount whose level moves with the times, as money does."""
    column = load_contract().tables["records"].columns[name]
    return column.type == "number" and str(column.unit or "").startswith(("yuan", "currency"))


def _missing(
    a: np.ndarray, of_a: np.ndarray, b: np.ndarray, of_b: np.ndarray, whose: Mapping[str, Any], least: float
) -> Comparison:
    now, then, p = shares_differ(a.astype(int), of_a, b.astype(int), of_b, 2)
    return Comparison(
        check=MISSING, now=now[1], then=then[1], effect=abs(now[1] - then[1]), least_effect=least, p_value=p[1], **whose
    )


def _shape(
    a: np.ndarray, of_a: np.ndarray, b: np.ndarray, of_b: np.ndarray, whose: Mapping[str, Any], least: float, course: Course
) -> Comparison:
    """Whether values are distributed otherwise, beyond a shift that goes on as it did before."""
    bins, (code_b, code_a) = bins_of(b, a)
    now, then, p = shares_differ(code_a, of_a, code_b, of_b, bins)
    known_a, known_b = a[np.isfinite(a)], b[np.isfinite(b)]
    enough = len(known_a) and len(known_b)
    psi = effect = stability_index(now, then, len(known_a), len(known_b)) if enough else np.nan
    if enough and psi >= least and len(samples := course()) == 3:
        effect = min(psi, _beyond(*(x[np.isfinite(x)] for x in samples)))
    mean_a, mean_b = (float(x.mean()) if len(x) else np.nan for x in (known_a, known_b))
    return Comparison(
        check=SHAPE, now=mean_a, then=mean_b, effect=effect if enough else 0.0, least_effect=least,
        p_value=min(float(p.min()) * bins, 1.0), psi=psi, ks=ks_distance(known_a, known_b), **whose,
    )  # fmt: skip


def _beyond(now: np.ndarray, middle: np.ndarray, early: np.ndarray) -> float:
    """Stability index of now against the middle sample, moved on as that came from the early one.

    Each step is told in tenths of where it began: what a counter gains in a year is alike in those of each year. Infinite
    where a sample is empty.
    """
    if not len(now) or not len(middle) or not len(early):
        return np.inf
    values, counts = np.unique(middle, return_counts=True)
    held = values[counts >= _OWN_BIN * len(middle)]

    def shares(then: np.ndarray, later: np.ndarray) -> list[np.ndarray]:
        if len(values) <= _FEW_VALUES:
            edges, own = (values[1:] + values[:-1]) / 2, values[:0]
        else:
            rest = then[~np.isin(then, held)]
            edges, own = np.quantile(rest if len(rest) else then, np.linspace(0.1, 0.9, 9)), held
        return [_shares(x, edges, own) for x in (then, later)]

    (at, reached), (came, to) = shares(middle, now), shares(early, middle)
    expected = np.maximum(at + to - came, 0.0)
    return stability_index(reached, expected / expected.sum(), len(now), len(middle))


def _shares(sample: np.ndarray, edges: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Shares of a sample between the edges, then of each value with a bin of its own."""
    apart = np.isin(sample, own)
    between = np.bincount(np.searchsorted(edges, sample[~apart], side="left"), minlength=len(edges) + 1)
    return np.append(between, [(sample == value).sum() for value in own]) / len(sample)


def _categories(
    a: np.ndarray,
    of_a: np.ndarray,
    b: np.ndarray,
    of_b: np.ndarray,
    whose: Mapping[str, Any],
    rules: Any,
    least: float = 0.0,
) -> Iterator[Comparison]:
    code, names = pd.factorize(np.concatenate([b, a]))
    code_b, code_a = code[: len(b)], code[len(b) :]
    known = np.unique(code_b[code_b >= 0])
    fresh = np.where(code_a < 0, -1, (~np.isin(code_a, known)).astype(int))
    old = np.where(code_b < 0, -1, 0)
    now, then, p = shares_differ(fresh, of_a, old, of_b, 2)
    new = [str(names[k]) for k in np.unique(code_a[fresh == 1])]
    yield Comparison(
        check=VALUES, now=now[1], then=0.0, effect=now[1] if len(known) else 0.0, least_effect=rules.new_values,
        p_value=p[1], detail="; ".join(new[:5]), **whose,
    )  # fmt: skip
    share, before, p = shares_differ(code_a, of_a, code_b, of_b, max(len(names), 1))
    psi = stability_index(share, before, (code_a >= 0).sum(), (code_b >= 0).sum()) if len(known) else 0.0
    most = int(np.abs(share - before).argmax()) if len(names) else 0
    yield Comparison(
        check=SHAPE, now=float(share[most]), then=float(before[most]), effect=psi, least_effect=least or rules.psi,
        p_value=min(float(p.min(initial=1.0)) * max(len(names), 1), 1.0), psi=psi,
        detail=str(names[most]) if len(names) else "", **whose,
    )  # fmt: skip


def _units(
    sample: Sample, name: str, now: int, step: int, reference: str, made: Mapping[int, Sequence[int]], tries: int, rules: Any
) -> Comparison:
    """Whether single values made a step of a unit more often than is usual.

    `made`: months whose values are looked at, now among them, each with the months that it is held against.
    """
    factors = rules.unit_factors
    codes = {}
    for late, months in made.items():
        then = np.vstack([sample.months[m].columns[name] for m in months])
        codes[late] = unit_steps(sample.months[late].columns[name], _median(then), factors, rules.unit_window)
    bins = 2 * len(factors) + 1
    earlier = [late for late in codes if late != now]
    share, usual, p = more_than_usual(codes[now], [codes[late] for late in earlier], sample.cluster, bins)
    season = codes.get(now - 12)
    if season is not None:  # what a season brings each year is usual, however rare in other months
        usual = np.maximum(usual, np.bincount(season[season >= 0], minlength=bins) / max((season >= 0).sum(), 1))
    more = (share - usual)[1:]
    most = int(more.argmax())
    factor = factors[most % len(factors)]
    month = now - 12 if reference == LAST_YEAR else now - step
    return Comparison(
        INPUTS, name, UNITS, reference, month_text(month), float(share[most + 1]), float(usual[most + 1]),
        float(more[most]), rules.unit_share, min(float(p[most + 1]) * (bins - 1) * tries, 1.0),
        detail=f"{'x' if most < len(factors) else '/'} {factor:g}",
        extra={"county_id": _most(codes[now], most + 1, sample)},
    )  # fmt: skip


def _median(values: np.ndarray) -> np.ndarray:
    """Median over the rows of those that are known, shape (columns,); of two the smaller."""
    order = np.sort(values, axis=0)  # NaN last
    known = np.isfinite(values).sum(axis=0)
    return order[np.maximum(known - 1, 0) // 2, np.arange(values.shape[1])]


def _most(codes: np.ndarray, step: int, sample: Sample) -> str:
    """The county in which the largest share of the values made the step."""
    compared = codes >= 0
    number = np.bincount(sample.county[compared], minlength=len(sample.counties))
    made = np.bincount(sample.county[codes == step], minlength=len(sample.counties))
    return sample.counties[int((made / np.maximum(number, 1)).argmax())]


# --- features, scores, calibration, causes


def _of_model(asked: Asked, notes: list[tuple[str, str]]) -> Iterator[Comparison]:
    """Features and scores of those at risk, in counties drawn in order until enough households are in them."""
    model, register, rules = asked.model, asked.register, asked.rules.drift
    assert model is not None
    first = month_number(register.first_month)
    references: dict[str, int] = {LAST_YEAR: asked.as_of - 12} if asked.as_of - 12 >= first else {}
    trained = _training_month(asked, first)
    if trained is None:
        notes.append(_NO_TRAINING)
    elif trained not in references.values():
        references[TRAINING] = trained
    counties = _counties(asked)
    if not references:
        return
    asked.progress("drift of features and scores")
    scored = functools.cache(lambda month: _scored(asked, month, counties))
    now = scored(asked.as_of)
    for reference, month in references.items():
        then, trend = scored(month), stretches(asked.as_of, month, first, register.step_months)
        if not len(now) or not len(then):
            continue
        code, villages = pd.factorize(pd.concat([now["cluster"], then["cluster"]]))
        shared: frozenset[str] = frozenset()
        if len(villages) < _LEAST_CLUSTERS:
            code, _ = pd.factorize(pd.concat([now["household_id"], then["household_id"]]))
            shared = _shared_by_places(model)
            notes += [_FEW_VILLAGES] if _FEW_VILLAGES not in notes else []
        of_a, of_b = code[: len(now)], code[len(now) :]
        for name in model.inputs:
            if name not in now or name in shared:
                continue
            a, b = now[name].to_numpy(float), then[name].to_numpy(float)
            whose = {"about": FEATURES, "name": name, "reference": reference, "reference_month": month_text(month)}
            yield _missing(np.isnan(a), of_a, np.isnan(b), of_b, whose, rules.missing_change)
            yield _shape(a, of_a, b, of_b, whose, rules.psi, functools.partial(_course, scored, trend, name))
        whose = {"about": SCORES, "name": "risk", "reference": reference, "reference_month": month_text(month)}
        yield _shape(now["risk"].to_numpy(float), of_a, then["risk"].to_numpy(float), of_b, whose, rules.psi_scores,
                     functools.partial(_course, scored, trend, "risk"))  # fmt: skip


def _course(scored: Callable[[int], pd.DataFrame], trend: Sequence[int], name: str) -> list[np.ndarray]:
    """A feature at the months of a trend that can be laid over each other; an empty one where nobody was at risk."""
    frames = [scored(month) for month in trend] if len(trend) == 3 else []
    return [frame[name].to_numpy(float) if len(frame) else np.empty(0) for frame in frames]


def _shared_by_places(model: RiskModel) -> frozenset[str]:
    """Features that all households of a place share, and those that rest on such."""
    shared: set[str] = set()
    for feature in in_order(model.catalogue.features):
        if feature.kind == "context" or feature.table == "villages" or feature.needs & shared:
            shared.add(feature.name)
    return frozenset(shared)


def _counties(asked: Asked) -> list[str]:
    register, drawn, seen = asked.register, [], 0
    for county in sorted(register.counties, key=lambda name: hash_of(name)):
        file = register.file("households", county)
        drawn.append(county)
        seen += pq.read_metadata(file).num_rows if file else 0
        if seen >= asked.rules.drift.households:
            break
    return drawn


def hash_of(name: str) -> int:
    """A number that orders names by chance and always alike.

    >>> hash_of("001") == hash_of("001")
    True
    """
    import zlib

    return zlib.crc32(name.encode())


def _scored(asked: Asked, month: int, counties: Iterable[str]) -> pd.DataFrame:
    """Features and risk of those at risk in a month, with their village as `cluster`."""
    model = asked.model
    assert model is not None
    made = []
    for county in counties:
        scores = score_county(asked.register, model, month, county, capacity=1.0)
        if not len(scores):
            continue
        frame = scores.features[["household_id", *(c for c in model.inputs if c in scores.features)]].copy()
        frame["risk"] = scores.frame["risk"].to_numpy(float)[scores.kept]
        place = scores.places["village_id"].to_numpy(object)[scores.kept] if "village_id" in scores.places else None
        frame["cluster"] = frame["household_id"] if place is None else pd.Series(place, index=frame.index)
        frame["cluster"] = frame["cluster"].fillna(frame["household_id"])
        made.append(frame)
    return pd.concat(made, ignore_index=True) if made else pd.DataFrame()


def _calibration(asked: Asked, notes: list[tuple[str, str]]) -> tuple[int, pd.DataFrame] | None:
    """The last month after training whose horizon is over: risks and what became of them."""
    model = asked.model
    if model is None or "trained_to" not in model.evidence:
        return None
    gap = embargo_months(model.run.label, asked.register.step_months)
    month = asked.as_of - gap
    if month < month_number(model.evidence["trained_to"]) + gap:
        notes.append(_TOO_EARLY)
        return None
    asked.progress("calibration")
    counties = _counties(asked)
    frames = [score_county(asked.register, model, month, county).frame for county in counties]
    risks = pd.concat(frames, ignore_index=True)[["household_id", "risk"]]
    found = build_labels(asked.register, [month], model.run.label, model.run.at_risk, counties=counties, known_by=asked.day)
    rows = risks.merge(found[["household_id", "outcome"]], on="household_id")
    rows = rows[rows["outcome"].notna()]
    if not len(rows):
        notes.append(_TOO_EARLY)
        return None
    return month, rows


def _ratio(asked: Asked, month: int, rows: pd.DataFrame, limit: float) -> Comparison:
    """Falls observed over expected; an alarm is the warning of `calibration_in_the_large` at the report's level."""
    margin = asked.rules.drift.calibration_margin
    try:
        check = calibration_in_the_large(
            rows["outcome"].to_numpy(float),
            rows["risk"].to_numpy(float),
            rows["household_id"],
            margin=margin,
            level=1 - limit,
        )
    except UsageError:
        return Comparison(CALIBRATION, "risk", RATIO, LAST_YEAR, month_text(month), np.nan, 1.0, 0.0, 1 + margin, 1.0)
    beyond = max(check.low, 1 / check.high if check.high > 0 else np.inf)
    return Comparison(
        CALIBRATION, "risk", RATIO, "promise", month_text(month), check.ratio, 1.0, float(beyond), 1 + margin,
        limit if check.warns else 1.0, detail=f"{check.low:.2f} - {check.high:.2f}",
    )  # fmt: skip


def _of_causes(asked: Asked, notes: list[tuple[str, str]]) -> Iterator[Comparison]:
    """Verdicts on the alerts of the month against those of the same month last year."""
    by_month = {scored.number: scored for scored in asked.scored}
    if not {asked.as_of, asked.as_of - 12} <= set(by_month):
        notes.append(_NO_CAUSES)
        return
    now, then = (by_month[m].read("alerts", ["household_id", "verdict"]) for m in (asked.as_of, asked.as_of - 12))
    code, _ = pd.factorize(pd.concat([now["household_id"], then["household_id"]]))
    whose = {
        "about": CAUSES, "name": "verdict", "reference": LAST_YEAR, "reference_month": month_text(asked.as_of - 12),
    }  # fmt: skip
    a, b = now["verdict"].to_numpy(object), then["verdict"].to_numpy(object)
    rules = asked.rules.drift
    yield from _categories(a, code[: len(now)], b, code[len(now) :], whose, rules, rules.psi_scores)


# --- words


def _alarms(asked: Asked, tests: Sequence[Comparison], limits: Mapping[bool, float]) -> pd.DataFrame:
    """One row per alarm with what to do, the gravest first."""
    rows = []
    for test in sorted(tests, key=lambda t: t.p_value):
        if not test.alarms(limits[test.check == UNITS]):
            continue
        english, chinese = _named(asked, test)
        told = {
            "now": test.now, "then": test.then, "detail": test.detail, "month": test.reference_month,
            "county": test.extra.get("county_id", ""),
        }  # fmt: skip
        more = test.now > test.then if test.check == ROWS else test.now < test.then  # fewer missing are more known
        en, zh = _ACTIONS[_WHERE_MORE.get(test.check, test.check) if more else test.check]
        rows.append({
            "about": test.about, "name": test.name, "name_en": english, "name_zh": chinese, "check": test.check,
            "reference": test.reference, "reference_month": test.reference_month, "now": test.now, "then": test.then,
            "effect": test.effect, "p_value": test.p_value, "detail": test.detail,
            "county_id": test.extra.get("county_id", ""),
            "action_en": en.format(name=english, **told), "action_zh": zh.format(name=chinese, **told),
        })  # fmt: skip
    columns = [
        "about", "name", "name_en", "name_zh", "check", "reference", "reference_month", "now", "then", "effect", "p_value",
        "detail", "county_id", "action_en", "action_zh",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _named(asked: Asked, test: Comparison) -> tuple[str, str]:
    if test.about == INPUTS and test.name != "*":
        column = load_contract().tables["records"].columns[test.name]
        return column.en, column.zh
    if test.about == FEATURES and asked.model is not None:
        feature = next(f for f in asked.model.catalogue.features if f.name == test.name)
        return feature.en, feature.zh
    return _NAMES.get(test.name, (test.name, test.name))


_NAMES = {"*": ("records", "记录"), "risk": ("risk", "风险"), "verdict": ("cause of the alerts", "预警原因判断")}
MORE_ROWS, FULLER = "more_rows", "fuller"
_WHERE_MORE = {ROWS: MORE_ROWS, MISSING: FULLER}
_ACTIONS = {
    ROWS: (
        "{now:,.0f} households have a record, {then:,.0f} in {month}: ask which areas have not reported before scoring.",
        "本月有记录的户数为{now:,.0f}，{month}为{then:,.0f}：评分前请核实哪些地方尚未上报。",
    ),
    MORE_ROWS: (
        "{now:,.0f} households have a record, {then:,.0f} in {month}: ask which areas or kinds of household have joined, "
        "and whether some are delivered twice under two ids, before scoring.",
        "本月有记录的户数为{now:,.0f}，{month}为{then:,.0f}：评分前请核实新增了哪些地方或哪类农户，是否有同一户以不同编号重复上报。",
    ),
    MISSING: (
        "{name}: missing for {now:.0%}, in {month} for {then:.0%}. Ask the source whether the field was dropped or renamed; "
        "have it delivered again before scoring.",
        "{name}：缺失{now:.0%}，{month}为{then:.0%}。请向数据来源核实字段是否取消或改名，补报后再评分。",
    ),
    FULLER: (
        "{name}: missing for {now:.0%}, in {month} for {then:.0%}: it is known for more households than then. Ask the "
        "source whether others are asked now or gaps are filled in (a 0 for not known); with a longer history on record it "
        "is in order.",
        "{name}：缺失{now:.0%}，{month}为{then:.0%}，掌握情况的户数增多。请向数据来源核实填报范围是否变化、空缺是否改填为0；"
        "如因历史记录增多，则属正常。",
    ),
    VALUES: (
        "{name}: {now:.1%} of rows hold values not seen in {month} ({detail}). Map them in the source's "
        "mapping, or add them.",
        "{name}：{now:.1%}的记录出现{month}未见过的取值（{detail}）。请在数据映射中补充对应关系。",
    ),
    UNITS: (
        "{name}: {now:.1%} of values moved by about {detail} against {month} ({then:.1%} is usual), most in {county}. "
        "Check the unit with whoever delivered them (yuan or fen, yuan or thousand, month or year), and correct the "
        "source's mapping.",
        "{name}：{now:.1%}的数值相对{month}变化约 {detail}（通常为{then:.1%}），以{county}最多。请与报送单位核对计量单位"
        "（元与分、元与千元、月与年），并更正数据映射。",
    ),
    LEVEL: (
        "{name}: the median is {now:,.0f}, it was {then:,.0f} in {month}. Check unit and definition with the source; if the "
        "change is real, recalibrate, and train anew when outcomes are known.",
        "{name}：中位数为{now:,.0f}，{month}为{then:,.0f}。请核对单位和口径；如属实际变化，请重新校准，待结果明确后重新训练。",
    ),
    SHAPE: (
        "{name}: distributed otherwise than in {month}. Look for a change of definition, source or population; if it is "
        "real, watch calibration, and train anew when outcomes are known.",
        "{name}：分布与{month}明显不同。请核实口径、来源或人群是否变化；如属实际变化，请关注校准情况，待结果明确后重新训练。",
    ),
    RATIO: (
        "Falls observed over falls expected: {now:.2f} ({detail}) for {month}. Recalibrate on recent months before "
        "the next list.",
        "{month}实际返贫与预期之比为{now:.2f}（{detail}）。下次出具名单前，请用近月已知结果重新校准。",
    ),
}
_READING = (
    "Drift: an alarm is a change that matters and that chance does not explain, against the same month of another year; all "
    "tests together give a false alarm in at most one month of a hundred. A real change of the county alarms too: that is "
    "no error, but the model does not know it.",
    "漂移监测：与往年同月相比，变化达到实质程度且无法用偶然解释时才报警；全部检验合计误报概率每月不超过1%。"
    "县情的真实变化也会报警，这并非数据错误，但模型尚未见过这种情况。",
)
_NO_MODEL = (
    "Features, scores and calibration need a model (--model).",
    "特征、评分和校准的漂移监测需要指定模型（--model）。",
)
_NO_YEAR = (
    "The register does not reach back to the same month of last year.",
    "登记数据不足一年，无法与上年同月比较。",
)
_NO_UNITS = (
    "The register is too short to tell steps of units from what is usual.",
    "登记数据月份太少，无法判断数值单位是否变动。",
)
_NO_TRAINING = (
    "The training holds no month of this season, or does not say its months: it is not compared.",
    "训练数据中没有同季节月份，或未注明训练月份，未与训练数据比较。",
)
_FEW_VILLAGES = (
    f"Fewer than {_LEAST_CLUSTERS} villages: chance is told by the spread between households, what strikes many at once is "
    "not in it, and features that a whole place shares are not compared.",
    f"不足{_LEAST_CLUSTERS}个村：偶然性按户间差异估计，未包含同时影响多户的因素；全村共有的特征不作比较。",
)
_TOO_EARLY = (
    "No month after the training has its horizon over: calibration cannot be held against outcomes yet.",
    "训练之后尚无预测期结束的月份，暂不能检验校准情况。",
)
_NO_CAUSES = (
    "Causes need the scored months of this month and of the same month last year (--alerts).",
    "原因构成的漂移监测需要本月和上年同月的评分结果（--alerts）。",
)


def _drawn(counties: int) -> tuple[str, str]:
    return (
        f"A large register: columns are held against each other on groups of rows drawn evenly from all {counties} "
        "counties, features and scores on whole counties drawn by their id (drift.households).",
        f"登记数据量较大：各字段在全部{counties}个县中等距抽取部分记录进行比较，特征和评分按县编号抽取整县比较（drift.households）。",
    )
