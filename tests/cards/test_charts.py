"""Charts: they add up, are well-formed, and say in shape and words what they say in colour."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskmodel.cards.charts import (
    DriverBar,
    LiftBar,
    Series,
    Swarm,
    beeswarm_svg,
    by_length_svg,
    calibration_svg,
    course_svg,
    driver_bars_svg,
    icon_array_svg,
    lift_svg,
    over_time_svg,
    waterfall_steps,
    waterfall_svg,
)
from riskmodel.cards.rendering import Words
from riskmodel.catalogue import load_catalogue

SVG = "{http://www.w3.org/2000/svg}"
LABELS = {d.name: (d.en, d.zh) for d in load_catalogue().drivers}
NATURES = {d.name: d.nature for d in load_catalogue().drivers}
DRIVERS = {"level": 0.92, "illness": 0.61, "work": 0.35, "labour": -0.28, "season": -0.02, "debt": 0.01}
BASE = -2.9


def texts(svg: str) -> list[str]:
    return ["".join(e.itertext()) for e in ET.fromstring(svg.encode()).iter(f"{SVG}text")]


def test_waterfall_ends_at_the_risk() -> None:
    steps = waterfall_steps(BASE, DRIVERS, LABELS, NATURES)
    risk = 1 / (1 + math.exp(-(BASE + sum(DRIVERS.values()))))
    assert steps[-1].end == pytest.approx(BASE + sum(DRIVERS.values()))
    assert texts(waterfall_svg(BASE, DRIVERS, LABELS, NATURES)).count(f"{100 * risk:.0f} of 100") == 1
    assert "5.2 of 100" in texts(waterfall_svg(BASE, DRIVERS, LABELS, NATURES))


@given(
    st.floats(-6, 3),
    st.dictionaries(st.sampled_from(sorted(LABELS)), st.floats(-3, 3), max_size=22),
)
def test_waterfall_adds_up_whatever_the_drivers(base: float, drivers: dict[str, float]) -> None:
    steps = waterfall_steps(base, drivers, LABELS, NATURES)
    ends = [base, *(s.end for s in steps)]
    assert [s.start for s in steps] == ends[:-1]
    assert ends[-1] == pytest.approx(base + sum(drivers.values()), abs=1e-9)
    assert len(steps) <= 9
    named = [abs(s.change) for s in steps if s.nature]
    assert named == sorted(named, reverse=True)
    ET.fromstring(waterfall_svg(base, drivers, LABELS, NATURES, "zh", "x").encode())


def test_waterfall_is_a_file_of_its_own_in_one_language() -> None:
    english, chinese = (waterfall_svg(BASE, DRIVERS, LABELS, NATURES, lang, "0412") for lang in ("en", "zh"))
    assert english.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<svg ')
    assert "Noto Sans CJK SC" in english
    assert "illness" in texts(english) and "患病" not in english
    assert "患病" in texts(chinese) and "illness" not in "".join(texts(chinese))
    root = ET.fromstring(chinese.encode())
    assert root.find(f"{SVG}title").text == "0412"
    assert "患病" in root.find(f"{SVG}desc").text


def test_direction_and_nature_are_told_without_colour() -> None:
    svg = waterfall_svg(BASE, DRIVERS, LABELS, NATURES)
    said = texts(svg)
    assert "▲ +0.61" in said and "▼ −0.28" in said
    assert {"objective", "subjective", "background"} <= set(said)
    assert "subjective: a clue to be verified, never a finding" in said
    root = ET.fromstring(svg.encode())
    falling = [p for p in root.iter(f"{SVG}polygon") if p.get("class") == "falls"]
    assert falling and all(p.get("fill") == "url(#falls-hatch)" for p in falling)


def test_small_drivers_are_one_bar() -> None:
    said = texts(waterfall_svg(BASE, DRIVERS, LABELS, NATURES))
    assert "2 others together" in said
    assert "debt" not in said


def test_waterfall_escapes_and_stays_well_formed() -> None:
    labels = {"level": ("<b>\x00&\u202e", "<script>")}
    svg = waterfall_svg(BASE, {"level": 1.0}, labels, {"level": "background"}, "en", "</title><script>alert(1)</script>")
    assert "<script" not in svg
    assert "<b>&" in texts(svg)


def test_a_long_name_is_cut_in_the_picture_and_whole_in_the_description() -> None:
    long = "贫" * 40
    svg = waterfall_svg(BASE, {"level": 1.0}, {"level": ("x", long)}, {"level": "background"}, "zh")
    assert "贫" * 14 + "…" in texts(svg) and long not in texts(svg)
    assert long in ET.fromstring(svg.encode()).find(f"{SVG}desc").text


def test_a_household_without_drivers_stays_at_the_start() -> None:
    assert texts(waterfall_svg(0.0, {}, LABELS, NATURES)).count("50 of 100") == 2


def test_a_number_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        waterfall_svg(BASE, {"level": math.nan}, LABELS, NATURES)


def test_calibration_puts_a_perfect_point_on_the_diagonal() -> None:
    svg = ET.fromstring(calibration_svg([{"risk": 0.2, "rate": 0.2, "low": 0.15, "high": 0.25, "rows": 50}]))
    point = next(svg.iter("circle"))
    left, bottom = 46, 300
    assert float(point.get("cx")) - left == pytest.approx(bottom - float(point.get("cy")))
    ticks = [t.text for t in svg.iter("text") if t.get("text-anchor") == "end"]
    assert {"0", "30"} <= set(ticks)


def test_icon_array_counts_to_a_hundred() -> None:
    svg = ET.fromstring(icon_array_svg(0.374, Words("a", "b")))
    assert len([e for e in svg if e.get("class") == "yes"]) == 37
    assert len([e for e in svg if e.get("class") == "no"]) == 63


def test_driver_bars_are_in_proportion_and_marked_by_nature() -> None:
    bars = [DriverBar(Words("a", "甲"), "objective", 0.8), DriverBar(Words("b", "乙"), "subjective", 0.4)]
    svg = ET.fromstring(driver_bars_svg(bars))
    wide, narrow = (float(r.get("width")) for r in svg.iter("rect") if r.get("height") == "11")
    assert wide == pytest.approx(2 * narrow)
    assert [t.text for t in svg.iter("text") if t.get("lang") == "zh"][:2] == ["甲", "乙"]
    assert any(r.get("fill") == "url(#subjective-hatch)" for r in svg.iter("rect"))


def test_lift_is_in_proportion_and_chance_stands_at_one() -> None:
    bars = [LiftBar(Words("a", "甲"), 4.0, 3.0, 8.0, True), LiftBar(Words("b", "乙"), 2.0, 1.5, 2.5, False)]
    svg = ET.fromstring(lift_svg(bars))
    model, rule = (float(r.get("width")) for r in svg.iter("rect") if r.get("height") == "11")
    assert model == pytest.approx(2 * rule)
    chance = next(p for p in svg.iter("path") if p.get("class") == "ideal")
    assert chance.get("d").startswith(f"M{4 + model / 4:.1f} ")
    assert [r.get("fill") for r in svg.iter("rect") if r.get("height") == "11"] == [None, "url(#rule-hatch)"]


def test_lines_by_list_length_are_told_apart_without_colour() -> None:
    points = [{"share": s, "precision": 0.5 - s, "recall": 0.2 + s} for s in (0.01, 0.05, 0.2, 0.5)]
    svg = ET.fromstring(by_length_svg(points, 0.05))
    recall, precision = (e for e in svg.iter("polyline"))
    assert recall.get("class") == "line-0" and precision.get("class") == "line-1"
    assert len([c for c in svg.iter("circle") if c.get("class") == "mark-0"]) == len(points) + 1
    assert len([r for r in svg.iter("rect") if r.get("class") == "mark-1"]) == len(points) + 1
    heights = [float(pair.split(",")[1]) for pair in recall.get("points").split()]
    assert heights == sorted(heights, reverse=True), "recall rises with the list"
    assert "走访能力" in "".join(svg.itertext())


def test_a_line_over_time_has_a_gap_where_a_period_is_not_known_and_shows_its_interval() -> None:
    known = {"value": 0.3, "low": 0.25, "high": 0.35}
    lines = [Series(Words("a", "甲"), [known, None, known]), Series(Words("b", "乙"), [known] * 3)]
    svg = ET.fromstring(over_time_svg(["2022-01", "2022-04", "2022-07"], lines, Words("of 100", "每100户")))
    (second,) = svg.iter("polyline")
    assert second.get("class") == "line-1" and len(second.get("points").split()) == 3
    assert len([c for c in svg.iter("circle") if c.get("class") == "mark-0"]) == 2 + 1, "two periods and the legend"
    assert len([p for p in svg.iter("path") if p.get("class") == "whisker"]) == 5
    assert {"2022-01", "2022-04", "2022-07"} <= {t.text for t in svg.iter("text")}


def test_months_that_lie_apart_are_each_a_point_on_a_stem_and_those_that_follow_a_line() -> None:
    apart = ET.fromstring(course_svg([40, None, None, 20, None, None, 30]))
    assert [float(c.get("cx")) for c in apart.iter("circle")] == [3, 60, 117, 117], "the last one is marked once more"
    assert len([p for p in apart.iter("path") if p.get("class") == "stem"]) == 3
    assert not list(apart.iter("polyline"))
    mixed = ET.fromstring(course_svg([40, None, 10, 20, None, 30, 20]))
    assert [len(line.get("points").split()) for line in mixed.iter("polyline")] == [2, 2]
    assert len([p for p in mixed.iter("path") if p.get("class") == "stem"]) == 1


def test_beeswarm_puts_zero_in_the_middle_and_stacks_equal_points() -> None:
    points = [{"log_odds": v, "standing": s} for v, s in ((-1.0, 0.0), (0.0, 0.5), (0.0, 1.0), (1.0, None))]
    svg = ET.fromstring(beeswarm_svg([Swarm(Words("a", "甲"), "objective", points)]))
    dots = [c for c in svg.iter("circle") if c.get("r") == "2.6"]
    assert [c.get("class") for c in dots] == ["shade-0", "shade-2", "shade-4", "unknown"]
    left, middle, again, right = (float(c.get("cx")) for c in dots)
    assert middle == again == pytest.approx((left + right) / 2)
    assert dots[1].get("cy") != dots[2].get("cy")


def test_charts_escape_what_they_are_given() -> None:
    wild = Words("<script>", "</svg>")
    lines = [Series(wild, [{"value": 0.3, "low": None, "high": None}])]
    charts = (
        lift_svg([LiftBar(wild, 1.0, 1.0, 1.0, True)]),
        over_time_svg(["<b>"], lines, wild),
        beeswarm_svg([Swarm(wild, "objective", [{"log_odds": 0.0, "standing": None}])]),
    )
    for svg in charts:
        ET.fromstring(svg)
        assert "<script" not in svg and "<b>" not in svg
