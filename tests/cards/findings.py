"""A monitoring report written out by hand, so that the reader sees every figure that a bulletin must show."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd

from riskmodel.monitoring.part import Asked, Found
from riskmodel.monitoring.rules import Rules
from riskmodel.months import month_number, month_text

AS_OF = "2024-06"
READING = ("Help was not drawn by lot. Nothing here is proof.", "帮扶不是抽签分配的，任何数字都不是证明。")
NEEDS = ("Misses need scored months.", "偏差分类需要评分月份。")
ACTIONS = ("wage income: the median is 92. Check the unit.", "工资性收入：中位数为92。请核对单位。")


def asked(source: str = "Blue River", rules: Rules | None = None, step_months: int = 1) -> Asked:
    """What the parts were given, with a register that has a name and two counties."""
    register = SimpleNamespace(
        manifest={"about": {"source": source}},
        counties=["k1", "k2"],
        file=lambda table, county: "records.parquet",
        step_months=step_months,
    )
    return Asked(register, month_number(AS_OF), rules or Rules())


def course(**columns: list[Any]) -> pd.DataFrame:
    """Thirteen months up to the month of the report; a figure is given by its last values, earlier ones repeat the first."""
    months = [month_text(month_number(AS_OF) - back) for back in range(12, -1, -1)]
    given = {
        "recorded": [3000], "below_line": [60, 70], "monitored": [150, 180, 189], "entered": [20, 31], "left": [12, 22],
        "struck": [50, 104], "helped": [300, 343], "paid": [600_000.0, 655_922.0], "new_on_list": [None, 45, 30],
    }  # fmt: skip
    made = {name: [values[0]] * (13 - len(values)) + values for name, values in (given | columns).items()}
    table = pd.DataFrame({"as_of": months, **made})
    for name in made:
        table[name] = table[name].astype("Float64" if name == "paid" else "Int64")
    return table


def listed(n: int, first: str = "H", **columns: Any) -> pd.DataFrame:
    """A list of households `H01`, `H02` and so on."""
    ids = [f"{first}{i:02}" for i in range(1, n + 1)]
    return pd.DataFrame({"household_id": ids, "county_id": "k1", "township_id": "t1", **columns})


def curve(column: str, shares: list[float], **columns: Any) -> pd.DataFrame:
    """A curve at 3, 6, 9, 12, ... months."""
    months = [3 * (i + 1) for i in range(len(shares))]
    ends = {f"{column}_low": [s - 0.02 for s in shares], f"{column}_high": [s + 0.03 for s in shares]}
    return pd.DataFrame({"kind": "monitoring", "entry": "all", "months": months, "at_risk": 400, column: shares, **ends,
                         **columns})  # fmt: skip


def found(**changed: Found) -> dict[str, Found]:
    """Every part of the report; those given replace theirs."""
    stays = listed(
        14, kind="monitoring", since="2021-01", months=list(range(33, 19, -1)), entries=1, measures="protection x3"
    )
    often = listed(
        12, "F", kind="monitoring", since="2024-01", months=5, entries=2, measures="health x1; industry x2; water x1"
    )
    parts = {
        "month": Found({"month_course": course()}, {"monitored": 189}, [("The month: as known.", "本月：按当时已知。")]),
        "spells": Found(
            {
                "durations": pd.concat([curve("share", [0.9, 0.7, 0.5, 0.3]).assign(entry=e) for e in ("first", "again")]),
                "reentry_by_month": curve("back_share", [0.01, 0.03, 0.05, 0.075], entered=8),
                "long_stays": stays,
                "frequent_entries": often,
                "exits": pd.DataFrame({"kind": "monitoring", "reason": ["assisted", "natural"], "spells": [503, 4],
                                       "share": [0.992, 0.00789], "median_months": [12.0, 7.0]}),
            },
            notes=[("Spells: so read.", "历次：如此阅读。")],
        ),
        "assistance": Found(
            {
                "help_timeliness": pd.DataFrame({
                    "within_days": [30, 90], "needs": [255, 235], "helped": [31, 119], "share": [0.1216, 0.5064],
                    "share_low": [0.087, 0.44], "share_high": [0.167, 0.57], "median_days": [78.0, 78.0],
                }),
                "change_of_measure": listed(11, "C", helped_on=pd.Timestamp("2023-05-01"), measures="training",
                                            ratio_then=1.1, ratio_now=[1.0, *(0.9 + i / 100 for i in range(10))],
                                            unanswered=["illness"] + [""] * 10),
                "help_effects": pd.DataFrame({
                    "help": ["training"], "outcome": ["return"], "driver": ["*"], "reading": ["stands"], "effect": [-0.05],
                    "effect_low": [-0.08], "effect_high": [-0.02], "plain": [-0.07], "plain_low": [-0.1],
                    "plain_high": [-0.04], "robustness_share": [0.1],
                }),
            },
            notes=[READING],
        ),
        "funds": Found(
            {
                "fund_totals": pd.DataFrame({
                    "by": "kind", "of_what": ["*", "training", "water"], "grants": [260, 252, 8],
                    "households_reached": [200, 195, 5], "planned": [7e6, 6.9e6, 1e5], "paid": [5.1e6, 5.0e6, 1e5],
                    "paid_share": [0.7286, 0.7246, 1.0], "plan_not_recorded": 0, "amount_not_recorded": 0,
                    "not_compared": 0, "days_to_payment": [60.0, 60.0, 9.0],
                }),
                "fund_exceptions": listed(17, "B", exception=["paid_twice"] * 12 + ["paid_late"] * 5, measure="training",
                                          responsible_unit="office of labour", offered_on=pd.Timestamp("2024-01-05"),
                                          paid_on=pd.Timestamp("2024-03-05"), planned=1000.0, paid=1000.0),
                "help_without_need": listed(11, "W", measure="training", responsible_unit="office of labour", paid=500.0),
                "need_without_help": listed(15, "N", measures="", unanswered="illness"),
            },
            {"planned": 7e6, "paid": 5.1e6, "paid_share": 0.7286, "planned_compared": 7e6, "not_compared": 0},
            [("Funds: a row may be right.", "资金：所列未必有误。")],
        ),
        "misses": Found(
            {
                "miss_months": pd.DataFrame({"as_of": ["2023-12"], "had_learned": [False], "scored": [2600], "listed": [130],
                                             "not_known": [0], "listed_not_known": [0], "returned": [60], "found": [45],
                                             "missed_return": [15], "false_alert": [85], "found_share": [0.346]}),
                "miss_classes": pd.DataFrame({
                    "miss": ["missed_return"] * 3 + ["false_alert"] * 3,
                    "miss_class": ["recorded_late", "not_visited", "model_error"] * 2, "misses": [3, 12, 20, 14, 34, 40],
                    "share": [0.086, 0.343, 0.571, 0.159, 0.386, 0.455],
                    "share_low": [0.02, 0.2, 0.4, 0.1, 0.3, 0.35], "share_high": [0.2, 0.5, 0.7, 0.25, 0.5, 0.56],
                }),
                "misses": listed(9, "M", as_of="2023-12", miss="missed_return", miss_class="model_error", risk=0.01,
                                 rank=300, outcome_month="2024-02"),
            },
            notes=[("Misses: of processes.", "偏差分类：针对过程。")],
        ),
        "industries": Found(
            {
                "projects": pd.DataFrame({
                    "project_id": ["P1", "P2", "P3"], "county_id": "k1", "industry": ["tea", "grain", "tea"],
                    "dependence": ["fully", "mainly", "independent"], "support_share": [0.52, 0.31, 0.0],
                    "households": [16, 6, 40], "reason_en": "support is much", "reason_zh": "支持占比高",
                    "stagnation": "none", "responsible_unit": "agriculture",
                }),
                "support_off": listed(25, "O", village_id="v1", grade=["falls_by_books"] * 14 + ["could_fall"] * 11,
                                      crosses=["line"] * 14 + ["near_line"] * 11, risk=0.1, risk_without_support=0.2,
                                      loss=900.0, loss_share=0.125, ratio_without_support=1.35),
            },
            {"projects_fully": 1, "projects_mainly": 1},
            [("Industries: of projects.", "产业：针对项目。")],
        ),
        "drift": Found(
            {"alarms": pd.DataFrame({"about": "inputs", "name": ["wage_income"], "name_en": ["wage income"],
                                     "name_zh": ["工资性收入"], "check": ["level"], "reference_month": ["2023-06"],
                                     "action_en": [ACTIONS[0]], "action_zh": [ACTIONS[1]]})},
            {"alarms": 1, "tests": 155},
            [("Drift: an alarm is a change.", "漂移监测：报警即变化。")],
        ),
    }  # fmt: skip
    return parts | changed
