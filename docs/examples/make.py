"""The examples of the documentation, made anew: `make examples`, or

    python docs/examples/make.py [--work FOLDER] [--panel FILE]

The card and the alert are those of `riskmodel demo`. The bulletin is of another simulated county, trained on its first three
years, with lists of the year after, at first a quarter apart; effects of help need the extra `causal`. The card of the
Argentine panel is made where its file is given, `eph/eph_2009_2015.parquet` of benchmarks/panels.py; else it stays as it is.
What is made on the way lies in FOLDER. It takes about ten minutes on two cores, and with the panel as long again.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from riskmodel.cards.model_card import write_card
from riskmodel.demo import run_demo
from riskmodel.model.tracking import load_model
from riskmodel.monitoring.rules import AssistanceRules, Rules
from riskmodel.register import ingest
from riskmodel.results import monitor_and_write, score_and_write, train_and_write
from riskmodel.settings import Intervals, Tracking, find_config, load_run
from riskmodel.simulation import simulate

HERE = Path(__file__).parent
TRAINED_TO = "2023-12"
LISTS = ("2024-06", "2024-09", "2024-12", "2025-03", "2025-05", "2025-06")


def county(work: Path) -> None:
    """`simulated_county.html` and `alert.svg`: the demo's card and its first alert."""
    made = run_demo(work, households=5000, months=36, seed=1, step=print).paths
    shutil.copy(made["model card"], HERE / "simulated_county.html")
    shutil.copy(made["one alert"], HERE / "alert.svg")


def bulletin(work: Path) -> None:
    """`bulletin.html`: the last month of a county of 3,000 households over 54 months, held against the month before."""
    simulate(work / "source", world="easy", households=3000, months=54, seed=1)
    ingest(find_config("sources/simulated.yaml"), work / "source", work / "register")
    run = load_run("runs/default.yaml")
    run = run.model_copy(update={
        "cohorts": run.cohorts.model_copy(update={"last": TRAINED_TO}),
        "intervals": Intervals(replicates=200),
        "tracking": Tracking(uri=f"sqlite:///{(work / 'mlflow.db').resolve()}"),
    })  # fmt: skip
    train_and_write(run, work / "register", work / "results", print)
    model = str(work / "results" / "model")
    for month in LISTS:
        score_and_write(work / "register", model, month, work / "lists" / month, None, print)
    lists = [work / "lists" / month for month in LISTS]
    before, now = (work / "monitoring" / month for month in LISTS[-2:])
    quick = Rules(assistance=AssistanceRules(estimate_effects=False))
    monitor_and_write(work / "register", LISTS[-2], before, print, alerts=lists[:-1], model_uri=model, rules=quick)
    monitor_and_write(work / "register", LISTS[-1], now, print, alerts=lists, model_uri=model, before=before)
    shutil.copy(now / "bulletin.html", HERE / "bulletin.html")


def argentina(work: Path, panel: Path) -> None:
    """`argentina_1q.html`: the card of the run `eph_1q` on the Argentine panel."""
    ingest(find_config("sources/eph.yaml"), panel, work / "register")
    run = load_run("runs/eph_1q.yaml")
    run = run.model_copy(update={"tracking": Tracking(uri=f"sqlite:///{(work / 'mlflow.db').resolve()}")})
    train_and_write(run, work / "register", work / "results", print)
    write_card(load_model(work / "results" / "model"), HERE / "argentina_1q.html")


def main() -> None:
    """Make what is asked for."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--work", type=Path, help="folder to work in; default: a temporary one")
    arguments.add_argument("--panel", type=Path, help="eph_2009_2015.parquet")
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = asked.work or Path(folder)
        county(work / "county")
        bulletin(work / "bulletin")
        if asked.panel:
            argentina(work / "argentina", asked.panel)


if __name__ == "__main__":
    main()
