"""Whether estimates of what help does can be trusted: on made-up households with a known effect, and on a randomised trial.

Made-up households: help goes to the poorer and the larger ones, and income (or a return to poverty) follows from the same
things, from the household itself, and from help by a known amount. Each run draws households anew. The worlds: **sound**
(overlap, nothing hidden), **strong** (the same, a larger effect), **no_overlap** (help goes by a sharp line of poverty),
**hidden** (help does nothing, and a hidden cause drives help and income about as poverty does), and **hidden_more** (the
hidden cause is stronger than anything known: the case that no analysis of sensitivity can tell).

Other set-ups (`--setups`), of the sound world where no other is named: fewer and more households, one day, another share
helped, other covariates, and help and income that both bend with poverty, or with poverty and the size of the household
together. Those of `many covariates` have few rows and as many columns as a register gives; those of `mixed` ones are other
households (`mixed_households`): skewed, counted, rare and correlated covariates, of which a third have gaps, strong
selection with overlap, effects that differ, and a rare outcome. Six covariates drive help and outcome, or (`spread`) a
little of each.

The trial: Pakistan's graduation programme (Banerjee et al. 2015, Science 348:1260799), where help was drawn by lot. The
difference of its arms is the truth; then households are dropped by what they consumed at the baseline, so that the arms
differ, and the estimate has to find its way back.

    python benchmarks/assistance.py --pakistan FOLDER --markdown benchmarks/assistance.md
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.figures import as_json
from riskmodel.evaluation.metrics import wilson
from riskmodel.monitoring.effects import (
    ESTIMATED,
    EVERYBODY,
    HELPED,
    NO_OVERLAP,
    Effect,
    by_strength,
    estimate_effect,
    plain_difference,
)

WORLDS = {
    "sound": {"effect": 0.3},
    "strong": {"effect": 0.8},
    "no_overlap": {"effect": 0.3, "sharp": 6.0},
    "hidden": {"effect": 0.0, "hidden": 0.8},
    "hidden_more": {"effect": 0.0, "hidden": 1.4},
}
SETUPS = {
    "300 households, one day": {"n": 300, "days": 1},
    "300 households": {"n": 300},
    "500 households, one day": {"days": 1},
    "1000 households": {"n": 1000},
    "one in eight helped": {"usual": -2.2},
    "over half helped": {"usual": 0.3},
    "poverty and members alone known": {"known": ["poverty", "members"]},
    "eight covariates more": {"more": 8},
    "300, one day, four covariates more": {"n": 300, "days": 1, "more": 4},
    "bends with poverty": {"bend": 0.3},
    "bends with both": {"bend_together": 0.3},
    "300, one day, bends with poverty": {"n": 300, "days": 1, "bend": 0.3},
    "many covariates, 400 rows": {"n": 400, "days": 1, "more": 66},
    "many covariates, 600 rows": {"n": 300, "more": 66},
    "many covariates, mixed, 500 rows": {"mixed": True, "n": 500},
    "many covariates, mixed, 800 rows": {"mixed": True, "n": 800},
    "many covariates, mixed and spread, 500 rows": {"mixed": True, "n": 500, "spread": 0.13},
    "many covariates, mixed and spread, 800 rows": {"mixed": True, "n": 800, "spread": 0.13},
    "many covariates, no overlap, 600 rows": {"world": "no_overlap", "n": 300, "more": 66},
    "many covariates, hidden, 600 rows": {"world": "hidden", "n": 300, "more": 66},
}
_MIXED = 36
OUTCOMES = ("income", "returned")
COVARIATES = ["poverty", "members", "illness", "land"]
SETUP_COLUMNS = (
    "runs", "truth", "estimated", "refused", "coverage", "coverage_low", "coverage_high", "half_width", "mean_estimate",
    "mean_plain", "told_apart", "fragile",
)  # fmt: skip
TRIAL = "pakistan_graduation_long.csv.gz"
BASELINE = [
    "welfare_pc", "cfood_pcmonth", "cnonfood_pcmonth", "cdurable_pcmonth", "asset_index", "asset_hh_index",
    "asset_prod_index", "index_foodsecurity", "percep_econ", "loan_totalamt", "sav_depositamt", "ranimals_month",
    "iagri_month", "poor",
]  # fmt: skip
TRIAL_OUTCOMES = {"consumption": "welfare_pc", "poverty": "poor_2usd"}
"""Outcomes of the trial and their columns; what they are says `trial_rows`."""


def households(
    seed: int,
    n: int = 500,
    days: int = 2,
    *,
    effect: float = 0.3,
    hidden: float = 0.0,
    sharp: float = 0.8,
    usual: float = -0.7,
    more: int = 0,
    bend: float = 0.0,
    bend_together: float = 0.0,
) -> pd.DataFrame:
    """Made-up households on several days; `true_income` and `true_returned` are what help does to each.

    `usual` is the log odds of help for the middling household; of `more` covariates (`more_0`, ...) nothing depends.
    """
    generator = np.random.default_rng(seed)
    household = np.repeat(np.arange(n), days)
    own = generator.normal(size=(n, 2))[household]
    names = [*COVARIATES, *(f"more_{i}" for i in range(more))]
    x = 0.7 * generator.normal(size=(n, len(names)))[household] + 0.7 * generator.normal(size=(n * days, len(names)))
    unseen = generator.normal(size=n)[household]
    rows = pd.DataFrame(x, columns=names).assign(household_id=household)
    bent = bend * (rows["poverty"] ** 2 - 1) + bend_together * rows["poverty"] * rows["members"]
    log_odds_of_help = usual + sharp * rows["poverty"] + 0.5 * rows["members"] + hidden * unseen + bent
    rows["helped"] = (generator.random(len(rows)) < 1 / (1 + np.exp(-log_odds_of_help))).astype(float)
    course = 1.5 - 0.5 * rows["poverty"] - 0.3 * rows["members"] - 0.2 * rows["illness"] + 0.6 * hidden * unseen - bent
    noise = 0.4 * own[:, 0] + 0.6 * generator.normal(size=len(rows))
    rows["income"] = course + effect * rows["helped"] + noise
    log_odds = -1.2 - 1.5 * (course - 1.5)
    less = 1 / (1 + np.exp(-log_odds)), 1 / (1 + np.exp(-(log_odds - 2 * effect)))
    rows["returned"] = (generator.random(len(rows)) < np.where(rows["helped"] == 1, less[1], less[0])).astype(float)
    return rows.assign(true_income=effect, true_returned=less[1] - less[0])


def mixed_households(seed: int, n: int, *, effect: float = 0.3, rare: float = 0.045, spread: float = 0.0) -> pd.DataFrame:
    """Households of another make, one row each, with `true_income` and `true_returned`.

    Three hidden traits make the 36 covariates (`x_0`, ...) go together; amounts are skewed, some are counts, others yes or
    no of 38 to 5 %, and of every third a tenth is missing. What is missing drives nothing, so that nothing is hidden. With
    `spread` each covariate drives help and outcome a little, as strongly as said; without it six do. About `rare` return.
    """
    loadings = 0.5 * np.random.default_rng(77).normal(size=(_MIXED, 3))
    generator = np.random.default_rng([4242, seed])
    z = generator.normal(size=(n, 3)) @ loadings.T + generator.normal(size=(n, _MIXED))
    z /= np.sqrt(1 + (loadings**2).sum(axis=1))
    x = z.copy()
    x[:, 2] = z[:, 2] > 1
    x[:, 6:12] = np.exp(0.8 * z[:, 6:12])
    x[:, 12:22] = z[:, 12:22] > np.linspace(0.3, 1.6, 10)
    x[:, 22:28] = np.floor(np.exp(0.7 * z[:, 22:28]))
    gaps = (generator.random((n, _MIXED)) < 0.1) & (np.arange(_MIXED) % 3 == 1)
    known = np.where(gaps, 0.0, (x - x.mean(axis=0)) / x.std(axis=0))
    poverty, members, sick, age, land, cattle = known[:, [0, 1, 2, 3, 4, 22]].T
    if spread:
        log_odds_of_help = -0.6 + spread * known.sum(axis=1)
        course = -0.8 * spread * known.sum(axis=1)
    else:
        log_odds_of_help = -0.6 + 0.8 * poverty + 0.5 * members + 0.2 * sick + 0.4 * age - 0.4 * land + 0.2 * cattle
        course = -0.5 * poverty - 0.3 * members - 0.15 * sick - 0.2 * age + 0.2 * land - 0.1 * cattle
    helped = generator.random(n) < 1 / (1 + np.exp(-log_odds_of_help))
    of_each = effect * (1 + 0.3 * np.tanh(poverty))
    income = course + of_each * helped + 0.5 * generator.standard_t(6, size=n)
    log_odds = np.log(rare / (1 - rare)) - 0.3 - 1.3 * course
    less = 1 / (1 + np.exp(-log_odds)), 1 / (1 + np.exp(-(log_odds - 2.7 * effect)))
    returned = generator.random(n) < np.where(helped, less[1], less[0])
    rows = pd.DataFrame(np.where(gaps, np.nan, x), columns=[f"x_{k}" for k in range(_MIXED)])
    rows = rows.assign(household_id=np.arange(n), helped=helped * 1.0, income=income, returned=returned * 1.0)
    return rows.assign(true_income=of_each, true_returned=less[1] - less[0])


def drawn(world: str, seed: int, setup: dict[str, Any], **others: Any) -> pd.DataFrame:
    """Households of a world in a set-up; those that are `mixed` are of the sound world alone."""
    how = {name: value for name, value in setup.items() if name not in ("known", "mixed", "world")} | others
    return mixed_households(seed, **how) if setup.get("mixed") else households(seed, **WORLDS[world], **how)


def truth_of(world: str, outcome: str, setup: dict[str, Any] | None = None) -> float:
    """The effect on those helped in a very large population of this world."""
    setup = setup or {}
    rows = drawn(world, 0, setup, n=200_000, **({} if setup.get("mixed") else {"days": 1, "more": 0}))
    return float(rows.loc[rows["helped"] == 1, f"true_{outcome}"].mean())


def runs(
    world: str, outcome: str, count: int, first_seed: int = 1, setup: dict[str, Any] | None = None
) -> Iterator[tuple[pd.DataFrame, Effect]]:
    """Households of a world and what was said of them, run by run."""
    setup = setup or {}
    for seed in range(first_seed, first_seed + count):
        rows = drawn(world, seed, setup)
        covariates = setup.get("known") or [c for c in rows if c in COVARIATES or c.startswith(("more_", "x_"))]
        yield rows, estimate_effect(rows, "helped", outcome, covariates, of=HELPED, seed=seed)


def runs_of(world: str, asked: int) -> int:
    """Coverage needs all runs; what the other worlds show is told by a third of them."""
    return asked if world in ("sound", "strong") else -(-asked // 3)


def figures_of(
    world: str, outcome: str, count: int, first_seed: int = 1, setup: dict[str, Any] | None = None
) -> dict[str, float]:
    """Shares over the runs of one world, with Wilson intervals of the coverage."""
    truth = truth_of(world, outcome, setup)
    pairs = list(runs(world, outcome, count, first_seed, setup))
    effects = [effect for _, effect in pairs]
    told = [e for e in effects if e.status == ESTIMATED]
    within = [e.low <= truth <= e.high for e in told]
    plain_within = [e.plain_low <= truth <= e.plain_high for e in effects]
    readings = [next(by_strength([e])) for e in effects]
    low, high = wilson(sum(within), len(within)) if told else (np.nan, np.nan)
    away = [r != "not_told_apart" for r in readings if r in ("not_told_apart", "fragile", "stands")]
    return {
        "runs": count,
        "truth": truth,
        "estimated": len(told) / count,
        "refused": sum(e.status == NO_OVERLAP for e in effects) / count,
        "coverage": float(np.mean(within)) if told else np.nan,
        "coverage_low": low,
        "coverage_high": high,
        "half_width": float(np.mean([e.high - e.low for e in told]) / 2) if told else np.nan,
        "mean_estimate": float(np.mean([e.effect for e in told])) if told else np.nan,
        "mean_plain": float(np.mean([e.plain for e in effects])),
        "plain_coverage": float(np.mean(plain_within)),
        "told_apart": float(np.mean(away)) if told else np.nan,
        "fragile": readings.count("fragile") / max(sum(away), 1),
        "stands": readings.count("stands") / max(sum(away), 1),
    }


def trial_rows(folder: Path, wave: int) -> pd.DataFrame:
    """One row a household: who was drawn, the baseline (`base_*`), consumption and poverty at a wave.

    Consumption of 0 is a gap. Poverty is consumption below 72.96 USD PPP a month, the trial file's second line
    (`poor_2usd`); below the first (45.6) lies one household in eight.
    """
    panel = pd.read_csv(folder / TRIAL)
    panel["welfare_pc"] = panel["welfare_pc"].where(panel["welfare_pc"] > 0)
    panel["poor_2usd"] = panel["poor_2usd"].where(panel["welfare_pc"].notna())
    base = panel[panel["wave"] == 0].set_index("household_id")
    after = panel[panel["wave"] == wave].set_index("household_id")[list(TRIAL_OUTCOMES.values())]
    after["welfare_pc"] = after["welfare_pc"].clip(upper=after["welfare_pc"].quantile(0.99))
    after = after.rename(columns={column: name for name, column in TRIAL_OUTCOMES.items()})
    money = ["welfare_pc", "cfood_pcmonth", "cnonfood_pcmonth", "cdurable_pcmonth", "loan_totalamt", "sav_depositamt"]
    covariates = base[BASELINE].copy()
    covariates[money] = np.log1p(covariates[money].clip(lower=0))
    return base[["treatment"]].join(covariates.add_prefix("base_")).join(after).reset_index()


def selected(rows: pd.DataFrame, seed: int, most: float = 0.8) -> pd.DataFrame:
    """The trial as if help had gone to the better off: poorer helped and richer others are dropped more often."""
    rank = rows["base_welfare_pc"].rank(pct=True).fillna(0.5)
    dropped = most * np.where(rows["treatment"] == 1, 1 - rank, rank)
    return rows[np.random.default_rng(seed).random(len(rows)) >= dropped].reset_index(drop=True)


def trial_figures(folder: Path, wave: int, outcome: str, draws: int) -> dict[str, float]:
    """The trial's arms, the doubly robust estimate on the trial, and both again after selection."""
    rows = trial_rows(folder, wave)
    covariates = [c for c in rows if c.startswith("base_")]
    known = rows[rows[outcome].notna()]
    arms, error = plain_difference(known["treatment"].to_numpy(float), known[outcome].to_numpy(float), np.arange(len(known)))
    whole = estimate_effect(rows, "treatment", outcome, covariates, of=EVERYBODY)
    found = [
        estimate_effect(selected(rows, seed), "treatment", outcome, covariates, of=EVERYBODY, seed=seed)
        for seed in range(1, draws + 1)
    ]
    told = [e for e in found if e.status == ESTIMATED]
    return {
        "households": len(known),
        "arms": arms,
        "arms_low": arms - 1.959964 * error,
        "arms_high": arms + 1.959964 * error,
        "doubly_robust": whole.effect,
        "doubly_robust_low": whole.low,
        "doubly_robust_high": whole.high,
        "selected_households": float(np.mean([e.rows for e in found])),
        "selected_plain": float(np.mean([e.plain for e in found])),
        "selected_plain_covers": float(np.mean([e.plain_low <= arms <= e.plain_high for e in found])),
        "selected_refused": 1 - len(told) / draws,
        "selected_estimate": float(np.mean([e.effect for e in told])),
        "selected_covers": float(np.mean([e.low <= arms <= e.high for e in told])),
        "first_estimate": told[0].effect,
        "first_low": told[0].low,
        "first_high": told[0].high,
        "first_hidden_low": told[0].hidden_low,
        "first_hidden_high": told[0].hidden_high,
    }


def page(made_up: pd.DataFrame, setups: pd.DataFrame, trial: pd.DataFrame, asked: argparse.Namespace) -> str:
    """The benchmark page."""
    import doubleml

    about = f"Python {platform.python_version()}, DoubleML {doubleml.__version__}, pandas {pd.__version__}"
    parts = [
        "# Results of assistance: can the estimates be trusted?",
        f"`python benchmarks/assistance.py --runs {asked.runs} --first-seed {asked.first_seed} --setups {asked.setups} "
        f"--draws {asked.draws}` ({about}). What is measured: the docstring of `benchmarks/assistance.py`.",
        "## Made-up households, effect known",
        "500 households on two days in each run. `coverage`: the truth lies within the 95 % interval "
        "(with a 95 % Wilson interval); `plain` is the difference of the means. `fragile` and `stands`: of the estimates "
        "told apart from nothing, the share that a hidden cause as misleading as the strongest known one could do away "
        "with, or not. The income of `strong` is that of `sound` plus a half, household by household, and so are estimates "
        "and intervals: it tells nothing more.",
        _markdown(made_up),
        "## The sound world in other set-ups",
        _markdown(setups) if len(setups) else "Not run (`--setups`).",
        "## Pakistan, randomised",
        f"`arms`: difference of the randomised arms, the truth. `selected`: poorer helped and richer other households are "
        f"dropped with up to 80 % (mean of {asked.draws} draws); `covers`: the arms' figure lies within the 95 % interval. "
        "Consumption per person and month, USD PPP 2014; poverty: below 72.96. Wave 1 lies two years, wave 2 three years "
        "after the baseline.",
        _markdown(trial) if len(trial) else "Not run: the trial's data were not given (`--pakistan`).",
    ]
    return "\n\n".join(parts) + "\n"


def _markdown(table: pd.DataFrame) -> str:
    cells = [[f"{v:.3g}" if isinstance(v, float) else str(v) for v in row] for row in table.to_numpy(object)]
    lines = [list(table.columns), ["---"] * table.shape[1], *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Print the figures, and write them where asked."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--runs", type=int, default=200)
    arguments.add_argument("--first-seed", type=int, default=1, help="households of run i are drawn by this seed + i - 1")
    arguments.add_argument("--setups", type=int, default=0, help="runs of the sound world in each other set-up")
    arguments.add_argument("--only", default="", help="set-ups whose name holds this")
    arguments.add_argument("--draws", type=int, default=40)
    arguments.add_argument("--pakistan", type=Path, help="folder of the trial's panel")
    arguments.add_argument("--markdown", type=Path)
    arguments.add_argument("--json", type=Path)
    asked = arguments.parse_args()
    made_up = []
    for world in WORLDS if asked.runs else ():
        for outcome in OUTCOMES:
            figures = figures_of(world, outcome, runs_of(world, asked.runs), asked.first_seed)
            made_up.append({"world": world, "outcome": outcome, **figures})
            print(as_json(made_up[-1]), flush=True)
    setups = []
    for name, setup in SETUPS.items() if asked.setups else ():
        if asked.only not in name:
            continue
        for outcome in OUTCOMES:
            figures = figures_of(setup.get("world", "sound"), outcome, asked.setups, asked.first_seed, setup)
            setups.append({"set_up": name, "outcome": outcome} | {column: figures[column] for column in SETUP_COLUMNS})
            print(as_json(setups[-1]), flush=True)
    trial = []
    for wave in (1, 2) if asked.pakistan else ():
        for outcome in TRIAL_OUTCOMES:
            trial.append({"wave": wave, "outcome": outcome, **trial_figures(asked.pakistan, wave, outcome, asked.draws)})
            print(as_json(trial[-1]), flush=True)
    if asked.json:
        asked.json.write_text(as_json({"made_up": made_up, "setups": setups, "trial": trial}), encoding="utf-8")
    if asked.markdown:
        asked.markdown.write_text(
            page(pd.DataFrame(made_up), pd.DataFrame(setups), pd.DataFrame(trial), asked), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
