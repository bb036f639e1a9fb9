"""The review app: a queue, a page per household, and a form; no script, nothing loaded from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException

from riskmodel.cards.charts import icon_array_svg, waterfall_steps, waterfall_svg
from riskmodel.cards.rendering import LANGUAGES, Language, Words, of_100
from riskmodel.errors import Conflict, DatabaseError, NotFound, Refused, UsageError
from riskmodel.review.decisions import KEY, LONGEST_TEXT, Decision, reviewer_name
from riskmodel.review.guard import HEADERS, Guard
from riskmodel.review.pages import changed_query, page
from riskmodel.review.rules import UNSEEN, Fault
from riskmodel.review.standing import STATUSES
from riskmodel.review.worklist import ORDERS, Household, Selection, Worklist

PAGE = 25
JUDGE = "judge"
"""What the form sends instead of confirm or override where the proposed verdict is hidden."""
_LANGUAGE = "riskmodel_lang"
_ENTRIES = ("action", "cause", "reason", "note", "statement")
_WITHIN = re.compile(r"/(alerts/[0-9a-f]{20})?(\?[^\s]*)?")
_STALE = Fault(
    "", "The list was scored again since this page was opened: look at it anew.", "本页打开后名单已重新评分，请重新查看。"
)


async def _read_form(request: Request) -> FormData:
    return await request.form(max_files=0, max_fields=100)


Form = Annotated[FormData, Depends(_read_form)]


def create_app(worklist: Worklist, guard: Guard) -> FastAPI:
    """The app over the alerts of one month.

    Parameters
    ----------
    worklist
        The alerts and the decisions.
    guard
        Host names, the proxy and the sessions.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    decisions = worklist.decisions

    def shown(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """A page in the reader's language, with what every page needs."""
        lang = _language(request)
        session = guard.session(request)
        other = {
            name: f"{request.url.path}?{urlencode(changed_query(request.query_params, lang=name))}" for name in LANGUAGES
        }
        html = page(
            template,
            lang,
            in_language=other if request.method == "GET" else {},
            reviewer=guard.reviewer(request),
            vouched=guard.user_header is not None,
            csrf=guard.csrf(session),
            as_of=worklist.manifest["about"]["as_of"],
            **values,
        )
        response = HTMLResponse(html, status)
        guard.keep(request, response, session)
        if request.query_params.get("lang") in LANGUAGES:
            response.set_cookie(_LANGUAGE, lang, max_age=31_536_000, path="/", httponly=True, samesite="strict")
        return response

    def refused(request: Request, status: int, en: str, zh: str) -> HTMLResponse:
        return shown(request, "refused.html.j2", status, why=Words(en, zh))

    def checked_form(request: Request, form: FormData) -> Response | None:
        """What answers a form that is not ours, or comes from nobody."""
        if not guard.is_ours(request, _text(form, "csrf")):
            return refused(
                request, 403, "This form is not from your session: open the page again.", "表单已失效，请重新打开页面。"
            )
        return None

    def signed_in(request: Request) -> Response | None:
        if guard.reviewer(request):
            return None
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        query = urlencode({"next": here}) if request.method == "GET" and here != "/" else ""
        return RedirectResponse(f"/sign-in{'?' if query else ''}{query}", 303)

    @app.middleware("http")
    async def guarded(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        refusal = guard.refusal(request)
        response = refused(request, *refusal) if refusal else await answer(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    @app.exception_handler(HTTPException)
    async def failed(request: Request, fault: HTTPException) -> Response:
        known = {404: ("There is no such page.", "没有这个页面。"), 405: ("This cannot be done here.", "此处不支持该操作。")}
        return refused(
            request, fault.status_code, *known.get(fault.status_code, ("The form could not be read.", "表单无法读取。"))
        )

    @app.exception_handler(NotFound)
    async def missing(request: Request, fault: NotFound) -> Response:
        return refused(request, 404, "There is no such alert in this month.", "本月名单中没有这一户。")

    @app.exception_handler(DatabaseError)
    async def unreachable(request: Request, fault: DatabaseError) -> Response:
        return refused(
            request, 503, "The decisions cannot be read or written now, and nothing was recorded: tell who runs this app.",
            "目前无法读取或写入审核记录，本次未作任何记录：请联系系统管理员。",
        )  # fmt: skip

    @app.get("/style.css")
    def style(request: Request) -> Response:
        return Response(page("review.css.j2", "en"), media_type="text/css")

    @app.get("/icon.svg")
    def icon(request: Request) -> Response:
        return Response(page("icon.svg.j2", "en"), media_type="image/svg+xml")

    @app.get("/sign-in")
    def ask_name(request: Request) -> Response:
        if guard.user_header:
            return RedirectResponse("/", 303)
        return shown(request, "sign_in.html.j2", next=_within(request.query_params.get("next", "/")), wanting=False)

    @app.post("/sign-in")
    def take_name(request: Request, form: Form) -> Response:
        if (answer := checked_form(request, form)) is not None:
            return answer
        name, after = reviewer_name(_text(form, "name")), _within(_text(form, "next"))
        if guard.user_header or not 2 <= len(name) <= 80:
            return shown(request, "sign_in.html.j2", 422, next=after, wanting=True)
        response = RedirectResponse(after, 303)
        guard.sign_in(request, response, name)
        return response

    @app.post("/sign-out")
    def forget_name(request: Request, form: Form) -> Response:
        if (answer := checked_form(request, form)) is not None:
            return answer
        response = RedirectResponse("/sign-in", 303)
        guard.sign_out(request, response)
        return response

    @app.get("/")
    def queue(request: Request) -> Response:
        if (answer := signed_in(request)) is not None:
            return answer
        chosen = _selection(request)
        frame = worklist.queue(chosen)
        pages = max(1, -(-len(frame) // PAGE))
        number = min(max(_number(request.query_params.get("page")), 1), pages)
        everything = worklist.stand()
        townships = everything.loc[everything["county_id"].eq(chosen.county) | (not chosen.county), "township_id"]
        rows = frame.iloc[(number - 1) * PAGE : number * PAGE].to_dict("records")
        return shown(
            request,
            "queue.html.j2",
            rows=rows,
            leading={row["key"]: worklist.driver_words(row["driver_1"], row["hidden"]) for row in rows},
            found=len(frame),
            chosen=chosen,
            counties=sorted(set(everything["county_id"])),
            townships=sorted(set(townships) - {""}),
            counts={status: int((everything["status"] == status).sum()) for status in STATUSES},
            of=len(everything),
            by_hand=worklist.manifest["about"]["counts"]["by_hand"],
            page=number,
            pages=pages,
            link=lambda **changes: "/?" + urlencode(changed_query(_query(chosen), **changes)),
            query=urlencode(_query(chosen)),
        )

    def household_page(
        request: Request,
        household: Household,
        status: int = 200,
        given: dict[str, Any] | None = None,
        faults: list[Fault] | None = None,
        between: list[dict[str, Any]] | None = None,
    ) -> HTMLResponse:
        history = decisions.history(*(household.alert[name] for name in KEY))
        chosen, lang = _selection(request), _language(request)
        before, after = worklist.beside(chosen, household.key)
        labels, natures = worklist.driver_labels(household.hidden)
        steps = waterfall_steps(household.base, household.drivers, labels, natures, lang)
        risk = float(household.alert["risk"])
        frequency = Words(f"{of_100(risk)} of 100", f"每100户中约{of_100(risk)}户")
        return shown(
            request,
            "household.html.j2",
            status,
            household=household,
            alert=household.alert,
            icons=icon_array_svg(risk, frequency),
            steps=[{"step": s, "width": _width(s.change, steps)} for s in steps],
            rules=decisions.rules,
            history=history,
            between=between or [],
            last=history[-1]["seq"] if history else "",
            given=given or dict.fromkeys(_ENTRIES, "") | {"appeal": "none", "ruled_out": []},
            faults=faults or [],
            recorded=_number(request.query_params.get("recorded")),
            previous=before,
            following=after,
            query=urlencode(_query(chosen)),
            longest=LONGEST_TEXT,
            judge=JUDGE,
            horizon=worklist.manifest["about"].get("horizon_months"),
        )

    @app.get("/alerts/{key}")
    def look(request: Request, key: str) -> Response:
        return signed_in(request) or household_page(request, worklist.household(key))

    @app.get("/alerts/{key}/waterfall.svg")
    def waterfall(request: Request, key: str) -> Response:
        if (answer := signed_in(request)) is not None:
            return answer
        household = worklist.household(key)
        labels, natures = worklist.driver_labels(household.hidden)
        drawn = waterfall_svg(household.base, household.drivers, labels, natures, _language(request))
        policy = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return Response(drawn, media_type="image/svg+xml", headers=policy)

    @app.post("/alerts/{key}")
    def decide(request: Request, key: str, form: Form) -> Response:
        answer = signed_in(request) or checked_form(request, form)
        if answer is not None:
            return answer
        household = worklist.household(key)
        given = _given(form)
        if _text(form, "model_version") != household.alert["model_version"]:
            return household_page(request, household, 409, given, [_STALE])
        seen = _number(_text(form, "supersedes"))
        decision = _decision(household, given, guard.reviewer(request), seen or None)
        decision = replace(decision, identity="proxy" if guard.user_header else "stated")
        try:
            row = decisions.record(decision)
        except Refused as fault:
            return household_page(request, household, 422, given, fault.faults)
        except Conflict as fault:
            return household_page(request, worklist.household(key), 409, given, between=fault.between)
        except UsageError as fault:
            return household_page(
                request, household, 422, given, [Fault("", str(fault), "内容过长或无效，请修改后再提交。")]
            )
        query = urlencode(_query(_selection(request)) | {"recorded": row["seq"]})
        return RedirectResponse(f"/alerts/{key}?{query}", 303)

    return app


def _decision(household: Household, given: dict[str, Any], reviewer: str, supersedes: int | None) -> Decision:
    """The decision that a form holds; where the proposal was hidden, whether it confirms comes out only now."""
    action, cause, reason = given["action"], given["cause"], given["reason"]
    if household.hidden and action == JUDGE:
        action = "confirm" if cause == household.alert["verdict"] else "override_cause"
        reason = UNSEEN
    elif household.hidden and action not in ("reject", "defer"):
        action = ""
    elif action == "confirm":
        cause, reason = household.alert["verdict"], ""
    if action in ("reject", "defer"):
        cause = ""
    return Decision.on(
        household.alert,
        action=action,
        reviewer=reviewer,
        cause=cause,
        reason=reason,
        note=given["note"],
        statement=given["statement"],
        appeal=given["appeal"],
        ruled_out=", ".join(given["ruled_out"]),
        hidden=household.hidden,
        supersedes=supersedes,
        source="app",
    )


def _given(form: FormData) -> dict[str, Any]:
    """What was filled in, to be shown again where it cannot be recorded."""
    found: dict[str, Any] = {name: _text(form, name) for name in _ENTRIES}
    found["appeal"] = _text(form, "appeal") or "none"
    found["ruled_out"] = [value for value in form.getlist("ruled_out") if isinstance(value, str)]
    return found


def _text(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value if isinstance(value, str) else ""


def _selection(request: Request) -> Selection:
    query = request.query_params
    order, status = query.get("order", ORDERS[0]), query.get("status", "")
    return Selection(
        query.get("county", ""),
        query.get("township", ""),
        status if status in STATUSES else "",
        order if order in ORDERS else ORDERS[0],
    )


def _query(chosen: Selection) -> dict[str, str]:
    return {name: value for name, value in chosen._asdict().items() if value and value != ORDERS[0]}


def _language(request: Request) -> Language:
    asked = request.query_params.get("lang") or request.cookies.get(_LANGUAGE)
    if asked in LANGUAGES:
        return "en" if asked == "en" else "zh"
    return "en" if request.headers.get("accept-language", "").lower().startswith("en") else "zh"


def _within(path: str) -> str:
    """An address of this app to go on to; the queue where it is another."""
    return path if _WITHIN.fullmatch(path) else "/"


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else 0


def _width(change: float, steps: list[Any]) -> float:
    """Length of a bar in per cent of the longest."""
    return round(100 * abs(change) / max(abs(s.change) for s in steps), 1)
