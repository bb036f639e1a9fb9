"""What a training will need, stated before it begins: rows, features, memory and disk.

Bytes per row and feature are measured, and rounded up: `benchmarks/training.py` holds what is stated against what was used.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from riskmodel.catalogue import Feature
from riskmodel.cohort.features import BLOCK
from riskmodel.cohort.splits import temporal_folds
from riskmodel.errors import TooLarge
from riskmodel.months import month_number
from riskmodel.settings import Run

_GIB = 2**30
_LIBRARIES = 0.45 * _GIB
_BIN_SAMPLE = 200_000
_PER_CELL = {  # bytes for each feature of a row while a model is fitted
    "lightgbm": 2.4, "hist_gradient_boosting": 26.0, "logistic_regression": 60.0,
}  # fmt: skip
_PER_FITTED_ROW, _PER_ROW, _PER_TEST_ROW = 90, 110, 700
_PER_BINNED_CELL = 1.0
_PER_BUILT_CELL = 82  # bytes for each feature of a row while a block of households is built
_ROW_GROUP = 122_880  # records that a register's file holds together, and a block at most
_COLUMN = 4
REMEDY = 10.0
"""Others per fall that a refusal proposes."""


@dataclass(frozen=True)
class Need:
    """What a training needs.

    Attributes
    ----------
    rows, features, inputs
        Households at risk over all as-of months, features of each, and those of them that models may use.
    fitted
        Rows of the largest fit, after sampling.
    model
        The model whose fit needs most.
    cohorts
        Bytes of the cohorts' features, in memory or on disk.
    binned
        Bytes of the largest binned dataset.
    peak
        Bytes of memory at most, without the pages of mapped features, which the system takes back when it wants to.
    disk
        Bytes of disk at most; 0 where the cohorts are held in memory.
    """

    rows: int
    features: int
    inputs: int
    fitted: int
    model: str
    cohorts: int
    binned: int
    peak: int
    disk: int

    def __str__(self) -> str:
        where = "on disk" if self.disk else "in memory"
        disk = f", {_gib(self.disk)} of disk" if self.disk else ""
        return (
            f"{self.rows:,} rows at risk x {self.features} features ({self.inputs} inputs), {_gib(self.cohorts)} {where}; "
            f"largest fit {self.fitted:,} rows ({self.model}), binned dataset {_gib(self.binned)}; "
            f"about {_gib(self.peak)} of memory at most{disk}"
        )

    def as_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return dict(vars(self))


def needed(labels: pd.DataFrame, features: Sequence[Feature], run: Run, step_months: int, *, mapped: bool) -> Need:
    """What a training on these households at risk needs.

    Parameters
    ----------
    labels
        As given by `build_labels`, or `Cohorts.labels`.
    features
        Features that the register gives.
    run
        Settings of the training.
    step_months
        The panel's step.
    mapped
        Whether the features lie on disk.

    Raises
    ------
    NotEnoughData
        If the months do not suffice for a training and a test.
    """
    rows = len(labels)
    out = set(run.leave_out)
    inputs = sum(f.input and f.name not in out and f.driver not in out for f in features)
    keys = int(labels.memory_usage(index=False, deep=True).sum())
    by_month = labels.groupby("as_of")["outcome"].agg(["size", "count", "sum"])
    by_month.index = by_month.index.map(month_number)
    test = temporal_folds(list(by_month.index), step_months, run.label, run.split)[-1]
    tested = int(by_month["size"].reindex(list(test.test)).sum())

    def drawn(known: pd.DataFrame) -> int:
        count, falls = int(known["count"].sum()), int(known["sum"].sum())
        wanted = run.sampling.others_per_fall
        return count if wanted is None else min(count, falls + int(wanted * falls))

    last, folds = drawn(by_month), drawn(by_month.reindex(list(test.train)))
    names = {*run.models} & {*_PER_CELL} or {"lightgbm"}
    model = max(names, key=lambda name: _PER_CELL[name])
    kept = run.register_model if run.register_model in _PER_CELL else "lightgbm"

    def fit(count: int, name: str) -> float:
        sample = 3 * 8 * min(count, _BIN_SAMPLE) * inputs if name == "lightgbm" else 0
        return count * (inputs * _PER_CELL[name] + _PER_FITTED_ROW) + sample

    cohorts = rows * len(features) * _COLUMN
    held = 0 if mapped else cohorts
    fits = max(run.threads * fit(folds, model), fit(last, kept))
    during = held + 2 * keys + rows * _PER_ROW + max(fits, tested * _PER_TEST_ROW)
    building = 3 * keys + max(2 * held, held + _built_at_once(labels, len(features), run, step_months))
    binned = int(last * inputs * _PER_BINNED_CELL)
    splits = run.split.folds + 2 + run.split.household_disjoint
    disk = int(2 * cohorts + keys + 2 * splits * binned) if mapped else 0
    return Need(
        rows, len(features), inputs, max(last, folds), model, cohorts, binned, int(_LIBRARIES + max(during, building)), disk
    )


def _built_at_once(labels: pd.DataFrame, features: int, run: Run, step_months: int) -> float:
    """Bytes for the blocks of households whose features are built side by side, a county each."""
    sizes = labels.groupby(["county_id", "as_of"]).size()
    months = [month_number(month) for month in sizes.index.get_level_values("as_of").unique()]
    periods = (max(months) - min(months) + run.label.horizon_months) // step_months + 1
    households = min(int(sizes.max()), BLOCK, max(_ROW_GROUP // periods, 1))
    workers = min(run.threads, sizes.index.get_level_values("county_id").nunique())
    return workers * households * len(months) * features * _PER_BUILT_CELL


def refuse_what_does_not_fit(
    labels: pd.DataFrame,
    features: Sequence[Feature],
    run: Run,
    step_months: int,
    *,
    mapped: bool,
    folder: Path | None = None,
) -> Need:
    """What a training needs, where the run's settings and the disk allow it.

    Parameters
    ----------
    labels, features, run, step_months, mapped
        As for `needed`.
    folder
        Where cohorts will be written, if they will.

    Raises
    ------
    TooLarge
        If it needs more memory than `machine.memory_gib`, or more disk than is free; the sentence says what would help.
    """
    need = needed(labels, features, run, step_months, mapped=mapped)
    limit = run.machine.memory_gib
    if limit is not None and need.peak > limit * _GIB:
        ways = _remedies(labels, features, run, step_months, mapped)
        raise TooLarge(
            f"this training needs more memory than machine.memory_gib, {limit:g} GiB: {need}. {ways} Fewer as-of months "
            "(cohorts.every_months), fewer splits at once (threads) or a larger machine.memory_gib help too."
        )
    if folder is not None:
        free = shutil.disk_usage(next(p for p in (folder, *folder.resolve().parents) if p.is_dir())).free
        if need.disk > free:
            raise TooLarge(
                f"this training needs more disk than is free in {folder}, {_gib(free)}: {need}. Name a folder on a larger "
                "disk under machine.cohorts, or take fewer as-of months (cohorts.every_months)."
            )
    return need


def _remedies(labels: pd.DataFrame, features: Sequence[Feature], run: Run, step_months: int, mapped: bool) -> str:
    """Settings that lower the need, one upon the other, each with what is needed then."""
    steps: list[str] = []

    def then(what: str, **changed: Any) -> None:
        nonlocal run
        run = run.model_copy(update=changed)
        steps.append(f"{what}: {_gib(needed(labels, features, run, step_months, mapped=mapped).peak)}")

    if not mapped:
        mapped = True
        then("machine.cohorts: FOLDER keeps the cohorts on disk")
    if run.sampling.others_per_fall is None:
        wanted = run.sampling.model_copy(update={"others_per_fall": REMEDY})
        then(f"sampling.others_per_fall: {REMEDY:g} fits on a sample", sampling=wanted)
    heavy = [m for m in run.models if m in _PER_CELL and m != "lightgbm" and m != run.register_model]
    if heavy:
        then(f"models without {' and '.join(heavy)}", models=[m for m in run.models if m not in heavy])
    return f"{'; then '.join(steps)}." if steps else ""


def _gib(count: float) -> str:
    """Bytes in words.

    >>> _gib(3 * 2**30), _gib(2**20)
    ('3.00 GiB', '0.01 GiB')
    """
    return f"{np.ceil(count / _GIB * 100) / 100:,.2f} GiB"
