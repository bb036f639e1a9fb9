"""No figure depends on the number of the machine's cores."""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from riskmodel.evaluation.bootstrap import resample
from riskmodel.evaluation.metrics import Scored
from riskmodel.model.estimators import make_estimator
from riskmodel.monitoring import running
from riskmodel.monitoring.part import Part
from riskmodel.settings import Intervals

ENOUGH = 20_000  # rows from which on linear algebra is shared out among threads


@pytest.fixture(scope="module")
def helped() -> pd.DataFrame:
    """Households of whom the poor are helped more often and earn less."""
    generator = np.random.default_rng(3)
    rows = pd.DataFrame(generator.normal(size=(ENOUGH, 8)), columns=[f"x{i}" for i in range(8)])
    rows["household_id"] = np.arange(ENOUGH)
    rows["helped"] = (generator.random(ENOUGH) < 1 / (1 + np.exp(1 - rows["x0"]))) * 1
    rows["income"] = rows["helped"] / 2 - rows["x0"] + generator.normal(size=ENOUGH)
    return rows


def on_threads(figures):
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(figures())
    return found


def test_what_a_test_finds_of_20_000_households_does_not_depend_on_the_cores():
    generator = np.random.default_rng(1)
    risk = generator.beta(1, 9, ENOUGH)
    scored = Scored((generator.random(ENOUGH) < risk).astype(float), risk)
    wanted = ("brier", "log_loss", "roc_auc", "calibration_slope")
    one, two = on_threads(
        lambda: resample({"": lambda w: scored.metrics(w, wanted)}, np.arange(ENOUGH), Intervals(replicates=20), 1)
    )
    assert one.point == two.point
    assert all((one.draws[""][name] == two.draws[""][name]).all() for name in wanted)


def test_every_part_of_the_monthly_report_adds_up_on_one_thread(monkeypatch):
    def blas(_):
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    monkeypatch.setattr(running, "PARTS", (Part("threads", "", "", blas),))
    asked = SimpleNamespace(register=None, counties=[], pool=None, progress=lambda _: None)
    with threadpool_limits(2):
        assert running.run_parts(asked) == {"threads": {1}}


def test_the_limit_holds_for_libraries_that_a_fit_brings_with_it():
    code = (
        "from riskmodel.threads import one_thread\n"
        "from threadpoolctl import threadpool_info\n"
        "with one_thread():\n"
        "    import sklearn.linear_model\n"
        "    print([p['num_threads'] for p in threadpool_info() if p['user_api'] == 'blas'])"
    )
    cores = os.environ | {"OPENBLAS_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=cores).stdout
    assert set(eval(told)) == {1}


def test_a_household_has_the_same_risk_alone_and_among_others(helped):
    inputs, fell = helped.drop(columns=["household_id", "income", "helped"]), helped["helped"].to_numpy(float)
    model = make_estimator("logistic_regression").fit(inputs, fell)
    risk = model.predict_proba(inputs)[:, 1]
    for households in (slice(0, 1), slice(3, 10), slice(7, 10_001)):
        np.testing.assert_array_equal(model.predict_proba(inputs[households])[:, 1], risk[households])
