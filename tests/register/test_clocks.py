"""A day is the day on the clock of whoever wrote it, whatever the machine that reads it."""

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest

from riskmodel.errors import ContractError
from riskmodel.register import Register, ingest
from riskmodel.register.source import load_source

PLAIN = {"source": "plain", "tables": {"records": {}}}
MIDNIGHT = pd.Timestamp("2023-01-05")
JUST_BEFORE = pd.Timestamp("2023-01-05 23:30")


def records(visited: list[pd.Timestamp]) -> pd.DataFrame:
    """A household a row, each visited at one time."""
    rows = pd.DataFrame({"household_id": [f"h{i}" for i in range(len(visited))], "month": "2023-02", "welfare": 5000.0})
    return rows.assign(visited_on=pd.Series(visited))


def zoned(zone: str, *times: pd.Timestamp) -> pd.DataFrame:
    return records([time.tz_localize(zone) for time in times])


def spark_file(path: Path, *times: str) -> Path:
    """Points in time as Spark and DuckDB write them: in UTC, without a zone beside it."""
    values = ", ".join(f"('h{i}', '2023-02', 5000.0, TIMESTAMPTZ '{time}')" for i, time in enumerate(times))
    duckdb.execute(f"COPY (FROM (VALUES {values}) t(household_id, month, welfare, visited_on)) TO '{path}'")
    return path


def days(register: Path) -> list[str]:
    rows = Register.open(register).read("records").sort_values("household_id")
    return rows["visited_on"].dt.strftime("%Y-%m-%d").tolist()


@pytest.fixture(scope="module", params=[("America/New_York", 19), ("Asia/Shanghai", 8)], ids=lambda zone: zone[0])
def machine(request):
    """A process that was started under a time zone, in which 1970 of UTC began at that hour."""
    zone, hour = request.param
    with pytest.MonkeyPatch.context() as patch, ProcessPoolExecutor(1, get_context("spawn")) as process:
        patch.setenv("TZ", zone)
        assert process.submit(time.localtime, 0).result().tm_hour == hour
        yield process


def days_on(machine: ProcessPoolExecutor, data: Path, out: Path, visited_on: str = "visited_on") -> list[str]:
    """The days of the visits as that machine takes them in."""
    columns = {name: name for name in ("household_id", "month", "welfare")} | {"visited_on": visited_on}
    source = {"source": "plain", "tables": {"records": {"file": data.name, "columns": columns}}}
    if visited_on != "visited_on":
        source["tables"]["records"]["columns"]["visited_on"] = {"sql": visited_on}
    machine.submit(ingest, source, str(data), str(out)).result()
    return days(out)


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "+08:00", "America/New_York"])
def test_a_visit_at_midnight_and_one_just_before_keep_their_day_on_every_machine(tmp_path, machine, zone):
    zoned(zone, MIDNIGHT, JUST_BEFORE).to_parquet(tmp_path / "records.parquet")
    assert days_on(machine, tmp_path / "records.parquet", tmp_path / "out") == ["2023-01-05", "2023-01-05"]


@pytest.mark.parametrize(
    ("expression", "day"),
    [("visited_on AT TIME ZONE 'Asia/Shanghai'", "2023-01-06"), ("CAST(visited_on AS DATE)", "2023-01-05")],
)
def test_an_expression_gives_the_same_day_on_every_machine(tmp_path, machine, expression, day):
    spark_file(tmp_path / "records.parquet", "2023-01-05 20:00:00+00")
    assert days_on(machine, tmp_path / "records.parquet", tmp_path / "out", expression) == [day]


def test_times_of_a_text_file_count_as_the_day_that_is_written(tmp_path, machine):
    rows = records([]).reindex(range(2)).assign(
        household_id=["h0", "h1"], month="2023-02", welfare=5000.0,
        visited_on=["2023-01-05T23:30:00+08:00", "2023-01-05T00:30:00Z"],
    )  # fmt: skip
    rows.to_csv(tmp_path / "records.csv", index=False)
    assert days_on(machine, tmp_path / "records.csv", tmp_path / "out") == ["2023-01-05", "2023-01-05"]


def test_midnights_of_utc_are_days(tmp_path):
    spark_file(tmp_path / "records.parquet", "2023-01-05 00:00:00+00", "2023-01-06 00:00:00+00")
    ingest(PLAIN, tmp_path, tmp_path / "register")
    assert days(tmp_path / "register") == ["2023-01-05", "2023-01-06"]


def test_a_time_of_no_named_zone_is_refused_with_its_row(tmp_path):
    spark_file(tmp_path / "records.parquet", "2023-01-05 00:00:00+00", "2023-01-05 16:00:00+00")
    with pytest.raises(ContractError) as refused:
        ingest(PLAIN, tmp_path, tmp_path / "register")
    told = str(refused.value)
    assert told.startswith("records.parquet, row 2, column visited_on:")
    assert "visited_on: {sql: visited_on AT TIME ZONE 'Asia/Shanghai'}" in told and "16:00" not in told


def test_what_a_refusal_proposes_is_taken_in(tmp_path):
    spark_file(tmp_path / "records.parquet", "2023-01-05 00:00:00+00", "2023-01-05 16:00:00+00")
    source = tmp_path / "source.yaml"
    source.write_text(
        "tables: {records: {columns: {household_id: household_id, month: month, welfare: welfare, "
        "visited_on: {sql: visited_on AT TIME ZONE 'Asia/Shanghai'}}}}"
    )
    ingest(source, tmp_path, tmp_path / "register")
    assert days(tmp_path / "register") == ["2023-01-05", "2023-01-06"]


def test_files_of_one_table_may_name_different_zones(tmp_path):
    zoned("Asia/Shanghai", MIDNIGHT).to_parquet(tmp_path / "a.parquet")
    zoned("America/New_York", JUST_BEFORE).assign(household_id="h1").to_parquet(tmp_path / "b.parquet")
    records([JUST_BEFORE]).assign(household_id="h2").to_parquet(tmp_path / "c.parquet")
    source = {"source": "plain", "tables": {"records": {"file": "*.parquet"}}}
    ingest(source, tmp_path, tmp_path / "register")
    assert days(tmp_path / "register") == ["2023-01-05"] * 3


def test_a_dataframe_says_its_zone_by_its_type(tmp_path):
    ingest(PLAIN, zoned("Asia/Shanghai", MIDNIGHT, JUST_BEFORE), tmp_path / "register")
    assert days(tmp_path / "register") == ["2023-01-05", "2023-01-05"]
    with pytest.raises(ContractError, match="DataFrame records, row 1, column visited_on: a time of UTC"):
        ingest(PLAIN, zoned("UTC", JUST_BEFORE), tmp_path / "register")


def test_an_expression_without_a_zone_is_refused(tmp_path):
    source = {"tables": {"records": {"columns": {
        "household_id": "household_id", "month": "month", "welfare": "welfare",
        "visited_on": {"sql": "visited_on + INTERVAL 1 DAY"},
    }}}}  # fmt: skip
    with pytest.raises(ContractError, match="visited_on: the expression gives a point in time, .* AT TIME ZONE"):
        ingest(source, zoned("Asia/Shanghai", MIDNIGHT), tmp_path / "register")


def test_a_date_format_reads_no_zone():
    with pytest.raises(ContractError, match="date_format: %z and %Z are not read"):
        load_source({"date_format": "%d/%m/%Y %H:%M %z", "tables": {"records": {}}})


def test_refused_rows_show_the_point_in_time_in_utc(tmp_path):
    rows = zoned("Asia/Shanghai", MIDNIGHT, JUST_BEFORE).assign(month=["2023-02", "soon"])
    rows.to_parquet(tmp_path / "records.parquet")
    ingest(PLAIN, tmp_path, tmp_path / "register")
    [row] = pq.read_table(tmp_path / "register" / "quarantine.parquet").to_pylist()
    assert '"visited_on":"2023-01-05 15:30:00+00"' in row["raw"]
