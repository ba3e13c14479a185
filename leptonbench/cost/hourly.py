"""Rented by the hour: the on-demand price of the share of an instance that is used."""

from __future__ import annotations

from collections.abc import Sequence

from leptonbench.cost.rate import Rate, assumption, ends, fact_provenance
from leptonbench.schema import CloudPrice, weakest


def rented_usd_per_hour(offers: Sequence[CloudPrice], *, threads: int) -> Rate:
    """Return the on-demand price per hour of `threads` vCPUs: the instance's price x threads / vCPUs.

    The first offer gives the value; the others, and ranges of the prices themselves, span the range. A share of an
    instance is priced as if the rest were used too, or as if the smaller sizes of the family cost in proportion,
    as on-demand sizes do. Prices are of their own region, which the method names.

    Raises:
        ValueError: If there is no offer, or `threads` is below 1.
    """
    if not offers:
        raise ValueError("there is no on-demand price to compute from")
    if threads < 1:
        raise ValueError(f"a share of a machine has at least one thread, got {threads}")
    lows, highs = zip(*(_share_span(offer, threads) for offer in offers), strict=True)
    first = offers[0]
    where = f"{first.provider} {first.sku}, {first.region}"
    return Rate(
        value=first.price_per_hour.value * threads / first.vcpus,
        low=min(lows),
        high=max(highs),
        provenance=weakest(fact_provenance(offer.price_per_hour) for offer in offers),
        method=f"on-demand price of {where} x {threads} of {first.vcpus} vCPUs",
        assumptions=tuple(
            assumption(f"on-demand price of {offer.provider} {offer.sku}, {offer.region}", offer.price_per_hour)
            for offer in offers
        ),
    )


def _share_span(offer: CloudPrice, threads: int) -> tuple[float, float]:
    low, high = ends(offer.price_per_hour)
    return low * threads / offer.vcpus, high * threads / offer.vcpus
