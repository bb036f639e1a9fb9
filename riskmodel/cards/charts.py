"""Charts as SVG, drawn by templates from geometry computed here.

Charts go into a page in both languages, whose style sheet shows the chosen one; `waterfall_svg` is a file of its own in
one language. Colours (after Okabe and Ito 2008) never carry a meaning alone: direction has an arrow, nature a shape and a
name.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from markupsafe import Markup

from riskmodel.cards.rendering import LANGUAGES, Language, Words, decimal, of_100, render
from riskmodel.cards.wording import NATURES
from riskmodel.display import plain

_Point = TypeVar("_Point")
_ENDS = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1)
_TICKS_BY_RANK = (0, 1, 0.5, 0.1, 0.01, 0.2, 0.05, 0.02, 0.3, 0.4, 0.6, 0.8, 0.005, 0.001)
_TICK_GAP = 24
_RISKS = (
    0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95,
    0.98, 0.99, 0.995, 0.998, 0.999,
)  # fmt: skip
_BARS, _SMALL_BARS = 8, 6
_SMALL = 0.05
_SHADES = 5
_STEPS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_LABEL = 30


def calibration_svg(bins: Sequence[Mapping[str, float]]) -> Markup:
    """Observed against predicted risk with intervals and a diagonal.

    Both axes are square roots: most risks are small, and the diagonal stays straight.

    Parameters
    ----------
    bins
        `risk`, `rate`, `low`, `high` and `rows` of each bin.
    """
    left, top, side = 46, 10, 290
    highest = max((max(b["risk"], b["high"]) for b in bins), default=1.0)
    end = next(x for x in _ENDS if x >= min(highest, 1))

    def at(share: float) -> float:
        return round(side * math.sqrt(min(max(share, 0), end) / end), 1)

    chosen: list[float] = []
    for tick in (end, *_TICKS_BY_RANK):
        if tick <= end and all(abs(at(tick) - at(other)) >= _TICK_GAP for other in chosen):
            chosen.append(tick)
    ticks = [{"at": at(tick), "text": f"{100 * tick:g}"} for tick in chosen]
    points = [{"x": at(b["risk"]), "y": at(b["rate"]), "low": at(b["low"]), "high": at(b["high"]), "of": b} for b in bins]
    return _inline("calibration", left=left, top=top, side=side, ticks=ticks, points=points)


@dataclass(frozen=True)
class DriverBar:
    """One bar: what it is called, its nature (objective, subjective, background) and its length."""

    words: Words
    nature: str
    value: float


def driver_bars_svg(bars: Sequence[DriverBar]) -> Markup:
    """Bars from the longest down; nature is marked by fill, shape and name."""
    longest = max((b.value for b in bars), default=1.0) or 1.0
    rows = [
        {"y": 36 * i, "bar": b, "width": round(270 * b.value / longest, 1), "value": decimal(b.value, 2)}
        for i, b in enumerate(bars)
    ]
    return _inline("driver_bars", rows=rows, natures=NATURES, height=36 * len(bars))


def icon_array_svg(share: float, title: Words) -> Markup:
    """A hundred households, ten in a row; those of the share are filled squares, the others rings."""
    return _inline("icon_array", filled=min(max(round(100 * share), 0), 100), title=title)


@dataclass(frozen=True)
class LiftBar:
    """One model: its name, its lift with interval, and whether it is the registered one."""

    words: Words
    value: float
    low: float
    high: float
    registered: bool


def lift_svg(bars: Sequence[LiftBar]) -> Markup:
    """How many times as many of those listed fall as of those drawn by chance, model by model; chance is a line at 1."""
    left, width, row = 4, 320, 36
    longest = max((b.high for b in bars), default=1.0)

    def x(lift: float) -> float:
        return round(left + width * lift / max(longest, 1.0), 1)

    rows = [
        {"y": row * i, "bar": b, "to": x(b.value), "low": x(b.low), "high": x(b.high), "value": decimal(b.value, 1)}
        for i, b in enumerate(bars)
    ]
    return _inline("lift", rows=rows, left=left, chance=x(1), height=row * len(bars))


def by_length_svg(points: Sequence[Mapping[str, float]], capacity: float | None) -> Markup:
    """Precision and recall by the length of the list, with a line at the office's capacity.

    Parameters
    ----------
    points
        `share` of those at risk that is listed, `precision` and `recall`.
    capacity
        Share of those at risk that the office can visit.
    """
    left, top, width, height = 36, 10, 300, 200
    longest = max(p["share"] for p in points)

    def x(share: float) -> float:
        return round(left + width * math.sqrt(min(share, longest) / longest), 1)

    def y(share: float) -> float:
        return round(top + height * (1 - share), 1)

    lines = [
        {"name": name, "at": [(x(p["share"]), y(p[name])) for p in points if p[name] is not None]}
        for name in ("recall", "precision")
    ]
    ticks: list[dict[str, Any]] = []
    for p in points:
        if not ticks or x(p["share"]) - ticks[-1]["x"] >= _TICK_GAP:
            ticks.append({"x": x(p["share"]), "text": f"{100 * p['share']:g}"})
    marked = x(capacity) if capacity is not None else None
    return _inline("by_length", lines=lines, ticks=ticks, marked=marked, left=left, top=top, width=width, height=height)


@dataclass(frozen=True)
class Series:
    """A line over periods: its name, and a figure with `value`, `low`, `high` for each period, or None."""

    words: Words
    figures: Sequence[Mapping[str, float | None] | None]


def over_time_svg(periods: Sequence[str], series: Sequence[Series], scale: Words) -> Markup:
    """Up to three lines of shares over periods, told apart by mark and dash, with their intervals.

    A line joins periods that follow each other; where a figure is missing there is a gap.

    Parameters
    ----------
    periods
        Labels below the axis, first to last.
    series
        Lines.
    scale
        What the axis counts.
    """
    left, top, width, height = 36, 10, 300, 180
    known = [[f for f in s.figures if f is not None and f["value"] is not None] for s in series]
    highest = max((f["high"] or f["value"] for line in known for f in line), default=1.0)
    end = next(e for e in _ENDS if e >= min(highest, 1))
    step = width / max(len(periods), 1)

    def y(share: float) -> float:
        return round(top + height * (1 - min(share, end) / end), 1)

    lines = []
    for k, one in enumerate(series):
        aside = 7 * (k - (len(series) - 1) / 2)
        points = [
            None
            if f is None or f["value"] is None
            else {
                "x": round(left + step * (i + 0.5) + aside, 1),
                "y": y(f["value"]),
                "low": y(f["low"]) if f["low"] is not None else None,
                "high": y(f["high"]) if f["high"] is not None else None,
            }
            for i, f in enumerate(one.figures)
        ]
        lines.append({"words": one.words, "runs": _runs(points)})
    every = max(1, math.ceil((7 * max(map(len, periods), default=1) + 3) / step))
    labels = [{"x": round(left + step * (i + 0.5), 1), "text": p} for i, p in enumerate(periods) if i % every == 0]
    ticks = [{"y": y(end * part / 4), "text": f"{25 * end * part:g}"} for part in range(5)]
    return _inline(
        "over_time", lines=lines, labels=labels, ticks=ticks, scale=scale, left=left, top=top, width=width, height=height
    )


@dataclass(frozen=True)
class ShareBar:
    """One bar of shares: its name, the share and, where it is an estimate, its interval."""

    words: Words
    share: float
    low: float | None = None
    high: float | None = None


def share_bars_svg(bars: Sequence[ShareBar], title: Words) -> Markup:
    """Shares as bars out of 100, all on one scale from nothing, each with its interval where it has one."""
    left, width, row = 4, 280, 36
    highest = max((b.high or b.share for b in bars), default=1.0)
    end = next(e for e in _ENDS if e >= min(highest, 1))

    def x(share: float) -> float:
        return round(left + width * min(share, end) / end, 1)

    rows = []
    for i, b in enumerate(bars):
        ends = None if b.low is None or b.high is None else (x(b.low), x(b.high))
        value = of_100(b.share) if ends is None else f"{of_100(b.share)} ({of_100(b.low)}–{of_100(b.high)})"
        rows.append({"y": row * i, "words": b.words, "to": x(b.share), "ends": ends, "value": value})
    return _inline("share_bars", rows=rows, left=left, height=row * len(bars), title=title)


def course_svg(values: Sequence[float | None], tall: bool = False) -> Markup:
    """A figure over periods, from nothing up: a small line where periods follow each other, its last point marked.

    A gap is left where a value is missing; a value with a gap on both sides is a point on a stem.
    """
    width, height, room = (132, 66, 6) if tall else (120, 22, 3)
    known = [v for v in values if v is not None]
    highest = max(known, default=1.0) or 1.0
    step = (width - 2 * room) / max(len(values) - 1, 1)
    points = [
        None
        if value is None
        else (round(room + step * i, 1), round(height - room - (height - 2 * room) * value / highest, 1))
        for i, value in enumerate(values)
    ]
    runs = _runs(points)
    return _inline("course", runs=runs, last=runs[-1][-1] if runs else None, width=width, height=height, room=room)


@dataclass(frozen=True)
class Swarm:
    """One driver of a beeswarm: its name, its nature and its points with `log_odds` and `standing`."""

    words: Words
    nature: str
    points: Sequence[Mapping[str, float | None]]


def beeswarm_svg(swarms: Sequence[Swarm]) -> Markup:
    """How far each driver moves the score of whom: a point stands for a group of households, darker where they stand high.

    Points that would overlap are stacked.
    """
    left, width, row, radius = 8, 340, 50, 2.6
    ends = [abs(p["log_odds"]) for s in swarms for p in s.points if p["log_odds"] is not None]
    longest = max(ends, default=1.0) or 1.0

    def x(log_odds: float) -> float:
        return round(left + width * (log_odds + longest) / (2 * longest), 1)

    rows = []
    for i, swarm in enumerate(swarms):
        stacks: dict[int, int] = {}
        dots = []
        for p in swarm.points:
            at = x(p["log_odds"])
            column = round((at - left) / (2 * radius))
            level = stacks[column] = stacks.get(column, -1) + 1
            lift = (level + 1) // 2 * 2 * radius * (-1 if level % 2 else 1)
            shade = None if p["standing"] is None else min(int(p["standing"] * _SHADES), _SHADES - 1)
            dots.append({"x": at, "y": round(row * i + 33 + max(-16, min(16, lift)), 1), "shade": shade})
        rows.append({"swarm": swarm, "y": row * i, "dots": dots})
    step = next((s for s in _STEPS if longest / s <= 3), _STEPS[-1])
    ticks = [{"x": x(k * step), "text": decimal(k * step, 1)} for k in range(-3, 4) if abs(k * step) <= longest]
    return _inline(
        "beeswarm", rows=rows, ticks=ticks, zero=x(0), left=left, width=width, radius=radius, shades=range(_SHADES),
        height=row * len(swarms), natures=NATURES,
    )  # fmt: skip


@dataclass(frozen=True)
class _Step:
    """A bar of the waterfall, from one log-odds to the next."""

    label: str
    nature: str
    start: float
    change: float

    @property
    def end(self) -> float:
        return self.start + self.change


def waterfall_svg(
    base: float,
    drivers: Mapping[str, float],
    labels: Mapping[str, tuple[str, str]],
    natures: Mapping[str, str],
    lang: Language = "en",
    title: str = "",
) -> str:
    """A household's risk as steps from the base, one per driver, largest first: a standalone SVG file.

    Steps are log-odds, which add up; the axis is marked in risk per 100. Steps that are small or beyond the
    eighth are drawn as one.

    Parameters
    ----------
    base
        Log-odds at which the steps start.
    drivers
        Log-odds of each driver; `base` and their sum are the log-odds of the household's risk.
    labels
        English and Chinese name of each driver.
    natures
        objective, subjective or background for each driver.
    lang
        Language of the picture.
    title
        What stands above it, such as the household's number and the month.

    Raises
    ------
    ValueError
        If a number is not finite.
    """
    if not all(map(math.isfinite, (base, *drivers.values()))):
        raise ValueError("a waterfall needs finite log-odds.")
    steps = waterfall_steps(base, drivers, labels, natures, lang)
    end = steps[-1].end if steps else base
    left, width, row = 210, 380, 40
    ends = [base, *(s.end for s in steps)]
    low, high = min(ends), max(ends)
    room = max(0.08 * (high - low), 0.25)
    low, high = low - room, high + room

    def x(log_odds: float) -> float:
        return round(left + width * (log_odds - low) / (high - low), 1)

    ticks: list[dict[str, Any]] = []
    for risk in _RISKS:
        place = x(_log_odds(risk))
        if left <= place <= left + width and (not ticks or place - ticks[-1]["x"] >= 1.5 * _TICK_GAP):
            ticks.append({"x": place, "text": f"{100 * risk:g}"})
    bars = [
        {
            "y": row * (i + 1),
            "from": x(s.start),
            "to": x(s.end),
            "rises": s.change >= 0,
            "shape": _arrow(x(s.start), x(s.end), row * (i + 1) + 9, 22),
            "label": _short(s.label),
            "full_label": s.label,
            "nature": s.nature,
            "value": f"{'+' if s.change >= 0 else ''}{decimal(s.change, 2)}",
        }
        for i, s in enumerate(steps)
    ]
    return render(
        "charts/waterfall.svg.j2",
        langs=(lang,),
        title=plain(title),
        bars=bars,
        ticks=ticks,
        natures=NATURES,
        seen=[n for n in NATURES if any(s.nature == n for s in steps)],
        start={"x": x(base), "risk": of_100(_risk(base))},
        end={"x": x(end), "risk": of_100(_risk(end)), "y": row * (len(steps) + 1)},
        left=left,
        width=width,
        row=row,
    )


def small_waterfall_svg(
    base: float, drivers: Mapping[str, float], labels: Mapping[str, tuple[str, str]], natures: Mapping[str, str]
) -> Markup:
    """The waterfall of one household for a page in both languages, at most seven bars; nature by fill and mark.

    The page around it defines the fills `fill-objective`, `fill-subjective` and `fill-background` (`sheet.html.j2`).
    """
    steps, chinese = (waterfall_steps(base, drivers, labels, natures, lang, _SMALL_BARS) for lang in LANGUAGES)
    ends = [base, *(s.end for s in steps)]
    low, high = min(ends), max(ends)
    room = max(0.05 * (high - low), 0.1)
    left, width, row = 154, 80, 15

    def x(log_odds: float) -> float:
        return round(left + width * (log_odds - low + room) / (high - low + 2 * room), 1)

    bars = [
        {
            "y": row * (i + 1),
            "from": x(s.start),
            "to": x(s.end),
            "shape": _arrow(x(s.start), x(s.end), row * (i + 1) + 3, 9),
            "label": {"en": _short(s.label, 25), "zh": _short(z.label, 25)},
            "nature": s.nature,
            "value": f"{'▲ +' if s.change >= 0 else '▼ '}{decimal(s.change, 2)}",
        }
        for i, (s, z) in enumerate(zip(steps, chinese, strict=True))
    ]
    start, end = ({"x": x(at), "risk": of_100(_risk(at))} for at in (base, ends[-1]))
    return _inline("small_waterfall", bars=bars, natures=NATURES, start=start, end=end, row=row, right=left + width)


def trend_svg(points: Sequence[Any]) -> Markup:
    """A household's risk over the scored months as a small line; a ring is another version of the model.

    Parameters
    ----------
    points
        `as_of`, `risk` and `same_model` of each month, first to last.
    """
    left, width, top, height = 8, 200, 6, 22
    highest = max(max(p.risk for p in points), 0.05)
    step = width / max(len(points) - 1, 1)
    dots = [
        {"x": round(left + step * i, 1), "y": round(top + height * (1 - p.risk / highest), 1), "same": p.same_model}
        for i, p in enumerate(points)
    ]
    words = {"first": points[0].as_of, "last": points[-1].as_of}
    risks = {"from": of_100(points[0].risk), "to": of_100(points[-1].risk)}
    return _inline("trend", dots=dots, foot=top + height, left=left, width=width, **words, risks=risks)


def waterfall_steps(
    base: float,
    drivers: Mapping[str, float],
    labels: Mapping[str, tuple[str, str]],
    natures: Mapping[str, str],
    lang: Language = "en",
    most: int = _BARS,
) -> list[_Step]:
    """Steps of a waterfall: the `most` largest drivers, then the others as one; each starts where the last ended."""
    number = LANGUAGES.index(lang)
    ordered = sorted(drivers.items(), key=lambda item: (-abs(item[1]), item[0]))
    large = [(name, value) for i, (name, value) in enumerate(ordered) if i < most and abs(value) >= _SMALL]
    rest = ordered[len(large) :]
    changes = [(plain(labels.get(name, (name, name))[number]), natures.get(name, ""), value) for name, value in large]
    others = sum(value for _, value in rest)
    if any(value for _, value in rest):
        words = Words(f"{len(rest)} others together", f"其余{len(rest)}项合计")
        changes.append((words[number], "", others))
    steps: list[_Step] = []
    for label, nature, change in changes:
        steps.append(_Step(label, nature, steps[-1].end if steps else base, change))
    return steps


def _runs(points: Sequence[_Point | None]) -> list[list[_Point]]:
    """The points that follow each other, parted where one is missing.

    >>> _runs([1, 2, None, None, 3])
    [[1, 2], [3]]
    """
    runs: list[list[_Point]] = [[]]
    for point in points:
        if point is None:
            runs.append([])
        else:
            runs[-1].append(point)
    return [run for run in runs if run]


def _inline(name: str, **values: object) -> Markup:
    return Markup(render(f"charts/{name}.svg.j2", langs=LANGUAGES, **values))


def _arrow(start: float, end: float, y: float, height: float) -> str:
    """Points of a bar that ends in a tip; a short one is all tip."""
    tip = math.copysign(min(9.0, abs(end - start)), end - start)
    neck = round(end - tip, 1)
    middle = y + height / 2
    return f"{start},{y} {neck},{y} {end},{middle} {neck},{y + height} {start},{y + height}"


def _short(label: str, room: int = _LABEL) -> str:
    """A label cut to the room that it has; a wide character takes the room of two."""
    for i, c in enumerate(label):
        room -= 2 if unicodedata.east_asian_width(c) in "WF" else 1
        if room < 0:
            return label[: i - 1] + "…"
    return label


def _risk(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))


def _log_odds(risk: float) -> float:
    return math.log(risk / (1 - risk))
