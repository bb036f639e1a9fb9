"""The monthly batch: no figure depends on how the work is cut, and a stopped run goes on."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from riskmodel.alerts.counties import Job, batch_folder, score_batch, score_month
from riskmodel.alerts.scoring import score
from riskmodel.errors import IntegrityError, NotEnoughData, UsageError
from riskmodel.model.bundle import RiskModel
from riskmodel.model.tracking import load_model
from riskmodel.processes import Batch, batches_of
from riskmodel.register import Register, ingest, read_manifest
from riskmodel.results import score_and_write
from tests.cohort.registers import make_register, monthly
from tests.county import AS_OF, County


@pytest.fixture(scope="module")
def district(county: County, tmp_path_factory: pytest.TempPathFactory) -> tuple[Register, RiskModel]:
    """The simulated county cut into three, and its model."""
    register = Register.open(county.cut(3, tmp_path_factory.mktemp("district") / "register"))
    return register, load_model(county.folder / "results")


def copied(district: tuple[Register, RiskModel], folder: Path) -> tuple[Register, RiskModel]:
    """The district with a register of its own, which may be harmed."""
    register, model = district
    return Register.open(shutil.copytree(register.path, folder)), model


def hashes(manifest: dict) -> dict[str, str]:
    return {name: about["sha256"] for name, about in manifest["files"].items()}


@pytest.fixture
def each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every county is too large to be worked on together with another."""
    monkeypatch.setattr("riskmodel.processes._TOGETHER", 0)


@pytest.mark.parametrize("how", [{"block": 13}, {"workers": 2}, pytest.param({"block": 1}, marks=pytest.mark.slow)], ids=str)
@pytest.mark.parametrize(("together", "batches"), [(1, [1, 1, 1]), (2, [2, 1])])
def test_blocks_and_workers_and_small_counties_together_change_no_byte(
    district: tuple[Register, RiskModel],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: dict[str, int],
    together: int,
    batches: list[int],
) -> None:
    register, model = district
    whole = hashes(score_month(register, model, AS_OF, tmp_path / "whole", inputs={}, capacity=8))
    monkeypatch.setattr("riskmodel.processes._FOR_A_POOL", 0)
    households = sum(register.rows("households", county) for county in register.counties[:together])
    monkeypatch.setattr("riskmodel.processes._TOGETHER", households)
    assert [len(batch) for batch in batches_of(register)] == batches
    cut = hashes(score_month(register, model, AS_OF, tmp_path / "cut", inputs={}, capacity=8, **how))
    assert len(whole) >= 7 and cut == whole


def test_the_manifest_of_the_register_is_read_once_before_the_counties_and_once_after_them(
    county: County, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds: list[str | None] = []

    def counted(target: Path, kind: str | None = None) -> dict:
        kinds.append(kind)
        return read_manifest(target, kind)

    monkeypatch.setattr("riskmodel.register.store.read_manifest", counted)
    model = str(county.folder / "results" / "model")
    score_and_write(county.register, model, AS_OF, tmp_path / "out", "8", lambda done: None)
    assert kinds.count("register") == 2


def test_a_county_alone_is_scored_as_among_others(district: tuple[Register, RiskModel], tmp_path: Path) -> None:
    register, model = district
    score_month(register, model, AS_OF, tmp_path / "all", inputs={}, capacity=8)
    among = pd.read_parquet(tmp_path / "all" / "scores.parquet").drop(columns="action")
    for county in register.counties:
        alone = score(register, model, AS_OF, counties=[county]).frame
        rows = among[among["county_id"] == county].reset_index(drop=True)
        pd.testing.assert_frame_equal(alone, rows, check_exact=True)


@pytest.mark.usefixtures("each_alone")
def test_a_stopped_run_goes_on_with_the_counties_that_are_left(district: tuple[Register, RiskModel], tmp_path: Path) -> None:
    register, model = district
    done: list[Batch] = []

    def stops_after_one(job: Job, batches: list[Batch]) -> Iterable[Batch]:
        done.append(score_batch(job, batches[0]))
        yield done[-1]
        raise KeyboardInterrupt

    def goes_on(job: Job, batches: list[Batch]) -> Iterable[Batch]:
        for batch in batches:
            done.append(score_batch(job, batch))
            yield done[-1]

    with pytest.raises(KeyboardInterrupt):
        score_month(register, model, AS_OF, tmp_path / "out", inputs={}, capacity=8, engine=stops_after_one)
    assert not (tmp_path / "out").exists()
    steps = []
    again = score_month(
        register, model, AS_OF, tmp_path / "out", inputs={}, capacity=8, engine=goes_on,
        progress=lambda county, number, of: steps.append((number, of)),
    )  # fmt: skip
    assert sorted(done) == [(county,) for county in register.counties] and steps == [(2, 3), (3, 3)]
    assert hashes(again) == hashes(score_month(register, model, AS_OF, tmp_path / "once", inputs={}, capacity=8))
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.usefixtures("each_alone")
@pytest.mark.parametrize("harmed", ["manifest.json", "scores.parquet"])
def test_a_finished_county_that_a_disk_damaged_is_scored_again(
    district: tuple[Register, RiskModel], tmp_path: Path, harmed: str
) -> None:
    register, model = district

    def stops_after_one(job: Job, batches: list[Batch]) -> Iterable[Batch]:
        score_batch(job, batches[0])
        (batch_folder(job, batches[0]) / harmed).write_bytes(b"{")
        yield batches[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_month(register, model, AS_OF, tmp_path / "out", inputs={}, capacity=8, engine=stops_after_one)
    again = score_month(register, model, AS_OF, tmp_path / "out", inputs={}, capacity=8)
    assert hashes(again) == hashes(score_month(register, model, AS_OF, tmp_path / "once", inputs={}, capacity=8))


@pytest.mark.usefixtures("each_alone")
def test_of_two_runs_that_write_to_one_folder_the_second_is_refused_and_the_first_goes_on(
    district: tuple[Register, RiskModel], tmp_path: Path
) -> None:
    register, model = district
    refused: list[str] = []

    def with_another_beside_it(job: Job, batches: list[Batch]) -> Iterable[Batch]:
        for batch in batches:
            for capacity in (8, 5):
                with pytest.raises(UsageError) as caught:
                    score_month(register, model, AS_OF, tmp_path / "out", inputs={}, capacity=capacity)
                refused.append(str(caught.value))
            yield score_batch(job, batch)

    found = score_month(register, model, AS_OF, tmp_path / "out", inputs={}, capacity=8, engine=with_another_beside_it)
    assert found["about"]["counts"]["alerts"] == 24
    assert len(refused) == 6 and set(refused) == {
        f"{tmp_path / 'out'}: another run is writing there. Wait until it has ended, or name another folder."
    }
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_counties_finished_for_another_month_or_capacity_are_not_taken(
    district: tuple[Register, RiskModel], tmp_path: Path
) -> None:
    register, model = district

    def stops(job: Job, batches: list[Batch]) -> Iterable[Batch]:
        yield score_batch(job, batches[0])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_month(register, model, "2023-05", tmp_path / "out", inputs={}, capacity=8, engine=stops)
    found = score_month(register, model, AS_OF, tmp_path / "out", inputs={}, capacity=5)
    assert set(pd.read_parquet(tmp_path / "out" / "scores.parquet")["as_of"]) == {AS_OF}
    assert found["about"]["counts"]["alerts"] == 15


def test_floors_hold_in_the_batch_as_in_memory(district: tuple[Register, RiskModel], tmp_path: Path) -> None:
    register, model = district
    room = model.run.capacity.model_copy(update={"number": 12, "share": None, "village_floor": 1})
    model = replace(model, run=model.run.model_copy(update={"capacity": room}))
    score_month(register, model, AS_OF, tmp_path / "out", inputs={})
    features = pd.read_parquet(tmp_path / "out" / "features.parquet")
    at_risk = score(register, model, AS_OF).places["village_id"]
    assert set(features["village_id"]) == set(at_risk)


def test_villages_keep_their_visits_where_the_month_has_a_capacity_of_its_own(
    district: tuple[Register, RiskModel], tmp_path: Path
) -> None:
    register, model = district
    room = model.run.capacity.model_copy(update={"number": 500, "share": None, "village_floor": 1})
    model = replace(model, run=model.run.model_copy(update={"capacity": room}))
    at_risk = score(register, model, AS_OF)
    visits = at_risk.places["village_id"].groupby(at_risk.frame["county_id"]).nunique().to_dict()
    most = max(visits.values())
    for number, capacity in enumerate((most, visits)):
        found = score_month(register, model, AS_OF, tmp_path / str(number), capacity=capacity, inputs={})
        alerts, features = (pd.read_parquet(tmp_path / str(number) / f"{t}.parquet") for t in ("alerts", "features"))
        assert alerts["county_id"].value_counts().to_dict() == (visits if number else dict.fromkeys(visits, most))
        assert set(features["village_id"]) == set(at_risk.places["village_id"])
        assert found["about"]["floors_lowered"] == []
    named = {county: most for county in register.counties[1:]}
    about = score_month(register, model, AS_OF, tmp_path / "named", capacity=named, inputs={})["about"]
    assert about["floors_lowered"] == [], "a county without visits has no list"
    assert set(pd.read_parquet(tmp_path / "named" / "alerts.parquet")["county_id"]) == set(named)


def test_villages_of_one_name_in_two_townships_are_two_on_a_list_with_floors(county: County, tmp_path: Path) -> None:
    """Each keeps its visit, and its household's own facts stand beside it; whom a floor lists is to be visited."""
    source = {p.stem: pd.read_parquet(p) for p in (county.folder / "source").glob("*.parquet")}
    people = source["households"]
    villages = people.drop_duplicates("village_id").groupby("township_id")["village_id"].rank().astype(int).astype(str)
    names = dict(zip(people["village_id"].loc[villages.index], "village " + villages, strict=True))
    people["village_id"] = people["village_id"].map(names)
    assert people.drop_duplicates(["township_id", "village_id"])["village_id"].duplicated().any()
    tables = {name: source[name] for name in ("records", "households", "spells", "assistance")}
    ingest({"source": "s", "pseudonymised": True, "tables": {n: {} for n in tables}}, tables, tmp_path / "register")
    register, model = Register.open(tmp_path / "register"), load_model(county.folder / "results")
    room = model.run.capacity.model_copy(update={"number": 16, "share": None, "village_floor": 1})
    model = replace(model, run=model.run.model_copy(update={"capacity": room}))
    score_month(register, model, AS_OF, tmp_path / "out", inputs={})
    features, scores, alerts = (pd.read_parquet(tmp_path / "out" / f"{t}.parquet") for t in ("features", "scores", "alerts"))
    places = ["township_id", "village_id"]
    at_risk = score(register, model, AS_OF).places
    assert len(features[places].drop_duplicates()) == len(at_risk.drop_duplicates())
    assert features["household_id"].tolist() == alerts["household_id"].tolist()
    by_floor = scores["household_id"].isin(alerts["household_id"]) & (scores["rank"] > len(alerts))
    assert by_floor.any() and (scores.loc[by_floor, "action"] != "leave").all()


def test_one_tiny_county_with_floors_does_not_stop_the_others(county: County, tmp_path: Path) -> None:
    """A household a village, two of them with none on record; the other county keeps a visit in each village."""
    source = {p.stem: pd.read_parquet(p) for p in (county.folder / "source").glob("*.parquet")}
    people, records = source["households"], source["records"]
    tiny = people.drop_duplicates("village_id")["household_id"]
    people.loc[people["household_id"].isin(tiny), "county_id"] = "tiny"
    people.loc[people["household_id"].isin(tiny[:2]), "village_id"] = None
    source["records"] = records.drop(columns=["county_id", "township_id", "village_id"])
    ingest({"source": "s", "pseudonymised": True, "tables": {n: {} for n in source}}, source, tmp_path / "register")
    register, model = Register.open(tmp_path / "register"), load_model(county.folder / "results")
    room = model.run.capacity.model_copy(update={"share": 0.1, "village_floor": 1, "township_floor": 1})
    model = replace(model, run=model.run.model_copy(update={"capacity": room}))
    about = score_month(register, model, AS_OF, tmp_path / "out", inputs={})["about"]
    (lowered,) = about["floors_lowered"]
    assert lowered == {"county_id": "tiny", "visits": 1, "village_floor": 0, "township_floor": 0}
    alerts = pd.read_parquet(tmp_path / "out" / "alerts.parquet")
    assert (alerts["county_id"] == "tiny").sum() == lowered["visits"] > 0
    at_risk = score(register, model, AS_OF, counties=["009901"]).places["village_id"]
    villages = pd.read_parquet(tmp_path / "out" / "features.parquet").query("county_id == '009901'")["village_id"]
    assert set(villages) == set(at_risk)


@pytest.mark.usefixtures("each_alone")
def test_results_of_two_registers_are_not_put_together(district: tuple[Register, RiskModel], tmp_path: Path) -> None:
    register, model = copied(district, tmp_path / "register")

    def while_another_is_written(job: Job, batches: list[Batch]) -> Iterable[Batch]:
        yield score_batch(job, batches[0])
        later = {
            "records": register.read("records").query("month < '2023-11-01'"),
            "households": register.read("households"),
        }
        ingest({"pseudonymised": True, "tables": {name: {} for name in later}}, later, tmp_path / "register")
        yield score_batch(job, batches[1])

    with pytest.raises(IntegrityError, match="another register was written there while this one was read"):
        score_month(register, model, AS_OF, tmp_path / "out", inputs={}, engine=while_another_is_written)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("harm", ["another income", "a bit", "cut short", "gone"])
def test_households_whose_file_was_changed_in_place_are_not_scored(
    district: tuple[Register, RiskModel], tmp_path: Path, harm: str
) -> None:
    register, model = copied(district, tmp_path / "register")
    file = register.file("records", register.counties[1])
    content = file.read_bytes()
    match harm:
        case "another income":
            pd.read_parquet(file).assign(welfare=1.0).to_parquet(file, index=False)
        case "a bit":
            file.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
        case "cut short":
            file.write_bytes(content[: len(content) // 2])
        case "gone":
            file.unlink()
    says = "the file is gone" if harm == "gone" else "the file has changed since it was written"
    with pytest.raises(IntegrityError, match=f"{register.counties[1]}.parquet: {says}. Make the register again."):
        score_month(register, model, AS_OF, tmp_path / "out", inputs={})
    assert not (tmp_path / "out").exists()
    with pytest.raises(IntegrityError, match=says):
        score(Register.open(register.path), model, AS_OF)


def test_a_county_without_visits_has_an_empty_list_beside_those_of_others(
    district: tuple[Register, RiskModel], tmp_path: Path
) -> None:
    register, model = district
    first, second, third = register.counties
    some = score_month(register, model, AS_OF, tmp_path / "some", inputs={}, capacity={second: 4})
    assert some["about"]["counts"]["alerts"] == 4
    assert set(pd.read_parquet(tmp_path / "some" / "alerts.parquet")["county_id"]) == {second}
    assert set(pd.read_parquet(tmp_path / "some" / "scores.parquet")["county_id"]) == {first, second, third}
    score_month(register, model, AS_OF, tmp_path / "none", inputs={}, capacity={first: 0})
    kinds = [
        pd.read_parquet(tmp_path / name / "alerts.parquet").dtypes.drop(["driver_2", "driver_3"])
        for name in ("some", "none")
    ]
    pd.testing.assert_series_equal(*kinds)


def test_what_a_small_county_lacks_changes_no_byte_of_those_beside_it(
    county: County, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one all opted out, in another nobody is at risk; a third knows no village, the first one none of half its homes."""
    source = {p.stem: pd.read_parquet(p) for p in (county.folder / "source").glob("*.parquet")}
    people, records = source["households"].sort_values("household_id", ignore_index=True), source["records"]
    people["county_id"] = [str(1 + place % 4) for place in range(len(people))]
    people["opted_out"] = people["county_id"] == "2"
    unknown = (people["county_id"] == "4") | ((people["county_id"] == "1") & (people.index < len(people) / 2))
    people.loc[unknown, ["village_id", "township_id", "household_type"]] = None
    of = records["household_id"].map(people.set_index("household_id")["county_id"])
    records = records.drop(columns=["county_id", "township_id", "village_id"])
    source |= {"households": people, "records": records.assign(welfare=records["welfare"].mask(of == "3", 1.0))}
    ingest({"source": "s", "pseudonymised": True, "tables": {n: {} for n in source}}, source, tmp_path / "register")
    register, model = Register.open(tmp_path / "register"), load_model(county.folder / "results")
    assert batches_of(register) == [("1", "2", "3", "4")]
    together = score_month(register, model, AS_OF, tmp_path / "together", inputs={}, capacity=5)
    monkeypatch.setattr("riskmodel.processes._TOGETHER", 0)
    for block in (20_000, 7):
        alone = score_month(register, model, AS_OF, tmp_path / "alone", inputs={}, capacity=5, block=block)
        assert hashes(together) == hashes(alone) and together["about"] == alone["about"]
    assert set(pd.read_parquet(tmp_path / "together" / "scores.parquet")["county_id"]) == {"1", "4"}
    assert set(pd.read_parquet(tmp_path / "together" / "by_hand.parquet")["county_id"]) == {"2"}


def test_a_county_that_the_register_does_not_hold_is_named(district: tuple[Register, RiskModel], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="county 'x'"):
        score_month(*district, AS_OF, tmp_path / "out", inputs={}, capacity={"x": 3})


def test_nobody_at_risk_is_an_error_and_leaves_nothing(district: tuple[Register, RiskModel], tmp_path: Path) -> None:
    make_register(tmp_path / "register", records=monthly("1", "2023-01", [50.0] * 6))
    with pytest.raises(NotEnoughData, match="nobody is at risk at 2023-06"):
        score_month(Register.open(tmp_path / "register"), district[1], AS_OF, tmp_path / "out", inputs={})
    assert [p.name for p in tmp_path.iterdir()] == ["register"]
