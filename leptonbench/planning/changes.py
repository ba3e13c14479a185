"""What moves the first choice's cost, and what would have to change for another one to win."""

from __future__ import annotations

from collections.abc import Sequence

from leptonbench.cost.sensitivity import Costing, effects, thresholds
from leptonbench.planning.options import Option
from leptonbench.planning.request import PlanRequest
from leptonbench.schema import Quantity
from leptonbench.schema.plan import Flip, Swing
from leptonbench.schema.prices import Terms

_RIVALS = 12  # choices that could overtake the first
_SWINGS = 12


def _costing(option: Option, request: PlanRequest) -> Costing:
    costed = option.costed
    return Costing(costed.facts, lambda values: costed.usd_per_year(values) * request.horizon_years)


def swings(ranked: Sequence[Option], required: Quantity, request: PlanRequest) -> tuple[Swing, ...]:
    """Return what moves the first choice's cost, its number of units among it.

    Args:
        ranked: Choices, the cheapest first.
        required: Serving units of the first.
        request: With the horizon.
    """
    if not ranked:
        return ()
    first = ranked[0]
    rows = [
        Swing(
            name=effect.name,
            unit=effect.fact.unit,
            value=effect.fact.value,
            low=effect.low,
            high=effect.high,
            usd_at_low=effect.usd_at_low,
            usd_at_high=effect.usd_at_high,
        )
        for effect in effects(_costing(first, request))
    ]
    usd = first.choice.usd_horizon
    if None not in (usd.own_low, usd.own_high, required.low, required.high) and usd.own_low != usd.own_high:
        rows.append(
            Swing(
                name="units that must serve in the busiest hour",
                unit="1",
                value=required.value or 0.0,
                low=required.low or 0.0,
                high=required.high or 0.0,
                usd_at_low=usd.own_low or 0.0,
                usd_at_high=usd.own_high or 0.0,
            )
        )
    rows.sort(key=lambda swing: -abs(swing.usd_at_high - swing.usd_at_low))
    return tuple(rows[:_SWINGS])


def flips(ranked: Sequence[Option], request: PlanRequest) -> tuple[Flip, ...]:
    """Return for each figure the value at which a choice on another offer overtakes the first, the nearest first."""
    if len(ranked) < 2:
        return ()
    rivals = _rivals(ranked)
    found = thresholds(_costing(ranked[0], request), [_costing(option, request) for option in rivals])
    return tuple(
        Flip(
            name=one.name,
            unit=one.fact.unit,
            value=one.fact.value,
            threshold=one.value,
            within_range=one.within,
            cell=rivals[one.rival].unit.served.record.cell.key,
            terms=rivals[one.rival].choice.terms,
        )
        for one in found
    )


def _rivals(ranked: Sequence[Option]) -> list[Option]:
    """Return the choices that could overtake the first: the cheapest on each offer, then the next in order.

    Cells on the first one's own offer pay all that it pays, so only their units tell them apart and no price does. With
    many cells the next dozen would be of one offer, too.
    """
    others = [option for option in ranked if _offer_of(option) != _offer_of(ranked[0])]
    by_offer = {_offer_of(option): option for option in reversed(others)}
    ordered = [*sorted(by_offer.values(), key=lambda option: option.choice.usd_horizon.value or 0.0), *others]
    return list({id(option): option for option in ordered}.values())[: max(_RIVALS, len(by_offer))]


def _offer_of(option: Option) -> tuple[Terms, str]:
    return option.choice.terms, option.choice.offer
