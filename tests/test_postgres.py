"""A register from PostgreSQL is that from files; a month in PostgreSQL is whole, once, and never half another."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
import sys
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from riskmodel.alerts.alerts import ALERT_COLUMNS
from riskmodel.alerts.database import TABLES, write_to_database
from riskmodel.cli import app
from riskmodel.cohort.cohorts import register_facts
from riskmodel.errors import ContractError, DatabaseError, NotFound, UsageError
from riskmodel.register import Register, commit_directory, ingest, verify
from riskmodel.register.postgres import Database
from riskmodel.results import score_and_write
from tests.server import PASSWORD, Server

# Households with a conflict, a size of zero, an unknown month, and a row that was entered half an hour after midnight.
ROWS = [
    (
        "0012",
        dt.date(2023, 1, 1),
        dt.datetime(2023, 2, 3, 0, 30),
        3,
        "1.2000",
        "0.1",
        3000.5,
        True,
        dt.date(2023, 1, 5),
        "8.5",
    ),
    ("0012", dt.date(2023, 2, 1), dt.datetime(2023, 3, 2, 12, 0), 3, "1.2345", None, None, False, None, "8.5"),
    ("123456789012345678", dt.date(2023, 1, 1), None, 4, "0.8000", "NaN", 0.1, None, None, None),
    ("a", dt.date(2023, 1, 1), None, 2, "0.3000", None, None, True, None, "60"),
    ("a", dt.date(2023, 1, 1), None, 2, "0.4000", None, None, True, None, "60"),
    ("b", dt.date(2023, 1, 1), None, 0, "0.5000", None, None, True, None, None),
    ("c", None, None, 1, "0.6000", None, None, True, None, None),
    ("d", dt.date(2023, 2, 1), None, 1, None, "7", 1e-3, False, None, None),
]
COLUMNS = ("户编号", "监测月份", "录入时间", "家庭人口数", "工资(万元)", "理赔", "自付", "饮水安全", "走访日期", "住房面积")
CREATE = [
    "CREATE SCHEMA 监测",
    "CREATE TYPE 监测.户类型 AS ENUM ('脱贫户', '一般农户')",
    'CREATE TABLE 监测.月度监测 ("户编号" varchar(20), "监测月份" date, "录入时间" timestamptz, "家庭人口数" smallint, '
    '"工资(万元)" numeric(12, 4), "理赔" numeric, "自付" double precision, "饮水安全" boolean, "走访日期" date, '
    '"住房面积" numeric(8, 2), "户类型" 监测.户类型, "姓名" text)',
]
SOURCE = {
    "source": "监测系统",
    "max_quarantined_share": 1.0,
    "data_until": dt.date(2024, 12, 31),
    "tables": {
        "records": {
            "file": "月度监测.*",
            "table": "监测.月度监测",
            "where": '"家庭人口数" IS NOT NULL',
            "columns": {
                "household_id": "户编号",
                "month": "监测月份",
                "known_at": "录入时间",
                "hh_size": "家庭人口数",
                "wage_income": {"from": "工资(万元)", "unit": "10k_yuan"},
                "claims": "理赔",
                "selfpay": "自付",
                "water_ok": "饮水安全",
                "visited_on": "走访日期",
                "household_type": "户类型",
            },
            "extra": {"house_area": {"from": "住房面积", "type": "number"}},
        },
        "events": {"file": "风险事件.csv"},
    },
}


def sql(value: object) -> str:
    return "NULL" if value is None else "'" + str(value) + "'"


@pytest.fixture
def database(postgres: Server, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database of the server, by name; it is dropped again."""
    name = "t" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]
    postgres.run("postgres", f"CREATE DATABASE {name} TEMPLATE template0")
    yield name
    postgres.run("postgres", f"DROP DATABASE {name} (FORCE)")


def fill(postgres: Server, name: str) -> None:
    rows = ", ".join(f"({', '.join(map(sql, row))}, '脱贫户', '张三')" for row in ROWS)
    postgres.run(name, *CREATE, f"INSERT INTO 监测.月度监测 VALUES {rows}")


def as_parquet(folder: Path) -> None:
    kinds = [pa.string(), pa.date32(), pa.timestamp("us"), pa.int16(), pa.decimal128(12, 4), pa.float64(), pa.float64(),
             pa.bool_(), pa.date32(), pa.decimal128(8, 2)]  # fmt: skip
    columns = [list(column) for column in zip(*ROWS, strict=True)]
    for place, make in ((4, Decimal), (5, float), (9, Decimal)):
        columns[place] = [None if value is None else make(value) for value in columns[place]]
    arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    table = pa.table(dict(zip(COLUMNS, arrays, strict=True)) | {"户类型": ["脱贫户"] * len(ROWS)})
    pq.write_table(table, folder / "月度监测.parquet")


def as_csv(folder: Path) -> None:
    frame = pd.DataFrame(ROWS, columns=COLUMNS, dtype=object).assign(户类型="脱贫户")
    frame.to_csv(folder / "月度监测.csv", index=False)


def content(register: Path) -> dict[str, bytes]:
    verify(register)
    return {str(p.relative_to(register)): p.read_bytes() for p in sorted((register / "tables").rglob("*.parquet"))}


def refused(register: Path) -> list[tuple]:
    rows = pq.read_table(register / "quarantine.parquet").to_pylist()
    return [(row["table"], row["row"], row["household_id"], tuple(row["reasons"])) for row in rows]


@pytest.mark.parametrize("write", [as_parquet, as_csv])
def test_a_register_from_a_database_is_that_from_the_same_rows_in_files(
    postgres: Server, database: str, tmp_path: Path, write
) -> None:
    fill(postgres, database)
    (tmp_path / "files").mkdir()
    write(tmp_path / "files")
    ingest(SOURCE, tmp_path / "files", tmp_path / "from_files")
    report = ingest(SOURCE, postgres.url(database), tmp_path / "from_database")
    assert content(tmp_path / "from_database") == content(tmp_path / "from_files")
    rows = Register.open(tmp_path / "from_database").read("records")
    assert list(rows.household_id) == ["0012", "0012", "123456789012345678", "d"]
    assert list(rows.known_at.dt.strftime("%Y-%m-%d"))[:2] == ["2023-02-03", "2023-03-02"]
    assert list(rows.wage_income)[:2] == [12000.0, 12345.0]
    in_file = 0 if write is as_parquet else 1  # the header of a CSV is a row
    there, here = refused(tmp_path / "from_database"), refused(tmp_path / "from_files")
    assert [(t, row + in_file, h, r) for t, row, h, r in there] == here and len(here) == 4
    assert report.absent == ["events"]


@pytest.mark.slow
def test_a_simulated_county_in_a_database_gives_the_same_register(postgres: Server, database: str, tmp_path: Path) -> None:
    from riskmodel.simulation import simulate

    simulate(tmp_path / "files", households=60, months=14, seed=3)
    postgres.load(database, {p.stem: pq.read_table(p) for p in (tmp_path / "files").glob("*.parquet")})
    ingest("configs/sources/simulated.yaml", tmp_path / "files", tmp_path / "from_files")
    ingest("configs/sources/simulated.yaml", postgres.url(database), tmp_path / "from_database")
    assert content(tmp_path / "from_database") == content(tmp_path / "from_files")
    for name in ("quarantine", "warnings"):
        found = [pq.read_table(tmp_path / d / f"{name}.parquet") for d in ("from_files", "from_database")]
        here, there = (table.select([c for c in table.column_names if c != "file"]) for table in found)
        assert here.equals(there)


def test_all_tables_are_read_as_of_one_moment(postgres: Server, database: str, tmp_path: Path) -> None:
    fill(postgres, database)
    postgres.run(database, "CREATE TABLE visits (household_id text, visited_on date)",
                 "INSERT INTO visits VALUES ('0012', '2023-02-02')")  # fmt: skip
    source = {**SOURCE, "tables": {**SOURCE["tables"], "visits": {"query": "SELECT * FROM visits; "}}}

    def meanwhile(what: str, done: int, total: int) -> None:
        if what == "reading visits":
            postgres.run(database, "DELETE FROM visits")

    report = ingest(source, postgres.url(database), tmp_path / "register", meanwhile)
    assert report.tables["visits"].rows_in == 1
    assert postgres.run(database, "SELECT count(*) FROM visits") == [(0,)]


def test_a_connection_that_is_lost_is_told_and_leaves_the_register_as_it_was(
    postgres: Server, database: str, tmp_path: Path
) -> None:
    fill(postgres, database)
    ingest(SOURCE, postgres.url(database), tmp_path / "register")
    before = content(tmp_path / "register")

    def cut(what: str, done: int, total: int) -> None:
        if what == "reading events":
            others = "FROM pg_stat_activity WHERE application_name = 'riskmodel' AND datname = current_database()"
            postgres.run(database, f"SELECT pg_terminate_backend(pid) {others}")

    with pytest.raises(DatabaseError, match="connection was lost"):
        ingest(SOURCE, postgres.url(database), tmp_path / "register", cut)
    assert content(tmp_path / "register") == before


def test_no_column_leaves_the_database_that_is_not_mapped(postgres: Server, database: str, tmp_path: Path) -> None:
    fill(postgres, database)
    copied = []

    def look(what: str, done: int, total: int) -> None:
        if what == "checking":
            copied.extend(pq.read_schema(next(tmp_path.glob(".register.*/.work/records.parquet"))).names)

    ingest(SOURCE, postgres.url(database), tmp_path / "register", look)
    assert set(copied) == {*COLUMNS, "户类型"}


def test_a_query_may_compute_and_what_it_does_wrong_is_told_without_values(
    postgres: Server, database: str, tmp_path: Path
) -> None:
    fill(postgres, database)

    def read(query: str) -> Register:
        columns = {"household_id": "id", "month": "m", "welfare": "w"}
        ingest({"tables": {"records": {"query": query, "columns": columns}}}, postgres.url(database), tmp_path / "register")
        return Register.open(tmp_path / "register")

    found = read('SELECT "户编号" AS id, "监测月份" AS m, "工资(万元)" * 10000 / 3 AS w FROM 监测.月度监测 '
                 "WHERE \"户编号\" = '0012' -- 一户")  # fmt: skip
    assert list(found.read("records").welfare) == [4000.0, 4115.0]
    with pytest.raises(DatabaseError, match='column "没有" does not exist'):
        read("SELECT 没有 AS id FROM 监测.月度监测")
    for wrong in ('"户编号"::int AS id', "1 / 0 AS id"):
        with pytest.raises(DatabaseError) as caught:
            read(f'SELECT {wrong}, "监测月份" AS m, 1 AS w FROM 监测.月度监测')
        assert re.search("fails on a row|SQLSTATE 22012", str(caught.value)) and "1234567890" not in str(caught.value)


def test_a_table_that_is_not_there_and_a_misspelt_column_are_named(postgres: Server, database: str, tmp_path: Path) -> None:
    fill(postgres, database)
    with pytest.raises(ContractError, match="hold no such file or table"):
        ingest({"tables": {"records": {}}}, postgres.url(database), tmp_path / "register")
    records = SOURCE["tables"]["records"]
    wrong = {**records, "columns": {**records["columns"], "household_id": "户编码"}}
    with pytest.raises(ContractError, match="监测.月度监测: no column '户编码'.*户编号"):
        ingest({"tables": {"records": wrong}}, postgres.url(database), tmp_path / "register")
    with pytest.raises(ContractError, match="give either table .* or query"):
        ingest({"tables": {"records": {"table": "a", "query": "SELECT 1"}}}, postgres.url(database), tmp_path / "register")
    assert not (tmp_path / "register").exists()


def test_infinite_days_and_other_types(postgres: Server, database: str, tmp_path: Path) -> None:
    postgres.run(database, "CREATE TABLE records (household_id char(6), month date, welfare numeric, line numeric(30, 2), "
                 "visited_on timestamp, township_id uuid, n_able oid)",
                 "INSERT INTO records VALUES ('07', '2023-01-01', 1e3, 12345678.25, 'infinity', "
                 "'00000000-0000-0000-0000-000000000001', 2)")  # fmt: skip
    ingest({"tables": {"records": {}}}, postgres.url(database), tmp_path / "register")
    register = Register.open(tmp_path / "register")
    row = register.read("records").iloc[0]
    assert (row.household_id, row.welfare, row.line, row.n_able) == ("07", 1000.0, 12345678.25, 2)
    assert "visited_on" not in register.columns("records")
    assert register.read("households").township_id[0].endswith("-000000000001")


@pytest.mark.parametrize("of_the_client", [None, "LATIN1", "GBK"])
@pytest.mark.parametrize("encoding", ["UTF8", "EUC_CN"])
def test_chinese_names_are_the_same_whatever_encoding_client_and_database_use(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, of_the_client: str | None
) -> None:
    name = f"coded_{encoding}_{of_the_client}".lower()
    postgres.run("postgres", f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
    monkeypatch.setenv("PGCLIENTENCODING", "UTF8")  # of whoever looks at it
    postgres.run(
        name, "CREATE TABLE 月报 (hid text, 月份 date, 收入 int)", "INSERT INTO 月报 VALUES ('丙', '2023-01-01', 1)"
    )
    columns = {"household_id": "hid", "month": "月份", "welfare": "收入"}
    source = {"tables": {"records": {"table": "月报", "columns": columns}}}
    with monkeypatch.context() as patch:
        patch.delenv("PGCLIENTENCODING")
        if of_the_client:
            patch.setenv("PGCLIENTENCODING", of_the_client)
        ingest(source, postgres.url(name), tmp_path / "register")
        write_to_database(month(tmp_path / "out", RISKS), Database.named(postgres.url(name)))
    assert list(Register.open(tmp_path / "register").read("records").household_id) == ["丙"]
    found = postgres.run(name, "SELECT household_id, county_id FROM riskmodel.scores WHERE household_id !~ '[a-z0-9]'")
    assert found == [("丙", "甲县")]


def test_a_database_that_cannot_hold_chinese_is_told_apart(postgres: Server, tmp_path: Path) -> None:
    postgres.run("postgres", "CREATE DATABASE western TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    with pytest.raises(DatabaseError, match="its encoding lacks a character"):
        write_to_database(month(tmp_path / "out", RISKS), Database.named(postgres.url("western")))


# --- what may be seen of a URL


SECRETS = [PASSWORD, "p%40ss", "w0rd", "geheim"]


def leaks(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://office:geheim@ss@127.0.0.1:{port}/x",
        "postgresql://office:geh/geheim@127.0.0.1:{port}/x",
        "postgresql://office:geh#geheim@127.0.0.1:{port}/x",
        "postgresql://office:gehe?geheim@127.0.0.1:{port}/x",
        "postgresql://office:geheim%zz@127.0.0.1:{port}/x",
        "postgresql://office:geheim geheim@127.0.0.1:{port}/x",
        "postgresql://office:geheim@127.0.0.1:{port}/x",
        "postgresql://127.0.0.1:{port}/x?user=office&password=geheim",
        "postgresql://office:geheim@127.0.0.1:1/x",
        "postgresql://office:geheim@no-such-host.invalid/x",
        "mysql://office:geheim@127.0.0.1/x",
        "env:RISKMODEL_TEST_URL",
        "env:RISKMODEL_TEST_UNSET",
    ],
)
def test_whatever_is_wrong_with_a_url_its_password_is_not_told(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("RISKMODEL_TEST_URL", "county geheim")
    with pytest.raises((UsageError, DatabaseError)) as caught:
        ingest("configs/sources/simulated.yaml", url.format(port=postgres.port), tmp_path / "register")
    assert not leaks(str(caught.value)) and caught.value.__cause__ is None
    assert not leaks(repr(caught.value.__context__)) or caught.value.__suppress_context__


@pytest.mark.parametrize("command", ["ingest", "score"])
def test_a_server_that_does_not_answer_is_told_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    monkeypatch.setenv("COUNTY_DB", "postgresql://office:geheim@127.0.0.1:1/county")
    arguments = {
        "ingest": ["configs/sources/simulated.yaml", "--data", "env:COUNTY_DB"],
        "score": [str(tmp_path / "register"), "--as-of", "2023-01", "--to", "env:COUNTY_DB"],
    }
    run = CliRunner().invoke(app, [command, *arguments[command], "--out", str(tmp_path / "out")])
    assert isinstance(run.exception, DatabaseError) and run.exception.exit_code == 10
    assert str(run.exception) == (
        "127.0.0.1:1/county: the database cannot be reached: nothing answers there; check host and port, and that the "
        "server runs."
    )
    assert not (tmp_path / "out").exists()


def test_without_the_driver_the_command_that_installs_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adbc_driver_postgresql", None)
    monkeypatch.setitem(sys.modules, "adbc_driver_postgresql.dbapi", None)
    with pytest.raises(UsageError, match=r"pip install 'household-riskmodel\[postgres\]'"):
        ingest("configs/sources/simulated.yaml", "postgresql://127.0.0.1/x", tmp_path / "register")


def test_a_password_from_the_environment_or_a_file_is_used_and_kept_nowhere(
    postgres: Server, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill(postgres, database)
    out = tmp_path / "register"
    bare = f"postgresql://office@{postgres.label(database)}"
    with pytest.raises(DatabaseError, match="asks for a password"):
        ingest(SOURCE, bare, out)
    passwords = tmp_path / "pgpass"
    passwords.write_text(f"127.0.0.1:{postgres.port}:*:office:{PASSWORD.replace(':', chr(92) + ':')}\n", encoding="utf-8")
    passwords.chmod(0o600)
    with monkeypatch.context() as patch:
        patch.setenv("PGPASSFILE", str(passwords))
        ingest(SOURCE, bare, out)
    with monkeypatch.context() as patch:
        patch.setenv("PGPASSWORD", PASSWORD)
        ingest(SOURCE, bare, out)
    monkeypatch.setenv("COUNTY_DB", postgres.url(database))
    (tmp_path / "source.yaml").write_text(yaml.safe_dump(SOURCE, allow_unicode=True), encoding="utf-8")
    run = CliRunner().invoke(app, ["ingest", str(tmp_path / "source.yaml"), "--data", "env:COUNTY_DB", "--out", str(out)])
    assert run.exit_code == 0, run.output
    manifest = verify(out)
    assert manifest["about"]["database"] == postgres.label(database)
    assert list(manifest["about"]["inputs"]) == ["监测.月度监测"]
    written = [p.read_bytes() for p in out.rglob("*") if p.is_file()]
    for secret in [*SECRETS, "office"]:
        assert not any(secret.encode() in data for data in written)
        assert secret not in run.output + caplog.text + json.dumps(register_facts(Register.open(out)))


# --- a month in the database


def month(folder: Path, risks: dict[str, float], version: str = "7", as_of: str = "2023-06", listed: int = 2) -> Path:
    """A scored month as `riskmodel score` leaves it: everybody scored, the first `listed` alerted, one by hand."""
    ids = sorted(risks, key=lambda h: -risks[h])
    scores = pd.DataFrame({"household_id": ids, "county_id": "甲县", "as_of": as_of, "risk": [risks[h] for h in ids]})
    scores["rank"], scores["model_version"] = range(1, len(ids) + 1), version
    scores["risk_low"], scores["risk_high"], scores["action"] = float("nan"), scores["risk"] + 0.01, "list"
    alerts = scores.head(listed)[list(ALERT_COLUMNS[:6])].copy()
    for name in ALERT_COLUMNS[6:]:
        alerts[name] = 0.5 if name.endswith(("share", "confidence")) else "因病\t\"\\N\" 'x'"
    drivers = alerts[["household_id"]].assign(illness=alerts["risk"], debt=-0.25)
    by_hand = pd.DataFrame({"household_id": ["0099"], "county_id": ["甲县"], "as_of": [as_of]})
    tables = {"scores": scores, "alerts": alerts, "drivers": drivers, "by_hand": by_hand}

    def write(stage: Path) -> None:
        for name, table in tables.items():
            table.to_parquet(stage / f"{name}.parquet", index=False)

    commit_directory(folder, write, kind="scores", about={"as_of": as_of, "model_version": version})
    return folder


def kept(postgres: Server, name: str, schema: str = "riskmodel") -> dict[str, list[tuple]]:
    """All rows with the number of the transaction that wrote them."""
    return {
        table: postgres.run(name, f'SELECT t.*, t.xmin::text FROM "{schema}".{table} AS t ORDER BY t::text')
        for table in TABLES
    }


RISKS = {"0012": 0.9, "a": 0.5, "b": 0.25, "丙": 0.1}


def test_a_month_lies_in_the_database_as_in_the_folder_and_twice_is_once(
    postgres: Server, database: str, tmp_path: Path
) -> None:
    folder, there = month(tmp_path / "out", RISKS), Database.named(postgres.url(database))
    assert write_to_database(folder, there) == {"scores": 4, "alerts": 2, "drivers": 4, "by_hand": 1}
    once = kept(postgres, database)
    for name in ("scores", "alerts"):
        rows = pd.read_parquet(folder / f"{name}.parquet").astype(object).where(lambda f: f.notna(), None)
        assert sorted(row[:-1] for row in once[name]) == sorted(rows.itertuples(index=False, name=None))
    found = "SELECT household_id, driver, log_odds, as_of, model_version FROM riskmodel.drivers ORDER BY log_odds"
    assert postgres.run(database, found)[-1] == ("0012", "illness", 0.9, "2023-06", "7")
    write_to_database(folder, there)
    assert kept(postgres, database) == once


def test_other_versions_and_months_stand_beside_and_a_new_run_replaces_its_own(
    postgres: Server, database: str, tmp_path: Path
) -> None:
    there = Database.named(postgres.url(database))
    write_to_database(month(tmp_path / "v7", RISKS), there)
    write_to_database(month(tmp_path / "v8", RISKS, version="8"), there)
    write_to_database(month(tmp_path / "may", RISKS, as_of="2023-05"), there)
    count = "SELECT as_of, model_version, count(*) FROM riskmodel.{} GROUP BY 1, 2 ORDER BY 1, 2"
    for name, rows in (("scores", 4), ("alerts", 2), ("drivers", 4), ("by_hand", 1)):
        found = postgres.run(database, count.format(name))
        assert found == [("2023-05", "7", rows), ("2023-06", "7", rows), ("2023-06", "8", rows)]
    before = kept(postgres, database)["scores"]
    write_to_database(month(tmp_path / "v7", {"0012": 0.9, "new": 0.6, "b": 0.3}, listed=1), there)
    after = kept(postgres, database)["scores"]
    own = [row for row in after if row[2] == "2023-06" and row[5] == "7"]
    assert {row[0]: row[3] for row in own} == {"0012": 0.9, "new": 0.6, "b": 0.3}
    untouched = [row for row in before if (row[2], row[5]) != ("2023-06", "7") or row[0] == "0012"]
    assert [row for row in after if row in untouched] == untouched and len(untouched) == 9
    assert postgres.run(database, count.format("drivers"))[1] == ("2023-06", "7", 2)


def test_a_month_in_which_everybody_opted_out_takes_the_place_of_a_list(
    postgres: Server, database: str, tmp_path: Path
) -> None:
    there = Database.named(postgres.url(database))
    by_hand = pd.DataFrame({"household_id": ["0012", "0099"], "county_id": "甲县", "as_of": "2023-06"})

    def write(stage: Path) -> None:
        by_hand.to_parquet(stage / "by_hand.parquet", index=False)

    commit_directory(tmp_path / "nobody", write, kind="scores", about={"as_of": "2023-06", "model_version": "7"})
    assert write_to_database(tmp_path / "nobody", there) == {"by_hand": 2, "scores": 0, "alerts": 0, "drivers": 0}
    write_to_database(month(tmp_path / "ranked", RISKS), there)
    write_to_database(month(tmp_path / "may", RISKS, as_of="2023-05"), there)
    write_to_database(tmp_path / "nobody", there)
    rows = kept(postgres, database)
    assert {row[0] for row in rows["by_hand"] if row[2] == "2023-06"} == {"0012", "0099"}
    assert {row[2] for row in rows["scores"]} == {"2023-05"} and len(rows["alerts"]) == 2 and len(rows["drivers"]) == 4


def test_a_failure_midway_leaves_the_former_rows_and_tells_no_value(postgres: Server, database: str, tmp_path: Path) -> None:
    there = Database.named(postgres.url(database))
    write_to_database(month(tmp_path / "out", RISKS), there)
    before = kept(postgres, database)
    postgres.run(
        database,
        "CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'household % stops here', NEW.household_id; END$$",
        "CREATE TRIGGER stop BEFORE INSERT ON riskmodel.by_hand FOR EACH ROW EXECUTE FUNCTION stop()",
    )
    other = month(tmp_path / "out", {**RISKS, "0012": 0.05}, listed=3)
    with pytest.raises(DatabaseError, match="SQLSTATE P0001.*undone") as caught:
        write_to_database(other, there)
    assert "0099" not in str(caught.value) and kept(postgres, database) == before
    postgres.run(database, "DROP TRIGGER stop ON riskmodel.by_hand",
                 "ALTER TABLE riskmodel.drivers ADD CONSTRAINT small CHECK (log_odds < 0.9) NOT VALID")  # fmt: skip
    with pytest.raises(DatabaseError, match="rows of drivers, small"):
        write_to_database(month(tmp_path / "out", {**RISKS, "a": 0.95}), there)
    assert kept(postgres, database) == before


def test_runs_at_once_do_not_mix(postgres: Server, database: str, tmp_path: Path) -> None:
    folders = [month(tmp_path / f"run{n}", {f"{n}-{i}": 0.5 + i / 1000 for i in range(300)}, listed=300) for n in range(4)]
    faults: list[Exception] = []

    def run(folder: Path) -> None:
        try:
            write_to_database(folder, Database.named(postgres.url(database)))
        except DatabaseError as fault:
            faults.append(fault)

    threads = [threading.Thread(target=run, args=[folder]) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    rows = kept(postgres, database)
    for name, count in (("scores", 300), ("alerts", 300), ("drivers", 600)):
        households = {row[0] for row in rows[name]}
        assert len(rows[name]) == count and len({h[0] for h in households}) == 1, name
    assert len({row[-1] for row in rows["scores"] + rows["alerts"] + rows["drivers"]}) == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("ALTER TABLE riskmodel.alerts ADD COLUMN visited boolean", "alerts there has other columns.*visited, which"),
        ("ALTER TABLE riskmodel.alerts DROP COLUMN verdict", "alerts there has other columns.*no verdict text"),
        ("ALTER TABLE riskmodel.scores ALTER COLUMN risk TYPE text", "risk is text, not double precision"),
        ("ALTER TABLE riskmodel.drivers DROP CONSTRAINT drivers_pkey", "ON CONFLICT"),
    ],
)
def test_a_table_with_other_columns_is_refused(
    postgres: Server, database: str, tmp_path: Path, change: str, told: str
) -> None:
    there = Database.named(postgres.url(database))
    write_to_database(month(tmp_path / "out", RISKS), there)
    postgres.run(database, change)
    before = kept(postgres, database)
    with pytest.raises(DatabaseError, match=told):
        write_to_database(month(tmp_path / "out", {**RISKS, "a": 0.95}), there)
    assert kept(postgres, database) == before


@pytest.mark.parametrize("schema", ["", "pg_counties", "新疆维吾尔自治区巴音郭楞蒙古自治州焉耆回族自治县"])
def test_a_schema_that_the_server_would_refuse_or_cut_is_refused_before_anything_is_read(
    postgres: Server, database: str, tmp_path: Path, schema: str
) -> None:
    there = Database.named(postgres.url(database))
    with pytest.raises(UsageError, match="--schema"):
        score_and_write("no register", "no model", "2023-06", tmp_path / "out", None, print, database=there, schema=schema)
    with pytest.raises(UsageError, match="--schema"):
        write_to_database(month(tmp_path / "out", RISKS), there, schema)
    assert not postgres.run(database, "SELECT 1 FROM pg_tables WHERE tablename = 'scores'")


def test_a_user_with_few_rights_writes_where_the_tables_are_there_already(
    postgres: Server, database: str, tmp_path: Path
) -> None:
    folder, schema = month(tmp_path / "out", RISKS), '监测"结果'
    batch = Database.named(postgres.url(database, "batch", "geheim"))
    postgres.run(database, "DROP ROLE IF EXISTS batch", "CREATE ROLE batch LOGIN PASSWORD 'geheim'")
    with pytest.raises(DatabaseError, match="permission denied|lacks the right"):
        write_to_database(folder, batch, schema)
    write_to_database(folder, Database.named(postgres.url(database)), schema)
    inside = '"监测""结果"'
    postgres.run(database, f"GRANT USAGE ON SCHEMA {inside} TO batch",
                 f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {inside} TO batch")  # fmt: skip
    write_to_database(month(tmp_path / "out", {"only": 0.5}), batch, schema)
    assert postgres.run(database, f"SELECT household_id FROM {inside}.scores") == [("only",)]
    postgres.run(database, f"DROP SCHEMA {inside} CASCADE", "DROP ROLE batch")


def test_a_folder_without_scores_is_named(postgres: Server, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        write_to_database(tmp_path, Database.named(postgres.url()))
