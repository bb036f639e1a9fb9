"""Cohorts: who was at risk at each as-of month, what was known then, and what happened next."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from riskmodel.catalogue import Catalogue, Feature, load_catalogue
from riskmodel.cohort.features import available_in, county_blocks
from riskmodel.cohort.inputs import Inputs
from riskmodel.cohort.kept import ORDER, Mapped, keep_cohorts
from riskmodel.cohort.labels import build_labels
from riskmodel.cohort.splits import as_of_months
from riskmodel.errors import NotEnoughData, UsageError
from riskmodel.months import month_number, month_text, period_of
from riskmodel.register import Register
from riskmodel.register.commit import package_version
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
    mapped
        Where the features lie on disk; None where they are held in memory.
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
    mapped: Mapped | None = None

    @property
    def inputs(self) -> list[str]:
        """Names of the features that models may use."""
        return [f.name for f in self.features if f.input]

    @property
    def months(self) -> list[int]:
        """As-of months, ascending, as numbers."""
        return sorted(month_number(m) for m in self.frame["as_of"].unique())

    @property
    def labels(self) -> pd.DataFrame:
        """All rows without their features: keys, standing columns, outcomes."""
        return self.frame.drop(columns=[f.name for f in self.features], errors="ignore")

    def at(self, months: Sequence[str]) -> pd.DataFrame:
        """Rows of some as-of months; a view of `frame` where these follow upon each other."""
        rows = np.flatnonzero(self.frame["as_of"].isin(list(months)))
        together = len(rows) and rows[-1] - rows[0] + 1 == len(rows)
        return self.frame.iloc[rows[0] : rows[-1] + 1] if together else self.frame.iloc[rows]

    def inputs_of(self, rows: np.ndarray, columns: Sequence[str]) -> Inputs:
        """Features of some rows by position, read where they are used."""
        kept = self.mapped.folder / "binned" if self.mapped and self.mapped.holds(self.frame, columns) else None
        return Inputs(self.frame, tuple(columns), rows, kept)

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
    folder: Path | str | None = None,
    counted: Callable[[pd.DataFrame, Sequence[Feature]], None] | None = None,
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
    folder
        Where the cohorts are kept on disk, for registers whose features do not fit in memory; what an earlier call finished
        there is not done again. By default they are held in memory. No value depends on it.
    counted
        Called with the labels and the features once it is known who is at risk, before any feature is computed.

    Raises
    ------
    UsageError
        If an as-of month lies outside the register (`period_within`), or the label cannot be made.
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
    computed, lacking = available_in(register, catalogue)
    given = {f.name for f in computed}
    features = tuple(f for f in catalogue.features if f.name in given)
    names = [f.name for f in features]
    if counted:
        counted(labels, features)
    counties = [c for c in register.counties if c in set(labels["county_id"].unique())]

    def rows_of(county: str) -> Iterator[pd.DataFrame]:
        here = labels[(labels["county_id"] == county).to_numpy()]
        for block in county_blocks(register, county, numbers, computed):
            keys = ["household_id", "as_of"]
            standing = [c for c in block.columns if c not in here.columns or c in keys]
            rows = here.merge(block[standing], on=keys, how="inner", validate="one_to_one")
            first = [c for c in rows.columns if c not in names and c not in LABEL_COLUMNS]
            if len(rows):
                yield rows[[*first, *names, *LABEL_COLUMNS]]
        if progress:
            progress(county)

    mapped = None
    if folder is None:
        with ThreadPoolExecutor(workers) as pool:
            frames = [frame for some in pool.map(lambda county: list(rows_of(county)), counties) for frame in some]
        frame = pd.concat(frames, ignore_index=True).sort_values(ORDER, kind="stable", ignore_index=True)
    else:
        question = [register_facts(register)["sha256"], catalogue.sha256, numbers, names, package_version()]
        question += [label.model_dump(), at_risk.model_dump()]
        key = hashlib.sha256(json.dumps(question).encode()).hexdigest()[:16]
        frame, mapped = keep_cohorts(Path(folder) / key, counties, rows_of, names, LABEL_COLUMNS, workers)
    return Cohorts(
        frame=frame,
        features=features,
        lacking=lacking,
        catalogue=catalogue,
        label=label,
        at_risk=at_risk,
        step_months=step,
        register=register_facts(register),
        origin=register,
        mapped=mapped,
    )


def register_facts(register: Register) -> dict[str, Any]:
    """What a study remembers of a register: source, span, counties, step, rows refused, and a hash over its files."""
    counts = register.manifest["about"].get("counts", {})
    files = {name: about["sha256"] for name, about in sorted(register.manifest["files"].items())}
    return {
        "source": register.manifest["about"]["source"],
        "first_month": register.first_month,
        "last_month": register.last_month,
        "last_as_of": register.last_as_of,
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

    Where records come to be known after their period, the months until the last one is known can be as-of too: the newest
    records are told only then.

    Raises
    ------
    UsageError
        If the month lies before the first record, or after the period in which the last one came to be known.
    """
    number, first = month_number(month), month_number(register.first_month)
    recorded, last = (month_number(m) + register.step_months - 1 for m in (register.last_month, register.last_as_of))
    if not first <= number <= last:
        known = f", the last of which came to be known by {month_text(last)}" if last > recorded else ""
        raise UsageError(
            f"as-of month {month} lies outside the register, which holds records of {register.first_month} to "
            f"{month_text(recorded)}{known}."
        )
    return period_of(number, first, register.step_months)
