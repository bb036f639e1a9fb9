"""The rules of the monitoring report, as read from `configs/monitoring.yaml`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from riskmodel.errors import UsageError
from riskmodel.settings import Intervals, Loader, Strict, find_config, packaged, read_config

SHIPPED = packaged("configs") / "monitoring.yaml"
"""The rules that hold where a county gives none of its own."""


class SpellRules(Strict):
    """What counts as one spell, and who is on the lists of long stays and frequent entries."""

    bridge_months: int = Field(3, ge=0, description="months without a record that a spell reaches across")
    long_stay_months: int = Field(18, ge=1, description="in monitoring for so many months: on the list of long stays")
    frequent_entries: int = Field(2, ge=2, description="entries that put a household on the list of frequent entries")
    frequent_window_months: int = Field(36, ge=1, description="months up to the report in which entries count")
    poverty_window_months: int = Field(36, ge=1, description="months whose mean tells chronic from transient poverty")
    least_assessments: int = Field(3, ge=2, description="assessments in that window from which a household is counted")
    early_exit_months: int = Field(1, ge=0, description="eliminated so few months after the first help began: too early")
    early_exit_checks: list[str] = Field(
        ["removed_by_help_within_two_months", "removed_by_help_without_measure", "removed_below_line"],
        description="check rules of register/validators.yaml that count as removed too early",
    )


class ReentryRules(Strict):
    """The chance of re-entry, and how it is tested."""

    horizons_months: list[int] = Field([6, 12], min_length=1, description="the chance of re-entry within so many months")
    every_months: int = Field(3, ge=1, description="months between the days on which households are looked at")
    warm_up_months: int = Field(6, ge=0, description="months of history before the first such day")
    households: int = Field(20_000, ge=100, description="households that left, drawn by their id, that it learns from")
    least_entries: int = Field(30, ge=1, description="with fewer re-entries in training or test it is not estimated")
    intervals: Intervals = Intervals(replicates=100)


class MissRules(Strict):
    """How misses are sorted."""

    reach_months: int = Field(6, ge=0, description="a stale value lies between the looks around it, up to so many months")
    mistake: float = Field(0.2, gt=0, description="an amount off by this share from before and after is a mistake")
    material_odds: float = Field(2.0, ge=1, description="a correction counts where it changes the odds by this factor")
    sure_odds: float = Field(1.5, ge=1, description="a class is sure if odds off by this factor leave it as it is")


class EffectRules(Strict):
    """When an effect may be estimated at all, and how."""

    chances: tuple[float, float] = Field((0.05, 0.95), description="bounds of the chance of being helped")
    most_outside: float = Field(0.1, ge=0, le=1, description="with more of the households outside, no estimate")
    least_effective: float = Field(40, ge=1, description="with fewer effective households on a side, no estimate")
    least_households: int = Field(40, ge=10, description="with fewer households on a side, no estimate")
    folds: int = Field(5, ge=2, description="folds over households")
    splits: int = Field(5, ge=1, description="times that the folds are drawn among few households; the median counts")
    split_below: int = Field(2000, ge=0, description="with so many households one draw of the folds is enough")
    rows_per_term: float = Field(10, ge=1, description="squares and products enter a model only with so many rows for each")


def _shipped(name: str) -> Callable[[], Any]:
    """A list that stands in the shipped rules alone: a county's file without it takes theirs."""
    return lambda: yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))["assistance"][name]


class AssistanceRules(Strict):
    """Results of assistance: who is compared with whom, over which months, on what."""

    estimate_effects: bool = Field(
        True, description="look for effects, which takes minutes; else lists and indicators alone"
    )
    window_months: int = Field(3, ge=1, description="help offered within so many months after a day is taken together")
    horizon_months: int = Field(6, ge=1, description="outcomes so many months after that")
    months: int = Field(24, ge=1, description="days of so many months are looked back on")
    households: int = Field(50_000, ge=100, description="counties are drawn by their id up to so many households")
    others_per_helped: int = Field(4, ge=1, description="households without help drawn for each helped one, by their id")
    combinations: int = Field(6, ge=0, description="so many combinations of measures, the most frequent ones")
    trend_months: int = Field(6, ge=2, description="months before and after help in the event study")
    improved: float = Field(0.02, description="income over the line risen by so much since help began: improved")
    review_months: int = Field(6, ge=1, description="monitoring still open so many months after help began: look again")
    covariates: list[str] = Field(
        default_factory=_shipped("covariates"),
        min_length=1,
        description="features before the offer that helped and others are made alike by",
    )
    delivers: dict[str, list[str]] = Field(
        default_factory=_shipped("delivers"), description="by measure of measures.yaml: kinds of help in the register"
    )
    effects: EffectRules = EffectRules()


class FundRules(Strict):
    """Funds: what counts as late, twice, unneeded, unmet, exceptional."""

    months: int = Field(12, ge=1, description="help offered within so many months is reported on")
    late_days: int = Field(90, ge=0, description="paid later than so many days after help began: late")
    unspent: float = Field(0.1, gt=0, description="less paid than planned by this share: unspent")
    twice_days: int = Field(90, ge=0, description="the same kind of help paid to a household within so many days: twice")
    need_months: int = Field(6, ge=1, description="need is looked for over the last so many months")
    outlier_z: float = Field(3.5, gt=0, description="robust z of the amount per household: listed for a look")
    least_paid: int = Field(20, ge=3, description="with fewer payments of a kind no amount is called exceptional")


class IndustryRules(Strict):
    """How projects are graded by their dependence on support, and what tells why they stagnate."""

    fully_share: float = Field(0.5, gt=0, description="support over revenue, with a loss without it: fully dependent")
    mainly_share: float = Field(0.3, gt=0, description="support over revenue, or any loss without it: mainly dependent")
    partly_share: float = Field(0.05, ge=0, description="support over revenue: partly dependent, below it independent")
    support_in_revenue: float = Field(1.0, ge=0, le=1, description="share of the support that is booked in revenue")
    watch_share: float = Field(0.5, ge=0, le=1, description="of a household's income from one dependent project: watched")
    near_line: float = Field(1.2, ge=1, description="support off, income over the line below this could fall")
    loss_times: float = Field(10.0, ge=0, description="so many times the loss over the line is added to it")
    least_loss: float = Field(0.03, ge=0, description="loss that is no trifle: share of the line, for each member")
    silent_months: int = Field(18, ge=1, description="months without a record: figures and running are not known any more")
    stagnation_fall: float = Field(0.2, gt=0, description="a fall of revenue in a year that counts as stagnation")
    price_fall: float = Field(0.1, gt=0, description="a fall of the village's price index in a year that counts")
    shock_months: int = Field(12, ge=1, description="months back in which households count as struck")
    circumstance_months: int = Field(24, ge=1, description="months back in which disasters and prices explain stagnation")
    struck_share: float = Field(0.2, gt=0, description="of a village's households struck: the village counts as struck")
    unpaid_days: int = Field(90, ge=0, description="days after the offer by which help is to be paid")
    unpaid_share: float = Field(0.3, gt=0, le=1, description="of help not paid by then: a clue to administration")
    still_months: int = Field(12, ge=1, description="months standing still while supported: a clue to administration")


class DriftRules(Strict):
    """How large a change must be to matter, and how rarely chance may give an alarm."""

    false_alarms: float = Field(0.01, gt=0, lt=1, description="chance of any false alarm in a report, over all its tests")
    households: int = Field(60_000, ge=1000, description="of a larger register about so many households are looked at")
    unit_households: int = Field(
        20_000, ge=1000, description="of how many values are held against ten periods, or of fewer against more"
    )
    psi: float = Field(
        0.25,
        gt=0,
        description="population stability index of a column from which it matters, of a feature where risks moved",
    )
    psi_features: float = Field(1.0, gt=0, description="the same of a feature where risks did not move")
    psi_scores: float = Field(0.2, gt=0, description="the same of scores and of causes")
    level: float = Field(1.5, gt=1, description="factor by which the median of an amount must move")
    missing_change: float = Field(0.1, gt=0, description="change of the share that is missing")
    rows_change: float = Field(0.1, gt=0, description="change of the number of households with a record")
    table_fall: float = Field(
        2.5, gt=1, description="factor by which rows of events, help or visits of three months must fall"
    )
    new_values: float = Field(0.005, gt=0, description="share of rows with values not known before")
    unit_factors: list[float] = Field([12, 100, 1000, 10000], min_length=1, description="steps of units, up and down")
    unit_window: float = Field(0.6, gt=0, description="half-width of a step in logarithms: a household's own change")
    unit_share: float = Field(0.02, gt=0, description="share of values that made a step beyond what is usual")
    calibration_margin: float = Field(0.1, ge=0, description="how far observed over expected must lie from 1")


class BulletinRules(Strict):
    """How much the bulletin shows."""

    list_rows: int = Field(4, ge=1, le=5, description="rows of each of the five lists on the first page")
    table_rows: int = Field(12, ge=1, description="rows of a table in the details; the files hold all")
    smallest_cell: int = Field(10, ge=5, description="fewest households that a printed count may stand for")


class WorkbookRules(Strict):
    """How much a workbook holds."""

    sheet_rows: int = Field(
        20_000, ge=1, le=1_000_000, description="first rows of a table in its sheet; Parquet and CSV hold all"
    )


class Rules(Strict):
    """All rules of the report; a part adds its block here and its rows in `configs/monitoring.yaml`."""

    spells: SpellRules = SpellRules()
    reentry: ReentryRules = ReentryRules()
    misses: MissRules = MissRules()
    assistance: AssistanceRules = AssistanceRules()
    funds: FundRules = FundRules()
    industries: IndustryRules = IndustryRules()
    drift: DriftRules = DriftRules()
    bulletin: BulletinRules = BulletinRules()
    workbook: WorkbookRules = WorkbookRules()


def load_rules(path: str | Path | None = None) -> Rules:
    """Read the rules of the report: those of a file, or without one those that are shipped.

    Raises
    ------
    UsageError
        If the file is missing, is not YAML, or a key or value is wrong; every fault is named with its place.

    >>> load_rules().spells.long_stay_months
    18
    """
    file = SHIPPED if path is None else find_config(path)
    try:
        return Rules(**(yaml.load(read_config(file), Loader) or {}))
    except (yaml.YAMLError, TypeError):
        raise UsageError(f"{file.name}: not a YAML mapping of rules, such as `spells: {{long_stay_months: 18}}`.") from None
    except ValidationError as fault:
        places = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'rules'}: {e['msg']}" for e in fault.errors())
        raise UsageError(f"{file.name}: {places}.") from None
