"""Charts: they add up, are well-formed, and say in shape and words what they say in colour."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskmodel.cards.charts import (
    DriverBar,
    calibration_svg,
    driver_bars_svg,
    icon_array_svg,
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
