"""What a device can be had for: offers that come along and the user's own, checked, the nearest region first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from leptonbench import catalog
from leptonbench.cost.prices import Checked, check_offers, stale
from leptonbench.cost.region import region_profile
from leptonbench.paths import data_root
from leptonbench.schema import DeviceProfile, Fact, Notice, RegionProfile, RegionTable
from leptonbench.schema.prices import Offer, OfferTable, Terms

_PROVIDERS = ("aws", "gcp", "azure")


@dataclass(frozen=True, slots=True)
class Market:
    """Every table that prices a plan.

    Attributes:
        checked: Offers that can be used, and what is wrong with the others.
        areas: The plan's region by the provider's.
        own: Electricity, overhead and carbon where owned machines stand.
        hosted: Likewise with each provider's overhead.
        embodied: Carbon of making a machine by its kind.
        withdrawn: Share of spot hours that are bought again on demand.
    """

    checked: Checked
    areas: dict[str, str]
    own: RegionProfile
    hosted: dict[str, RegionProfile]
    embodied: dict[str, Fact]
    withdrawn: Fact

    def offers(self, device: str, terms: Terms, region: str, *, threads: int, horizon_years: float) -> list[Offer]:
        """Return the offers of a device in the region; where there are none, those elsewhere.

        An instance has to hold a unit's threads, and a reservation has to end within the horizon.
        """
        offers = [
            offer
            for offer in self.checked.offers
            if offer.device == device
            and offer.terms is terms
            and (offer.vcpus is None or offer.vcpus >= threads)
            and (offer.commitment_years or 0.0) <= horizon_years
        ]
        return [offer for offer in offers if self.areas.get(offer.region) == region] or offers

    def notices(self, offer: Offer, region: str, as_of: date) -> list[Notice]:
        """Return what to know of an offer before leaning on it: that it stands in for the region, that it is old."""
        found = []
        if self.areas.get(offer.region) != region:
            found.append(
                Notice(
                    code="price-elsewhere",
                    message=f"{offer.provider} {offer.sku} has no known {offer.terms} price in {region}: that of "
                    f"{offer.region} stands in",
                    hint="give the region's in a file: `--prices FILE`",
                )
            )
        old = stale(offer.name, offer.price_per_hour, terms=offer.terms, as_of=as_of)
        return found + ([old] if old else [])


def known_as(device: DeviceProfile) -> DeviceProfile:
    """Return a run's device under the name of the profile that it was made from: `host-cpu` is any machine's."""
    same = (profile.name for profile in catalog.load_profiles(device.kind) if profile.title == device.title)
    return device.model_copy(update={"name": next(same, device.name)})


def load_market(devices: Sequence[DeviceProfile], *, region: str, hosting: str, prices: Path | None) -> Market:
    """Read the tables and check every offer of the devices.

    Args:
        devices: Of the run.
        region: Of the plan.
        hosting: Of what is owned.
        prices: The user's own offers: of a device and terms that they name, no other is looked at.

    Raises:
        UsageError: If a table lacks the region or the kind of hosting, or a file is wrong.
    """
    tables = {name: _table(name) for name in ("electricity", "carbon", "pue", "embodied", "terms")}
    bundled = catalog.load_yaml(_path("offers"), OfferTable)
    own = catalog.load_yaml(prices, OfferTable) if prices else None
    offers = [*bundled.offers, *(offer for device in devices for offer in _of_profile(device))]
    if own is not None:
        replaced = {(offer.device, offer.terms) for offer in own.offers}
        offers = [*own.offers, *(offer for offer in offers if (offer.device, offer.terms) not in replaced)]

    def place(kind: str) -> RegionProfile:
        return region_profile(
            region, electricity=tables["electricity"], carbon=tables["carbon"], pue=tables["pue"], hosting=kind
        )

    return Market(
        checked=check_offers(_paired(offers)),
        areas=bundled.areas | (own.areas if own else {}),
        own=place(hosting),
        hosted={name: place(name) for name in _PROVIDERS},
        embodied=tables["embodied"].figures,
        withdrawn=tables["terms"].figures["spot-withdrawn"],
    )


def _path(name: str) -> Path:
    return data_root() / "hardware_profiles" / "prices" / f"{name}.yaml"


def _table(name: str) -> RegionTable:
    return catalog.load_yaml(_path(name), RegionTable)


def _of_profile(device: DeviceProfile) -> list[Offer]:
    """Return the prices of a profile as offers: of a CPU's instances on demand, of an accelerator's on their terms."""
    shared = [
        Offer(
            device=device.name,
            provider=price.provider,
            sku=price.sku,
            region=price.region,
            vcpus=price.vcpus,
            price_per_hour=price.price_per_hour,
        )
        for price in device.cloud
    ]
    cards = [
        Offer(
            device=device.name,
            provider=price.provider,
            sku=price.sku,
            region=price.region,
            terms=Terms(price.terms),
            cards=price.devices,
            price_per_hour=price.price_per_hour,
        )
        for price in (device.accelerator.offers if device.accelerator else ())
    ]
    return shared + cards


def _paired(offers: Iterable[Offer]) -> list[Offer]:
    """Return the offers with those that are the same but for their source put together: one, and its second source."""
    found: dict[tuple[object, ...], Offer] = {}
    for offer in offers:
        key = (offer.device, offer.provider, offer.sku, offer.region, offer.terms, offer.commitment_years)
        first = found.get(key)
        if first is None:
            found[key] = offer
        elif first.second is None and first.price_per_hour.source != offer.price_per_hour.source:
            found[key] = first.model_copy(update={"second": offer.price_per_hour})
    return list(found.values())
