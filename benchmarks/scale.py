"""From a county to the nation: seconds, memory and ratios to what an analyst would write, in one run.

    python benchmarks/scale.py --households 1000000 [--json FILE] [--data FOLDER] [--workers 2]
    python benchmarks/scale.py --curve 1000,10000,100000,1000000,5000000 [--json FILE] [--figure FILE.svg]
    python benchmarks/scale.py --small 200,300   # CPU of `riskmodel score` for each small county

Makes its own register (`national.py`: 24 months, 40 columns of records, events, villages) and two models of 500 trees x 63
leaves: on forty features that an analyst writes first (`scale_features.yaml`), and on the inputs of the shipped catalogue
(figures `shipped_*`). The job: from the register's Parquet to risks of everybody at risk and drivers of the 5 % with the
highest, as Parquet. Contenders do the same on one county, their time multiplied by the number of counties; LightGBM's and
shap's explanations are timed on a sample of alerts and multiplied likewise. All contenders may use all cores. polars takes
part where it is installed (`pip install polars`).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from importlib.metadata import version
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import national
import numpy as np
import pandas as pd
import yaml
from scale_job import AS_OF, MONTH_NO, SHARE

TREES, LEAVES = 500, 63
SAMPLE = 300
FORTY = Path(__file__).with_name("scale_features.yaml")
TURNS = 3
POLARS = find_spec("polars") is not None


def seconds(task: Callable[[], Any]) -> tuple[float, Any]:
    """Wall-clock seconds of a task, and what it gives."""
    start = time.perf_counter()
    found = task()
    return time.perf_counter() - start, found


def train(register: Path, out: Path, catalogue: Any = None, features: str = "features.yaml") -> None:
    """A model on the inputs of a catalogue, the shipped one by default, kept as a bundle."""
    from riskmodel.catalogue import load_catalogue
    from riskmodel.cohort.features import available_in, county_blocks
    from riskmodel.model.bundle import RiskModel
    from riskmodel.model.calibration import Calibration
    from riskmodel.model.estimators import LightGBM
    from riskmodel.register import Register
    from riskmodel.settings import Run

    opened, catalogue = Register.open(register), catalogue or load_catalogue()
    given, _ = available_in(opened, catalogue)
    order = {f.name: i for i, f in enumerate(catalogue.features)}
    inputs = sorted((f.name for f in given if f.input), key=order.__getitem__)
    frames = county_blocks(opened, opened.counties[0], [MONTH_NO - 6], given, 20_000)
    X = pd.concat(list(frames), ignore_index=True)[inputs].head(40_000).astype(np.float32)
    rng = np.random.default_rng(0)
    z = np.nan_to_num(((X - X.mean()) / X.std().replace(0, 1)).to_numpy()).clip(-3, 3)
    odds = z @ rng.normal(0, 0.3, len(inputs)) + 0.3 * z[:, 0] * z[:, 1] - 2.5
    fell = (rng.random(len(X)) < 1 / (1 + np.exp(-odds))).astype(float)
    shape = {"n_estimators": TREES, "num_leaves": LEAVES, "min_data_in_leaf": 20, "learning_rate": 0.05}
    RiskModel(LightGBM(overrides=shape).fit(X, fell), Calibration(), Run(catalogue=[features]), catalogue).save(out)


@cache
def forty() -> Any:
    """A catalogue of the forty features alone, with the shipped drivers."""
    from riskmodel.catalogue import load_catalogue
    from riskmodel.settings import find_config

    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        drivers, measures = Path(name, "drivers.yaml"), Path(name, "measures.yaml")
        shipped = yaml.safe_load(find_config("drivers.yaml").read_text(encoding="utf-8"))
        drivers.write_text(yaml.safe_dump({"drivers": shipped["drivers"]}, allow_unicode=True), encoding="utf-8")
        measures.write_text("measures: []\n", encoding="utf-8")
        return load_catalogue([FORTY], drivers, measures)


@cache
def kinds() -> dict[str, list[str]]:
    """Columns by kind of feature, from the names in `scale_features.yaml`."""
    names = [f.name for f in forty().features]
    return {k: [n.removesuffix(f"_{k}") for n in names if n.endswith(f"_{k}")] for k in ("last", "mean", "min", "sd")}


def forty_ours(register: Any, county: str) -> pd.DataFrame:
    from riskmodel.cohort.features import county_blocks

    return pd.concat(list(county_blocks(register, county, [MONTH_NO], forty().features, 20_000)), ignore_index=True)


def forty_of(register: Path, county: str) -> int:
    """The same in a process of a pool; gives the number of households."""
    from riskmodel.register import Register

    return len(forty_ours(Register.open(register), county))


def forty_pandas(register: Any, county: str) -> pd.DataFrame:
    """As an analyst writes it: filter, sort, group by household."""
    of, day = kinds(), pd.Timestamp("2023-12-31")
    columns = sorted({c for cs in of.values() for c in cs})
    rows = pd.read_parquet(register.file("records", county), columns=["household_id", "month", "known_at", *columns])
    rows["month"], rows["known_at"] = pd.to_datetime(rows["month"]), pd.to_datetime(rows["known_at"])
    rows = rows[(rows["known_at"] <= day) & (rows["month"] <= day)].sort_values(["household_id", "month"])
    year = rows[rows["month"] > day - pd.DateOffset(months=12)]
    by, by_year = rows.groupby("household_id"), year.groupby("household_id")
    parts = [
        by[of["last"]].last().add_suffix("_last"), by_year[of["mean"]].mean().add_suffix("_mean"),
        by_year[of["min"]].min().add_suffix("_min"), by_year[of["sd"]].std().add_suffix("_sd"),
    ]  # fmt: skip
    return pd.concat(parts, axis=1).reset_index()


def forty_polars(register: Any, county: str) -> pd.DataFrame:
    import datetime as dt

    import polars as pl

    of, day = kinds(), dt.date(2023, 12, 31)
    recent = pl.col("month") > dt.date(2022, 12, 31)
    found = (
        pl.scan_parquet(register.file("records", county))
        .filter((pl.col("known_at") <= day) & (pl.col("month") <= day))
        .group_by("household_id", maintain_order=True)
        .agg(
            [pl.col(c).drop_nulls().last().alias(f"{c}_last") for c in of["last"]]
            + [pl.col(c).filter(recent).mean().alias(f"{c}_mean") for c in of["mean"]]
            + [pl.col(c).filter(recent).min().alias(f"{c}_min") for c in of["min"]]
            + [pl.col(c).filter(recent).std().alias(f"{c}_sd") for c in of["sd"]]
        )
        .collect()
    )
    return pd.DataFrame({name: found[name].to_numpy() for name in found.columns})


def scan(register: Any, county: str, columns: list[str], threads: int) -> None:
    """Look at every value of some columns of a county, and only add them up (a largest value is read off the statistics)."""
    import duckdb

    path = str(register.file("records", county))
    with duckdb.connect() as connection:
        connection.execute(f"SET threads = {threads}")
        kinds = dict(
            connection.execute("SELECT column_name, column_type FROM (DESCRIBE FROM read_parquet(?))", [path]).fetchall()
        )
        number = {"DATE": "epoch({})", "BOOLEAN": "CAST({} AS INTEGER)"}
        sums = ", ".join(f"sum({number.get(kinds[c], '{}').format(c)})" for c in columns)
        connection.execute(f"SELECT {sums} FROM read_parquet(?)", [path]).fetchall()


def queried(register: Any, county: str, features: list[Any], threads: int) -> pd.DataFrame:
    """The features by the compiled query, as the analyst with DuckDB would have them."""
    from riskmodel.catalogue.catalogue import FEATURE_TABLES
    from riskmodel.catalogue.compiler import CountyFiles, compile_features
    from riskmodel.engine import engine
    from riskmodel.register import load_contract

    files = {t: str(f) for t in (*FEATURE_TABLES, "households") if (f := register.file(t, county)) is not None}
    unit = CountyFiles(files, {t: register.columns(t) for t in files})
    with engine() as connection:
        connection.execute(f"SET threads = {threads}; SET preserve_insertion_order = false")
        return connection.execute(compile_features(features, unit, [MONTH_NO], load_contract())).df()


def measure(households: int, data: Path | None, workers: int, turns: int = TURNS, contenders: bool = True) -> dict[str, Any]:
    """All figures, flat."""
    with tempfile.TemporaryDirectory(prefix="scale-", dir=data) as name:
        folder = Path(name)
        register, out = folder / "register", folder / "out"
        made, _ = seconds(lambda: national.make_register(register, households, workers=workers))
        first = register
        if households < 40_000:
            first = folder / "larger"
            national.make_register(first, 40_000, workers=workers)
        models = {"": folder / "forty"}
        train(first, models[""], forty(), FORTY.name)
        if contenders:
            models["shipped_"] = folder / "shipped"
            train(first, models["shipped_"])
        found: dict[str, Any] = {"households": households, "workers": workers, "made_s": made, **national.describe(register)}
        for name, model in models.items():
            of = job(register, model, out, workers, turns)
            if contenders:
                of |= explained(register, model, of, households, turns)
            found |= {name + key: value for key, value in of.items()}
        if contenders:
            found |= engines(register, turns)
            of_counties, of_alerts = households / found["county_households"], found["alerts"] / SAMPLE
            for name, explained_by in (("pandas", "shap"), ("polars", "pred_contrib")):
                if f"engine_{name}_s" in found:
                    one = found[f"engine_{name}_s"] + found["predict_all_cores_s"]
                    found[f"{name}_stack_s"] = of_counties * one + of_alerts * found[f"{explained_by}_s"]
                    found[f"ratio_to_{name}"] = found[f"{name}_stack_s"] / found["seconds"]
        return found


def job(register: Path, model: Path, out: Path, workers: int, turns: int) -> dict[str, float]:
    """The job in a process of its own, imports included; the median turn."""
    command = [sys.executable, str(Path(__file__).with_name("scale_job.py")), *map(str, (register, model, out, workers))]
    found = []
    for _ in range(turns):
        out.mkdir(exist_ok=True)
        took, run = seconds(lambda: subprocess.run(command, capture_output=True, text=True, check=True))
        found.append({"seconds": took, **json.loads(run.stdout.splitlines()[-1])})
    return sorted(found, key=lambda f: f["seconds"])[len(found) // 2]


def medians(tasks: dict[str, Callable[[], Any]], turns: int) -> dict[str, float]:
    """Seconds of each task, each turn in turn."""
    took: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(turns):
        for name, task in tasks.items():
            took[name].append(seconds(task)[0])
    return {name: median(values) for name, values in took.items()}


def explained(register: Path, model: Path, done: dict[str, Any], households: int, turns: int) -> dict[str, float]:
    """The stack of query, LightGBM's predict and `pred_contrib` on one county, multiplied to all; scores and drivers."""
    import lightgbm
    import shap

    from riskmodel.cohort.features import available_in, county_blocks
    from riskmodel.explain.drivers import driver_contributions
    from riskmodel.explain.margins import risks
    from riskmodel.model.bundle import RiskModel
    from riskmodel.register import Register

    opened, kept = Register.open(register), RiskModel.load(model)
    county, threads = opened.counties[0], os.cpu_count() or 1
    features, _ = available_in(opened, kept.catalogue)
    frame = pd.concat(list(county_blocks(opened, county, [MONTH_NO], features, 20_000)), ignore_index=True)
    X = kept.matrix(frame).to_numpy()
    booster = lightgbm.Booster(model_str=kept.estimator.booster_.model_to_string())
    alerts = frame.iloc[np.argsort(-risks(kept, frame))[: int(len(frame) * SHARE)]]
    sample = kept.matrix(alerts.iloc[:SAMPLE]).to_numpy(float)
    tree = shap.TreeExplainer(booster)
    records = {c for f in features if f.kind == "aggregate" and f.table == "records" for c in f.needs}
    asked = sorted(records & set(opened.columns("records")) | {"month", "known_at"})
    assert np.array_equal(risks(kept, frame), kept.calibration.apply(booster.predict(X, num_threads=1)))
    driver_contributions(kept, alerts)
    t = medians(
        {
            "scan": lambda: scan(opened, county, asked, 1),
            "features": lambda: list(county_blocks(opened, county, [MONTH_NO], features, 20_000)),
            "query": lambda: queried(opened, county, features, threads),
            "score": lambda: risks(kept, frame),
            "predict": lambda: booster.predict(X, num_threads=1),
            "predict_all_cores": lambda: booster.predict(X, num_threads=threads),
            "drivers": lambda: driver_contributions(kept, alerts),
            "pred_contrib": lambda: booster.predict(sample, pred_contrib=True, num_threads=threads),
            "shap": lambda: tree.shap_values(sample, check_additivity=False),
        },
        turns,
    )
    counties, times = households / len(frame), done["alerts"] / SAMPLE
    stack = counties * (t["query"] + t["predict_all_cores"]) + times * t["pred_contrib"]
    return {
        **{f"{name}_s": value for name, value in t.items()},
        "county_households": len(frame),
        "features": len(features),
        "columns": len(asked),
        "pred_contrib_stack_s": stack,
        "ratio_to_pred_contrib_stack": stack / done["seconds"],
        "features_ratio_to_scan": t["features"] / t["scan"],
        "score_rows_per_s": len(frame) / t["score"],
        "score_ratio_to_predict": t["predict"] / t["score"],
        "drivers_rows_per_s": len(alerts) / t["drivers"],
        "ratio_to_shap": t["shap"] / SAMPLE / (t["drivers"] / len(alerts)),
        "ratio_to_pred_contrib": t["pred_contrib"] / SAMPLE / (t["drivers"] / len(alerts)),
    }


def engines(register: Path, turns: int) -> dict[str, float]:
    """The forty features by pandas, polars and the query, each as it uses the cores; ours a county to each core."""
    from riskmodel.register import Register

    opened, cores = Register.open(register), os.cpu_count() or 1
    county = opened.counties[0]
    others = {"pandas": forty_pandas, "polars": forty_polars} if POLARS else {"pandas": forty_pandas}
    same = forty_ours(opened, county).set_index("household_id")
    for contender in others.values():
        other = contender(opened, county)
        other = other.set_index("household_id").reindex(same.index)
        names = [c for c in other if c in same]
        np.testing.assert_allclose(same[names], other[names].astype(float), rtol=1e-4, atol=1e-3)
    together = [county] * cores
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        ours = partial(forty_of, register)
        list(pool.map(ours, together))
        t = medians(
            {
                "one_core": lambda: forty_ours(opened, county),
                "all_cores": lambda: list(pool.map(ours, together)),
                "query": lambda: queried(opened, county, forty().features, cores),
                **{name: partial(other, opened, county) for name, other in others.items()},
            },
            turns,
        )
    t["all_cores"] /= cores
    found = {f"engine_{name}_s": value for name, value in t.items()}
    return found | {f"features_ratio_to_{name}": t[name] / t["all_cores"] for name in ("query", *others)}


def command_line(workers: int, turns: int) -> dict[str, float]:
    """A county of 100,000 by `riskmodel score`, everything written, and `riskmodel --help`; imports included."""
    from riskmodel.model.bundle import RiskModel

    riskmodel = [str(Path(sys.executable).with_name("riskmodel"))]
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        folder = Path(name)
        national.make_register(folder / "register", 100_000, workers=workers)
        train(folder / "register", folder / "model")
        ask = [*riskmodel, "score", str(folder / "register"), "--model", str(folder / "model"), "--as-of", AS_OF]
        ask += ["--capacity", "5%", "--out", str(folder / "out"), "--workers", str(workers)]
        score = median(seconds(lambda: subprocess.run(ask, capture_output=True, check=True))[0] for _ in range(turns))
        help_ = median(seconds(lambda: subprocess.run([*riskmodel, "--help"], capture_output=True))[0] for _ in range(10))
        assert RiskModel.load(folder / "model").explains
    return {"command_100k_s": score, "help_ms": 1000 * help_}


def small_counties(counties: int, households: int, workers: int) -> dict[str, float]:
    """CPU of `riskmodel score` on small counties, ten visits each, everything written: a county more, and one alone."""
    riskmodel = [str(Path(sys.executable).with_name("riskmodel"))]
    spent = []
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        for number in (1, counties):
            folder = Path(name) / str(number)
            folder.mkdir()
            national.make_register(folder / "register", [households] * number, workers=workers)
            if number == 1:
                train(folder / "register", Path(name) / "model")
            ask = [*riskmodel, "score", str(folder / "register"), "--model", str(Path(name) / "model"), "--as-of", AS_OF]
            ask += ["--capacity", "10", "--out", str(folder / "out"), "--workers", "1"]
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(ask, capture_output=True, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {"one_county_cpu_s": spent[0], "a_county_more_cpu_s": (spent[1] - spent[0]) / (counties - 1)}


def draw_curve(found: dict[str, dict[str, float]], file: Path) -> None:
    """Seconds of the job and peak memory by number of households, and the line of one cost per household after a start."""
    from matplotlib.figure import Figure

    sizes = np.array([float(n) for n in found])
    took, peak = (np.array([of[name] for of in found.values()]) for name in ("seconds", "peak_gib"))
    start, each = took[0], (took[-1] - took[0]) / (sizes[-1] - sizes[0])
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    line = np.geomspace(sizes[0], sizes[-1], 100)
    left.loglog(line, start + each * line, ":", color="0.4", label=f"{start:.1f} s + {1e6 * each:.0f} µs a household")
    left.loglog(sizes, took, "o", color="#0072b2", label="measured")
    left.set(xlabel="households", ylabel="seconds", ylim=(1, 1000))
    left.legend(frameon=False)
    right.semilogx(sizes, peak, "o-", color="#d55e00")
    right.set(xlabel="households", ylabel="peak memory, GiB, all processes", ylim=(0, None))
    figure.savefig(file, metadata={"Date": None})


def machine() -> str:
    """One line on the machine and the versions."""
    libraries = ("duckdb", "lightgbm", "numba", "numpy", "pandas", "polars", "pyarrow", "shap")
    known = ", ".join(f"{n} {version(n)}" for n in libraries if find_spec(n))
    return f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, {known}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--households", type=int, default=1_000_000)
    parser.add_argument("--curve", help="numbers of households, the job of forty features alone for each")
    parser.add_argument("--small", help="counties and households of each: small counties by riskmodel score alone")
    parser.add_argument("--figure", type=Path, help="with --curve: draw it, an SVG file")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--data", type=Path, help="folder for the register; default: the system's temporary folder")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.curve:
        sizes = [int(n) for n in given.curve.split(",")]
        found = {str(n): measure(n, given.data, given.workers, 1, contenders=False) for n in sizes}
        if given.figure:
            draw_curve(found, given.figure)
    elif given.small:
        found = small_counties(*map(int, given.small.split(",")), given.workers)
    else:
        found = measure(given.households, given.data, given.workers, given.turns)
        found |= command_line(given.workers, given.turns)
    text = json.dumps({"machine": machine(), **found}, indent=1)
    print(text)
    if given.json:
        given.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
