"""What is asked for: suites, workloads, variants, devices, scenarios, and the cell they span."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field, field_validator, model_validator

from leptonbench.schema.accelerator import AcceleratorSpec
from leptonbench.schema.board import Board
from leptonbench.schema.demand import DemandSpec, Text
from leptonbench.schema.fact import Fact
from leptonbench.schema.quantity import Frozen


class Scenario(StrEnum):
    """MLPerf's four ways for queries to arrive."""

    SINGLE_STREAM = "single-stream"
    MULTI_STREAM = "multi-stream"
    SERVER = "server"
    OFFLINE = "offline"


class ScenarioSpec(Frozen):
    """One scenario and its settings, in the units of LoadGen's rules.

    Attributes:
        samples_per_query: Multi-stream: samples in one query.
        percentile: The percentile the scenario is judged by (MLPerf: 0.90 single-stream, 0.99 else).
        max_batch: Server and offline: largest batch given to the engine.
        max_wait_s: Server: longest time the batcher waits for a fuller batch.
    """

    kind: Scenario
    min_queries: int = Field(default=64, ge=1)
    samples_per_query: int = Field(default=8, ge=1)
    percentile: float = Field(default=0.90, gt=0, lt=1)
    max_batch: int = Field(default=1, ge=1)
    max_wait_s: float = Field(default=0.0, ge=0)


class Exclusion(Frozen):
    """A part of the matrix that a suite leaves out, with its reason: one name or a list of them on each axis.

    An axis that is left out matches everything.
    """

    workload: tuple[str, ...] = ()
    variant: tuple[str, ...] = ()
    backend: tuple[str, ...] = ()
    scenario: tuple[Scenario, ...] = ()
    reason: str

    @field_validator("workload", "variant", "backend", "scenario", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @property
    def axes(self) -> dict[str, tuple[str, ...]]:
        """Return the names on each axis that the rule restricts."""
        named = {"workload": self.workload, "variant": self.variant, "backend": self.backend, "scenario": self.scenario}
        return {axis: tuple(str(name) for name in names) for axis, names in named.items() if names}


class SuiteSpec(Frozen):
    """Workloads x variants x backends x scenarios on devices, and what the buyer needs.

    Attributes:
        quality_samples: How many evaluation samples each engine answers for the quality figure, the same ones for all;
            `None` for the whole split. Fewer make a shorter first run and a wider, still stated, interval.
        latency_target_s: What `latency_percentile` of the answers must not exceed.
        latency_targets_s: Of the workloads whose target is another one.
        relative_floor: Least share of the fp32 variant's quality, in place of the workloads' own.
        threads: Of one instance, where the suite stands for small devices; `None` shares all cores.
        assumptions: Figures that the demand and the targets rest on, by name; the report lists them.
    """

    name: str
    title: Text
    description: Text
    workloads: tuple[str, ...] = Field(min_length=1)
    variants: tuple[str, ...] = Field(min_length=1)
    backends: tuple[str, ...] = Field(min_length=1)
    devices: tuple[str, ...] = ("host-cpu",)
    scenarios: tuple[ScenarioSpec, ...] = Field(min_length=1)
    exclude: tuple[Exclusion, ...] = ()
    rounds: int = Field(default=3, ge=3)
    duration_s: float = Field(default=1.5, gt=0)
    quality_samples: int | None = Field(default=None, ge=100)
    latency_target_s: float = Field(gt=0)
    latency_targets_s: dict[str, float] = Field(default_factory=dict)
    latency_percentile: float = Field(default=0.90, gt=0, lt=1)
    relative_floor: float | None = Field(default=None, gt=0, le=1)
    threads: int | None = Field(default=None, ge=1)
    demand: DemandSpec
    region: str
    assumptions: dict[str, Fact] = Field(default_factory=dict)

    def target_s(self, workload: str) -> float:
        """Return a workload's latency target in seconds."""
        return self.latency_targets_s.get(workload, self.latency_target_s)

    @model_validator(mode="after")
    def _one_percentile(self) -> SuiteSpec:
        for scenario in self.scenarios:
            if scenario.kind is Scenario.SERVER and scenario.percentile != self.latency_percentile:
                raise ValueError(
                    f"the server scenario is searched at percentile {scenario.percentile:g} and judged at "
                    f"{self.latency_percentile:g} (`latency_percentile`); they are one and the same"
                )
        return self


class QualitySpec(Frozen):
    """The workload's accuracy metric, higher being better, and the floor under which an answer is not worth its speed.

    Attributes:
        floor: Lowest acceptable value of the metric.
        relative_floor: Least acceptable share of the `fp32` variant's value, on the same samples and engine.
    """

    name: str
    unit: str = "1"
    floor: float
    relative_floor: float = Field(default=0.99, gt=0, le=1)


class DataSpec(Frozen):
    """Sizes and seed of a workload's own data."""

    seed: int
    calibration: int = Field(ge=1)
    evaluation: int = Field(ge=1)


class WorkloadSpec(Frozen):
    """A task: model, data, pre- and post-processing, quality metric and floor."""

    name: str
    title: Text
    description: Text
    task: str
    model: str
    data: DataSpec
    quality: QualitySpec


class StepSpec(Frozen):
    """One compression step with its options."""

    technique: str
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)


class VariantSpec(Frozen):
    """A compression recipe: an ordered list of steps (none for `fp32`)."""

    name: str
    title: Text
    steps: tuple[StepSpec, ...] = ()
    precision: Literal["fp32", "tf32", "bf16", "fp16", "int8"]


class CpuMatch(Frozen):
    """Which CPUs a profile describes, by the numbers CPUID gives (names may be masked in a VM).

    Attributes:
        published_as: Parts of the names under which they published MLPerf results.
    """

    vendor: str
    family: int
    models: tuple[int, ...]
    published_as: tuple[str, ...] = ()


class CloudPrice(Frozen):
    """An on-demand price of a whole instance."""

    provider: str
    sku: str
    region: str
    vcpus: int
    price_per_hour: Fact


class PowerProfile(Frozen):
    """Whole-server power at the wall: idle and full load, and the shape between.

    `shape` holds the fraction of (full - idle) drawn at 0, 10, .. 100 % load.

    Attributes:
        band: Relative error of an energy modelled with it, where that is known of how it was found.
    """

    idle_w: Fact
    full_w: Fact
    hardware_threads: int
    shape: tuple[float, ...] = Field(min_length=11, max_length=11)
    shape_source: str
    band: float | None = Field(default=None, gt=0, lt=1)

    def fraction_at(self, load: float) -> float:
        """Return the fraction of (full - idle) drawn at a load between 0 and 1, interpolated and clamped."""
        position = min(max(load, 0.0), 1.0) * (len(self.shape) - 1)
        step = min(int(position), len(self.shape) - 2)
        return self.shape[step] + (position - step) * (self.shape[step + 1] - self.shape[step])


class OwnedPrice(Frozen):
    """What a whole server costs to own."""

    server_usd: Fact
    hardware_threads: int
    lifetime_years: Fact
    residual_fraction: Fact
    interest_rate: Fact
    hosting_usd_per_kw_month: Fact
    maintenance_fraction_per_year: Fact


class DeviceProfile(Frozen):
    """A device: what it is, what it draws and what it costs, each figure sourced.

    Attributes:
        match: How a CPU is recognised; none for a profile that stands in where it is not.
        cloud: On-demand offers of it; the first is the reference, the others span the range of prices.
        board: Of an FPGA: its part, the accelerator built for it, its memory and its host.
        accelerator: What is published of a device that is not a CPU.
    """

    name: str
    kind: Literal["cpu", "gpu", "fpga", "tpu", "npu"]
    title: Text
    match: CpuMatch | None = None
    threads: int | None = None
    power: PowerProfile | None = None
    cloud: tuple[CloudPrice, ...] = ()
    owned: OwnedPrice | None = None
    board: Board | None = None
    accelerator: AcceleratorSpec | None = None


class RegionTable(Frozen):
    """One figure by place: electricity or carbon by region, power usage effectiveness by kind of hosting."""

    title: Text
    figures: dict[str, Fact] = Field(min_length=1)


class RegionProfile(Frozen):
    """What a place adds to a device: the price of electricity, the building's overhead and the grid's carbon."""

    name: str
    electricity_usd_per_kwh: Fact
    pue: Fact
    carbon_g_per_kwh: Fact


class IsaRule(Frozen):
    """How much more arithmetic than fp32 a CPU does at a precision, at its peak.

    Attributes:
        flags: CPU flags, in Linux's spelling, that must all be there; none for what any CPU does.
        ratio: Multiply-accumulates at this precision over fp32's, on the same CPU and the same vector width.
        derivation: The arithmetic behind the ratio, shown to readers.
    """

    name: str
    precision: Literal["fp32", "bf16", "fp16", "int8"]
    flags: tuple[str, ...] = ()
    ratio: Fact
    derivation: str


class IsaTable(Frozen):
    """Every rule; of those whose flags a CPU has, the highest ratio of a precision applies."""

    rules: tuple[IsaRule, ...] = Field(min_length=1)


class EngineOptions(Frozen):
    """How an engine is asked to run, where that is not its own best-known way; the defaults are that way.

    An engine that cannot honour an option refuses the cell: a label never says what did not happen.

    Attributes:
        graph_optimisation: How far the engine may rewrite the graph before it runs; `all` is everything it has.
        arena: Whether the engine keeps memory for its intermediate tensors between runs.
        io_binding: Whether outputs go into buffers that are kept between runs.
    """

    graph_optimisation: Literal["off", "basic", "extended", "all"] = "all"
    arena: bool = True
    io_binding: bool = False

    @property
    def tags(self) -> tuple[str, ...]:
        """Return a short name for every option that is not at its default, fit for a file name."""
        graph = (f"graph-{self.graph_optimisation}",) if self.graph_optimisation != "all" else ()
        return (*graph, *(("no-arena",) if not self.arena else ()), *(("io-binding",) if self.io_binding else ()))


class CellSpec(Frozen):
    """One point of the matrix; its `key` names its files.

    Attributes:
        batch: Samples of a multi-stream query; largest batch of a server or offline cell.
        threads: That one instance may use.
        instances: Copies of the engine that serve one queue in one process.
        max_wait_s: Server: longest time the batcher waits for a fuller batch; `None` waits as the suite says.
        options: Of the engine.
    """

    workload: str
    variant: str
    backend: str
    device: str
    scenario: Scenario
    batch: int = Field(default=1, ge=1)
    threads: int = Field(ge=1)
    instances: int = Field(default=1, ge=1)
    max_wait_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    options: EngineOptions = EngineOptions()

    @property
    def settings_tags(self) -> tuple[str, ...]:
        """Return a short name for everything set apart from the suite's and the engine's defaults."""
        wait = () if self.max_wait_s is None else (f"wait-{self.max_wait_s * 1e3:g}ms",)
        return (*wait, *self.options.tags)

    @property
    def key(self) -> str:
        """Return the stable file name of the cell, readable and free of separators."""
        parts = (self.workload, self.variant, self.backend, self.device, self.scenario.value)
        sizes = f"b{self.batch}-t{self.threads}-i{self.instances}"
        return "--".join((*parts, sizes, *self.settings_tags))

    @property
    def group(self) -> str:
        """Return what the cell shares with its siblings in other scenarios: same artifact, same engine settings."""
        parts = (self.workload, self.variant, self.backend, self.device, f"t{self.threads}")
        return "--".join((*parts, *self.options.tags))
