"""The model card: true to the evidence, complete in both languages, safe to open and to hand round."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from riskmodel.cards import assessed
from riskmodel.cards.model_card import model_card, write_card
from riskmodel.cards.sections import SECTIONS
from riskmodel.cards.wording import FALLS, METRICS, MODELS, NATURES, UNITS
from riskmodel.catalogue import load_catalogue
from riskmodel.errors import UsageError
from riskmodel.evaluation import metrics
from riskmodel.settings import MODELS as KNOWN_MODELS
from riskmodel.settings import AtRisk, Capacity, Label, Run, Tracking
from tests.cards.example import ASSESSMENT, INPUTS, evidence, make_model, results
from tests.cards.page import CJK, Page


@pytest.fixture(scope="module")
def html() -> str:
    return model_card(make_model())


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_figures_are_those_of_the_evidence(page: Page) -> None:
    text = page.text("en")
    for figure in ("12,345", "7,234", "5,017", "512", "4,000", "3,987", "365", "9.1%", "7.1%"):
        assert figure in text, figure
    assert "Of 100 households on the list42fall (40–44). 58 do not." in text
    assert "the list finds35(33–37) and misses 65. A list of the same length drawn by chance would find 5." in text
    assert "0.8530.843 – 0.863" in text
    assert "35.1%33.1% – 37.1%" in text
    assert "at least 7 months (horizon of 6" in text


def test_the_answer_says_what_was_drawn_and_what_guaranteed_visits_change() -> None:
    plain = Page(model_card(make_model(evidence(assessment=ASSESSMENT))))
    assert "from redrawing households" in plain.text("en") and "guaranteed to villages" not in plain.text("en")
    floors = {**ASSESSMENT, "capacity": {"share": 0.09, "village_floor": 1}}
    page = Page(model_card(make_model(evidence(assessment=floors, drawn="village_id"))))
    assert "with them 50 of 100 listed fall, and the list finds 40 of 100" in page.text("en")
    assert "名单上每100户有50户返贫，每100户返贫户发现40户" in page.text("zh")
    assert "fewer were guaranteed" not in page.text("en")
    lowered = {**floors, "lists": {**ASSESSMENT["lists"], "number": 40, "floors_lowered": 3}}
    page = Page(model_card(make_model(evidence(assessment=lowered, drawn="village_id"))))
    assert "Of 40 lists 3 had fewer visits than that takes, and fewer were guaranteed there." in page.text("en")
    assert "40份名单中有3份的总户数不足以保底" in page.text("zh")
    assert "from redrawing villages" in page.text("en") and "对村重复抽样" in page.text("zh")


@pytest.mark.parametrize(("not_known", "told"), [(33, True), (4, False), (0, False)])
def test_of_how_many_listed_the_outcome_is_not_known_stands_beside_how_many_fell(not_known: int, told: bool) -> None:
    unknown = {"listed": 170, "not_known": not_known, "precision": 0.41, "low": 0.38, "high": 0.57}
    found = {**ASSESSMENT, "lists": {**ASSESSMENT["lists"], "unknown": unknown}}
    page = Page(model_card(make_model(evidence(assessment=found))))
    said = "Of 33 of the 170 listed the outcome is not known. Allowing for that, 41 of 100 listed fall"
    assert (said in page.text("en")) == told and ("名单170户次中33户次结果未知" in page.text("zh")) == told
    assert ("41 of 100 listed fell: 38 if none of those not known did, 57 if all." in page.text("en")) == told


def test_both_languages_are_complete(page: Page) -> None:
    assert len(page.texts["en"]) == len(page.texts["zh"]) > 250
    assert all(text.strip() for lang in ("en", "zh") for text in page.texts[lang])
    assert not [text for text in page.texts["en"] if CJK.search(text)]
    same = {text for text in page.texts["zh"] if re.search("[A-Za-z]{4}", text) and not CJK.search(text)}
    assert same <= {"LightGBM", "ROC-AUC", "PR-AUC"}


def test_text_outside_a_language_is_numbers_and_names(page: Page) -> None:
    said = {word for text in page.neutral for word in re.findall(r"[^\W\d_]{2,}", text)}
    tables = {"records", "village", "id", "county", "SHA", "python", "lightgbm"}
    assert said <= tables, said - tables


def test_sections_stand_in_order_and_are_linked(html: str) -> None:
    places = [html.index(f'<section id="{section.name}"') for section in SECTIONS]
    assert places == sorted(places)
    assert all(f'href="#{section.name}"' in html for section in SECTIONS)


def test_chosen_language_opens_first_and_the_rest_is_equal(html: str) -> None:
    english = model_card(make_model(), lang="en")
    assert re.search(r'id="zh"[^>]* checked', html) and not re.search(r'id="en"[^>]* checked', html)
    assert re.search(r'id="en"[^>]* checked', english) and not re.search(r'id="zh"[^>]* checked', english)
    assert html.replace(" checked", "").replace('html lang="zh"', "") == english.replace(" checked", "").replace(
        'html lang="en"', ""
    )


def test_nothing_is_loaded_or_run(html: str, page: Page) -> None:
    assert len(html.encode()) < 200_000
    assert "http" not in html and "url(#" in html and "@import" not in html
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "img", "object", "embed", "form"})
    attributes = [(name, value or "") for _, attrs in page.tags for name, value in attrs.items()]
    assert not [name for name, _ in attributes if name.startswith("on")]
    assert all(value.startswith("#") for name, value in attributes if name in ("href", "src"))


def test_examples_are_small_enough_to_hand_round() -> None:
    examples = list((Path(__file__).parents[2] / "docs" / "examples").glob("*.html"))
    assert len(examples) >= 2
    most = {"bulletin.html": 350_000}
    assert all(file.stat().st_size < most.get(file.name, 300_000) for file in examples)


def test_names_from_outside_do_no_harm() -> None:
    found = evidence()
    found["data"]["register"]["source"] = "<script>alert(1)</script>\u202e{{7*7}}{x}"
    found["versions"]["<img src=x onerror=alert(1)>"] = "1"
    html = model_card(make_model(found))
    assert "<script" not in html and "<img" not in html and "\u202e" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;{{7*7}}{x}" in html


def test_small_cells_are_withheld_also_against_subtraction(page: Page) -> None:
    rows = dict(re.findall(r"All months: ([a-z ]+(?:\([a-z ]+\))?) ?(.*?)(?=All months|Of 12,345)", page.text("en")))
    unknown, fall, returned = (rows[FALLS[kind].en].strip() for kind in ("unknown", "fall", "return"))
    assert unknown == "<10–<10*"
    assert fall == "2,000–**"
    assert returned == "9,226–8078.7%"
    assert "Of 12,345 rows at risk, * have no outcome" in page.text("en")
    assert "More than 5% of rows have no outcome" in page.text("en")


def test_a_test_with_few_falls_gives_no_rate_away() -> None:
    found = evidence()
    found["data"]["test"] |= {"events": 7, "rate": 7 / 4000}
    text = Page(model_card(make_model(found))).text("en")
    assert "Too few households fell in the test" in text
    assert "The intervals draw the same few falls again and are too narrow" in text and "intervals are wide" not in text
    assert "does not allow a comparison" in text
    assert "0.853" in text
    for telling in ("0.2%", "42.1%", "35.1%", "0.0574"):
        assert telling not in text, telling


@pytest.mark.parametrize(
    ("recall", "said"),
    [
        (0.351, "The model is better: the two intervals do not touch."),
        (0.275, "The model is ahead"),
        (0.25, "We recommend the simple rule"),
        (0.2, "We recommend the simple rule"),
    ],
)
def test_comparison_with_the_best_simple_rule_follows_the_intervals(recall: float, said: str) -> None:
    text = Page(model_card(make_model(evidence(results=results(recall))))).text("en")
    assert said in text
    assert "the best simple rule (Logit on distance to the line alone) 24 (22–26)" in text


def test_a_registered_rule_is_called_a_rule() -> None:
    text = Page(model_card(make_model(run=Run(register_model="one_variable_logit")))).text("en")
    assert "The registered model is itself a simple rule: Logit on distance to the line alone." in text


def test_registered_row_and_best_values_are_marked(html: str) -> None:
    row = next(r for r in re.findall(r'<tr class="registered">.*?</tr>', html, re.S) if "0.853" in r)
    assert '<span class="best">0.853</span>' in row
    assert "（登记模型）" in row


@pytest.mark.parametrize(
    ("label", "en", "zh"),
    [
        (Label(), "below the monitoring line within 6 months, and at the next assessment", "连续两次"),
        (
            Label(name="below_line", horizon_months=3, when="at", assessments=1),
            "3 months later, at one",
            "3个月后",
        ),
        (
            Label(name="enter_monitoring", horizon_months=12),
            "identified for monitoring within 12 months",
            "纳入监测",
        ),
        (Label(name="guarantee_fail"), "recorded as failed within 6 months", "不达标"),
        (Label(name="sudden_difficulty"), "at least 50% of net income", "突发严重困难"),
    ],
)
def test_label_is_said_in_words(label: Label, en: str, zh: str) -> None:
    page = Page(model_card(make_model(run=Run(label=label))))
    assert en in page.text("en")
    assert zh in page.text("zh")
    assert "under 0.1% a year" in page.text("en")


def test_who_is_left_out_follows_the_settings() -> None:
    run = Run(at_risk=AtRisk(seen_within_months=5, population="lifted"), capacity=Capacity(number=40))
    text = Page(model_card(make_model(run=run))).text("en")
    assert "no record within the last 5 months" in text
    assert "ordinary households: this model is for households lifted" in text
    assert "up to 40 households per county and month" in text


def test_lacking_columns_and_drivers_are_listed_not_faked(page: Page) -> None:
    catalogue = load_catalogue()
    text = page.text("en")
    assert f"All {len(INPUTS)} inputs" in text
    assert "visits" in text and "records.land_idle" in text
    assert f"[lacking here: {catalogue.by_name['visit_age'].en}]" in text
    everything = {f.name: ["x"] for f in catalogue.features if f.driver == "illness"}
    missing = Page(model_card(make_model(evidence(lacking=everything)))).text("en")
    assert "no columns (listed, not faked): illness." in missing


def test_gates_excuses_and_protected_cases_come_from_the_catalogue(page: Page) -> None:
    catalogue = load_catalogue()
    for condition in (*catalogue.gates, *catalogue.excuses, *catalogue.protected):
        assert condition.en in page.text("en")
        assert condition.zh in page.text("zh")
    assert "nothing is claimed about how often verdicts are right here" in page.text("en")
    assert "主观因素线索，待核实" in page.text("zh")


@pytest.mark.parametrize(
    ("lacking", "named"),
    [
        ({"able_lately"}, "an able member of working age"),
        ({"visit_age"}, "data no older than three months"),
        ({"carers_12m"}, "death, birth, separation or care"),
        ({"appeal_now"}, "appeal open"),
    ],
)
def test_a_register_that_cannot_show_a_gate_or_an_excuse_calls_nobody_subjective(lacking: set[str], named: str) -> None:
    text = Page(model_card(make_model(evidence(lacking={name: ["x"] for name in lacking})))).text("en")
    said = re.search(r"lacks what these need to be checked: (.*?) With it, no household is called subjective", text)
    assert said and named in said.group(1)


@pytest.mark.parametrize("lacking", [set(), {"suitable_offers_12m"}, {"children_now"}])
def test_a_register_that_shows_one_of_several_ways_can_call_a_household_subjective(lacking: set[str]) -> None:
    text = Page(model_card(make_model(evidence(lacking={name: ["x"] for name in lacking})))).text("en")
    assert "no household is called subjective" not in text


def test_too_good_a_model_raises_suspicion() -> None:
    found = evidence()
    found["results"]["lightgbm"]["test"]["roc_auc"] = {"value": 0.96, "low": 0.95, "high": 0.97}
    assert "suspect a leak" in Page(model_card(make_model(found))).text("en")
    assert "suspect a leak" not in Page(model_card(make_model())).text("en")


def test_settings_are_there_without_the_tracking_address_and_folders() -> None:
    run = Run(tracking=Tracking(uri="postgresql://user:secret@host/db"), catalogue=["/home/me/features.yaml"])
    html = model_card(make_model(run=run))
    assert "secret" not in html and "/home/me" not in html
    assert "horizon_months: 6" in html


def test_an_untrained_model_has_no_card() -> None:
    with pytest.raises(UsageError, match="carries no data and no folds and no results"):
        model_card(make_model({}))


def test_an_older_model_without_curve_drivers_or_extra_splits_still_has_a_card() -> None:
    found = evidence(curve=[], drivers=[])
    found["results"] = {name: {"test": splits["test"]} for name, splits in found["results"].items()}
    text = Page(model_card(make_model(found))).text("en")
    assert "Too few households in the test to draw the curve" in text
    assert "gives no contributions" in text
    assert "Earlier folds" not in text


def test_card_is_written_whole_and_is_the_same_each_time(tmp_path: Path) -> None:
    write_card(make_model(), tmp_path / "card.html")
    first = (tmp_path / "card.html").read_bytes()
    write_card(make_model(), tmp_path / "card.html")
    assert (tmp_path / "card.html").read_bytes() == first == model_card(make_model()).encode()
    assert [p.name for p in tmp_path.iterdir()] == ["card.html"]


def test_everything_that_has_a_name_has_words() -> None:
    assert set(MODELS) == set(KNOWN_MODELS)
    assert set(METRICS) == set(metrics.METRICS)
    catalogue = load_catalogue(["features.yaml", "features_eph.yaml"])
    assert set(NATURES) == {d.nature for d in catalogue.drivers}
    unsaid = {f.unit for f in catalogue.features if f.input} - set(UNITS)
    assert not unsaid, f"units without Chinese words in riskmodel/cards/wording.py: {unsaid}"


def test_leak_gates_that_did_not_pass_are_named_with_the_reason_that_was_accepted() -> None:
    passed = {
        "gate": "missing",
        "verdict": "pass",
        "en": "Missing values do not tell.",
        "zh": "缺失不透露结果。",
        "accepted": "",
    }
    warned = {
        "gate": "scale",
        "verdict": "warn",
        "en": "wage_share grew.",
        "zh": "wage_share变大。",
        "accepted": "new form of 2022",
    }
    page = Page(model_card(make_model(evidence(leak_gates=[passed, warned]))))
    assert "1 of them found nothing" in page.text("en")
    assert "wage_share grew." in page.text("en") and "Accepted: new form of 2022" in page.text("en")
    assert "wage_share变大。" in page.text("zh")
    assert "leak gates" not in Page(model_card(make_model())).text("en")


def test_the_groups_keep_their_name_and_are_told_month_by_month() -> None:
    """The first group of a kind is too small to judge: the next one bears the kind's name."""

    def cell(column: str, group: str, estimable: bool) -> dict[str, object]:
        figures = {"value": 0.4, "low": 0.3, "high": 0.5} if estimable else {"value": None, "low": None, "high": None}
        return {"column": column, "group": group, "measure": "recall", "estimable": estimable, **figures}

    def month(as_of: str, ratio: float) -> dict[str, object]:
        return {"as_of": as_of, "column": "elderly_members", "measure": "recall", "lowest": "none", "highest": "some",
                "ratio": ratio, "low": 1.0, "high": 2.5, "alarm": False}  # fmt: skip

    table = [cell("all", "all", True), cell("elderly_members", "all", False),
             cell("elderly_members", "none", True), cell("elderly_members", "some", True)]  # fmt: skip
    fairness = {"table": table, "spread": [], "over_time": [month("2022-09", 1.2), month("2022-12", 1.7)]}
    model = make_model(evidence(assessment={"fairness": fairness, "months": ["2022-09", "2022-12"]}))
    found = assessed.groups(model)
    assert [(row["column"].en, row["first"]) for row in found["rows"]] == [
        ("All", True), ("Elderly members", True), ("Elderly members", False),
    ]  # fmt: skip
    assert found["small"] == 1
    [told] = found["over_time"]
    assert [(m, cell["ratio"], cell["highest"].en) for m, cell in told["months"]] == [
        ("2022-09", "1.2", "some"), ("2022-12", "1.7", "some"),
    ]  # fmt: skip
