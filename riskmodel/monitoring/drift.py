"""Drift: whether this month's register, scores, calibration and causes are still those that the model knows.

A month is held against the same month of the last year, and with a model against the same calendar month of its training, so
that seasons are no drift. Every month is taken as it was known on its own as-of day: late rows of this month are not held
against a last year that has long been filled in. An alarm needs both: a change that matters (the least effects of the rules)
and one that chance does not give. Chance is told by the spread between villages (between households where villages are few):
the same village stands on both sides, so that a drought that strikes a whole village counts as one (cluster-robust t, Liang
& Zeger 1986). All tests of a report share one chance of a false alarm (`false_alarms`, Bonferroni).

A change is told apart by what mends it: households without a record (`rows`), events, help or visits that come in no more
(`lacking`), values that are missing, values nobody knew, single values in another unit (`units`), a whole column that moved
(`level`), another distribution once that is taken out (`shape`). What has moved alike in equal stretches of the past
(`stretches`) is a trend, and no alarm. The shape is measured by the population stability index (Siddiqi 2006), which is
never read without the test, and shown with the Kolmogorov-Smirnov distance.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from riskmodel.alerts.scoring import score_county
from riskmodel.catalogue.catalogue import Feature, in_order, months_back
from riskmodel.cohort.labels import build_labels, censoring_weights
from riskmodel.cohort.splits import embargo_months, told_rows
from riskmodel.engine import engine, known_first, rows_of
from riskmodel.errors import UsageError
from riskmodel.evaluation.calibration import calibration_in_the_large
from riskmodel.model.bundle import RiskModel
from riskmodel.monitoring.known import (
    drawn_counties,
    late_records,
    newest_told,
    no_records_yet,
    not_recorded_yet,
    reported_late,
)
from riskmodel.monitoring.part import Asked, Found
from riskmodel.monitoring.rules import DriftRules
from riskmodel.monitoring.sample import LEAST_CLUSTERS, Sample, sampled
from riskmodel.monitoring.shifts import (
    beyond,
    bins_of,
    chance_of,
    fewer_than_usual,
    ks_distance,
    middling,
    more_than_usual,
    out_of_range,
    shares_differ,
    stability_index,
    stretches,
    unit_steps,
)
from riskmodel.months import last_day, month_number, month_text
from riskmodel.places import place_codes
from riskmodel.register import Register, load_contract

LAST_YEAR, TRAINING, MONTH_BEFORE, ALL_MONTHS = "last_year", "training", "month_before", "all_months"
INPUTS, FEATURES, SCORES, CALIBRATION, CAUSES = "inputs", "features", "scores", "calibration", "causes"
ROWS, MISSING, VALUES, UNITS, LEVEL, SHAPE, RATIO = "rows", "missing", "values", "units", "level", "shape", "ratio"
LACKING, KIND = "lacking", "kind"
NOT_COMPARED = "not_compared"
_DELIVERED = ("events", "assistance", "visits")
_KIND = {"events": "kind"}
"""The column by which rows of a table are of one kind or another."""
_LEAST_OF_KIND, _LEAST_TIMES = 20, 4
"""Of a kind rarer than so many in three months, or told by fewer such stretches (a year), none at all is no wonder."""
_LEAST_EARLIER, _FOR_ALL_MONTHS = 500, 0.1
"""Values of earlier months from which on it is told what hardly any household has; that test's share of a column's chance of
a false alarm for units. The others, which also tell small steps, need more of it."""
_LATELY_READ, _A_YEAR_BEFORE = 6, 4
"""Periods up to now, and up to a year ago, that are read for units of the most households."""
_LATELY = 3
"""Months in which rows of such a table became known: what comes in once a quarter is no fall."""


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


Course = Callable[[], Sequence[np.ndarray]]
"""Samples of a column at the months of `stretches`, made only where something moved."""


def report_drift(asked: Asked) -> Found:
    """Hold the month against last year and against training.

    Returns
    -------
    Found
        Tables `alarms` (each with what to do) and `comparisons` (all tests); figures `alarms`, `tests`.
    """
    notes, tests = [_READING], []
    late = reported_late(asked)
    if told := not not_recorded_yet(asked, late):
        tests += _of_inputs(asked, late, notes)
    else:  # it would be held as a month that nobody recorded
        notes.append(no_records_yet(asked))
    if asked.model is None:
        notes.append(_NO_MODEL)
    elif told:
        tests += _of_model(asked, notes)
    tests += _of_causes(asked, notes)
    check = _calibration(asked, late, notes)
    made = [test.check for test in tests if test.check != NOT_COMPARED]
    limits = _limits(made + [RATIO] * (check is not None), asked.rules.drift.false_alarms)
    if check is not None:
        tests.append(_ratio(asked, *check, limits[False]))
    table = comparisons_of(tests, limits)
    alarms = _alarms(asked, tests, limits)
    figures = {"alarms": len(alarms), "tests": int(table["check"].ne(NOT_COMPARED).sum())}
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
    rows = rows.astype({c: float for c in columns if Comparison.__annotations__[c] == "float"})
    rows["limit"] = [limits[test.check == UNITS] for test in tests]
    rows["alarm"] = np.array([test.alarms(limit) for test, limit in zip(tests, rows["limit"], strict=True)], bool)
    return rows.sort_values(["alarm", "p_value"], ascending=[False, True], kind="stable", ignore_index=True)


# --- the register's columns


def _of_inputs(asked: Asked, late: int, notes: list[tuple[str, str]]) -> Iterator[Comparison]:
    register, rules, now = asked.register, asked.rules.drift, asked.as_of
    step = register.step_months
    first = month_number(register.first_month) + late
    references = _last_year(asked, first)
    if not references:
        notes.append(_NO_YEAR)
    if late:
        notes.append(late_records(late))
    trained = _training_month(asked, first)
    if trained is not None and trained not in references.values():
        references[TRAINING] = trained
    asked.progress("drift of the register's columns")
    trends = {reference: stretches(now, month, first, step) for reference, month in references.items()}
    looked_at = sorted({now, *references.values(), *(m for trend in trends.values() for m in trend)})
    steps = _steps_looked_at(now, first, step, _periods_for_units(register, rules))
    of_units = sorted({m for made in steps.values() for late, early in made.items() for m in (late, *early)})
    sample = sampled(asked, looked_at, of_units, late)
    if sample.drawn:
        notes.append(_drawn(len(sample.counties)))
    tables = [table for table in _DELIVERED if references and register.has(table)]
    came_in = {table: _came_in(register, sample, table, now, references.values()) for table in tables}
    for reference, month in references.items():
        yield _rows(sample, now, month, reference, rules.rows_change)
        for table, rows in came_in.items():
            whole = _lacking(table, rows.groupby("cluster").sum(), now, month, reference, rules.table_fall)
            yield whole
            if whole.effect < whole.least_effect:
                yield from _kinds(rows, now, month, reference, rules.table_fall)
    for name in sample.kinds:
        for reference, month in references.items():
            yield from _column(sample, name, now, month, reference, trends[reference], rules)
    if not steps:
        notes.append(_NO_UNITS)
        return
    if len(sample.for_units) < len(sample.cluster):
        notes.append(_some_for_units(len(sample.for_units)))
    columns = load_contract().tables["records"].columns
    for name in sample.kinds:
        if columns[name].type != "number" or columns[name].unit == "share":
            continue  # a share in percent lies beyond 1, which intake refuses; small ones change twelvefold by themselves
        own = len(steps) / (1 - _FOR_ALL_MONTHS)
        tests = [_units(sample, name, now, step, *made, own, rules) for made in steps.items()]
        tests.append(_of_no_household(sample, name, now, step, of_units, rules))
        yield min(tests, key=lambda test: (test.effect < test.least_effect, test.p_value))


def _periods_for_units(register: Register, rules: DriftRules) -> int:
    """Periods that are read for units: ten of as many households as may be looked at, more where there are fewer."""
    households = sum(register.rows("households", county) for county in register.counties)
    return (_LATELY_READ + _A_YEAR_BEFORE) * rules.unit_households // min(max(households, 1), rules.unit_households)


def _steps_looked_at(now: int, first: int, step: int, periods: int) -> dict[str, dict[int, list[int]]]:
    """Months whose values are looked at for steps of units, now among them, each with those that it is held against.

    A value is held against the household's own of the months before and of the year before. What is usual is told by the
    same steps at every earlier month that is read, the same month of last year among them. A step of a column that few
    households have is rare, and only many months tell how rare.
    """
    lately_read, year_before = range(0, (periods - _A_YEAR_BEFORE) * step), range(12, 12 + _A_YEAR_BEFORE * step)
    read = [m for m in range(now, first - 1, -step) if now - m in lately_read or now - m in year_before]
    lately = {m: [e for k in (1, 2, 3) if (e := m - k * step) in read] for m in read}
    steps = {MONTH_BEFORE: {m: months for m, months in lately.items() if months}}
    told_by = [m for m in read if m <= now - 12 and m - 12 in read]
    if not told_by:  # steps of last month may be those of an error that stayed
        told_by = [now - 12 if now - 24 >= first else now - step]
    steps[LAST_YEAR] = {m: [m - 12] for m in (now, *told_by) if m - 12 >= first}
    return {reference: made for reference, made in steps.items() if now in made and len(made) > 1}


def _last_year(asked: Asked, first: int) -> dict[str, int]:
    """The same month of last year, if the register holds it, and not as its first.

    A register begins with a count of all, of which other months carry a part forward. Waves a year apart are counts all.
    """
    month = asked.as_of - 12
    return {LAST_YEAR: month} if month > first or (month == first and asked.register.step_months >= 12) else {}


def _training_month(asked: Asked, first: int) -> int | None:
    """The last month of training of the same calendar month."""
    if asked.model is None or "trained_to" not in asked.model.evidence:
        return None
    last = month_number(asked.model.evidence["trained_to"])
    month = asked.as_of - 12 * max(1, -(-(asked.as_of - last) // 12))
    return month if first <= month < asked.as_of else None


def _rows(sample: Sample, now: int, month: int, reference: str, least: float) -> Comparison:
    """Whether households are there as they were.

    Each stands for itself: that all of a village are missing is what is asked about, and no accident of that village.
    """
    a, b = sample.months[now].there, sample.months[month].there
    more = a.astype(float) - b
    whole = max(int(b.sum()), 1)
    return Comparison(
        INPUTS, "*", ROWS, reference, month_text(month), float(a.sum()), float(b.sum()),
        abs(float(a.sum()) / whole - 1), least, float(chance_of(more[:, None])[0]),
    )  # fmt: skip


def _came_in(register: Register, sample: Sample, table: str, now: int, references: Iterable[int]) -> pd.DataFrame:
    """Rows of a table that became known in the last months up to each month, by kind and cluster of the sample's households.

    The months are now, the references, and before each of these every one that cuts the past into such stretches. Rows of a
    whole village are not counted: a price that falls for all makes many of them, or there is none.
    """
    step, lately = register.step_months, max(_LATELY, register.step_months)
    earliest = month_number(register.first_month) + lately - step
    ends = sorted({now, *references, *(m for month in references for m in range(month, earliest - 1, -lately))})
    kind = f"coalesce({_KIND[table]}, '')" if table in _KIND else "''"
    known = ", ".join(
        f"count(*) FILTER (known_at > DATE '{last_day(end + step - 1 - lately)}' AND known_at <= "
        f"DATE '{last_day(end + step - 1)}') AS \"{end}\""
        for end in ends
    )
    came = rows_of(*(file for county in register.counties if (file := register.file(table, county))))
    if table in register.revised:  # what is told of a row later is no row that came in
        key = [c for c in load_contract().tables[table].key if c in register.columns(table)]
        came = f"(FROM {came} {known_first(*key)})"
    with engine() as connection:
        connection.register("sample", pd.DataFrame({"household_id": sample.households, "cluster": sample.cluster}))
        made = connection.execute(
            f"SELECT {kind} AS kind, cluster, {known} FROM {came} JOIN sample USING (household_id) "
            "GROUP BY 1, 2 ORDER BY 1, 2"
        ).df()
    return made.set_index(["kind", "cluster"]).rename(columns=int).astype(float)


def _lacking(name: str, rows: pd.DataFrame, now: int, month: int, reference: str, least: float) -> Comparison:
    """Whether far fewer rows of a table came in: where there are no more of them, features stand at nothing."""
    here, there = rows[now].to_numpy(), rows[month].to_numpy()
    a, b = float(here.sum()), float(there.sum())
    return Comparison(
        INPUTS, name, LACKING, reference, month_text(month), a, b, max(b, 1.0) / max(a, 1.0), least,
        float(chance_of((here - there)[:, None])[0]),
    )  # fmt: skip


def _kinds(rows: pd.DataFrame, now: int, month: int, reference: str, least: float) -> Iterator[Comparison]:
    """Whether far fewer rows of a single kind came in than in all stretches of the past, up to the month of reference.

    A kind that comes and goes, as disasters do, is told by its own past: where that was uneven, few are no wonder.
    """
    past = [end for end in rows.columns if end <= month and (month - end) % _LATELY == 0]
    for kind, of_kind in rows.groupby(level="kind"):
        counts = of_kind.sum()
        usual = float(counts[past].mean())
        if not kind or len(past) < _LEAST_TIMES or usual < _LEAST_OF_KIND:
            continue
        told = _lacking(str(kind), of_kind, now, month, reference, least)
        chance = fewer_than_usual(told.now, counts[past].to_numpy())
        effect = max(min(told.then, usual), 1.0) / max(told.now, 1.0)
        yield replace(told, check=KIND, effect=effect, p_value=max(told.p_value, chance))


def _column(
    sample: Sample, name: str, now: int, month: int, reference: str, trend: Sequence[int], rules: DriftRules
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
    effect = float(np.exp(min(abs(np.log(now / then)), _moved(a, b)))) if known else 1.0
    if effect >= least and len(samples := course()) > 2 and all((x > 0).any() for x in samples):
        levels = np.log([_typical(x) for x in samples])
        straight = np.linspace(levels[0], levels[-1], len(levels))
        effect = min(effect, float(np.exp(2 * np.abs(levels - straight).max())))  # a jump in the middle: the whole of it
    return Comparison(check=LEVEL, now=now, then=then, effect=effect, least_effect=least, p_value=p[0], **whose)


def _moved(a: np.ndarray, b: np.ndarray) -> float:
    """How far most tenths of what is more than nothing moved, in logarithms: where sums are few, as the cost of one pupil or
    of two, the median leaps from one to the other while nothing else moves."""
    tenths = np.linspace(0.1, 0.9, 9)
    return float(np.median(np.abs(np.log(np.quantile(a[a > 0], tenths) / np.quantile(b[b > 0], tenths)))))


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
        effect = min(psi, beyond(*(x[np.isfinite(x)] for x in samples)))
    mean_a, mean_b = (float(x.mean()) if len(x) else np.nan for x in (known_a, known_b))
    return Comparison(
        check=SHAPE, now=mean_a, then=mean_b, effect=effect if enough else 0.0, least_effect=least,
        p_value=min(float(p.min()) * bins, 1.0), psi=psi, ks=ks_distance(known_a, known_b), **whose,
    )  # fmt: skip


def _categories(
    a: np.ndarray,
    of_a: np.ndarray,
    b: np.ndarray,
    of_b: np.ndarray,
    whose: Mapping[str, Any],
    rules: DriftRules,
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
    sample: Sample,
    name: str,
    now: int,
    step: int,
    reference: str,
    made: Mapping[int, Sequence[int]],
    tries: float,
    rules: DriftRules,
) -> Comparison:
    """Whether single values made a step of a unit more often than is usual.

    `made`: months whose values are looked at, now among them, each with the months that it is held against.
    """
    factors = rules.unit_factors
    codes = {}
    for late, months in made.items():
        values, *then = (sample.months[m].columns[name][sample.for_units] for m in (late, *months))
        codes[late] = unit_steps(values, middling(np.vstack(then)), factors, rules.unit_window)
    bins = 2 * len(factors) + 1
    earlier = [late for late in codes if late != now]
    share, usual, p = more_than_usual(codes[now], [codes[late] for late in earlier], sample.cluster[sample.for_units], bins)
    season = codes.get(now - 12)
    if season is not None:  # what a season brings each year is usual, however rare in other months
        usual = np.maximum(usual, _shares_of(season, bins))
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


def _of_no_household(sample: Sample, name: str, now: int, step: int, months: Sequence[int], rules: DriftRules) -> Comparison:
    """Whether values lie where hardly any household's lay before, more often than is usual.

    A value that has none before, as a claim mostly has, cannot be held against the household's own; of a hundredfold one it
    is seen all the same.
    """
    values = {m: sample.months[m].columns[name][sample.for_units] for m in months}
    earlier = np.concatenate([values[m] for m in months if m != now])
    earlier = earlier[earlier > 0]
    told = INPUTS, name, UNITS, ALL_MONTHS, month_text(now - step)
    if len(earlier) < _LEAST_EARLIER:
        return Comparison(*told, 0.0, 0.0, 0.0, rules.unit_share, 1.0)
    codes = dict(zip(values, out_of_range(list(values.values()), earlier, rules.unit_window), strict=True))
    others = [codes[m] for m in months if m != now]
    share, usual, p = more_than_usual(codes[now], others, sample.cluster[sample.for_units], 3)
    if now - 12 in codes:
        usual = np.maximum(usual, _shares_of(codes[now - 12], 3))
    most = int((share - usual)[1:].argmax()) + 1
    beyond = values[now][codes[now] == most]
    away = abs(np.log(np.median(beyond) / np.median(earlier))) if len(beyond) else 0.0
    factor = rules.unit_factors[int(np.abs(np.log(rules.unit_factors) - away).argmin())]
    return Comparison(
        *told, float(share[most]), float(usual[most]), float((share - usual)[most]), rules.unit_share,
        min(float(p[most]) * 2 / _FOR_ALL_MONTHS, 1.0), detail=f"{'x' if most == 1 else '/'} {factor:g}",
        extra={"county_id": _most(codes[now], most, sample)},
    )  # fmt: skip


def _shares_of(codes: np.ndarray, bins: int) -> np.ndarray:
    """Share of each bin among the values that are compared, shape (bins,)."""
    return np.bincount(codes[codes >= 0], minlength=bins) / max((codes >= 0).sum(), 1)


def _most(codes: np.ndarray, step: int, sample: Sample) -> str:
    """The county in which the largest share of the values made the step."""
    county = sample.county[sample.for_units]
    number = np.bincount(county[codes >= 0], minlength=len(sample.counties))
    made = np.bincount(county[codes == step], minlength=len(sample.counties))
    return sample.counties[int((made / np.maximum(number, 1)).argmax())]


# --- features, scores, calibration, causes


def _of_model(asked: Asked, notes: list[tuple[str, str]]) -> Iterator[Comparison]:
    """Scores and features of those at risk, in counties drawn until enough households are in them."""
    model, register, rules = asked.model, asked.register, asked.rules.drift
    assert model is not None
    first = month_number(register.first_month)
    references = _last_year(asked, first)
    trained = _training_month(asked, first)
    if trained is None:
        notes.append(_NO_TRAINING)
    elif trained not in references.values():
        references[TRAINING] = trained
    counties = drawn_counties(asked.register, rules.households)
    if not references:
        return
    asked.progress("drift of features and scores")
    scored = functools.cache(lambda month: _scored(asked, month, counties))
    for reference, month in references.items():
        if len(scored(asked.as_of)) and len(scored(month)):
            trend = stretches(asked.as_of, month, first, register.step_months)
            yield from _scores_and_features(asked, scored, month, reference, trend, notes)


def _scores_and_features(
    asked: Asked,
    scored: Callable[[int], pd.DataFrame],
    month: int,
    reference: str,
    trend: Sequence[int],
    notes: list[tuple[str, str]],
) -> Iterator[Comparison]:
    """Risks and features of the month against those of another.

    No two years are quite alike for the households of a county, and what they have in common no spread between villages
    tells. So a feature that is distributed otherwise matters where it may have moved the risks, or moved far
    (`psi_features`). The average of a place is not asked for: it moves a little everywhere each year, which is far beside
    the spread between places, and the households' own values are compared. What villages have from one market (a price)
    counts once for all of them. Months since something happened are told as far back as the register reached at the earlier
    month. A feature that looks back further than that cannot be held against it, nor what rests on it.
    """
    model, rules = asked.model, asked.rules.drift
    assert model is not None
    here, there = scored(asked.as_of), scored(month)
    code, villages = pd.factorize(pd.concat([here["cluster"], there["cluster"]]))
    averages = _resting_on(model, lambda feature: feature.kind == "context")
    left_out: frozenset[str] = frozenset()
    if len(villages) < LEAST_CLUSTERS:
        code, _ = pd.factorize(pd.concat([here["household_id"], there["household_id"]]))
        left_out = averages | _resting_on(model, lambda feature: feature.table == "villages")
        notes += [_FEW_VILLAGES] if _FEW_VILLAGES not in notes else []
    of_a, of_b = code[: len(here)], code[len(here) :]
    whose = {"reference": reference, "reference_month": month_text(month)}
    reach, step = month - month_number(asked.register.first_month), asked.register.step_months
    too_far = _resting_on(model, lambda feature: months_back(feature, step) > reach)
    features = {feature.name: feature for feature in model.catalogue.features}
    since = {name for name, f in features.items() if f.empty is not None and f.unit.startswith("months")}
    of_villages = {name for name, f in features.items() if f.table == "villages"} - left_out

    def of(name: str, frame: pd.DataFrame) -> np.ndarray:
        made = frame[name].to_numpy(float) if len(frame) else np.empty(0)
        return np.minimum(made, reach) if name in since else made

    def values(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        a, b = of(name, here), of(name, there)
        return (a, *_of_one_source(a, of_a, b, of_b)) if name in of_villages else (a, of_a, b, of_b)

    def course(name: str) -> list[np.ndarray]:
        return [of(name, scored(m)) for m in trend] if len(trend) == 3 else []

    risk = _shape(*values("risk"), {"about": SCORES, "name": "risk", **whose}, rules.psi_scores,
                  functools.partial(course, "risk"))  # fmt: skip
    yield risk
    least = rules.psi if risk.effect >= risk.least_effect else rules.psi_features
    asked_for = [n for n in model.inputs if n in here and n not in left_out]
    if beyond_reach := too_far.intersection(asked_for):
        notes.append(_looks_too_far(len(beyond_reach), month))
    for name in asked_for:
        feature = {"about": FEATURES, "name": name, **whose}
        if name in too_far:
            yield Comparison(
                check=NOT_COMPARED, now=np.nan, then=np.nan, effect=0.0, least_effect=np.nan, p_value=np.nan, **feature
            )  # fmt: skip
            continue
        a, whose_a, b, whose_b = values(name)
        yield _missing(np.isnan(a), of_a, np.isnan(b), of_b, feature, rules.missing_change)
        if name not in averages and len(np.union1d(whose_a, whose_b)) >= min(LEAST_CLUSTERS, len(villages)):
            yield _shape(a, whose_a, b, whose_b, feature, least, functools.partial(course, name))


def _of_one_source(
    a: np.ndarray, of_a: np.ndarray, b: np.ndarray, of_b: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clusters of villages that have the same values now and then: those of now, the values of then, those of then."""
    number = int(max(of_a.max(initial=-1), of_b.max(initial=-1))) + 1
    now, then = (np.full(number, np.nan) for _ in range(2))
    now[of_a], then[of_b] = a, b
    _, one = np.unique(np.column_stack([now, then]), axis=0, return_inverse=True)
    return one[of_a], b, one[of_b]


def _resting_on(model: RiskModel, such: Callable[[Feature], bool]) -> frozenset[str]:
    """Names of such features, and of those that rest on them."""
    found: set[str] = set()
    for feature in in_order(model.catalogue.features):
        if such(feature) or feature.needs & found:
            found.add(feature.name)
    return frozenset(found)


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
        frame["cluster"] = frame["household_id"]
        if "village_id" in scores.places:
            place = place_codes(scores.places, "village_id")[scores.kept]
            frame["cluster"] = frame["cluster"].where(place < 0, [f"{county}/{number}" for number in place])
        made.append(frame)
    return pd.concat(made, ignore_index=True) if made else pd.DataFrame()


def _calibration(asked: Asked, late: int, notes: list[tuple[str, str]]) -> tuple[int, pd.DataFrame] | None:
    """The last month after training whose horizon is over and, where records come so many months late, told as a rule:
    risks, what became of them, and their weight.

    A fall is known before it is known of others that they did not fall: where records come late, those whose outcome is
    known fell more often than all. Censoring weights let them stand for all.
    """
    model = asked.model
    if model is None or "trained_to" not in model.evidence:
        return None
    gap = embargo_months(model.run.label, asked.register.step_months)
    month = newest_told(asked, late) - gap
    if month < month_number(model.evidence["trained_to"]) + gap:
        notes.append(_TOO_EARLY)
        return None
    asked.progress("calibration")
    counties = drawn_counties(asked.register, asked.rules.drift.households)
    frames = [score_county(asked.register, model, month, county).frame for county in counties]
    risks = pd.concat(frames, ignore_index=True)[["household_id", "risk"]]
    found = build_labels(asked.register, [month], model.run.label, model.run.at_risk, counties=counties, known_by=asked.day)
    if not len(found):
        notes.append(_TOO_EARLY)
        return None
    found["weight"] = censoring_weights(found, model.run.label.horizon_months)
    rows = risks.merge(found.loc[told_rows(found), ["household_id", "outcome", "weight"]], on="household_id")
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
            weight=rows["weight"].to_numpy(float),
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
        check = OF_NO_HOUSEHOLD if test.reference == ALL_MONTHS else test.check
        en, zh = _ACTIONS[_WHERE_MORE.get(check, check) if more else check]
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
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(("now", "then", "effect", "p_value"), float))


def _named(asked: Asked, test: Comparison) -> tuple[str, str]:
    if test.check == LACKING:
        table = load_contract().tables[test.name]
        return table.en, table.zh
    if test.check == KIND:
        words = load_contract().tables["events"].columns["kind"].zh_values
        return test.name.replace("_", " "), next((zh for zh, en in words.items() if en == test.name), test.name)
    if test.about == INPUTS and test.name != "*":
        column = load_contract().tables["records"].columns[test.name]
        return column.en, column.zh
    if test.about == FEATURES and asked.model is not None:
        feature = next(f for f in asked.model.catalogue.features if f.name == test.name)
        return feature.en, feature.zh
    return _NAMES.get(test.name, (test.name, test.name))


_NAMES = {"*": ("records", "记录"), "risk": ("risk", "风险"), "verdict": ("cause of the alerts", "预警原因判断")}
MORE_ROWS, FULLER, OF_NO_HOUSEHOLD = "more_rows", "fuller", "of_no_household"
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
    LACKING: (
        "{name}: {now:,.0f} rows became known in the last three months, {then:,.0f} in the same months to {month}. Ask "
        "whether this table was delivered, and have it delivered before scoring: what is not on record counts as not "
        "having been.",
        "{name}：近三个月新获知{now:,.0f}条，截至{month}的同期为{then:,.0f}条。请核实该表是否漏报，补报后再评分，否则模型会视为没有发生。",
    ),
    KIND: (
        "Events of the kind {name}: {now:,.0f} became known in the last three months, {then:,.0f} in the same months to "
        "{month}, and in every stretch before some. Ask whether its source was delivered, and have it delivered before "
        "scoring: what is not on record counts as not having been.",
        "事件类型“{name}”：近三个月新获知{now:,.0f}条，截至{month}的同期为{then:,.0f}条，此前各期一直都有。"
        "请核实该类数据来源是否漏报，补报后再评分，否则模型会视为没有发生。",
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
    OF_NO_HOUSEHOLD: (
        "{name}: {now:.1%} of values lie beyond nearly all of the months up to {month} ({then:.1%} is usual), by about "
        "{detail}, most in {county}. Check the unit with whoever delivered them (yuan or fen, yuan or thousand, month or "
        "year), and correct the source's mapping.",
        "{name}：{now:.1%}的数值超出截至{month}几乎所有农户的范围（通常为{then:.1%}），相差约 {detail}，以{county}最多。"
        "请与报送单位核对计量单位（元与分、元与千元、月与年），并更正数据映射。",
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
    "The register does not reach back to the same month of last year, or begins with it: its first month, in which "
    "everything is recorded at once, is like no other.",
    "登记数据未覆盖上年同月，或上年同月正是首月（首月为集中登记，与其他月份不可比），未与上年同月比较。",
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
    f"Fewer than {LEAST_CLUSTERS} villages: chance is told by the spread between households, what strikes many at once is "
    "not in it, and features that a whole place shares are not compared.",
    f"不足{LEAST_CLUSTERS}个村：偶然性按户间差异估计，未包含同时影响多户的因素；全村共有的特征不作比较。",
)
_TOO_EARLY = (
    "No month after the training has its horizon over: calibration cannot be held against outcomes yet.",
    "训练之后尚无预测期结束的月份，暂不能检验校准情况。",
)
_NO_CAUSES = (
    "Causes need the scored months of this month and of the same month last year (--alerts).",
    "原因构成的漂移监测需要本月和上年同月的评分结果（--alerts）。",
)


def _some_for_units(households: int) -> tuple[str, str]:
    return (
        f"Values in another unit are looked for among {households:,} households drawn by their id (drift.unit_households).",
        f"单个数值的计量单位在按户编号抽取的{households:,}户中核查（drift.unit_households）。",
    )


def _looks_too_far(features: int, month: int) -> tuple[str, str]:
    day = month_text(month)
    return (
        f"{features} features look back further than the register reached in {day}: they are not held against that month "
        "(comparisons: not compared). The columns that they are made of are.",
        f"{features}项特征的回溯期早于登记首月（以{day}计），不与该月比较（比较表中标为“未比较”）；其所依据的登记字段仍作比较。",
    )


def _drawn(counties: int) -> tuple[str, str]:
    return (
        f"A large register: columns are held against each other on groups of rows drawn evenly from all {counties} "
        "counties, features and scores on whole counties drawn by their id (drift.households).",
        f"登记数据量较大：各字段在全部{counties}个县中等距抽取部分记录进行比较，特征和评分按县编号抽取整县比较（drift.households）。",
    )
