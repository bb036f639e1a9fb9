"""What a user may set: where the definitions lie and how a training run is made."""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer, field_validator, model_validator

from riskmodel.errors import UsageError
from riskmodel.fallback import say_once
from riskmodel.months import month_number

_PACKAGE = Path(__file__).resolve().parent


def packaged(kind: Literal["configs", "seeds"]) -> Path:
    """Folder of definitions that travels with the package: inside the wheel, or beside it in a checkout."""
    inside = _PACKAGE / kind
    return inside if inside.is_dir() else _PACKAGE.parent / kind


def find_config(name: str | Path) -> Path:
    """A configuration file by path, or by its path below `configs/` as shipped.

    A path is what it says. A name (`drivers.yaml`, `sources/eph.yaml`) that the working folder and the package both hold
    means the file of the working folder; where its text is another than the shipped one, a warning says so once.

    Raises
    ------
    UsageError
        If neither exists; the message lists what is shipped in the same folder.
    """
    path = Path(name)
    below = Path(*path.parts[1:]) if path.parts[:1] == ("configs",) else path
    candidates = (packaged("configs") / below, packaged("configs") / below.with_suffix(".yaml"))
    shipped = next((candidate for candidate in candidates if candidate.is_file()), None)
    if path.is_file():
        named = not path.is_absolute() and not str(name).startswith(_PATHS)
        if named and shipped is not None and shipped.read_bytes() != path.read_bytes():
            say_once(
                f"{name}: the file of the working folder is used, not the one of that name that is shipped "
                f"(configs/{below.as_posix()}). Rename it if that is not meant."
            )
        return path
    if shipped is not None:
        return shipped
    folder = packaged("configs") / below.parent
    there = ", ".join(sorted(p.name for p in folder.glob("*.yaml"))) or "none"
    raise UsageError(f"{name}: no such file, and it is not shipped either. Shipped in that folder: {there}.")


_PATHS = ("./", "../", ".\\", "..\\")
"""Beginnings by which what is given is a path in the working folder, and no name."""


def read_config(file: Path) -> str:
    """The text of a configuration file.

    Raises
    ------
    UsageError
        If it is not UTF-8, as Windows in Chinese saves text by itself.
    """
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{file.name}: its text is not UTF-8. Save it as UTF-8.") from None


class WrittenOnce:
    """A YAML loader beside this class refuses a key that is written twice, of which YAML keeps the last in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        """A mapping, once its keys are known to differ."""
        seen: set = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):
                if key in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key!r} is written twice", key_node.start_mark)
                seen.add(key)
        return super().construct_mapping(node, deep=deep)


class Loader(WrittenOnce, yaml.SafeLoader):
    """Reads the YAML of what users write."""


Month = Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]


class Strict(BaseModel):
    """A settings block in which a misspelt key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class AtRisk(Strict):
    """Who is asked about: observed and known at the as-of month, and not already fallen."""

    seen_within_months: int = Field(3, ge=0, description="oldest last record, in months before the as-of month")
    population: Literal["all", "lifted", "ordinary"] = Field("all", description="household type")


class Label(Strict):
    """What is predicted. Definitions: DOMAIN page, Labels; `cohort/labels.py`."""

    name: Literal["return", "below_line", "guarantee_fail", "sudden_difficulty", "enter_monitoring"] = Field(
        "return", description="what counts as an outcome"
    )
    horizon_months: int = Field(6, ge=1, le=60, description="a multiple of the panel's step")
    when: Literal["within", "at"] = Field("within", description="within the horizon, or at its last month")
    assessments: int = Field(2, ge=1, le=2, description="assessments in a row that must lie below the line")


class Cohorts(Strict):
    """As-of months. Left out, they run over the register, as far as the horizon is over."""

    first: Month | None = Field(None, description="first as-of month; default: after the warm-up")
    last: Month | None = Field(None, description="last as-of month; default: as far as the horizon is over")
    every_months: int | None = Field(None, ge=1, description="default: 3, or the panel's own step")
    warm_up_months: int = Field(12, ge=0, description="months of history before the first as-of month")


class Split(Strict):
    """Training before, test after; between them the horizon and the reporting lag as embargo."""

    test_from: Month | None = Field(None, description="first test as-of month; default: last third of the months")
    test_to: Month | None = Field(None, description="last test as-of month")
    folds: int = Field(2, ge=0, description="rolling-origin validation folds inside the training months")
    calibration_months: int = Field(12, ge=0, description="last training months that fit calibration and intervals")
    household_disjoint: bool = Field(True, description="also report a test without households seen in training")
    ledger: str | None = Field(None, description="file of looks at the test months; default: looks.jsonl in the register")


class Sampling(Strict):
    """Case-control sampling: what models are fitted on. Tests, calibration and intervals are never sampled."""

    others_per_fall: float | None = Field(
        None, gt=0, description="rows without a fall per fall in a fit, all falls kept, risks corrected; default: all rows"
    )


class Machine(Strict):
    """What a training may take of the machine. No figure depends on it."""

    memory_gib: float | None = Field(None, gt=0, description="most memory; a training that needs more is refused beforehand")
    cohorts: str | None = Field(
        None, description="folder that holds the cohorts' features; default: they are held in memory"
    )


class Capacity(Strict):
    """How many households can be visited: a number per county and month, or a share of those at risk."""

    number: int | None = Field(None, ge=1, description="households per county and month")
    share: float | None = Field(None, gt=0, le=1, description="share of those at risk per county and month")
    township_floor: int = Field(0, ge=0, description="visits guaranteed to each township, as far as the county's total goes")
    village_floor: int = Field(0, ge=0, description="visits guaranteed to each village, as far as the county's total goes")

    @model_validator(mode="after")
    def _one(self) -> Capacity:
        if (self.number is None) == (self.share is None):
            raise ValueError("give either number or share")
        return self

    @property
    def floors(self) -> dict[str, int]:
        """Visits guaranteed to each township and village, by name."""
        return {"township_floor": self.township_floor, "village_floor": self.village_floor}


class Intervals(Strict):
    """Bootstrap over households, or over villages where what strikes one household strikes its neighbours too."""

    over: Literal["auto", "household", "village"] = Field(
        "auto", description="what is drawn; auto: villages where all are known and there are 30 or more, else households"
    )
    replicates: int = Field(400, ge=20, description="resamples")
    level: float = Field(0.95, gt=0.5, lt=1, description="level of the intervals")


class Accepted(Strict):
    """A feature that looks like a leak and is none, with the reason; its stops become warnings."""

    feature: str = Field(description="name of the feature")
    reason: str = Field(min_length=10, description="why it is no leak; it is kept with the model")


class LeakGates(Strict):
    """What looks too good to be true. Statistical gates compare a confidence limit with their bound."""

    enabled: bool = Field(True, description="check every training for leaks; false is recorded with the model")
    single_feature_auc: float = Field(0.9, gt=0.5, le=1, description="stop: one feature alone separates better")
    certain_share: float = Field(0.7, gt=0.5, le=1, description="stop: more of those with an extreme value fell")
    missing_auc: float = Field(0.7, gt=0.5, le=1, description="stop: being missing alone separates better")
    id_order_auc: float = Field(0.75, gt=0.5, le=1, description="stop: the order of household ids separates better")
    sign_flip: float = Field(0.1, gt=0, lt=0.5, description="stop: AUC this far above 0.5 in training, below it in the test")
    scale_jump: float = Field(5.0, gt=1, description="stop: all of a feature's size changes by this factor between months")
    shift: float = Field(0.8, gt=0, le=1, description="warn: Kolmogorov-Smirnov distance between training and test months")
    twins: float = Field(0.001, ge=0, le=1, description="warn: share of households with a twin under another id")
    false_alarm: float = Field(0.01, gt=0, lt=0.5, description="chance that a gate alarms over all clean features together")
    households: int = Field(200, ge=1, description="households whose features are built again for the as-of gates")
    accept: list[Accepted] = Field([], description="features that may pass, each `{feature, reason}`")


Figure = Literal["pr_auc", "roc_auc", "log_loss", "brier", "precision_at_capacity", "recall_at_capacity"]


class Choice(Strict):
    """How `register_model: auto`, or a small register, picks a model, on folds inside the training months alone."""

    rule: Literal["simplest_within_one_se", "best_average", "best_last", "recency_weighted", "least_variance"] = Field(
        "simplest_within_one_se", description="how `register_model: auto` picks from the validation folds"
    )
    metric: Figure = Field("roc_auc", description="the figure it picks by")
    fewest_falls: int = Field(100, ge=0, description="with fewer in all folds, it picks on parts of the training households")
    small_below: int = Field(
        100, ge=0, description="falls in training below which a run that names no `register_model` picks; 0: never"
    )


class Tune(Strict):
    """A search for settings of LightGBM, on folds inside the training months alone. Needs the extra `tune`."""

    trials: int = Field(0, ge=0, description="settings of LightGBM tried on the validation folds, its own first; 0: none")
    timeout_seconds: float | None = Field(None, gt=0, description="no further trial after so long in all")
    metric: Figure = Field("pr_auc", description="the figure that is searched for, averaged over folds")
    storage: str | None = Field(None, description="file of the trials, from which a killed run goes on; default: memory")


def without_password(uri: str) -> str:
    """A URI fit to be shown and kept.

    >>> without_password("postgresql://office:secret@db.example/mlflow"), without_password("sqlite:///mlflow.db")
    ('postgresql://office:***@db.example/mlflow', 'sqlite:///mlflow.db')
    """
    return re.sub(r"(://[^:/@]*):[^/]*@", r"\1:***@", uri)


class Tracking(Strict):
    """Where runs and models are kept. What is written of it holds no password."""

    uri: str | None = Field(None, description="any MLflow URI; default: $MLFLOW_TRACKING_URI, else sqlite:///mlflow.db")
    experiment: str = Field("riskmodel", description="MLflow experiment")
    registered_model: str = Field("return-risk", description="name in the model registry")

    @field_serializer("uri")
    def _without_password(self, uri: str | None) -> str | None:
        return uri and without_password(uri)


AUTO = "auto"
RICH = "lightgbm"
"""What is registered where a run names no model and the register is not small."""
MODELS = (  # from the simplest to the richest: the choice of a model reads the order
    "base_rate", "last_status", "distance_to_line", "office_rule", "one_variable_logit", "logistic_regression",
    "hist_gradient_boosting", "lightgbm",
)  # fmt: skip
SIMPLE = ("base_rate", "last_status", "distance_to_line", "office_rule", "one_variable_logit")
"""Rules that an office could do without a model: what a model must beat."""
CAPACITY_METRIC = "recall_at_capacity"
"""What a model must be better at: the share of falls that lists at the visiting capacity find."""


class Run(Strict):
    """One training run: `riskmodel train RUN.yaml`."""

    name: str = Field("default", pattern=r"^[A-Za-z0-9_.-]+$", description="name of the run")
    catalogue: list[str] = Field(["features.yaml"], description="feature files below configs/, or paths")
    leave_out: list[str] = Field([], description="features or drivers that are not inputs")
    at_risk: AtRisk = AtRisk()
    label: Label = Label()
    cohorts: Cohorts = Cohorts()
    split: Split = Split()
    sampling: Sampling = Sampling()
    capacity: Capacity = Capacity(share=0.05)
    intervals: Intervals = Intervals()
    leak_gates: LeakGates = LeakGates()
    models: list[str] = Field(list(MODELS), description="models that are compared")
    register_model: str | None = Field(
        None,
        description="the model that is bundled and registered; `auto`: see `choice`; left out: `lightgbm`, and `auto` with "
        "fewer than `choice.small_below` falls in training",
    )
    choice: Choice = Choice()
    lightgbm: dict[str, float | int | str | bool] = Field({}, description="parameters that override the defaults")
    tune: Tune = Tune()
    tracking: Tracking = Tracking()
    smallest_cell: int = Field(10, ge=5, description="fewest households that a cell of the model card may stand for")
    seed: int = Field(20260101, description="seed of models and resamples")
    threads: int = Field(2, ge=1, description="splits fitted, and counties worked on, at once")
    machine: Machine = Machine()

    @field_validator("models")
    @classmethod
    def _known(cls, models: list[str]) -> list[str]:
        unknown = [m for m in models if m not in MODELS]
        if unknown:
            raise ValueError(f"unknown model {unknown[0]!r}; known: {', '.join(MODELS)}")
        return models

    @model_validator(mode="after")
    def _consistent(self) -> Run:
        if self.register_model not in (None, AUTO, *self.models):
            raise ValueError(f"register_model {self.register_model!r} is not among models")
        first, last = self.cohorts.first, self.cohorts.last
        if first and last and month_number(first) > month_number(last):
            raise ValueError("cohorts.first lies after cohorts.last")
        return self


def load_run(path: str | Path) -> Run:
    """Read a run file.

    Raises
    ------
    UsageError
        If the file is missing, is not YAML, or a key or value is wrong; every fault is named with its place.
    """
    file = find_config(path)
    try:
        content = yaml.load(read_config(file), Loader) or {}
    except yaml.YAMLError as fault:
        raise UsageError(f"{file.name}: not readable as YAML ({getattr(fault, 'problem', fault)}).") from None
    if not isinstance(content, dict):
        raise UsageError(f"{file.name}: a run file is a mapping of settings, such as `name: my_run`.")
    try:
        return Run(**content)
    except ValidationError as fault:
        places = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'run'}: {e['msg']}" for e in fault.errors())
        raise UsageError(f"{file.name}: {places}.") from None
