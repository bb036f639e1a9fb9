"""The catalogue: features, drivers and measures, read and checked."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from string import Formatter

from riskmodel.catalogue.expressions import Expression, NotPure, parse, read_ahead
from riskmodel.catalogue.reading import LINE, Place, check_keys, read_lined
from riskmodel.catalogue.signs import PeerGroup, Sign, VerdictRule, read_peers, read_rule, read_signs
from riskmodel.catalogue.syntax import bound_of, parts_of, tree
from riskmodel.errors import CatalogueError
from riskmodel.fallback import NotCovered
from riskmodel.places import WITHIN
from riskmodel.register.blocked import protected_by_name
from riskmodel.register.contract import Column, Contract, load_contract, meant
from riskmodel.settings import find_config

HOUSEHOLD_COLUMNS = ("household_type", "relocated", "lifted_year", "opted_out")
SEASON_MONTH = "season_month"
AREAS = tuple(WITHIN)
FEATURE_TABLES = ("records", "events", "spells", "assistance", "visits", "villages")
_NAME = re.compile(r"^[a-z][a-z0-9_]*$")
_NAMED = re.compile(r"\{(\w+)\}")
_AGE_OF_A_PERSON = re.compile(r"(^|_)(head_age|birth_year|age_of_head)(_|$)")
_DATED = ("date", "month")


@dataclass(frozen=True)
class Feature:
    """One column of the feature table.

    `kind` is aggregate, derived or context; `stable` gives the household's own usual value.
    """

    name: str
    kind: str
    expression: Expression
    table: str | None
    over: str | None
    empty: float | None
    unit: str
    driver: str
    monotone: int
    stable: Expression | None
    input: bool
    en: str
    zh: str
    place: Place

    @property
    def needs(self) -> frozenset[str]:
        """Columns of its table, or features and household columns, that it reads."""
        return self.expression.columns


@dataclass(frozen=True)
class Driver:
    """What can lie behind a risk. `nature` is objective, subjective or background."""

    name: str
    nature: str
    kind: str | None
    code: str | None
    en: str
    zh: str


@dataclass(frozen=True)
class Condition:
    """A named condition over features, with the words for it."""

    name: str
    when: Expression
    en: str
    zh: str
    driver: str | None = None
    needed: bool = False


@dataclass(frozen=True)
class Measure:
    """A kind of help that answers some drivers; `department` is responsible, "English / 中文"."""

    name: str
    drivers: tuple[str, ...]
    when: Expression | None
    never: Expression | None
    department: str
    en: str
    zh: str

    @property
    def department_en(self) -> str:
        """The department in English."""
        return self.department.partition(" / ")[0].strip()

    @property
    def department_zh(self) -> str:
        """The department in Chinese."""
        return self.department.partition(" / ")[2].strip()


@dataclass(frozen=True)
class Question:
    """What to find out on a visit to a household whose risk a driver raises; `when` asks for more."""

    driver: str
    when: Expression | None
    en: str
    zh: str


@dataclass(frozen=True)
class Catalogue:
    """Everything that `configs/` says about features, drivers and measures."""

    features: tuple[Feature, ...]
    drivers: tuple[Driver, ...]
    facts: tuple[Condition, ...]
    gates: tuple[Condition, ...]
    excuses: tuple[Condition, ...]
    protected: tuple[Condition, ...]
    signs: tuple[Sign, ...]
    peers: PeerGroup
    rule: VerdictRule
    measures: tuple[Measure, ...]
    questions: tuple[Question, ...]
    sources: tuple[tuple[str, str], ...]

    @cached_property
    def by_name(self) -> dict[str, Feature]:
        """Features by name."""
        return {f.name: f for f in self.features}

    @cached_property
    def driver_by_name(self) -> dict[str, Driver]:
        """Drivers by name."""
        return {d.name: d for d in self.drivers}

    @property
    def inputs(self) -> list[str]:
        """Names of the features that models may use."""
        return [f.name for f in self.features if f.input]

    @property
    def sha256(self) -> str:
        """Hash of the definition files as read."""
        return hashlib.sha256(json.dumps(self.sources).encode()).hexdigest()

    def available(self, columns: dict[str, Iterable[str]]) -> tuple[list[Feature], dict[str, list[str]]]:
        """Features that a register with these columns can give, in order of computation, and what others lack.

        Parameters
        ----------
        columns
            For each table of the register, the columns that hold values.

        Returns
        -------
        tuple
            The features, each after those it needs; and for each feature left out, the columns it lacks.
        """
        have = {table: set(names) for table, names in columns.items()}
        areas = {a for a in AREAS if a in have.get("households", set())}
        standing = set(HOUSEHOLD_COLUMNS) & have.get("households", set()) | {SEASON_MONTH}
        done: dict[str, Feature] = {}
        lacking: dict[str, list[str]] = {}
        for feature in in_order(self.features):
            if feature.kind == "aggregate":
                held, contract = have.get(feature.table, set()), load_contract().tables[feature.table]
                missing = columns_behind(feature.needs - {"age"}, held, contract.columns) - held
                if feature.table == "villages" and "village_id" not in areas:
                    missing |= {"village_id"}
                missing = {f"{feature.table}.{c}" for c in missing}
                if feature.table not in have:
                    missing = {feature.table}
            else:
                feature = _of_the_first_held(feature, done.keys() | standing)
                missing = feature.needs - done.keys() - standing
                missing = set().union(*(lacking.get(m, [f"households.{m}"]) for m in missing))
                if feature.kind == "context" and feature.over not in areas:
                    missing |= {f"households.{feature.over}"}
            if missing:
                lacking[feature.name] = sorted(missing)
            else:
                done[feature.name] = feature
        return list(done.values()), lacking


def _of_the_first_held(feature: Feature, held: Container[str]) -> Feature:
    """A feature that is the first one known of several, made of those alone that a register can give."""
    several = _alternatives(feature.expression.text) if feature.kind == "derived" else ()
    there = [name for name in several if name in held]
    if not there or len(there) == len(several):
        return feature
    return replace(feature, expression=parse(f"coalesce({', '.join(there)})"))


@cache
def _alternatives(text: str) -> tuple[str, ...]:
    """Names of which an expression is the first one known; none of an expression that is another, or more than that."""
    try:
        found = tree(text)
    except NotCovered:
        return ()
    alike = found.op == "coalesce" and all(part.op == "column" for part in found.parts)
    return tuple(str(part.value) for part in found.parts) if alike else ()


def columns_behind(needs: Iterable[str], held: Container[str], columns: Mapping[str, Column]) -> set[str]:
    """The columns of a table that expressions over it are read from.

    `x_age` is told by the day `x`, where there is no column of that name: `n_working_age` is a count of its own. A later
    fact needs the day that reveals it too; without it none of these facts counts.

    Parameters
    ----------
    needs
        Columns that expressions name, `age` left out.
    held
        Columns of the register's table.
    columns
        Those of the contract's.
    """
    read = {name if name in held or name in columns else name.removesuffix("_age") for name in needs}
    return read | {day for name in read if name in columns and (day := columns[name].revealed_by)}


def months_back(feature: Feature, step_months: int = 1) -> int:
    """How long before the as-of period the oldest period lies that an aggregate's own bounds of age ask for, in months.

    Features that rest on it look back as far. Of a last value, or of months since something, no bound is told: 0.

    >>> back = {feature.name: months_back(feature) for feature in load_catalogue().features}
    >>> back["records_12m"], back["log_ratio_change_12m"], back["ended_6m"], back["months_since_below"]
    (11, 12, 5, 0)
    """
    if feature.kind != "aggregate":
        return 0
    try:
        whole = tree(feature.expression.text)
    except NotCovered:
        return 0
    columns, found = load_contract().tables[feature.table].columns, [0]
    ages = {name for name in feature.needs - columns.keys() if name == "age" or name.removesuffix("_age") in columns}
    for part in parts_of(whole):
        if part.parts and part.parts[0].value in ages and (bound := bound_of(part.parts[0], part)):
            side, months = bound
            found.append((months - 1) // step_months if side == "before" else -(-months // step_months))
    return max(found) * step_months


def in_order(features: Sequence[Feature]) -> list[Feature]:
    """Features so that each stands after those it needs.

    Raises
    ------
    CatalogueError
        If features need each other in a circle.
    """
    waiting = {f.name: f for f in features}
    ordered: list[Feature] = []
    while waiting:
        ready = [f for f in waiting.values() if f.kind == "aggregate" or not f.needs & waiting.keys()]
        if not ready:
            circle = next(iter(waiting.values()))
            raise circle.place.refuse(f"it depends on itself through {', '.join(sorted(circle.needs & set(waiting)))}")
        ordered += ready
        for feature in ready:
            del waiting[feature.name]
    return ordered


def load_catalogue(
    features: Sequence[str | Path] = ("features.yaml",),
    drivers: str | Path = "drivers.yaml",
    measures: str | Path = "measures.yaml",
    verdict: str | Path = "verdict.yaml",
) -> Catalogue:
    """Read and check the definition files; names without a folder are those shipped in `configs/`.

    Raises
    ------
    CatalogueError
        For the first row that is refused, with file, line, name and reason.

    >>> catalogue = load_catalogue()
    >>> catalogue.by_name["log_ratio_now"].driver
    'level'
    """
    contract = load_contract()
    driver_file = find_config(drivers)
    driver_rows = read_lined(driver_file)
    files = [find_config(f) for f in features]
    feature_rows = [read_lined(file) for file in files]
    measure_file, rule_file = find_config(measures), find_config(verdict)
    measure_rows = read_lined(measure_file)
    shared = _shared_conditions(files, feature_rows)
    for file, content in zip(files, feature_rows, strict=True):
        _write_out(content, file.name, shared)
    read_ahead(_texts([driver_rows, feature_rows, measure_rows]))
    known_drivers = _drivers(driver_rows, driver_file.name)
    names = {d.name for d in known_drivers}

    rows: list[Feature] = []
    for file, content in zip(files, feature_rows, strict=True):
        rows += _features(content, file.name, contract, names)
    _check_together(rows)
    known = {f.name for f in rows} | set(HOUSEHOLD_COLUMNS)
    conditions = {
        part: _conditions(driver_rows, part, driver_file.name, known, names)
        for part in ("facts", "gates", "excuses", "protected")
    }
    return Catalogue(
        features=tuple(rows),
        drivers=tuple(known_drivers),
        measures=tuple(_measures(measure_rows, measure_file.name, known, names)),
        questions=_questions(driver_rows, driver_file.name, known, names),
        signs=read_signs(driver_rows, driver_file.name, known, {d.name: d.nature for d in known_drivers}),
        peers=read_peers(driver_rows, driver_file.name, known),
        rule=read_rule(read_lined(rule_file), rule_file.name),
        sources=tuple((f.name, f.read_text(encoding="utf-8")) for f in (*files, driver_file, measure_file, rule_file)),
        **conditions,
    )


def _shared_conditions(files: Sequence[Path], contents: Sequence[dict]) -> dict[str, str]:
    """The conditions that aggregates and contexts may name, of all files of features together."""
    found: dict[str, Place] = {}
    rows = [(file.name, content.get("conditions") or {}) for file, content in zip(files, contents, strict=True)]
    texts = {name: str(text) for _, conditions in rows for name, text in conditions.items() if name != LINE}
    read_ahead(texts.values())
    for file, conditions in rows:
        for name in (name for name in conditions if name != LINE):
            place = Place(file, conditions[LINE], f"condition {name!r}")
            if not _NAME.match(str(name)):
                raise place.refuse("a name is lower-case letters, digits and _")
            if name in found:
                raise place.refuse(f"the name is taken by {found[name].file}, line {found[name].line}")
            if _parsed(texts[name], place).aggregates:
                raise place.refuse("a condition has no aggregate")
            found[name] = place
    return texts


def _write_out(content: dict, file: str, shared: Mapping[str, str]) -> None:
    """Put the conditions in the place of their names in the aggregates and contexts of a file."""
    for row in content.get("features") or []:
        place = _row_place(row, file, "feature")

        def condition(named: re.Match, place: Place = place) -> str:
            if named[1] not in shared:
                raise place.refuse(f"unknown condition {named[1]!r}{meant(named[1], shared)}")
            return f"({shared[named[1]]})"

        for kind in ("aggregate", "context"):
            if kind in row:
                row[kind] = _NAMED.sub(condition, str(row[kind]))


_EXPRESSIONS = ("aggregate", "derived", "context", "stable", "when", "never", "one_less", "one_able_less")


def _texts(content: object, expression: bool = False) -> Iterator[str]:
    """The texts of all expressions below some content of the files."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _texts(value, expression or key in _EXPRESSIONS)
    elif isinstance(content, list):
        for value in content:
            yield from _texts(value, expression)
    elif expression and isinstance(content, str):
        yield content


def _row_place(row: dict, file: str, what: str) -> Place:
    return Place(file, row.get(LINE, 0), f"{what} {row.get('name', '(without a name)')!r}")


def _parsed(text: object, place: Place) -> Expression:
    try:
        return parse(str(text))
    except NotPure as why:
        raise place.refuse(str(why)) from None


def _drivers(content: dict, file: str) -> list[Driver]:
    found = []
    for name, row in content.get("drivers", {}).items():
        if name == LINE:
            continue
        place = Place(file, row[LINE], f"driver {name!r}")
        check_keys(row, ("nature", "kind", "code", "en", "zh"), ("nature", "en", "zh"), place)
        if row["nature"] not in ("objective", "subjective", "background"):
            raise place.refuse("nature must be objective, subjective or background")
        if (row.get("kind") in ("shock", "structural")) != (row["nature"] == "objective"):
            raise place.refuse("an objective driver, and no other, has kind shock or structural")
        found.append(Driver(name, row["nature"], row.get("kind"), row.get("code"), row["en"], row["zh"]))
    if not found:
        raise CatalogueError(f"{file}: it defines no drivers.")
    return found


_FEATURE_KEYS = (
    [
        "name", "table", "aggregate", "derived", "context", "over", "empty", "unit", "driver", "monotone", "stable", "input",
        "en", "zh",
    ]
)  # fmt: skip


def _features(content: dict, file: str, contract: Contract, drivers: set[str]) -> list[Feature]:
    extra = {table: set(columns) for table, columns in content.get("extra_columns", {}).items() if table != LINE}
    found = []
    for row in content.get("features", []):
        place = _row_place(row, file, "feature")
        check_keys(row, _FEATURE_KEYS, ("name", "unit", "driver", "en", "zh"), place)
        if not _NAME.match(str(row["name"])):
            raise place.refuse("a name is lower-case letters, digits and _")
        kinds = [k for k in ("aggregate", "derived", "context") if k in row]
        if len(kinds) != 1:
            raise place.refuse("give exactly one of aggregate, derived and context")
        kind = kinds[0]
        table = row.get("table", "records") if kind == "aggregate" else None
        expression = _parsed(row[kind], place)
        if kind == "aggregate":
            _check_aggregate(expression, table, contract, extra, place)
        elif "table" in row or "empty" in row:
            raise place.refuse("only an aggregate has a table or an empty value")
        if kind == "derived" and expression.aggregates:
            raise place.refuse("a derived expression has no aggregate")
        if kind == "context" and (expression.bare or not expression.aggregates):
            raise place.refuse("a context expression must be an aggregate")
        if kind == "context" and row.get("over") not in AREAS:
            raise place.refuse(f"over must be one of {', '.join(AREAS)}")
        if row["driver"] not in drivers:
            raise place.refuse(f"unknown driver {row['driver']!r}{meant(row['driver'], drivers)}")
        if row.get("monotone", 0) not in (-1, 0, 1):
            raise place.refuse("monotone must be 1 or -1")
        for word in (row["name"], *expression.columns):
            if protected_by_name(word):
                raise place.refuse(f"{word!r} is a protected attribute: it is for audit, never an input")
            if _AGE_OF_A_PERSON.search(word):
                raise place.refuse(f"{word!r}: age enters only as labour capacity and care burden")
        found.append(
            Feature(
                row["name"],
                kind,
                expression,
                table,
                row.get("over"),
                row.get("empty"),
                row["unit"],
                row["driver"],
                row.get("monotone", 0),
                _parsed(row["stable"], place) if "stable" in row else None,
                row.get("input", True),
                row["en"],
                row["zh"],
                place,
            )  # fmt: skip
        )
    if not found:
        raise CatalogueError(f"{file}: it defines no features.")
    return found


def _check_aggregate(
    expression: Expression, table: str, contract: Contract, extra: dict[str, set[str]], place: Place
) -> None:
    if table not in FEATURE_TABLES:
        raise place.refuse(f"unknown table {table!r}{meant(table, FEATURE_TABLES)}")
    if expression.bare or not expression.aggregates:
        outside = f": {min(expression.bare)} stands outside an aggregate" if expression.bare else ""
        raise place.refuse(f"it is not an aggregate{outside}")
    columns = contract.tables[table].columns
    known = set(columns) | extra.get(table, set()) | {"age"}
    known |= {f"{name}_age" for name, column in columns.items() if column.type in _DATED}
    for name in sorted(expression.columns):
        if name not in known:
            raise place.refuse(f"unknown column {name!r} in {table}{meant(name, known)}")
        if name in columns and columns[name].audit:
            raise place.refuse(f"{name!r} is kept for audit, never an input")


def _check_together(rows: list[Feature]) -> None:
    seen: dict[str, Feature] = {}
    reserved = {*HOUSEHOLD_COLUMNS, SEASON_MONTH, *AREAS, "household_id", "as_of"}
    for row in rows:
        if row.name in reserved:
            raise row.place.refuse("that name is taken by the register")
        if row.name in seen:
            raise row.place.refuse(f"the name is taken by {seen[row.name].place.file}, line {seen[row.name].place.line}")
        seen[row.name] = row
    known = seen.keys() | {*HOUSEHOLD_COLUMNS, SEASON_MONTH}
    for row in rows:
        if row.stable is not None:
            _check_known(row.stable, known, row.place)
        if row.kind != "aggregate":
            _check_known(row.expression, known, row.place)
    in_order(rows)


def _check_known(expression: Expression, known: Iterable[str], place: Place) -> None:
    for name in sorted(expression.columns - set(known)):
        raise place.refuse(f"unknown feature {name!r}{meant(name, known)}")


def _condition(text: object, known: set[str], place: Place) -> Expression:
    expression = _parsed(text, place)
    if expression.aggregates:
        raise place.refuse("a condition has no aggregate")
    _check_known(expression, known, place)
    return expression


def _conditions(content: dict, part: str, file: str, known: set[str], drivers: set[str]) -> tuple[Condition, ...]:
    rows = content.get(part) or ({} if part == "facts" else [])
    if part == "facts":
        for driver in rows:
            if driver != LINE and driver not in drivers:
                raise CatalogueError(f"{file}, line {rows[LINE]}, facts: unknown driver {driver!r}{meant(driver, drivers)}.")
        rows = [
            {**row, "name": f"{driver}_{number}", "driver": driver}
            for driver, facts in rows.items()
            if driver != LINE
            for number, row in enumerate(facts, 1)
        ]
    found = []
    for row in rows:
        place = _row_place(row, file, part.removesuffix("s"))
        check_keys(row, ("name", "when", "driver", "needed", "en", "zh"), ("name", "when", "en", "zh"), place)
        if part == "excuses" and row.get("driver") not in drivers:
            raise place.refuse(f"unknown driver {row.get('driver')!r}{meant(row.get('driver'), drivers)}")
        if part == "facts":
            for words in (row["en"], row["zh"]):
                for _, field, _, _ in Formatter().parse(words):
                    if field is not None and field not in known:
                        raise place.refuse(f"unknown feature {field!r} in the words{meant(field, known)}")
        found.append(
            Condition(
                row["name"],
                _condition(row["when"], known, place),
                row["en"],
                row["zh"],
                row.get("driver"),
                row.get("needed", False),
            )  # fmt: skip
        )
    return tuple(found)


def _measures(content: dict, file: str, known: set[str], drivers: set[str]) -> list[Measure]:
    found = []
    for row in content.get("measures", []):
        place = _row_place(row, file, "measure")
        check_keys(
            row, ("name", "drivers", "when", "never", "department", "en", "zh"),
            ("name", "drivers", "department", "en", "zh"), place,
        )  # fmt: skip
        for driver in row["drivers"]:
            if driver not in drivers:
                raise place.refuse(f"unknown driver {driver!r}{meant(driver, drivers)}")
        english, _, chinese = str(row["department"]).partition(" / ")
        if not english.strip() or not chinese.strip():
            raise place.refuse("department is written in both languages: English / 中文")
        found.append(
            Measure(
                row["name"],
                tuple(row["drivers"]),
                _condition(row["when"], known, place) if "when" in row else None,
                _condition(row["never"], known, place) if "never" in row else None,
                row["department"],
                row["en"],
                row["zh"],
            )  # fmt: skip
        )
    return found


def _questions(content: dict, file: str, known: set[str], drivers: set[str]) -> tuple[Question, ...]:
    found = []
    for driver, rows in content.get("questions", {}).items():
        if driver == LINE:
            continue
        for row in rows:
            place = Place(file, row[LINE], f"question of {driver!r}")
            check_keys(row, ("when", "en", "zh"), ("en", "zh"), place)
            if driver not in drivers:
                raise place.refuse(f"unknown driver {driver!r}{meant(driver, drivers)}")
            when = _condition(row["when"], known, place) if "when" in row else None
            found.append(Question(driver, when, row["en"], row["zh"]))
    return tuple(found)
