"""What the measurement ran on: identity (compared) apart from state (recorded, never compared)."""

from __future__ import annotations

from leptonbench.schema.quantity import Frozen


class Identity(Frozen):
    """Facts that must be equal for two runs to be comparable."""

    cpu_model: str
    cpu_vendor: str
    cpu_family: int
    cpu_model_number: int
    cpu_flags: tuple[str, ...]
    logical_cores: int
    physical_cores: int | None = None
    memory_bytes: int
    virtualisation: str | None = None
    gpus: tuple[str, ...] = ()
    os: str
    kernel: str
    python: str
    packages: dict[str, str]


class State(Frozen):
    """Facts that change from minute to minute: kept to explain a number, never to compare."""

    load_average: tuple[float, float, float] | None = None
    available_memory_bytes: int
    cpu_frequency_hz: float | None = None
    governor: str | None = None
    temperature_c: float | None = None
    steal_fraction: float | None = None


class Fingerprint(Frozen):
    """Identity and state of one machine at one moment."""

    identity: Identity
    state: State
