"""The census figures that the county starts from."""

from __future__ import annotations

import pytest

from riskmodel.errors import NotFound
from riskmodel.simulation.seeds import census, seeds_folder, share


def test_the_figures_are_read_with_their_population():
    assert census("household_size") == 3.58
    assert share("housing_relocated") == 0.1401
    assert share("housing_relocated", "formerly non-designated counties") == 0.0704


def test_every_column_of_the_file_is_described():
    header = (seeds_folder() / "census_indicators.csv").read_text(encoding="utf-8").splitlines()[0]
    readme = (seeds_folder() / "README.md").read_text(encoding="utf-8")
    for column in header.split(","):
        assert f"`{column}`" in readme


def test_a_figure_that_is_not_there_is_named():
    with pytest.raises(NotFound, match="'moon'"):
        census("moon")
