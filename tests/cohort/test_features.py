"""Features as they were known: held against a slow oracle, and blind to the future."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riskmodel.catalogue import load_catalogue
from riskmodel.cohort.cohorts import build_cohorts
from riskmodel.cohort.features import build_features
from riskmodel.months import as_of_day, month_number
from riskmodel.register import Register, ingest
from riskmodel.settings import AtRisk, Label
from tests.cohort.registers import make_register, monthly

CATALOGUE = load_catalogue()
AS_OF = month_number("2023-06")
VALUES = [c for c in CATALOGUE.by_name]


@pytest.mark.parametrize(
    ("panel", "feature", "expected"),
    [
        ("eph", "below_last_visit", [np.nan, 0]),
        ("hfps", "insecure_last_round", [np.nan, 0]),
        ("hfps", "insecure_share", [1, 0.5]),
    ],
)
def test_a_visit_at_which_no_income_was_told_was_not_above_the_line(
    tmp_path: Path, panel: str, feature: str, expected: list[float]
) -> None:
    """Both lie below the line now; three months ago 002 lay above it, and the income of 001 was not told."""
    records = pd.concat([monthly(h, "2023-03", [150, None, None, 90]) for h in ("001", "002")], ignore_index=True)
    records.loc[0, "welfare"] = None
    register = make_register(tmp_path, records=records)
    catalogue = load_catalogue(["features.yaml", f"features_{panel}.yaml"])
    found = build_features(register, [AS_OF], catalogue).frame[feature]
    assert np.array_equal(found.to_numpy(float), expected, equal_nan=True)


@pytest.mark.parametrize(
    ("feature", "asked"),
    [
        ("aid_kinds", ("aid_cash_gov_church", "aid_inkind_gov_church", "aid_inkind_family", "transfer_cash_family")),
        ("coping_kinds", ("cope_spent_savings", "cope_borrowed_family", "cope_borrowed_bank", "cope_credit_purchase",
                          "cope_sold_belongings")),
    ],
)  # fmt: skip
def test_who_did_not_answer_what_help_came_or_how_it_coped_did_not_say_none(
    tmp_path: Path, feature: str, asked: tuple[str, ...]
) -> None:
    """001 names two kinds, 002 none, 003 left one question open, 004 all; so did 005, which named one a quarter before."""
    told = {"001": (1, 1), "002": (0, 0), "003": (1, None), "004": (None, None), "005": (None, None)}
    visits = [("005", "2023-01", (1, 0)), *((h, "2023-04", answers) for h, answers in told.items())]
    records = pd.concat([
        monthly(h, month, [150], **dict.fromkeys(asked, 0 if answers[0] is not None else None))
        .assign(**dict(zip(asked[:2], answers, strict=True)))
        for h, month, answers in visits
    ])  # fmt: skip
    extra = {name: {"from": name, "type": "number", "en": name, "zh": name} for name in asked}
    source = {"source": "test", "step_months": 3, "pseudonymised": True, "tables": {"records": {"extra": extra}}}
    ingest(source, {"records": records}, tmp_path)
    catalogue = load_catalogue(["features.yaml", "features_eph.yaml"])
    found = build_features(Register.open(tmp_path), [month_number("2023-04")], catalogue).frame
    assert np.array_equal(found[feature].to_numpy(float), [2, 0, np.nan, np.nan, 1], equal_nan=True)


@st.composite
def small_registers(draw: st.DrawFn) -> dict[str, pd.DataFrame]:
    """Three households over 2022-2023 with gaps, late records, events, help and spells, two in villages of one name."""
    whole = st.integers(0, 400)
    records, events, help_, spells = [], [], [], []
    for household in ("001", "002", "003"):
        for month in draw(st.sets(st.integers(0, 23), min_size=1, max_size=12)):
            first = pd.Timestamp("2022-01-01") + pd.DateOffset(months=month)
            records.append(
                {
                    "household_id": household,
                    "month": first,
                    "known_at": first + pd.offsets.MonthEnd(1) + pd.Timedelta(days=draw(st.integers(-20, 70))),
                    "welfare": draw(st.none() | whole.map(float)),
                    "line": 100.0,
                    "hh_size": draw(st.integers(1, 6)),
                    "n_able": draw(st.sampled_from([0, 1, None])),
                    "wage_income": draw(st.sampled_from([0.0, 500.0, 900.0, None])),
                    "transfer_income": float(draw(whole)),
                    "days_worked": float(draw(st.integers(0, 20))),
                    "days_available": float(draw(st.integers(0, 20))),
                    "visited_on": draw(st.sampled_from([None, first + pd.Timedelta(days=5)])),
                }
            )
        day = st.integers(0, 700).map(lambda n: pd.Timestamp("2022-01-05") + pd.Timedelta(days=n))
        for onset in draw(st.lists(day, max_size=3, unique=True)):
            delay = pd.Timedelta(days=draw(st.integers(0, 90)))
            kind = draw(st.sampled_from(["illness", "disaster"]))
            events.append({"household_id": household, "kind": kind, "onset_on": onset, "known_at": onset + delay})
        for offered in draw(st.lists(day, max_size=3, unique=True)):
            answered = offered + pd.Timedelta(days=draw(st.integers(0, 200)))
            ended = answered + pd.Timedelta(days=draw(st.integers(0, 200)))
            accepted = draw(st.booleans())
            help_.append(
                {
                    "household_id": household, "measure": "training", "offered_on": offered, "known_at": offered,
                    "suitable": True, "answered_on": draw(st.sampled_from([answered, answered, None])),
                    "accepted": accepted,
                    "refusal_reason": None if accepted else "none_given",
                    "started_on": answered if accepted else None, "ended_on": ended if accepted else None,
                }
            )  # fmt: skip
        for identified in draw(st.lists(day, max_size=1)):
            end = identified + pd.Timedelta(days=draw(st.integers(30, 300)))
            spells.append(
                {"household_id": household, "identified_on": identified, "known_at": identified, "eliminated_on": end}
            )
    tables = {"records": pd.DataFrame(records)}
    tables |= {
        name: pd.DataFrame(rows) for name, rows in (("events", events), ("assistance", help_), ("spells", spells)) if rows
    }
    tables["households"] = pd.DataFrame({"household_id": ["001", "002", "003"], "village_id": ["a", "a", "b"]})
    tables["households"]["township_id"] = draw(st.lists(st.sampled_from(["t", "u", None]), min_size=3, max_size=3))
    return tables


def table_of(folder: Path, tables: dict[str, pd.DataFrame], as_of: list[int] | None = None, **how: Any) -> pd.DataFrame:
    return build_features(make_register(folder, **tables), as_of or [AS_OF], CATALOGUE, **how).frame


def same(left: pd.DataFrame, right: pd.DataFrame) -> None:
    columns = sorted(set(left.columns) & set(right.columns))
    pd.testing.assert_frame_equal(left[columns], right[columns], check_exact=True)


def known(table: pd.DataFrame, date: str = "known_at") -> pd.DataFrame:
    return table[pd.to_datetime(table[date]) <= pd.Timestamp(as_of_day(AS_OF, 1))]


@settings(max_examples=6)
@given(tables=small_registers(), shift=st.floats(1, 300))
def test_whatever_is_known_after_the_as_of_day_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, tables: dict[str, pd.DataFrame], shift: float
) -> None:
    """Deleted, or changed and added to: bit for bit the same features."""
    if not len(known(tables["records"])):
        return
    day = pd.Timestamp(as_of_day(AS_OF, 1))
    before = table_of(tmp_path_factory.mktemp("before"), tables)
    deleted = {name: known(table) if "known_at" in table else table for name, table in tables.items()}
    same(before, table_of(tmp_path_factory.mktemp("deleted"), {n: t for n, t in deleted.items() if len(t)}))
    other = {name: table.copy() for name, table in tables.items()}
    late = pd.to_datetime(other["records"]["known_at"]) > day
    other["records"].loc[late, ["welfare", "wage_income", "hh_size"]] = [shift, shift, 6]
    for table, column in (("assistance", "ended_on"), ("spells", "eliminated_on")):
        if table in other:
            later = pd.to_datetime(other[table][column]) > day
            other[table].loc[later, column] = pd.NaT
    last = known(tables["records"]).iloc[[-1]].copy()
    last["known_at"], last["welfare"] = day + pd.Timedelta(days=1), shift
    other["records"] = pd.concat([other["records"], last], ignore_index=True)
    same(before, table_of(tmp_path_factory.mktemp("other"), other))


@settings(max_examples=5)
@given(tables=small_registers(), seed=st.integers(0, 99))
def test_order_of_rows_and_columns_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, tables: dict[str, pd.DataFrame], seed: int
) -> None:
    if not len(known(tables["records"])):
        return
    shuffled = {
        name: table.sample(frac=1, random_state=seed)[sorted(table.columns, reverse=bool(seed % 2))]
        for name, table in tables.items()
    }
    same(table_of(tmp_path_factory.mktemp("straight"), tables), table_of(tmp_path_factory.mktemp("shuffled"), shuffled))


@settings(max_examples=12)
@given(tables=small_registers())
def test_features_equal_a_slow_oracle(tmp_path_factory: pytest.TempPathFactory, tables: dict[str, pd.DataFrame]) -> None:
    if not len(known(tables["records"])):
        return
    found = table_of(tmp_path_factory.mktemp("r"), tables).set_index("household_id")
    for household in known(tables["records"])["household_id"].unique():
        expected = oracle(tables, household)
        for name, value in expected.items():
            if name in found:
                got = float(found.loc[household, name])
                assert (math.isnan(got) and math.isnan(value)) or got == pytest.approx(value, rel=1e-5, abs=1e-6), name


def oracle(tables: dict[str, pd.DataFrame], household: str) -> dict[str, float]:
    """Features of one household at 2023-06, record by record."""

    def rows(table: str, date: str) -> pd.DataFrame:
        frame = tables.get(table, pd.DataFrame(columns=["household_id", "known_at", date]))
        mine = known(frame[frame["household_id"] == household]).copy()
        mine["age"] = [max(AS_OF - month_number(pd.Timestamp(d).date()), 0) for d in mine[date]]
        return mine[pd.to_datetime(mine[date]) <= pd.Timestamp(as_of_day(AS_OF, 1))]

    def latest(frame: pd.DataFrame, column: str, at_least: int = 0) -> float:
        frame = frame[frame[column].notna() & (frame["age"] >= at_least)]
        return float(frame.sort_values("age")[column].iloc[0]) if len(frame) else math.nan

    records = rows("records", "month")
    ratio = np.log(np.maximum(records["welfare"].astype(float) / records["line"], 0.05))
    records["log_ratio"] = ratio
    year = records[records["age"] < 12]
    stated = year[year["welfare"].notna()]
    days = records[records["age"] < 3]
    available = days["days_available"].sum()
    share = days["days_worked"].sum() / available if len(days) and available else math.nan
    income = np.nan_to_num([latest(records, "wage_income"), latest(records, "transfer_income")])
    total = income.sum()
    poor = records[records["welfare"] < records["line"]]
    visited = pd.to_datetime(records["visited_on"]).dropna()
    expected = {
        "log_ratio_now": latest(records, "log_ratio"),
        "log_ratio_mean_12m": year["log_ratio"].mean() if len(year) else math.nan,
        "log_ratio_min_12m": year["log_ratio"].min() if len(year) else math.nan,
        "log_ratio_change_12m": latest(year, "log_ratio") - latest(records, "log_ratio", 12),
        "log_ratio_sd_12m": year["log_ratio"].std() if len(year) > 1 else math.nan,
        "near_line_share_12m": (stated["welfare"] < 1.2 * stated["line"]).mean() if len(stated) else math.nan,
        "hh_size_now": latest(records, "hh_size"),
        "able_now": latest(records, "n_able"),
        "transfer_share": income[1] / total if total else math.nan,
        "work_intensity_3m": share,
        "months_since_below": float(min(poor["age"].min(), 36)) if len(poor) else 36.0,
        "visit_age": float(min(max(AS_OF - month_number(v.date()), 0) for v in visited)) if len(visited) else math.nan,
        "record_age": float(records["age"].min()),
        "records_12m": float(len(year)),
        "season_sin": math.sin(math.pi),
    }
    if "events" in tables:
        events = rows("events", "onset_on")
        ill = events[events["kind"] == "illness"]["age"]
        expected["illness_events_12m"] = float((ill < 12).sum())
        expected["months_since_illness"] = float(min(ill.min(), 36)) if len(ill) else 36.0
    if "assistance" in tables:
        help_ = rows("assistance", "offered_on")
        day = pd.Timestamp(as_of_day(AS_OF, 1))
        answered = pd.to_datetime(help_["answered_on"]) <= day
        ended = pd.to_datetime(help_["ended_on"]) <= day
        started = pd.to_datetime(help_["started_on"]) <= day
        recent = help_["age"] < 12
        accepted = help_["accepted"].fillna(False).astype(bool)
        expected["offers_12m"] = float(recent.sum())
        expected["accepted_12m"] = float((answered & accepted & recent).sum())
        expected["refused_no_reason_12m"] = float((answered & ~accepted & recent).sum())
        expected["active_measures"] = float((started & ~ended & (help_["age"] < 24)).sum())
    return expected


def test_months_together_equal_each_month_alone(tmp_path: Path) -> None:
    records = pd.concat(
        [monthly("001", "2022-01", [100.1 + 7 * (i % 5) for i in range(24)]), monthly("002", "2022-06", [90.3] * 12)]
    )
    tables = {"records": records, "households": pd.DataFrame({"household_id": ["001", "002"], "village_id": "a"})}
    months = [AS_OF - 3, AS_OF, AS_OF + 3]
    together = table_of(tmp_path / "r", tables, months)
    alone = [table_of(tmp_path / "r", tables, [m]) for m in months]
    each = pd.concat(alone).sort_values(["household_id", "as_of"], ignore_index=True)
    same(together, each)


def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    records = pd.concat(
        [monthly(f"00{i}", "2022-01", [100.1 + i] * 20, county_id=f"c{i % 3}") for i in range(9)], ignore_index=True
    )
    register = make_register(tmp_path, records=records)
    one, three = (build_features(register, [AS_OF], CATALOGUE, workers=n).frame for n in (1, 3))
    same(one, three)


def test_a_village_event_strikes_every_household_of_the_village(tmp_path: Path) -> None:
    records = pd.concat([monthly(h, "2023-01", [150.0] * 6) for h in ("001", "002")])
    households = pd.DataFrame({"household_id": ["001", "002"], "village_id": ["a", "b"]})
    events = pd.DataFrame({"village_id": ["a"], "household_id": None, "kind": "disaster", "onset_on": "2023-04-10"})
    found = table_of(tmp_path, {"records": records, "households": households, "events": events})
    assert found.set_index("household_id")["months_since_disaster"].tolist() == [2.0, 36.0]


def test_village_context_is_of_the_same_month(tmp_path: Path) -> None:
    records = pd.concat([monthly("001", "2023-01", [150.0] * 6), monthly("002", "2023-01", [*[150.0] * 5, 90.0])])
    households = pd.DataFrame({"household_id": ["001", "002"], "village_id": "a"})
    tables = {"records": records, "households": households}
    found = table_of(tmp_path, tables, [AS_OF - 1, AS_OF])
    assert found.groupby("as_of")["village_below_share"].first().tolist() == [0.0, 0.5]


def test_a_household_without_a_record_of_a_year_says_nothing_of_its_village(tmp_path: Path) -> None:
    """002 fell below the line and was last seen thirteen months ago, 003 twelve: it still counts."""
    first, seen = {"001": "2022-01", "002": "2022-01", "003": "2022-01"}, {"001": 18, "002": 5, "003": 6}
    records = pd.concat([monthly(h, first[h], [150.0 if h == "001" else 90.0] * n) for h, n in seen.items()])
    households = pd.DataFrame({"household_id": list(seen), "village_id": "a"})
    found = table_of(tmp_path, {"records": records, "households": households})
    assert found.set_index("household_id")["record_age"].to_dict() == {"001": 0, "002": 13, "003": 12}
    assert found["village_below_share"].tolist() == found["county_below_share"].tolist() == [0.5] * 3
    assert np.allclose(found["village_log_ratio"], np.log(1.5 * 0.9) / 2)


def test_a_quarterly_panel_counts_in_months(tmp_path: Path) -> None:
    records = pd.DataFrame(
        {
            "household_id": "001",
            "month": ["2022-04-01", "2023-01-01", "2023-04-01"],
            "welfare": [300.0, 200.0, 100.0],
            "line": 100.0,
        }
    )
    register = make_register(tmp_path, step_months=3, records=records)
    found = build_features(register, [month_number("2023-04")], CATALOGUE).frame.iloc[0]
    assert found["log_ratio_change_3m"] == pytest.approx(-math.log(2))
    assert found["log_ratio_change_12m"] == pytest.approx(-math.log(3))
    assert found["records_12m"] == 2


def test_protected_attributes_never_become_features(tmp_path: Path) -> None:
    records = monthly("001", "2023-01", [150.0] * 6)
    households = pd.DataFrame({"household_id": ["001"], "head_sex": "female", "head_ethnic_minority": True})
    register = make_register(tmp_path, records=records, households=households)
    cohorts = build_cohorts(register, ["2023-06"], label=Label(), at_risk=AtRisk())
    assert not {"head_sex", "head_ethnic_minority"} & set(cohorts.frame.columns)


def test_standing_known_later_makes_nobody_at_risk_earlier(tmp_path: Path) -> None:
    """An event that the office learnt of after the as-of day does not take the household off the list."""
    records = monthly("001", "2023-01", [150.0] * 6, wage_income=1000.0, selfpay=900.0)
    late = {"household_id": ["001"], "kind": "illness", "onset_on": "2023-05-10", "known_at": "2023-07-02"}
    on_time = {**late, "known_at": "2023-06-02"}
    found = [
        len(build_cohorts(make_register(tmp_path / str(i), records=records, events=pd.DataFrame(e)), ["2023-06"]).frame)
        for i, e in enumerate([late])
    ]
    assert found == [1]
    register = make_register(tmp_path / "on_time", records=records, events=pd.DataFrame(on_time))
    with pytest.raises(Exception, match="nobody is at risk"):
        build_cohorts(register, ["2023-06"])


def test_no_able_labour_is_known_of_books_that_count_able_members_and_not_who_works(tmp_path: Path) -> None:
    records = pd.concat([monthly("001", "2023-05", [150, 150], n_able=0), monthly("002", "2023-05", [150, 150], n_able=2)])
    found = build_features(make_register(tmp_path, records=records), [AS_OF], CATALOGUE).frame
    assert found["able_known"].tolist() == [0, 2]
