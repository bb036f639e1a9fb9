"""The support-off test: the month scored again as if a year had passed without the policy support of linked projects.

What a household would lose follows from its links (`loss_without_support`): the whole income from a project that does not
bear its cost without the support, the share that is support from one that does, nothing from one that stands still already.
It is taken from the last twelve months' wages, production or property, as the link says, never more than the record holds,
and from income per person; where that part is missing in the record, the whole loss is taken from income per person, which
held it; then features, line and model are those of any month. It asks what would happen; nothing is taken
from anybody, and allowances, pensions and other transfers stay as they are.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from riskmodel.alerts.scoring import room, score_county
from riskmodel.catalogue.compiler import month_no, quoted
from riskmodel.cohort.features import engine
from riskmodel.model.bundle import RiskModel
from riskmodel.monitoring.part import Asked
from riskmodel.monitoring.rules import IndustryRules
from riskmodel.register import Register
from riskmodel.register.store import table_file

CAPACITY, LINE, NEAR = "capacity_line", "line", "near_line"
COMPONENT = {"job": "wage_income", "own": "production_income", "dividend": "property_income", "land_rent": "property_income"}
"""The part of income that each link of household and project feeds."""
STILL = ("stopped", "bankrupt")


def loss_without_support(links: pd.DataFrame, projects: pd.DataFrame) -> pd.DataFrame:
    """What each household would lose a year, by part of income.

    Parameters
    ----------
    links
        `household_id, project_id, link, income` (yuan a year).
    projects
        `project_id, status, support_share, margin_without_support`.

    Returns
    -------
    pandas.DataFrame
        `household_id` and a column for each part of `COMPONENT`, yuan a year; households that lose nothing are left out.

    >>> projects = pd.DataFrame({"project_id": ["p", "q"], "status": "running", "support_share": [0.4, 0.1],
    ...                          "margin_without_support": [-0.2, 0.1]})
    >>> links = pd.DataFrame({"household_id": ["a", "a"], "project_id": ["p", "q"], "link": ["job", "own"],
    ...                       "income": [9000.0, 2000.0]})
    >>> loss_without_support(links, projects).iloc[0].to_dict()
    {'household_id': 'a', 'wage_income': 9000.0, 'production_income': 200.0, 'property_income': 0.0}
    """
    rows = links.merge(projects, on="project_id")
    share = np.where(rows["margin_without_support"] < 0, 1.0, rows["support_share"].clip(0, 1).fillna(0.0))
    lost = np.where(rows["status"].isin(STILL), 0.0, share * rows["income"].fillna(0.0))
    parts = list(dict.fromkeys(COMPONENT.values()))
    component = rows["link"].map(COMPONENT)
    found = pd.DataFrame({part: np.where(component == part, lost, 0.0) for part in parts})
    found = found.groupby(rows["household_id"]).sum()
    return found[found.sum(axis=1) > 0].reset_index()


def support_off(asked: Asked, losses: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Who would cross the line of the list, or the line itself, without the support of linked projects.

    Parameters
    ----------
    losses
        By county, as `loss_without_support` gives them.

    Returns
    -------
    tuple of pandas.DataFrame
        One row per household that crosses (`crosses`: `line`, `capacity_line`, else `near_line`), and the same by village.
    """
    model = asked.model
    assert model is not None

    def one(county: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        asked.progress(f"support off in {county}")
        return _county(asked, model, county, losses[county])

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(one, sorted(losses)))
    households = pd.concat([one for one, _ in found], ignore_index=True)
    villages = pd.concat([one for _, one in found], ignore_index=True)
    return households, villages.sort_values("crossing", ascending=False, kind="stable", ignore_index=True)


def _county(asked: Asked, model: RiskModel, county: str, loss: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    names = ["household_id", "county_id"]
    known = score_county(asked.register, model, asked.as_of, county).frame[[*names, "risk", "rank"]]
    on_list = _listed(asked, model)
    if on_list is None:
        listed = known["rank"] <= room(None, model, county, len(known))
    else:
        listed = known["household_id"].isin(on_list)
    least = known.loc[listed, "risk"].min() if listed.any() else np.inf
    with without_support(asked, county, loss) as register:
        scored = score_county(register, model, asked.as_of, county, capacity=1.0)
    off = scored.frame[["household_id", "risk"]]
    rows = known.assign(listed=listed).merge(off.rename(columns={"risk": "risk_without_support"}), "left", on="household_id")
    rows["loss"] = rows["household_id"].map(loss.set_index("household_id").sum(axis=1)).fillna(0.0)
    fallen = rows["risk_without_support"].isna() & (rows["loss"] > 0)
    over = ~rows["listed"] & (rows["risk_without_support"] >= least) & (rows["loss"] > 0)
    rows["crosses"] = np.select([fallen, over, _near(asked, scored.features, rows)], [LINE, CAPACITY, NEAR], "")
    places = asked.register.read("households", county)
    held = [c for c in ("township_id", "village_id") if c in places]
    rows = rows.merge(places[["household_id", *held]], "left", "household_id")
    rows["would_fall"] = rows["risk_without_support"].where(~fallen, 1.0) - rows["risk"]
    by = ["county_id", *held]
    villages = rows.groupby(by, dropna=False).agg(
        households=("risk", "size"), touched=("loss", lambda lost: int((lost > 0).sum())), loss=("loss", "sum"),
        below_line=("crosses", lambda c: int(c.eq(LINE).sum())),
        over_capacity=("crosses", lambda c: int(c.eq(CAPACITY).sum())),
        near_line=("crosses", lambda c: int(c.eq(NEAR).sum())), more_falls=("would_fall", "sum"),
    ).reset_index()  # fmt: skip
    villages["crossing"] = villages[["below_line", "over_capacity", "near_line"]].sum(axis=1)
    villages = villages[villages["touched"] > 0]
    order = rows["crosses"].map({LINE: 0, CAPACITY: 1, NEAR: 2})
    crossing = rows.assign(order=order).dropna(subset=["order"])
    crossing = crossing.sort_values(["order", "risk_without_support"], ascending=[True, False], kind="stable")
    columns = ["household_id", *by, "crosses", "risk", "risk_without_support", "loss", "listed"]
    return crossing[columns].reset_index(drop=True), villages


def _listed(asked: Asked, model: RiskModel) -> pd.Series | None:
    """The list of the month as it was drawn, where its folder was named and this model scored it."""
    for month in asked.scored:
        if month.as_of == asked.as_of and month.read("scores", ["model_version"])["model_version"].eq(model.version).all():
            return month.read("alerts", ["household_id"])["household_id"]
    return None


def _near(asked: Asked, features: pd.DataFrame, rows: pd.DataFrame) -> pd.Series:
    if not {"ratio_now", "line_now", "hh_size_now"} <= set(features):
        return pd.Series(False, index=rows.index)
    now = features.set_index("household_id")[["ratio_now", "line_now", "hh_size_now"]].reindex(rows["household_id"])
    share = rows["loss"].to_numpy() / (now["line_now"] * now["hh_size_now"]).to_numpy(float)
    return pd.Series(lies_near(now["ratio_now"].to_numpy(float), share, asked.rules.industries), index=rows.index)


def lies_near(ratio: np.ndarray, share: np.ndarray, rules: IndustryRules) -> np.ndarray:
    """Whether income without support would lie close above the line, and support makes more than a trifle of it.

    The more a household would lose, the further above the line it still counts as close: records are late and partly wrong,
    and who loses much falls deeper where they say too much.

    Parameters
    ----------
    ratio, share
        Income without support over the line; loss over the line, both for each member; shape (n,).

    >>> lies_near(np.array([1.75, 1.75, 2.1, 1.2]), np.array([0.1, 0.02, 0.5, 0.1]), IndustryRules()).tolist()
    [True, False, True, True]
    """
    return (ratio < rules.near_line + np.clip(share, 0, 1)) & (share >= rules.least_loss)


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
                connection.execute(f"COPY ({_records(asked, source)}) TO {quoted(target)} (FORMAT parquet)")
        yield register


def _records(asked: Asked, file: Path) -> str:
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
    order = ", ".join(f"r.{c}" for c in ("household_id", "month", "known_at") if c in held)
    recent = f"{month_no('month')} > {asked.as_of - 12}"
    return (
        f"SELECT r.* REPLACE ({', '.join(changed)}) FROM read_parquet({quoted(file)}) r "
        f"LEFT JOIN loss l ON l.household_id = r.household_id AND {recent} ORDER BY {order}"
    )


def loss_parts() -> list[str]:
    """Parts of income that a project can feed."""
    return list(dict.fromkeys(COMPONENT.values()))
