"""Each faulty row of a definition file is refused by file, line and name, with the reason."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from riskmodel.catalogue import load_catalogue
from riskmodel.errors import CatalogueError

GOOD = "  - {name: size, aggregate: 'arg_min(hh_size, age)', unit: persons, driver: labour, en: size, zh: 人口}\n"


def refusal(tmp_path: Path, row: str, before: str = "") -> str:
    file = tmp_path / "mine.yaml"
    file.write_text(f"{before}features:\n{GOOD}  - {row}\n", encoding="utf-8")
    with pytest.raises(CatalogueError) as caught:
        load_catalogue(["features.yaml", file] if "SHIPPED" in before else [file], drivers=tmp_path / "drivers.yaml")
    return str(caught.value)


@pytest.fixture(autouse=True)
def few_drivers(tmp_path: Path) -> None:
    (tmp_path / "drivers.yaml").write_text(
        "drivers:\n  labour: {nature: objective, kind: structural, en: labour, zh: 劳动力}\n"
        "  level: {nature: background, en: level, zh: 水平}\n",
        encoding="utf-8",
    )


def row(**changes: str) -> str:
    parts = {"name": "mine", "aggregate": "'avg(welfare)'", "unit": "x", "driver": "level", "en": "e", "zh": "z"}
    parts |= changes
    return "{" + ", ".join(f"{k}: {v}" for k, v in parts.items() if v) + "}"


@pytest.mark.parametrize(
    ("faulty", "reason"),
    [
        (row(aggregate="'avg(welfair)'"), "unknown column 'welfair' in records; did you mean 'welfare'?"),
        (row(driver="levle"), "unknown driver 'levle'; did you mean 'level'?"),
        (row(aggregate="'welfare / line'"), "it is not an aggregate: line stands outside an aggregate"),
        (row(aggregate="'avg(welfare) + line'"), "line stands outside an aggregate"),
        (row(name="size"), "the name is taken by mine.yaml, line 2"),
        (row(name="household_type"), "that name is taken by the register"),
        (row(name="Mine"), "a name is lower-case"),
        (row(aggregate="'(SELECT max(welfare) FROM records)'"), "a subquery is not allowed"),
        (row(aggregate="'avg(welfare); DROP TABLE records'"), "single expression"),
        (row(aggregate="'avg(welfare), max(line)'"), "single expression"),
        (row(aggregate="'avg(welfare) FROM records'"), "single expression"),
        (row(aggregate="'avg(welfare) OVER ()'"), "a window is not allowed"),
        (row(aggregate="'max(getenv(source))'"), "function getenv() is not allowed"),
        (row(aggregate="'max(random())'"), "function random() is not allowed"),
        (row(aggregate="'max(greatest(welfare, 0))'"), "reads a missing value as the other one: write floor_at(x, lowest)"),
        (row(aggregate="'sum(avg(welfare))'"), "avg() stands inside another aggregate"),
        (row(aggregate="'avg(welfare'"), "it does not parse"),
        (row(aggregate="'avg(welfare) -- of all months'"), "a comment is not allowed"),
        (row(aggregate="'avg(welfare /* of a person */)'"), "a comment is not allowed"),
        (row(aggregate="'count(COLUMNS(*))'"), "is not allowed"),
        (row(aggregate="", derived="'avg(size)'"), "a derived expression has no aggregate"),
        (row(aggregate="", derived="'siez * 2'"), "unknown feature 'siez'; did you mean 'size'?"),
        (row(aggregate="", context="'avg(size)'"), "over must be one of"),
        (row(aggregate="", context="'size * 2'", over="village_id"), "a context expression must be an aggregate"),
        (row(aggregate="", derived="'mine + 1'"), "it depends on itself"),
        (row(table="visits"), "unknown column 'welfare' in visits"),
        (row(table="recrods"), "unknown table 'recrods'; did you mean 'records'?"),
        (row(derived="'size * 2'"), "exactly one of aggregate, derived and context"),
        (row(monotone="2"), "monotone must be 1 or -1"),
        (row(unit=""), "unit is missing"),
        (row(drver="level"), "unknown key 'drver'; did you mean 'driver'?"),
        (row(name="head_sex_code"), "a protected attribute"),
        (row(name="minority_language"), "a protected attribute"),
        (row(name="head_age"), "age enters only as labour capacity"),
    ],
)
def test_a_faulty_row_is_refused_by_name_and_line(tmp_path: Path, faulty: str, reason: str) -> None:
    said = refusal(tmp_path, faulty)
    assert reason in said
    assert said.startswith("mine.yaml, line 3, feature '")


def test_an_audit_column_cannot_be_read_by_an_expression(tmp_path: Path) -> None:
    said = refusal(tmp_path, row(table="households", aggregate="'max(remote)'"))
    assert "unknown table 'households'" in said


def test_a_column_outside_the_contract_must_be_declared(tmp_path: Path) -> None:
    assert "unknown column 'rooms'" in refusal(tmp_path, row(aggregate="'max(rooms)'"))
    file = tmp_path / "declared.yaml"
    rooms = row(aggregate="'max(rooms)'")
    file.write_text(f"extra_columns: {{records: [rooms]}}\nfeatures:\n  - {rooms}\n", encoding="utf-8")
    assert load_catalogue([file], drivers=tmp_path / "drivers.yaml", measures=_no_measures(tmp_path)).inputs == ["mine"]


def test_a_gate_that_asks_an_unknown_feature_is_refused(tmp_path: Path) -> None:
    drivers = tmp_path / "drivers.yaml"
    gate = "gates:\n  - {name: able, when: 'abel_now >= 1', en: e, zh: z}\n"
    drivers.write_text(drivers.read_text(encoding="utf-8") + gate, encoding="utf-8")
    file = tmp_path / "mine.yaml"
    file.write_text(f"features:\n{GOOD}", encoding="utf-8")
    with pytest.raises(CatalogueError, match=r"drivers\.yaml, line 5, gate 'able': unknown feature 'abel_now'"):
        load_catalogue([file], drivers=drivers, measures=_no_measures(tmp_path))


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ("signs:\n  - {name: s, driver: labour, when: 'size > 3', en: e, zh: z}", "'labour' is not a subjective driver"),
        ("signs:\n  - {name: s, driver: work, en: e, zh: z}", "give either a feature"),
        ("signs:\n  - {name: s, driver: work, feature: siez, side: low, en: e, zh: z}", "did you mean 'size'?"),
        ("signs:\n  - {name: s, driver: work, feature: size, side: left, en: e, zh: z}", "side must be low or high"),
        ("signs:\n  - {name: s, driver: work, when: 'sum(size) > 1', en: e, zh: z}", "it has no aggregate"),
        ("peers: {circumstances: [siez]}", "unknown feature 'siez'"),
        ("peers: {one_able_less: {size: 'siez - 1'}}", "unknown feature 'siez'"),
    ],
)
def test_a_faulty_sign_or_peer_group_is_refused(tmp_path: Path, section: str, reason: str) -> None:
    drivers = tmp_path / "drivers.yaml"
    work = "  work: {nature: subjective, en: work, zh: 出勤}\n"
    drivers.write_text(drivers.read_text(encoding="utf-8") + work + section + "\n", encoding="utf-8")
    file = tmp_path / "mine.yaml"
    file.write_text(f"features:\n{GOOD}", encoding="utf-8")
    with pytest.raises(CatalogueError) as caught:
        load_catalogue([file], drivers=drivers, measures=_no_measures(tmp_path))
    assert str(caught.value).startswith("drivers.yaml, line ")
    assert reason in str(caught.value)


def test_a_rule_with_an_unknown_number_is_refused(tmp_path: Path) -> None:
    rule = tmp_path / "verdict.yaml"
    rule.write_text("margni: 0.1\n", encoding="utf-8")
    with pytest.raises(CatalogueError, match="did you mean 'margin'"):
        load_catalogue(verdict=rule)
    rule.write_text("margin: much\n", encoding="utf-8")
    with pytest.raises(CatalogueError, match="margin must be a number"):
        load_catalogue(verdict=rule)


def _no_measures(tmp_path: Path) -> Path:
    file = tmp_path / "measures.yaml"
    file.write_text("measures: []\n", encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("conditions", "faulty", "reason"),
    [
        (
            "ill: \"kind = 'illness'\"",
            row(aggregate="'count(*) FILTER (WHERE {il})'"),
            "unknown condition 'il'; did you mean 'ill'",
        ),
        ('ill: "kind = "', row(), "line 1, condition 'ill': it does not parse"),
        ("ill: 'count(*) > 1'", row(), "condition 'ill': a condition has no aggregate"),
        ("ill: '(SELECT true)'", row(), "condition 'ill': a subquery is not allowed"),
        ("Ill: 'welfare > 1'", row(), "condition 'Ill': a name is lower-case"),
        ("ill: 'welfair > 1'", row(aggregate="'count(*) FILTER (WHERE {ill})'"), "feature 'mine': unknown column 'welfair'"),
        ("ill: 'welfare > 1'", row(aggregate="", derived="'size + {ill}'"), "feature 'mine': "),
        (
            "ill: 'welfare > 1'",
            row(aggregate="", context="'count(*) FILTER (WHERE {ill})'", over="village_id"),
            "feature 'mine': unknown feature 'welfare'",
        ),
    ],
)
def test_a_faulty_condition_is_refused(tmp_path: Path, conditions: str, faulty: str, reason: str) -> None:
    assert reason in refusal(tmp_path, faulty, f"conditions: {{{conditions}}}\n")


def test_a_condition_that_two_files_name_is_refused(tmp_path: Path) -> None:
    assert "the name is taken by features.yaml, line" in refusal(
        tmp_path, row(), "# SHIPPED\nconditions: {illness: \"kind = 'accident'\"}\n"
    )


def test_features_whose_columns_are_missing_are_left_out_and_named() -> None:
    catalogue = load_catalogue()
    features, lacking = catalogue.available(
        {"records": ["household_id", "month", "known_at", "welfare", "line"], "households": ["household_id"]}
    )
    names = [f.name for f in features]
    assert "log_ratio_now" in names
    assert lacking["hh_size_now"] == ["records.hh_size"]
    assert lacking["months_since_illness"] == ["events"]
    assert lacking["village_below_share"] == ["households.village_id"]
    assert set(names) | set(lacking) == set(catalogue.by_name)
    assert names.index("ratio_now") < names.index("log_ratio_now")


def test_able_members_are_known_where_the_books_do_not_say_who_works_and_workers_where_they_do_not_say_who_is_able() -> None:
    catalogue = load_catalogue()

    def able(*columns: str) -> tuple[set[str], list[str]]:
        tables = {"records": ["household_id", "month", "welfare", *columns], "households": ["household_id"]}
        features, lacking = catalogue.available(tables)
        return next((set(f.needs) for f in features if f.name == "able_known"), set()), lacking.get("able_known", [])

    assert able("n_able", "n_working") == ({"able_now", "working_now"}, [])
    assert able("n_able") == ({"able_now"}, [])
    assert able("n_working") == ({"working_now"}, [])
    assert able() == (set(), ["records.n_able", "records.n_working"])


def test_answers_without_a_day_count_for_nothing_and_the_day_is_named_as_missing() -> None:
    catalogue = load_catalogue()
    offers = ["household_id", "measure", "offered_on", "known_at", "accepted", "refusal_reason"]
    tables = {"records": ["household_id", "month", "welfare"], "households": ["household_id"]}
    told, _ = catalogue.available({**tables, "assistance": [*offers, "answered_on"]})
    untold, lacking = catalogue.available({**tables, "assistance": offers})
    rest_on_answers = {f.name for f in told} - {f.name for f in untold}
    assert any("accepted" in f.needs for f in told if f.name in rest_on_answers)
    assert {missing for name in rest_on_answers for missing in lacking[name]} == {"assistance.answered_on"}


def test_a_count_is_no_day_of_which_another_count_is_the_age() -> None:
    catalogue = load_catalogue()
    tables = {"records": ["household_id", "month", "welfare", "hh_size", "n_working"], "households": ["household_id"]}
    _, lacking = catalogue.available(tables)
    of_working_age = [f.name for f in catalogue.features if "n_working_age" in f.needs]
    assert of_working_age
    assert all("records.n_working_age" in lacking[name] for name in of_working_age)


def test_shipped_catalogue_is_bilingual_and_within_its_size() -> None:
    catalogue = load_catalogue()
    assert 60 <= len(catalogue.inputs) <= 105
    for feature in catalogue.features:
        assert any("\u4e00" <= c <= "\u9fff" for c in feature.zh), feature.name
    subjective = {d.name for d in catalogue.drivers if d.nature == "subjective"}
    assert subjective == {"work", "land", "refusal"}


def test_several_threads_read_the_same_catalogue() -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: load_catalogue().sha256, range(8)))
    assert len(set(found)) == 1
