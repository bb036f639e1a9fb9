"""Lists at the visiting capacity, against every possible list of small counties and plain loops over alerts."""

from __future__ import annotations

import collections
import itertools
import math
import statistics

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riskmodel.errors import UsageError
from riskmodel.evaluation.capacity import (
    actions,
    alert_states,
    churn,
    figures_by_length,
    floors_within,
    lead_time,
    lead_times,
    length_for_recall,
    list_ends,
    list_figures,
    nested_lists,
)
from riskmodel.evaluation.metrics import Scored
from riskmodel.model.intervals import VennAbers
from riskmodel.months import month_number, month_text
from riskmodel.settings import Capacity

FEW = settings(max_examples=25)


@st.composite
def counties(draw: st.DrawFn) -> tuple[pd.DataFrame, np.ndarray]:
    """A small county with tied risks, in villages of townships, and who fell."""
    n = draw(st.integers(3, 10))
    generator = np.random.default_rng(draw(st.integers(0, 10_000)))
    village = generator.integers(0, 4, n)
    scores = pd.DataFrame(
        {
            "household_id": [f"h{i}" for i in generator.permutation(n)],
            "county_id": "k",
            "township_id": [f"t{v // 2}" for v in village],
            "village_id": [f"v{v}" for v in village],
            "risk": generator.integers(1, 4, n) / 4,
        }
    )
    return scores, generator.integers(0, 2, n).astype(float)


def every_list(scores: pd.DataFrame, total: int, township: int, village: int) -> list[tuple[int, ...]]:
    """All lists of the county that keep the floors."""

    def keeps(rows: tuple[int, ...]) -> bool:
        listed = scores.iloc[list(rows)]
        return all(
            (listed[place] == name).sum() >= min(floor, size)
            for place, floor in (("township_id", township), ("village_id", village))
            for name, size in scores[place].value_counts().items()
        )

    return [rows for rows in itertools.combinations(range(len(scores)), min(total, len(scores))) if keeps(rows)]


@FEW
@given(counties(), st.integers(1, 8), st.integers(0, 2), st.integers(0, 2))
def test_the_list_is_the_best_of_all_that_keep_the_floors(case: tuple, total: int, township: int, village: int) -> None:
    """Also with every tie lost or won: no list of the same risk catches fewer or more."""
    scores, fell = case
    floors = {"township_floor": township, "village_floor": village}
    possible = every_list(scores, total, township, village)
    if not possible:  # the largest floors that the visits suffice for, of villages first
        kept = max(
            (v, t) for v, t in itertools.product(range(village + 1), range(township + 1)) if every_list(scores, total, t, v)
        )
        lowered = floors_within(scores, Capacity(number=total), **floors)
        assert lowered[["village_floor", "township_floor"]].to_numpy().tolist() == [list(kept)]
        possible = every_list(scores, total, kept[1], kept[0])
    risk = scores["risk"].to_numpy()
    most = max(risk[list(rows)].sum() for rows in possible)
    caught = [fell[list(rows)].sum() for rows in possible if math.isclose(risk[list(rows)].sum(), most)]
    listed = nested_lists(scores, Capacity(number=total), **floors).notna().to_numpy()
    assert tuple(np.flatnonzero(listed)) in possible
    assert risk[listed].sum() == pytest.approx(most)
    found = list_figures(scores, fell, Capacity(number=total), **floors)
    rows = found.loc["listed", "rows"]
    assert found.loc["worst", "precision"] * rows == pytest.approx(min(caught), abs=1e-12)
    assert found.loc["best", "precision"] * rows == pytest.approx(max(caught), abs=1e-12)
    for end, hits in (("listed", fell[listed].sum()), ("worst", min(caught)), ("best", max(caught))):
        figures = found.loc[end]
        assert figures["precision"] == pytest.approx(hits / listed.sum(), abs=1e-12)
        assert figures["false_alerts_per_1000"] == pytest.approx(1000 * (listed.sum() - hits) / len(fell), abs=1e-9)
        if fell.any():
            assert figures["recall"] == pytest.approx(hits / fell.sum(), abs=1e-12)
            assert figures["missed"] == pytest.approx(1 - hits / fell.sum(), abs=1e-12)
            assert figures["lift"] == pytest.approx(hits / listed.sum() / fell.mean(), abs=1e-12)


@FEW
@given(counties(), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nobody_on_the_list(case: tuple, random: object) -> None:
    scores, _ = case
    rows = list(range(len(scores)))
    random.shuffle(rows)
    mixed = scores.iloc[rows]
    capacity = Capacity(share=0.5)
    pd.testing.assert_series_equal(nested_lists(mixed, capacity).sort_index(), nested_lists(scores, capacity))


@FEW
@given(counties(), st.sampled_from([Capacity(number=3), Capacity(share=0.4)]))
def test_lists_without_floors_are_those_of_the_metrics(case: tuple, capacity: Capacity) -> None:
    scores, fell = case
    found = list_figures(scores, fell, capacity)
    metrics = Scored(fell, scores["risk"].to_numpy(), capacity=capacity).metrics()
    for end in ("worst", "best"):
        assert found.loc[end, "precision"] == pytest.approx(metrics[f"precision_at_capacity_{end}"], abs=1e-12)


def test_each_county_and_month_has_its_own_list() -> None:
    scores = pd.DataFrame(
        {
            "household_id": list("abcdabcd"),
            "county_id": list("kkllkkll"),
            "as_of": ["2023-01"] * 4 + ["2023-02"] * 4,
            "risk": [0.1, 0.2, 0.8, 0.9, 0.2, 0.1, 0.9, 0.8],
        }
    )
    listed = nested_lists(scores, Capacity(number=1)).notna()
    assert scores.loc[listed, "household_id"].tolist() == ["b", "d", "a", "c"]


def test_a_village_smaller_than_its_floor_is_listed_whole_and_spares_its_visits() -> None:
    scores = pd.DataFrame(
        {"household_id": list("abcd"), "county_id": "k", "village_id": list("xyyy"), "risk": [0.1, 0.5, 0.6, 0.7]}
    )
    found = nested_lists(scores, Capacity(number=3), village_floor=2)
    assert found.fillna("").tolist() == ["village", "", "village", "village"]


def test_a_tiny_county_lowers_its_own_floors_and_nobody_elses() -> None:
    scores = pd.DataFrame(
        {
            "household_id": [f"{i:02d}" for i in range(46)], "county_id": ["tiny"] * 6 + ["large"] * 40,
            "village_id": [*"abcdef", *np.repeat(["u", "v"], 20)], "risk": np.linspace(0.9, 0.1, 46),
        }
    )  # fmt: skip
    share = Capacity(share=0.05)
    found = nested_lists(scores, share, village_floor=1)
    alone = nested_lists(scores[scores["county_id"] == "large"], share, village_floor=1)
    assert found[:6].fillna("").tolist() == ["county", "", "", "", "", ""]
    pd.testing.assert_series_equal(found[6:], alone)
    kept = floors_within(scores, share, village_floor=1).set_index("county_id")
    assert kept["village_floor"].to_dict() == {"tiny": 0, "large": 1}
    assert kept["visits"].to_dict() == {"tiny": 1, "large": 2}


def test_a_floor_is_lowered_to_what_every_village_can_have() -> None:
    scores = pd.DataFrame({
        "household_id": list("abcdefgh"), "county_id": "k", "township_id": "t", "village_id": list("xxxxyyyy"),
        "risk": [0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.2, 0.1],
    })  # fmt: skip
    found = nested_lists(scores, Capacity(number=5), village_floor=3, township_floor=7)
    assert found.fillna("").tolist() == ["village", "village", "township", "", "village", "village", "", ""]
    kept = floors_within(scores, Capacity(number=5), village_floor=3, township_floor=7)
    assert kept.to_dict("records") == [{"county_id": "k", "visits": 5, "village_floor": 2, "township_floor": 5}]


def test_visits_to_a_village_of_no_known_township_are_none_that_a_township_could_have() -> None:
    """Each village has its visit; of three the township t has two, and so no more than two are guaranteed to it."""
    scores = pd.DataFrame({
        "household_id": list("abcd"), "county_id": "k", "township_id": [None, "t", "t", "t"], "village_id": list("xxyy"),
        "risk": [0.1, 0.4, 0.3, 0.2],
    })  # fmt: skip
    kept = floors_within(scores, Capacity(number=3), village_floor=1, township_floor=3)
    assert kept.to_dict("records") == [{"county_id": "k", "visits": 3, "village_floor": 1, "township_floor": 2}]
    found = nested_lists(scores, Capacity(number=3), village_floor=1, township_floor=3)
    assert found.fillna("").tolist() == ["village", "village", "village", ""]


def test_a_household_of_no_known_village_competes_for_the_rest() -> None:
    scores = pd.DataFrame({
        "household_id": list("abcd"), "county_id": "k", "village_id": ["x", None, None, "y"], "risk": [0.3, 0.9, 0.8, 0.1],
    })  # fmt: skip
    found = nested_lists(scores, Capacity(number=3), village_floor=1)
    assert found.fillna("").tolist() == ["village", "county", "", "village"]


def test_a_list_without_villages_says_which_column_it_lacks() -> None:
    scores = pd.DataFrame({"household_id": ["a"], "county_id": "k", "risk": 0.5})
    with pytest.raises(UsageError, match="village_id"):
        nested_lists(scores, Capacity(number=1), village_floor=1)


def test_a_household_of_unknown_risk_is_neither_put_on_a_list_nor_left_off_it_unsaid() -> None:
    scores = pd.DataFrame({"household_id": ["a", "b"], "county_id": "k", "risk": [0.5, np.nan]})
    with pytest.raises(UsageError, match="risk of every household"):
        nested_lists(scores, Capacity(number=1))


@FEW
@given(counties(), st.sampled_from([0.25, 0.5, 1.0]))
def test_the_length_for_a_recall_is_the_first_that_reaches_it(case: tuple, recall: float) -> None:
    scores, fell = case
    fell[0] = 1
    risk, lists = scores["risk"].to_numpy(), scores["township_id"].to_numpy()
    found = length_for_recall(fell, risk, [recall], lists).iloc[0]
    for column, tie in (("length", fell), ("length_best", -fell)):
        for length in itertools.count(1):
            rows = [
                i for t in set(lists) for i in sorted(np.flatnonzero(lists == t), key=lambda i: (-risk[i], tie[i]))[:length]
            ]
            if fell[rows].sum() >= recall * fell.sum() - 1e-9:
                break
        assert found[column] == length
    held = sum(min(found["length"], (lists == t).sum()) for t in set(lists))
    assert found["share"] == pytest.approx(held / len(fell), abs=1e-12)


@st.composite
def histories(draw: st.DrawFn) -> pd.DataFrame:
    """Alerts of a few households over a year and a half, with a driver that is sometimes unknown."""
    generator = np.random.default_rng(draw(st.integers(0, 10_000)))
    rows = [
        {"household_id": f"h{h}", "as_of": month_text(month_number("2023-01") + m), "driver_1": driver}
        for h in range(4)
        for m in range(18)
        if generator.random() < 0.5
        for driver in [generator.choice(["illness", "job", None])]
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=1)


@FEW
@given(histories())
def test_states_equal_a_loop_over_each_household(alerts: pd.DataFrame) -> None:
    states = alert_states(alerts)
    for _, own in alerts.sort_values("as_of").groupby("household_id"):
        last = None
        for i, row in own.iterrows():
            if last is None:
                expected = "new"
            elif month_number(row["as_of"]) - month_number(last["as_of"]) >= 3:
                expected = "returned"
            elif isinstance(row["driver_1"], str) and row["driver_1"] != last["driver_1"]:
                expected = "new"
            else:
                expected = "continuing"
            assert states[i] == expected
            last = row


@FEW
@given(histories())
def test_churn_counts_every_listed_household_once(alerts: pd.DataFrame) -> None:
    found = churn(alerts)
    assert (found["new"] + found["continuing"] + found["returned"]).tolist() == found["listed"].tolist()
    assert found["listed"].sum() == len(alerts)
    flow = found["listed"].shift() + found["joined"] - found["left"]
    assert (flow.iloc[1:] == found["listed"].iloc[1:]).all()


@FEW
@given(histories())
def test_churn_equals_a_loop_from_list_to_list(alerts: pd.DataFrame) -> None:
    found, states, before = churn(alerts), alert_states(alerts), None
    assert found.index.tolist() == sorted(alerts["as_of"].unique())
    for month, own in alerts.groupby("as_of"):
        row, now = found.loc[month], set(own["household_id"])
        for state in ("new", "continuing", "returned"):
            assert row[state] == sum(states[i] == state for i in own.index)
        if before is None:
            assert row[["joined", "left", "repeat_share", "turnover"]].isna().all()
        else:
            assert (row["joined"], row["left"]) == (len(now - before), len(before - now))
            assert row["turnover"] == pytest.approx(len(now - before) / len(now), abs=1e-12)
            assert row["repeat_share"] == pytest.approx(row["continuing"] / len(now), abs=1e-12)
        before = now


def test_the_first_list_has_no_turnover_because_nothing_is_known_before_it() -> None:
    alerts = pd.DataFrame({"household_id": ["a", "b", "a", "c"], "as_of": ["2023-01", "2023-01", "2023-02", "2023-02"]})
    found = churn(alerts)
    assert found["turnover"].isna().tolist() == [True, False]
    assert found.loc["2023-02", ["joined", "left", "repeat_share"]].tolist() == [1, 1, 0.5]


def test_two_alerts_of_one_household_in_a_month_are_refused() -> None:
    with pytest.raises(UsageError, match="one row per household"):
        alert_states(pd.DataFrame({"household_id": ["a", "a"], "as_of": ["2023-01"] * 2}))


@FEW
@given(histories(), st.integers(1, 12))
def test_lead_times_equal_a_loop_over_each_fall(alerts: pd.DataFrame, within: int) -> None:
    falls = pd.DataFrame({"household_id": ["h0", "h1", "h2", "h9", "h0"], "outcome_month": ["2023-06"] * 4 + ["2024-03"]})
    lead = lead_times(alerts, falls, within_months=within)
    for (household, fell), months in lead.items():
        own = alerts.loc[alerts["household_id"] == household, "as_of"]
        before = [d for d in (month_number(fell) - month_number(m) for m in own) if 0 < d <= within]
        assert (math.isnan(months) and not before) or months == max(before)


@FEW
@given(histories(), st.integers(1, 12), st.integers(1, 6))
def test_warning_in_a_few_figures_equals_a_loop(alerts: pd.DataFrame, within: int, early: int) -> None:
    falls = pd.DataFrame(
        {"household_id": ["h0", "h1", "h2", "h3", "h9"], "outcome_month": ["2023-06", "2023-09"] * 2 + ["2023-12"]}
    )
    lists = {month_number(m) for m in alerts["as_of"]}
    warned, possible = [], 0
    for fall in falls.itertuples():
        fell = month_number(fall.outcome_month)
        possible += any(0 < fell - m <= within for m in lists)
        own = [month_number(m) for m in alerts.loc[alerts["household_id"] == fall.household_id, "as_of"]]
        ahead = [fell - m for m in own if 0 < fell - m <= within]
        warned += [max(ahead)] if ahead else []
    found = lead_time(alerts, falls, within_months=within, early_months=early)
    assert (found.falls, found.caught, found.never_listed) == (possible, len(warned), possible - len(warned))
    assert found.median == pytest.approx(statistics.median(warned), abs=1e-12) if warned else math.isnan(found.median)
    if possible:
        assert found.early_share == pytest.approx(sum(m >= early for m in warned) / possible, abs=1e-12)
    assert found.distribution.to_dict() == dict(collections.Counter(warned))


def test_falls_never_listed_count_against_early_warning() -> None:
    alerts = pd.DataFrame({"household_id": ["a", "b"], "as_of": ["2023-01", "2023-04"]})
    falls = pd.DataFrame({"household_id": ["a", "b", "c", "a"], "outcome_month": ["2023-05"] * 3 + ["2023-05"]})
    found = lead_time(alerts, falls)
    assert (found.falls, found.caught, found.never_listed) == (3, 2, 1)
    assert found.median == 2.5
    assert found.early_share == pytest.approx(1 / 3)
    assert found.distribution.to_dict() == {1: 1, 4: 1}


def test_a_fall_before_the_first_list_could_not_be_warned_of() -> None:
    alerts = pd.DataFrame({"household_id": ["a"], "as_of": ["2023-06"]})
    falls = pd.DataFrame({"household_id": ["a", "b"], "outcome_month": ["2023-06", "2023-08"]})
    assert lead_time(alerts, falls).falls == 1


def test_without_any_list_no_fall_could_be_warned_of() -> None:
    nobody = pd.DataFrame({"household_id": [], "as_of": []})
    falls = pd.DataFrame({"household_id": ["a"], "outcome_month": ["2023-06"]})
    found = lead_time(nobody, falls)
    assert (found.falls, found.caught, len(found.distribution)) == (0, 0, 0)
    assert lead_times(nobody, falls).index.names == ["household_id", "outcome_month"]


@given(seed=st.integers(0, 10_000), rows=st.integers(1, 30), room=st.integers(0, 12))
@FEW
def test_nobody_on_the_list_is_left_and_nobody_beyond_it_listed_outright(seed: int, rows: int, room: int) -> None:
    generator = np.random.default_rng(seed)
    risk = np.round(generator.random(rows), 1)
    calibration = generator.random(50)
    intervals = VennAbers.fit(calibration, np.r_[0, 1, generator.random(48) < calibration[2:]])
    scores = pd.DataFrame({"county_id": generator.choice(["a", "b"], rows), "risk": risk})
    scores[["risk_low", "risk_high"]] = intervals.interval(risk).to_numpy()
    rank = scores.groupby("county_id")["risk"].rank(ascending=False, method="first")
    listed = (rank <= room).to_numpy()
    action = actions(scores, listed)
    assert (action[listed] != "leave").all()
    assert (action[~listed] != "list").all()
    for _, part in scores.assign(action=action, listed=listed).groupby("county_id"):
        if part["listed"].all():
            assert (part["action"] == "list").all()
        elif part["listed"].any():
            last = part[part["listed"]].sort_values("risk").iloc[0]
            assert last["action"] == "visit"
        else:
            assert (part["action"] == "leave").all()


def test_a_model_without_intervals_gives_no_action() -> None:
    scores = pd.DataFrame({"county_id": "k", "risk": [0.9, 0.1], "risk_low": np.nan, "risk_high": np.nan})
    assert actions(scores, np.array([True, False])).isna().all()


def test_whom_a_floor_lists_is_visited_and_whom_it_displaces_is_not_listed_outright() -> None:
    """Three visits, one for each village: c5 and d6 come onto the list from below its end, b2 and b3 go off it."""
    scores = pd.DataFrame({
        "household_id": ["b1", "b2", "b3", "b4", "c5", "d6"], "county_id": "k", "village_id": list("bbbbcd"),
        "risk": [0.9, 0.8, 0.7, 0.3, 0.2, 0.1], "risk_low": [0.85, 0.75, 0.65, 0.2, 0.1, 0.0],
        "risk_high": [0.95, 0.85, 0.75, 0.4, 0.3, 0.2],
    })  # fmt: skip
    by_risk, with_floors = (nested_lists(scores, Capacity(number=3), village_floor=n).notna() for n in (0, 1))
    assert scores["household_id"][with_floors].tolist() == ["b1", "c5", "d6"]
    assert actions(scores, by_risk).tolist() == ["list", "list", "visit", "leave", "leave", "leave"]
    assert actions(scores, with_floors).tolist() == ["list", "visit", "visit", "leave", "visit", "visit"]


def test_figures_by_length_are_those_of_the_lists_that_are_drawn() -> None:
    rng = np.random.default_rng(4)
    scores = pd.DataFrame({"household_id": [f"{i:03}" for i in range(300)], "county_id": np.repeat(["a", "b"], 150)})
    scores["risk"], y = rng.random(300), (rng.random(300) < 0.2).astype(float)
    found = figures_by_length(y, scores["risk"].to_numpy(), [0.05, 0.2, 1.0], scores["county_id"].to_numpy())
    for row in found.itertuples():
        listed = nested_lists(scores, Capacity(share=row.share)).notna().to_numpy()
        assert row.listed == pytest.approx(listed.sum()) and row.caught == pytest.approx(y[listed].sum())
        assert row.precision == pytest.approx(y[listed].mean()) and row.recall == pytest.approx(y[listed].sum() / y.sum())


def test_a_list_that_finds_nobody_still_has_its_length() -> None:
    found = figures_by_length(np.array([0, 0, 0, 1]), np.array([0.9, 0.8, 0.7, 0.1]), [0.25])
    assert found[["listed", "caught", "recall"]].iloc[0].tolist() == [1, 0, 0]


def test_a_household_without_an_outcome_takes_its_place_and_counts_in_no_figure() -> None:
    scores = pd.DataFrame({"household_id": list("abcd"), "county_id": "k", "risk": [0.9, 0.8, 0.8, 0.1]})
    found = list_figures(scores, np.array([np.nan, 1.0, 0.0, 1.0]), Capacity(number=2))
    assert found["rows"].tolist() == [1, 1, 1]
    assert found.loc["best", "recall"] == found.loc["listed", "recall"] == 0.5
    assert found.loc["worst", "recall"] == 0.0
    assert found.loc["best", "false_alerts_per_1000"] == 0.0


@pytest.mark.parametrize(("visits", "ends_told"), [(9, 3), pytest.param(4, 2, id="4, fewer than the floors need")])
def test_a_household_comes_onto_a_list_with_floors_from_the_end_of_its_own_place_on(visits: int, ends_told: int) -> None:
    generator = np.random.default_rng(4)
    room = Capacity(number=visits, township_floor=2, village_floor=1)
    floors = {"township_floor": 2, "village_floor": 1}
    scores = pd.DataFrame({
        "household_id": [f"{i:02d}" for i in range(40)], "county_id": "k",
        "township_id": np.repeat(["t", "u"], 20), "village_id": np.repeat(["v", "w", "x", "y", "z"], 8),
        "risk": np.round(generator.permutation(40) / 50 * np.repeat([1, 0.2], 20) + 0.001, 4),
    })  # fmt: skip
    listed = nested_lists(scores, room, **floors).notna()
    ends = list_ends(scores, listed, room)
    assert ends[~listed].nunique() >= ends_told and (scores["risk"] > scores["risk"][listed].min())[~listed].any()
    for at in np.flatnonzero(~listed):
        for step, comes in ((1e-6, True), (-1e-6, False)):
            moved = scores.assign(risk=scores["risk"].where(scores.index != at, ends[at] + step))
            assert nested_lists(moved, room, **floors).notna()[at] == comes
    least = scores["risk"].nlargest(visits).min()
    without = list_ends(scores, scores["risk"] >= least, room)
    assert without.eq(least).all(), "a list that floors do not give was drawn without them"
