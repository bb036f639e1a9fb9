"""The office's monthly records: late, carried forward, missing and mistaken where the world says so.

A household is refreshed by a visit (everything) or by data comparison between departments (money, health,
labour; everything in an easy world). Between refreshes the last known values are carried forward, errors
included. All of it is drawn by household and month, more often wrong in remote villages, and never looks at
behaviour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from riskmodel.simulation.dynamics import GUARANTEES, Course
from riskmodel.simulation.households import County
from riskmodel.simulation.identifiers import dates, first_days, last_days, later, text, within
from riskmodel.simulation.streams import Streams
from riskmodel.simulation.world import INDUSTRIES

_MONEY = (
    "wage", "production", "property", "transfer", "production_cost", "claims", "selfpay", "schooling_cost",
)  # fmt: skip
_OF_AGE = (
    "under6", "children", "elderly", "working_age", "students", "higher_students", "weak", "no_labour",
)  # fmt: skip
_PARTS = {"public_post": "wage", "allowance": "transfer"}
_SEEN_ON_VISITS = (
    "production", "production_cost", "property", "schooling_cost", "days_worked", "days_available",
    "land_idle", "migrant_months", "carers", "unemployed", "drew_savings", "borrowed", "debt", "overdue",
    *GUARANTEES,
)  # fmt: skip


@dataclass(frozen=True)
class Attention:
    """What the office saw, and when; arrays months x households.

    `visit_day` is the day of the month's visit (NaT without one), `planned` whether one was due,
    `hidden_illness` the illnesses that nobody recorded (by month of onset, burn-in included), `exists`
    whether there is a row.
    """

    planned: np.ndarray
    visit_day: np.ndarray
    department: np.ndarray
    hidden_illness: np.ndarray
    illness_delay: np.ndarray
    exists: np.ndarray
    trouble: np.ndarray

    @property
    def visited(self) -> np.ndarray:
        return ~np.isnat(self.visit_day)


def attend(county: County, course: Course, streams: Streams) -> Attention:
    """Plan and make the visits, compare data, lose households and miss illnesses."""
    recording, burn_in = county.world.recording, county.burn_in
    months, n = course.below.shape
    trouble = np.where(county.households.remote, recording.remote, 1.0)
    never = streams.once("never visited") < recording.never_visited * trouble
    turn = (streams.once("turn") * 3).astype(int)
    due = ((np.arange(months)[:, None] + turn) % 3 == 0) | course.monitored
    missed = np.minimum((1 - recording.visit_done) * trouble, 0.9)
    done = due & ~never & (streams.monthly("visit done")[burn_in:] >= missed)
    number = county.start + np.arange(months)[:, None] + np.zeros((1, n), dtype=int)
    day = within(number, streams.monthly("visit day")[burn_in:])
    compared = streams.monthly("department")[burn_in:] < 1 - (1 - recording.department) * np.minimum(trouble, 1.5)
    leaves = (streams.monthly("left register")[burn_in:] < recording.left_register) & ~course.monitored
    gone = np.maximum.accumulate(leaves, axis=0)
    missing = streams.monthly("row missing")[burn_in:] < recording.row_missing * trouble
    return Attention(
        planned=due,
        visit_day=np.where(done, day, np.datetime64("NaT")),
        department=compared,
        hidden_illness=streams.monthly("illness unrecorded") < recording.illness_unrecorded * np.minimum(trouble, 1.3),
        illness_delay=delays(recording.event_days, streams.monthly("illness delay")),
        exists=~(missing | gone),
        trouble=trouble,
    )


def delays(mean_days: float, uniform: np.ndarray) -> np.ndarray:
    """Delay of a record in whole days: exponential with the given mean, at most half a year."""
    return np.minimum(-mean_days * np.log1p(-uniform.astype(float)), 180).astype(int)


def write_records(
    county: County, course: Course, attention: Attention, streams: Streams, ids: dict[str, np.ndarray]
) -> pd.DataFrame:
    """The table `records`, ordered by household and month.

    Parameters
    ----------
    ids
        `household`, `village`, `township` by household, and `county`.
    """
    books = _Books(county, course, attention, streams)
    months, n = course.below.shape
    row = attention.exists.T.ravel()

    def column(values: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(values.T).ravel()[row]

    def whole(values: np.ndarray, unknown: np.ndarray | None = None) -> pd.Series:
        numbers = pd.array(column(np.round(values)).astype(np.int16), dtype="Int16")
        if unknown is not None:
            numbers[column(unknown)] = pd.NA
        return pd.Series(numbers)

    def truth_value(values: np.ndarray, unknown: np.ndarray) -> pd.Series:
        marks = pd.array(column(values > 0), dtype="boolean")
        marks[column(unknown)] = pd.NA
        return pd.Series(marks)

    def amount(values: np.ndarray, unknown: np.ndarray | None = None, digits: int = 1) -> pd.Series:
        numbers = np.round(column(values.astype(float)), digits)
        return pd.Series(numbers if unknown is None else np.where(column(unknown), np.nan, numbers))

    number = county.start + np.arange(months)
    at = np.tile(np.arange(months), n)[row]
    who = np.repeat(np.arange(n), months)[row]
    frame: dict[str, object] = {
        "household_id": text(ids["household"][who]),
        "month": dates(first_days(number)[at]),
        "known_at": dates(column(books.known_at())),
        "county_id": text(np.full(len(who), ids["county"], dtype=object)),
        "township_id": text(ids["township"][who]),
        "village_id": text(ids["village"][who]),
        "welfare": amount(books.welfare(), books.no_income),
    }
    for name, label in (("wage", "wage_income"), ("public_post", "public_post_income"),
                        ("production", "production_income"), ("property", "property_income"),
                        ("transfer", "transfer_income"), ("allowance", "allowance_income"),
                        ("production_cost", "production_cost"), ("claims", "claims"), ("selfpay", "selfpay"),
                        ("schooling_cost", "schooling_cost"), ("debt", "debt"),
                        ("debt_service", "debt_service")):  # fmt: skip
        frame[label] = amount(books.value(name), books.unknown(name))
    frame["debt_overdue"] = truth_value(books.value("overdue"), books.unknown("overdue"))
    frame["income_imputed_share"] = amount(books.imputed_share(), digits=2)
    for label, (values, name) in books.counts().items():
        frame[label] = whole(values, None if name is None else books.unknown(name))
    frame["schooling_years_max"] = pd.Series(county.households.schooling_years[who])
    for name, label in (("days_worked", "days_worked"), ("days_available", "days_available"),
                        ("migrant_months", "migrant_months")):  # fmt: skip
        frame[label] = amount(books.value(name), books.unknown("days_worked" if "days" in name else name))
    frame["land_mu"] = pd.Series(np.round(county.households.land[who], 1))
    frame["land_idle_mu"] = amount(np.floor(books.value("land_idle") * 10) / 10, books.unknown("land_idle"))
    leased = county.households.leased[who] * county.households.land[who]
    frame["land_leased_mu"] = pd.Series(np.floor(leased * 10) / 10)
    frame["training_done"] = whole(books.value("training"), books.unknown("training"))
    frame["industry"] = text(np.array(INDUSTRIES, dtype=object)[county.households.industry[who]])
    for name in GUARANTEES:
        frame[name] = truth_value(books.value(name), books.unknown(name))
    for name, label in (("drew_savings", "coped_savings"), ("borrowed", "coped_borrowed")):
        frame[label] = truth_value(books.value(name), books.unknown(name))
    frame["destitute_support"] = pd.Series(county.households.destitute[who])
    appeal = streams.monthly("appeal")[county.burn_in :] < 0.0008
    frame["appeal_open"] = pd.Series(column(appeal))
    last = books.last_visit_day()
    frame["visited_on"] = dates(column(last), column(np.isnat(last)))
    source = np.where(attention.visited, 0, np.where(attention.department, 1, 2))
    frame["source"] = text(np.array(["visit", "department", "carried_forward"], dtype=object)[column(source)])
    return pd.DataFrame(frame)


class _Books:
    """Values as the office has them, month by month: refreshed, mistaken, carried forward."""

    def __init__(self, county: County, course: Course, attention: Attention, streams: Streams) -> None:
        self.county, self.course, self.attention, self.streams = county, course, attention, streams
        self.recording = county.world.recording
        months = np.arange(len(course.below))[:, None]
        full = attention.visited | (attention.department if self.recording.department_sees_all else False)
        # The census of the year before the first month left a complete record of everybody.
        self.full_at = np.maximum.accumulate(np.where(full, months, 0), axis=0)
        refreshed = attention.visited | attention.department
        self.part_at = np.maximum.accumulate(np.where(refreshed, months, 0), axis=0)
        self._values: dict[str, np.ndarray] = {}
        no_income = streams.monthly("no income")[county.burn_in :]
        self.no_income = no_income < 0.25 * self.recording.field_missing[1]

    def value(self, name: str) -> np.ndarray:
        """A column as recorded, without its gaps; months x households."""
        if name not in self._values:
            self._values[name] = self._recorded(name)
        return self._values[name]

    def _recorded(self, name: str) -> np.ndarray:
        if name in _PARTS:
            whole = self.course.sums[_PARTS[name]]
            part = np.divide(self._carried(name), np.maximum(self._carried(_PARTS[name], whole), 1e-9))
            return np.where(self.value(_PARTS[name]) > 0, np.minimum(part, 1) * self.value(_PARTS[name]), 0.0)
        true = self.course.sums.get(name, self.course.state.get(name))
        if name == "selfpay":
            true = np.maximum(true - self._unseen_cost(), 0)
        carried = self._carried(name, true)
        if name in _MONEY or name == "debt":
            return carried * self._error(name)
        if name == "days_available":
            return carried + self._days_of_unseen_absence()
        if name == "days_worked":
            return np.minimum(carried * self._error(name), self.value("days_available"))
        return carried

    def _carried(self, name: str, true: np.ndarray | None = None) -> np.ndarray:
        if true is None:
            true = self.course.sums.get(name, self.course.state.get(name))
        at = self.full_at if name in _SEEN_ON_VISITS else self.part_at
        return np.take_along_axis(true.astype(float), at, axis=0)

    def _error(self, name: str) -> np.ndarray:
        """Factor of error, the same until the next refresh; a mistake is off by a third to twofold."""
        recording, burn_in = self.recording, self.county.burn_in
        small = np.exp(recording.money_error * self.streams.monthly_normal(f"error in {name}")[burn_in:])
        u = self.streams.monthly(f"mistake in {name}")[burn_in:]
        chance = recording.field_mistaken * np.minimum(self.attention.trouble, 1.3)
        mistaken = np.where(u < 0.5 * chance, 0.67, 1.5)
        factor = np.where(u < chance, mistaken, small)
        at = self.full_at if name in _SEEN_ON_VISITS else self.part_at
        return np.take_along_axis(factor, at, axis=0)

    def _unseen_cost(self) -> np.ndarray:
        """Out-of-pocket of illnesses that nobody recorded: only a part of it reaches the books."""
        unseen = 1 - self.recording.illness_unrecorded_selfpay
        return np.where(self._hidden(self.course.last_illness), unseen, 0.0) * self.course.sums["illness_selfpay"]

    def _hidden(self, onset: np.ndarray) -> np.ndarray:
        found = np.take_along_axis(self.attention.hidden_illness, np.maximum(onset, 0).astype(int), axis=0)
        return found & (onset >= 0)

    def known_illness(self) -> np.ndarray:
        """Whether a major illness is on record: not hidden, and its record not still to come."""
        onset = self.course.state["ill_since"].astype(int)
        delay = np.take_along_axis(self.attention.illness_delay, np.maximum(onset, 0), axis=0)
        month = np.arange(len(onset))[:, None] + self.county.burn_in
        return (onset >= 0) & ~self._hidden(onset) & (30 * (month - onset) + 15 >= delay)

    def unknown(self, name: str) -> np.ndarray:
        """Where a column is empty: half of it by household for good, half by month."""
        recording, burn_in = self.recording, self.county.burn_in
        low, high = recording.field_missing
        rate = low + (high - low) * self.streams.places(f"missing {name}", 1)[0]
        rate = np.minimum(rate * np.minimum(self.attention.trouble, 1.2), 0.5)
        always = self.streams.once(f"never known {name}") < 0.3 * rate
        u = self.streams.monthly(f"unknown {name}")[burn_in:]
        gap = always | (u < 0.7 * rate)
        return gap | self.no_income if name in _MONEY or name in _PARTS else gap

    def welfare(self) -> np.ndarray:
        """What the office holds against the line: income and cost per member, as it has them."""
        gains = sum(self.value(name) for name in ("wage", "production", "property", "transfer", "claims"))
        costs = self.value("production_cost") + self.value("selfpay")
        return (gains - costs) / self._carried("size")

    def imputed_share(self) -> np.ndarray:
        """Share of gross income that was not refreshed this month."""
        now = np.arange(len(self.full_at))[:, None]
        parts = ("wage", "production", "property", "transfer")
        gross = sum(self.value(name) for name in parts)
        stale = sum(
            np.where((self.full_at if name in _SEEN_ON_VISITS else self.part_at) < now, self.value(name), 0.0)
            for name in parts
        )
        return np.clip(stale / np.maximum(gross, 1), 0, 1)

    def last_visit_day(self) -> np.ndarray:
        """Day of the last visit up to the month; NaT before the first."""
        day = self.attention.visit_day.astype("datetime64[D]")
        none = np.datetime64("1900-01-01")
        last = np.maximum.accumulate(np.where(np.isnat(day), none, day), axis=0)
        return np.where(last == none, np.datetime64("NaT", "D"), last)

    def known_at(self) -> np.ndarray:
        """Day on which a row was known: the end of its month, or later."""
        burn_in = self.county.burn_in
        u = self.streams.monthly("late")[burn_in:]
        little, much = (share * np.minimum(self.attention.trouble, 1.3) for share in self.recording.late)
        spread = self.streams.monthly("lateness")[burn_in:]
        delay = np.where(u < much, 31 + 60 * spread, np.where(u < much + little, 3 + 27 * spread, 0))
        month_end = last_days(self.county.start + np.arange(len(u)))[:, None]
        return later(month_end + np.zeros(delay.shape, "timedelta64[D]"), delay.astype(int))

    def counts(self) -> dict[str, tuple[np.ndarray, str | None]]:
        """Members by column, and the name under which the column is missing (None: never)."""
        members, households = self.county.members, self.county.households
        rows = slice(self.county.burn_in, None)
        state = self.value
        size = state("size")
        ages = {
            name: np.take_along_axis(getattr(members, name)[rows].astype(float), self.part_at, axis=0) for name in _OF_AGE
        }
        born = state("born")
        working_age = np.maximum(ages["working_age"] - state("lost_workers"), 0)
        unseen = np.take_along_axis(self._unseen_absent(), self.part_at, axis=0)
        able = np.minimum(np.minimum(state("able") + unseen, working_age), size)
        rest = np.maximum(working_age - able, 0)
        no_labour = np.minimum(ages["no_labour"] + state("no_labour"), rest)
        weak = np.minimum(ages["weak"], rest - no_labour)
        unwritten = self.streams.once("care unrecorded") < self.recording.care_unrecorded
        carers = np.where(unwritten, 0, state("carers"))
        carers = np.minimum(carers, np.maximum(rest - no_labour - weak, 0))
        unemployed = np.minimum(state("unemployed"), able)
        ill = self.known_illness().astype(float)
        business = np.minimum(np.where(households.business, 1, 0), able)
        dropped = 1 - state("schooling_ok")
        return {
            "hh_size": (size, None),
            "n_under6": (np.minimum(ages["under6"] + born, size), "n_under6"),
            "n_children": (np.minimum(ages["children"] + born, size), "n_children"),
            "n_elderly": (np.minimum(ages["elderly"], size), "n_elderly"),
            "n_working_age": (np.minimum(working_age, size), "n_working_age"),
            "n_able": (able, "n_able"),
            "n_weak_labour": (weak, "n_weak_labour"),
            "n_no_labour": (no_labour, "n_no_labour"),
            "n_skilled": (np.minimum(households.skilled + 0 * able, able), "n_skilled"),
            "n_students": (np.maximum(ages["students"] - dropped, 0), "n_students"),
            "n_higher_students": (ages["higher_students"], "n_higher_students"),
            "n_out_of_school": (np.minimum(dropped, ages["children"] + 0 * dropped), "n_out_of_school"),
            "n_major_illness": (np.minimum(ill, size), "n_major_illness"),
            "n_chronic": (np.minimum(state("chronic"), size), "n_chronic"),
            "n_disabled": (np.minimum(state("disabled"), size), "n_disabled"),
            "n_carers": (carers, "n_carers"),
            "n_uninsured": (1 - state("medical_ok"), "n_uninsured"),
            "n_working": (able - unemployed, "n_working"),
            "n_wage_workers": (np.maximum(able - unemployed - business, 0), "n_wage_workers"),
            "n_self_employed": (np.minimum(business, able - unemployed), "n_self_employed"),
            "n_unemployed": (unemployed, "n_unemployed"),
            "n_pensioners": (np.minimum(ages["elderly"], size), "n_pensioners"),
        }

    def _unseen_absent(self) -> np.ndarray:
        """Able in the books, yet kept from work: ill without a record, or a carer whom nobody wrote down."""
        onset = self.course.state["ill_since"].astype(int)
        ill = self._hidden(onset) & (self.course.state["ill_worker"] > 0)
        unwritten = self.streams.once("care unrecorded") < self.recording.care_unrecorded
        return ill + np.where(unwritten, self.course.state["carers"], 0.0)

    def _days_of_unseen_absence(self) -> np.ndarray:
        """Days that the office believes those could have worked, who were kept from it unseen."""
        demand = self.county.villages.demand[self.county.burn_in :, self.county.households.village]
        days = self.county.world.economy.work_days * demand * self._unseen_absent()
        return np.take_along_axis(days, self.full_at, axis=0)
