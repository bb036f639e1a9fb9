"""The whole way: a scored month, its workbook filled in and imported, causes changed in the app, the card: numbers agree."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from riskmodel.alerts.history import ScoredMonth
from riskmodel.cards.model_card import write_card
from riskmodel.model.tracking import load_model
from riskmodel.results import report_review, write_sheets
from riskmodel.review.app import create_app
from riskmodel.review.decisions import KEY, Decisions
from riskmodel.review.export import decisions_with_alerts, write_decisions
from riskmodel.review.guard import Guard
from riskmodel.review.importing import import_workbook
from riskmodel.review.worklist import Worklist, alert_key
from tests.cards.page import Page
from tests.county import County
from tests.review.test_app import ORIGIN, SITE, form, token, visible
from tests.review.test_importing import confirm, filled

pytestmark = pytest.mark.slow


def test_workbook_app_export_report_and_card_tell_the_same(county: County, tmp_path: Path) -> None:
    from fastapi.testclient import TestClient

    month = ScoredMonth.open(county.alerts)
    alerts = month.alerts()
    store = Decisions.open(tmp_path / "decisions.db")
    write_sheets(county.alerts, tmp_path / "sheets")
    book = filled(next((tmp_path / "sheets").glob("review_*.xlsx")), tmp_path / "f.xlsx", {n: confirm() for n in range(5)})
    assert import_workbook(book, month, store).recorded == 5

    client = TestClient(
        create_app(Worklist(county.alerts, store), Guard(frozenset({"127.0.0.1"}))),
        base_url=ORIGIN, headers={"accept-language": "en", **SITE}, follow_redirects=False,
    )  # fmt: skip
    client.post("/sign-in", data={"name": "Wang Wei", "csrf": token(client.get("/sign-in").text), "next": "/"})
    for row in alerts.iloc[[0, 1]].to_dict("records"):
        address = f"/alerts/{alert_key(*(row[name] for name in KEY))}"
        page = client.get(address).text
        assert "from the workbook" in page
        cause = "objective" if row["verdict"] != "objective" else "undetermined"
        entries = {"action": "override_cause", "cause": cause, "reason": "record_wrong", "note": "seen"}
        assert client.post(address, data=form(page, **entries)).status_code == 303

    queue = visible(client.get("/").text)
    assert f"5 of {len(alerts)} decided" in queue and "decided once 3 agreed 0 views differ 2" in queue
    write_decisions(decisions_with_alerts(county.alerts, store.table()), tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8-sig", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == len(alerts) + 2
    assert [r["decision_action"] for r in rows].count("override_cause") == 2
    report = report_review(str(tmp_path / "decisions.db"), county.register, "models:/return-risk@champion", None,
                           county.tracking.uri)  # fmt: skip
    assert (report["decisions"], report["alerts"], report["reviewers"]) == (7, 5, 2)
    assert report["actions"] == {"confirm": 3, "override_cause": 2, "reject": 0, "defer": 0}
    assert report["status"] == {"decided": 3, "differs": 2} and report["between_reviewers"]["agreement"]["value"] == 0
    regret = report["regret"]["return"]
    assert regret["kept_alerts"] + regret["not_known_yet"] == 5
    assert report["head"] == store.verify().head and re.fullmatch(r"[0-9a-f]{64}", report["head"])

    model = load_model("models:/return-risk@champion", county.tracking.uri)
    write_card(model, tmp_path / "card.html", "en", oversight=report, smallest_cell=5)
    page = Page((tmp_path / "card.html").read_text(encoding="utf-8"))
    assert "7 decisions on 5 alerts by 2 reviewers" in page.text("en")
    assert "2名审核人对5条预警作出7项决定" in page.text("zh")
