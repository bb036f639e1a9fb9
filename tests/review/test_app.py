"""The review app: who may post, what a reviewer sees, and that no name of a household runs as anything."""

from __future__ import annotations

import re
import sqlite3
import time
from copy import copy
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from riskmodel.errors import NotFound
from riskmodel.explain.causes import VERDICTS
from riskmodel.review.app import create_app
from riskmodel.review.decisions import Decisions, in_blind_half
from riskmodel.review.guard import COOKIE, Guard
from riskmodel.review.pages import CAUSES
from riskmodel.review.worklist import Worklist, alert_key
from tests.review.month import HOSTILE, MONTH, alert, catalogue, decision, write_month

ORIGIN = "http://127.0.0.1"
SITE = {"origin": ORIGIN, "sec-fetch-site": "same-origin"}
SUBJECTIVE = alert(
    "0500", verdict="subjective", driver_1="work", driver_2="land", signs="work_low, land_idle", strong_signs="work_low",
    subjective_share=0.7, objective_share=0.1, risk=0.2, failed_gates="", measures="one_to_one; land_trust; training",
)  # fmt: skip


class Office:
    """An office with a month of alerts, its decisions, and reviewers who come with a browser."""

    def __init__(self, folder: Path, month: list[dict] | Worklist, blind_half: bool = False, **guard: object) -> None:
        places = guard.pop("places", None)
        self.decisions = Decisions.open(folder / "decisions.db")
        if isinstance(month, Worklist):
            self.worklist = copy(month)  # the same alerts, other decisions
            self.worklist.decisions, self.worklist._standing = self.decisions, None
        else:
            self.worklist = Worklist(write_month(folder / "alerts", month, places), self.decisions, blind_half, catalogue())
        self.app = create_app(self.worklist, Guard(frozenset({"127.0.0.1"}), **guard))

    def browser(self, lang: str = "en", name: str | None = "Li Na") -> TestClient:
        client = TestClient(self.app, base_url=ORIGIN, headers={"accept-language": lang}, follow_redirects=False)
        if name:
            csrf = token(client.get("/sign-in").text)
            done = client.post("/sign-in", data={"name": name, "csrf": csrf, "next": "/"}, headers=SITE)
            assert done.status_code == 303 and done.headers["location"] == "/"
        return client


def token(page: str) -> str:
    return re.search(r'name="csrf" value="([0-9a-f]{64})"', page)[1]


def address(household_id: str) -> str:
    return f"/alerts/{alert_key(MONTH, 'k1', household_id)}"


def form(page: str, **entries: object) -> dict[str, object]:
    """The hidden fields of a household's form, with what a reviewer enters."""
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.split('class="card deciding"')[1]))
    return hidden | entries


def decide(client: TestClient, household_id: str, **entries: object):
    page = client.get(address(household_id)).text
    return client.post(address(household_id), data=form(page, **entries), headers=SITE)


def visible(page: str) -> str:
    """Text that a reader of the page sees."""
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Worklist:
    guarded = alert("0600", protected="no_able_labour", risk=0.1)
    unknown = alert("0700", unchecked="sole_carer", verdict="undetermined", verdict_confidence=0.0, risk=0.05)
    return Office(tmp_path_factory.mktemp("month"), [alert(), SUBJECTIVE, guarded, unknown]).worklist


@pytest.fixture
def office(tmp_path: Path, month: Worklist) -> Office:
    return Office(tmp_path, month)


def test_a_decision_is_recorded_with_reviewer_and_time_and_the_next_household_is_offered(office: Office) -> None:
    client = office.browser()
    done = decide(client, "0412", action="confirm", note="ill since March")
    assert done.status_code == 303
    page = client.get(done.headers["location"]).text
    assert "Recorded as decision no. 1" in page and "Next household" in page
    [row] = office.decisions.history(MONTH, "k1", "0412")
    assert (row["action"], row["cause"], row["reviewer"], row["identity"], row["source"]) == (
        "confirm", "objective", "Li Na", "stated", "app",
    )  # fmt: skip
    assert row["recorded_at"].endswith("+00:00") and office.decisions.verify().rows == 1


def test_a_database_that_cannot_be_written_is_told_on_a_page(office: Office) -> None:
    client = office.browser()
    page = client.get(address("0412")).text
    with sqlite3.connect(office.decisions._where) as beside:
        beside.execute("CREATE TRIGGER full BEFORE INSERT ON decisions BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
    done = client.post(address("0412"), data=form(page, action="confirm"), headers=SITE)
    assert done.status_code == 503 and "nothing was recorded" in visible(done.text)
    with sqlite3.connect(office.decisions._where) as beside:
        beside.execute("ALTER TABLE decisions RENAME TO away")
    assert client.get("/").status_code == 503


def test_the_second_reviewer_sees_the_first_ones_decision(office: Office) -> None:
    decide(office.browser(), "0412", action="override_cause", cause="undetermined", reason="record_wrong", note="no illness")
    page = visible(office.browser(name="Wang Wei").get(address("0412")).text)
    assert "Decisions so far Li Na" in page and "no illness" in page and "the record is wrong or out of date" in page
    assert "decided once" in visible(office.browser().get("/").text)


def test_a_conflict_shows_what_came_between_and_keeps_what_was_filled_in(office: Office) -> None:
    first, second = office.browser(), office.browser(name="Wang Wei")
    page = second.get(address("0412")).text
    decide(first, "0412", action="confirm")
    entries = {"action": "reject", "reason": "income_secure", "note": "sells 3 pigs a month"}
    told = second.post(address("0412"), data=form(page, **entries), headers=SITE)
    assert told.status_code == 409
    assert "Somebody decided in the meantime" in told.text and "Li Na" in visible(told.text.split("To my entries")[0])
    assert "sells 3 pigs a month" in told.text and office.decisions.head().rows == 1
    again = second.post(address("0412"), data=form(told.text, **entries), headers=SITE)
    assert again.status_code == 303
    assert office.decisions.history(MONTH, "k1", "0412")[-1]["supersedes"] == 1
    assert "views differ" in visible(first.get("/?status=differs").text)


def test_a_form_that_lacks_something_is_answered_with_a_sentence_at_its_place(office: Office) -> None:
    for lang, sentence in (("en", "needs a note in your own words"), ("zh", "须填写说明")):
        told = decide(office.browser(lang), "0412", action="override_cause", cause="mixed", reason="several_causes")
        assert told.status_code == 422 and sentence in told.text
        assert 'id="note"' in told.text and 'aria-describedby="error-note"' in told.text
        assert re.search(r'value="override_cause"[^>]* checked', told.text) and re.search(
            r'value="mixed" checked', told.text
        )
    assert office.decisions.head().rows == 0


def test_a_protected_household_is_not_offered_a_subjective_cause_and_a_forged_form_is_refused(office: Office) -> None:
    client = office.browser()
    page = client.get(address("0600")).text
    assert 'name="cause" value="subjective"' not in page and "no able labour" in page
    forged = {"action": "override_cause", "cause": "subjective", "reason": "behaviour_seen", "note": "lazy"}
    told = client.post(address("0600"), data=form(page, **forged), headers=SITE)
    assert told.status_code == 422 and "never put down to a subjective factor" in told.text
    assert office.decisions.head().rows == 0


def test_what_the_record_cannot_rule_out_must_be_ruled_out_on_a_visit(office: Office) -> None:
    entries = {"action": "override_cause", "cause": "subjective", "reason": "behaviour_seen", "note": "asked all of them"}
    told = decide(office.browser(), "0700", **entries)
    assert told.status_code == 422 and "Rule it out on a visit" in told.text
    assert decide(office.browser(), "0700", **entries, ruled_out="sole_carer").status_code == 303
    assert office.decisions.history(MONTH, "k1", "0700")[0]["ruled_out"] == "sole_carer"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1.evil.example"},
        {"origin": ORIGIN, "sec-fetch-site": "cross-site"},
        {"origin": ORIGIN, "sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
    ],
)
def test_a_post_from_another_site_is_refused_even_with_the_right_token(office: Office, headers: dict[str, str]) -> None:
    client = office.browser()
    page = client.get(address("0412")).text
    told = client.post(address("0412"), data=form(page, action="confirm"), headers=headers)
    assert told.status_code == 403 and office.decisions.head().rows == 0


def test_an_old_browser_that_sends_only_the_origin_may_post(office: Office) -> None:
    client = office.browser()
    page = client.get(address("0412")).text
    assert client.post(address("0412"), data=form(page, action="confirm"), headers={"origin": ORIGIN}).status_code == 303


@pytest.mark.parametrize("csrf", ["", "0" * 64, "\u00fc"])
def test_a_form_without_the_sessions_token_is_refused(office: Office, csrf: str) -> None:
    client = office.browser()
    page = client.get(address("0412")).text
    told = client.post(address("0412"), data=form(page, action="confirm", csrf=csrf), headers=SITE)
    assert told.status_code == 403 and office.decisions.head().rows == 0


def test_another_reviewers_token_does_not_do(office: Office) -> None:
    mine, other = office.browser(), office.browser(name="Wang Wei")
    page = mine.get(address("0412")).text
    stolen = token(other.get(address("0412")).text)
    assert stolen != token(page)
    told = mine.post(address("0412"), data=form(page, action="confirm", csrf=stolen), headers=SITE)
    assert told.status_code == 403


def test_only_known_host_names_are_answered(office: Office) -> None:
    client = office.browser()
    for host in ("evil.example", "127.0.0.1.evil.example", "", "localhost.evil"):
        told = client.get("/", headers={"host": host})
        assert told.status_code == 421 and "0412" not in told.text
    assert client.get("/", headers={"host": "127.0.0.1:8000"}).status_code == 200


def test_every_answer_is_kept_from_caches_frames_and_scripts(office: Office) -> None:
    client = office.browser()
    pages = ["/", address("0412"), address("0412") + "/waterfall.svg", "/style.css", "/sign-in", "/nowhere"]
    for path in pages:
        answer = client.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src" not in policy, path
        assert answer.headers["x-frame-options"] == "DENY" and answer.headers["cache-control"] == "no-store", path
        assert answer.headers["x-content-type-options"] == "nosniff", path
        assert not re.search(r"<script|\son\w+=|javascript:", answer.text), path
        assert path.endswith(".svg") or " style=" not in answer.text, path


def test_the_session_goes_with_no_request_from_elsewhere(office: Office) -> None:
    client = office.browser(name=None)
    cookie = client.get("/sign-in").headers["set-cookie"].lower()
    assert cookie.startswith(COOKIE) and "httponly" in cookie and "samesite=strict" in cookie
    before = client.cookies[COOKIE]
    data = {"name": "Li Na", "csrf": token(client.get("/sign-in").text), "next": "//evil.example/"}
    done = client.post("/sign-in", data=data, headers=SITE)
    assert done.headers["location"] == "/" and client.cookies[COOKIE] != before
    done = client.post("/sign-out", data={"csrf": token(client.get("/").text)}, headers=SITE)
    assert client.get("/").headers["location"] == "/sign-in"


def test_a_session_ends_after_twelve_hours(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    client, now = office.browser(), time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 11 * 3600)
    assert client.get("/").status_code == 200
    monkeypatch.setattr(time, "monotonic", lambda: now + 13 * 3600)
    assert client.get("/").status_code == 303


def test_nobody_sees_a_household_before_signing_in(office: Office) -> None:
    client = office.browser(name=None)
    for path in ("/", address("0412"), address("0412") + "/waterfall.svg"):
        told = client.get(path)
        assert told.status_code == 303 and told.headers["location"].startswith("/sign-in")
    page = client.get("/sign-in").text
    told = client.post(address("0412"), data={"csrf": token(page), "action": "confirm"}, headers=SITE)
    assert told.status_code == 303 and office.decisions.head().rows == 0


def test_a_name_from_a_header_counts_only_from_the_proxy_that_was_named(tmp_path: Path) -> None:
    behind = Office(tmp_path / "a", [alert()], user_header="X-Remote-User", proxies=frozenset({"testclient"}))
    client = behind.browser(name=None)
    client.headers = [*client.headers.raw, (b"x-remote-user", "李娜".encode())]
    assert "李娜" in client.get("/").text and "Sign out" not in client.get("/").text
    assert decide(client, "0412", action="confirm").status_code == 303
    [row] = behind.decisions.history(MONTH, "k1", "0412")
    assert (row["reviewer"], row["identity"]) == ("李娜", "proxy")
    twice = [("x-remote-user", "Li Na"), ("x-remote-user", "admin")]
    bare = behind.browser(name=None)
    assert bare.get("/", headers=twice).status_code == 403
    assert bare.get("/").status_code == 403
    direct = Office(tmp_path / "b", [alert()], user_header="X-Remote-User", proxies=frozenset({"10.0.0.1"}))
    assert direct.browser(name=None).get("/", headers={"x-remote-user": "admin"}).status_code == 403


def test_without_a_proxy_the_header_names_nobody(office: Office) -> None:
    told = office.browser(name=None).get("/", headers={"x-remote-user": "admin"})
    assert told.status_code == 303 and told.headers["location"] == "/sign-in"


def test_hostile_names_and_notes_are_shown_as_words(tmp_path: Path) -> None:
    alerts = [alert(text, measures=text, driver_1=text, excuses=text) for text in HOSTILE]
    office = Office(tmp_path, alerts, places=[(text, text) for text in HOSTILE])
    client = office.browser()
    for text in HOSTILE:
        done = decide(client, text, action="defer", reason="not_met", note=text, statement=text)
        assert done.status_code == 303
    for page in [client.get("/").text, *(client.get(address(text)).text for text in HOSTILE)]:
        assert "<script>alert" not in page and "<img src=x" not in page
        assert "\u202e" not in visible(page) and "1522756" not in visible(page)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in client.get("/").text
    assert "{{1234*1234}}" in client.get("/").text


def test_a_long_or_broken_form_is_refused(office: Office) -> None:
    client = office.browser()
    page = client.get(address("0412")).text
    told = client.post(address("0412"), data=form(page, action="confirm", note="x" * 70_000), headers=SITE)
    assert told.status_code == 413
    told = client.post(address("0412"), data=form(page, action="confirm", note="x" * 5_000), headers=SITE)
    assert told.status_code == 422 and office.decisions.head().rows == 0
    broken = {**SITE, "content-type": "multipart/form-data; boundary=x"}
    assert client.post(address("0412"), content=b"--y", headers=broken).status_code in (400, 403)
    assert client.put(address("0412"), headers=SITE).status_code == 405
    assert client.get("/alerts/../../etc/passwd").status_code == 404 and client.get("/docs").status_code == 404


def test_a_page_of_an_older_list_cannot_decide_on_a_newer_one(office: Office) -> None:
    client = office.browser()
    page = client.get(address("0412")).text
    told = client.post(address("0412"), data=form(page, action="confirm", model_version="2"), headers=SITE)
    assert told.status_code == 409 and "scored again" in told.text and office.decisions.head().rows == 0


def test_the_queue_goes_by_risk_or_by_doubt_and_can_be_narrowed(tmp_path: Path) -> None:
    alerts = [
        alert("a", risk=0.9), alert("b", risk=0.5, verdict="undetermined", verdict_confidence=0.0),
        alert("c", risk=0.7, verdict="mixed", verdict_confidence=0.6), alert("d", risk=0.1, county_id="k2"),
    ]  # fmt: skip
    office = Office(tmp_path, alerts)
    client = office.browser()

    def order(query: str) -> list[str]:
        return re.findall(r'<span class="house"><bdi>(\w)</bdi>', client.get(f"/?{query}").text)

    assert order("") == ["a", "c", "b", "d"]
    assert order("order=doubt") == ["b", "d", "c", "a"]  # no cause found, interval over the threshold, little confidence
    assert order("county=k2") == ["d"] and order("township=nowhere") == []
    decide(client, "a", action="confirm")
    assert order("status=open") == ["c", "b", "d"] and order("status=decided") == ["a"]
    page = client.get(address("a") + "?status=open").text
    assert f'rel="next" accesskey="n" href="{address("c")}?status=open"' in page  # it has left the queue, and goes on


def test_many_alerts_come_in_pages(tmp_path: Path) -> None:
    client = Office(tmp_path, [alert(str(n)) for n in range(30)]).browser()
    assert [client.get(f"/?page={n}").text.count('class="row"') for n in (1, 2, 9, "x")] == [25, 5, 5, 25]


@pytest.mark.parametrize(("lang", "other"), [("en", "zh"), ("zh", "en")])
def test_pages_are_in_one_language_and_the_switch_keeps(office: Office, lang: str, other: str) -> None:
    client = office.browser(lang)
    for path in ("/", address("0500"), "/nowhere"):
        page = visible(client.get(path).text.replace("中文", ""))
        assert bool(re.search(r"[\u4e00-\u9fff]", page)) is (lang == "zh"), path
    link = re.search(r'href="([^"]+)" hreflang="(\w+)"', client.get(address("0500")).text)
    assert link[2] == other
    client.get(link[1].replace("&amp;", "&"))
    assert ('<html lang="zh-CN">' in client.get("/").text) is (other == "zh")


def test_a_hidden_proposal_shows_nowhere_before_somebody_has_judged(tmp_path: Path) -> None:
    hidden = next(f"h{n}" for n in range(50) if in_blind_half(MONTH, "k1", f"h{n}"))
    shown = next(f"h{n}" for n in range(50) if not in_blind_half(MONTH, "k1", f"h{n}"))
    office = Office(tmp_path, [SUBJECTIVE | {"household_id": name} for name in (hidden, shown)], blind_half=True)
    client = office.browser()
    assert "clue to a subjective factor" in visible(client.get(address(shown)).text.split('id="decide"')[0])
    page = client.get(address(hidden)).text
    before = visible(page.split('id="decide"')[0])
    for telling in ("clue to a subjective", "work left undone", "land left idle", "one-to-one", "land trust", "peers", "97"):
        assert telling not in before, telling
    assert "subjective" not in before and "training with tracked outcome" in before
    assert "worked 30% of the days" in before  # the fact is shown, that it was judged is not
    drawn = re.sub(r"<style>.*?</style>", "", client.get(address(hidden) + "/waterfall.svg").text, flags=re.S)
    assert "subjective" not in drawn and "work left undone" not in drawn and "not judged" in drawn
    row = re.search(rf"<bdi>{hidden}</bdi>.*?</a>", client.get("/").text, re.S)[0]
    assert "proposal hidden" in row and "subjective" not in row
    assert 'value="confirm"' not in page
    told = decide(client, hidden, action="confirm")
    assert told.status_code == 422
    told = decide(client, hidden, action="judge", cause="objective")
    assert told.status_code == 422 and "subjective factor" not in visible(told.text.split('id="decide"')[0])
    assert decide(client, hidden, action="judge", cause="objective", note="her mother is ill").status_code == 303
    [row] = office.decisions.history(MONTH, "k1", hidden)
    assert (row["action"], row["hidden"], row["proposed"]) == ("override_cause", True, "subjective")
    assert "clue to a subjective factor" in visible(office.browser(name="Wang Wei").get(address(hidden)).text)


def test_a_refused_blind_form_does_not_tell_whether_it_agrees_with_the_proposal(tmp_path: Path) -> None:
    hidden = next(f"h{n}" for n in range(50) if in_blind_half(MONTH, "k1", f"h{n}"))
    office = Office(tmp_path, [SUBJECTIVE | {"household_id": hidden}], blind_half=True)
    client = office.browser()
    answers = {visible(decide(client, hidden, action="judge", cause=c).text.split("<h1>")[0]) for c in VERDICTS}
    assert len(answers) == 1 and "what your judgement rests on" in answers.pop()
    assert office.decisions.head().rows == 0


def test_an_alert_that_is_not_there_is_told(office: Office) -> None:
    assert office.browser().get("/alerts/" + "0" * 20).status_code == 404
    with pytest.raises(NotFound):
        office.worklist.household("0" * 20)


def test_every_cause_has_words_in_both_languages() -> None:
    assert set(CAUSES) == set(VERDICTS)


def test_a_decision_from_the_workbook_is_marked(office: Office) -> None:
    office.decisions.record(decision(source="workbook"))
    assert "from the workbook" in office.browser().get(address("0412")).text
