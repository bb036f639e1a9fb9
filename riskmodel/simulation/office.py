"""What the office writes down: late, incomplete, sometimes wrong. Source tables with the contract's column names."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from riskmodel.simulation.county import COUNTY, HOUSEHOLDS_PER_VILLAGE, VILLAGES_PER_TOWNSHIP, County
from riskmodel.simulation.life import BURN_IN, Life
from riskmodel.simulation.streams import Streams
from riskmodel.simulation.world import INDUSTRIES, LINES, World

_EVENTS = {
    "illness": "illness", "disability": "disability", "accident": "accident", "death": "death_of_worker",
    "care": "care_duty", "job": "laid_off", "schooling": "schooling_cost",
}  # fmt: skip


def written_down(
    county: County, life: Life, world: World, first_month: pd.Period, streams: Streams
) -> dict[str, pd.DataFrame]:
    """Source tables of the simulated county."""
    months = pd.period_range(first_month, periods=life.last_year("wage").shape[1], freq="M")
    line = np.array([LINES[m.year] for m in months])
    welfare = life.welfare(county.size)
    ids = household_ids(county)
    spells = _spells(ids, welfare < line, months, streams)
    return {
        "records": _records(county, life, world, ids, months, welfare, line, streams),
        "households": _households(county, ids, streams),
        "events": _events(county, life, world, ids, months, streams),
        "spells": spells,
        "assistance": _assistance(county, life, world, ids, months, welfare / line, streams),
        "villages": _villages(county, life, months),
        "visits": _visits(ids, months, streams),
        "lines": pd.DataFrame(
            {
                "area": "*",
                "valid_from": [pd.Timestamp(year, 1, 1) for year in LINES],
                "amount": list(LINES.values()),
                "document": "simulated",
            }
        ),
    }


def household_ids(county: County) -> np.ndarray:
    """Text ids that begin with the county, the village and a number."""
    number = np.arange(len(county)) // county.villages + 1
    return np.array([f"{COUNTY}{v:04d}{k:05d}" for v, k in zip(county.village, number, strict=True)], dtype=object)


def village_ids(county: County) -> np.ndarray:
    """Text ids of the villages."""
    return np.array([f"{COUNTY}{v:04d}" for v in range(county.villages)], dtype=object)


def _households(county: County, ids: np.ndarray, streams: Streams) -> pd.DataFrame:
    n = len(county)
    return pd.DataFrame(
        {
            "household_id": ids,
            "county_id": COUNTY,
            "township_id": [f"{COUNTY}T{v // VILLAGES_PER_TOWNSHIP:02d}" for v in county.village],
            "village_id": village_ids(county)[county.village],
            "household_type": np.where(county.lifted, "lifted", "ordinary"),
            "lifted_year": pd.array(
                np.where(county.lifted, streams.generator("lifted_year").integers(2014, 2021, n), -1), dtype="Int64"
            ),
            "relocated": county.relocated,
            "opted_out": streams.uniform("opted_out", n) < 0.002,
            "head_sex": np.where(county.female_head, "female", "male"),
            "head_ethnic_minority": county.minority,
            "remote": county.remote[county.village],
        }
    ).assign(lifted_year=lambda f: f["lifted_year"].where(county.lifted))


def _records(
    county: County,
    life: Life,
    world: World,
    ids: np.ndarray,
    months: pd.PeriodIndex,
    welfare: np.ndarray,
    line: np.ndarray,
    streams: Streams,
) -> pd.DataFrame:
    n, t = welfare.shape
    now = {k: v[:, BURN_IN:] for k, v in life.states.items()}
    size = np.repeat(county.size[:, None], t, axis=1)

    def steady(values: np.ndarray) -> np.ndarray:
        return np.repeat(values[:, None], t, axis=1)

    noisy = np.exp(0.04 * streams.normal("measured", n, t))
    idle_share = np.where(now["idle"], 0.5 + 0.4 * streams.uniform("idle_land", n, t), 0.05)
    ill = now["ill"] & ~(streams.uniform("hidden_illness", n) < world.unrecorded_illness)[:, None]
    guard = streams.uniform("guarantee", n, t)
    columns = {
        "wage_income": life.last_year("wage") * noisy,
        "production_income": life.last_year("farm") * noisy,
        "production_cost": life.last_year("cost") * noisy,
        "property_income": life.last_year("property"),
        "transfer_income": life.last_year("transfer"),
        "allowance_income": life.last_year("allowance"),
        "claims": life.last_year("claims"),
        "selfpay": life.last_year("selfpay"),
        "schooling_cost": life.last_year("schooling"),
        "debt": steady(county.debt),
        "hh_size": size,
        "n_children": steady(county.children),
        "n_under6": steady(county.under6),
        "n_elderly": steady(county.elderly),
        "n_working_age": steady(county.size - county.children - county.elderly),
        "n_able": now["free"],
        "n_weak_labour": steady(county.weak),
        "n_skilled": np.minimum(steady(county.skilled), now["free"]),
        "n_disabled": steady(county.disabled),
        "n_chronic": steady(county.chronic),
        "n_major_illness": ill.astype(int),
        "n_carers": now["caring"].astype(int) * (now["able"] > 0),
        "n_students": steady(county.children - county.under6),
        "n_higher_students": now["school"].astype(int),
        "schooling_years_max": steady(county.schooling),
        "days_worked": np.round(now["worked"]),
        "days_available": np.ceil(now["available"]),
        "land_mu": steady(np.round(county.land, 1)),
        "land_idle_mu": np.round(steady(county.land) * idle_share, 1).clip(max=steady(np.round(county.land, 1))),
        "food_ok": np.ones((n, t), bool),
        "housing_ok": ~((guard < 0.0004) | (now["drought"] & (guard < 0.004))),
        "water_ok": ~((guard > 0.9996) | (now["drought"] & (guard > 0.997))),
        "medical_ok": np.ones((n, t), bool),
    }
    wrong = streams.uniform("mistaken", n, t) < world.mistaken
    columns["wage_income"] = np.where(wrong, columns["wage_income"] * 1.8, columns["wage_income"])
    for name in ("days_worked", "days_available", "n_able", "land_idle_mu", "selfpay", "n_chronic", "schooling_cost"):
        gone = streams.uniform(f"missing_{name}", n, t) < world.missing_fields
        columns[name] = np.where(gone, np.nan, columns[name].astype(float))
    end = months.to_timestamp("M").normalize().to_numpy()
    late = streams.uniform("late", n, t)
    delay = np.where(late < world.late, np.ceil(90 * late / max(world.late, 1e-9)), 0).astype(int)
    known = np.repeat(end[None, :], n, axis=0) + delay.astype("timedelta64[D]")
    visited = np.repeat(end[None, :], n, axis=0) - (
        streams.generator("visit_age").integers(0, 75, (n, t)).astype("timedelta64[D]")
    )
    frame = pd.DataFrame(
        {
            "household_id": np.repeat(ids, t),
            "month": np.tile(months.to_timestamp().to_numpy(), n),
            "known_at": known.ravel(),
            **{name: values.ravel() for name, values in columns.items()},
            "industry": np.repeat(np.array(INDUSTRIES, dtype=object)[county.industry[county.village]], t),
            "visited_on": visited.ravel(),
            "source": np.where(streams.uniform("source", n, t).ravel() < 0.7, "visit", "department"),
            "income_imputed_share": np.round(0.2 * (streams.uniform("imputed", n, t) < 0.15), 2).ravel(),
        }
    )
    kept = (
        streams.uniform("missing_rows", n, t)
        >= world.missing_rows * np.where(county.remote[county.village], 2, 0.7)[:, None]
    )
    return frame[kept.ravel()].reset_index(drop=True)


def _events(
    county: County, life: Life, world: World, ids: np.ndarray, months: pd.PeriodIndex, streams: Streams
) -> pd.DataFrame:
    parts = []
    first = (months[0] - BURN_IN).to_timestamp()
    for shock, kind in _EVENTS.items():
        who, when = np.nonzero(life.events[shock])
        onset = _days(first, when, streams.uniform(f"day_{shock}", len(county), life.price.shape[1])[who, when])
        slow = world.late_illness if shock == "illness" else world.late
        wait = streams.uniform(f"told_{shock}", len(county), life.price.shape[1])[who, when]
        delay = np.where(wait < slow, 30 + 150 * wait / max(slow, 1e-9), 5 * wait).astype(int)
        unseen = (streams.uniform("hidden_illness", len(county)) < world.unrecorded_illness)[who]
        told = ~unseen if shock == "illness" else np.ones(len(who), bool)
        parts.append(
            pd.DataFrame(
                {
                    "household_id": ids[who],
                    "village_id": None,
                    "kind": kind,
                    "onset_on": onset,
                    "known_at": onset + pd.to_timedelta(delay, unit="D"),
                    "loss": np.nan,
                    "verified": True,
                }
            )[told]
        )
    by_village = life.events["disaster"][: county.villages], life.events["market"][: county.villages]
    for kind, hits in zip(("disaster", "price_fall"), by_village, strict=True):
        who, when = np.nonzero(hits)
        onset = _days(first, when, np.full(len(who), 0.4))
        known = onset + pd.Timedelta(days=3)
        parts.append(
            pd.DataFrame(
                {
                    "household_id": None,
                    "village_id": village_ids(county)[county.village[who]],
                    "kind": kind,
                    "onset_on": onset,
                    "known_at": known,
                    "loss": 800.0 if kind == "disaster" else np.nan,
                    "verified": True,
                }
            )
        )
    last = months[-1].to_timestamp("M").normalize()
    events = pd.concat(parts, ignore_index=True)
    events = events[(events["onset_on"] <= last) & (events["onset_on"] >= months[0].to_timestamp() - pd.Timedelta(days=365))]
    return events.drop_duplicates(["household_id", "village_id", "kind", "onset_on"]).reset_index(drop=True)


def _days(first: pd.Timestamp, month: np.ndarray, share: np.ndarray) -> pd.DatetimeIndex:
    begin = pd.PeriodIndex.from_ordinals(first.to_period("M").ordinal + month, freq="M").to_timestamp()
    return begin + pd.to_timedelta((share * 27).astype(int), unit="D")


def _spells(ids: np.ndarray, below: np.ndarray, months: pd.PeriodIndex, streams: Streams) -> pd.DataFrame:
    """Monitoring: found one to three months after two months below the line, ended after six months above it."""
    n, t = below.shape
    wait = streams.generator("found").integers(1, 4, n)
    open_since = np.full(n, -1)
    bad = np.zeros(n, int)
    good = np.zeros(n, int)
    rows = []
    for month in range(t):
        bad = np.where(below[:, month], bad + 1, 0)
        good = np.where(below[:, month], 0, good + 1)
        for i in np.flatnonzero((open_since < 0) & (bad >= 1 + wait)):
            open_since[i] = month
        for i in np.flatnonzero((open_since >= 0) & (good >= 6)):
            rows.append((ids[i], open_since[i], month))
            open_since[i] = -1
    rows += [(ids[i], open_since[i], -1) for i in np.flatnonzero(open_since >= 0)]
    frame = pd.DataFrame(rows, columns=["household_id", "start", "end"])
    start = months.to_timestamp()[frame["start"].to_numpy(int)] + pd.Timedelta(days=14)
    end = months.to_timestamp()[frame["end"].clip(lower=0).to_numpy(int)] + pd.Timedelta(days=19)
    return pd.DataFrame(
        {
            "household_id": frame["household_id"],
            "identified_on": start,
            "known_at": start,
            "category": "unstable_lifted",
            "channel": "department",
            "eliminated_on": pd.Series(end).where(frame["end"] >= 0),
            "elimination_mode": np.where(frame["end"] >= 0, "assisted", None),
        }
    )


def _assistance(
    county: County,
    life: Life,
    world: World,
    ids: np.ndarray,
    months: pd.PeriodIndex,
    ratio: np.ndarray,
    streams: Streams,
) -> pd.DataFrame:
    """Offers of training and work to households near the line; low effort refuses without a reason."""
    n, t = ratio.shape
    idle, able = life.states["idle"][:, BURN_IN:], life.states["free"][:, BURN_IN:]
    chance = np.where(ratio < 1.4, 0.14, 0.03) + 0.15 * idle
    who, when = np.nonzero((streams.uniform("offer", n, t) < chance) & (able > 0))
    unfit = streams.uniform("unfit", n, t)[who, when] < world.good_refusals
    answer = streams.uniform("answer", n, t)[who, when]
    refused = np.where(idle[who, when], answer < 0.75, np.where(unfit, answer < 0.6, answer < 0.05))
    reason = np.where(
        ~refused,
        None,
        np.where(unfit, "suitability", np.where(idle[who, when] | (answer < 0.01), "none_given", "health")),
    )
    offered = _days(months[0].to_timestamp(), when, streams.uniform("offer_day", n, t)[who, when])
    answered = offered + pd.Timedelta(days=10)
    started = pd.Series(answered + pd.Timedelta(days=15)).where(~refused)
    ended = pd.Series(answered + pd.Timedelta(days=195)).where(~refused)
    kinds = np.array(["training", "employment", "public_post", "industry"], dtype=object)
    measure = kinds[(streams.uniform("measure", n, t)[who, when] * 4).astype(int)]
    last = months[-1].to_timestamp("M").normalize()
    frame = pd.DataFrame(
        {
            "household_id": ids[who],
            "measure": measure,
            "offered_on": offered,
            "known_at": offered + pd.Timedelta(days=2),
            "suitable": ~unfit,
            "answered_on": answered,
            "accepted": ~refused,
            "refusal_reason": reason,
            "started_on": started,
            "ended_on": ended,
            "amount_planned": 2000.0,
        }
    )
    for column in ("started_on", "ended_on"):
        frame[column] = frame[column].where(frame[column] <= last)
    unanswered = frame["answered_on"] > last
    frame["accepted"] = frame["accepted"].astype("boolean").where(~unanswered)
    for column in ("refusal_reason", "answered_on"):
        frame[column] = frame[column].where(~unanswered)
    return frame[frame["offered_on"] <= last].reset_index(drop=True)


def _villages(county: County, life: Life, months: pd.PeriodIndex) -> pd.DataFrame:
    t = len(months)
    v = county.villages
    return pd.DataFrame(
        {
            "village_id": np.repeat(village_ids(county), t),
            "month": np.tile(months.to_timestamp().to_numpy(), v),
            "minutes_to_county": np.repeat(np.round(county.minutes), t),
            "main_industry": np.repeat(np.array(INDUSTRIES, dtype=object)[county.industry], t),
            "price_index": life.price[county.industry, BURN_IN:].ravel().round(3),
            "vacancies": np.repeat(np.where(county.no_work, 2.0, 12.0), t),
            "clinic_ok": True,
        }
    )


def _visits(ids: np.ndarray, months: pd.PeriodIndex, streams: Streams) -> pd.DataFrame:
    n, t = len(ids), len(months)
    who, when = np.nonzero(streams.uniform("visit", n, t) < 0.3)
    day = _days(months[0].to_timestamp(), when, streams.uniform("visit_day", n, t)[who, when])
    return pd.DataFrame({"household_id": ids[who], "visited_on": day, "known_at": day + pd.Timedelta(days=2), "done": True})


def truth_ids(county: County) -> Mapping[str, np.ndarray]:
    """Household ids and true subgroups, for `truth.parquet`."""
    return {
        "household_id": household_ids(county),
        "no_able_labour": county.able == 0,
        "elderly_only": county.elderly == county.size,
        "disabled": county.disabled > 0,
        "remote": county.remote[county.village],
        "minority": county.minority,
    }


__all__ = ["HOUSEHOLDS_PER_VILLAGE", "household_ids", "truth_ids", "village_ids", "written_down"]
