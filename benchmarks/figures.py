"""What benchmarks on simulated counties are asked, and how any of them tells its figures."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def asked_of_counties(about: str, *, world: str, seeds: list[int], households: int) -> argparse.Namespace:
    """World, seeds and households of simulated counties, and the file for the figures, as the command line gives them."""
    arguments = argparse.ArgumentParser(description=about.split("\n")[0])
    arguments.add_argument("--world", default=world, choices=["easy", "hard"])
    arguments.add_argument("--seeds", type=int, nargs="+", default=seeds, help="a county each")
    arguments.add_argument("--households", type=int, default=households, help="of each county")
    arguments.add_argument("--json", type=Path)
    return arguments.parse_args()


def as_json(figures: Mapping[str, Any]) -> str:
    """The figures as JSON; what too few cases leave unknown is null.

    >>> as_json({"share": float("nan"), "by_length": [{"names": 25}]}).split()
    ['{', '"share":', 'null,', '"by_length":', '[', '{', '"names":', '25', '}', ']', '}']
    """
    return json.dumps(_known(figures), indent=1, ensure_ascii=False, allow_nan=False)


def tell(figures: Mapping[str, Any], file: Path | None) -> None:
    """Print the figures, and write them where asked."""
    print(as_json(figures))
    if file is not None:
        file.write_text(as_json(figures), encoding="utf-8")


def _known(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _known(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_known(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
