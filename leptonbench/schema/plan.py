"""A procurement plan: what each cell would take, cost, draw and emit at a demand, ranked, and what it rests on."""

from __future__ import annotations

from pydantic import Field

from leptonbench.schema.prices import Terms
from leptonbench.schema.quantity import Frozen, Provenance, Quantity
from leptonbench.schema.record import Assumption, Notice, Reason
from leptonbench.schema.spec import CellSpec

PLAN_VERSION = 1


class PlanDemand(Frozen):
    """What is asked for over a week.

    Attributes:
        rates_per_s: 168 hourly rates from Monday's midnight on.
        source: Where they come from: the text, the file or the suite.
    """

    rates_per_s: tuple[float, ...] = Field(min_length=168, max_length=168)
    source: str


class PlanChoice(Frozen):
    """One cell on one kind of terms.

    Attributes:
        offer: What is rented or bought.
        units: Bought or rented in the busiest hour, spares included.
        nodes: Machines that they come in.
        unit_hours_per_week: Paid.
        usd_per_month: Its range has every figure at its cheap or dear end at once, and the units' interval with them;
            its own part is the units' alone.
        usd_horizon: Over the plan's horizon.
        usd_per_million: Of a million answers within the target.
        upfront_usd: To pay when it is bought; 0 for what is rented.
        power_peak_w: Drawn by the machines at the wall in the busiest hour; of rented ones, their share.
        power_mean_w: Over the week.
        carbon_kg_per_month: The grid's, and that of making the machines where it is known.
        break_even: Fraction of hours in use above which owning is cheaper than renting on demand.
        ranked: Whether it takes part in the ranking; `why_not` says why it does not.
    """

    terms: Terms
    offer: str
    units: int
    nodes: int
    unit_hours_per_week: float
    usd_per_month: Quantity
    usd_horizon: Quantity
    usd_per_million: Quantity
    upfront_usd: Quantity
    power_peak_w: Quantity
    power_mean_w: Quantity
    carbon_kg_per_month: Quantity
    break_even: Quantity
    ranked: bool
    why_not: str | None = None


class PlanAbsence(Frozen):
    """Terms that a cell cannot be had on, with the reason."""

    terms: Terms
    why: str


class PlanRow(Frozen):
    """One cell at the demand: units, utilisation, latency, and what it costs on each kind of terms.

    Attributes:
        reason: Why it is infeasible or not eligible; `None` where it is neither.
        required: Units that must serve in the busiest hour, spares not counted.
        utilisation_peak: Of the serving units in the busiest hour, spares down.
        latency: The target's percentile then.
        units_by_hour: Serving units in each hour of the week.
        method: How the units were found.
    """

    cell: CellSpec
    provenance: Provenance | None = None
    reason: Reason | None = None
    required: Quantity
    utilisation_peak: Quantity
    utilisation_mean: Quantity
    latency: Quantity
    quality: Quantity
    choices: tuple[PlanChoice, ...] = ()
    absent: tuple[PlanAbsence, ...] = ()
    method: str = ""
    notes: tuple[str, ...] = ()


class Ranked(Frozen):
    """A place in the ranking by cost over the horizon.

    Attributes:
        tied: Its own interval and the first one's overlap: the two are not told apart.
    """

    cell: str
    terms: Terms
    usd_horizon: Quantity
    tied: bool


class Swing(Frozen):
    """What one figure does to the first choice's cost over the horizon, in USD, between the ends of its range."""

    name: str
    unit: str
    value: float
    low: float
    high: float
    usd_at_low: float
    usd_at_high: float


class Flip(Frozen):
    """The value of one figure, all others as stated, from which on another choice is cheaper.

    Attributes:
        within_range: Whether the figure's own range reaches so far.
    """

    name: str
    unit: str
    value: float
    threshold: float
    within_range: bool
    cell: str
    terms: Terms


class AtVolume(Frozen):
    """The cheapest choice at another demand: the stated one times a factor, every unit count found anew."""

    factor: float
    cell: str
    terms: Terms
    units: int
    usd_horizon: Quantity


class PlanTarget(Frozen):
    """What must hold in every hour."""

    percentile: float
    latency_s: float


class PlanDocument(Frozen):
    """One plan, complete: a page made from it a year later is the same page."""

    plan_version: int = PLAN_VERSION
    run_id: str
    workload: str
    as_of: str
    demand: PlanDemand
    target: PlanTarget
    spare_nodes: int
    region: str
    horizon_years: float
    rows: tuple[PlanRow, ...]
    ranking: tuple[Ranked, ...]
    swings: tuple[Swing, ...]
    flips: tuple[Flip, ...]
    by_volume: tuple[AtVolume, ...] = ()
    assumptions: tuple[Assumption, ...]
    warnings: tuple[Notice, ...]
