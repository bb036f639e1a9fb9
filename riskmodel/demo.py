"""The whole way on a simulated county, with nothing to configure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from riskmodel.months import month_number, month_text
from riskmodel.results import explain_household, monitor_and_write, score_and_write, train_and_write, write_sheets
from riskmodel.settings import Intervals, find_config, load_run


@dataclass(frozen=True)
class Demo:
    """What the demo made: the study, the last month's alerts, and the files to open."""

    study: Any
    as_of: str
    alerts: pd.DataFrame
    paths: dict[str, Path | str]


def run_demo(out: Path, households: int, months: int, seed: int, step: Callable[[str], None]) -> Demo:
    """Simulate, ingest, train, promote, score, explain, write card, alert sheets and bulletin, all below `out`.

    The bulletin also looks back on the list of half a year ago; effects of help, which take minutes, are not looked for.
    """
    from riskmodel.cards.model_card import write_card
    from riskmodel.model.tracking import load_model, promote, promotion_of
    from riskmodel.monitoring.rules import AssistanceRules, Rules
    from riskmodel.register import Register, checked_target, ingest
    from riskmodel.settings import Tracking
    from riskmodel.simulation import simulate

    checked_target(out, "demo")
    out.mkdir(parents=True, exist_ok=True)
    step("simulating a county")
    simulate(out / "source", world="easy", households=households, months=months, seed=seed)
    step("ingest")
    ingest(find_config("configs/sources/simulated.yaml"), out / "source", out / "register")
    tracking = Tracking(uri=f"sqlite:///{(out / 'mlflow.db').resolve()}")
    run = load_run("configs/runs/default.yaml").model_copy(
        update={"name": "demo", "tracking": tracking, "intervals": Intervals(replicates=200)}
    )
    study = train_and_write(run, out / "register", out / "results", step)
    promote(study.tracking["version"], "first model of the demo", tracking)
    as_of = Register.open(out / "register").last_month
    uri = f"models:/{tracking.registered_model}@champion"
    score_and_write(out / "register", uri, as_of, out / "alerts", None, step, tracking_uri=tracking.uri)
    alerts = pd.read_parquet(out / "alerts" / "alerts.parquet")
    step("card")
    write_card(load_model(uri, tracking.uri), out / "card.html", promotion=promotion_of(uri, tracking.uri))
    write_sheets(out / "alerts", out / "sheets", step=step)
    earlier = month_text(month_number(as_of) - run.label.horizon_months)
    score_and_write(out / "register", uri, earlier, out / "alerts_before", None, step, tracking_uri=tracking.uri)
    monitor_and_write(
        out / "register", as_of, out / "monitoring", step, alerts=[out / "alerts_before", out / "alerts"], model_uri=uri,
        rules=Rules(assistance=AssistanceRules(estimate_effects=False)), tracking_uri=tracking.uri,
    )  # fmt: skip
    story = explain_household(out / "alerts", alerts["household_id"].iloc[0])
    paths = {
        "model card": out / "card.html",
        "alerts": out / "alerts" / "alerts.xlsx",
        "sheets": min((out / "sheets").glob("*.html")),
        "to review": min((out / "sheets").glob("*.xlsx")),
        "one alert": story.waterfall,
        "bulletin": out / "monitoring" / "bulletin.html",
        "results": out / "results" / "results.json",
        "MLflow": f"mlflow ui --backend-store-uri {tracking.uri}",
    }
    return Demo(study, as_of, alerts, paths)
