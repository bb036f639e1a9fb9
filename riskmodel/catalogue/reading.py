"""Reading definition files so that every row knows its line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from riskmodel.errors import CatalogueError
from riskmodel.register.contract import SAFE_LOADER, meant
from riskmodel.settings import WrittenOnce, read_config

LINE = "__line__"


@dataclass(frozen=True)
class Place:
    """Where a row stands: the file, the line and the name of the row."""

    file: str
    line: int
    row: str

    def refuse(self, why: str) -> CatalogueError:
        """The error to raise for this row."""
        return CatalogueError(f"{self.file}, line {self.line}, {self.row}: {why}.")


class _LinedLoader(WrittenOnce, SAFE_LOADER):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        mapping = super().construct_mapping(node, deep=deep)
        mapping[LINE] = node.start_mark.line + 1
        return mapping


def read_lined(path: Path) -> dict:
    """Content of a YAML file; each mapping carries its line under `LINE`.

    Raises
    ------
    CatalogueError
        If the file is missing or is not YAML.
    """
    try:
        content = yaml.load(read_config(path), _LinedLoader)
    except FileNotFoundError:
        raise CatalogueError(f"{path.name}: no such file.") from None
    except yaml.YAMLError as fault:
        mark = getattr(fault, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise CatalogueError(f"{path.name}{line}: {getattr(fault, 'problem', None) or fault}.") from None
    if not isinstance(content, dict):
        raise CatalogueError(f"{path.name}: it must be a mapping.")
    return content


def check_keys(row: dict, allowed: Iterable[str], required: Iterable[str], place: Place) -> None:
    """Refuse a row with a key that nobody reads, or without one that is needed."""
    allowed = list(allowed)
    for key in row:
        if key != LINE and key not in allowed:
            raise place.refuse(f"unknown key {key!r}{meant(key, allowed)}")
    for key in required:
        if row.get(key) in (None, ""):
            raise place.refuse(f"{key} is missing")
