"""Cohorts: who was at risk at each as-of month, what was known then, and what happened next."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from riskmodel.catalogue import Catalogue, Feature, load_catalogue
from riskmodel.cohort.features import build_features
from riskmodel.cohort.labels import build_labels
from riskmodel.cohort.splits import as_of_months
from riskmodel.errors import NotEnoughData, UsageError
from riskmodel.months import month_number, month_text, period_of
from riskmodel.register import Register
from riskmodel.settings import AtRisk, Label
from riskmodel.settings import Cohorts as Months

LABEL_COLUMNS = ("outcome", "outcome_month", "outcome_known_at", "seen_until", "fell_as")


@dataclass(frozen=True)
class Cohorts:
    """Households at risk with features and outcomes.

    Attributes
    ----------
    frame
        One row per household at risk and as-of month, ordered by month, county and household: keys and standing
        columns, features (float32), and the label columns of `build_labels`.
    features
        The features that the register could give.
    lacking
        For each feature left out, the columns that the register lacks.
    origin
        The register itself, for the leak gates that build features again; None where it is not at hand.
    """

    frame: pd.DataFrame
    features: tuple[Feature, ...]
    lacking: dict[str, list[str]]
    catalogue: Catalogue
    label: Label
    at_risk: AtRisk
    step_months: int
    register: dict[str, Any]
    origin: Register | None = None

    @property
    def inputs(self) -> list[str]:
        """Names of the features that models may use."""
        return [f.name for f in self.features if f.input]

    @property
    def months(self) -> list[int]:
        """As-of months, ascending, as numbers."""
        return sorted(month_number(m) for m in self.frame["as_of"].unique())

    def X(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Model inputs, rows x features."""
        return self.frame[list(columns or self.inputs)]

    @property
    def y(self) -> np.ndarray:
        """Outcomes: 1.0, 0.0, NaN where not observed."""
        return self.frame["outcome"].to_numpy(float)


def build_cohorts(
    register: Register,
    as_of: Sequence[str] | None = None,
    horizon_months: int | None = None,
    *,
    label: Label | None = None,
    at_risk: AtRisk | None = None,
    months: Months | None = None,
    catalogue: Catalogue | None = None,
    workers: int = 2,
    progress: Callable[[str], None] | None = None,
) -> Cohorts:
    """Build cohorts from a register.

    Parameters
    ----------
    register
        An open register.
    as_of
        As-of months (`YYYY-MM`), each meaning the panel's period that holds it; by default those of `months`.
    horizon_months
        Shorthand for the label's horizon.
    label, at_risk, months
        Settings; see `riskmodel.settings`.
    catalogue
        Feature catalogue; the shipped one by default.
    workers
        Counties worked on at once.

    Raises
    ------
    UsageError
        If an as-of month lies outside the register, or the label cannot be made.
    NotEnoughData
        If nobody is at risk at any of the months.
    """
    label = label or Label()
    if horizon_months is not None:
        label = label.model_copy(update={"horizon_months": horizon_months})
    at_risk = at_risk or AtRisk()
    catalogue = catalogue or load_catalogue()
    step = register.step_months
    if as_of is None:
        first, last = month_number(register.first_month), month_number(register.last_month)
        numbers = as_of_months(first, last, step, label, months or Months())
    else:
        numbers = sorted({period_within(register, m) for m in as_of})
    labels = build_labels(register, numbers, label, at_risk)
    if not len(labels):
        raise NotEnoughData(
            f"nobody is at risk between {month_text(numbers[0])} and {month_text(numbers[-1])}: {at_risk_needs(at_risk)}"
        )
    table = build_features(register, numbers, catalogue, workers=workers, progress=progress)
    keys = ["household_id", "as_of"]
    standing = [c for c in table.frame.columns if c not in labels.columns or c in keys]
    frame = labels.merge(table.frame[standing], on=keys, how="inner", validate="one_to_one")
    names = [f.name for f in table.features]
    first = [c for c in frame.columns if c not in names and c not in LABEL_COLUMNS]
    frame = frame[[*first, *names, *LABEL_COLUMNS]]
    frame = frame.sort_values(["as_of", "county_id", "household_id"], kind="stable", ignore_index=True)
    return Cohorts(
        frame=frame,
        features=table.features,
        lacking=table.lacking,
        catalogue=catalogue,
        label=label,
        at_risk=at_risk,
        step_months=step,
        register=register_facts(register),
        origin=register,
    )


def register_facts(register: Register) -> dict[str, Any]:
    """What a study remembers of a register: source, span, counties, step, rows refused, and a hash over its files."""
    counts = register.manifest["about"].get("counts", {})
    files = {name: about["sha256"] for name, about in sorted(register.manifest["files"].items())}
    return {
        "source": register.manifest["about"]["source"],
        "first_month": register.first_month,
        "last_month": register.last_month,
        "step_months": register.step_months,
        "reporting_lag_days": register.reporting_lag_days,
        "counties": len(register.counties),
        "rows_in": sum(table["rows_in"] for table in counts.values()),
        "quarantined": sum(table["quarantined"] for table in counts.values()),
        "sha256": hashlib.sha256(json.dumps(files).encode()).hexdigest(),
    }


def at_risk_needs(at_risk: AtRisk) -> str:
    """Why nobody may be at risk."""
    return (
        "no household has income and a line known, above the line, within the last "
        f"{at_risk.seen_within_months} months (at_risk.seen_within_months)."
    )


def period_within(register: Register, month: str) -> int:
    """The first month of the period of the register that holds a month, as a number.

    Raises
    ------
    UsageError
        If the month lies outside the register.
    """
    number, first = month_number(month), month_number(register.first_month)
    last = month_number(register.last_month) + register.step_months - 1
    if not first <= number <= last:
        raise UsageError(
            f"as-of month {month} lies outside the register, which runs from {register.first_month} to {month_text(last)}."
        )
    return period_of(number, first, register.step_months)
