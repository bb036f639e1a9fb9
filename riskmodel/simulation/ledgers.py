"""The office's other books: households, events, spells, assistance, visits, villages, projects, lines.

Dates within a month, delays and what was never written down are drawn by household and month, as everything
else.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from riskmodel.simulation.dynamics import Course
from riskmodel.simulation.households import County, link_names
from riskmodel.simulation.identifiers import dates, first_days, last_days, later, text, within
from riskmodel.simulation.life import Happening
from riskmodel.simulation.office import CATEGORIES, CHANNELS, MEASURES, REASONS, RISKS
from riskmodel.simulation.recording import Attention, delays
from riskmodel.simulation.streams import Streams
from riskmodel.simulation.villages import STATUSES
from riskmodel.simulation.world import INDUSTRIES, LINES, line_of

_UNITS = {
    "employment": "human resources", "training": "human resources", "public_post": "village committee",
    "industry": "agriculture", "health": "health security", "protection": "civil affairs",
    "housing": "housing", "water": "water", "other_education": "education",
}  # fmt: skip
_AMOUNTS = {
    "employment": 600, "training": 1200, "public_post": 7800, "industry": 3000, "health": 4000,
    "protection": 4000, "housing": 12000, "water": 2500, "other_education": 3000,
}  # fmt: skip
"""Planned amount by measure, yuan [A]."""
_FUNDS = ("central bridging fund", "provincial fund", "county fund", "social donation")
_MONTHS = {"employment": 12, "training": 2, "public_post": 13, "industry": 13, "health": 3, "protection": 13,
           "housing": 3, "water": 2, "other_education": 13}  # fmt: skip


class Ledgers:
    """Writes one table after another from what happened.

    Parameters
    ----------
    ids
        `household`, `village`, `township` by household; `village_of`, `township_of` by village; `county`.
    """

    def __init__(
        self,
        county: County,
        course: Course,
        attention: Attention,
        streams: Streams,
        ids: dict[str, np.ndarray],
    ) -> None:
        self.county, self.course, self.attention, self.streams, self.ids = (
            county,
            course,
            attention,
            streams,
            ids,
        )
        self.recording = county.world.recording
        self.month_zero = county.start - county.burn_in
        self.end = last_days(np.array([county.start + len(course.below) - 1]))[0]

    def households(self) -> pd.DataFrame:
        """One row per household."""
        h = self.county.households
        lifted_year = pd.array(h.lifted_year.astype(np.int16), dtype="Int16")
        lifted_year[~h.lifted] = pd.NA
        return pd.DataFrame(
            {
                "household_id": text(self.ids["household"]),
                "county_id": text(np.full(len(h), self.ids["county"], dtype=object)),
                "township_id": text(self.ids["township"]),
                "village_id": text(self.ids["village"]),
                "household_type": text(np.where(h.lifted, "lifted", "ordinary").astype(object)),
                "lifted_year": lifted_year,
                "relocated": h.relocated,
                "opted_out": h.opted_out,
                "head_sex": text(np.where(h.female_head, "female", "male").astype(object)),
                "head_ethnic_minority": h.minority,
                "remote": h.remote,
            }
        )

    def events(self) -> pd.DataFrame:
        """Shocks of households, and disasters of villages (without a household)."""
        t, who, facts = _joined(self.course.chronicle.events, ("kind", "loss"))
        kind = facts["kind"]
        slot = {name: k for k, name in enumerate(sorted(set(kind)))}
        place = np.array([slot[name] for name in kind], dtype=int)

        def u(process: str) -> np.ndarray:
            spread = self.streams.monthly(process)[t, who].astype(float) + 0.137 * place
            return spread % 1

        illness = kind == "illness"
        remote = np.where(self.county.households.remote[who], self.recording.remote, 1.0)
        unwritten = np.where(
            illness,
            self.attention.hidden_illness[t, who],
            u("event unrecorded") < self.recording.event_unrecorded * remote,
        )
        onset = within(self.month_zero + t, u("event day"))
        delay = np.where(
            illness,
            self.attention.illness_delay[t, who],
            delays(self.recording.event_days, u("event delay")) * remote,
        )
        known = later(onset, delay.astype(int))
        loss = np.array([np.nan if x is None else x for x in facts["loss"]], dtype=float)
        verified = u("event verified") < 0.9
        own = pd.DataFrame(
            {
                "household_id": text(self.ids["household"][who]),
                "village_id": text(np.full(len(who), None, dtype=object)),
                "kind": text(kind),
                "onset_on": dates(onset),
                "known_at": dates(known),
                "loss": np.round(loss, 0),
                "verified": pd.array(verified, dtype="boolean"),
            }
        )[~unwritten & (known <= self.end)]
        return _sorted(pd.concat([own, self._village_disasters()], ignore_index=True),
                       ["household_id", "village_id", "onset_on", "kind"])  # fmt: skip

    def _village_disasters(self) -> pd.DataFrame:
        t, v = np.nonzero(self.county.villages.disaster)
        u = self.streams.places("disaster day", *self.county.villages.disaster.shape)[t, v]
        onset = within(self.month_zero + t, u)
        known = later(onset, (1 + 9 * u).astype(int))
        kept = known <= self.end
        return pd.DataFrame(
            {
                "household_id": text(np.full(len(t), None, dtype=object)),
                "village_id": text(self.ids["village_of"][v]),
                "kind": text(np.full(len(t), "disaster", dtype=object)),
                "onset_on": dates(onset),
                "known_at": dates(known),
                "loss": np.nan,
                "verified": pd.array(np.ones(len(t), bool), dtype="boolean"),
            }
        )[kept]

    def spells(self) -> pd.DataFrame:
        """Monitoring spells; those found before the first recorded month are among them."""
        t, who, facts = _joined(self.course.chronicle.found, ("category", "channel", "risk_1", "risk_2"))
        ended = {}
        out_t, out_who, out = _joined(self.course.chronicle.eliminated, ("since", "helped"))
        for month, household, since, helped in zip(out_t, out_who, out["since"], out["helped"], strict=True):
            ended[household, since] = (month, helped)
        leaves = np.array([ended.get((h, m), (-1, False)) for h, m in zip(who, t, strict=True)], dtype=int)
        leaves = leaves.reshape(-1, 2)
        out_month, helped = leaves[:, 0], leaves[:, 1] > 0
        identified = within(self.month_zero + t, self.streams.monthly("identified day")[t, who])
        known = later(identified, (15 * self.streams.monthly("spell delay")[t, who]).astype(int))
        last = np.maximum(out_month, 0)
        eliminated = within(self.month_zero + last, self.streams.monthly("eliminated day")[last, who])
        risks = np.array([*RISKS, None], dtype=object)
        open_still = out_month < 0
        frame = pd.DataFrame(
            {
                "household_id": text(self.ids["household"][who]),
                "identified_on": dates(identified),
                "known_at": dates(known),
                "category": text(np.array(CATEGORIES, dtype=object)[facts["category"].astype(int)]),
                "risk_1": text(risks[facts["risk_1"].astype(int)]),
                "risk_2": text(risks[facts["risk_2"].astype(int)]),
                "channel": text(np.array(CHANNELS, dtype=object)[facts["channel"].astype(int)]),
                "eliminated_on": dates(eliminated, open_still),
                "elimination_mode": text(np.where(open_still, None, np.where(helped, "assisted", "natural")).astype(object)),
            }
        )
        return _sorted(frame[known <= self.end], ["household_id", "identified_on"])

    def assistance(self) -> pd.DataFrame:
        """Offers, answers, delays, and the money that follows."""
        t, who, facts = _joined(self.course.chronicle.offers, ("measure", "suitable", "accepted", "reason"))
        measure = facts["measure"].astype(int)
        accepted, suitable = facts["accepted"].astype(bool), facts["suitable"].astype(bool)

        def u(process: str) -> np.ndarray:
            return self.streams.monthly(process)[t, who].astype(float)

        names = np.array(MEASURES, dtype=object)[measure]
        offered = within(self.month_zero + t, u("offer day"))
        known = later(offered, delays(0.4 * self.recording.event_days, u("offer delay")))
        answered = later(known, (1 + 18 * u("answer delay")).astype(int))
        started = later(answered, (3 + 30 * u("start delay")).astype(int))
        length = 30 * np.array([_MONTHS[m] for m in MEASURES])[measure]
        dropped = u("given up") < 0.04
        ended = later(started, (length * np.where(dropped, 0.1 + 0.6 * u("given up when"), 1.0)).astype(int))
        planned = np.array([_AMOUNTS[m] for m in MEASURES])[measure] * (0.6 + 0.8 * u("amount"))
        paid_on = later(started, (20 + 100 * u("payment delay")).astype(int))
        paid = planned * np.where(u("paid short") < 0.05, 0.5 + 0.4 * u("paid share"), 1.0)
        silent = pd.array(suitable, dtype="boolean")
        silent[u("fit unknown") < self.recording.field_missing[1]] = pd.NA
        open_answer, refused = answered > self.end, ~accepted
        not_started = refused | (started > self.end)
        not_ended, not_paid = not_started | (ended > self.end), not_started | (paid_on > self.end)
        answer = pd.array(accepted, dtype="boolean")
        answer[open_answer] = pd.NA
        completed = pd.array(~dropped, dtype="boolean")
        completed[not_ended] = pd.NA
        reason = np.array(REASONS, dtype=object)[facts["reason"].astype(int)]
        frame = pd.DataFrame(
            {
                "household_id": text(self.ids["household"][who]),
                "measure": text(names),
                "offered_on": dates(offered),
                "known_at": dates(known),
                "suitable": silent,
                "answered_on": dates(answered, open_answer),
                "accepted": answer,
                "refusal_reason": text(np.where(refused & ~open_answer, reason, None)),
                "started_on": dates(started, not_started),
                "ended_on": dates(ended, not_ended),
                "completed": completed,
                "amount_planned": np.round(planned, 0),
                "paid_on": dates(paid_on, not_paid),
                "amount_paid": np.where(not_paid, np.nan, np.round(paid, 0)),
                "fund_source": text(np.array(_FUNDS, dtype=object)[(len(_FUNDS) * u("fund")).astype(int)]),
                "responsible_unit": text(np.array([_UNITS[m] for m in MEASURES], dtype=object)[measure]),
            }
        )
        return _sorted(frame[known <= self.end], ["household_id", "offered_on", "measure"])

    def visits(self) -> pd.DataFrame:
        """Planned visits, done or not; of one not done, the date is the planned one."""
        t, who = np.nonzero(self.attention.planned)
        months = self.county.burn_in + t
        planned = first_days(self.county.start + t)
        day = self.attention.visit_day[t, who]
        done = ~np.isnat(day)
        visited = np.where(done, day, last_days(self.county.start + t))
        lag = np.where(done, 6 * self.streams.monthly("visit recorded")[months, who], 0)
        known = np.minimum(later(visited.astype("datetime64[D]"), lag.astype(int)), self.end)
        frame = pd.DataFrame(
            {
                "household_id": text(self.ids["household"][who]),
                "visited_on": dates(visited),
                "known_at": dates(known),
                "planned_on": dates(planned),
                "done": pd.array(done, dtype="boolean"),
            }
        )
        return _sorted(frame, ["household_id", "visited_on"])

    def villages(self) -> pd.DataFrame:
        """One row per village and month."""
        villages, burn_in = self.county.villages, self.county.burn_in
        months, n = len(self.course.below), len(villages)
        price = villages.index_of_price(villages.price_noise * villages.price_fall)[burn_in:].T.ravel()
        on_list = np.bincount(self.county.households.village, minlength=n)
        vacancies = np.round(villages.demand[burn_in:] ** 2 * 0.25 * on_list).T.ravel()
        number = np.tile(self.county.start + np.arange(months), n)
        v = np.repeat(np.arange(n), months)
        return pd.DataFrame(
            {
                "village_id": text(self.ids["village_of"][v]),
                "month": dates(first_days(number)),
                "known_at": dates(last_days(number)),
                "minutes_to_county": villages.minutes_to_county[v],
                "clinic_ok": villages.clinic_ok[v],
                "school_ok": villages.school_ok[v],
                "road_ok": villages.road_ok[v],
                "main_industry": text(np.array(INDUSTRIES, dtype=object)[villages.industry[v]]),
                "industry_share": np.round(villages.industry_share[v], 2),
                "price_index": np.round(100 * price, 1),
                "vacancies": vacancies,
            }
        )

    def projects(self) -> pd.DataFrame:
        """One row per village project and month; money over the last twelve months."""
        villages, burn_in = self.county.villages, self.county.burn_in
        v = np.flatnonzero(villages.project_status[0] >= 0)
        activity = np.array([1.0, 0.6, 0.0])[villages.project_status[:, v]]
        year = np.stack([activity[t - 11 : t + 1].mean(0) for t in range(burn_in, len(activity))])
        households = self.county.households
        linked = np.bincount(households.village[households.link >= 0], minlength=len(villages))[v]
        scale = 60_000.0 + 12_000.0 * linked
        revenue = scale * year
        cost = scale * (1 - villages.project_margin[v]) * (0.15 + 0.85 * year)
        support = scale * villages.project_support[v] * (0.3 + 0.7 * year)
        months = len(year)
        number = np.tile(self.county.start + np.arange(months), len(v))
        status = np.array(STATUSES, dtype=object)[villages.project_status[burn_in:, v]]
        return pd.DataFrame(
            {
                "project_id": text(np.repeat(self._project_ids(v), months)),
                "month": dates(first_days(number)),
                "known_at": dates(last_days(number)),
                "village_id": text(np.repeat(self.ids["village_of"][v], months)),
                "industry": text(np.repeat(np.array(INDUSTRIES, dtype=object)[villages.industry[v]], months)),
                "status": text(status.T.ravel()),
                "revenue": np.round(revenue.T.ravel(), 0),
                "cost": np.round(cost.T.ravel(), 0),
                "policy_support": np.round(support.T.ravel(), 0),
                "households_linked": np.repeat(linked, months),
            }
        )

    def household_projects(self) -> pd.DataFrame:
        """Links of households to the project of their village, as they stood at the start."""
        households = self.county.households
        linked = np.flatnonzero(households.link >= 0)
        days = (
            self.county.world.economy.work_days
            * households.diligence
            * self.county.villages.demand[:12].mean(0)[households.village]
        )
        income = np.select(
            [households.link[linked] == 0, households.link[linked] == 2],
            [(12 * households.day_wage * days)[linked], 300 * (households.leased * households.land)[linked]],
            households.dividend[linked],
        )
        known = first_days(np.full(len(linked), self.county.start))
        return pd.DataFrame(
            {
                "household_id": text(self.ids["household"][linked]),
                "project_id": text(self._project_ids(households.village[linked])),
                "known_at": dates(known),
                "link": text(link_names(households.link[linked])),
                "income": np.round(income, 0),
            }
        )

    def lines(self) -> pd.DataFrame:
        """The simulated monitoring line, from January to December of each year."""
        first, last = (self.month_zero // 12, (self.county.start + len(self.course.below) - 1) // 12)
        years = range(min(first, min(LINES)), max(last, max(LINES)) + 1)
        return pd.DataFrame(
            {
                "area": text(np.full(len(years), "*", dtype=object)),
                "valid_from": dates(np.array([f"{y}-01-01" for y in years], dtype="datetime64[D]")),
                "valid_to": dates(np.array([f"{y}-12-31" for y in years], dtype="datetime64[D]")),
                "amount": [line_of(y) for y in years],
                "document": text(np.array([f"simulated, not a published line ({y})" for y in years], dtype=object)),
            }
        )

    def _project_ids(self, village: np.ndarray) -> np.ndarray:
        return np.array([f"P{self.ids['village_of'][v]}" for v in village], dtype=object)


def _joined(happenings: Sequence[Happening], names: Sequence[str]) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Months, households and facts of many happenings, one after the other."""
    if not happenings:
        return np.zeros(0, int), np.zeros(0, int), {name: np.zeros(0, object) for name in names}
    sizes = [len(h.households) for h in happenings]
    t = np.repeat([h.month for h in happenings], sizes)
    who = np.concatenate([h.households for h in happenings])
    facts = {}
    for name in names:
        held = [h.facts[name] for h in happenings]
        alike = all(isinstance(v, np.ndarray) for v in held)
        parts = [v if isinstance(v, np.ndarray) else np.full(k, v, dtype=object) for v, k in zip(held, sizes, strict=True)]
        facts[name] = np.concatenate(parts if alike else [p.astype(object) for p in parts])
    return t, who, facts


def _sorted(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    return frame.sort_values(by, kind="stable", na_position="last", ignore_index=True)
