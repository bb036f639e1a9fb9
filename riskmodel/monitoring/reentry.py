"""The chance of coming back: re-entry into poverty or monitoring within some months, by a discrete-time hazard.

Households that have left are looked at every few months, each time as they were known then (landmarks, van Houwelingen
2007). The hazard of re-entry in each later month is a logit of months since the exit, months ahead, earlier spells, length
of the last one, and income over the line (Allison 1982; Stevens 1999 for poverty), which above it tells the more the longer
somebody has been out. The chance within H months is `1 - prod(1 - hazard)`, with an interval over households. It goes no
further than what was seen: a household far below the line, or out for longer than those who were seen to come back, has the
chance of one at the edge of those learned from.

It is tested as the main model is: on the last third of the days, by a model that has seen only what was known on the first
of them, against the base rate and against the Kaplan-Meier curve by months since the exit. A household counts in the test
where it was watched to the end of the horizon, whether it came back or not: in a panel that watches for a short time the
early re-entries would otherwise be known and the households that stay out would not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from riskmodel.cohort.runs import Assessments
from riskmodel.cohort.spells import Sight, assessments, has_assessments, open_monitoring, open_runs
from riskmodel.engine import engine
from riskmodel.evaluation.bootstrap import resample
from riskmodel.evaluation.metrics import Scored
from riskmodel.monitoring.counties import by_county, side_by_side
from riskmodel.monitoring.known import among, drawn, newest_told
from riskmodel.monitoring.part import Asked, Found
from riskmodel.months import month_number, month_text
from riskmodel.threads import one_thread

POVERTY, MONITORING = "poverty", "monitoring"
MODEL, BASE_RATE, BY_TIME = "hazard_logit", "base_rate", "kaplan_meier"
METRICS = ("roc_auc", "pr_auc", "brier", "calibration_slope", "rate_error")
FEATURES = ("since", "earlier", "last_spell", "start_known", "ratio", "low_ratio", "assisted")
"""Months since the exit; spells before; length of the last one and whether its start is known; income over the line at the
last assessment, and its lowest in the twelve months before; whether monitoring ended by help."""
_OUT = (3, 6, 12, 24)
"""Months since the exit at which the hazard may step."""
_BENDS = (1.2, 2.0)
"""Income over the line at which the log-odds of the hazard may bend: far above the line a little more saves nobody."""


def report_reentry(asked: Asked, sees: Sight, current: pd.DataFrame) -> Found:
    """The chance of re-entry of every household that has left, and what such chances are worth.

    Parameters
    ----------
    current
        Landmarks of the month of the report, with `kind` and `county_id`.

    Returns
    -------
    Found
        Tables `reentry_risks` (households by falling chance within the longest horizon), `reentry_evaluation` and
        `reentry_terms` (log-odds per standard deviation); without enough re-entries none, and a note.
    """
    out_of_sight = current["kind"][~current["in_sight"]].value_counts()
    left = dict(list(current[current["in_sight"]].groupby("kind", sort=True)))
    looks = {kind: look for kind, rows in left.items() if (look := _Look.at(asked, sees, kind, len(rows))) is not None}
    histories = _histories(asked, sees, looks)
    made = list(
        side_by_side(
            asked, _of_kind, {f"re-entry into {kind}": (kind, rows, histories.get(kind)) for kind, rows in left.items()}
        )
    )
    tables = {
        name: pd.concat([m.tables[name] for m in made if name in m.tables], ignore_index=True)
        for name in ("reentry_risks", "reentry_evaluation", "reentry_terms")
        if any(name in m.tables for m in made)
    }
    figures = {name: value for m in made for name, value in m.figures.items()}
    notes = [note for m in made for note in m.notes]
    told = tables["reentry_risks"]["kind"].unique() if "reentry_risks" in tables else ()
    bridge = asked.rules.spells.bridge_months
    notes += [_out_of_sight(kind, int(out_of_sight[kind]), bridge) for kind in told if kind in out_of_sight]
    return Found(tables, figures, notes)


def landmarks(connection: duckdb.DuckDBPyConnection, kind: str, sees: Sight) -> pd.DataFrame:
    """Households that had left and not come back, at the end of each period of `runs` (and `monitoring`), as known then.

    `in_sight` says whether the last record was no older than a spell reaches across, or the register holds no income: how
    the others stand nobody knows. `left_on` is the day on which monitoring ended.
    """
    seen = sees.in_sight("watched_no", "l.as_of_no")
    if kind == POVERTY:
        left = """
            SELECT as_of_no, household_id, as_of_no - from_no AS since, below_before AS earlier, last_spell, start_known,
                   last_ratio AS ratio, NULL AS assisted, CAST(NULL AS DATE) AS left_on
            FROM (SELECT as_of_no, household_id, below, from_no, until_no, last_ratio, start_known AS exit_known,
                         lag(until_no - from_no) OVER course AS last_spell, lag(start_known) OVER course AS start_known,
                         count(*) FILTER (WHERE below) OVER course AS below_before,
                         lead(from_no) OVER course AS later_no
                  FROM runs WINDOW course AS (PARTITION BY as_of_no, household_id ORDER BY run_no))
            WHERE NOT below AND exit_known AND later_no IS NULL"""
    else:
        left = f"""
            SELECT m.as_of_no, m.household_id, m.as_of_no + {sees.step - 1} - until_no AS since, spell_no AS earlier,
                   until_no - from_no AS last_spell, entry = 0 AS start_known, r.ratio, mode = 'assisted' AS assisted,
                   eliminated_on AS left_on
            FROM (FROM monitoring
                  QUALIFY lead(spell_no) OVER (PARTITION BY as_of_no, household_id ORDER BY spell_no) IS NULL) m
            LEFT JOIN standing r ON r.as_of_no = m.as_of_no AND r.household_id = m.household_id
            WHERE until_no IS NOT NULL"""
    return connection.execute(
        f"""
        WITH left_it AS ({left})
        SELECT l.*, low_ratio, coalesce({seen}, true) AS in_sight FROM left_it l LEFT JOIN standing s
        ON s.as_of_no = l.as_of_no AND s.household_id = l.household_id
        ORDER BY l.household_id, l.as_of_no
        """
    ).df()


@dataclass(frozen=True)
class _History:
    """Landmarks of the past with what followed, as known at `first_test` and at the report.

    `frame` has `event_*`, `seen_*` and `watched_*` (`_followed`) for `first`, as known at `first_test`, and `last`, as known
    at the report. `stays` are months out with whether they ended in a re-entry, as known at `first_test`.
    """

    frame: pd.DataFrame
    stays: pd.DataFrame
    first_test: int
    tests: tuple[int, ...]


def _of_kind(asked: Asked, kind: str, current: pd.DataFrame, history: _History | None) -> Found:
    rules, step = asked.rules.reentry, asked.register.step_months
    if history is None or (events := int(history.frame["event_last"].notna().sum())) < 2 * rules.least_entries:
        return Found({}, notes=[_too_few(kind)])
    horizons = _horizons(asked)
    longest = max(horizons)
    now = _Hazard.fit(history.frame, "last", longest, step)
    risks = current[["household_id", "county_id", "kind", "since", "earlier", "ratio"]]
    risks = risks.rename(columns={"since": "months_since_exit"})
    for horizon in horizons:
        name = f"chance_{horizon}m_share"
        risks[name], risks[f"{name}_low"], risks[f"{name}_high"] = now.interval(current, horizon)
    by = [f"chance_{longest}m_share", "household_id"]
    risks = risks.sort_values(by, ascending=[False, True], ignore_index=True)
    tables = {"reentry_risks": risks, "reentry_terms": now.terms().assign(kind=kind)}
    notes, figures = [], {f"{kind}_reentries_learned_from": events}
    train = history.frame[history.frame["as_of_no"] < history.first_test]
    enough = train["event_first"].notna().sum() >= rules.least_entries
    before = _Hazard.fit(train, "first", longest, step) if enough else None
    evaluation = [_evaluated(asked, kind, history, before, horizon) if before else None for horizon in horizons]
    if any(e is None for e in evaluation):
        notes.append(_untested(kind))
    if found := [e for e in evaluation if e is not None]:
        tables["reentry_evaluation"] = pd.concat(found, ignore_index=True)
        best = tables["reentry_evaluation"].query("model == @MODEL and metric == 'roc_auc'")
        figures |= {f"{kind}_reentry_auc_{r.horizon_months}m": r.value for r in best.itertuples()}
    return Found(tables, figures, notes)


def _horizons(asked: Asked) -> list[int]:
    """Horizons of whole periods."""
    step = asked.register.step_months
    return [h for h in asked.rules.reentry.horizons_months if h >= step and h % step == 0]


@dataclass(frozen=True)
class _Look:
    """Periods at whose end households are looked at, those tested on, and the share of households looked at."""

    days: tuple[int, ...]
    tests: tuple[int, ...]
    views: tuple[int, ...]
    share: float

    @classmethod
    def at(cls, asked: Asked, sees: Sight, kind: str, left: int) -> _Look | None:
        """Days with a whole horizon behind them that is told; None where they are too few, or nobody has left."""
        rules, step = asked.rules.reentry, asked.register.step_months
        every = max(rules.every_months // step * step, step)
        first = month_number(asked.register.first_month) + rules.warm_up_months
        last = _told_period(asked, sees, kind) - max(_horizons(asked), default=0)
        days = tuple(range(last, first - 1, -every))[::-1]
        if len(days) < 3 or not left:
            return None
        tests = days[-max(1, len(days) // 3) :]
        return cls(days, tests, tuple(sorted({*days, tests[0], asked.as_of})), min(1.0, rules.households / left))


def _told_period(asked: Asked, sees: Sight, kind: str) -> int:
    """The last period to whose end re-entries are told on the day of the report, as a rule."""
    if kind == POVERTY:
        return newest_told(asked, sees.records_late)
    behind = asked.last_month - sees.told_no(asked.as_of)
    return asked.as_of - -(-behind // sees.step) * sees.step


def _histories(asked: Asked, sees: Sight, looks: Mapping[str, _Look]) -> dict[str, _History]:
    """What was known of households of each kind, and what followed."""
    found = list(by_county(asked, partial(_county_histories, sees=sees, looks=looks), "history")) if looks else []
    histories = {}
    for kind, look in looks.items():
        frame, stays = (pd.concat([county[kind][i] for county in found], ignore_index=True) for i in (0, 1))
        frame = frame[frame["as_of_no"].isin(look.days)].reset_index(drop=True)
        histories[kind] = _History(frame, stays, look.tests[0], look.tests)
    return histories


def _county_histories(
    asked: Asked, county: str, *, sees: Sight, looks: Mapping[str, _Look]
) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
    held = assessments(asked.register, county) if has_assessments(asked.register) else None
    found = {}
    for kind, look in looks.items():
        with engine() as connection:
            found[kind] = _looked_back(connection, asked, county, kind, sees, look, held)
    return found


def _looked_back(
    connection: duckdb.DuckDBPyConnection,
    asked: Asked,
    county: str,
    kind: str,
    sees: Sight,
    look: _Look,
    held: Assessments | None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    bridge = sees.bridge_months
    views, first_test, share = look.views, look.tests[0], look.share
    if kind == POVERTY:
        fell = held.ever_below()
        fell[fell] = drawn(held.ids.filter(pa.array(fell)).to_pylist(), share)
        open_runs(connection, held.of_households(fell), views, bridge)
        stays = f"FROM runs WHERE NOT below AND start_known AND as_of_no = {first_test}"
    else:
        open_monitoring(connection, asked.register, county, views)
        ids = connection.execute("SELECT DISTINCT household_id FROM monitoring ORDER BY household_id").df()["household_id"]
        mine = drawn(ids, share)
        connection.register("others", ids[~mine].to_frame())
        connection.execute("DELETE FROM monitoring WHERE household_id IN (SELECT household_id FROM others)")
        if held is None:
            no_assessments(connection)
        else:
            open_runs(connection, held.of_households(among(held.ids, ids[mine])), views, bridge)
        seen = f"SELECT household_id, watched_no AS seen_no FROM standing WHERE as_of_no = {first_test}"
        stays = f"FROM ({sees.stays_out(seen, first_test)})"
    frame = landmarks(connection, kind, sees)
    frame = frame[frame.pop("in_sight")].reset_index(drop=True)
    connection.register("marks", frame[["household_id", "as_of_no", "left_on"]])
    for name, view in (("first", first_test), ("last", asked.as_of)):
        followed = connection.execute(_followed(kind, name, view, sees)).df()
        frame = frame.merge(followed, "left", ["household_id", "as_of_no"])
    months = "coalesce(until_no, last_no) - from_no AS months, until_no IS NOT NULL AS ended"
    return frame, connection.execute(f"SELECT {months}, count(*) AS n {stays} GROUP BY ALL ORDER BY ALL").df()


def _followed(kind: str, name: str, view: int, sees: Sight) -> str:
    """SQL for what became of each of `marks` as known at a later period: `event_*` (month of the re-entry), `seen_*` (last
    month without one) and `watched_*` (last month in which one would have been seen).

    Who is known by now to have been back on the day, or not to have left by it, which was not told then, is followed no
    further.
    """
    step = sees.step
    until = f"watched_no + {step - 1}" if kind == POVERTY else sees.followed_no("watched_no", view)
    watched = f"SELECT household_id, {until} AS w FROM standing WHERE as_of_no = {view}"
    told = view + step - 1 if kind == POVERTY else sees.told_no(view)
    columns = f"event_no AS event_{name}, seen_no AS seen_{name}, coalesce(w, {told}) AS watched_{name}"
    if kind == POVERTY:
        then = f"""
            SELECT m.household_id, m.as_of_no, CASE WHEN until_no > m.as_of_no THEN until_no END AS event_no,
                   coalesce(until_no, last_no) + {step - 1} AS seen_no
            FROM marks m JOIN runs r ON r.household_id = m.household_id AND r.as_of_no = {view}
            AND NOT below AND from_no <= m.as_of_no
            QUALIFY row_number() OVER (PARTITION BY m.household_id, m.as_of_no ORDER BY run_no DESC) = 1"""
    else:
        then = f"""
            SELECT household_id, as_of_no,
                   CASE WHEN next_no > as_of_no + {step - 1} AND next_no <= coalesce(w, {told}) THEN next_no END AS event_no,
                   least(coalesce(next_no, w, {told}), coalesce(w, {told})) AS seen_no
            FROM (SELECT m.household_id, m.as_of_no, min(from_no) AS next_no
                  FROM marks m LEFT JOIN (SELECT * FROM monitoring WHERE as_of_no = {view}) s
                  ON s.household_id = m.household_id
                  AND (identified_on > left_on OR coalesce(until_no > m.as_of_no + {step - 1}, true))
                  GROUP BY m.household_id, m.as_of_no)
            LEFT JOIN ({watched}) USING (household_id)"""
    return f"SELECT household_id, as_of_no, {columns} FROM ({then}) LEFT JOIN ({watched}) USING (household_id)"


def no_assessments(connection: duckdb.DuckDBPyConnection) -> None:
    """An empty table `standing`, for a register without income."""
    connection.execute(
        "CREATE TABLE standing AS SELECT 0 AS as_of_no, '' AS household_id, 0 AS watched_no, 0.0 AS ratio, 0.0 AS low_ratio "
        "WHERE false"
    )


def _outcomes(frame: pd.DataFrame, view: str, horizon: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Whether each household came back within a horizon, and whether it was watched to the end of it, booleans."""
    reach = frame["as_of_no"] + step - 1 + horizon
    fell = frame[f"event_{view}"].notna() & (frame[f"event_{view}"] <= reach)
    watched = (frame[f"watched_{view}"] >= reach) & (fell | (frame[f"seen_{view}"] >= reach))
    return fell.to_numpy(bool), watched.to_numpy(bool)


@dataclass(frozen=True)
class _Hazard:
    """A fitted hazard of re-entry by month.

    Attributes
    ----------
    middle
        Of each term the median, which stands in where it is missing, shape (terms,).
    gaps
        Places of the terms that were missing somewhere: that they are is a term too.
    edges
        Of what is held to what was seen (`_HELD`) the lowest and the highest value that `_LEAST_SEEN` households reached.
    longest_out
        Months since the exit up to which they count (`_longest_out`).
    spread
        Covariance of the coefficients, the intercept last, over households, shape (terms + 1, terms + 1).
    """

    middle: np.ndarray
    gaps: np.ndarray
    edges: Mapping[str, tuple[float, float]]
    longest_out: float
    spread: np.ndarray
    scaler: Any
    logit: Any
    step: int

    @classmethod
    def fit(cls, frame: pd.DataFrame, view: str, longest: int, step: int) -> _Hazard:
        """Fit on landmarks and the months after them, as far as they were seen in a view.

        On one thread: a sum that is shared out among threads rounds by their number, and so would every chance.
        """
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import StandardScaler

        start = frame["as_of_no"].to_numpy(float) + step - 1
        event = frame[f"event_{view}"].to_numpy(float, na_value=np.nan) - start
        seen = frame[f"seen_{view}"].to_numpy(float, na_value=np.nan) - start
        leads = range(step, longest + 1, step)
        still = [np.where(np.isnan(event), seen >= lead, event > lead - step) for lead in leads]
        edges, longest_out = _edges(frame), _longest_out(frame, event, longest)
        known = _known(_held(frame, edges))
        first = _matrix({name: values[still[0]] for name, values in known.items()}, step, longest_out)
        gaps = np.flatnonzero(np.isnan(first).any(axis=0))  # whoever is still out later was out at first
        terms = np.empty((sum(map(np.count_nonzero, still)), first.shape[1] + len(gaps)), order="F")
        end = 0
        for lead, rows in zip(leads, still, strict=True):
            begin, end = end, end + np.count_nonzero(rows)
            mine = {name: values[rows] for name, values in known.items()}
            terms[begin:end, : first.shape[1]] = _matrix(mine, lead, longest_out)
        middle = np.array([_median(column) for column in terms.T[: first.shape[1]]])
        outcomes = np.concatenate([event[rows] <= lead for lead, rows in zip(leads, still, strict=True)]).astype(int)
        with one_thread():
            scaler = StandardScaler(copy=False).fit(_filled(terms, middle, gaps))
            scaled = scaler.transform(terms)
            logit = LogisticRegression(max_iter=500).fit(scaled, outcomes)
            codes = pd.factorize(frame["household_id"])[0]
            spread = _spread(scaled, outcomes, logit, np.concatenate([codes[rows] for rows in still]))
        return cls(middle, gaps, edges, longest_out, spread, scaler, logit, step)

    def chance(self, frame: pd.DataFrame, horizon: int) -> np.ndarray:
        """The chance of re-entry within a horizon, shape (n,)."""
        return self.interval(frame, horizon)[0]

    def interval(self, frame: pd.DataFrame, horizon: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The chance of re-entry within a horizon and the ends of its 95 % interval, shapes (n,).

        By the delta method on the log of the summed hazard, so that both ends lie between 0 and 1.
        """
        known, out = _known(_held(frame, self.edges)), np.zeros(len(frame))
        slope = np.zeros((len(frame), len(self.spread)))
        terms = np.empty((len(frame), len(self.middle) + len(self.gaps)), order="F")
        with one_thread():
            for lead in range(self.step, horizon + 1, self.step):
                terms[:, : len(self.middle)] = _matrix(known, lead, self.longest_out)
                scaled = self.scaler.transform(_filled(terms, self.middle, self.gaps))
                hazard = self.logit.predict_proba(scaled)[:, 1]
                out -= np.log1p(-np.minimum(hazard, _CERTAIN))
                slope[:, :-1] += hazard[:, None] * scaled
                slope[:, -1] += hazard
            reach = _Z * np.sqrt(np.einsum("ij,jk,ik->i", slope, self.spread, slope)) / out
        low, middle, high = (-np.expm1(-out * np.exp(by)) for by in (-reach, 0.0, reach))
        return middle, low, high

    def terms(self) -> pd.DataFrame:
        """Log-odds of re-entry in a month for one standard deviation more of each term."""
        names = [*_TERMS, *(f"missingindicator_{_TERMS[gap]}" for gap in self.gaps)]
        return pd.DataFrame({"term": names, "log_odds": self.logit.coef_[0]})


_TERMS = (
    "log_months_since_exit", *(f"out_over_{months}_months" for months in _OUT), "log_months_ahead", "earlier_spells",
    "log_last_spell", "last_start_known", "log_ratio", *(f"log_ratio_above_{bend:g}" for bend in _BENDS), "log_ratio_ahead",
    "log_ratio_above_1_out", "log_lowest_ratio", "ended_by_help",
)  # fmt: skip


_HELD = ("last_spell", "ratio", "low_ratio")
"""What counts only as far as it was seen."""
_LEAST_SEEN = 10
"""Households that must have been seen as far out for a value to count as it is."""
_AT_ONCE = 50_000
"""Rows of which the covariance is added up at once."""
_Z = 1.959964
_CERTAIN = 1 - 1e-12


def _edges(frame: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """How low and how high `_LEAST_SEEN` households were seen, of each of `_HELD`."""
    found = {}
    for name in _HELD:
        by_household = frame.groupby("household_id")[name].agg(["min", "max"]).astype(float).dropna()
        if len(by_household) >= _LEAST_SEEN:
            low, high = np.sort(by_household["min"])[_LEAST_SEEN - 1], np.sort(by_household["max"])[-_LEAST_SEEN]
            found[name] = (float(min(low, high)), float(max(low, high)))
    return found


def _longest_out(frame: pd.DataFrame, event: np.ndarray, longest: int) -> float:
    """Months since the exit at which, or later, `_LEAST_SEEN` households came back, `event` months after their landmark.

    Where fewer came back at all they count for nothing: how long somebody has been out is the same for all.
    """
    out = np.maximum(frame["since"].to_numpy(float), 0) + event
    latest = pd.Series(out[event <= longest]).groupby(frame["household_id"].to_numpy()[event <= longest]).max()
    return float(np.sort(latest)[-_LEAST_SEEN]) if len(latest) >= _LEAST_SEEN else 1.0


def _held(frame: pd.DataFrame, edges: Mapping[str, tuple[float, float]]) -> pd.DataFrame:
    """Landmarks with what lies beyond the edges put on them."""
    return frame.assign(**{name: frame[name].astype(float).clip(*ends) for name, ends in edges.items()})


def _spread(terms: np.ndarray, outcomes: np.ndarray, logit: Any, households: np.ndarray) -> np.ndarray:
    """Covariance of the coefficients, the intercept last, rows of one household taken together (Liang & Zeger 1986)."""
    size, number = terms.shape[1] + 1, int(households.max()) + 1
    bread, scores = np.zeros((size, size)), np.zeros((number, size))
    for begin in range(0, len(terms), _AT_ONCE):
        some = slice(begin, begin + _AT_ONCE)
        rows = np.column_stack([terms[some], np.ones(len(terms[some]))])
        chance = logit.predict_proba(terms[some])[:, 1]
        bread += rows.T @ (rows * (chance * (1 - chance))[:, None])
        for place in range(size):
            left = rows[:, place] * (outcomes[some] - chance)
            scores[:, place] += np.bincount(households[some], weights=left, minlength=number)
    inverse = np.linalg.pinv(bread + np.diag([1.0] * (size - 1) + [0.0]) / logit.C)
    return inverse @ (scores.T @ scores) @ inverse * number / max(number - 1, 1)


def _known(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """What of landmarks the hazard rests on, NaN where unknown; incomes over the line as logs."""
    known = {name: frame[name].to_numpy(float, na_value=np.nan) for name in FEATURES}
    with np.errstate(divide="ignore", invalid="ignore"):
        return known | {name: np.log(np.clip(known[name], 0.05, 20)) for name in ("ratio", "low_ratio")}


def _matrix(known: Mapping[str, np.ndarray], lead: int, longest_out: float) -> np.ndarray:
    """Terms of the hazard `lead` months after the landmark, shape (n, terms)."""
    ahead = np.full(len(known["since"]), np.log(lead))
    out = np.minimum(np.maximum(known["since"], 0) + lead, longest_out)
    return np.column_stack([
        np.log(out),
        *(out > months for months in _OUT),
        ahead,
        np.minimum(known["earlier"], 5),
        np.log1p(np.maximum(known["last_spell"], 0)),
        known["start_known"],
        known["ratio"],
        *(np.maximum(known["ratio"] - np.log(bend), 0) for bend in _BENDS),
        known["ratio"] * ahead,
        np.maximum(known["ratio"], 0) * np.log(out),
        known["low_ratio"],
        known["assisted"],
    ])  # fmt: skip


def _median(column: np.ndarray) -> float:
    """The median of what is known of a term, 0 where nothing is."""
    known = column[~np.isnan(column)]
    return float(np.median(known)) if len(known) else 0.0


def _filled(terms: np.ndarray, middle: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """The terms, in place, with medians where they are missing; behind them, for those of `gaps`, whether they are."""
    terms[:, len(middle) :] = np.isnan(terms[:, gaps])
    for place, value in enumerate(middle):
        column = terms[:, place]
        column[np.isnan(column)] = value
    return terms


def _evaluated(asked: Asked, kind: str, history: _History, model: _Hazard, horizon: int) -> pd.DataFrame | None:
    """Chances on the test days against what followed; None where these hold too few re-entries."""
    rules, step = asked.rules.reentry, asked.register.step_months
    frame = history.frame
    train = frame[frame["as_of_no"] < history.first_test]
    test = frame[frame["as_of_no"].isin(history.tests)]
    fell, watched = _outcomes(test, "last", horizon, step)
    test, y = test[watched], fell[watched].astype(float)
    if not rules.least_entries <= y.sum() < len(y):
        return None
    curve = _curve(history.stays["months"], history.stays["ended"], history.stays["n"])
    begun = np.maximum(test["since"].to_numpy(float), 0)
    before = np.asarray(curve.predict(begun))
    risks = {
        MODEL: model.chance(test, horizon),
        BASE_RATE: np.full(len(test), _rate(train, horizon, step)),
        BY_TIME: 1 - np.asarray(curve.predict(begun + horizon)) / np.where(before > 0, before, 1.0),
    }
    scored = {name: Scored(y, np.clip(risk, 0, 1)) for name, risk in risks.items()}

    def measures(of: Scored) -> Any:
        return lambda weight: of.metrics(weight, METRICS)

    by_model = {name: measures(of) for name, of in scored.items()}
    found = resample(by_model, test["household_id"], rules.intervals, seed=20260101)
    figures, gains = found.intervals(), found.differences(BY_TIME)
    rows = []
    for name in scored:
        for metric in METRICS:
            figure, gain = figures[name][metric], gains.get(name, {}).get(metric)
            rows.append({
                "kind": kind, "horizon_months": horizon, "model": name, "metric": metric, "value": figure.value,
                "low": figure.low, "high": figure.high, "gain": gain.value if gain else np.nan,
                "gain_low": gain.low if gain else np.nan, "gain_high": gain.high if gain else np.nan,
                "rows": len(y), "entered": int(y.sum()), "test_from": month_text(history.first_test),
            })  # fmt: skip
    return pd.DataFrame(rows)


def _rate(train: pd.DataFrame, horizon: int, step: int) -> float:
    """Share that re-enters within a horizon, those lost before it censored."""
    start = train["as_of_no"] + step - 1
    ended = train["event_first"].notna()
    months = train["event_first"].where(ended, train["seen_first"]) - start
    return float(1 - _curve(months.clip(lower=0), ended).predict(horizon))


def _curve(months: pd.Series, ended: pd.Series, n: pd.Series | None = None) -> Any:
    from lifelines import KaplanMeierFitter

    known = months.notna()
    weights = None if n is None else n[known].to_numpy(float)
    return KaplanMeierFitter().fit(months[known].to_numpy(float), ended[known].to_numpy(bool), weights=weights)


def _too_few(kind: str) -> tuple[str, str]:
    name = _NAMES[kind]
    return (
        f"Re-entry into {kind}: too few months or re-entries to estimate a chance.",
        f"再次{name}：月份或再次进入次数过少，无法估计概率。",
    )


def _untested(kind: str) -> tuple[str, str]:
    name = _NAMES[kind]
    return (
        f"Re-entry into {kind}: too few re-entries in the test months to say what the chances are worth at every horizon.",
        f"再次{name}：检验月份中再次进入次数过少，无法评价各期概率的质量。",
    )


def _out_of_sight(kind: str, households: int, months: int) -> tuple[str, str]:
    name = _NAMES[kind]
    return (
        f"Re-entry into {kind}: {households:,} household(s) left, did not come back, and have been without a record for "
        f"more than {months} months. Nobody knows how they stand: they are not on the list, and are to be looked for.",
        f"再次{name}：另有{households:,}户退出后未再进入，但超过{months}个月没有记录，现状不明：不列入概率清单，须先核实。",
    )


_NAMES = {POVERTY: "低于监测线", MONITORING: "进入监测"}
