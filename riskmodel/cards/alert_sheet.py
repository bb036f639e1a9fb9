"""Alert sheets: what a reviewer takes along on a visit, a household on half a page of A4, in Chinese and English.

`sheets_of` takes the facts out of a scored month, `sheets_page` fills the template `templates/sheets.html.j2`. No script,
nothing loaded from elsewhere, no figure drawn by a plotting library: a county of hundreds of alerts takes seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from markupsafe import Markup

from riskmodel.alerts.alerts import settled
from riskmodel.alerts.change import NOT_SCORED, SPLIT, Changes
from riskmodel.alerts.history import ScoredMonth, states, trends
from riskmodel.cards.charts import small_waterfall_svg, trend_svg
from riskmodel.cards.rendering import Language, Words, decimal, of_100, render, shortened
from riskmodel.catalogue import Catalogue
from riskmodel.cohort.conditions import ask, holds, words
from riskmodel.display import plain
from riskmodel.explain.causes import JUDGED, VERDICTS, verdict_words

if TYPE_CHECKING:
    from riskmodel.review.rules import ReviewRules

Level = Literal["county", "township", "village"]
AREAS = {"county": ("county",), "township": ("county", "township"), "village": ("county", "township", "village")}
STATES = {
    "new": Words("new on the list", "新增"),
    "returned": Words("back on the list", "再次列入"),
    "continuing": Words("on the list before", "持续在列"),
    "": Words("no earlier list at hand", "无往期名单"),
}
_MIXED = Words("mixed; its subjective part is only a clue, to be verified", "主客观综合，其中主观因素仅为线索，待核实")
_FACTS, _QUESTIONS, _MEASURES, _PARTS = 4, 4, 3, 3
_LEAST = 0.05
_LONGEST_ID = 80


@dataclass(frozen=True)
class Measured:
    """A suggested measure and who is responsible for it."""

    words: Words
    department: Words


@dataclass(frozen=True)
class Since:
    """What changed since an earlier month: `told` as in `Changes`; all parts, largest first, each with its new facts."""

    as_of: str
    told: str
    before: str
    after: str
    all_parts: tuple[tuple[Words, float, Words | None], ...]

    @property
    def line(self) -> Words:
        """In one line, risks as natural frequencies and parts in log-odds."""
        if self.told == NOT_SCORED:
            return Words(
                f"not scored in {self.as_of}: not at risk or not on record then", f"{self.as_of}未评分：当时无风险或无记录"
            )
        if self.told != SPLIT:
            return Words(
                f"cannot be told: records known in {self.as_of} were rewritten since",
                f"无法说明：{self.as_of}已知的记录此后被改写",
            )
        parts = [(w, signed(v, 1), f) for w, v, f in self.all_parts if abs(v) >= _LEAST][:_PARTS]
        en = "; ".join(f"{w.en}{f': {f.en}' if f else ''} ({v})" for w, v, f in parts) or "nothing of weight"
        zh = "；".join(f"{w.zh}{f'：{f.zh}' if f else ''}（{v}）" for w, v, f in parts) or "无明显变化"
        return Words(
            f"{self.before} of 100 in {self.as_of}, {self.after} now: {en}",
            f"{self.as_of}每100户{self.before}户，现为{self.after}户：{zh}",
        )


@dataclass(frozen=True)
class Sheet:
    """What one half page says. `key` is the county and household as the register writes them; other texts are plain."""

    key: tuple[str, str]
    model_version: str
    household: str
    county: str
    township: str
    village: str
    area: tuple[str, ...]
    rank: int
    as_of: str
    risk: float
    low: float
    high: float
    state: Words
    since: Since | None
    waterfall: Markup
    trend: Markup | None
    facts: list[Words]
    verdict: Words
    judged: bool
    objective_share: float
    subjective_share: float
    signs: list[Words]
    doubts: list[Words]
    questions: list[Words]
    measures: list[Measured]


def sheets_of(
    month: ScoredMonth,
    catalogue: Catalogue,
    earlier: Sequence[ScoredMonth] = (),
    changes: Changes | None = None,
    level: Level = "county",
) -> list[Sheet]:
    """The sheets of a month, by place and rank.

    Parameters
    ----------
    month
        A scored month.
    catalogue
        Words of drivers, facts, questions and measures.
    earlier
        Scored months before it, for the trend and for who is new.
    changes
        From `changes_since`, for all alerts of the month.
    level
        What `area` of a sheet names.
    """
    alerts = month.alerts()
    if alerts.empty:
        return []
    features = month.read("features")
    drivers = _drivers(month, alerts, catalogue)
    held = ask(catalogue.facts, features).fillna(False).to_numpy(bool)
    apply = questions_that_apply(catalogue, features)
    told = [c for c in features if any(f"{{{c}" in f.en + f.zh for f in catalogue.facts)]
    values = features[told].to_dict("records")
    state = states(month, earlier)
    history = trends(month, earlier)
    intervals = month.scores_of(alerts["household_id"].tolist(), ["risk_low", "risk_high"])
    rows = alerts.join(intervals, on="household_id").to_dict("records")
    places = features.reindex(columns=["township_id", "village_id"]).fillna("").astype(str).to_dict("records")
    names = {d.name: (d.en, d.zh) for d in catalogue.drivers}
    natures = {d.name: d.nature for d in catalogue.drivers}
    base = month.about["base_log_odds"]
    found = []
    for i, row in enumerate(rows):
        pushes = drivers.iloc[i].sort_values(ascending=False, kind="stable")
        raising = [name for name, value in pushes.items() if value >= _LEAST]
        facts = [
            Words(words(fact.en, values[i]), words(fact.zh, values[i]))
            for driver in raising
            for number, fact in enumerate(catalogue.facts)
            if fact.driver == driver and held[i, number]
        ]
        place = (str(row["county_id"]), places[i]["township_id"], places[i]["village_id"])
        found.append(
            Sheet(
                key=(place[0], row["household_id"]),
                model_version=str(row["model_version"]),
                household=shortened(row["household_id"], _LONGEST_ID),
                county=shortened(place[0]),
                township=shortened(place[1]),
                village=shortened(place[2]),
                area=place[: len(AREAS[level])],
                rank=int(row["rank"]),
                as_of=row["as_of"],
                risk=row["risk"],
                low=row["risk_low"],
                high=row["risk_high"],
                state=STATES[state[i] if len(state) else ""],
                since=None if changes is None else since_of(changes, i, names),
                waterfall=small_waterfall_svg(base, drivers.iloc[i].to_dict(), names, natures),
                trend=trend_svg(history[row["household_id"]]) if len(history[row["household_id"]]) > 1 else None,
                facts=facts[:_FACTS],
                verdict=_MIXED if row["verdict"] == "mixed" else Words(*verdict_words(row["verdict"])),
                judged=row["verdict"] in JUDGED,
                objective_share=row["objective_share"],
                subjective_share=row["subjective_share"],
                signs=_named(catalogue.signs, row["signs"]),
                doubts=_doubts(catalogue, row, raising, natures, names),
                questions=visit_questions(catalogue, raising, apply[i]),
                measures=_measures(catalogue, row["measures"]),
            )
        )
    return sorted(found, key=lambda s: (s.area, s.rank))


def sheets_page(
    sheets: Sequence[Sheet], month: ScoredMonth, rules: ReviewRules, lang: Language = "zh", past: Words | None = None
) -> str:
    """One self-contained page, two households to a printed A4 page, then how to read them and the reason codes.

    Parameters
    ----------
    sheets
        From `sheets_of`, of one place.
    rules
        What a reviewer may decide.
    lang
        Language in which the page opens; a switch shows the other one.
    past
        Why no sheet says what changed, where none does.
    """
    return render(
        "sheets.html.j2",
        sheets=sheets,
        as_of=month.as_of,
        horizon=month.about.get("horizon_months"),
        version=month.about["model_version"],
        source=month.source or "",
        area=[shortened(part) for part in sheets[0].area],
        actions=[(a, Words(a.en, a.zh), Words(a.help_en, a.help_zh)) for a in rules.actions],
        causes=[Words(*(f"“{words}”" for words in verdict_words(v))) for v in VERDICTS],
        reasons=[(r.name, Words(r.en, r.zh)) for r in rules.offered],
        past=past,
        lang=lang,
    )


def notice_page(month: ScoredMonth, households: Sequence[tuple[str, str]], lang: Language = "zh") -> tuple[str, int]:
    """A public notice of households whose risk people confirmed, and the number of those that it leaves out.

    It says who may be visited, and nothing else: no cause, risk, rank, measure, health or contact data; the order is that
    of places and ids. A household is left out unless an adult is known to live there: children are never listed singly.

    Parameters
    ----------
    month
        A scored month.
    households
        County and household id of each confirmed alert.
    """
    alerts = month.alerts()
    features = month.read("features")
    size, children, able = features.reindex(columns=["hh_size_now", "children_now", "able_now"]).to_numpy(float).T
    with_adult = (size > children) | (np.isnan(children) & (able >= 1))
    confirmed = np.array(
        [key in set(households) for key in zip(alerts["county_id"], alerts["household_id"], strict=True)], bool
    )
    township, village = (features.get(c, pd.Series("", features.index)).fillna("") for c in ("township_id", "village_id"))
    rows = pd.DataFrame(
        {"county": alerts["county_id"], "township": township, "village": village, "household": alerts["household_id"]}
    )
    shown = rows[confirmed & with_adult].astype(str).sort_values(list(rows.columns)).map(plain)
    page = render("notice.html.j2", rows=shown.to_dict("records"), as_of=month.as_of, lang=lang)
    return page, int((confirmed & ~with_adult).sum())


def _drivers(month: ScoredMonth, alerts: pd.DataFrame, catalogue: Catalogue) -> pd.DataFrame:
    """Log-odds per driver; behaviour has a part only where the verdict judges it."""
    drivers = month.read("drivers").drop(columns="household_id").astype(float)
    known = {d.name for d in catalogue.drivers}
    drivers = drivers[[c for c in drivers if c in known]]
    return settled(catalogue, drivers, alerts)


def signed(value: float, digits: int) -> str:
    """A number with its sign.

    >>> signed(0.94, 1), signed(-0.3, 1)
    ('+0.9', '−0.3')
    """
    return f"{'+' if value > 0 else ''}{decimal(value, digits)}"


def since_of(changes: Changes, row: int, names: Mapping[str, tuple[str, str]]) -> Since:
    """What changed for one alert; `names` has the English and Chinese name of each driver."""
    told = changes.frame.iloc[row]
    if told["told"] != SPLIT:
        return Since(changes.since, told["told"], "", "", ())
    parts = [(Words(*names[d]), v, changes.new_facts[row].get(d)) for d, v in changes.facts.iloc[row].items()]
    parts += [
        (Words("another model", "模型更换"), told["model"], None),
        (Words("calibration", "校准调整"), told["calibration"], None),
    ]
    largest = sorted(((w, float(v), Words(*f[0]) if f else None) for w, v, f in parts if v), key=lambda p: -abs(p[1]))
    before, after = (of_100(1 / (1 + np.exp(-told[when]))) for when in ("before", "after"))
    return Since(changes.since, SPLIT, before, after, tuple(largest))


def _doubts(
    catalogue: Catalogue,
    row: Mapping[str, Any],
    raising: Sequence[str],
    natures: Mapping[str, str],
    names: Mapping[str, tuple[str, str]],
) -> list[Words]:
    """Why the verdict may be wrong, what else it may be, and what would change it."""
    found = []
    right = row["verdict_confidence"]
    if right > 0:
        found.append(
            Words(
                f"of 100 simulated cases with this verdict {of_100(right)} had it right; on real cases it is unproven",
                f"模拟案例中每100例此类判断约{of_100(right)}例正确；真实案例尚未验证",
            )
        )
    for part, en, zh in (
        (catalogue.excuses, "known circumstances: ", "已知情形："),
        (catalogue.protected, "protected, never judged: ", "受保护，不作评判："),
    ):
        held = _named(part, row["excuses" if part is catalogue.excuses else "protected"])
        if held:
            found.append(Words(en + "; ".join(w.en for w in held), zh + "、".join(w.zh for w in held)))
    unchecked = _named(catalogue.protected, row["unchecked"])
    if unchecked:
        found.append(
            Words(
                "not on record, to be ruled out: " + "; ".join(w.en for w in unchecked),
                "无记录，须排除：" + "、".join(w.zh for w in unchecked),
            )
        )
    objective = [Words(*names[d]) for d in raising if natures[d] == "objective"][:2]
    if row["verdict"] in JUDGED:
        other = Words("; ".join(w.en for w in objective), "、".join(w.zh for w in objective))
        found.append(
            Words(
                f"objective alternative: {other.en or 'illness or a care duty that nobody recorded'}",
                f"客观解释：{other.zh or '可能有未记录的患病或照料负担'}",
            )
        )
        found.append(
            Words(
                "a recorded illness, care duty or lack of suitable work would change the verdict",
                "如有患病、照料或无合适岗位的记录，判断将改变",
            )
        )
    elif row["verdict"] == "objective":
        found.append(
            Words("a fact that does not hold on the visit would change the verdict", "走访发现事实不符，判断将改变")
        )
    else:
        found.append(
            Words("the record does not tell; a dated fact found on the visit would", "现有记录不足以判断，请走访查明")
        )
    return found


def questions_that_apply(catalogue: Catalogue, features: pd.DataFrame) -> np.ndarray:
    """Whether each question of the catalogue may be put to each household: alerts x questions."""
    asked = [q.when for q in catalogue.questions if q.when is not None]
    answers = iter(answer.fillna(False).to_numpy(bool) for answer in holds(asked, features))
    apply = [np.ones(len(features), bool) if q.when is None else next(answers) for q in catalogue.questions]
    return np.array(apply, bool).reshape(len(apply), len(features)).T


def visit_questions(catalogue: Catalogue, raising: Sequence[str], applies: Sequence[bool]) -> list[Words]:
    """Questions of the drivers that raise the risk: the first of each, strongest driver first, then the second ones.

    Parameters
    ----------
    raising
        Names of drivers, the strongest first.
    applies
        The household's row of `questions_that_apply`.
    """
    by_driver = {
        driver: [q for q, apply in zip(catalogue.questions, applies, strict=True) if q.driver == driver and apply]
        for driver in raising
    }
    rounds = range(max(map(len, by_driver.values()), default=0))
    ordered = [rows[n] for n in rounds for rows in by_driver.values() if n < len(rows)]
    return [Words(q.en, q.zh) for q in ordered[:_QUESTIONS]]


def _measures(catalogue: Catalogue, names: str) -> list[Measured]:
    by_name = {m.name: m for m in catalogue.measures}
    found = [by_name[name] for name in names.split("; ") if name in by_name]
    return [Measured(Words(m.en, m.zh), Words(m.department_en, m.department_zh)) for m in found[:_MEASURES]]


def _named(rows: Sequence[Any], names: str) -> list[Words]:
    """Words of the catalogue for names separated by ", "."""
    by_name = {row.name: Words(row.en, row.zh) for row in rows}
    return [by_name.get(name, Words(name, name)) for name in names.split(", ") if name]
