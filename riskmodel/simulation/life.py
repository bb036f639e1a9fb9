"""One life of the county: an intervention, the state of its households in the current month, and what is
written down.

The modules `shocks`, `work`, `income` and `office` each move a part of the state through a month; `dynamics`
calls them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from riskmodel.simulation.households import County
from riskmodel.simulation.streams import Streams
from riskmodel.simulation.world import FAMILIES, INDUSTRIES

WINDOW = 12
FLOWS = (
    "wage", "public_post", "production", "property", "transfer", "allowance", "production_cost", "claims",
    "selfpay", "illness_selfpay", "schooling_cost", "debt_service", "migrant_months",
)  # fmt: skip
"""Monthly flows that are summed over twelve months; all but the last are yuan."""

_COUNTERS = (
    "ill_left", "injured_left", "care_left", "infant_left", "jobless_left", "project_jobless_left",
    "arrears_left", "business_left", "accompany_left", "drop_out_left", "house_left", "water_left",
    "uninsured_left", "yield_left", "post_left", "placed_left", "industry_left", "protection_left",
    "school_aid_left",
)  # fmt: skip
_COUNTS = (
    "dead", "left", "born", "disabled_workers", "disabled_new", "trained", "training_12m_left",
)  # fmt: skip
_AMOUNTS = ("ill_month", "ill_size", "yield_loss", "savings", "debt", "owed", "schooling_month")


@dataclass(frozen=True)
class Intervention:
    """What is changed in a life: effort held at its baseline, families of shocks switched off; no new shock, or no new help,
    from a month on.

    The first two hold for the whole simulated time, with the same county at the start. Months are counted from the start of
    the burn-in. Shocks of places stop in the county itself (`founding.quiet_county`).
    """

    effort_at_baseline: bool = False
    off: frozenset[str] = frozenset()
    no_shock_from: int | None = None
    no_help_from: int | None = None


FACTUAL = Intervention()
NO_LOW_EFFORT = Intervention(effort_at_baseline=True)
NO_SHOCKS = Intervention(off=frozenset(FAMILIES))


@dataclass
class Happening:
    """Rows of one kind that came about in one month: positions of the households, and facts by column."""

    month: int
    households: np.ndarray
    facts: dict[str, object]


@dataclass
class Chronicle:
    """Everything dated that happened: events, offers, spells found and spells ended."""

    events: list[Happening] = field(default_factory=list)
    offers: list[Happening] = field(default_factory=list)
    found: list[Happening] = field(default_factory=list)
    eliminated: list[Happening] = field(default_factory=list)


class Life:
    """The county under one intervention, in its current month.

    Counters ending in `_left` are months that a condition still lasts; `last_shock` holds the month of the
    last shock by family; `flows` the last twelve months of FLOWS, in a ring.
    """

    def __init__(self, county: County, streams: Streams, intervention: Intervention, written: bool) -> None:
        self.county, self.streams, self.intervention = county, streams, intervention
        self.households, self.world = county.households, county.world
        self.village = county.households.village
        self.chronicle = Chronicle() if written else None
        n = len(county.households)
        self.n = n
        for name in _COUNTERS + _COUNTS:
            setattr(self, name, np.zeros(n, dtype=np.int16))
        for name in _AMOUNTS:
            setattr(self, name, np.zeros(n))
        self.savings = county.households.savings.copy()
        self.debt, self.owed = county.households.debt.copy(), county.households.owed.copy()
        self.chronic = county.households.chronic.astype(np.int16)
        if self.on("schooling"):  # those who are at a higher school at the start pay for it as well
            cost = 450 + 700 * streams.once("schooling cost at the start")
            self.schooling_month = np.where(county.members.higher_students[0] > 0, cost, 0.0)
        self.ill_worker = np.zeros(n, dtype=bool)
        self.ill_carer = np.zeros(n, dtype=bool)
        self.ill_leaves_chronic = np.zeros(n, dtype=bool)
        self.ill_since = np.full(n, -1, dtype=np.int16)
        self.last_shock = {family: np.full(n, -99, dtype=np.int16) for family in FAMILIES}
        self.effort_until = np.full(n, -1, dtype=np.int16)
        self.effort_from = np.full(n, 999, dtype=np.int16)
        self.low_effort = np.zeros(n, dtype=bool)
        self.flows = np.zeros((len(FLOWS), WINDOW, n))
        self.claims_due = np.zeros((4, n))
        self.monitored = np.zeros(n, dtype=bool)
        self.helped = np.zeros(n, dtype=bool)
        self.since = np.full(n, -99, dtype=np.int16)
        self.secure_months = np.zeros(n, dtype=np.int16)
        self.below = np.zeros(n, dtype=bool)
        self.failing = np.zeros(n, dtype=bool)
        self.sudden = np.zeros(n, dtype=bool)
        self.costly = np.zeros(n, dtype=bool)
        self.ratio = np.full(n, 2.0)
        self.able = county.members.able[0].astype(np.int16)
        self.carers = np.zeros(n, dtype=np.int16)
        self.size = county.members.size[0].astype(np.int16)
        self.now: dict[str, np.ndarray] = {}
        economy = county.world.economy
        self.yield_value = np.array([economy.yield_value[name] for name in INDUSTRIES])[self.households.industry]

    def on(self, family: str) -> bool:
        """Whether a family of shocks is on."""
        return family not in self.intervention.off

    def quiet(self, t: int) -> bool:
        """Whether no new shock may strike in a month."""
        start = self.intervention.no_shock_from
        return start is not None and t >= start

    def u(self, process: str, t: int) -> np.ndarray:
        """The uniform numbers of a process in a month, by household."""
        return self.streams.monthly(process)[t]

    def z(self, process: str, t: int) -> np.ndarray:
        """The normal numbers of a process in a month, by household."""
        return self.streams.monthly_normal(process)[t]

    def start(self, counter: str, where: np.ndarray, months: np.ndarray | int) -> None:
        """Let a condition begin where `where` holds, or last longer."""
        left = getattr(self, counter)
        left[:] = np.where(where, np.maximum(left, months), left)

    def tick(self) -> None:
        """A month passes for everything that lasts for a time."""
        for name in _COUNTERS + ("training_12m_left",):
            left = getattr(self, name)
            np.maximum(left - 1, 0, out=left)

    def shock(
        self,
        t: int,
        family: str,
        kind: str,
        where: np.ndarray,
        loss: np.ndarray | None = None,
        *,
        told: bool = True,
    ) -> None:
        """Note that a shock struck; `told` says that it becomes an event of its own, with its loss in
        yuan."""
        self.last_shock[family][where] = t
        if told:
            self.tell("events", t, where, kind=kind, loss=loss)

    def tell(self, what: str, t: int, where: np.ndarray, **facts: object) -> None:
        """Write down what happened to the households where `where` holds; arrays are facts by household."""
        if self.chronicle is None:
            return
        found = np.flatnonzero(where)
        if len(found):
            held = {name: v[found] if isinstance(v, np.ndarray) else v for name, v in facts.items()}
            getattr(self.chronicle, what).append(Happening(t, found, held))

    def recently(self, t: int, months: int) -> np.ndarray:
        """Whether any shock struck in the last months."""
        return np.any([t - last < months for last in self.last_shock.values()], axis=0)
