"""How often the verdict on causes is right, on simulated counties whose causes are known.

    python benchmarks/causes.py --world hard --seed 1 --households 20000 --json FILE

Counties of at most 20,000 households are simulated, ingested, trained on their early months and scored on four later
months; alerts at 5 % capacity that return within six months are held against the truth by intervention.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import riskmodel as rm
from benchmarks.figures import tell
from riskmodel.alerts.alerts import attribute
from riskmodel.alerts.scoring import Scores
from riskmodel.catalogue import Catalogue
from riskmodel.catalogue.signs import VerdictRule
from riskmodel.cohort.cohorts import Cohorts
from riskmodel.evaluation.metrics import Interval
from riskmodel.evaluation.verdicts import (
    FIGURES,
    OBJECTIVE_TRUTHS,
    RIGHT,
    clopper_pearson_upper,
    risk_coverage,
    verdict_figures,
)
from riskmodel.explain.causes import VERDICTS, Causes, judge_causes
from riskmodel.model.bundle import RiskModel
from riskmodel.model.training import fit_model
from riskmodel.register import Register, ingest
from riskmodel.settings import Cohorts as Months
from riskmodel.settings import Run, find_config, load_run
from riskmodel.simulation import World, world_of

MONTHS = 42
TRAINED_TO = "2022-09"
SCORED = ("2023-03", "2023-06", "2023-09", "2023-12")
MOST_IN_A_COUNTY = 20_000
CAPACITY = 0.05
GROUPS = (
    "elderly", "disability", "remote", "minority", "female_head", "relocated",
    "no_able_labour", "carers", "scarce_work", "illness_unrecorded",
)  # fmt: skip


@dataclass(frozen=True)
class Cases:
    """Alerts with everything a verdict rests on, and the truth; all tables have the same rows."""

    catalogue: Catalogue
    drivers: pd.DataFrame
    features: pd.DataFrame
    bounds: pd.DataFrame | None
    effect: np.ndarray
    truth: pd.DataFrame

    def judged(self, rule: VerdictRule | None = None) -> Causes:
        """Verdicts by the shipped rule or another one."""
        return judge_causes(self.catalogue, self.drivers, self.features, self.bounds, self.effect, rule)

    @property
    def returned(self) -> np.ndarray:
        """Rows of alerts that returned within the horizon."""
        return self.truth["returned"].to_numpy(bool)

    @property
    def households(self) -> np.ndarray:
        """County and household of each alert."""
        return (self.truth["county"] + "/" + self.truth["household_id"]).to_numpy()


def simulate_county(folder: Path, world: str | World, households: int, seed: int, low_effort: float | None) -> None:
    """Source tables, register and truth of one county."""
    rm.simulate(folder / "source", world=world, households=households, months=MONTHS, seed=seed, low_effort=low_effort)
    ingest(find_config("configs/sources/simulated.yaml"), folder / "source", folder / "register")


def default_run() -> Run:
    """The shipped run with the capacity of this benchmark."""
    run = load_run("configs/runs/default.yaml")
    return run.model_copy(update={"capacity": run.capacity.model_copy(update={"share": CAPACITY, "number": None})})


def training_cohorts(register: Register, run: Run) -> Cohorts:
    """Cohorts of the months whose outcome was known before the first scored month."""
    return rm.build_cohorts(register, label=run.label, at_risk=run.at_risk, months=Months(last=TRAINED_TO))


def truth_of(folder: Path) -> pd.DataFrame:
    """The truth of a county, by household and as-of month."""
    truth = pd.read_parquet(folder / "source" / "truth.parquet")
    truth["as_of"] = pd.to_datetime(truth["month"]).dt.strftime("%Y-%m")
    return truth


def explained_by(scores: Scores, model: RiskModel) -> Scores:
    """The same list, explained by a model: where it is another one than ranked them, their risks are not its own and go."""
    if model is scores.model:
        return scores
    return dataclasses.replace(scores, model=model, frame=scores.frame.drop(columns="risk"))


def cases_on_list(scores: Scores, model: RiskModel, truth: pd.DataFrame, county: str) -> Cases:
    """The list of some scores, attributed by a model (the one that scored, or another), with its truth."""
    found = attribute(explained_by(scores, model), CAPACITY)
    known = found.alerts.merge(truth, on=["household_id", "as_of"], how="left", sort=False)
    seen = known["returned"].notna().to_numpy()
    bounds = None if found.bounds is None else found.bounds[seen]
    return Cases(
        model.catalogue, found.drivers[seen], found.features[seen], bounds, found.behaviour[seen],
        known[seen].assign(county=county),
    )  # fmt: skip


def cases_of(folder: Path, county: str, run: Run | None = None) -> Cases:
    """Train on the early months of a county, raise alerts on the late ones, and join the truth."""
    run = run or default_run()
    register, truth = Register.open(folder / "register"), truth_of(folder)
    model = fit_model(training_cohorts(register, run), run)
    return joined([cases_on_list(rm.score(register, model, as_of), model, truth, county) for as_of in SCORED])


def joined(parts: list[Cases]) -> Cases:
    """Cases of several months or counties as one."""

    def stack(name: str) -> pd.DataFrame | None:
        tables = [getattr(p, name) for p in parts]
        return None if tables[0] is None else pd.concat(tables, ignore_index=True)

    effect = np.concatenate([p.effect for p in parts])
    return Cases(parts[0].catalogue, stack("drivers"), stack("features"), stack("bounds"), effect, stack("truth"))


def simulated_cases(
    world: str | World, seed: int, households: int, low_effort: float | None = None, run: Run | None = None
) -> Cases:
    """Cases of as many counties as the households need, each with its own model."""
    counties = max(1, -(-households // MOST_IN_A_COUNTY))
    parts = []
    for number in range(counties):
        with tempfile.TemporaryDirectory(prefix="causes-") as name:
            folder = Path(name)
            size = households // counties + (number < households % counties)
            simulate_county(folder, world, size, 1000 * seed + number, low_effort)
            parts.append(cases_of(folder, str(number), run))
    return joined(parts)


def baselines(cases: Cases) -> dict[str, pd.DataFrame]:
    """Simpler verdicts: `verdict` and `confidence` per alert."""
    nature = {d.name: d.nature for d in cases.catalogue.drivers}
    sides = {s: [d for d in cases.drivers if nature[d] == s] for s in ("objective", "subjective")}
    net = {s: cases.drivers[names].sum(axis=1).to_numpy() for s, names in sides.items()}
    push = {s: cases.drivers[names].clip(lower=0).sum(axis=1).to_numpy() for s, names in sides.items()}
    both = push["objective"] + push["subjective"]
    share = np.divide(push["subjective"], both, out=np.zeros(len(both)), where=both > 0)
    features = cases.features
    events = sum((features[c] < 12).to_numpy().astype(int) for c in features if c in _EVENTS)
    events = events + (features["able_now"] == 0).to_numpy() + (features["carers_now"] > 0).to_numpy()
    idle = ((features["months_low_work_12m"] >= 3) | (features["refused_no_reason_12m"] >= 1)).to_numpy()

    def table(verdict: np.ndarray, confidence: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame({"verdict": verdict, "confidence": np.asarray(confidence, float)})

    flags = np.select([(events > 0) & idle, events > 0, idle], ["mixed", "objective", "subjective"], "undetermined")
    return {
        "majority": table(np.full(len(both), "objective"), np.ones(len(both))),
        "event flags": table(flags, np.where(flags == "undetermined", 0.0, 1.0 + 0.1 * events)),
        "sign of summed SHAP": table(
            np.where(net["subjective"] > net["objective"], "subjective", "objective"),
            np.abs(net["subjective"] - net["objective"]),
        ),
        "share of summed SHAP": table(
            np.select([share >= 0.6, share <= 0.4], ["subjective", "objective"], "mixed"), np.abs(share - 0.5)
        ),
        "largest driver by gain": table(*_by_gain(cases, sides)),
    }


_EVENTS = (
    "months_since_illness", "months_since_disability", "months_since_accident", "months_since_disaster",
    "months_since_market", "months_since_job_loss", "months_since_schooling_cost", "months_since_family_loss",
    "months_since_house_damage", "months_since_water_failure",
)  # fmt: skip


def _by_gain(cases: Cases, sides: dict[str, list[str]]) -> tuple[np.ndarray, np.ndarray]:
    """The side of the driver with the largest mean gain among those that raise the alert's risk.

    The mean absolute contribution over all alerts stands for the gain, which LightGBM keeps per model only.
    """
    weight = cases.drivers.abs().mean()
    rising = cases.drivers > 0
    most = {s: (rising[names] * weight[names]).max(axis=1).to_numpy() for s, names in sides.items()}
    side = np.where(most["subjective"] > most["objective"], "subjective", "objective")
    return side, np.abs(most["subjective"] - most["objective"])


def figures(cases: Cases, verdict: np.ndarray, confidence: np.ndarray, replicates: int = 300) -> dict[str, object]:
    """`verdict_figures` of the alerts that returned."""
    rows = cases.returned
    return verdict_figures(
        cases.truth["cause"].to_numpy()[rows], np.asarray(verdict)[rows], np.asarray(confidence, float)[rows],
        cases.households[rows], replicates=replicates,
    )  # fmt: skip


def by_group(cases: Cases, verdict: np.ndarray) -> dict[str, float | int]:
    """False-subjective rate by subgroup, as `group_<name>_false`, `_of`, `_rate` and `_upper95`."""
    rows = cases.returned & cases.truth["cause"].isin(OBJECTIVE_TRUTHS).to_numpy()
    called = np.asarray(verdict) == "subjective"
    found: dict[str, float | int] = {}
    for group in GROUPS:
        here = rows & cases.truth[group].to_numpy(bool)
        false, of = int(called[here].sum()), int(here.sum())
        found |= {
            f"group_{group}_false": false, f"group_{group}_of": of,
            f"group_{group}_rate": false / of if of else float("nan"),
            f"group_{group}_upper95": clopper_pearson_upper(false, of),
        }  # fmt: skip
    return found


def flat(found: dict[str, object]) -> dict[str, float | int]:
    """Plain numbers: each interval as `name`, `name_low`, `name_high`."""
    plain: dict[str, float | int] = {}
    for name, value in found.items():
        if isinstance(value, Interval):
            plain |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
        else:
            plain[name] = value
    return plain


def report(cases: Cases) -> tuple[dict[str, object], pd.DataFrame]:
    """Our figures as flat JSON, and a table of ours beside the baselines."""
    ours = cases.judged().verdicts
    found = figures(cases, ours["verdict"].to_numpy(), ours["verdict_confidence"].to_numpy())
    rows = {"riskmodel": found}
    for name, table in baselines(cases).items():
        rows[name] = figures(cases, table["verdict"].to_numpy(), table["confidence"].to_numpy(), replicates=100)
    table = pd.DataFrame({n: {f: _words(v[f]) for f in FIGURES} for n, v in rows.items()}).T
    quiet = ~cases.returned
    plain = flat(found) | {
        "called_subjective_per_1000_alerts": 1000 * float((ours["verdict"] == "subjective").mean()),
        "alerts_in_all": len(ours),
        "false_alerts": int(quiet.sum()),
    }
    plain |= {f"false_alerts_called_{v}": int((ours["verdict"][quiet] == v).sum()) for v in VERDICTS}
    plain |= {f"baseline_augrc_{n.replace(' ', '_')}": v["augrc"].value for n, v in rows.items() if n != "riskmodel"}
    return plain | by_group(cases, ours["verdict"].to_numpy()), table


def draw_curves(cases: Cases, file: Path) -> None:
    """Risk-coverage curves of the alerts that returned: wrong verdicts among those decided, by share decided."""
    from matplotlib.figure import Figure

    rows = cases.returned
    truth = cases.truth["cause"][rows].map(RIGHT).to_numpy()
    ours = cases.judged().verdicts
    tables = {"riskmodel": ours.rename(columns={"verdict_confidence": "confidence"})} | baselines(cases)
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for (name, table), style in zip(tables.items(), ("-", ":", "--", "-.", (0, (1, 3)), (0, (6, 2))), strict=True):
        verdict = table["verdict"].replace("undetermined", "objective").to_numpy()[rows]
        curve = risk_coverage(verdict != truth, table["confidence"].to_numpy(float)[rows])
        axes.plot(
            curve["coverage"], curve["risk"], linestyle=style, label=name, linewidth=2.4 if name == "riskmodel" else 1.2
        )
    axes.set(
        xlabel="share of returns decided, most confident first",
        ylabel="wrong among those decided",
        xlim=(0, 1),
        ylim=(0, None),
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(file, metadata={"Date": None})


def _words(found: Interval) -> str:
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", choices=["easy", "hard"], default="hard")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--households", type=int, default=20_000)
    parser.add_argument("--low-effort", type=float, default=None, help="share of households ever in low effort, 0 to 0.5")
    parser.add_argument("--figure", type=Path, help="draw the risk-coverage curves, an SVG file")
    parser.add_argument("--json", type=Path, help="write the figures as flat JSON")
    given = parser.parse_args()
    cases = simulated_cases(given.world, given.seed, given.households, given.low_effort)
    plain, table = report(cases)
    plain = {"world": world_of(given.world).name, "seed": given.seed, "households": given.households, **plain}
    print(table.to_string())
    if given.figure:
        draw_curves(cases, given.figure)
    tell(plain, given.json)


if __name__ == "__main__":
    sys.exit(main())
