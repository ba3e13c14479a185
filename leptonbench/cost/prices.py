"""Which prices can be leant on: sentinels and outliers out, two sources side by side, stale ones named. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from statistics import median
from typing import NamedTuple

from leptonbench.schema import Fact, Notice
from leptonbench.schema.prices import Offer, Terms

_SENTINEL = re.compile(r"9{4,}(\.9*)?|9{3}(\.9+)?")
_OUTLIER = 3.0  # times the median of the same instance's other regions: price lists err by tens, regions by a half
_SAME = 0.05  # relative difference up to which two sources agree
_STALE_DAYS = {Terms.SPOT: 30, Terms.ON_DEMAND: 365, Terms.RESERVED: 365, Terms.OWNED: 365}


class Rejected(NamedTuple):
    """An offer that is not used, and why."""

    offer: Offer
    why: str


class Checked(NamedTuple):
    """Offers that can be used, those that cannot, and what to know of the former."""

    offers: tuple[Offer, ...]
    rejected: tuple[Rejected, ...]
    notices: tuple[Notice, ...]


def check_offers(offers: Sequence[Offer]) -> Checked:
    """Sort out prices that are no prices, and widen those on which two sources differ.

    Rejected are: zero, negative and non-finite prices; runs of nines (a price list's way to say that there is none); a
    spot price equal to the same instance's on-demand price (a catalogue's way to say the same); a price more than 3
    times above or below the median of the same instance's regions, where there are three; two sources that differ by
    more than 3 times.
    """
    kept: list[Offer] = []
    rejected: list[Rejected] = []
    notices: list[Notice] = []
    for offer in offers:
        why = _no_price(offer.price_per_hour.value) or _fallback(offer, offers) or _outlier(offer, offers)
        why = why or _contradicted(offer)
        if why:
            rejected.append(Rejected(offer, why))
            continue
        merged, notice = _compared(offer)
        kept.append(merged)
        notices += [notice] if notice else []
    return Checked(tuple(kept), tuple(rejected), tuple(notices))


def _no_price(value: float) -> str | None:
    if not math.isfinite(value) or value <= 0:
        return f"{value:g} USD an hour is no price"
    if _SENTINEL.fullmatch(f"{value:.10f}".rstrip("0").rstrip(".")):
        return f"{value:g} USD an hour stands for no price in price lists"
    return None


def _fallback(offer: Offer, offers: Iterable[Offer]) -> str | None:
    if offer.terms is not Terms.SPOT:
        return None
    place = (offer.provider, offer.sku, offer.region)
    full = [o.price_per_hour.value for o in offers if o.terms is Terms.ON_DEMAND and _place(o) == place]
    same = offer.price_per_hour.value in full
    return "the spot price equals the on-demand price, which catalogues write where they know none" if same else None


def _place(offer: Offer) -> tuple[str, str, str]:
    return (offer.provider, offer.sku, offer.region)


def _outlier(offer: Offer, offers: Iterable[Offer]) -> str | None:
    kind = (offer.provider, offer.sku, offer.terms)
    values = [o.price_per_hour.value for o in offers if (o.provider, o.sku, o.terms) == kind]
    values = [value for value in values if _no_price(value) is None]
    if len(values) < 3:
        return None
    middle = median(values)
    factor = max(offer.price_per_hour.value / middle, middle / offer.price_per_hour.value)
    return f"it is {factor:.1f} times off the median of its regions, {middle:g} USD" if factor > _OUTLIER else None


def _contradicted(offer: Offer) -> str | None:
    if offer.second is None:
        return None
    one, other = offer.price_per_hour.value, offer.second.value
    why = _no_price(other)
    if why is None and max(one / other, other / one) > _OUTLIER:
        return f"two sources differ: {one:g} ({offer.price_per_hour.source}) and {other:g} ({offer.second.source})"
    return None


def _compared(offer: Offer) -> tuple[Offer, Notice | None]:
    """Return the offer with a range that holds both sources' values, and a notice where they differ."""
    second = offer.second
    if second is None or _no_price(second.value) is not None:
        return offer, None
    fact = offer.price_per_hour
    if abs(second.value / fact.value - 1) <= _SAME:
        agreed = fact.model_copy(update={"note": _note(fact, f"{second.source} has {second.value:g}: they agree")})
        return offer.model_copy(update={"price_per_hour": agreed}), None
    ends = [end for end in (fact.value, fact.low, fact.high, second.value) if end is not None]
    wide = fact.model_copy(
        update={"low": min(ends), "high": max(ends), "note": _note(fact, f"{second.source} has {second.value:g}")}
    )
    notice = Notice(
        code="price-disputed",
        message=f"two sources differ on the {offer.terms} price of {offer.name}: {fact.value:g} and {second.value:g}",
        hint="the range holds both; ask the provider",
    )
    return offer.model_copy(update={"price_per_hour": wide}), notice


def _note(fact: Fact, more: str) -> str:
    return f"{fact.note}; {more}" if fact.note else more


def latest_day(text: str) -> date:
    """Return the last day that an ISO date means, where it may be coarse: `2026-08` is 31 August 2026."""
    parts = [int(part) for part in text.split("-")]
    if len(parts) == 3:
        return date(*parts)
    year, month = (parts[0], parts[1]) if len(parts) == 2 else (parts[0], 12)
    following = date(year + month // 12, month % 12 + 1, 1)
    return following - timedelta(days=1)


def stale(name: str, fact: Fact, *, terms: Terms, as_of: date) -> Notice | None:
    """Return a notice if a price is older than its kind stays true: 30 days for spot, a year else."""
    age = (as_of - latest_day(fact.date)).days
    if age <= _STALE_DAYS[terms]:
        return None
    return Notice(
        code="price-stale",
        message=f"the {terms} price of {name} is of {fact.date}, {age} days before this plan",
        hint="give today's in a file: `--prices FILE`",
    )
