"""The support-off test: the month scored again as if a year had passed without the policy support of linked projects.

What a household would lose follows from its links (`loss_without_support`): the whole income from a project that does not
bear its cost without the support, the share that is support from one that does, nothing from one that stands still already.
It is taken from the last twelve months' wages, production or property, as the link says, never more than the record holds,
and from income per person; where that part is missing in the record, the whole loss is taken from income per person, which
held it; then features, line and model are those of any month. It asks what would happen; nothing is taken
from anybody, and allowances, pensions and other transfers stay as they are.

The list has two grades. Who **falls by the books** would lie below the line by the income on record alone. Who **could
fall** would come onto the month's list, or has little left above the line for what it would lose: records are late and
partly wrong, and more may go than a link says. The first grade is short, the second long; each begins with the surest.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from riskmodel.alerts.alerts import on_list
from riskmodel.alerts.scoring import score_county
from riskmodel.catalogue.compiler import month_no
from riskmodel.cohort.features import build_features
from riskmodel.engine import engine, literal, rows_of
from riskmodel.evaluation.capacity import list_ends
from riskmodel.model.bundle import RiskModel
from riskmodel.monitoring.counties import side_by_side
from riskmodel.monitoring.known import only
from riskmodel.monitoring.part import Asked
from riskmodel.monitoring.rules import IndustryRules
from riskmodel.register import Register
from riskmodel.register.store import table_file

CAPACITY, LINE, NEAR = "capacity_line", "line", "near_line"
FALLS, COULD = "falls_by_books", "could_fall"
COMPONENT = {"job": "wage_income", "own": "production_income", "dividend": "property_income", "land_rent": "property_income"}
"""The part of income that each link of household and project feeds."""
STILL = ("stopped", "bankrupt")
_STANDING = {"ratio_now", "line_now", "hh_size_now"}


def with_property_income(links: pd.DataFrame, people: pd.DataFrame) -> pd.DataFrame:
    """Links, of which dividends and rents without an amount bring what the household has of property income on record.

    Where a household has one that names an amount, that stands, and the others bring nothing.

    Parameters
    ----------
    links
        `household_id, project_id, link, income` (yuan a year).
    people
        `household_id` and, where the register holds it, `property_income` (yuan a year).

    >>> links = pd.DataFrame({"household_id": ["a", "b"], "project_id": "p", "link": ["land_rent", "dividend"],
    ...                       "income": [0.0, 300.0]})
    >>> people = pd.DataFrame({"household_id": ["a", "b"], "property_income": [1200.0, 900.0]})
    >>> with_property_income(links, people)["income"].tolist()
    [1200.0, 300.0]
    """
    if "property_income" not in people:
        return links
    fed = links["link"].map(COMPONENT).eq("property_income")
    told = links["income"].fillna(0.0).where(fed, 0.0).groupby(links["household_id"]).transform("sum")
    silent = fed & (told <= 0)
    silent &= ~links["household_id"].where(silent).duplicated()
    held = links["household_id"].map(people.set_index("household_id")["property_income"]).astype(float)
    return links.assign(income=links["income"].astype(float).mask(silent, held))


def loss_without_support(links: pd.DataFrame, projects: pd.DataFrame, people: pd.DataFrame) -> pd.DataFrame:
    """What each household would lose a year, by part of income: no more than its record holds.

    Parameters
    ----------
    links
        `household_id, project_id, link, income` (yuan a year).
    projects
        `project_id, status, support_share, margin_without_support`.
    people
        `household_id` and the parts of income (yuan a year) that the register holds.

    Returns
    -------
    pandas.DataFrame
        `household_id` and a column for each part of `COMPONENT`, yuan a year; households that lose nothing are left out.

    >>> projects = pd.DataFrame({"project_id": ["p", "q"], "status": "running", "support_share": [0.4, 0.1],
    ...                          "margin_without_support": [-0.2, 0.1]})
    >>> links = pd.DataFrame({"household_id": ["a", "a"], "project_id": ["p", "q"], "link": ["job", "own"],
    ...                       "income": [9000.0, 2000.0]})
    >>> people = pd.DataFrame({"household_id": ["a"], "wage_income": [8000.0]})
    >>> loss_without_support(links, projects, people).iloc[0].to_dict()
    {'household_id': 'a', 'wage_income': 8000.0, 'production_income': 200.0, 'property_income': 0.0}
    """
    rows = links.merge(projects, on="project_id")
    rests = (rows["margin_without_support"] < 0) & (rows["support_share"] > 0)
    share = np.where(rests, 1.0, rows["support_share"].clip(0, 1).fillna(0.0))
    lost = np.where(rows["status"].isin(STILL), 0.0, share * rows["income"].fillna(0.0))
    parts = list(dict.fromkeys(COMPONENT.values()))
    component = rows["link"].map(COMPONENT)
    found = pd.DataFrame({part: np.where(component == part, lost, 0.0) for part in parts})
    found = found.groupby(rows["household_id"]).sum()
    held = people.set_index("household_id").reindex(index=found.index, columns=parts).astype(float)
    found = found.mask(found > held, held)
    return found[found.sum(axis=1) > 0].reset_index()


def support_off(asked: Asked, losses: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Who would or could fall without the support of linked projects.

    Parameters
    ----------
    losses
        By county, as `loss_without_support` gives them.

    Returns
    -------
    tuple of pandas.DataFrame
        One row per household, the surest first: `grade` (`falls_by_books`, `could_fall`), what it `crosses` (`line`,
        `capacity_line`, else `near_line`), `loss` (yuan a year) and `loss_share` of its income, `ratio_without_support`
        (income per person over the line); and counts by village.
    """
    given = {f"support off in {county}": (county, loss) for county, loss in sorted(losses.items())}
    found = list(side_by_side(asked, _county, given))
    households = pd.concat([one for one, _ in found], ignore_index=True)
    villages = pd.concat([one for _, one in found], ignore_index=True)
    return in_order(households), villages.sort_values([FALLS, COULD], ascending=False, kind="stable", ignore_index=True)


def in_order(households: pd.DataFrame) -> pd.DataFrame:
    """The list with the surest first: by the books the poorest first, then by risk times the share of income that goes.

    >>> rows = pd.DataFrame({"grade": [COULD, COULD, FALLS], "ratio_without_support": [1.1, 1.2, 0.9],
    ...                      "risk_without_support": [0.1, 0.2, np.nan], "loss_share": [0.3, 0.3, 0.1]})
    >>> in_order(rows)["ratio_without_support"].tolist()
    [0.9, 1.2, 1.1]
    """
    at_stake = -households["risk_without_support"] * households["loss_share"].fillna(0.0)
    sureness = at_stake.where(households["grade"].eq(COULD), households["ratio_without_support"])
    order = pd.DataFrame({"grade": households["grade"].ne(FALLS), "sureness": sureness}).sort_values(
        ["grade", "sureness"], kind="stable"
    )
    return households.loc[order.index].reset_index(drop=True)


def _county(asked: Asked, county: str, loss: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    model = asked.model
    assert model is not None
    scores = score_county(asked.register, model, asked.as_of, county)
    known = scores.frame[["household_id", "county_id", "risk"]]
    drawn = _listed(asked, model)
    listed = on_list(scores) if drawn is None else known["household_id"].isin(drawn)
    ends = list_ends(known.join(scores.places), listed, model.run.capacity)
    with without_support(asked, county, loss) as register:
        off = score_county(register, model, asked.as_of, county).frame[["household_id", "risk"]]
        left = _standing(register, model, asked.as_of, county, loss["household_id"])
    off = off.rename(columns={"risk": "risk_without_support"})
    rows = known.assign(listed=listed, list_end=ends).merge(off, "left", on="household_id")
    rows["loss"] = rows["household_id"].map(loss.set_index("household_id").sum(axis=1)).astype(float).fillna(0.0)
    left = left.reindex(rows["household_id"]).astype(float).reset_index(drop=True)
    of_line = rows["loss"] / (left["line_now"] * left["hh_size_now"])
    rows["ratio_without_support"] = left["ratio_now"]
    rows["loss_share"] = of_line / (left["ratio_now"].clip(lower=0) + of_line)
    fallen = rows["risk_without_support"].isna() & (rows["loss"] > 0)
    over = ~rows["listed"] & (rows["risk_without_support"] >= rows["list_end"]) & (rows["loss"] > 0)
    near = lies_near(left["ratio_now"].to_numpy(), of_line.to_numpy(), asked.rules.industries)
    rows["crosses"] = np.select([fallen, over, near], [LINE, CAPACITY, NEAR], "")
    rows["grade"] = np.select([fallen, over | near], [FALLS, COULD], "")
    places = asked.register.read("households", county)
    held = [c for c in ("township_id", "village_id") if c in places]
    rows = rows.merge(places[["household_id", *held]], "left", "household_id")
    rows["would_fall"] = rows["risk_without_support"].where(~fallen, 1.0) - rows["risk"]
    by = ["county_id", *held]
    counts = {grade: ("grade", lambda g, grade=grade: int(g.eq(grade).sum())) for grade in (FALLS, COULD)}
    villages = rows.groupby(by, dropna=False).agg(
        households=("risk", "size"), touched=("loss", lambda lost: int((lost > 0).sum())), loss=("loss", "sum"),
        **counts, more_falls=("would_fall", "sum"),
    ).reset_index().astype({"touched": int})  # fmt: skip
    columns = [
        "household_id", *by, "grade", "crosses", "risk", "risk_without_support", "loss", "loss_share",
        "ratio_without_support", "listed",
    ]  # fmt: skip
    return rows.loc[rows["grade"] != "", columns], villages[villages["touched"] > 0]


def _standing(register: Register, model: RiskModel, as_of: int, county: str, households: pd.Series) -> pd.DataFrame:
    """Income over the line, line and size of these households, as far as the model's catalogue has them."""
    catalogue = only(model.catalogue, _STANDING)
    found = build_features(register, [as_of], catalogue, counties=[county], households=households).frame
    return found.set_index("household_id").reindex(columns=sorted(_STANDING))


def _listed(asked: Asked, model: RiskModel) -> pd.Series | None:
    """The list of the month as it was drawn, where its folder was named and this model scored it."""
    for month in asked.scored:
        if month.number == asked.as_of and month.read("scores", ["model_version"])["model_version"].eq(model.version).all():
            return month.read("alerts", ["household_id"])["household_id"]
    return None


def lies_near(ratio: np.ndarray, share: np.ndarray, rules: IndustryRules) -> np.ndarray:
    """Whether income without support would leave little above the line for what support made of it, and that is no trifle.

    The more a household would lose, the further above the line it still counts: who loses much falls deeper where records
    say too much of its income, or the link too little of what rests on the project.

    Parameters
    ----------
    ratio, share
        Income without support over the line; loss over the line, both for each member; shape (n,).

    >>> lies_near(np.array([1.9, 1.3, 2.6, 1.1]), np.array([0.1, 0.02, 0.1, 0.05]), IndustryRules()).tolist()
    [True, False, False, True]
    """
    return (ratio < rules.near_line + rules.loss_times * share) & (share >= rules.least_loss)


@contextmanager
def without_support(asked: Asked, county: str, loss: pd.DataFrame) -> Iterator[Register]:
    """A passing register of one county whose records never held what the support brought."""
    manifest = copy.deepcopy(asked.register.manifest)
    manifest["about"]["counties"] = [county]
    with tempfile.TemporaryDirectory(prefix="riskmodel-") as folder:
        register = Register(Path(folder), manifest)
        for table in asked.register.tables:
            source = asked.register.file(table, county)
            if source is None:
                continue
            target = register.path / table_file(table, county)
            target.parent.mkdir(parents=True, exist_ok=True)
            if table != "records":
                target.symlink_to(source.resolve())
                continue
            with engine() as connection:
                connection.register("loss", loss)
                connection.execute(f"COPY ({_records(asked, source)}) TO {literal(str(target))} (FORMAT parquet)")
        yield register


def _records(asked: Asked, file: Path) -> str:
    """SQL for the records without the support.

    The join leaves them in their order, on one thread and with fewer losses than records; a sort would hold all at once.
    Out of order they would still be scored right, by the query.
    """
    held = set(asked.register.columns("records"))
    lost = {part: f"coalesce(l.{part}, 0)" for part in loss_parts()}
    taken = {part: f"least({sql}, coalesce(r.{part}, {sql}))" for part, sql in lost.items() if part in held}
    whole = " + ".join([*taken.values(), *(sql for part, sql in lost.items() if part not in held), "0"])
    size = "greatest(r.hh_size, 1)" if "hh_size" in held else "1"
    changed = [f"r.{part} - {sql} AS {part}" for part, sql in taken.items()]
    if "public_post_income" in held and "wage_income" in taken:
        changed.append(f"least(r.public_post_income, r.wage_income - {taken['wage_income']}) AS public_post_income")
    if "welfare" in held:
        changed.append(f"r.welfare - ({whole}) / {size} AS welfare")
    recent = f"{month_no('month')} > {asked.as_of - 12}"
    return (
        f"SELECT r.* REPLACE ({', '.join(changed)}) FROM {rows_of(file)} r "
        f"LEFT JOIN loss l ON l.household_id = r.household_id AND {recent}"
    )


def loss_parts() -> list[str]:
    """Parts of income that a project can feed."""
    return list(dict.fromkeys(COMPONENT.values()))
