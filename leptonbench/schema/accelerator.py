"""What is published of an accelerator: its relatives, its peaks, its memory and what it rents for."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from leptonbench.schema.fact import Fact
from leptonbench.schema.quantity import Frozen

Arithmetic = Literal["fp32", "tf32", "fp16", "bf16", "fp8", "int8"]


class AcceleratorOffer(Frozen):
    """What a cloud asks for an instance with this device.

    Attributes:
        devices: How many of them the instance holds.
        terms: `on-demand` is kept until given back; `spot` may be taken away.
        price_per_hour: Of the whole instance, in USD/h.
    """

    provider: str
    sku: str
    region: str
    devices: int = Field(ge=1)
    terms: Literal["on-demand", "spot"] = "on-demand"
    price_per_hour: Fact


class AcceleratorSpec(Frozen):
    """One accelerator, as its vendor and others describe it; what nobody was seen to publish is absent.

    Attributes:
        vendor: Who makes it.
        architecture: Its generation (`ampere`): engines treat all of it alike.
        chip: The die; devices of one chip differ in clocks, enabled units, power and memory.
        published_as: Its names in `hardware_profiles/published/mlperf_published.csv`.
        driver_names: What its driver calls it.
        peak_ops_per_s: Dense arithmetic by precision in operations per second, a multiply-accumulate being two.
        lacks: Precisions that it has no arithmetic for, or so little that nothing is projected at it.
        memory_bytes: Of its own memory.
        memory_bytes_per_s: Bandwidth of that memory.
        tdp_w: Thermal design power.
        offers: Prices in the cloud.
    """

    vendor: str
    architecture: str
    chip: str
    published_as: tuple[str, ...] = ()
    driver_names: tuple[str, ...] = ()
    peak_ops_per_s: dict[Arithmetic, Fact] = Field(default_factory=dict)
    lacks: tuple[Arithmetic, ...] = ()
    memory_bytes: Fact | None = None
    memory_bytes_per_s: Fact | None = None
    tdp_w: Fact | None = None
    offers: tuple[AcceleratorOffer, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        both = sorted(set(self.lacks) & set(self.peak_ops_per_s))
        if both:
            raise ValueError(f"`lacks` and `peak_ops_per_s` both name {', '.join(both)}")
        return self
