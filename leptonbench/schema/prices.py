"""What hardware is offered at, as snapshots: value, place, terms, source and date."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field, model_validator

from leptonbench.schema.demand import Text
from leptonbench.schema.fact import Fact
from leptonbench.schema.quantity import Frozen


class Terms(StrEnum):
    """On which terms a unit is paid for."""

    ON_DEMAND = "on-demand"
    RESERVED = "reserved"
    SPOT = "spot"
    OWNED = "owned"


class Offer(Frozen):
    """The hourly price of a whole instance in one region, on one kind of terms.

    Attributes:
        device: The hardware profile that the instance carries.
        region: As the provider calls it.
        terms: Any but `owned`.
        commitment_years: Of a reservation, which is paid in every hour of that time.
        vcpus: Hardware threads of the instance, where threads are what is shared out.
        cards: Accelerators of the instance, where cards are.
        price_per_hour: Of the whole instance.
        second: The same price as another source has it.
    """

    device: str
    provider: str
    sku: str
    region: str
    terms: Terms = Terms.ON_DEMAND
    commitment_years: float | None = Field(default=None, gt=0)
    vcpus: int | None = Field(default=None, ge=1)
    cards: int | None = Field(default=None, ge=1)
    price_per_hour: Fact
    second: Fact | None = None

    @model_validator(mode="after")
    def _whole(self) -> Offer:
        if (self.vcpus is None) == (self.cards is None):
            raise ValueError("an instance is shared out by `vcpus` or by `cards`: one of the two")
        if self.terms is Terms.OWNED:
            raise ValueError("what is owned has no hourly price: that is the profile's `owned` part")
        if (self.terms is Terms.RESERVED) != (self.commitment_years is not None):
            raise ValueError("`commitment_years` belongs to a reservation, and a reservation has it")
        return self

    @property
    def name(self) -> str:
        """Return provider, instance and region as one phrase."""
        return f"{self.provider} {self.sku}, {self.region}"


class OfferTable(Frozen):
    """Offers, and where their regions lie.

    Attributes:
        areas: The region of the electricity and carbon tables by the provider's region.
    """

    title: Text
    areas: dict[str, str]
    offers: tuple[Offer, ...]

    @model_validator(mode="after")
    def _placed(self) -> OfferTable:
        lost = sorted({offer.region for offer in self.offers} - set(self.areas))
        if lost:
            raise ValueError(f"`areas` does not say where these lie: {', '.join(lost)}")
        return self
