"""What an alert tells of a household."""

from __future__ import annotations

import numpy as np
import pandas as pd

from riskmodel.alerts.alerts import BEHAVIOUR, Attributed, Explained, in_words
from tests.explain.test_causes import CATALOGUE, DRIVERS, IDLE, PEERS

SUBJECTIVE = {d.name for d in CATALOGUE.drivers if d.nature == "subjective"}


def told(risk: float = 0.4, **pushes: float) -> Explained:
    """The alert of an able household that works and farms far less than its peers, with these log-odds."""
    row = {"household_id": "0412", "county_id": "k1", "as_of": "2023-06", "risk": risk, "rank": 1, "model_version": "1"}
    effects = pd.DataFrame({d.name: [1.0] for d in CATALOGUE.drivers if d.nature == "objective"} | {BEHAVIOUR: [1.0]})
    drivers = pd.DataFrame([{d: pushes.get(d, 0.0) for d in DRIVERS}])
    return in_words(
        CATALOGUE, Attributed(pd.DataFrame([row]), drivers, -2.0, pd.DataFrame([IDLE]), pd.DataFrame([PEERS]), effects)
    )


def test_behaviour_is_no_reason_where_it_is_too_little_for_a_verdict() -> None:
    little = CATALOGUE.rule.enough_log_odds - 0.01
    found = told(level=2.0, work=little)
    alert = found.frame.iloc[0]
    assert alert["verdict"] == "undetermined" and alert["signs"] == ""
    assert list(alert[["driver_1", "driver_2", "driver_3"]]) == ["level", "activity", ""]
    assert alert["subjective_share"] == 0 and not set(alert["measures"].split("; ")) & measures_of("work")
    for driver in CATALOGUE.drivers:
        if driver.name in SUBJECTIVE:
            assert driver.en not in alert["reason_en"] and driver.zh not in alert["reason_zh"]
    assert found.drivers[list(SUBJECTIVE)].eq(0).all(axis=None)
    assert np.isclose(found.drivers.sum(axis=1), 2.0 + little).all(), "what behaviour added is not lost, and blames nobody"


def test_behaviour_is_a_reason_where_the_verdict_judges_it() -> None:
    alert = told(level=2.0, work=1.0).frame.iloc[0]
    assert alert["verdict"] == "subjective" and alert["subjective_share"] > 0
    assert list(alert[["driver_1", "driver_2"]]) == ["level", "work"]
    assert CATALOGUE.driver_by_name["work"].en in alert["reason_en"]


def test_a_risk_below_one_in_a_hundred_is_not_told_as_nobody() -> None:
    alert = told(risk=0.003).frame.iloc[0]
    assert alert["reason_en"].startswith("Of 100 such households fewer than one falls.")
    assert alert["reason_zh"].startswith("此类农户每100户返贫致贫不足1户。")
    assert told(risk=0.012).frame.iloc[0]["reason_en"].startswith("Of 100 such households about 1 fall.")


def measures_of(driver: str) -> set[str]:
    """Measures that answer this driver and no objective one."""
    return {m.name for m in CATALOGUE.measures if driver in m.drivers and set(m.drivers) <= SUBJECTIVE}
