"""Results as tables for the terminal: what the card tells a committee, told to whoever ran the command."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from riskmodel.cards.wording import FEWEST_FALLS, GROUPS, MEASURES, METRICS, MODELS, SITUATIONS

Figure = Mapping[str, float | None]
_MOST_RULES = 5
_BY_HELP = ("roc_auc", "precision", "recall", "rate_error")


@dataclass(frozen=True)
class Sheet:
    """A table: a title, the heads of its columns, and its rows as text."""

    title: str
    columns: list[str]
    rows: list[list[str]]


def choice_sheets(choice: Mapping[str, Any]) -> list[Sheet]:
    """How a model was chosen: the candidates, and what every rule picks and would have cost on the next period."""
    if "candidates" not in choice:
        return []
    candidates = [
        [MODELS[row["model"]].en, *(_plain(row[part], 4) for part in ("value", "behind", "standard_error"))]
        for row in choice["candidates"]
    ]
    rules = [
        [row["rule"], MODELS[choice["rules"][row["rule"]]].en, _plain(row["mean"], 4), _plain(row["worst"], 4)]
        for row in choice["regrets"]
    ]
    metric = METRICS[choice["metric"]].name.en
    return [
        Sheet("candidates", ["model", metric, "behind the best", "standard error"], candidates),
        Sheet("rules of choice", ["rule", "picks", "mean regret on the next period", "worst"], rules),
    ]


def assessment_sheets(found: Mapping[str, Any]) -> Iterator[Sheet]:
    """All parts of an assessment (`riskmodel.assessment.assess`) that the register could give, one table each."""
    lists = found["lists"]
    figures = ("precision", "recall", "lift", "false_alerts_per_1000")
    yield Sheet(
        "lists at capacity",
        ["", "fell, of those listed", "found, of those who fell", "lift", "false alerts per 1,000"],
        [
            [name, *(_plain(lists[key][f], 3 if f in figures[:2] else 1) for f in figures)]
            for key, name in (("listed", "as drawn"), ("worst", "every tie lost"), ("best", "every tie won"))
        ]
        + [["interval", *(_ends(lists["intervals"][f], 3 if f in figures[:2] else 1) for f in figures)]],
    )
    yield Sheet(
        "shortest lists that find a share of the falls",
        ["share of falls", "households per list", "share of those at risk"],
        [
            [_percent(row["recall"]), f"{row['length']:,} ({_ends(_of(row, 'length'), 0)})", _percent(row["share"])]
            for row in found["minimum_list"]
        ],
    )
    if len(found["churn"]) > 1:
        yield Sheet(
            "alerts from list to list",
            ["as of", "listed", "new", "continuing", "returned", "joined since the last list"],
            [
                [row["as_of"], *(f"{row[part]:,}" for part in ("listed", "new", "continuing", "returned")),
                 _percent(row["turnover"])]
                for row in found["churn"]
            ],
        )  # fmt: skip
    yield Sheet(
        "net benefit of visiting all above a threshold",
        ["threshold", "visited", "net benefit", "gain over all or none"],
        [
            [
                _percent(row["threshold"]),
                _percent(row["listed"]),
                *(_plain(row[part], 4) for part in ("net_benefit", "gain")),
            ]
            for row in found["decision"]
        ],
    )
    if "none" not in found["welfare"]:
        yield Sheet(
            "welfare of the budget",
            ["against", "gain of the list as a multiple"],
            [
                ["the poorest now", _ranged(found["welfare"]["welfare_of_perfect"])],
                ["an equal split", _ranged(found["welfare"]["welfare_of_universal"])],
            ],
        )
    if "none" not in found["intervals"]:
        yield Sheet(
            "what the three actions reach",
            ["households", "number", "on the list for certain", "visit to verify", "left"],
            [
                [row["group"].replace("_", " "), f"{row['rows']:,}", *(_percent(row[a]) for a in ("list", "visit", "leave"))]
                for row in found["intervals"]["actions"]
            ],
        )
    yield from _fairness_sheets(found["fairness"])
    if "none" not in found["helped"]:
        yield Sheet(
            "by help before the outcome",
            ["households", *(METRICS[m].name.en if m in METRICS else m.replace("_", " ") for m in _BY_HELP)],
            [
                [GROUPS[group].en, *(_ranged(figures.get(m)) for m in _BY_HELP)]
                for group, figures in found["helped"]["results"].items()
            ],
        )
    yield from _miss_sheets(found["misses"])


def _fairness_sheets(found: Mapping[str, Any]) -> Iterator[Sheet]:
    if "none" in found:
        return
    cells = {(row["column"], row["group"], row["measure"]): row for row in found["table"] if row["estimable"]}
    measures = [m for m in MEASURES if any(key[2] == m for key in cells)]
    yield Sheet(
        "groups, at the list (too small to judge: left out)",
        ["group", *(MEASURES[m].en for m in measures)],
        [
            [
                _group(column, group),
                *(_ranged(cells.get((column, group, m)), 2) for m in measures),
            ]
            for column, group in dict.fromkeys(key[:2] for key in cells)
        ],
    )
    if found["over_time"]:
        yield Sheet(
            "groups over time: the highest figure over the lowest",
            ["as of", "compared", "measure", "highest", "lowest", "ratio"],
            [
                [row["as_of"], _word(GROUPS, row["column"]), MEASURES[row["measure"]].en, _word(GROUPS, row["highest"]),
                 _word(GROUPS, row["lowest"]), _ranged({**row, "value": row["ratio"]}, 2)]
                for row in found["over_time"]
            ],
        )  # fmt: skip


def _miss_sheets(found: Mapping[str, Any]) -> Iterator[Sheet]:
    yield Sheet(
        "where falls are found and missed",
        ["situation", "falls", "found", "mean risk", "rate"],
        [
            [
                f"{_word(SITUATIONS, row['aspect'])}: {_word(SITUATIONS, row['group'])}",
                f"{row['events']:,}",
                f"{_percent(row['caught_share'])} ({_percent(row['caught_low'])}-{_percent(row['caught_high'])})",
                _percent(row["risk"]),
                _percent(row["rate"]),
            ]
            for row in found["situations"]
            if row["events"] >= FEWEST_FALLS
        ],
    )
    if found["rules"]:
        yield Sheet(
            "rules of misses, by a small tree",
            ["falls with", "number", "missed"],
            [
                [row["rule"], f"{row['events']:,}", f"{row['missed']:,} ({_percent(row['missed_share'])})"]
                for row in found["rules"][:_MOST_RULES]
            ],
        )


def leak_lines(findings: Sequence[Mapping[str, Any]]) -> list[str]:
    """How many leak gates found nothing, and what the others found."""
    if not findings:
        return []
    open_ = [f for f in findings if f["verdict"] != "pass"]
    quiet = {f["gate"] for f in findings} - {f["gate"] for f in open_}
    accepted = {f["accepted"]: f" Accepted: {f['accepted']}" for f in open_ if f["accepted"]}
    return [
        f"Leak gates: {len(quiet)} found nothing.",
        *(f"warning: {f['en']}{accepted.get(f['accepted'], '')}" for f in open_),
    ]


def _group(column: str, group: str) -> str:
    return _word(GROUPS, group) if column == "all" else f"{_word(GROUPS, column)}: {_word(GROUPS, group)}"


def _word(words: Mapping[str, Any], name: str | None) -> str:
    return "-" if name is None else words[name].en if name in words else name


def _ranged(figure: Figure | None, decimals: int = 3) -> str:
    if figure is None or figure["value"] is None:
        return "-"
    value = f"{figure['value']:.{decimals}f}"
    if figure["low"] is None or figure["high"] is None:
        return value
    return f"{value}\n{figure['low']:.{decimals}f}-{figure['high']:.{decimals}f}"


def _of(row: Mapping[str, Any], column: str) -> Figure:
    return {"value": row[column], "low": row[f"{column}_low"], "high": row[f"{column}_high"]}


def _ends(figure: Figure, decimals: int) -> str:
    return f"{_plain(figure['low'], decimals)}-{_plain(figure['high'], decimals)}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}%"


def _plain(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"
