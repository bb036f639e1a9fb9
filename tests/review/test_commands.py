"""The commands of the review, as an office types them."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from riskmodel.cli import app
from riskmodel.errors import IntegrityError, NotFound, UsageError
from riskmodel.register import verify
from riskmodel.review.decisions import Decisions
from riskmodel.review.rules import load_rules
from riskmodel.review.serving import serve
from riskmodel.review.thresholds import fewest_cases
from tests.review.month import alert, decision, override, write_month


@pytest.fixture
def office(tmp_path: Path) -> Path:
    write_month(tmp_path / "alerts", [alert("1"), alert("2")])
    store = Decisions.open(tmp_path / "decisions.db")
    store.record(decision("1"))
    store.record(override("1", cause="mixed", reviewer="Wang Wei", supersedes=1))
    return tmp_path


def run(*arguments: object):
    """The command's answer; errors that were raised on purpose are raised again."""
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_export_checks_the_chain_and_prints_its_head(office: Path) -> None:
    done = run("review", "export", office / "alerts", "--decisions", office / "decisions.db", "--out", office / "out.csv")
    head = Decisions.open(office / "decisions.db").head().head
    assert head in done.stdout and "3 rows, 2 decisions" in done.stdout
    assert (office / "out.csv").read_text(encoding="utf-8-sig").count("\n") == 4
    done = run("review", "verify", "--decisions", office / "decisions.db", "--head", head)
    assert "Chain of 2 decisions is whole" in done.stdout
    with pytest.raises(IntegrityError):
        run("review", "verify", "--decisions", office / "decisions.db", "--head", "0" * 63 + "1")


def test_a_misspelt_file_of_decisions_is_not_made(office: Path) -> None:
    with pytest.raises(NotFound):
        run("review", "verify", "--decisions", office / "decision.db")
    assert not (office / "decision.db").exists()


def test_a_misspelt_month_makes_no_file_of_decisions(office: Path) -> None:
    with pytest.raises(NotFound):
        run("review", "serve", office / "alert", "--decisions", office / "new.db")
    assert run("review", "serve", office / "alerts", "--decisions", office / "new.db", "--port", "80000").exit_code == 2
    assert not (office / "new.db").exists()


READS = {
    "explain": ("alerts", "drivers", "features"),
    "sheets": ("alerts", "drivers", "features"),
    "serve": ("alerts", "scores", "drivers", "features"),
    "export": ("alerts",),
}


@pytest.mark.parametrize(("command", "table"), [(c, table) for c, tables in READS.items() for table in tables])
def test_a_month_with_a_harmed_table_is_told_with_its_name(office: Path, command: str, table: str) -> None:
    month, kept = office / "alerts", ("--decisions", office / "decisions.db")
    asked = {
        "explain": ("explain", month, "--household", "1"),
        "sheets": ("sheets", month, "--out", office / "sheets"),
        "serve": ("review", "serve", month, *kept, "--port", "0"),
        "export": ("review", "export", month, *kept, "--out", office / "out.csv"),
    }[command]
    file = month / f"{table}.parquet"
    pd.read_parquet(file).iloc[::-1].to_parquet(file, index=False)
    with pytest.raises(IntegrityError, match=f"{file.name}: the file has changed"):
        run(*asked)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(IntegrityError, match=f"{file.name}: the file has changed"):
        run(*asked)
    file.unlink()
    with pytest.raises(IntegrityError, match=f"{file.name}: the file is gone"):
        run(*asked)


def test_sheets_or_a_demo_sent_to_the_scored_month_leave_it_as_it_is(office: Path) -> None:
    for command in (("sheets", office / "alerts"), ("demo",)):
        with pytest.raises(UsageError, match="it holds 'scores'"):
            run(*command, "--out", office / "alerts")
    assert verify(office / "alerts")["kind"] == "scores"


def test_report_writes_what_it_prints(office: Path) -> None:
    done = run("review", "report", "--decisions", office / "decisions.db", "--out", office / "oversight.json")
    found = json.loads((office / "oversight.json").read_text())
    assert "2 decisions on 1 alerts by 2 reviewers" in done.stdout
    assert found["status"] == {"differs": 1} and found["regret"]["return"] is None


def test_a_missing_extra_is_told_with_the_command_that_installs_it(office: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_multipart", None)
    with pytest.raises(UsageError, match=r"pip install 'household-riskmodel\[review\]'"):
        run("review", "serve", office / "alerts", "--decisions", office / "new.db")
    assert not (office / "new.db").exists()


def test_a_taken_port_is_told_and_other_machines_are_warned_of(office: Path) -> None:
    said: list[str] = []
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"--port {port}: cannot be listened on"):
            serve(office / "alerts", str(office / "decisions.db"), said.append, host="0.0.0.0", port=port)
    assert "can be reached by other machines" in said[0] and "nobody checks them" in said[1]


def test_a_folder_without_alerts_is_told(office: Path) -> None:
    with pytest.raises(NotFound):
        serve(office, str(office / "decisions.db"), print)


@pytest.mark.parametrize(("bound", "fewest"), [(0.01, 299), (0.05, 59), (0.5, 5)])
def test_the_fewest_cases_are_those_that_can_show_the_bound(bound: float, fewest: int) -> None:
    from riskmodel.evaluation.verdicts import clopper_pearson_upper

    assert fewest_cases(bound, 0.95) == fewest
    assert clopper_pearson_upper(0, fewest) <= bound < clopper_pearson_upper(0, fewest - 1)


def test_the_shipped_rules_are_read_and_a_county_may_not_drop_the_reason_of_an_override(tmp_path: Path) -> None:
    from riskmodel.errors import CatalogueError
    from riskmodel.settings import find_config

    text = find_config("review.yaml").read_text(encoding="utf-8")
    for before, after, told in (
        ("name: override_cause, needs: [reason, note]", "name: override_cause, needs: [note]", "a reason and a note"),
        ("reviewers: 2", "reviewers: 1", "at least two"),
        ("name: defer, needs", "name: cancel_support, needs", "exactly these rows"),
        ("actions: [reject, defer]", "actions: [reject, stop]", "choose from"),
        ("margins: [0.4, 0.3", "margins: [0.3, 0.4", "strictest"),
    ):
        assert before in text
        file = tmp_path / "review.yaml"
        file.write_text(text.replace(before, after), encoding="utf-8")
        with pytest.raises(CatalogueError, match=told):
            load_rules.__wrapped__(file)
